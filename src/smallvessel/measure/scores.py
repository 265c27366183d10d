"""Visual scores and burden scores from counts and geometry: pure functions, one per published scale (see ``scales.py``)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..config import PeriventricularRule
from ..markers import Marker
from ..records import Lesion, MarkerMeasures, NotAssessed, Score
from ..scales import LACUNE_LIMITS, SCALES, Scale
from .arwmc import ARWMC_REGIONS, GANGLIA, SIDES, RegionExtent
from .extent import Slab, WmhExtent
from .uncertainty import grade_chances

CONFLUENT_MM = 10.0
DIFFUSE_SHARE = 0.25
"""ARWMC: beginning confluence, and diffuse involvement of a region. Own choices."""
MODIFIED_LIMITS = {Marker.WMH: (3, 5), Marker.CMB: (1, 5)}
"""Of the modified total burden: Fazekas total, and number of CMB, from which 1 and 2 points are given (Lau et al. 2017,
10.1212/WNL.0000000000004042, from one source)."""
AMYLOID_CMB_LIMITS = (2, 5)
"""Lobar CMB from which the CAA score gives 1 and 2 points (Charidimou et al. 2016, 10.1001/jamaneurol.2016.0832)."""

SEVERE_RIM, SEVERE_DEEP = 3, 2
"""Grades of Fazekas, periventricular and deep, from which WMH give a point of the total burden (Staals et al. 2014,
10.1212/WNL.0000000000000837)."""
SIDEROSIS_POINTS = 2
"""What cortical superficial siderosis, which is not assessed, can add to the CAA score (same source)."""

RIM, DEEP = "at the ventricles", "deep"
"""WMH that touch the lateral ventricles, and those with a deep part."""

Scores = dict[Scale, Score | NotAssessed]


@dataclass(frozen=True)
class Evidence:
    """Everything that scores are made of. A marker that was not assessed keeps its reason.

    Attributes
    ----------
    markers : mapping
        Counts per region.
    wmh : WmhExtent or NotAssessed
    wmh_regions : mapping of region and side to RegionExtent, or NotAssessed
    wmh_rule : PeriventricularRule
        By which the volumes of WMH are divided.
    worst_slab : mapping of region to Slab
        Where most EPVS are, see :func:`smallvessel.measure.extent.find_worst_slab`.
    slab_chances : mapping of region to ndarray
        Probability of 0, 1, 2, ... true EPVS there; empty where not known.
    count_chances : mapping of marker and region to ndarray
        The same of lacunes and CMB, by region and, as region "", of all; of EPVS in the midbrain; of WMH by ``RIM`` and ``DEEP``.
    lesions : tuple of Lesion
        All markers'.
    """

    markers: Mapping[Marker, MarkerMeasures | NotAssessed]
    wmh: WmhExtent | NotAssessed
    wmh_regions: Mapping[tuple[str, str], RegionExtent] | NotAssessed
    worst_slab: Mapping[str, Slab]
    wmh_rule: PeriventricularRule = PeriventricularRule.CONTINUITY_3_10
    slab_chances: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    count_chances: Mapping[tuple[Marker, str], NDArray[np.float64]] = field(default_factory=dict)
    lesions: tuple[Lesion, ...] = ()

    def labels_of(self, marker: Marker, region: str = "") -> tuple[int, ...]:
        """Labels of a marker's lesions, of one region or of all."""
        return tuple(one.label for one in self.lesions if one.marker is marker and region in ("", one.region))

    def chance_of_any(self, labels: Iterable[int]) -> float:
        """Probability that at least one of these WMH is one."""
        chance = {one.label: one.chance or 0.0 for one in self.lesions if one.marker is Marker.WMH}
        return 1 - math.prod(1 - chance.get(label, 0.0) for label in labels)


