#!/usr/bin/env python3
"""Lacunes and perivascular spaces implanted into real images: how many are found, by size and by visibility.

Each lesion is drawn at 0.5 mm, brought through the slice profile of each sequence, and mixed into the real image with the real fluid
of that image's ventricles. A visibility of 1 is a cavity full of CSF; 0.5 lets half of the tissue's signal through. Lesions lie
at least 8 mm from each other and from what was found in the untouched images. Real images, simulated lesions.

    python benchmarks/implanted.py [--data ../shared/data/openms-bids] [--rounds 8]

Writes a table and docs/images/implanted.svg; needs matplotlib.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from machine import describe_machine, machine_markdown, markdown_table, write_result
from smallvessel.intake.bids import find_sessions
from smallvessel.intake.sequences import load_session
from smallvessel.markers import Marker
from smallvessel.markers import Sequence as MrSequence
from smallvessel.prepare import prepare_session
from smallvessel.records import MarkerMap, Prepared, Segmentation
from smallvessel.segment import segment_markers
from smallvessel.simulate.forms import FloatMap, bent_path, ellipsoid, paint, random_axes, stamp_tube, unit_vector
from smallvessel.structures import Structure
from smallvessel.volume import Volume

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "openms-bids"
PICTURE = ROOT / "docs" / "images" / "implanted.svg"
VISIBILITIES = (0.35, 0.6, 1.0)
LACUNE_DIAMETERS_MM = (3.5, 5.0, 8.0, 12.0)
EPVS_WIDTHS_MM = (1.0, 1.5, 2.0, 3.0)
PER_ROUND = {Marker.LACUNE: 8, Marker.EPVS: 18}
NAMES = {Marker.LACUNE: "Lacunes", Marker.EPVS: "Perivascular spaces"}
SIZE_NAMES = {Marker.LACUNE: "diameter", Marker.EPVS: "width"}
APART_MM = 8.0
RIM_SHARE = 0.75
"""Share of lacunes with a rim that is bright on FLAIR."""
RIM_GAIN = 0.35
PLACES = {
    Marker.LACUNE: (Structure.WHITE_MATTER, Structure.PUTAMEN, Structure.THALAMUS, Structure.CAUDATE),
    Marker.EPVS: (Structure.WHITE_MATTER, Structure.PUTAMEN, Structure.PALLIDUM),
}
DEPTH_MM = 3.0
"""From cortex, sulci and ventricles, so that no implant merges with fluid that is there."""


@dataclass(frozen=True)
class Implant:
    """One implanted lesion: its size is a lacune's diameter or a space's width; ``share`` is per voxel of its box on the analysis grid."""

    marker: Marker
    size_mm: float
    visibility: float
    box: tuple[slice, slice, slice]
    share: FloatMap
    rim: FloatMap


@dataclass(frozen=True)
class Outcome:
    """What became of an implant: ``found`` as its marker, ``as_other`` as the other kind of cavity."""

    session: str
    marker: Marker
    size_mm: float
    visibility: float
    found: bool
    as_other: bool


def draw_implants(prepared: Prepared, taken: NDArray[np.bool_], rng: np.random.Generator) -> list[Implant]:
    """Draw one round of implants, each away from the others and from the voxels in ``taken``."""
    structures = prepared.anatomy.structures.data
    solid = np.isin(structures, (*PLACES[Marker.LACUNE], Structure.PALLIDUM))
    deep = ndimage.distance_transform_edt(solid) > DEPTH_MM
    free = deep & (ndimage.distance_transform_edt(~taken) > APART_MM)
    implants: list[Implant] = []
    for marker, count in PER_ROUND.items():
        for _ in range(count):
            sites = np.argwhere(free & np.isin(structures, PLACES[marker]))
            if not len(sites):
                return implants
            at = sites[int(rng.integers(len(sites)))]
            implants.append(draw_implant(marker, at, structures.shape, rng))
            box = box_around(at, structures.shape)
            start = np.array([part.start for part in box])
            free[box] &= np.linalg.norm(np.indices(free[box].shape) + (start - at).reshape(3, 1, 1, 1), axis=0) > 2 * APART_MM
    return implants


def box_around(at: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    """The voxels within ``2 * APART_MM`` of a voxel along each axis: farther than any implant reaches."""
    reach = int(2 * APART_MM)
    x, y, z = (slice(max(int(i) - reach, 0), min(int(i) + reach + 1, n)) for i, n in zip(at, shape, strict=True))
    return x, y, z


def draw_implant(marker: Marker, at: NDArray[np.int64], shape: tuple[int, ...], rng: np.random.Generator) -> Implant:
    """Draw one lesion around a voxel."""
    box = box_around(at, shape)
    share, rim = (np.zeros([part.stop - part.start for part in box], np.float32) for _ in range(2))
    centre = at - np.array([part.start for part in box]) + rng.uniform(-0.5, 0.5, 3)
    visibility = float(rng.choice(VISIBILITIES))
    if marker is Marker.LACUNE:
        size_mm = float(rng.choice(LACUNE_DIAMETERS_MM))
        radii = size_mm / 2 * np.array([1.0, rng.uniform(0.75, 1), rng.uniform(0.75, 1)])
        axes = random_axes(rng)
        paint(share, centre, size_mm * 0.75 + 2, ellipsoid(radii, axes, 0.1, rng, 0.35), 2)
        if rng.random() < RIM_SHARE:
            paint(rim, centre, size_mm * 0.75 + 4, ellipsoid(radii + 1.5, axes, 0.2, rng, 0.7), 2)
    else:
        size_mm = float(rng.choice(EPVS_WIDTHS_MM))
        direction = unit_vector(rng.normal(size=3))
        stamp_tube(share, centre + bent_path(direction, float(rng.uniform(5, 9)), rng), np.full(4, size_mm / 2))
    return Implant(marker, size_mm, visibility, box, share, rim * (1 - share))


def implant(prepared: Prepared, implants: Iterable[Implant]) -> Prepared:
    """The session with the lesions mixed into every image."""
    share, rim = (np.zeros(prepared.grid.shape, np.float32) for _ in range(2))
    for each in implants:
        share[each.box] = np.maximum(share[each.box], each.visibility * each.share)
        rim[each.box] = np.maximum(rim[each.box], each.rim)
    images = {}
    for sequence, image in prepared.images.items():
        part = through_slices(share, prepared, sequence)
        data = image.data
        if sequence is MrSequence.FLAIR:
            data = data * (1 + RIM_GAIN * through_slices(rim, prepared, sequence))
        images[sequence] = Volume(data * (1 - part) + fluid_signal(prepared, sequence) * part, prepared.grid)
    return replace(prepared, images=images)


def fluid_signal(prepared: Prepared, sequence: MrSequence) -> float:
    """The image's signal in the middle of the lateral ventricles."""
    ventricles = prepared.anatomy.structures.data == Structure.LATERAL_VENTRICLE
    depth = ndimage.distance_transform_edt(ventricles)
    return float(np.median(prepared.images[sequence].data[depth >= min(3.0, float(depth.max()))]))


