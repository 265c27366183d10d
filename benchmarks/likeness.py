#!/usr/bin/env python3
"""Is the simulator like reality? White matter without lesions, the noise of neighbours, each tissue's signal: real and simulated scans.

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
from smallvessel.records import Prepared, Session
from smallvessel.structures import Structure
from smallvessel.volume import Mask, resample

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
SHOWN = (MrSequence.FLAIR, MrSequence.T1W, MrSequence.T2W)
DEPTH_VOX = 3
BRIGHT = 1.15
"""On FLAIR, relative to white matter: a lesion."""
AWAY_VOX = 2
SCALES_MM = (2.0, 8.0)
SLOW_MM = 2.5
CORRELATION_DEPTH_VOX = 2
LEAST_VOXELS = 500
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
    white = find_even_white_matter(prepared, DEPTH_VOX)
    found = []
    for sequence in SHOWN:
        if sequence in prepared.images:
            relative = prepared.images[sequence].data / np.median(prepared.images[sequence].data[white])
            small, large = (smooth_within(relative, white, mm) for mm in SCALES_MM)
            found.append(Unevenness(sequence, float(small.std()), float(large.std()), float((relative[white] - small).std())))
    return found


@dataclass(frozen=True)
class Correlation:
    """Noise in white matter on the stored grid, slow changes taken out.

    Correlation of neighbours one and two voxels on, along
    the axis within slices where it is stronger and along the other one; and its relative standard deviation.
    """

    sequence: MrSequence
    along: tuple[float, float]
    across: tuple[float, float]
    noise: float


def measure_correlation(session: Session, prepared: Prepared) -> list[Correlation]:
    """Of every sequence but SWI, before any interpolation of ours."""
    found = []
    for sequence, mask in _white_on_stored_grids(prepared).items():
        image = session.images[sequence].volume
        within = [axis for axis in range(3) if axis != int(np.argmax(image.grid.spacing_mm))]
        sd_vox = [SLOW_MM / image.grid.spacing_mm[axis] if axis in within else 0.0 for axis in range(3)]
        relative = image.data.astype(np.float64) / float(np.median(image.data[mask]))
        weight = ndimage.gaussian_filter(mask.astype(np.float64), sd_vox)
        slow = ndimage.gaussian_filter(np.where(mask, relative, 0.0), sd_vox) / np.maximum(weight, 1e-3)
        noise = np.where(mask, relative - slow, 0.0)
        pairs = sorted((_correlate(noise, mask, axis) for axis in within), reverse=True)
        found.append(Correlation(sequence, pairs[0], pairs[1], float(noise[mask].std())))
    return found


def _correlate(noise: NDArray[np.float64], mask: NDArray[np.bool_], axis: int) -> tuple[float, float]:
    variance = float((noise[mask] ** 2).mean())
    both = [mask & np.roll(mask, -lag, axis) for lag in (1, 2)]
    first, second = (float((noise * np.roll(noise, -lag, axis))[pair].mean()) / variance for lag, pair in zip((1, 2), both, strict=True))
    return first, second


def _white_on_stored_grids(prepared: Prepared) -> dict[MrSequence, NDArray[np.bool_]]:
    white = find_even_white_matter(prepared, CORRELATION_DEPTH_VOX)
    masks = {}
    for sequence in SHOWN:
        if sequence in prepared.images:
            native = prepared.native[sequence]
            mask = resample(Mask(white, prepared.grid), native.grid, native.reference_from_native.inverse()).data
            if np.count_nonzero(mask) >= LEAST_VOXELS:
                masks[sequence] = mask
    return masks


def find_even_white_matter(prepared: Prepared, depth_vox: int) -> NDArray[np.bool_]:
    """White matter so far from other structures, and 2 mm from what is bright on FLAIR."""
    white = ndimage.binary_erosion(prepared.anatomy.structures.data == Structure.WHITE_MATTER, iterations=depth_vox)
    flair = prepared.images.get(MrSequence.FLAIR)
    if flair is not None:
        white &= ~ndimage.binary_dilation(flair.data > BRIGHT * np.median(flair.data[white]), iterations=AWAY_VOX)
    return np.asarray(white, bool)


def smooth_within(image: NDArray[np.float32], mask: NDArray[np.bool_], sd_mm: float) -> NDArray[np.float64]:
    """Gaussian mean over a mask alone, at its voxels (1 mm)."""
    weight = ndimage.gaussian_filter(mask.astype(np.float64), sd_mm)
    return np.asarray(ndimage.gaussian_filter(np.where(mask, image, 0.0).astype(np.float64), sd_mm)[mask] / weight[mask])


def measure_folders(folders: Iterable[Path], most: int) -> tuple[list[Unevenness], list[Contrasts], list[Correlation]]:
    """All images of the first sessions of BIDS folders."""
    uneven: list[Unevenness] = []
    contrasts: list[Contrasts] = []
    correlations: list[Correlation] = []
    for source in [source for folder in folders for source in find_sessions(folder)[:most]]:
        session = load_session(source)
        prepared = prepare_session(session)
        uneven += measure_unevenness(prepared)
        contrasts += measure_contrasts(prepared)
        correlations += measure_correlation(session, prepared)
        print(source.id, flush=True)
    return uneven, contrasts, correlations


def row(name: str, sequence: MrSequence, found: Iterable[Unevenness]) -> list[str]:
    """A line of the table: median and range of each."""
    mine = [one for one in found if one.sequence is sequence]
    cells = [_spread([getattr(one, part) for one in mine]) for part in ("at_2_mm", "at_8_mm", "fine")]
    return [f"{sequence}, {name}", str(len(mine)), *cells]


def contrast_row(name: str, sequence: MrSequence, found: Iterable[Contrasts]) -> list[str]:
    """A line of the table: median and range of each tissue's ratio."""
    mine = np.array([one.ratios for one in found if one.sequence is sequence])
    return [f"{sequence}, {name}", str(len(mine)), *(_spread(list(column[np.isfinite(column)]), 2) for column in mine.T)]


