"""Visual scores and burden scores from counts and geometry: pure functions, one per published scale (see ``scales.py``)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..markers import Marker
from ..records import MarkerMeasures, NotAssessed, Score
from ..scales import Scale
from .arwmc import ARWMC_REGIONS, GANGLIA, SIDES, RegionExtent
from .extent import WmhExtent
from .uncertainty import grade_chances

RIM_LIMITS_MM = (0.0, 5.0, 10.0)
DEEP_LIMITS_MM = (0.0, 10.0, 25.0)
"""Fazekas grades 1, 2 and 3 begin here (the first: above it)."""
EPVS_LIMITS = (1, 11, 21, 41)
CONFLUENT_MM = 10.0
DIFFUSE_SHARE = 0.25
"""ARWMC: beginning confluence, and diffuse involvement of a region. Own choices."""
CMB_LIMITS = (1, 5, 10)
LACUNE_LIMITS = (1, 3, 6)

Scores = dict[Scale, Score | NotAssessed]


@dataclass(frozen=True)
class Evidence:
    """Everything that scores are made of. A marker that was not assessed keeps its reason.

    Attributes
    ----------
    markers : mapping
        Counts per region.
    wmh : WmhExtent or NotAssessed
    wmh_regions : mapping of region and side to RegionExtent
        Empty where WMH were not assessed.
    worst_slab : mapping of region to int
        EPVS in the slab and hemisphere with most, see :func:`smallvessel.measure.extent.find_worst_slab`.
    slab_chances : mapping of region to ndarray
        Probability of 0, 1, 2, ... true EPVS there; empty where not known.
    cmb_chances : ndarray, optional
        The same of all CMB.
    """

    markers: Mapping[Marker, MarkerMeasures | NotAssessed]
    wmh: WmhExtent | NotAssessed
    wmh_regions: Mapping[tuple[str, str], RegionExtent]
    worst_slab: Mapping[str, int]
    slab_chances: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    cmb_chances: NDArray[np.float64] | None = None


def score_session(evidence: Evidence) -> Scores:
    """All scores of a session, in the order of the table of scales."""
    scores: Scores = {}
    scores |= _fazekas(evidence)
    scores[Scale.ARWMC] = _age_related(evidence)
    scores |= _spaces(evidence)
    scores[Scale.CMB_BAND] = _band(evidence)
    for scale, points in _burdens(evidence, scores).items():
        scores[scale] = _add(points)
    return {scale: scores[scale] for scale in Scale}


def _fazekas(evidence: Evidence) -> Scores:
    wmh, measured = evidence.wmh, evidence.markers[Marker.WMH]
    if isinstance(measured, NotAssessed):
        return dict.fromkeys((Scale.FAZEKAS_PERIVENTRICULAR, Scale.FAZEKAS_DEEP), measured)
    if isinstance(wmh, NotAssessed):
        return dict.fromkeys((Scale.FAZEKAS_PERIVENTRICULAR, Scale.FAZEKAS_DEEP), wmh)
    rim = f"rim {wmh.rim_mm:.1f} mm thick on {wmh.covered:.0%} of the ventricles' wall" if wmh.rim_mm > 0 else "no WMH at the ventricles"
    deep = f"largest deep WMH {wmh.deep_mm:.1f} mm" if wmh.deep_mm > 0 else "no deep WMH"
    return {
        Scale.FAZEKAS_PERIVENTRICULAR: _grade_mm(wmh.rim_mm, RIM_LIMITS_MM, rim),
        Scale.FAZEKAS_DEEP: _grade_mm(wmh.deep_mm, DEEP_LIMITS_MM, deep),
    }


def _age_related(evidence: Evidence) -> Score | NotAssessed:
    measured = evidence.markers[Marker.WMH]
    if isinstance(measured, NotAssessed):
        return measured
    grades = {key: _grade_region(key[0], extent) for key, extent in evidence.wmh_regions.items()}
    total = {region: [grades[region, side] for side in SIDES] for region in ARWMC_REGIONS}
    named = [f"{region} {left} left, {right} right" for region, (left, right) in total.items() if left or right]
    return Score(sum(grades.values()), "; ".join(named) or "no WMH of 5 mm away from the ventricles", "")


def _grade_region(region: str, extent: RegionExtent) -> int:
    if extent.focal == 0:
        return 0
    if region == GANGLIA:
        return 3 if extent.largest_mm >= CONFLUENT_MM else 2 if extent.focal > 1 else 1
    return 3 if extent.share >= DIFFUSE_SHARE else 2 if extent.largest_mm >= CONFLUENT_MM else 1


def _grade_mm(size_mm: float, limits_mm: Sequence[float], evidence: str) -> Score:
    grade = bisect_right(limits_mm, size_mm) if size_mm > 0 else 0
    following = f"grade {grade + 1} from {limits_mm[grade]:g} mm" if 0 < grade < len(limits_mm) else ""
    return Score(grade, evidence, following or ("grade 1 with any" if grade == 0 else "highest grade"))


def _grade_count(count: int, limits: Sequence[int], evidence: str, chances: NDArray[np.float64] | None) -> Score:
    grade = bisect_right(limits, count)
    following = f"grade {grade + 1} from {limits[grade]}" if grade < len(limits) else "highest grade"
    return Score(grade, evidence, following, {} if chances is None else grade_chances(chances, lambda number: bisect_right(limits, number)))


def _spaces(evidence: Evidence) -> Scores:
    measured = evidence.markers[Marker.EPVS]
    scales = {
        Scale.EPVS_BASAL_GANGLIA: "basal ganglia",
        Scale.EPVS_CENTRUM_SEMIOVALE: "centrum semiovale",
    }
    if isinstance(measured, NotAssessed):
        return dict.fromkeys((*scales, Scale.EPVS_MIDBRAIN), measured)
    scores: Scores = {}
    for scale, region in scales.items():
        most, everywhere = evidence.worst_slab[region], measured.region_count[region]
        said = f"{most} in the worst slab and hemisphere, {everywhere} in all"
        scores[scale] = _grade_count(most, EPVS_LIMITS, said, evidence.slab_chances.get(region))
    midbrain = measured.region_count["midbrain"]
    scores[Scale.EPVS_MIDBRAIN] = Score(int(midbrain > 0), f"{midbrain} in the midbrain", "" if midbrain else "grade 1 with any")
    return scores


def _band(evidence: Evidence) -> Score | NotAssessed:
    measured = evidence.markers[Marker.CMB]
    if isinstance(measured, NotAssessed):
        return measured
    return _grade_count(measured.count, CMB_LIMITS, f"{measured.count} CMB", evidence.cmb_chances)


@dataclass(frozen=True)
class _Part:
    """Points of one part of a burden score; ``value`` is None where its marker was not assessed."""

    name: str
    value: int | None
    highest: int = 1


def _add(parts: Sequence[_Part]) -> Score | NotAssessed:
    known = sum(part.value for part in parts if part.value is not None)
    missing = [part for part in parts if part.value is None]
    if missing:
        names = " and ".join(part.name for part in missing)
        return NotAssessed(f"{names} not assessed; {known} to {known + sum(part.highest for part in missing)} is possible")
    given = [f"{part.name} {part.value}" for part in parts if part.value]
    return Score(known, ", ".join(given) or "no part gives a point", "")


def _burdens(evidence: Evidence, scores: Scores) -> dict[Scale, list[_Part]]:
    def grade(scale: Scale) -> int | None:
        found = scores[scale]
        return found.value if isinstance(found, Score) else None

    def count(marker: Marker, *regions: str) -> int | None:
        found = evidence.markers[marker]
        if isinstance(found, NotAssessed):
            return None
        return sum(found.region_count.get(region, 0) for region in regions) if regions else found.count

    def reaches(value: int | None, limit: int) -> int | None:
        return None if value is None else int(value >= limit)

    def steps(value: int | None, limits: Sequence[int]) -> int | None:
        return None if value is None else bisect_right(limits, value)

    periventricular, deep = grade(Scale.FAZEKAS_PERIVENTRICULAR), grade(Scale.FAZEKAS_DEEP)
    ganglia, centrum = grade(Scale.EPVS_BASAL_GANGLIA), grade(Scale.EPVS_CENTRUM_SEMIOVALE)
    severe = None if periventricular is None or deep is None else int(periventricular == 3 or deep >= 2)
    both = None if periventricular is None or deep is None else periventricular + deep
    higher = None if periventricular is None or deep is None else max(periventricular, deep)
    cmb, lacunes, lobar_cmb = count(Marker.CMB), count(Marker.LACUNE), count(Marker.CMB, "lobar")
    wmh_name, lacune_name, cmb_name = "WMH", "lacunes", "CMB"
    return {
        Scale.SVD_TOTAL: [
            _Part(wmh_name, severe),
            _Part(lacune_name, reaches(lacunes, 1)),
            _Part(cmb_name, reaches(cmb, 1)),
            _Part("basal ganglia EPVS", reaches(ganglia, 2)),
        ],
        Scale.SVD_HYPERTENSIVE: [
            _Part("deep WMH", reaches(deep, 2)),
            _Part("deep lacunes", reaches(count(Marker.LACUNE, "deep"), 1)),
            _Part("deep CMB", reaches(count(Marker.CMB, "deep"), 1)),
            _Part("basal ganglia EPVS", reaches(ganglia, 2)),
        ],
        Scale.SVD_AMYLOID: [
            _Part(wmh_name, severe),
            _Part("lobar lacunes", reaches(count(Marker.LACUNE, "lobar"), 1)),
            _Part("lobar CMB", reaches(lobar_cmb, 1)),
            _Part("centrum semiovale EPVS", reaches(centrum, 2)),
        ],
        Scale.SVD_MODIFIED: [
            _Part(wmh_name, steps(both, (3, 5)), 2),
            _Part(lacune_name, reaches(lacunes, 1)),
            _Part(cmb_name, steps(cmb, (1, 5)), 2),
            _Part("basal ganglia EPVS", reaches(ganglia, 3)),
        ],
        Scale.SVD_AMENDED: [
            _Part(wmh_name, higher, 3),
            _Part(lacune_name, steps(lacunes, LACUNE_LIMITS), 3),
            _Part(cmb_name, reaches(cmb, 1)),
        ],
        Scale.CAA_PARTIAL: [
            _Part(wmh_name, severe),
            _Part("lobar CMB", steps(lobar_cmb, (2, 5)), 2),
            _Part("centrum semiovale EPVS", reaches(centrum, 3)),
        ],
    }
