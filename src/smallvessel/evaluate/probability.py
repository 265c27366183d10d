"""Probability maps against a reference: what every threshold would give, and whether the probabilities are what they say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..records import NotAssessed
from ..volume import Mask, Volume, require_same_grid
from .lesionwise import LesionMetrics, match_by_overlap, pool_lesions

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
N_BINS = 10
LEAST_PROBABILITY = 0.001
"""Voxels below it are left out of the calibration, unless they are lesion: the empty background would make any map look right.
Own choice."""


@dataclass(frozen=True)
class ThresholdPoint:
    """One scan, or several pooled, cut at one threshold (voxels from it on are lesion)."""

    threshold: float
    common_vox: int
    prediction_vox: int
    reference_vox: int
    lesions: LesionMetrics
    n_scans: int = 1

    @property
    def dice(self) -> float | NotAssessed:
        """Of all voxels together."""
        total = self.prediction_vox + self.reference_vox
        return 2 * self.common_vox / total if total else NotAssessed("the reference and the prediction are both empty")

    @property
    def false_per_scan(self) -> float:
        return self.lesions.n_false / self.n_scans


@dataclass(frozen=True)
class CalibrationBin:
    """Voxels whose probability lies from ``low`` to below ``high`` (the last bin has 1 too); sums over ``n`` of them."""

    low: float
    high: float
    n: int
    sum_probability: float
    n_lesion: int

    @property
    def mean_probability(self) -> float | NotAssessed:
        return self.sum_probability / self.n if self.n else NotAssessed("no voxel")

    @property
    def lesion_share(self) -> float | NotAssessed:
        return self.n_lesion / self.n if self.n else NotAssessed("no voxel")


def trace_thresholds(probability: Volume, reference: Mask, thresholds: Sequence[float] = THRESHOLDS) -> list[ThresholdPoint]:
    """Voxels and lesions (by any overlap) of one scan at each threshold.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    require_same_grid(probability, reference)
    points = []
    for threshold in thresholds:
        cut = Mask(probability.data >= threshold, probability.grid)
        common, here, there = (int(np.count_nonzero(part)) for part in (cut.data & reference.data, cut.data, reference.data))
        points.append(ThresholdPoint(threshold, common, here, there, match_by_overlap(cut, reference)))
    return points


def pool_points(scans: Sequence[Sequence[ThresholdPoint]]) -> list[ThresholdPoint]:
    """The points of several scans added up, threshold by threshold.

    Raises
    ------
    InputError
        When the scans were cut at different thresholds, or there are none.
    """
    if len({tuple(point.threshold for point in scan) for scan in scans}) != 1:
        raise InputError(f"{len(scans)} scans cut at different thresholds", "the same thresholds", "trace them again")
    return [
        ThresholdPoint(
            column[0].threshold,
            sum(point.common_vox for point in column),
            sum(point.prediction_vox for point in column),
            sum(point.reference_vox for point in column),
            pool_lesions([point.lesions for point in column]),
            len(column),
        )
        for column in zip(*scans, strict=True)
    ]


def bin_probabilities(probability: Volume, reference: Mask, n_bins: int = N_BINS) -> list[CalibrationBin]:
    """How many of the voxels of each probability are lesion; see ``LEAST_PROBABILITY`` for those left out.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    require_same_grid(probability, reference)
    counted = (probability.data >= LEAST_PROBABILITY) | reference.data
    values: NDArray[np.float64] = probability.data[counted].astype(np.float64)
    lesion = reference.data[counted]
    edges = np.linspace(0, 1, n_bins + 1)
    place = np.clip(np.digitize(values, edges) - 1, 0, n_bins - 1)
    n, n_lesion = np.bincount(place, minlength=n_bins), np.bincount(place, lesion, minlength=n_bins)
    sums = np.bincount(place, values, minlength=n_bins)
    return [CalibrationBin(float(edges[at]), float(edges[at + 1]), int(n[at]), float(sums[at]), int(n_lesion[at])) for at in range(n_bins)]


def pool_bins(scans: Iterable[Sequence[CalibrationBin]]) -> list[CalibrationBin]:
    """The bins of several scans added up."""
    return [
        CalibrationBin(
            column[0].low,
            column[0].high,
            sum(one.n for one in column),
            sum(one.sum_probability for one in column),
            sum(one.n_lesion for one in column),
        )
        for column in zip(*scans, strict=True)
    ]


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float | NotAssessed:
    """Mean over voxels of |mean probability − share of lesion| of their bin (Naeini et al. 2015, 10.1609/aaai.v29i1.9602)."""
    total = sum(one.n for one in bins)
    return sum(abs(one.sum_probability - one.n_lesion) for one in bins) / total if total else NotAssessed("no voxel")
