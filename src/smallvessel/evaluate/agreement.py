"""Agreement of measurements over subjects: correlation, intraclass correlation, bootstrap intervals.

Columns are arrays of shape (n subjects,) without missing values. Undefined is ``NotAssessed``: too few subjects, or a
column that does not vary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..records import NotAssessed

N_RESAMPLES = 2000
LEVEL = 0.95
MIN_DEFINED = 0.9
"""A bootstrap interval is given only if the statistic is defined on at least this fraction of the resamples (own choice)."""
LEAST_FOR_BOOTSTRAP = 10
"""Subjects below which there is no bootstrap interval: of the 95 % intervals of a mean of 3 normal numbers 75 % hold it, of 10 some 90 %.
Own choice."""

ROUNDING = 1e-12
"""Numbers this close are the same. An intraclass correlation this close to 1 is 1: its interval would divide by nothing."""


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval.

    ``low`` and ``high`` are NaN when the number is defined but its interval is not (too few subjects).
    """

    value: float
    low: float
    high: float
    n: int
    level: float = LEVEL

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.value:.3f}{interval}"


def pearson(x: ArrayLike, y: ArrayLike, level: float = LEVEL) -> Estimate | NotAssessed:
    """Pearson correlation with Fisher's interval (tanh of atanh r ± z / sqrt(n − 3)).

    Parameters
    ----------
    x, y : array_like, shape (n,)
    level : float
        Confidence level, 0 to 1.

    Returns
    -------
    Estimate or NotAssessed
        Not assessed below 3 subjects or when a column is constant; no interval below 4 subjects.
    """
    a, b = _columns(x, y)
    if len(a) < 3:
        return _too_few(len(a))
    r = _correlation(a, b)
    if math.isnan(r):
        return NotAssessed("a column does not vary")
    if len(a) < 4:
        return Estimate(r, math.nan, math.nan, len(a), level)
    if abs(r) >= 1.0:
        return Estimate(r, r, r, len(a), level)
    half = NormalDist().inv_cdf(0.5 + level / 2) / math.sqrt(len(a) - 3)
    return Estimate(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), len(a), level)


def spearman(x: ArrayLike, y: ArrayLike, level: float = LEVEL) -> Estimate | NotAssessed:
    """Spearman's rank correlation, ties by mean rank.

    The interval is Fisher's with the variance (1 + r²/2) / (n − 3) of Bonett and Wright 2000, 10.1007/BF02294183.
    Not assessed and without interval as :func:`pearson`.
    """
    a, b = _columns(x, y)
    if len(a) < 3:
        return _too_few(len(a))
    r = _correlation(_mean_ranks(a), _mean_ranks(b))
    if math.isnan(r):
        return NotAssessed("a column does not vary")
    if len(a) < 4:
        return Estimate(r, math.nan, math.nan, len(a), level)
    if abs(r) >= 1.0:
        return Estimate(r, r, r, len(a), level)
    half = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt((1 + r * r / 2) / (len(a) - 3))
    return Estimate(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), len(a), level)


def icc_agreement(ratings: ArrayLike, level: float = LEVEL) -> Estimate | NotAssessed:
    """ICC(2,1): two-way random effects, absolute agreement, single rating.

    Shrout and Fleiss 1979, 10.1037/0033-2909.86.2.420; interval of McGraw and Wong 1996, 10.1037/1082-989X.1.1.30.

    Parameters
    ----------
    ratings : array_like, shape (n subjects, k raters)
        For a method against a reference k is 2.

    Returns
    -------
    Estimate or NotAssessed
        Not assessed below 3 subjects or when nothing varies. May be negative.
    """
    table = np.asarray(ratings, float)
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise InputError(
            f"ratings of shape {table.shape} or with missing values", "finite, (subjects, 2 or more raters)", "drop incomplete rows"
        )
    n, k = table.shape
    if n < 3:
        return _too_few(n)
    mean = table.mean()
    between_subjects = k * float(((table.mean(axis=1) - mean) ** 2).sum()) / (n - 1)
    between_raters = n * float(((table.mean(axis=0) - mean) ** 2).sum()) / (k - 1)
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + mean
    error = float((residuals**2).sum()) / ((n - 1) * (k - 1))
    denominator = between_subjects + (k - 1) * error + k * (between_raters - error) / n
    if np.ptp(table) == 0 or denominator <= 0:
        return NotAssessed("the ratings do not vary")
    icc = (between_subjects - error) / denominator
    if 1 - icc < ROUNDING:
        return Estimate(1.0, 1.0, 1.0, n, level)
    low, high = _icc_interval(icc, between_subjects, between_raters, error, n, k, level)
    return Estimate(icc, low, high, n, level)


def weighted_kappa(x: ArrayLike, y: ArrayLike) -> float:
    """Cohen's kappa of two raters' grades with quadratic weights (Cohen 1968, 10.1037/h0026256).

    Parameters
    ----------
    x, y : array_like of int, shape (n,)

    Returns
    -------
    float
        1 for equal grades; NaN when both raters gave one and the same grade to all, where chance alone explains everything.
    """
    a, b = _columns(x, y)
    if len(a) == 0 or np.ptp(np.concatenate([a, b])) == 0:
        return math.nan
    # The mean of (a - b)² over all pairs of one's and the other's grades
    expected = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    return 1.0 - float(np.mean((a - b) ** 2)) / expected


