"""A picture of a training: its losses, smoothed, and its learning rate, as an SVG that any browser shows."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, MARGIN = 720, 360, 48
SMOOTHED_SHARE = 0.02
"""Width of the moving mean as a share of the steps."""
TICKS = 5


def draw_curves(losses: Path) -> Path:
    """Draw ``losses.csv`` (step, loss, learning rate, time) into ``losses.svg`` beside it.

    A step that was repeated after a kill counts once, as it was last computed.
    """
    with losses.open(newline="") as file:
        rows = {int(row["step"]): (float(row["loss"]), float(row["learning_rate"])) for row in csv.DictReader(file)}
    steps = np.array(sorted(rows), float)
    loss, rate = np.array([rows[int(step)] for step in steps]).T
    smooth = _moving_mean(loss, max(int(SMOOTHED_SHARE * steps.size), 1))
    top, last = float(smooth.max()), float(steps[-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f"<title>Loss over {last:.0f} steps, at last {smooth[-1]:.3f}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for share in np.linspace(0, 1, TICKS):
        x, y = _place(share, 0)[0], _place(0, share)[1]
        parts += [
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{share * top:.2f}</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{share * last:.0f}</text>',
        ]
    parts += [
        _line(steps / last, rate / max(float(rate.max()), 1e-12), "#bbb"),
        _line(steps / last, smooth / max(top, 1e-12), "#0072b2"),
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>',
        f'<text x="{WIDTH - MARGIN}" y="{MARGIN - 12}" text-anchor="end">loss (blue), learning rate up to {rate.max():.2g} (grey)</text>',
        "</svg>",
    ]
    path = losses.with_suffix(".svg")
    temporary = path.with_suffix(".tmp")
    temporary.write_text("\n".join(parts) + "\n")
    os.replace(temporary, path)
    return path


def _moving_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of the last ``width`` values (of fewer at the start)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, values.size + 1)
    start = np.maximum(end - width, 0)
    return np.asarray((total[end] - total[start]) / (end - start))


def _place(x: float, y: float) -> tuple[float, float]:
    return MARGIN + x * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - y * (HEIGHT - 2 * MARGIN)


def _line(x: NDArray[np.float64], y: NDArray[np.float64], colour: str) -> str:
    points = " ".join("{:.1f},{:.1f}".format(*_place(float(a), float(b))) for a, b in zip(x, y, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
