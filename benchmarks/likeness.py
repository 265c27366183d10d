#!/usr/bin/env python3
"""Is the simulator like reality? How uneven white matter without lesions is, and the signal of each tissue, on real and simulated scans.

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
TISSUES = (
    Structure.CORTEX,
    Structure.CAUDATE,
    Structure.PUTAMEN,
    Structure.THALAMUS,
    Structure.HIPPOCAMPUS,
    Structure.LATERAL_VENTRICLE,
)


@dataclass(frozen=True)
class Unevenness:
    """Standard deviations of one image's white matter, relative: what is left at 2 mm, at 8 mm, and what 2 mm take away."""

    sequence: MrSequence
    at_2_mm: float
    at_8_mm: float
    fine: float


@dataclass(frozen=True)
class Contrasts:
    """Median signal of each of ``TISSUES`` over that of white matter in one image; of the inner voxels, but for the thin cortex."""

    sequence: MrSequence
    ratios: tuple[float, ...]


def measure_contrasts(prepared: Prepared) -> list[Contrasts]:
    """Of every sequence but SWI."""
    structures = prepared.anatomy.structures.data
    white = ndimage.binary_erosion(structures == Structure.WHITE_MATTER, iterations=2)
    masks = {tissue: structures == tissue for tissue in TISSUES}
    inner = {tissue: mask if tissue is Structure.CORTEX else ndimage.binary_erosion(mask) for tissue, mask in masks.items()}
    found = []
    for sequence in SHOWN:
        if sequence in prepared.images:
            image = prepared.images[sequence].data
            ratios = tuple(float(np.median(image[mask]) / np.median(image[white])) if mask.any() else np.nan for mask in inner.values())
            found.append(Contrasts(sequence, ratios))
    return found


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


def measure_folders(folders: Iterable[Path], most: int) -> tuple[list[Unevenness], list[Contrasts]]:
    """All images of the first sessions of BIDS folders."""
    uneven: list[Unevenness] = []
    contrasts: list[Contrasts] = []
    for source in [source for folder in folders for source in find_sessions(folder)[:most]]:
        prepared = prepare_session(load_session(source))
        uneven += measure_unevenness(prepared)
        contrasts += measure_contrasts(prepared)
        print(source.id, flush=True)
    return uneven, contrasts


def row(name: str, sequence: MrSequence, found: Iterable[Unevenness]) -> list[str]:
    """A line of the table: median and range of each."""
    mine = [one for one in found if one.sequence is sequence]
    cells = [_spread([getattr(one, part) for one in mine]) for part in ("at_2_mm", "at_8_mm", "fine")]
    return [f"{sequence}, {name}", str(len(mine)), *cells]


def contrast_row(name: str, sequence: MrSequence, found: Iterable[Contrasts]) -> list[str]:
    """A line of the table: median and range of each tissue's ratio."""
    mine = np.array([one.ratios for one in found if one.sequence is sequence])
    return [f"{sequence}, {name}", str(len(mine)), *(_spread(list(column[np.isfinite(column)]), 2) for column in mine.T)]


def _spread(values: Sequence[float], digits: int = 3) -> str:
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})" if values else "n/a"


def main() -> None:
    """Measure both kinds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=Path, required=True, help="BIDS folder that `smallvessel simulate` wrote")
    parser.add_argument("--real", type=Path, nargs="+", default=[DATA / "openms-bids"])
    parser.add_argument("--sessions", type=int, default=12, help="at most, of the simulated folder")
    arguments = parser.parse_args()
    kinds = {"real": measure_folders(arguments.real, 1000), "simulated": measure_folders([arguments.simulated], arguments.sessions)}
    uneven = [row(name, sequence, kind[0]) for sequence in SHOWN for name, kind in kinds.items()]
    contrasts = [contrast_row(name, sequence, kind[1]) for sequence in SHOWN for name, kind in kinds.items()]
    machine = describe_machine()
    header = ("white matter", "images", "at 2 mm", "at 8 mm", "fine")
    tissues = ("signal over white matter's", "images", *(tissue.name.lower().replace("_", " ") for tissue in TISSUES))
    markdown = (
        "# Real and simulated tissue\n\nRelative standard deviation in deep white matter away from what is bright on FLAIR, "
        "median and range over images: after smoothing by 2 mm and by 8 mm, and what smoothing by 2 mm takes away (noise).\n\n"
        f"{markdown_table(header, uneven)}\n"
        "Median signal of each structure over that of white matter, median and range over images. Structures are those that the anatomy "
        "network found; thick slices mix them with their neighbours, on real and on simulated images.\n\n"
        f"{markdown_table(tissues, contrasts)}\n{machine_markdown(machine)}\nMade by `python benchmarks/likeness.py`.\n"
    )
    record = {
        "white_matter": [dict(zip(header, cells, strict=True)) for cells in uneven],
        "tissues": [dict(zip(tissues, cells, strict=True)) for cells in contrasts],
        "machine": machine,
    }
    write_result("likeness", markdown, record)
    print(markdown)


if __name__ == "__main__":
    main()