def bootstrap(
    statistic: Callable[..., float],
    *columns: ArrayLike,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Estimate | NotAssessed:
    """A statistic with its percentile bootstrap interval, subjects resampled with replacement.

    Parameters
    ----------
    statistic : callable
        Takes the resampled columns, returns a float, NaN where it is undefined.
    *columns : array_like, shape (n, ...)
        One row per subject; rows stay together.
    level, n_resamples, seed
        The same seed gives the same interval.

    Returns
    -------
    Estimate or NotAssessed
        Not assessed without subjects or when the statistic is undefined; no interval below ``LEAST_FOR_BOOTSTRAP`` subjects, when it is
        undefined on more than a tenth of the resamples, or when these agree: that nothing varied in the sample is no certainty.
    """
    arrays = [np.asarray(column) for column in columns]
    if len({len(array) for array in arrays}) != 1:
        raise InputError(f"columns of lengths {[len(array) for array in arrays]}", "one row per subject in each", "drop incomplete rows")
    n = len(arrays[0])
    if n == 0:
        return NotAssessed("no subject")
    value = float(statistic(*arrays))
    if math.isnan(value):
        return NotAssessed("the statistic is undefined on these subjects")
    if n < LEAST_FOR_BOOTSTRAP:
        return Estimate(value, math.nan, math.nan, n, level)
    resampled = np.concatenate(
        [[statistic(*(array[row] for array in arrays)) for row in rows] for rows in _resample_rows(n, n_resamples, seed)]
    )
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < MIN_DEFINED * n_resamples:
        return Estimate(value, math.nan, math.nan, n, level)
    return Estimate(value, *_percentiles(defined, level), n, level)


def bootstrap_mean(values: ArrayLike, level: float = LEVEL, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Estimate | NotAssessed:
    """The mean with the interval that :func:`bootstrap` gives it, many resamples at once."""
    sample = np.asarray(values, float)
    n = len(sample)
    if n == 0:
        return NotAssessed("no subject")
    value = float(sample.mean())
    if n < LEAST_FOR_BOOTSTRAP:
        return Estimate(value, math.nan, math.nan, n, level)
    means = np.concatenate([sample[rows].mean(axis=1) for rows in _resample_rows(n, n_resamples, seed)])
    return Estimate(value, *_percentiles(means, level), n, level)


def share(n_yes: int, n: int, level: float = LEVEL) -> Estimate | NotAssessed:
    """A share of independent subjects with Wilson's interval, which has a width also at 0 and 1 (Wilson 1927, 10.2307/2276774).

    Parameters
    ----------
    n_yes, n : int
        Those of whom it is true, and all.
    level : float

    Returns
    -------
    Estimate or NotAssessed
        Not assessed without subjects.
    """
    if n == 0:
        return NotAssessed("no subject")
    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    value = n_yes / n
    centre, half = value + z2 / (2 * n), math.sqrt(z2 * (value * (1 - value) / n + z2 / (4 * n * n)))
    low, high = ((centre + side * half) / (1 + z2 / n) for side in (-1, 1))
    return Estimate(value, min(max(low, 0.0), value), max(min(high, 1.0), value), n, level)


CHUNK = 200_000
"""Subjects that are drawn at a time, so that large cohorts need little memory."""


def _resample_rows(n: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """The subjects of each resample, shape (some, n): the same whatever the size of the chunks."""
    rng = np.random.default_rng(seed)
    at_a_time = max(CHUNK // n, 1)
    for start in range(0, n_resamples, at_a_time):
        yield rng.integers(0, n, size=(min(at_a_time, n_resamples - start), n))


def _percentiles(resampled: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Both ends of the interval; NaN where they are the same but for rounding."""
    low, high = (float(end) for end in np.percentile(resampled, [50 * (1 - level), 50 * (1 + level)]))
    return (math.nan, math.nan) if math.isclose(low, high, rel_tol=ROUNDING, abs_tol=ROUNDING) else (low, high)


def _too_few(n: int) -> NotAssessed:
    return NotAssessed(f"{n} subject{'' if n == 1 else 's'}, at least 3 are needed")


def _columns(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(x, float), np.asarray(y, float)
    if a.ndim != 1 or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError(
            f"columns of shapes {a.shape} and {b.shape} or with missing values", "two finite columns of one length", "drop incomplete rows"
        )
    return a, b


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    # Scaling first keeps the squares of very small or very large values from under- or overflowing.
    da, db = (a - a.mean()) / np.ptp(a), (b - b.mean()) / np.ptp(b)
    return float(np.clip((da @ db) / math.sqrt((da @ da) * (db @ db)), -1.0, 1.0))


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[group], np.float64)


def _icc_interval(
    icc: float, between_subjects: float, between_raters: float, error: float, n: int, k: int, level: float
) -> tuple[float, float]:
    from scipy.stats import f as f_distribution

    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    weighted = (a * between_raters) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    if weighted == 0:
        return math.nan, math.nan
    freedom = (a * between_raters + b * error) ** 2 / weighted
    tail = 0.5 + level / 2
    f_low = float(f_distribution.ppf(tail, n - 1, freedom))
    f_high = float(f_distribution.ppf(tail, freedom, n - 1))
    spread = k * between_raters + (k * n - k - n) * error
    low = n * (between_subjects - f_low * error) / (f_low * spread + n * between_subjects)
    high = n * (f_high * between_subjects - error) / (spread + n * f_high * between_subjects)
    return low, high