def score_session(evidence: Evidence) -> Scores:
    """All scores of a session, in the order of the table of scales."""
    scores: Scores = {}
    scores |= _fazekas(evidence)
    scores[Scale.ARWMC] = _age_related(evidence)
    scores |= _spaces(evidence)
    scores[Scale.CMB_BAND] = _band(evidence)
    for scale, points in _burdens(evidence, scores).items():
        scores[scale] = _add(points)
    scores[Scale.CAA_PARTIAL] = _with_siderosis(scores[Scale.CAA_PARTIAL])
    return {scale: scores[scale] for scale in Scale}


def _fazekas(evidence: Evidence) -> Scores:
    wmh, measured = evidence.wmh, evidence.markers[Marker.WMH]
    if isinstance(measured, NotAssessed):
        return dict.fromkeys((Scale.FAZEKAS_PERIVENTRICULAR, Scale.FAZEKAS_DEEP), measured)
    if isinstance(wmh, NotAssessed):
        return dict.fromkeys((Scale.FAZEKAS_PERIVENTRICULAR, Scale.FAZEKAS_DEEP), wmh)
    rim = f"rim {wmh.rim_mm:.1f} mm over 1 cm2, {wmh.thickest_mm:.1f} mm at most, on {wmh.covered:.0%} of the ventricles' wall"
    deep = f"largest {wmh.deep_mm:.1f} mm" if wmh.deep_mm > 0 else "none"
    volume = measured.region_volume_ml
    inner_ml = volume["periventricular"] + volume.get("juxtaventricular", 0.0)
    rule = f" (by {evidence.wmh_rule})" if evidence.wmh_rule != PeriventricularRule.CONTINUITY_3_10 else ""
    rim = f"{rim if wmh.touches else 'none at the ventricles in white matter'}; periventricular volume of all WMH {inner_ml:.2f} mL{rule}"
    deep = f"{deep} in deep white matter; deep volume of all WMH {volume['deep']:.2f} mL{rule}"
    chances = _fazekas_chances(evidence, wmh)
    periventricular = _grade_mm(Scale.FAZEKAS_PERIVENTRICULAR, wmh.rim_mm, rim, wmh.touching, int(wmh.touches))
    decisive = tuple(label for label, size_mm in wmh.deep.items() if size_mm == wmh.deep_mm)[:1]
    return {
        Scale.FAZEKAS_PERIVENTRICULAR: replace(periventricular, chances=chances[0]),
        Scale.FAZEKAS_DEEP: replace(_grade_mm(Scale.FAZEKAS_DEEP, wmh.deep_mm, deep, decisive), chances=chances[1]),
    }


def _fazekas_chances(evidence: Evidence, wmh: WmhExtent) -> tuple[dict[int, float], dict[int, float]]:
    """Probability of the grades, periventricular and deep; empty where it is not known.

    A WMH is one or not by its chance, and those are as large as they were found; small ones may have been missed.
    """
    numbers = [evidence.count_chances.get((Marker.WMH, part)) for part in (RIM, DEEP)]
    if numbers[0] is None or numbers[1] is None:
        return {}, {}
    any_rim, any_deep = (1 - float(number[0]) for number in numbers if number is not None)
    grade = bisect_right(SCALES[Scale.FAZEKAS_PERIVENTRICULAR].limits, wmh.rim_mm) if wmh.rim_mm > 0 else 0
    thick = min(evidence.chance_of_any((wmh.rim_lesion,)), any_rim) if grade > 1 else 0.0
    rim = {0: 1 - any_rim, 1: any_rim - thick, grade: thick} if grade > 1 else {0: 1 - any_rim, 1: any_rim}
    larger = [evidence.chance_of_any(_deep_from(wmh, limit_mm)) for limit_mm in SCALES[Scale.FAZEKAS_DEEP].limits[1:]]
    at_least = [1.0, any_deep, *(min(chance, any_deep) for chance in larger), 0.0]
    deep = {step: at_least[step] - at_least[step + 1] for step in range(len(at_least) - 1)}
    return _possible(rim), _possible(deep)


