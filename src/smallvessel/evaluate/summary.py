"""Comparisons of several scans in short, with bootstrap intervals over subjects."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import NotAssessed
from .agreement import Estimate, bootstrap, bootstrap_mean
from .comparison import MaskComparison
from .lesionwise import CENTRE_DISTANCE_MM, LesionMetrics

METRICS: Mapping[str, str] = {
    "dice": "Dice",
    "h95_mm": "H95, mm",
    "avd_percent": "AVD, %",
    "volume_bias_ml": "volume bias, mL",
    "recall": "lesion recall",
    "precision": "lesion precision",
    "f1": "lesion F1",
    "f1_distance": f"lesion F1, centres ≤ {CENTRE_DISTANCE_MM:g} mm",
    "panoptic_quality": "panoptic quality",
}
"""Measures of one scan: name and heading."""


@dataclass(frozen=True)
class Detection:
    """Lesions of several scans together, paired by any overlap. Intervals are bootstrap intervals over scans.

    Attributes
    ----------
    n_scans, n_with_lesions, n_lesions : int
        Scans, those with reference lesions, reference lesions.
    recall, precision, f1 : Estimate or NotAssessed
    false_per_scan : Estimate or NotAssessed
    positivity : Estimate or NotAssessed
        Share of the lesion-free scans on which something is predicted.
    """

    n_scans: int
    n_with_lesions: int
    n_lesions: int
    recall: Estimate | NotAssessed
    precision: Estimate | NotAssessed
    f1: Estimate | NotAssessed
    false_per_scan: Estimate | NotAssessed
    positivity: Estimate | NotAssessed


def metrics_of(found: MaskComparison) -> dict[str, float | NotAssessed]:
    """The measures of one scan, in the order of ``METRICS``."""
    voxels, lesions = found.voxels, found.by_overlap
    return {
        "dice": voxels.dice,
        "h95_mm": voxels.h95_mm,
        "avd_percent": voxels.avd_percent,
        "volume_bias_ml": voxels.volume_bias_ml,
        "recall": lesions.recall,
        "precision": lesions.precision,
        "f1": lesions.f1,
        "f1_distance": found.by_distance.f1,
        "panoptic_quality": found.panoptic.quality,
    }


def mean_over_scans(values: Sequence[float | NotAssessed]) -> Estimate | NotAssessed:
    """Mean over the scans on which it is defined, with its bootstrap interval."""
    defined = [value for value in values if not isinstance(value, NotAssessed)]
    return bootstrap_mean(defined) if defined else NotAssessed("it is defined on no scan")


def summarise_detection(scans: Sequence[LesionMetrics]) -> Detection:
    """Recall, precision and F1 of all lesions together, false lesions per scan, and lesion-free scans with a false one."""
    counts = np.array([[scan.n_reference, scan.n_prediction, scan.n_found, scan.n_true] for scan in scans], float).reshape(-1, 4)
    free = counts[counts[:, 0] == 0]
    return Detection(
        n_scans=len(counts),
        n_with_lesions=len(counts) - len(free),
        n_lesions=int(counts[:, 0].sum()),
        recall=_or_reason(_pooled("recall"), counts, "no reference lesion"),
        precision=_or_reason(_pooled("precision"), counts, "no predicted lesion"),
        f1=_or_reason(_pooled("f1"), counts, "no lesion at all"),
        false_per_scan=_or_reason(lambda rows: float((rows[:, 1] - rows[:, 3]).mean()), counts, "no scan"),
        positivity=_or_reason(lambda rows: float((rows[:, 1] > 0).mean()), free, "no scan is free of lesions"),
    )


def _or_reason(statistic: Callable[[NDArray[np.float64]], float], counts: NDArray[np.float64], reason: str) -> Estimate | NotAssessed:
    found = bootstrap(statistic, counts)
    return NotAssessed(reason) if isinstance(found, NotAssessed) else found


def _pooled(name: str) -> Callable[[NDArray[np.float64]], float]:
    def compute(counts: NDArray[np.float64]) -> float:
        n_reference, n_prediction, n_found, n_true = (int(total) for total in counts.sum(axis=0))
        value = getattr(LesionMetrics("pooled", n_reference, n_prediction, n_found, n_true), name)
        return math.nan if isinstance(value, NotAssessed) else float(value)

    return compute
