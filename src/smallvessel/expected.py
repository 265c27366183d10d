"""What is expected to be wrong with a network's lesions, and how likely a lesion is one.

Everything here comes from validation sessions, which are simulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_DECIMALS = 3
"""With these confidences are kept and written: a session that is read back has the same chances."""
CONFIDENCE_CLIP = 1e-4
"""Confidences are kept this far from 0 and 1 where their logit is taken."""
USUAL_LESION_MM3 = 20.0
"""Volumes enter a lesion's chance relative to this one."""
SESSIONS, _weights = np.polynomial.hermite_e.hermegauss(21)  # type: ignore[no-untyped-call]
SHARES: NDArray[np.float64] = _weights / _weights.sum()
"""Points and weights that stand for a standard normal distribution."""


@dataclass(frozen=True)
class ExpectedErrors:
    """How wrong a marker's lesions and volumes were on validation sessions, which are simulated.

    Attributes
    ----------
    offset, slope, size_slope, session_sd : float
        A lesion of confidence c and volume v is one with probability 1 / (1 + exp(-(offset + slope * log(c / (1 - c)) + size_slope *
        log(v / 20 mm³) + u))), u of the session being drawn from a normal distribution of this SD: in some all are false.
    missed_base, missed_rate : float
        Mean number of true lesions that were not found: base + rate * number of found ones expected to be true.
    missed_dispersion : float
        The variance of that number is mean + dispersion * mean²: 0 is a Poisson distribution.
    root_bias, root_sd : float
        Mean and SD of √true − √measured volume, in √mL.
    largest_ml : float
        The largest measured volume among these: beyond it the spread grows with the volume.
    sessions : int
        How many those were; a session counts once for each subset of its sequences with which it was measured.
    """

    offset: float
    slope: float
    size_slope: float
    session_sd: float
    missed_base: float
    missed_rate: float
    missed_dispersion: float
    root_bias: float
    root_sd: float
    largest_ml: float
    sessions: int


def lesion_log_odds(confidence: float, volume_mm3: float, errors: ExpectedErrors) -> float:
    """Log odds of a lesion to be one, in a session like most."""
    kept = min(max(confidence, CONFIDENCE_CLIP), 1 - CONFIDENCE_CLIP)
    certain = math.log(kept / (1 - kept))
    return errors.offset + errors.slope * certain + errors.size_slope * math.log(volume_mm3 / USUAL_LESION_MM3)


def over_sessions(log_odds: NDArray[np.float64], session_sd: float) -> NDArray[np.float64]:
    """Chances of lesions in sessions of every kind, shape (:data:`SESSIONS`, n); weights are :data:`SHARES`."""
    return np.asarray(1 / (1 + np.exp(-(log_odds + session_sd * SESSIONS[:, None]))))


def lesion_chance(confidence: float, volume_mm3: float, errors: ExpectedErrors) -> float:
    """Probability of a lesion to be one, by how often lesions of its confidence and volume were."""
    log_odds = np.array([lesion_log_odds(confidence, volume_mm3, errors)])
    return float(SHARES @ over_sessions(log_odds, errors.session_sd)[:, 0])
