"""The rules of the WMH segmentation challenge, as its evaluation script has them (Kuijf et al. 2019, 10.1109/TMI.2019.2905770)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import GeometryError
from ..records import NotAssessed
from ..volume import Mask, Volume
from .lesionwise import match_by_overlap
from .voxel import avd_percent, dice, h95_mm

PREDICTED_VALUES = (0.5, 1000.0)
"""Predicted voxels between these values are WMH."""
WMH_VALUES = (0.5, 1.5)
OTHER_PATHOLOGY_VALUES = (1.5, 2.5)
"""Reference voxels between these values are label 1 and 2."""
SLICE_AXIS = 2
"""The boundary is taken within the slices as they are stored."""


@dataclass(frozen=True)
class ChallengeScore:
    """The five numbers of the challenge.

    Attributes
    ----------
    dice, h95_mm, avd_percent : float or NotAssessed
    recall : float
        1 without reference lesions.
    precision : float
        1 without predicted lesions.
    f1 : float
        Harmonic mean of the two, 0 where both are.
    """

    dice: float | NotAssessed
    h95_mm: float | NotAssessed
    avd_percent: float | NotAssessed
    recall: float
    precision: float
    f1: float


def score_by_challenge(prediction: Volume, reference: Volume) -> ChallengeScore:
    """Compare a prediction with a reference by the challenge's rules.

    Parameters
    ----------
    prediction : Volume
        Mask or probability: WMH from 0.5 to 1000. Its header is not looked at, as in the challenge: its voxels are those of the
        reference.
    reference : Volume
        0 background, 1 WMH, 2 other pathology, whose voxels count in neither.

    Raises
    ------
    GeometryError
        When the numbers of voxels differ.
    """
    if prediction.data.shape != reference.data.shape:
        raise GeometryError(
            f"{prediction.data.shape} and {reference.data.shape} voxels",
            "as many in the prediction as in the reference",
            "save the prediction on the reference's grid",
        )
    other = (reference.data >= OTHER_PATHOLOGY_VALUES[0]) & (reference.data <= OTHER_PATHOLOGY_VALUES[1])
    truth = Mask((reference.data >= WMH_VALUES[0]) & (reference.data <= WMH_VALUES[1]) & ~other, reference.grid)
    predicted = (prediction.data >= PREDICTED_VALUES[0]) & (prediction.data <= PREDICTED_VALUES[1])
    mine = Mask(np.asarray(predicted & ~other), reference.grid)
    lesions = match_by_overlap(mine, truth)
    recall = 1.0 if isinstance(lesions.recall, NotAssessed) else lesions.recall
    precision = 1.0 if isinstance(lesions.precision, NotAssessed) else lesions.precision
    return ChallengeScore(
        dice=dice(mine, truth),
        h95_mm=h95_mm(mine, truth, SLICE_AXIS),
        avd_percent=avd_percent(mine, truth),
        recall=recall,
        precision=precision,
        f1=2 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0,
    )
