"""What went wrong on validation sessions at the chosen operating points: expected errors, from which intervals are made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import logit, logsumexp
from scipy.stats import nbinom

from ..expected import CONFIDENCE_CLIP, SESSIONS, SHARES, USUAL_LESION_MM3, ExpectedErrors, over_sessions
from ..markers import Marker
from ..segment.refine import Threshold
from .calibrate import Observed, OperatingPoint, Table, gather

LEAST_FOUND = 5
"""Fewer sessions with lesions found say nothing about the spread of a volume's error. Own choice."""
LEAST_MISSED, MOST_MISSED = 1e-3, 1e2
"""Within these the missed lesions' base, rate and dispersion are looked for."""


def expect_errors(tables: Iterable[Table], points: Mapping[Marker, OperatingPoint]) -> dict[Marker, ExpectedErrors]:
    """What went wrong at the chosen operating points, for the ranges that measurements come with.

    Markers that were found in fewer than ``LEAST_FOUND`` sessions with lesions are left out.
    """
    together = gather(tables)
    found = {marker: _expect_errors(together[marker, point.threshold.probability], point.threshold) for marker, point in points.items()}
    return {marker: errors for marker, errors in found.items() if errors is not None}


def _expect_errors(sessions: Sequence[Observed], limit: Threshold) -> ExpectedErrors | None:
    known, genuine, missed, true_ml, measured_ml = [], [], [], [], []
    for one in sessions:
        kept = (one.volume_mm3 >= limit.min_volume_mm3 - 1e-6) & (one.peak >= limit.seed_probability)
        known.append(_known_of(one.confidence[kept], one.volume_mm3[kept]))
        genuine.append(one.shared[kept] > 0)
        missed.append(max(one.true_lesions - int(genuine[-1].sum()), 0))
        true_ml.append(one.true_voxels * one.voxel_ml)
        measured_ml.append(float(one.voxels[kept].sum()) * one.voxel_ml)
    roots = np.sqrt(true_ml) - np.sqrt(measured_ml)
    if np.count_nonzero((np.array(true_ml) > 0) & (np.array(measured_ml) > 0)) < LEAST_FOUND:
        return None
    *fixed, session_sd = fit_lesions(known, genuine)
    offset, slope, size_slope = (round(value, 3) for value in fixed)
    expected = np.array([float(SHARES @ over_sessions(values @ fixed, session_sd).sum(1)) for values in known])
    base, rate, dispersion = fit_missed(np.array(missed), expected)
    return ExpectedErrors(
        offset=offset,
        slope=slope,
        size_slope=size_slope,
        session_sd=round(session_sd, 3),
        missed_base=round(base, 3),
        missed_rate=round(rate, 3),
        missed_dispersion=round(dispersion, 3),
        root_bias=round(float(np.mean(roots)), 3),
        root_sd=round(float(np.std(roots, ddof=1)), 3),
        largest_ml=round(max(measured_ml), 3),
        sessions=len(sessions),
    )


def fit_missed(missed: NDArray[np.int64], expected: NDArray[np.float64]) -> tuple[float, float, float]:
    """Negative binomial regression of the number of missed lesions, with mean base + rate * expected, by maximum likelihood."""

    def loss(parameters: NDArray[np.float64]) -> float:
        base, rate, dispersion = np.exp(parameters)
        mean = base + rate * expected
        return float(-nbinom.logpmf(missed, 1 / dispersion, 1 / (1 + dispersion * mean)).sum())

    best = optimize.minimize(loss, np.log([0.5, 0.5, 0.5]), method="L-BFGS-B", bounds=[(math.log(LEAST_MISSED), math.log(MOST_MISSED))] * 3)
    base, rate, dispersion = np.exp(best.x)
    return float(base), float(rate), float(dispersion)


def fit_lesions(known: Sequence[NDArray[np.float64]], genuine: Sequence[NDArray[np.bool_]]) -> tuple[float, float, float, float]:
    """Logistic regression of being a lesion, with a random intercept per session.

    By quadrature over the intercept, and drawn towards believing the confidence as it is, whatever the volume. A larger lesion is never
    the less likely one: where few are false, chance alone would say so.

    Parameters
    ----------
    known : sequence of ndarray, shape (n, 3)
        Per session what is known of each lesion: 1, the confidence's logit, the logarithm of the volume.
    genuine : sequence of ndarray of bool, shape (n,)

    Returns
    -------
    offset, slope, size_slope, session_sd : float
    """
    believed = np.array([0.0, 1.0, 0.0, 0.0])

    def loss(parameters: NDArray[np.float64]) -> float:
        likelihood = 0.0
        for lesions, right in zip(known, genuine, strict=True):
            odds = lesions @ parameters[:3] + parameters[3] * SESSIONS[:, None]
            likelihood += float(logsumexp(-np.logaddexp(0, np.where(right, -odds, odds)).sum(1), b=SHARES))
        return 0.5 * float(np.sum((parameters - believed) ** 2)) - likelihood

    bounds = [(-10, 10), (0.05, 5), (0, 5), (0, 5)]
    offset, slope, size_slope, session_sd = optimize.minimize(loss, [0.0, 1.0, 0.0, 0.5], method="L-BFGS-B", bounds=bounds).x
    return float(offset), float(slope), float(size_slope), float(session_sd)


def _known_of(confidence: NDArray[np.float64], volume_mm3: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is known of each lesion beside a constant, shape (n, 3)."""
    certain = logit(np.clip(confidence, CONFIDENCE_CLIP, 1 - CONFIDENCE_CLIP))
    return np.stack([np.ones(certain.size), certain, np.log(volume_mm3 / USUAL_LESION_MM3)], axis=1)
