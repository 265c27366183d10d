"""From the anatomy network's probabilities to brain masks and structures.

The network sees a whole image at 2 mm. Its probabilities stay on that grid and are interpolated once, straight onto the
grid where they are needed, so that borders lie between its voxels and not on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..intensity import normalise_head
from ..markers import CONNECTIVITY
from ..models import padded_shape
from ..structures import STRUCTURES, Structure
from ..volume import Grid, LabelMap, Mask, Transform, Volume, isotropic_grid, resample

AnatomyNetwork = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Logits (18, x, y, z) of one channel (1, x, y, z): the structures, then the right side."""

NETWORK_SPACING_MM = 2.0
ANALYSIS_SPACING_MM = 1.0
ANALYSIS_MARGIN_MM = 8.0
CLOSING_MM = 8.0
"""Sulci narrower than twice this belong to the visible brain mask. Own choice; 6 to 10 mm hardly differ on real scans."""
BRAIN_PROBABILITY = 0.2
"""A voxel belongs to the visible brain from this probability on: manual masks run along the pia, outside the voxels that are partly
brain. Own choice, among 0.15 to 0.33, by the reference masks of two patients (openms), whose volume it meets within 1 %."""
ALL_SEEN = 0.999
"""Share of a voxel's neighbours within the field of view for it to count as seen."""
ISLAND_PROBABILITY = 0.2
"""Voxels above it hang together when islands are looked for. Own choice."""
NEGLIGIBLE = 0.01
"""Where a structure or the brain is less probable, it is taken as absent."""

_NEIGHBOURS = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[CONNECTIVITY])
_MIDLINE = (Structure.THIRD_VENTRICLE, Structure.FOURTH_VENTRICLE, Structure.BRAINSTEM)
_PAIRED = (
    Structure.THALAMUS,
    Structure.CAUDATE,
    Structure.PUTAMEN,
    Structure.PALLIDUM,
    Structure.VENTRAL_DC,
    Structure.HIPPOCAMPUS,
    Structure.AMYGDALA,
)


@dataclass(frozen=True, eq=False)
class HeadProbability:
    """Where the brain is, and the inside of the skull, on a 2 mm grid.

    Attributes
    ----------
    grid : Grid
    brain : ndarray, shape (x, y, z), float32
        Probability of brain tissue or ventricle.
    intracranial : ndarray, shape (x, y, z), float32
        Probability of lying inside the skull.
    """

    grid: Grid
    brain: NDArray[np.float32]
    intracranial: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AnatomyProbability:
    """What the network says about one image, on its 2 mm grid.

    Attributes
    ----------
    grid : Grid
    structures : ndarray, shape (17, x, y, z), float32
        Probability of every Structure; they add up to 1.
    right : ndarray, shape (x, y, z), float32
        Probability of the right side.
    """

    grid: Grid
    structures: NDArray[np.float32]
    right: NDArray[np.float32]

    @property
    def head(self) -> HeadProbability:
        """What the masks are made of."""
        inside = 1.0 - self.structures[Structure.BACKGROUND]
        brain = inside - self.structures[Structure.CSF]
        return HeadProbability(self.grid, np.asarray(brain, np.float32), np.asarray(inside, np.float32))


@dataclass(frozen=True, eq=False)
class AnatomyView:
    """One image's opinion on the anatomy, and how to bring it to the reference image's world."""

    probability: AnatomyProbability
    reference_from_native: Transform
    weight: float


def find_anatomy(image: Volume, network: AnatomyNetwork) -> AnatomyProbability:
    """Run the anatomy network on a whole image, with or without skull.

    Parameters
    ----------
    image : Volume
        Intensities as acquired, on the native grid.
    """
    coarse = resample(image, isotropic_grid(image.grid, NETWORK_SPACING_MM))
    logits = network(normalise_head(coarse.data)[np.newaxis])
    structures = logits[: len(Structure)]
    odds = np.exp(structures - structures.max(axis=0))
    right = 1.0 / (1.0 + np.exp(-np.clip(logits[len(Structure)], -30.0, 30.0)))
    return AnatomyProbability(coarse.grid, np.asarray(odds / odds.sum(axis=0), np.float32), np.asarray(right, np.float32))


def find_brain(head: HeadProbability, grid: Grid) -> Mask:
    """The visible brain on any grid of the same world: tissue, ventricles and the CSF of the sulci, one piece, no holes."""
    closed = close_probability(head.brain, CLOSING_MM / NETWORK_SPACING_MM)
    within = resample(Volume(np.minimum(closed, head.intracranial), head.grid), grid)
    return _one_piece(within.data >= BRAIN_PROBABILITY, grid)


