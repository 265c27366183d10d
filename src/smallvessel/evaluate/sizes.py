"""Lesions found and false by size, since small ones are missed first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..records import NotAssessed
from ..volume import LabelMap, Mask, require_same_grid
from .lesionwise import find_instances

BANDS_MM = (0.0, 3.0, 5.0, 10.0, math.inf)
"""Edges of the bands: diameter of the ball of the lesion's volume. 3 mm is the least lacune; 5 and 10 mm are the sizes of microbleed
scales (BOMBS, Cordonnier et al. 2009, 10.1161/STROKEAHA.108.526996)."""


@dataclass(frozen=True)
class SizeBand:
    """Lesions whose diameter lies from ``low_mm`` to below ``high_mm``; found and true by any overlap.

    Reference lesions are sorted by their own size, predicted ones by theirs.
    """

    low_mm: float
    high_mm: float
    n_reference: int
    n_found: int
    n_prediction: int
    n_true: int

    @property
    def name(self) -> str:
        return f"{self.low_mm:g} mm or more" if math.isinf(self.high_mm) else f"{self.low_mm:g} to below {self.high_mm:g} mm"

    @property
    def recall(self) -> float | NotAssessed:
        return self.n_found / self.n_reference if self.n_reference else NotAssessed("no reference lesion of this size")

    @property
    def precision(self) -> float | NotAssessed:
        return self.n_true / self.n_prediction if self.n_prediction else NotAssessed("no predicted lesion of this size")


def match_by_size(prediction: Mask, reference: Mask, edges_mm: Sequence[float] = BANDS_MM) -> list[SizeBand]:
    """Lesions found and true in each band of size.

    Parameters
    ----------
    prediction, reference : Mask
        On the same grid.
    edges_mm : sequence of float
        Rising, from 0 to infinity.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    require_same_grid(prediction, reference)
    mine, theirs = find_instances(prediction), find_instances(reference)
    found, true = _touched(theirs, prediction), _touched(mine, reference)
    of_mine, of_theirs = (np.digitize(diameters_mm(one), edges_mm) - 1 for one in (mine, theirs))
    return [
        SizeBand(
            low,
            high,
            int((of_theirs == at).sum()),
            int(found[of_theirs == at].sum()),
            int((of_mine == at).sum()),
            int(true[of_mine == at].sum()),
        )
        for at, (low, high) in enumerate(pairwise(edges_mm))
    ]


def pool_sizes(scans: Sequence[Sequence[SizeBand]]) -> list[SizeBand]:
    """The bands of several scans added up.

    Raises
    ------
    InputError
        When the scans have different bands, or there are none.
    """
    if len({tuple(band.name for band in scan) for scan in scans}) != 1:
        raise InputError(f"{len(scans)} scans with different bands", "the same bands", "match them again")
    return [
        SizeBand(
            column[0].low_mm,
            column[0].high_mm,
            *(sum(getattr(band, name) for band in column) for name in ("n_reference", "n_found", "n_prediction", "n_true")),
        )
        for column in zip(*scans, strict=True)
    ]


def diameters_mm(instances: LabelMap) -> NDArray[np.float64]:
    """Diameter of the ball with the volume of each label 1..n, (6 V / pi)^(1/3), shape (n,)."""
    count_vox = np.bincount(instances.data.ravel())[1:]
    return np.asarray((6 * count_vox * instances.grid.voxel_volume_mm3 / math.pi) ** (1 / 3), np.float64)


def _touched(instances: LabelMap, mask: Mask) -> NDArray[np.bool_]:
    touched = np.zeros(int(instances.data.max(initial=0)) + 1, bool)
    touched[np.unique(instances.data[mask.data])] = True
    return touched[1:]
