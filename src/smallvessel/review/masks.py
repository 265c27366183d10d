"""Masks that a person drew or changed, on either grid: on the other one only what differs changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..records import MarkerMap, Native, Prepared
from ..segment.native import bring_to_native
from ..shapes import component_boxes, label_components, nearest_labels
from ..volume import Grid, LabelMap, Mask, Volume, canonical_grid, read_values, reorder_axes, resample

DRAWN_CONFIDENCE = 1.0
"""Of a lesion that a person drew or named."""
HALF = 0.5
"""Of a native voxel has to be covered by what a person said is lesion: there is no doubt in it that a probability would decide."""
MASK_TOLERANCE_MM = 0.05
"""By how much a drawn mask's grid may differ from the image's: editors round headers."""


def read_drawn(path: Path) -> Mask:
    """A mask that a person drew; of several structures in one file it is not known which is meant."""
    values = read_values(path)
    labels = np.unique(values.data[values.data > HALF])
    if len(labels) > 1 and np.array_equal(labels, np.rint(labels)) and "_dseg." not in path.name:
        shown = ", ".join(f"{label:.0f}" for label in labels[:6]) + (", ..." if len(labels) > 6 else "")
        raise InputError(
            f"a mask with the labels {shown}, {path}",
            "one label, that of the marker",
            "export the label of the marker alone and give that file",
        )
    return Mask(values.data > HALF, values.grid)


def reorder(mask: Mask, grid: Grid) -> Mask | None:
    """The mask on a grid that has the same voxels, in whatever order of axes; None where they are other voxels."""
    if not canonical_grid(mask.grid).same_as(canonical_grid(grid), MASK_TOLERANCE_MM):
        return None
    ordered = reorder_axes(mask, canonical_grid(mask.grid))
    return Mask(reorder_axes(Mask(ordered.data, canonical_grid(grid)), grid).data, grid)


def change_mask(found: MarkerMap, mask: NDArray[np.bool_], prepared: Prepared) -> MarkerMap:
    """A marker with another mask on the analysis grid. On its sequence's own grid only what differs is drawn anew.

    What a person drew there, and lesions that nobody touched, stay as they are, voxel by voxel.
    """
    native, before = prepared.native[found.native_sequence], found.labels.data
    cut = np.unique(before[(before > 0) & ~mask])
    drawn = found.native_mask.data.copy()
    voxels = np.argwhere(drawn)
    drawn[tuple(voxels[np.isin(_lesion_of(voxels, found, native), cut)].T)] = False
    differs = mask & ((before == 0) | np.isin(before, cut))
    certain = Volume(differs.astype(np.float32), found.labels.grid)
    added, _ = bring_to_native(LabelMap(label_components(differs)[0], found.labels.grid), certain, HALF, native)
    return replace(_number(found, mask), native_mask=Mask(drawn | added.data, native.grid))


def change_native_mask(found: MarkerMap, drawn: Mask, prepared: Prepared) -> MarkerMap:
    """A marker with another mask on its sequence's own grid. On the analysis grid only what differs changes.

    The two grids never hold quite the same mask: one brought over whole would change lesions that nobody touched.
    """
    native, before = prepared.native[found.native_sequence], found.native_mask.data
    kept = (found.labels.data > 0) & ~_erased(found, before & ~drawn.data, native)
    return replace(_number(found, kept | _gained(found, drawn.data, native)), native_mask=drawn)


def count_joined(found: MarkerMap, changed: MarkerMap) -> int:
    """How many lesions that were drawn where none was joined another on the analysis grid, or lie outside it."""
    drawn, n_drawn = label_components(changed.native_mask.data)
    n_drawn -= len(np.unique(drawn[found.native_mask.data & (drawn > 0)]))
    of_old = np.unique(changed.labels.data[(found.labels.data > 0) & (changed.labels.data > 0)])
    return max(n_drawn - (len(changed.confidence) - len(of_old)), 0)


def _erased(found: MarkerMap, removed: NDArray[np.bool_], native: Native) -> NDArray[np.bool_]:
    """Analysis voxels of lesions whose nearest native voxel of the same lesion was removed."""
    from scipy.spatial import cKDTree

    labels, erased = found.labels, np.zeros(found.labels.data.shape, bool)
    voxels = np.argwhere(found.native_mask.data)
    lesion, gone = _lesion_of(voxels, found, native), removed[tuple(voxels.T)]
    touched, places_mm = np.unique(lesion[gone]), native.reference_from_native(native.grid.world(voxels))
    for label, box in component_boxes(labels.data, 0):
        if label in touched:
            mine = lesion == label
            inside = np.argwhere(labels.data[box] == label) + [side.start for side in box]
            _, nearest = cKDTree(places_mm[mine]).query(labels.grid.world(inside))
            erased[tuple(inside[gone[mine][nearest]].T)] = True
    return erased


def _gained(found: MarkerMap, drawn: NDArray[np.bool_], native: Native) -> NDArray[np.bool_]:
    """Analysis voxels whose nearest native voxel was added; of a new lesion that has none, for it is smaller than they are, one."""
    grid, before = found.labels.grid, found.native_mask.data
    lesions, n_lesions = label_components(drawn)
    added = np.where(before, 0, lesions)
    near = resample(LabelMap(added, native.grid), grid, native.reference_from_native).data
    gained = near > 0
    missed = np.setdiff1d(np.arange(1, n_lesions + 1), np.concatenate([np.unique(near), np.unique(lesions[before])]))
    for lesion in missed:
        centre_mm = native.reference_from_native(native.grid.world(np.argwhere(lesions == lesion)).mean(axis=0, keepdims=True))
        voxel = np.rint(grid.voxels(centre_mm)).astype(int)
        if ((voxel >= 0) & (voxel < grid.shape)).all():
            gained[tuple(voxel.T)] = True
    return gained


def _lesion_of(voxels: NDArray[np.int64], found: MarkerMap, native: Native) -> NDArray[np.int32]:
    """The lesion to which each voxel of the native mask belongs: the nearest one."""
    return nearest_labels(native.reference_from_native(native.grid.world(voxels)), found.labels)


def _number(found: MarkerMap, mask: NDArray[np.bool_]) -> MarkerMap:
    """A marker with another mask: components numbered anew, each as confident as the most confident lesion it was before.

    The errors that the network's card expects are those of its own lesions, no longer of these.
    """
    labels, _ = label_components(mask)
    confidence = []
    for label, box in component_boxes(labels, 0):
        before = np.unique(found.labels.data[box][labels[box] == label])
        confidence.append(max((found.confidence[old - 1] for old in before if old > 0), default=DRAWN_CONFIDENCE))
    return replace(found, labels=LabelMap(labels, found.labels.grid), confidence=tuple(confidence), errors=None)