def find_intracranial(head: HeadProbability, grid: Grid) -> Mask:
    """Everything inside the skull on any grid of the same world, one piece, no holes."""
    return _one_piece(resample(Volume(head.intracranial, head.grid), grid).data >= 0.5, grid)


def take_over_head(own: HeadProbability, fused: HeadProbability, native_from_reference: Transform) -> HeadProbability:
    """What all images together say, brought to one image's 2 mm grid; beyond the reference's field of view the image's own view."""
    ones = Volume(np.ones(fused.grid.shape, np.float32), fused.grid)
    seen = resample(ones, own.grid, native_from_reference).data > ALL_SEEN
    brain, intracranial = (resample(Volume(p, fused.grid), own.grid, native_from_reference).data for p in (fused.brain, fused.intracranial))
    return HeadProbability(own.grid, np.where(seen, brain, own.brain), np.where(seen, intracranial, own.intracranial))


def close_probability(probability: NDArray[np.float32], radius_vox: float) -> NDArray[np.float32]:
    """Grey-value closing by a ball: fills gaps narrower than its diameter, and keeps the border's position between voxels."""
    result = np.array(probability, np.float32)
    box = ndimage.find_objects((probability > NEGLIGIBLE).astype(np.uint8))
    if not box:
        return result
    reach = int(np.ceil(radius_vox))
    padded = np.pad(probability[box[0]], 2 * reach)
    closed = -dilate_by_ball(-dilate_by_ball(padded, radius_vox), radius_vox)
    inner = (slice(2 * reach, -2 * reach),) * 3
    result[box[0]] = np.maximum(closed[inner], probability[box[0]])
    return result