def _possible(chances: Mapping[int, float]) -> dict[int, float]:
    return {value: chance for value, chance in chances.items() if chance > 0}


def _deep_from(wmh: WmhExtent, limit_mm: float) -> tuple[int, ...]:
    """Lesions with a deep part as large as that."""
    return tuple(label for label, size_mm in wmh.deep.items() if size_mm >= limit_mm)


def _age_related(evidence: Evidence) -> Score | NotAssessed:
    measured, extents = evidence.markers[Marker.WMH], evidence.wmh_regions
    if isinstance(measured, NotAssessed):
        return measured
    if isinstance(extents, NotAssessed):
        return extents
    grades = {key: _grade_region(key[0], extent) for key, extent in extents.items()}
    total = {region: [grades[region, side] for side in SIDES] for region in ARWMC_REGIONS}
    named = [f"{region} {left} left, {right} right" for region, (left, right) in total.items() if left or right]
    return Score(sum(grades.values()), "; ".join(named) or "no WMH of 5 mm away from the ventricles", "")


def _grade_region(region: str, extent: RegionExtent) -> int:
    if extent.focal == 0:
        return 0
    if region == GANGLIA:
        return 3 if extent.largest_mm >= CONFLUENT_MM else 2 if extent.focal > 1 else 1
    return 3 if extent.share >= DIFFUSE_SHARE else 2 if extent.largest_mm >= CONFLUENT_MM else 1


def _grade_mm(scale: Scale, size_mm: float, evidence: str, lesions: tuple[int, ...], least: int = 0) -> Score:
    limits_mm = SCALES[scale].limits
    grade = max(bisect_right(limits_mm, size_mm) if size_mm > 0 else 0, least)
    if grade == 0:
        return Score(grade, evidence, "grade 1 with any")
    if grade == len(limits_mm):
        return Score(grade, evidence, "highest grade", lesions=lesions)
    more_mm = limits_mm[grade] - size_mm
    following = f"grade {grade + 1} from {limits_mm[grade]:g} mm, {more_mm:.1f} mm more"
    return Score(grade, evidence, following, to_next=more_mm, lesions=lesions)


def _grade_count(
    scale: Scale, count: int, evidence: str, lesions: tuple[int, ...] = (), chances: NDArray[np.float64] | None = None
) -> Score:
    limits = SCALES[scale].limits
    grade = bisect_right(limits, count)
    more = limits[grade] - count if grade < len(limits) else None
    following = "highest grade" if more is None else f"grade {grade + 1} from {limits[grade]:g}, {more:g} more"
    grades = {} if chances is None else grade_chances(chances, lambda number: bisect_right(limits, number))
    return Score(grade, evidence, following, grades, more, lesions)


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
        if region not in measured.region_count:
            scores[scale] = _not_reached(region)
            continue
        slab, everywhere = evidence.worst_slab[region], measured.region_count[region]
        where = f" ({slab.side}, around z = {slab.z_mm:.0f} mm)" if slab.side else ""
        said = f"{len(slab.labels)} in the worst slab and hemisphere{where}, {everywhere} in all"
        scores[scale] = _grade_count(scale, len(slab.labels), said, slab.labels, evidence.slab_chances.get(region))
    midbrain, labels = measured.region_count.get("midbrain"), evidence.labels_of(Marker.EPVS, "midbrain")
    if midbrain is None:
        scores[Scale.EPVS_MIDBRAIN] = _not_reached("midbrain")
    else:
        chances = evidence.count_chances.get((Marker.EPVS, "midbrain"))
        scores[Scale.EPVS_MIDBRAIN] = _grade_count(Scale.EPVS_MIDBRAIN, midbrain, f"{midbrain} in the midbrain", labels, chances)
    return scores


def _not_reached(region: str) -> NotAssessed:
    """Why nothing is said of a part of the brain."""
    return NotAssessed(f"no {region} in the images")