def correlation_row(name: str, sequence: MrSequence, found: Iterable[Correlation]) -> list[str]:
    """A line of the table: median and range of each."""
    mine = [one for one in found if one.sequence is sequence]
    columns = [[getattr(one, part)[lag] for one in mine] for part in ("along", "across") for lag in (0, 1)]
    return [f"{sequence}, {name}", str(len(mine)), *(_spread(column, 2) for column in columns), _spread([one.noise for one in mine])]


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
    neighbours = [correlation_row(name, sequence, kind[2]) for sequence in SHOWN for name, kind in kinds.items()]
    machine = describe_machine()
    beside = ("noise of neighbours", "images", "1 voxel along", "2 voxels along", "1 voxel across", "2 voxels across", "relative SD")
    header = ("white matter", "images", "at 2 mm", "at 8 mm", "fine")
    tissues = ("signal over white matter's", "images", *(tissue.name.lower().replace("_", " ") for tissue in TISSUES))
    markdown = (
        "# Real and simulated tissue\n\nRelative standard deviation in deep white matter away from what is bright on FLAIR, "
        "median and range over images: after smoothing by 2 mm and by 8 mm, and what smoothing by 2 mm takes away (noise).\n\n"
        f"{markdown_table(header, uneven)}\n"
        "Median signal of each structure over that of white matter, median and range over images. Structures are those that the anatomy "
        "network found; thick slices mix them with their neighbours, on real and on simulated images.\n\n"
        f"{markdown_table(tissues, contrasts)}\n"
        "Noise on the stored grid in white matter, what is slower than 2.5 mm taken out: correlation of neighbours within slices along the "
        "axis where it is stronger and across it, and standard deviation relative to white matter.\n\n"
        f"{markdown_table(beside, neighbours)}\n{machine_markdown(machine)}\nMade by `python benchmarks/likeness.py`.\n"
    )
    record = {
        "white_matter": [dict(zip(header, cells, strict=True)) for cells in uneven],
        "tissues": [dict(zip(tissues, cells, strict=True)) for cells in contrasts],
        "neighbours": [dict(zip(beside, cells, strict=True)) for cells in neighbours],
        "machine": machine,
    }
    write_result("likeness", markdown, record)
    print(markdown)


if __name__ == "__main__":
    main()
