"""The figure of a probability map's thresholds and calibration."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..derivatives import write_bytes
from ..records import NotAssessed
from .evaluation import MarkerSummary
from .probability import expected_calibration_error

GREY = "#5F6B76"
STYLE: Any = {"font.size": 8.5, "svg.hashsalt": "smallvessel", "axes.spines.top": False, "axes.spines.right": False}


def write_curves(summaries: Sequence[MarkerSummary], operating_point: float, folder: Path) -> tuple[Path, ...]:
    """Draw, per marker, recall against precision with the operating point ringed, and the share of lesion by probability.

    Returns
    -------
    tuple of Path
        ``curves.svg`` and ``curves.png``; none without a probability map.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [summary for summary in summaries if summary.points]
    if not shown:
        return ()
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2 * len(shown)), layout="constrained")
        FigureCanvasAgg(figure)
        for at, summary in enumerate(shown):
            curve, calibration = (figure.add_subplot(len(shown), 2, 2 * at + 1 + side) for side in (0, 1))
            points = [
                (point.threshold, point.lesions.recall, point.lesions.precision)
                for point in summary.points
                if not isinstance(point.lesions.recall, NotAssessed) and not isinstance(point.lesions.precision, NotAssessed)
            ]
            curve.plot([recall for _, recall, _ in points], [precision for _, _, precision in points], "o-", color=GREY, markersize=3)
            for threshold, recall, precision in points:
                if threshold == operating_point:
                    curve.plot([recall], [precision], "o", markersize=11, markerfacecolor="none", markeredgecolor="black")
            curve.set(xlabel="lesion recall", ylabel="lesion precision", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
            curve.set_title(f"{summary.marker} thresholds; ring: {operating_point:g}".strip())
            filled = [one for one in summary.bins if one.n]
            calibration.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
            calibration.plot([one.sum_probability / one.n for one in filled], [one.n_lesion / one.n for one in filled], "o-", color=GREY)
            error = expected_calibration_error(summary.bins)
            said = "" if isinstance(error, NotAssessed) else f"; expected calibration error {error:.3f}"
            calibration.set(xlabel="mean probability", ylabel="share of lesion", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
            calibration.set_title(f"calibration{said}")
        paths = []
        for kind, nameless in (("svg", {"Date": None}), ("png", {"Software": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=150, metadata=nameless)
            paths.append(folder / f"curves.{kind}")
            write_bytes(paths[-1], stream.getvalue())
    return tuple(paths)