def _band(evidence: Evidence) -> Score | NotAssessed:
    measured = evidence.markers[Marker.CMB]
    if isinstance(measured, NotAssessed):
        return measured
    chances = evidence.count_chances.get((Marker.CMB, ""))
    return _grade_count(Scale.CMB_BAND, measured.count, f"{measured.count} CMB", evidence.labels_of(Marker.CMB), chances)


@dataclass(frozen=True)
class _Part:
    """Points of one part of a burden score; ``value`` is None where its marker was not assessed, ``chances`` where they are not known.

    ``more`` is what another point would take, ``reason`` why there is no value, where that is not that the marker was not assessed.
    """

    name: str
    value: int | None
    highest: int = 1
    chances: Mapping[int, float] | None = None
    more: str = ""
    reason: str = ""


def _add(parts: Sequence[_Part]) -> Score | NotAssessed:
    known = sum(part.value for part in parts if part.value is not None)
    missing = [part for part in parts if part.value is None]
    if missing:
        names = " and ".join(part.name + (f" ({part.reason})" if part.reason else "") for part in missing)
        most = known + sum(part.highest for part in missing)
        return NotAssessed(f"{names} not assessed; {known} to {most} is possible", (known, most))
    given = [f"{part.name} {part.value}" for part in parts if part.value]
    more = [part.more for part in parts if part.value is not None and part.value < part.highest]
    following = f"a point more with {' or '.join(more)}" if more else "highest score"
    return Score(known, ", ".join(given) or "no part gives a point", following, _add_chances(parts))


def _with_siderosis(score: Score | NotAssessed) -> Score | NotAssessed:
    """The CAA score without siderosis, with what it may be with it."""
    if isinstance(score, NotAssessed):
        return score
    return replace(score, evidence=f"{score.evidence}; {score.value} to {score.value + SIDEROSIS_POINTS} of 6 with siderosis")


def _add_chances(parts: Sequence[_Part]) -> dict[int, float]:
    """Probability of every sum, the parts taken as independent; empty where a part's are not known."""
    sums = {0: 1.0}
    for part in parts:
        if part.chances is None:
            return {}
        longer: dict[int, float] = {}
        for (before, so_far), (points, chance) in product(sums.items(), part.chances.items()):
            longer[before + points] = longer.get(before + points, 0.0) + so_far * chance
        sums = longer
    return dict(sorted(sums.items()))


@dataclass(frozen=True)
class _Counted:
    """A number that gives points."""

    name: str
    number: int | None
    chances: NDArray[np.float64] | None
    reason: str = ""

    def points(self, *limits: float) -> _Part:
        """A point at each limit."""
        if self.number is None:
            return _Part(self.name, None, len(limits), reason=self.reason)
        chances = None if self.chances is None else grade_chances(self.chances, lambda number: bisect_right(limits, number))
        points = bisect_right(limits, self.number)
        if points == len(limits):
            return _Part(self.name, points, len(limits), chances)
        more = limits[points] - self.number
        return _Part(self.name, points, len(limits), chances, f"{more:g} more {self.name if more > 1 else self.name.removesuffix('s')}")