def through_slices(share: FloatMap, prepared: Prepared, sequence: MrSequence) -> FloatMap:
    """A map as the sequence's slices would average it, on the analysis grid."""
    native = prepared.native[sequence]
    step = native.reference_from_native.matrix[:3, :3] @ native.grid.affine[:3, native.grid.slice_axis]
    axis = int(np.argmax(np.abs(np.linalg.inv(prepared.grid.affine[:3, :3]) @ step)))
    width = max(round(float(np.linalg.norm(step)) / float(prepared.grid.spacing_mm[axis])), 1)
    return np.asarray(ndimage.uniform_filter1d(share, width, axis=axis), np.float32) if width > 1 else share


def judge(session: str, implants: Iterable[Implant], found: Mapping[Marker, NDArray[np.bool_]]) -> list[Outcome]:
    """An implant is found when a lesion of its marker touches the half of it that is most lesion."""
    other = {Marker.LACUNE: Marker.EPVS, Marker.EPVS: Marker.LACUNE}
    outcomes = []
    for each in implants:
        core = each.share > 0.5 * each.share.max()
        hits = {marker: bool((mask[each.box] & core).any()) for marker, mask in found.items()}
        swapped = hits[other[each.marker]] and not hits[each.marker]
        outcomes.append(Outcome(session, each.marker, each.size_mm, each.visibility, hits[each.marker], swapped))
    return outcomes


def cavities(segmentation: Segmentation) -> dict[Marker, NDArray[np.bool_]]:
    """Masks of lacunes and perivascular spaces on the analysis grid."""
    maps = {marker: segmentation.markers[marker] for marker in (Marker.LACUNE, Marker.EPVS)}
    return {marker: part.labels.data > 0 for marker, part in maps.items() if isinstance(part, MarkerMap)}


