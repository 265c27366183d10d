"""How far true volumes and numbers may lie from what was measured, by what went wrong on validation sessions.

The validation sessions are simulated: on real scans these ranges are a lower limit of what is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import poisson, t

from ..records import CONFIDENCE_CLIP, VOLUME_OFFSET_ML, ExpectedErrors

LEVEL = 0.95
NEGLIGIBLE = 1e-9


def lesion_chances(confidence: Sequence[float], errors: ExpectedErrors) -> NDArray[np.float64]:
    """Probability of each lesion to be one, by how often lesions of its confidence were."""
    found = np.clip(np.asarray(confidence, float), CONFIDENCE_CLIP, 1 - CONFIDENCE_CLIP)
    return np.asarray(expit(errors.offset + errors.slope * logit(found)))


def count_chances(confidence: Sequence[float], errors: ExpectedErrors) -> NDArray[np.float64]:
    """Probability of 0, 1, 2, ... true lesions.

    Those found are true or not independently of each other (Poisson binomial); those missed follow a Poisson distribution with the
    validation sessions' rate per lesion found, half a lesion added so that some may be missed where none was found.
    """
    chances = lesion_chances(confidence, errors)
    found = np.ones(1)
    for chance in chances:
        found = np.convolve(found, [1 - chance, chance])
    expected = errors.missed * (float(chances.sum()) + 0.5)
    missed = poisson.pmf(np.arange(int(expected + 10 * math.sqrt(expected + 1)) + 1), expected)
    total = np.convolve(found, missed)
    return np.asarray(total / total.sum())


def count_range(chances: NDArray[np.float64], level: float = LEVEL) -> tuple[int, int]:
    """The central interval of a number's distribution."""
    cumulated = np.cumsum(chances)
    tail = (1 - level) / 2
    return int(np.searchsorted(cumulated, tail)), int(np.searchsorted(cumulated, 1 - tail - NEGLIGIBLE))


def volume_range_ml(volume_ml: float, errors: ExpectedErrors, level: float = LEVEL) -> tuple[float, float]:
    """Prediction interval of the true volume: log-normal, with Student's quantile for the number of validation sessions."""
    reach = float(t.ppf(0.5 + level / 2, max(errors.sessions - 1, 1))) * errors.log_sd * math.sqrt(1 + 1 / max(errors.sessions, 1))
    low, high = ((volume_ml + VOLUME_OFFSET_ML) * math.exp(errors.log_bias + sign * reach) - VOLUME_OFFSET_ML for sign in (-1, 1))
    return max(low, 0.0), max(high, 0.0)


def grade_chances(chances: NDArray[np.float64], grade: Callable[[int], int]) -> dict[int, float]:
    """Probability of every grade that a number gives."""
    grades: dict[int, float] = {}
    for number, chance in enumerate(chances):
        grades[grade(number)] = grades.get(grade(number), 0.0) + float(chance)
    return dict(sorted(grades.items()))
