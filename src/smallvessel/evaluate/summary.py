"""Comparisons of several scans in short, with intervals over subjects."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import NotAssessed
from .agreement import Estimate, bootstrap, share
from .comparison import MaskComparison
from .lesionwise import CENTRE_DISTANCE_MM, LesionMetrics

CENTRES = f"centres ≤ {CENTRE_DISTANCE_MM:g} mm"
RULES: Mapping[str, str] = {"overlap": "any overlap", "distance": CENTRES}
"""How lesions are paired one scan at a time: name and heading."""
METRICS: Mapping[str, str] = {
    "dice": "Dice",
    "h95_mm": "H95, mm",
    "avd_percent": "AVD, %",
    "volume_bias_ml": "volume bias, mL",
    "recall": "lesion recall",
    "precision": "lesion precision",
    "f1": "lesion F1",
    "false_lesions": "false lesions",
    "recall_distance": f"lesion recall, {CENTRES}",
    "precision_distance": f"lesion precision, {CENTRES}",
    "f1_distance": f"lesion F1, {CENTRES}",
    "false_distance": f"false lesions, {CENTRES}",
    "panoptic_quality": "panoptic quality",
}
"""Measures of one scan: name and heading."""


@dataclass(frozen=True)
class Detection:
    """Lesions of several scans together, paired by one rule. Intervals are bootstrap intervals over subjects unless said.

    Attributes
    ----------
    n_subjects, n_scans, n_with_lesions, n_lesions : int
        Subjects, their scans, those with reference lesions, reference lesions.
    recall, precision, f1 : Estimate or NotAssessed
    false_per_scan : Estimate or NotAssessed
    positivity : Estimate or NotAssessed
        Share of the lesion-free scans on which something is predicted. With Wilson's interval where each is another subject's.
    """

    n_subjects: int
    n_scans: int
    n_with_lesions: int
    n_lesions: int
    recall: Estimate | NotAssessed
    precision: Estimate | NotAssessed
    f1: Estimate | NotAssessed
    false_per_scan: Estimate | NotAssessed
    positivity: Estimate | NotAssessed


def lesions_of(found: MaskComparison) -> dict[str, LesionMetrics]:
    """The lesions of one scan, by the names of ``RULES``."""
    return {"overlap": found.by_overlap, "distance": found.by_distance}


def metrics_of(found: MaskComparison) -> dict[str, float | NotAssessed]:
    """The measures of one scan, in the order of ``METRICS``."""
    voxels, lesions, centres = found.voxels, found.by_overlap, found.by_distance
    return {
        "dice": voxels.dice,
        "h95_mm": voxels.h95_mm,
        "avd_percent": voxels.avd_percent,
        "volume_bias_ml": voxels.volume_bias_ml,
        "recall": lesions.recall,
        "precision": lesions.precision,
        "f1": lesions.f1,
        "false_lesions": float(lesions.n_false),
        "recall_distance": centres.recall,
        "precision_distance": centres.precision,
        "f1_distance": centres.f1,
        "false_distance": float(centres.n_false),
        "panoptic_quality": found.panoptic.quality,
    }


def mean_over_scans(values: Sequence[float | NotAssessed], subjects: Sequence[str]) -> Estimate | NotAssessed:
    """Mean over the scans on which it is defined, with its bootstrap interval over subjects.

    Parameters
    ----------
    values : sequence of float or NotAssessed
    subjects : sequence of str
        Whose scan each is. All scans of a subject are drawn together: they are no independent ones.

    Returns
    -------
    Estimate or NotAssessed
        ``n`` is the number of subjects.
    """
    rows = [(value, 1.0, whose) for value, whose in zip(values, subjects, strict=True) if not isinstance(value, NotAssessed)]
    sums = _per_subject(np.array([row[:2] for row in rows], float).reshape(-1, 2), [row[2] for row in rows])
    return _or_reason(lambda of: float(of[:, 0].sum() / of[:, 1].sum()), sums, "it is defined on no scan")


def summarise_detection(scans: Sequence[LesionMetrics], subjects: Sequence[str]) -> Detection:
    """Recall, precision and F1 of all lesions together, false lesions per scan, and lesion-free scans with a false one.

    Parameters
    ----------
    scans : sequence of LesionMetrics
    subjects : sequence of str
        Whose scan each is, as in :func:`mean_over_scans`.
    """
    rows = [
        (scan.n_reference, scan.n_prediction, scan.n_found, scan.n_true, 1, free, free and scan.n_prediction > 0)
        for scan in scans
        for free in (scan.n_reference == 0,)
    ]
    counts = _per_subject(np.array(rows, float).reshape(-1, 7), subjects)
    return Detection(
        n_subjects=len(counts),
        n_scans=len(scans),
        n_with_lesions=sum(scan.n_reference > 0 for scan in scans),
        n_lesions=int(counts[:, 0].sum()),
        recall=_or_reason(_pooled("recall"), counts, "no reference lesion"),
        precision=_or_reason(_pooled("precision"), counts, "no predicted lesion"),
        f1=_or_reason(_pooled("f1"), counts, "no lesion at all"),
        false_per_scan=_or_reason(lambda of: float((of[:, 1] - of[:, 3]).sum() / of[:, 4].sum()), counts, "no scan"),
        positivity=_positivity(counts[counts[:, 5] > 0]),
    )


def _positivity(with_free: NDArray[np.float64]) -> Estimate | NotAssessed:
    free, positive = with_free[:, 5], with_free[:, 6]
    if len(with_free) and (free == 1).all():
        return share(int(positive.sum()), len(with_free))
    return _or_reason(lambda of: float(of[:, 6].sum() / of[:, 5].sum()), with_free, "no scan is free of lesions")


def _per_subject(rows: NDArray[np.float64], subjects: Sequence[str]) -> NDArray[np.float64]:
    """The rows of each subject added up, in the order in which subjects appear."""
    place = {whose: at for at, whose in enumerate(dict.fromkeys(subjects))}
    sums = np.zeros((len(place), rows.shape[1]))
    np.add.at(sums, [place[whose] for whose in subjects], rows)
    return sums


def _or_reason(statistic: Callable[[NDArray[np.float64]], float], counts: NDArray[np.float64], reason: str) -> Estimate | NotAssessed:
    found = bootstrap(statistic, counts)
    return NotAssessed(reason) if isinstance(found, NotAssessed) else found


def _pooled(name: str) -> Callable[[NDArray[np.float64]], float]:
    def compute(counts: NDArray[np.float64]) -> float:
        n_reference, n_prediction, n_found, n_true = (int(total) for total in counts[:, :4].sum(axis=0))
        value = getattr(LesionMetrics("pooled", n_reference, n_prediction, n_found, n_true), name)
        return math.nan if isinstance(value, NotAssessed) else float(value)

    return compute