def measure(data: Path, rounds: int, seed: int) -> list[Outcome]:
    """Implant into every session that can be rated for both kinds of cavity."""
    outcomes = []
    for number, source in enumerate(find_sessions(data)):
        prepared = prepare_session(load_session(source))
        untouched = cavities(segment_markers(prepared, tuple(PER_ROUND)))
        if len(untouched) < len(PER_ROUND):
            continue
        taken = np.any(list(untouched.values()), axis=0)
        for turn in range(rounds):
            implants = draw_implants(prepared, taken, np.random.default_rng((seed, number, turn)))
            found = cavities(segment_markers(implant(prepared, implants), tuple(PER_ROUND)))
            outcomes += judge(str(source.id), implants, found)
        print(f"{source.id}: {sum(o.session == str(source.id) for o in outcomes)} implants", flush=True)
    return outcomes


def wilson(found: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, 10.1080/01621459.1927.10502953)."""
    z, p = 1.96, found / n
    centre, half = (p + z * z / (2 * n)), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def table(outcomes: Sequence[Outcome], marker: Marker) -> str:
    """Recall by size and visibility."""
    mine = [outcome for outcome in outcomes if outcome.marker is marker]
    rows = []
    for size in sorted({outcome.size_mm for outcome in mine}):
        cells = [_cell([o for o in mine if o.size_mm == size and o.visibility == visibility]) for visibility in VISIBILITIES]
        rows.append((f"{size:g} mm", *cells, _cell([o for o in mine if o.size_mm == size])))
    rows.append(("all", *(_cell([o for o in mine if o.visibility == visibility]) for visibility in VISIBILITIES), _cell(mine)))
    return markdown_table((SIZE_NAMES[marker], *(f"visibility {visibility:g}" for visibility in VISIBILITIES), "all"), rows)


def _cell(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return "n/a"
    n, found = len(outcomes), sum(outcome.found for outcome in outcomes)
    low, high = wilson(found, n)
    other = sum(outcome.as_other for outcome in outcomes)
    return f"{found}/{n} = {found / n:.2f} ({low:.2f} to {high:.2f})" + (f", {other} as the other" if other else "")


def draw_recall(outcomes: Sequence[Outcome], path: Path) -> None:
    """Recall by size, a line for each visibility, with Wilson's intervals."""
    figure, axes = plt.subplots(1, len(PER_ROUND), figsize=(8, 3.2), sharey=True)
    for ax, (marker, name) in zip(axes, NAMES.items(), strict=True):
        for number, visibility in enumerate(VISIBILITIES):
            mine = [o for o in outcomes if o.marker is marker and o.visibility == visibility]
            sizes = sorted({o.size_mm for o in mine})
            groups = [[o.found for o in mine if o.size_mm == size] for size in sizes]
            recall = np.array([sum(group) / len(group) for group in groups])
            bounds = np.array([wilson(sum(group), len(group)) for group in groups]).T
            place = np.arange(len(sizes)) + 0.06 * (number - 1)
            ax.errorbar(place, recall, np.abs(bounds - recall), marker="o", capsize=2, label=f"visibility {visibility:g}")
            ax.set_xticks(np.arange(len(sizes)), [f"{size:g}" for size in sizes])
        ax.set_xlabel(f"{SIZE_NAMES[marker]}, mm")
        ax.set_title(f"{name}, n = {sum(o.marker is marker for o in outcomes)}", fontsize=10)
    axes[0].set(ylabel="found", ylim=(-0.02, 1.02))
    axes[-1].legend(fontsize=8)
    figure.suptitle("Simulated lesions in real images", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def to_markdown(outcomes: Sequence[Outcome], machine: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    sessions = len({outcome.session for outcome in outcomes})
    parts = [
        "**SIMULATED lesions in REAL images**: recall of lesions whose place, size and contrast are known; no rater drew them.\n\n"
        "# Implanted lacunes and perivascular spaces\n\n"
        f"{sessions} real sessions. Found: a lesion of the marker touches the implant's core. In brackets: Wilson's 95 % interval. "
        "Visibility: share of the fluid's signal that the cavity shows. 'As the other': found as the other kind of cavity.\n"
    ]
    for marker, name in NAMES.items():
        parts.append(f"\n## {name}\n\n{table(outcomes, marker)}")
    return (
        "".join(parts)
        + "\n"
        + machine_markdown(machine)
        + "\n![Recall by size and visibility](../../docs/images/implanted.svg)\n\nMade by `python benchmarks/implanted.py`.\n"
    )


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="BIDS folder of real scans")
    parser.add_argument("--rounds", type=int, default=8, help="per session")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcomes = measure(options.data, options.rounds, options.seed)
    machine = describe_machine()
    markdown = to_markdown(outcomes, machine)
    record = {
        "implants": [{**vars(outcome), "marker": str(outcome.marker)} for outcome in outcomes],
        "machine": machine,
    }
    write_result("implanted", markdown, record)
    draw_recall(outcomes, PICTURE)
    print(markdown)


if __name__ == "__main__":
    main()
