"""How far true volumes and numbers may lie from what was measured, by what went wrong on validation sessions.

The validation sessions are simulated: on real scans these ranges are a lower limit of what is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nbinom, poisson, t

from ..expected import SHARES, ExpectedErrors, over_sessions

LEVEL = 0.95
NEGLIGIBLE = 1e-9
SPREAD = 0.5
"""Lesions found that are spread over all parts before the missed ones are shared out. Own choice."""


def count_chances(
    log_odds: Sequence[float], errors: ExpectedErrors, inside: Sequence[bool] | None = None, parts: int = 1
) -> NDArray[np.float64]:
    """Probability of 0, 1, 2, ... true lesions, in the whole brain or in a part of it.

    Those found are true or not independently of each other within a session (Poisson binomial), but with odds that differ between
    sessions. Those missed follow a negative binomial distribution, for
    their rate differs between patients; a part gets its share of them by the lesions found in it, of which half a one is spread over
    all parts, so that some may be missed where none was found. A share of a negative binomial number keeps its dispersion (it
    is a Poisson number whose rate follows a gamma distribution).

    Parameters
    ----------
    log_odds : sequence of float
        Of all lesions found, from :func:`smallvessel.expected.lesion_log_odds`.
    errors : ExpectedErrors
    inside : sequence of bool, optional
        Which of them lie in the part; without it, all.
    parts : int
        Into how many the brain is divided.
    """
    everywhere = over_sessions(np.asarray(log_odds, float), errors.session_sd)
    here = everywhere if inside is None else everywhere[:, np.asarray(inside, bool)]
    found = SHARES @ np.stack([_poisson_binomial(chances) for chances in here])
    expected = float(SHARES @ everywhere.sum(1))
    share = (float(SHARES @ here.sum(1)) + SPREAD / parts) / (expected + SPREAD)
    missed = _missed_chances(share * (errors.missed_base + errors.missed_rate * expected), errors.missed_dispersion)
    total = np.convolve(found, missed)
    return np.asarray(total / total.sum())


def _poisson_binomial(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    number = np.ones(1)
    for chance in chances:
        number = np.convolve(number, [1 - chance, chance])
    return number


def _missed_chances(mean: float, dispersion: float) -> NDArray[np.float64]:
    """Probability of 0, 1, 2, ... lesions, up to where hardly any is left."""
    if mean <= 0:
        return np.ones(1)
    distribution: Any = nbinom(1 / dispersion, 1 / (1 + dispersion * mean)) if dispersion > 0 else poisson(mean)
    return np.asarray(distribution.pmf(np.arange(int(distribution.isf(NEGLIGIBLE)) + 1)))


def count_range(chances: NDArray[np.float64], level: float = LEVEL) -> tuple[int, int]:
    """The central interval of a number's distribution."""
    cumulated = np.cumsum(chances)
    tail = (1 - level) / 2
    return int(np.searchsorted(cumulated, tail)), int(np.searchsorted(cumulated, 1 - tail - NEGLIGIBLE))


def volume_range_ml(volume_ml: float, errors: ExpectedErrors, level: float = LEVEL) -> tuple[float, float]:
    """Prediction interval of the true volume: normal on the scale of the square root, with Student's quantile.

    There its spread is about the same at all volumes, as where errors are those of many lesions; on the logarithm's scale one spread would
    be too wide for large volumes and too narrow for small ones. Beyond the largest volume of the validation sessions the spread relative
    to the volume stays as it is there.
    """
    beyond = max(1.0, math.sqrt(volume_ml / errors.largest_ml)) if errors.largest_ml > 0 else 1.0
    reach = float(t.ppf(0.5 + level / 2, max(errors.sessions - 1, 1))) * errors.root_sd * math.sqrt(1 + 1 / max(errors.sessions, 1))
    low, high = (math.sqrt(volume_ml) + beyond * (errors.root_bias + sign * reach) for sign in (-1, 1))
    return max(low, 0.0) ** 2, max(high, 0.0) ** 2


def grade_chances(chances: NDArray[np.float64], grade: Callable[[int], int]) -> dict[int, float]:
    """Probability of every grade that a number gives."""
    grades: dict[int, float] = {}
    for number, chance in enumerate(chances):
        grades[grade(number)] = grades.get(grade(number), 0.0) + float(chance)
    return dict(sorted(grades.items()))