def dilate_by_ball(image: NDArray[np.float32], radius_vox: float) -> NDArray[np.float32]:
    """Greatest value within a ball around each voxel, nothing beyond the edges; the ball is taken column by column, which is fast."""
    reach = int(radius_vox)
    columns: dict[int, NDArray[np.float32]] = {}
    result = np.full(image.shape, -np.inf, np.float32)
    for x in range(-reach, reach + 1):
        for y in range(-reach, reach + 1):
            left = radius_vox**2 - x**2 - y**2
            if left < 0:
                continue
            half = int(np.sqrt(left))
            if half not in columns:
                columns[half] = ndimage.maximum_filter1d(image, 2 * half + 1, axis=2, mode="constant", cval=-np.inf)
            to_x, from_x = _overlap(x, image.shape[0])
            to_y, from_y = _overlap(y, image.shape[1])
            np.maximum(result[to_x, to_y], columns[half][from_x, from_y], out=result[to_x, to_y])
    return result


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Where an axis and itself moved by ``shift`` have voxels in common: in the one, in the other."""
    return slice(max(-shift, 0), size - max(shift, 0)), slice(max(shift, 0), size - max(-shift, 0))


def analysis_grid(reference: Grid, intracranial: Mask) -> Grid:
    """The 1 mm grid along the reference image's axes, cropped to the head's inside.

    Parameters
    ----------
    reference : Grid
        The reference image's native grid.
    intracranial : Mask
        On a grid whose axes are parallel to the reference's in RAS+ order (the network's).

    Returns
    -------
    Grid
        1 mm cubic voxels over the intracranial box and a margin of 8 mm, each side a multiple of 16 voxels, so that
        networks need no padding. The box may reach beyond the field of view.
    """
    whole = isotropic_grid(reference, ANALYSIS_SPACING_MM)
    # the two grids lie half voxels apart: rounding errors must not decide where the box begins
    corners = np.round(whole.voxels(intracranial.grid.world(np.argwhere(intracranial.data))), 3)
    low = np.floor(corners.min(axis=0) - ANALYSIS_MARGIN_MM / ANALYSIS_SPACING_MM).astype(int)
    high = np.ceil(corners.max(axis=0) + ANALYSIS_MARGIN_MM / ANALYSIS_SPACING_MM).astype(int) + 1
    shape = padded_shape(tuple(high - low))
    start = low - (np.array(shape) - (high - low)) // 2
    return whole.crop((int(start[0]), int(start[1]), int(start[2])), shape)


def fuse_anatomy(views: Sequence[AnatomyView]) -> AnatomyProbability:
    """Average what several images say, on the first one's 2 mm grid.

    Parameters
    ----------
    views : sequence of AnatomyView
        The reference first. An image has no say outside its own field of view.
    """
    if len(views) == 1:
        return views[0].probability
    grid = views[0].probability.grid
    structures: NDArray[np.float32] = np.zeros((len(Structure), *grid.shape), np.float32)
    right, total = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    for view in views:
        own = view.probability

        def bring(data: NDArray[np.float32], own: AnatomyProbability = own, view: AnatomyView = view) -> NDArray[np.float32]:
            return resample(Volume(data, own.grid), grid, view.reference_from_native).data

        seen = bring(np.ones(own.grid.shape, np.float32)) > ALL_SEEN
        weight = np.where(seen, np.float32(view.weight), np.float32(0.0))
        for structure in Structure:
            structures[structure] += weight * bring(own.structures[structure])
        right += weight * bring(own.right)
        total += weight
    return AnatomyProbability(grid, structures / total, right / total)


def suppress_islands(probability: AnatomyProbability) -> AnatomyProbability:
    """Take away what a deep structure claims apart from its largest piece (per side, for those that have sides)."""
    structures = probability.structures.copy()
    right = probability.right > 0.5
    for structure in (*_PAIRED, *_MIDLINE):
        claimed = structures[structure] > ISLAND_PROBABILITY
        sides = (claimed & right, claimed & ~right) if structure in _PAIRED else (claimed,)
        kept = np.logical_or.reduce([largest_piece(side) for side in sides])
        structures[structure][claimed & ~kept] = 0.0
    return AnatomyProbability(probability.grid, structures / np.maximum(structures.sum(axis=0), 1e-6), probability.right)


def decide_structures(probability: AnatomyProbability, grid: Grid) -> tuple[LabelMap, Mask]:
    """The most probable structure, and the right side, on a finer grid of the same world.

    Returns
    -------
    structures : LabelMap
        The lowest code among equals; background outside the probability's field of view.
    right : Mask
    """
    best = np.array(resample(Volume(probability.structures[0], probability.grid), grid).data)
    labels = np.zeros(grid.shape, np.int32)
    for structure in list(Structure)[1:]:
        box = _box_where(probability.structures[structure] > NEGLIGIBLE, probability.grid, grid)
        if box is None:
            continue
        x, y, z = best[box].shape
        part = grid.crop((box[0].start, box[1].start, box[2].start), (x, y, z))
        here = resample(Volume(probability.structures[structure], probability.grid), part).data
        wins = here > best[box]
        labels[box][wins] = structure
        best[box][wins] = here[wins]
    right = resample(Volume(probability.right, probability.grid), grid).data > 0.5
    return LabelMap(labels, grid, {int(structure): STRUCTURES[structure].name for structure in Structure}), Mask(right, grid)


def make_consistent(structures: LabelMap, brain: Mask, intracranial: Mask) -> LabelMap:
    """Tissue outside the brain's one piece becomes CSF inside the skull and background outside it."""
    labels = np.array(structures.data)
    labels[~brain.data & (labels != Structure.BACKGROUND)] = Structure.CSF
    labels[~intracranial.data] = Structure.BACKGROUND
    labels[brain.data & (labels == Structure.BACKGROUND)] = Structure.CSF
    return LabelMap(labels, structures.grid, structures.names)


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 26-connected component, the first one among equals; all False for an empty mask."""
    labels, count = ndimage.label(mask, structure=_NEIGHBOURS)
    if count <= 1:
        return mask
    return np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))


def _one_piece(whole: NDArray[np.bool_], grid: Grid) -> Mask:
    """The largest component with its holes filled."""
    result = np.zeros_like(whole)
    box = ndimage.find_objects(whole.astype(np.uint8))
    if box:
        result[box[0]] = ndimage.binary_fill_holes(largest_piece(whole[box[0]]))
    return Mask(result, grid)


def _box_where(mask: NDArray[np.bool_], source: Grid, target: Grid) -> tuple[slice, slice, slice] | None:
    """The part of ``target`` that a mask on ``source`` can reach by linear interpolation; None if nowhere."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    corners = np.array(np.meshgrid(*[(s.start - 1, s.stop) for s in found[0]])).reshape(3, -1).T
    voxels = target.voxels(source.world(corners))
    low = np.clip(np.floor(voxels.min(axis=0)).astype(int), 0, target.shape)
    high = np.clip(np.ceil(voxels.max(axis=0)).astype(int) + 1, 0, target.shape)
    if (high <= low).any():
        return None
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z