def _wmh_parts(evidence: Evidence, rim: Score, deep: Score) -> tuple[_Part, _Part, _Part, _Part]:
    """What WMH give to the sums: a point for severe and for severe deep ones, points by the sum of both grades, and by the higher one.

    How sure they are goes by the chances of the lesions that give them. Both grades are taken as independent where they are added or
    compared.
    """
    wmh = evidence.wmh
    known = bool(rim.chances) and bool(deep.chances)
    severe_deep = _deep_from(wmh, SCALES[Scale.FAZEKAS_DEEP].limits[SEVERE_DEEP - 1]) if isinstance(wmh, WmhExtent) else ()
    severe_rim = (wmh.rim_lesion,) if isinstance(wmh, WmhExtent) and rim.value >= SEVERE_RIM else ()

    def point(name: str, labels: Sequence[int]) -> _Part:
        chance = evidence.chance_of_any(set(labels))
        return _Part(name, int(bool(labels)), 1, _possible({0: 1 - chance, 1: chance}) if known else None, f"more {name}")

    def of_grades(points: Callable[[int, int], int], highest: int) -> _Part:
        chances: dict[int, float] = {}
        for (one, of_one), (other, of_other) in product(rim.chances.items(), deep.chances.items()):
            given = points(one, other)
            chances[given] = chances.get(given, 0.0) + of_one * of_other
        return _Part("WMH", points(rim.value, deep.value), highest, dict(sorted(chances.items())) or None, "more WMH")

    return (
        point("WMH", (*severe_rim, *severe_deep)),
        point("deep WMH", severe_deep),
        of_grades(lambda one, other: bisect_right(MODIFIED_LIMITS[Marker.WMH], one + other), 2),
        of_grades(max, 3),
    )


def _burdens(evidence: Evidence, scores: Scores) -> dict[Scale, list[_Part]]:
    def count(name: str, marker: Marker, region: str = "") -> _Counted:
        found = evidence.markers[marker]
        if isinstance(found, NotAssessed):
            return _Counted(name, None, None)
        if region and region not in found.region_count:
            return _Counted(name, None, None, _not_reached(region).reason)
        number = found.region_count[region] if region else found.count
        return _Counted(name, number, evidence.count_chances.get((marker, region)))

    def slab(region: str) -> _Counted:
        found = count(f"{region} EPVS", Marker.EPVS, region)
        if found.number is None:
            return found
        return replace(found, number=len(evidence.worst_slab[region].labels), chances=evidence.slab_chances.get(region))

    rim, deep = scores[Scale.FAZEKAS_PERIVENTRICULAR], scores[Scale.FAZEKAS_DEEP]
    if isinstance(rim, NotAssessed) or isinstance(deep, NotAssessed):
        reason = evidence.wmh.reason if isinstance(evidence.wmh, NotAssessed) and evidence.markers[Marker.WMH] is not evidence.wmh else ""

        def wmh(name: str, highest: int) -> _Part:
            return _Part(name, None, highest, reason=reason)

        severe, severe_deep, both, higher = wmh("WMH", 1), wmh("deep WMH", 1), wmh("WMH", 2), wmh("WMH", 3)
    else:
        severe, severe_deep, both, higher = _wmh_parts(evidence, rim, deep)
    ganglia, centrum = slab("basal ganglia"), slab("centrum semiovale")
    cmb, lacunes, lobar_cmb = count("CMB", Marker.CMB), count("lacunes", Marker.LACUNE), count("lobar CMB", Marker.CMB, "lobar")
    some_spaces, many_spaces = SCALES[Scale.EPVS_BASAL_GANGLIA].limits[1:3]
    return {
        Scale.SVD_TOTAL: [severe, lacunes.points(1), cmb.points(1), ganglia.points(some_spaces)],
        Scale.SVD_HYPERTENSIVE: [
            severe_deep,
            count("deep lacunes", Marker.LACUNE, "deep").points(1),
            count("deep CMB", Marker.CMB, "deep").points(1),
            ganglia.points(some_spaces),
        ],
        Scale.SVD_AMYLOID: [
            severe,
            count("lobar lacunes", Marker.LACUNE, "lobar").points(1),
            lobar_cmb.points(1),
            centrum.points(some_spaces),
        ],
        Scale.SVD_MODIFIED: [
            both,
            lacunes.points(1),
            cmb.points(*MODIFIED_LIMITS[Marker.CMB]),
            ganglia.points(many_spaces),
        ],
        Scale.SVD_AMENDED: [higher, lacunes.points(*LACUNE_LIMITS), cmb.points(1)],
        Scale.CAA_PARTIAL: [severe, lobar_cmb.points(*AMYLOID_CMB_LIMITS), centrum.points(many_spaces)],
    }
