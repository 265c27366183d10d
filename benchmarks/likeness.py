#!/usr/bin/env python3
"""Is the simulator like reality? How uneven white matter without lesions is, on real and on simulated scans, side by side.

    python benchmarks/likeness.py --simulated FOLDER [--real ../shared/data/openms-bids]

Deep white matter (3 mm from any other structure), farther than 2 mm from what is bright on FLAIR, relative to its median: what a network
that has only seen simulated tissue may take for a lesion. Real scans have no reference here; lesions are left out by brightness alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from machine import describe_machine, machine_markdown, markdown_table, write_result
from smallvessel.intake.bids import find_sessions
from smallvessel.intake.sequences import load_session
from smallvessel.markers import Sequence as MrSequence
from smallvessel.prepare import prepare_session
from smallvessel.records import Prepared
from smallvessel.structures import Structure

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
SHOWN = (MrSequence.FLAIR, MrSequence.T1W, MrSequence.T2W)
DEPTH_VOX = 3
BRIGHT = 1.15
"""On FLAIR, relative to white matter: a lesion."""
AWAY_VOX = 2
SCALES_MM = (2.0, 8.0)


@dataclass(frozen=True)
class Unevenness:
    """Standard deviations of one image's white matter, relative: what is left at 2 mm, at 8 mm, and what 2 mm take away."""

    sequence: MrSequence
    at_2_mm: float
    at_8_mm: float
    fine: float


def measure_unevenness(prepared: Prepared) -> list[Unevenness]:
    """Of every sequence but SWI."""
    white = ndimage.binary_erosion(prepared.anatomy.structures.data == Structure.WHITE_MATTER, iterations=DEPTH_VOX)
    flair = prepared.images.get(MrSequence.FLAIR)
    if flair is not None:
        white &= ~ndimage.binary_dilation(flair.data > BRIGHT * np.median(flair.data[white]), iterations=AWAY_VOX)
    found = []
    for sequence in SHOWN:
        if sequence in prepared.images:
            relative = prepared.images[sequence].data / np.median(prepared.images[sequence].data[white])
            small, large = (smooth_within(relative, white, mm) for mm in SCALES_MM)
            found.append(Unevenness(sequence, float(small.std()), float(large.std()), float((relative[white] - small).std())))
    return found


def smooth_within(image: NDArray[np.float32], mask: NDArray[np.bool_], sd_mm: float) -> NDArray[np.float64]:
    """Gaussian mean over a mask alone, at its voxels (1 mm)."""
    weight = ndimage.gaussian_filter(mask.astype(np.float64), sd_mm)
    return np.asarray(ndimage.gaussian_filter(np.where(mask, image, 0.0).astype(np.float64), sd_mm)[mask] / weight[mask])


def measure_folder(folder: Path, most: int) -> list[Unevenness]:
    """All images of a BIDS folder's first sessions."""
    found = []
    for source in find_sessions(folder)[:most]:
        found += measure_unevenness(prepare_session(load_session(source)))
        print(source.id, flush=True)
    return found


def row(name: str, sequence: MrSequence, found: Iterable[Unevenness]) -> list[str]:
    """A line of the table: median and range of each."""
    mine = [one for one in found if one.sequence is sequence]
    cells = [_spread([getattr(one, part) for one in mine]) for part in ("at_2_mm", "at_8_mm", "fine")]
    return [f"{sequence}, {name}", str(len(mine)), *cells]


def _spread(values: Sequence[float]) -> str:
    return f"{np.median(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "n/a"


def main() -> None:
    """Measure both kinds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=Path, required=True, help="BIDS folder that `smallvessel simulate` wrote")
    parser.add_argument("--real", type=Path, nargs="+", default=[DATA / "openms-bids"])
    parser.add_argument("--sessions", type=int, default=12, help="at most, of the simulated folder")
    arguments = parser.parse_args()
    real = [one for folder in arguments.real for one in measure_folder(folder, 1000)]
    simulated = measure_folder(arguments.simulated, arguments.sessions)
    rows = [row(name, sequence, found) for sequence in SHOWN for name, found in (("real", real), ("simulated", simulated))]
    machine = describe_machine()
    header = ("white matter", "images", "at 2 mm", "at 8 mm", "fine")
    markdown = (
        "# Real and simulated white matter\n\nRelative standard deviation in deep white matter away from what is bright on FLAIR, "
        "median and range over images: after smoothing by 2 mm and by 8 mm, and what smoothing by 2 mm takes away (noise).\n\n"
        f"{markdown_table(header, rows)}\n\n{machine_markdown(machine)}\nMade by `python benchmarks/likeness.py`.\n"
    )
    write_result("likeness", markdown, {"rows": [dict(zip(header, cells, strict=True)) for cells in rows], "machine": machine})
    print(markdown)


if __name__ == "__main__":
    main()
