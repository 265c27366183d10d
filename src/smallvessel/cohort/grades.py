"""The grades across which volumes are compared: which there are, what each is a grade of, and those that follow from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..markers import Marker
from ..scales import LACUNE_LIMITS, SCALES, Scale

BURDEN = str(Scale.SVD_TOTAL)
MOST_GRADES = 8
"""Scales with more steps are no grades to compare groups by."""


@dataclass(frozen=True)
class Grade:
    """A visual grade.

    Attributes
    ----------
    name : str
    highest : int
        Of its range, which begins at 0.
    marker : Marker or None
        None for scores of the whole burden.
    measures : tuple of str
        Columns of ``measures.tsv`` that are compared across it, those that exist: the marker's volume, and that of the region it rates.
    """

    name: str
    highest: int
    marker: Marker | None
    measures: tuple[str, ...] = ()


_WMH, _EPVS = "wmh_volume_ml", "epvs_volume_ml"
_MEASURES: dict[Scale, tuple[str, ...]] = {
    Scale.FAZEKAS_PERIVENTRICULAR: (_WMH, "wmh_periventricular_volume_ml"),
    Scale.FAZEKAS_DEEP: (_WMH, "wmh_deep_volume_ml"),
    Scale.EPVS_BASAL_GANGLIA: (_EPVS, "epvs_basal_ganglia_volume_ml"),
    Scale.EPVS_CENTRUM_SEMIOVALE: (_EPVS, "epvs_centrum_semiovale_volume_ml"),
    Scale.EPVS_MIDBRAIN: (_EPVS, "epvs_midbrain_volume_ml"),
    Scale.CMB_BAND: ("cmb_volume_ml",),
}
FAZEKAS_TOTAL, LACUNE_GRADE = "fazekas_total", "lacune_grade"
_BURDEN_PARTS = (Scale.FAZEKAS_PERIVENTRICULAR, Scale.FAZEKAS_DEEP, Scale.EPVS_BASAL_GANGLIA, Scale.CMB_BAND)

GRADES: dict[str, Grade] = {
    FAZEKAS_TOTAL: Grade("Fazekas, total", 6, Marker.WMH, (_WMH,)),
    **{
        str(scale): Grade(info.name, info.highest, info.needs[0] if scale in _MEASURES else None, _MEASURES.get(scale, ()))
        for scale, info in SCALES.items()
        if info.highest < MOST_GRADES
    },
    LACUNE_GRADE: Grade("lacunes, none, 1 to 2, 3 to 5, more", 3, Marker.LACUNE, ("lacune_volume_ml",)),
}
"""By column of the visual table."""

Numbers = NDArray[np.float64]


def derive_grades(grades: Mapping[str, Numbers], numbers: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """The grades and those that follow from them and are not given: Fazekas total, bands of counts, total burden.

    Parameters
    ----------
    grades : mapping of str to ndarray, shape (n,)
        By name in ``GRADES``, NaN where not known.
    numbers : mapping of str to ndarray, shape (n,)
        Volumes and counts, by column.

    Returns
    -------
    dict of str to ndarray, in the order of ``GRADES``
        The total burden follows Staals et al. 2014, see :data:`smallvessel.scales.SCALES`; it is NaN where a part of it is.
    """
    found = dict(grades)
    periventricular, deep = (found.get(str(scale)) for scale in (Scale.FAZEKAS_PERIVENTRICULAR, Scale.FAZEKAS_DEEP))
    if periventricular is not None and deep is not None:
        found.setdefault(FAZEKAS_TOTAL, periventricular + deep)
    for name, column, bands in (
        (LACUNE_GRADE, "lacune_count", LACUNE_LIMITS),
        (str(Scale.CMB_BAND), "cmb_count", SCALES[Scale.CMB_BAND].limits),
    ):
        if column in numbers:
            banded = np.digitize(numbers[column], bands).astype(float)
            found.setdefault(name, np.where(np.isnan(numbers[column]), np.nan, banded))
    parts = [found.get(name) for name in (*map(str, _BURDEN_PARTS), LACUNE_GRADE)]
    known = [part for part in parts if part is not None]
    if BURDEN not in found and len(known) == len(parts):
        periventricular_wmh, deep_wmh, epvs, cmb, lacunes = known
        points = ((periventricular_wmh >= 3) | (deep_wmh >= 2)).astype(float) + (epvs >= 2) + (cmb >= 1) + (lacunes >= 1)
        found[BURDEN] = np.where(np.isnan(known).any(axis=0), np.nan, points)
    return {name: found[name] for name in GRADES if name in found}
