"""Compare results with a reference: voxel by voxel, lesion by lesion, subject by subject."""

from .agreement import Estimate, bootstrap, bootstrap_mean, icc_agreement, pearson, share, spearman, weighted_kappa
from .challenge import ChallengeScore, score_by_challenge
from .comparison import MaskComparison, compare_masks
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
from .pairing import MaskPair, Pairing, pair_masks
from .probability import (
    CalibrationBin,
    ThresholdPoint,
    bin_probabilities,
    expected_calibration_error,
    pool_bins,
    pool_points,
    trace_thresholds,
)
from .reading import LesionImage, bring_together, read_lesions, read_reference
from .sizes import SizeBand, match_by_size, pool_sizes
from .summary import METRICS, RULES, Detection, lesions_of, mean_over_scans, metrics_of, summarise_detection
from .voxel import VoxelMetrics, compare_voxels

__all__ = [
    "CENTRE_DISTANCE_MM",
    "METRICS",
    "RULES",
    "CalibrationBin",
    "ChallengeScore",
    "Detection",
    "Estimate",
    "LesionImage",
    "LesionMetrics",
    "MaskComparison",
    "MaskPair",
    "Pairing",
    "PanopticMetrics",
    "SizeBand",
    "ThresholdPoint",
    "VoxelMetrics",
    "bin_probabilities",
    "bootstrap",
    "bootstrap_mean",
    "bring_together",
    "compare_masks",
    "compare_voxels",
    "expected_calibration_error",
    "false_positives_per_scan",
    "icc_agreement",
    "lesions_of",
    "match_by_distance",
    "match_by_overlap",
    "match_by_size",
    "match_panoptic",
    "mean_over_scans",
    "metrics_of",
    "pair_masks",
    "pearson",
    "pool_bins",
    "pool_lesions",
    "pool_points",
    "pool_sizes",
    "positivity_without_lesions",
    "read_lesions",
    "read_reference",
    "score_by_challenge",
    "share",
    "spearman",
    "summarise_detection",
    "trace_thresholds",
    "weighted_kappa",
]
