"""Compare results with a reference: voxel by voxel, lesion by lesion, subject by subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..volume import Mask
from .agreement import Estimate, bootstrap, icc_agreement, pearson, spearman, weighted_kappa
from .challenge import ChallengeScore, score_by_challenge
from .lesionwise import (
    CENTRE_DISTANCE_MM,
    LesionMetrics,
    PanopticMetrics,
    false_positives_per_scan,
    match_by_distance,
    match_by_overlap,
    match_panoptic,
    pool_lesions,
    positivity_without_lesions,
)
from .voxel import VoxelMetrics, compare_voxels

__all__ = [
    "CENTRE_DISTANCE_MM",
    "ChallengeScore",
    "Estimate",
    "LesionMetrics",
    "MaskComparison",
    "PanopticMetrics",
    "VoxelMetrics",
    "bootstrap",
    "compare_masks",
    "compare_voxels",
    "false_positives_per_scan",
    "icc_agreement",
    "match_by_distance",
    "match_by_overlap",
    "match_panoptic",
    "pair_masks",
    "pearson",
    "pool_lesions",
    "positivity_without_lesions",
    "score_by_challenge",
    "spearman",
    "weighted_kappa",
]


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
    return MaskComparison(
        voxels=compare_voxels(prediction, reference, exclude),
        by_overlap=match_by_overlap(prediction, reference, exclude),
        by_distance=match_by_distance(prediction, reference, max_distance_mm, exclude),
        panoptic=match_panoptic(prediction, reference, exclude=exclude),
    )


def pair_masks(prediction: Path, reference: Path) -> list[tuple[str, Path, Path]]:
    """Name, prediction and reference of each pair: two files, or the files at the same places under two folders.

    Raises
    ------
    InputError
        When one is a file and the other a folder, or nothing pairs.
    """
    if reference.is_file() and prediction.is_file():
        return [(prediction.name, prediction, reference)]
    if reference.is_file() or prediction.is_file():
        raise InputError(f"{prediction} and {reference}", "two files or two folders", "give the same kind twice")
    pairs = []
    for theirs in sorted(path for ending in ("*.nii", "*.nii.gz") for path in reference.rglob(ending)):
        mine = prediction / theirs.relative_to(reference)
        if mine.is_file():
            pairs.append((theirs.relative_to(reference).as_posix(), mine, theirs))
    if not pairs:
        raise InputError(f"no mask of {reference} in {prediction}", "masks at the same places under both folders", "check the folders")
    return pairs
