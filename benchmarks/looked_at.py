#!/usr/bin/env python3
"""What is found on unlabelled real scans, looked at one by one: every lacune, and some perivascular spaces of each session.

    python benchmarks/looked_at.py draw SHEETS [--data ../shared/data/openms-bids] [--spaces 20]
    python benchmarks/looked_at.py count SHEETS

``draw`` measures the sessions and writes, outside this repository, a sheet of pictures per session and marker and one table,
``lesions.tsv``, with an empty column ``class``. Fill it with genuine, plausible, or wrong and what it is instead ("wrong: sulcus").
``count`` makes the committed table of it.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from machine import describe_machine, machine_markdown, markdown_table, write_result
from smallvessel.intake.bids import find_sessions
from smallvessel.intake.sequences import load_session
from smallvessel.markers import Marker, Sequence
from smallvessel.prepare import prepare_session
from smallvessel.records import MarkerMap, Prepared
from smallvessel.segment import segment_markers

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "openms-bids"
SHOWN = (Sequence.FLAIR, Sequence.T1W, Sequence.T2W)
HALF_MM = 22
ZOOM = 5
PER_ROW = 2
SEED = 1
COLUMNS = ("session", "marker", "lesion", "x", "y", "z", "volume_mm3", "confidence", "class")
CLASSES = ("genuine", "plausible", "wrong")


def draw(data: Path, sheets: Path, spaces: int) -> None:
    """Measure every session, draw its lesions, and write the table to be filled."""
    if sheets.resolve().is_relative_to(ROOT):
        raise SystemExit(f"{sheets} lies in the repository, and pictures of real patients do not belong there: give another folder")
    sheets.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for source in find_sessions(data):
        prepared = prepare_session(load_session(source))
        for marker, found in segment_markers(prepared, (Marker.LACUNE, Marker.EPVS)).markers.items():
            if isinstance(found, MarkerMap):
                rows += _draw_marker(prepared, found, marker, sheets, spaces)
        print(source.id, len(rows), flush=True)
    with (sheets / "lesions.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def _draw_marker(prepared: Prepared, found: MarkerMap, marker: Marker, sheets: Path, spaces: int) -> list[dict[str, object]]:
    labels = found.labels.data
    chosen = np.arange(1, len(found.confidence) + 1)
    if marker is Marker.EPVS and chosen.size > spaces:
        chosen = np.sort(np.random.default_rng(SEED).choice(chosen, spaces, replace=False))
    rows, panels = [], []
    for lesion in chosen:
        voxels = np.argwhere(labels == lesion)
        centre = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
        x, y, z = prepared.grid.world(centre[None])[0]
        rows.append(
            {
                "session": prepared.id,
                "marker": marker,
                "lesion": int(lesion),
                "x": f"{x:.1f}",
                "y": f"{y:.1f}",
                "z": f"{z:.1f}",
                "volume_mm3": f"{len(voxels) * prepared.grid.voxel_volume_mm3:.0f}",
                "confidence": f"{found.confidence[lesion - 1]:.2f}",
                "class": "",
            }
        )
        panels.append(_panel(prepared, labels == lesion, centre, f"{lesion}  {rows[-1]['volume_mm3']} mm3  {rows[-1]['confidence']}"))
    if panels:
        _sheet(panels).save(sheets / f"{prepared.id}_{marker}.png")
    return rows


def _panel(prepared: Prepared, inside: NDArray[np.bool_], centre: NDArray[np.int64], title: str) -> Image.Image:
    """Every sequence around a lesion, in its slice and in the frontal plane, with the outline and without."""
    tiles = []
    for sequence in SHOWN:
        if sequence not in prepared.images:
            continue
        image = prepared.images[sequence].data
        for axis in (2, 1):
            grey, mask = (_cut(part, centre, axis) for part in (image, inside.astype(np.float32)))
            tile = _grey(grey, float(np.percentile(image[prepared.anatomy.brain.data], 99.7)))
            marked = ImageDraw.Draw(tile)
            for column, row in np.argwhere(mask > 0):
                edge = [(column + dx, row + dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
                if any(not (0 <= a < mask.shape[0] and 0 <= b < mask.shape[1]) or mask[a, b] == 0 for a, b in edge):
                    left, top = column * ZOOM, (mask.shape[1] - 1 - row) * ZOOM
                    marked.rectangle((left + 1, top + 1, left + ZOOM - 2, top + ZOOM - 2), outline=(255, 90, 0))
            tiles += [_grey(grey, float(np.percentile(image[prepared.anatomy.brain.data], 99.7))), tile] if axis == 2 else [tile]
    panel = Image.new("RGB", (sum(tile.width for tile in tiles), tiles[0].height + 14))
    left = 0
    for tile in tiles:
        panel.paste(tile, (left, 14))
        left += tile.width
    ImageDraw.Draw(panel).text((2, 1), title, fill=(255, 255, 0))
    return panel


def _cut(image: NDArray[np.float32], centre: NDArray[np.int64], axis: int) -> NDArray[np.float32]:
    padded = np.pad(image, HALF_MM)
    box: list[slice | int] = [slice(int(c), int(c) + 2 * HALF_MM + 1) for c in centre]
    box[axis] = int(centre[axis]) + HALF_MM
    return np.asarray(padded[tuple(box)])


def _grey(cut: NDArray[np.float32], white: float) -> Image.Image:
    values = np.clip(cut / max(white, 1e-6) * 255, 0, 255).astype(np.uint8).T[::-1]
    grey = Image.fromarray(values).resize((values.shape[1] * ZOOM, values.shape[0] * ZOOM), Image.Resampling.BICUBIC)
    return grey.convert("RGB")


def _sheet(panels: list[Image.Image]) -> Image.Image:
    width = max(panel.width for panel in panels)
    rows = -(-len(panels) // PER_ROW)
    sheet = Image.new("RGB", (PER_ROW * (width + 6), rows * (panels[0].height + 4)))
    for number, panel in enumerate(panels):
        sheet.paste(panel, ((number % PER_ROW) * (width + 6), (number // PER_ROW) * (panel.height + 4)))
    return sheet


def count(sheets: Path) -> str:
    """Make the committed table of a filled one."""
    with (sheets / "lesions.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for number, row in enumerate(rows, 2):
        if row["class"].split(":")[0] not in CLASSES:
            raise SystemExit(f"lesions.tsv, line {number}: class {row['class']!r}, expected {', '.join(CLASSES)} (wrong: what it is)")
    sessions = sorted({row["session"] for row in rows})
    lines = [_line(session, [row for row in rows if row["session"] == session]) for session in sessions]
    lines.append(_line("all", rows))
    header = ["session", *(f"{marker} {kind}" for marker in (Marker.LACUNE, Marker.EPVS) for kind in ("looked at", *CLASSES))]
    mimics = {
        str(marker): Counter(
            row["class"].partition(":")[2].strip() for row in rows if row["marker"] == marker and row["class"][:5] == "wrong"
        )
        for marker in (Marker.LACUNE, Marker.EPVS)
    }
    said = "; ".join(
        f"{marker}: {', '.join(f'{name} {n}' for name, n in found.most_common())}" for marker, found in mimics.items() if found
    )
    machine = describe_machine()
    markdown = (
        "# Lesions found on real scans, looked at\n\nEvery lacune and a random choice of perivascular spaces of each session, by one "
        "reader who is no radiologist, on the images alone. These scans have no reference for either marker.\n\n"
        f"{markdown_table(header, lines)}\n\nWrong ones are: {said or 'none'}.\n\n{machine_markdown(machine)}"
    )
    write_result("looked_at", markdown, {"sessions": dict(zip(sessions, lines, strict=False)), "mimics": mimics, "machine": machine})
    return markdown


def _line(name: str, rows: Iterable[Mapping[str, str]]) -> list[str]:
    found = Counter((row["marker"], row["class"].split(":")[0]) for row in rows)
    cells = [name]
    for marker in (str(Marker.LACUNE), str(Marker.EPVS)):
        counts = [found[marker, kind] for kind in CLASSES]
        cells += [str(sum(counts)), *map(str, counts)]
    return cells


def main() -> None:
    """Draw the sheets, or count what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("draw", "count"))
    parser.add_argument("sheets", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--spaces", type=int, default=20, help="perivascular spaces of each session")
    arguments = parser.parse_args()
    if arguments.step == "draw":
        draw(arguments.data, arguments.sheets, arguments.spaces)
    else:
        print(count(arguments.sheets))


if __name__ == "__main__":
    main()
