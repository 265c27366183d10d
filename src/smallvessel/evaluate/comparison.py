"""One prediction against one reference, in every way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..volume import Mask, require_same_grid
from .lesionwise import CENTRE_DISTANCE_MM, LesionMetrics, PanopticMetrics, match_by_distance, match_by_overlap, match_panoptic
from .voxel import VoxelMetrics, compare_voxels, without


@dataclass(frozen=True)
class MaskComparison:
    """Everything about one prediction against one reference."""

    voxels: VoxelMetrics
    by_overlap: LesionMetrics
    by_distance: LesionMetrics
    panoptic: PanopticMetrics


def compare_masks(
    prediction: Mask, reference: Mask, exclude: Mask | None = None, max_distance_mm: float = CENTRE_DISTANCE_MM
) -> MaskComparison:
    """Compare two masks on the same grid in every way.

    Parameters
    ----------
    prediction, reference : Mask
    exclude : Mask, optional
        Voxels that count in neither.
    max_distance_mm : float
        Between the centres of a pair, for ``by_distance``.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    require_same_grid(prediction, reference)
    prediction, reference = without(prediction, exclude), without(reference, exclude)
    prediction, reference = _crop(prediction, reference)
    return MaskComparison(
        voxels=compare_voxels(prediction, reference),
        by_overlap=match_by_overlap(prediction, reference),
        by_distance=match_by_distance(prediction, reference, max_distance_mm),
        panoptic=match_panoptic(prediction, reference),
    )


def _crop(prediction: Mask, reference: Mask) -> tuple[Mask, Mask]:
    """Both masks in the box of their voxels and one voxel around it: nothing that is computed depends on more, and heads are large."""
    either = prediction.data | reference.data
    filled = [np.flatnonzero(either.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not len(filled[0]):
        return prediction, reference
    start = [max(int(part[0]) - 1, 0) for part in filled]
    stop = [min(int(part[-1]) + 2, n) for part, n in zip(filled, either.shape, strict=True)]
    grid = prediction.grid.crop((start[0], start[1], start[2]), (stop[0] - start[0], stop[1] - start[1], stop[2] - start[2]))
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return Mask(prediction.data[box], grid), Mask(reference.data[box], grid)
