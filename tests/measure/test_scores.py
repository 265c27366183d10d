"""Scores on each side of each border, with everything missing, and never lower for one lesion more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallvessel.config import PeriventricularRule
from smallvessel.markers import Marker
from smallvessel.measure.arwmc import ARWMC_REGIONS, SIDES, RegionExtent
from smallvessel.measure.extent import Slab, WmhExtent
from smallvessel.measure.scores import DEEP, RIM, Evidence, score_session
from smallvessel.records import Lesion, MarkerMeasures, NotAssessed, Score
from smallvessel.scales import SCALES, Scale

REGIONS = {
    Marker.WMH: ("periventricular", "deep", "infratentorial"),
    Marker.LACUNE: ("lobar", "deep", "infratentorial"),
    Marker.EPVS: ("basal ganglia", "centrum semiovale", "midbrain", "hippocampus", "other"),
    Marker.CMB: ("lobar", "deep", "infratentorial"),
}
NOTHING = RegionExtent(0, 0.0, 0.0)
MISSING = NotAssessed("needs SWI; this session has FLAIR only")


def measures(marker: Marker, **counts: int) -> MarkerMeasures:
    by_region = {region: counts.get(region.replace(" ", "_"), 0) for region in REGIONS[marker]}
    return MarkerMeasures(marker, 0.1 * sum(by_region.values()), sum(by_region.values()), dict.fromkeys(by_region, 0.0), by_region)


def evidence(
    rim_mm: float = 0.0,
    deep_mm: float = 0.0,
    lacunes: dict[str, int] | None = None,
    cmb: dict[str, int] | None = None,
    spaces: dict[str, int] | None = None,
    wmh_regions: dict[tuple[str, str], RegionExtent] | None = None,
) -> Evidence:
    markers = {
        Marker.WMH: measures(Marker.WMH),
        Marker.LACUNE: measures(Marker.LACUNE, **(lacunes or {})),
        Marker.EPVS: measures(Marker.EPVS, **(spaces or {})),
        Marker.CMB: measures(Marker.CMB, **(cmb or {})),
    }
    most = {region: (spaces or {}).get(region.replace(" ", "_"), 0) for region in REGIONS[Marker.EPVS]}
    worst = {region: Slab(tuple(range(1, n + 1)), "left" if n else "", 21.4) for region, n in most.items()}
    regions = {(region, side): NOTHING for region in ARWMC_REGIONS for side in SIDES} | (wmh_regions or {})
    return Evidence(markers, wmh_extent(rim_mm, deep_mm), regions, worst, PeriventricularRule.TOUCHING)


def wmh_extent(rim_mm: float, deep_mm: float) -> WmhExtent:
    """A rim that is lesion 1, and a deep part of lesion 2."""
    rim = (1,) if rim_mm > 0 else ()
    return WmhExtent(rim_mm > 0, rim_mm, 0.3 if rim_mm else 0.0, rim_mm, rim, sum(rim), {2: deep_mm} if deep_mm > 0 else {})


def value(scale: Scale, of: Evidence) -> int:
    score = score_session(of)[scale]
    assert isinstance(score, Score)
    return score.value


@pytest.mark.parametrize(("rim_mm", "grade"), [(0.0, 0), (0.5, 1), (4.9, 1), (5.0, 2), (5.1, 2), (9.9, 2), (10.0, 3), (30.0, 3)])
def test_periventricular_fazekas_by_the_rim(rim_mm: float, grade: int) -> None:
    assert value(Scale.FAZEKAS_PERIVENTRICULAR, evidence(rim_mm=rim_mm)) == grade


@pytest.mark.parametrize(("deep_mm", "grade"), [(0.0, 0), (1.0, 1), (9.9, 1), (10.0, 2), (24.9, 2), (25.0, 3)])
def test_deep_fazekas_by_the_largest_lesion(deep_mm: float, grade: int) -> None:
    assert value(Scale.FAZEKAS_DEEP, evidence(deep_mm=deep_mm)) == grade


@pytest.mark.parametrize(("count", "grade"), [(0, 0), (1, 1), (10, 1), (11, 2), (20, 2), (21, 3), (40, 3), (41, 4), (200, 4)])
def test_potters_grades(count: int, grade: int) -> None:
    found = evidence(spaces={"basal_ganglia": count, "centrum_semiovale": count})
    assert value(Scale.EPVS_BASAL_GANGLIA, found) == value(Scale.EPVS_CENTRUM_SEMIOVALE, found) == grade


@pytest.mark.parametrize(
    ("region", "extent", "grade"),
    [
        ("frontal", RegionExtent(0, 4.9, 0.01), 0),
        ("frontal", RegionExtent(1, 5.0, 0.01), 1),
        ("frontal", RegionExtent(3, 9.9, 0.24), 1),
        ("temporal", RegionExtent(1, 10.0, 0.24), 2),
        ("infratentorial", RegionExtent(1, 30.0, 0.25), 3),
        ("basal ganglia", RegionExtent(1, 9.9, 0.5), 1),
        ("basal ganglia", RegionExtent(2, 9.9, 0.01), 2),
        ("basal ganglia", RegionExtent(1, 10.0, 0.01), 3),
    ],
)
def test_age_related_changes_by_region(region: str, extent: RegionExtent, grade: int) -> None:
    assert value(Scale.ARWMC, evidence(wmh_regions={(region, "left"): extent})) == grade
    assert value(Scale.ARWMC, evidence(wmh_regions={(region, side): extent for side in SIDES})) == 2 * grade


def test_age_related_changes_end_at_30() -> None:
    full = RegionExtent(9, 60.0, 1.0)
    most = evidence(wmh_regions={(region, side): full for region in ARWMC_REGIONS for side in SIDES})
    assert value(Scale.ARWMC, most) == SCALES[Scale.ARWMC].highest == 30


@pytest.mark.parametrize(("count", "band"), [(0, 0), (1, 1), (4, 1), (5, 2), (9, 2), (10, 3)])
def test_bands_of_microbleeds(count: int, band: int) -> None:
    assert value(Scale.CMB_BAND, evidence(cmb={"lobar": count})) == band


@pytest.mark.parametrize(
    ("found", "total"),
    [
        (evidence(), 0),
        (evidence(rim_mm=9.9, deep_mm=9.9), 0),
        (evidence(rim_mm=10.0), 1),
        (evidence(deep_mm=10.0), 1),
        (evidence(rim_mm=10.0, deep_mm=30.0), 1),
        (evidence(spaces={"basal_ganglia": 10}), 0),
        (evidence(spaces={"basal_ganglia": 11}), 1),
        (evidence(spaces={"centrum_semiovale": 60}), 0),
        (evidence(deep_mm=12.0, lacunes={"deep": 1}, cmb={"lobar": 1}, spaces={"basal_ganglia": 11}), 4),
    ],
)
def test_total_burden(found: Evidence, total: int) -> None:
    assert value(Scale.SVD_TOTAL, found) == total


def test_types_of_burden_look_at_places() -> None:
    amyloid = evidence(deep_mm=12.0, lacunes={"lobar": 1}, cmb={"lobar": 5}, spaces={"centrum_semiovale": 25})
    assert (value(Scale.SVD_AMYLOID, amyloid), value(Scale.SVD_HYPERTENSIVE, amyloid), value(Scale.CAA_PARTIAL, amyloid)) == (4, 1, 4)
    deep = evidence(deep_mm=12.0, lacunes={"deep": 1}, cmb={"deep": 1}, spaces={"basal_ganglia": 12})
    assert (value(Scale.SVD_AMYLOID, deep), value(Scale.SVD_HYPERTENSIVE, deep), value(Scale.CAA_PARTIAL, deep)) == (1, 4, 1)


def test_weighted_burdens() -> None:
    full = evidence(rim_mm=11.0, deep_mm=26.0, lacunes={"deep": 6}, cmb={"deep": 5}, spaces={"basal_ganglia": 21})
    assert (value(Scale.SVD_MODIFIED, full), value(Scale.SVD_AMENDED, full)) == (6, 7)
    some = evidence(rim_mm=5.0, deep_mm=5.0, lacunes={"deep": 2}, cmb={"deep": 4}, spaces={"basal_ganglia": 20})
    assert (value(Scale.SVD_MODIFIED, some), value(Scale.SVD_AMENDED, some)) == (3, 4)


def test_a_sum_with_a_part_missing_says_what_is_possible() -> None:
    found = evidence(deep_mm=12.0, lacunes={"deep": 1})
    scores = score_session(replace(found, markers={**found.markers, Marker.CMB: MISSING}))
    assert scores[Scale.CMB_BAND] is MISSING
    assert scores[Scale.SVD_TOTAL] == NotAssessed("CMB not assessed; 2 to 3 is possible", (2, 3))
    assert scores[Scale.SVD_MODIFIED] == NotAssessed("CMB not assessed; 1 to 3 is possible", (1, 3))
    deep = "largest 12.0 mm in deep white matter; deep volume of all WMH 0.00 mL (by touching)"
    assert scores[Scale.FAZEKAS_DEEP] == Score(2, deep, "grade 3 from 25 mm, 13.0 mm more", to_next=13.0, lesions=(2,))


@given(st.sampled_from(list(Marker)), st.integers(0, 12), st.integers(0, 12), st.integers(0, 45))
def test_what_is_possible_holds_once_the_missing_part_is_known(missing: Marker, lacunes: int, cmb: int, spaces: int) -> None:
    known = evidence(rim_mm=12.0 if spaces > 20 else 0.0, lacunes={"deep": lacunes}, cmb={"lobar": cmb}, spaces={"basal_ganglia": spaces})
    unknown = replace(known, markers={**known.markers, missing: MISSING})
    if missing is Marker.WMH:
        unknown = replace(unknown, wmh=MISSING)
    whole, partly = score_session(known), score_session(unknown)
    for scale, info in SCALES.items():
        before, after = partly[scale], whole[scale]
        assert isinstance(before, NotAssessed) == (missing in info.needs)
        if isinstance(before, NotAssessed) and before.possible is not None:
            assert isinstance(after, Score)
            assert before.possible[0] <= after.value <= before.possible[1] <= info.highest


@pytest.mark.parametrize(
    ("found", "scale", "to_next", "said"),
    [
        (evidence(rim_mm=4.0), Scale.FAZEKAS_PERIVENTRICULAR, 1.0, "grade 2 from 5 mm, 1.0 mm more"),
        (evidence(rim_mm=10.0), Scale.FAZEKAS_PERIVENTRICULAR, None, "highest grade"),
        (evidence(), Scale.FAZEKAS_DEEP, None, "grade 1 with any"),
        (evidence(spaces={"basal_ganglia": 9}), Scale.EPVS_BASAL_GANGLIA, 2.0, "grade 2 from 11, 2 more"),
        (evidence(), Scale.EPVS_MIDBRAIN, 1.0, "grade 1 from 1, 1 more"),
        (evidence(cmb={"lobar": 10}), Scale.CMB_BAND, None, "highest grade"),
        (
            evidence(deep_mm=12.0, cmb={"lobar": 1}, spaces={"basal_ganglia": 9}),
            Scale.SVD_TOTAL,
            None,
            "a point more with 1 more lacune or 2 more basal ganglia EPVS",
        ),
        (evidence(lacunes={"deep": 6}, cmb={"lobar": 1}), Scale.SVD_AMENDED, None, "a point more with more WMH"),
    ],
)
def test_the_way_to_the_next_grade(found: Evidence, scale: Scale, to_next: float | None, said: str) -> None:
    score = score_session(found)[scale]
    assert isinstance(score, Score)
    assert score.to_next == pytest.approx(to_next)
    assert score.next_grade == said


def test_a_score_names_the_lesions_that_decided_it() -> None:
    bleeds = tuple(Lesion(Marker.CMB, label, 9.0, 3.0, (0.0, 0.0, 0.0), "lobar", None, "left", 0.9) for label in (1, 2))
    space = Lesion(Marker.EPVS, 7, 9.0, 3.0, (0.0, 0.0, 0.0), "midbrain", None, "left", 0.9)
    of = replace(
        evidence(cmb={"lobar": 2}, spaces={"basal_ganglia": 3, "midbrain": 1}),
        wmh=WmhExtent(True, 6.0, 0.3, touching=(1, 4), deep={2: 12.0, 5: 9.0}),
        lesions=(*bleeds, space),
    )
    scores = score_session(of)
    named = {scale: score.lesions for scale, score in scores.items() if isinstance(score, Score) and score.lesions}
    assert named == {
        Scale.FAZEKAS_PERIVENTRICULAR: (1, 4),
        Scale.FAZEKAS_DEEP: (2,),
        Scale.EPVS_BASAL_GANGLIA: (1, 2, 3),
        Scale.EPVS_MIDBRAIN: (7,),
        Scale.CMB_BAND: (1, 2),
    }
    ganglia = scores[Scale.EPVS_BASAL_GANGLIA]
    assert isinstance(ganglia, Score)
    assert "(left, around z = 21 mm)" in ganglia.evidence


def test_what_is_not_in_the_images_is_not_zero() -> None:
    whole = evidence()
    spaces = whole.markers[Marker.EPVS]
    assert isinstance(spaces, MarkerMeasures)
    counts = {region: count for region, count in spaces.region_count.items() if region != "midbrain"}
    lost = NotAssessed("no lateral ventricles were found")
    cut = replace(whole, markers={**whole.markers, Marker.EPVS: replace(spaces, region_count=counts)}, wmh=lost, wmh_regions=lost)
    scores = score_session(cut)
    assert scores[Scale.EPVS_MIDBRAIN] == NotAssessed("no midbrain in the images")
    assert scores[Scale.ARWMC] == scores[Scale.FAZEKAS_DEEP] == lost
    assert scores[Scale.SVD_TOTAL] == NotAssessed("WMH (no lateral ventricles were found) not assessed; 0 to 1 is possible", (0, 1))


def test_the_caa_score_says_what_siderosis_could_add() -> None:
    score = score_session(evidence(cmb={"lobar": 5}))[Scale.CAA_PARTIAL]
    assert isinstance(score, Score)
    assert score.evidence == "lobar CMB 2; 2 to 4 of 6 with siderosis"


def test_nothing_assessed_gives_no_score() -> None:
    nothing = Evidence(dict.fromkeys(Marker, MISSING), MISSING, {}, {})
    assert all(isinstance(score, NotAssessed) for score in score_session(nothing).values())


def test_every_scale_has_a_score_within_its_range_and_a_name_for_it() -> None:
    full = evidence(rim_mm=40, deep_mm=80, lacunes={"deep": 50}, cmb={"lobar": 99}, spaces={"basal_ganglia": 99, "midbrain": 3})
    for found in (evidence(), full):
        scores = score_session(found)
        assert list(scores) == list(Scale) == list(SCALES)
        for scale, score in scores.items():
            assert isinstance(score, Score)
            assert 0 <= score.value <= SCALES[scale].highest
            assert set(SCALES[scale].levels) == set(range(SCALES[scale].highest + 1))


counts = st.fixed_dictionaries({region: st.integers(0, 50) for region in ("lobar", "deep", "infratentorial")})
spaces = st.fixed_dictionaries({region: st.integers(0, 60) for region in ("basal_ganglia", "centrum_semiovale", "midbrain")})


@given(st.floats(0, 15), st.floats(0, 40), counts, counts, spaces, st.sampled_from(["lacunes", "cmb", "spaces"]), st.data())
def test_a_lesion_more_never_lowers_a_score(
    rim_mm: float, deep_mm: float, lacunes: dict[str, int], cmb: dict[str, int], epvs: dict[str, int], kind: str, data: st.DataObject
) -> None:
    before = {"lacunes": lacunes, "cmb": cmb, "spaces": epvs}
    where = data.draw(st.sampled_from(sorted(before[kind])))
    after = {**before, kind: {**before[kind], where: before[kind][where] + 1}}
    less, more = (score_session(evidence(rim_mm, deep_mm, c["lacunes"], c["cmb"], c["spaces"])) for c in (before, after))
    for scale in Scale:
        one, other = less[scale], more[scale]
        assert isinstance(one, Score)
        assert isinstance(other, Score)
        assert other.value >= one.value


def test_a_score_says_how_likely_its_neighbours_are() -> None:
    of = replace(evidence(cmb={"lobar": 4}), count_chances={(Marker.CMB, ""): np.array([0, 0, 0, 0.2, 0.5, 0.3])})
    score = score_session(of)[Scale.CMB_BAND]
    assert isinstance(score, Score)
    assert score.chances == pytest.approx({0: 0.0, 1: 0.7, 2: 0.3})
    plain = score_session(evidence(cmb={"lobar": 4}))[Scale.CMB_BAND]
    assert isinstance(plain, Score)
    assert plain.chances == {}


@pytest.mark.parametrize("scale", [scale for scale, info in SCALES.items() if info.limits])
def test_grades_begin_where_the_table_of_scales_says(scale: Scale) -> None:
    info = SCALES[scale]
    assert len(info.limits) == info.highest
    place = {Scale.EPVS_BASAL_GANGLIA: "basal_ganglia", Scale.EPVS_CENTRUM_SEMIOVALE: "centrum_semiovale", Scale.EPVS_MIDBRAIN: "midbrain"}
    for grade, limit in enumerate(info.limits, start=1):
        if info.unit == "mm":
            is_rim = scale is Scale.FAZEKAS_PERIVENTRICULAR
            sizes_mm = max(limit, 0.1), max(limit - 0.1, 0.0)
            at, below = (evidence(rim_mm=size_mm) if is_rim else evidence(deep_mm=size_mm) for size_mm in sizes_mm)
        elif scale is Scale.CMB_BAND:
            at, below = (evidence(cmb={"lobar": int(number)}) for number in (limit, limit - 1))
        else:
            at, below = (evidence(spaces={place[scale]: int(number)}) for number in (limit, limit - 1))
        assert (value(scale, at), value(scale, below)) == (grade, grade - 1)


def sure_of(of: Evidence, rim: float = 1.0, deep: float = 1.0, none: tuple[float, float] = (0.0, 0.0)) -> Evidence:
    """The same, with the chances of the lesions 1 (rim) and 2 (deep), and of neither at the ventricles nor deep there being any."""
    lesions = tuple(
        Lesion(Marker.WMH, label, 9.0, 3.0, (0.0, 0.0, 0.0), "deep", None, "left", 0.9, chance) for label, chance in ((1, rim), (2, deep))
    )
    chances = {(Marker.WMH, part): np.array([no, 1 - no]) for part, no in zip((RIM, DEEP), none, strict=True)}
    return replace(of, lesions=lesions, count_chances={**of.count_chances, **chances})


def test_fazekas_says_how_likely_its_neighbours_are_by_the_lesions_that_decide() -> None:
    scores = score_session(sure_of(evidence(rim_mm=12.0, deep_mm=12.0), rim=0.7, deep=0.4, none=(0.1, 0.2)))
    rim, deep = scores[Scale.FAZEKAS_PERIVENTRICULAR], scores[Scale.FAZEKAS_DEEP]
    assert isinstance(rim, Score)
    assert isinstance(deep, Score)
    assert rim.chances == pytest.approx({0: 0.1, 1: 0.2, 3: 0.7})
    assert deep.chances == pytest.approx({0: 0.2, 1: 0.4, 2: 0.4})
    nothing = score_session(sure_of(evidence(), none=(0.6, 0.5)))[Scale.FAZEKAS_DEEP]
    assert isinstance(nothing, Score)
    assert nothing.chances == pytest.approx({0: 0.5, 1: 0.5})


def test_a_point_for_wmh_is_as_sure_as_the_lesion_that_gives_it() -> None:
    none = {(Marker.LACUNE, ""): np.ones(1), (Marker.CMB, ""): np.ones(1)}
    of = sure_of(replace(evidence(deep_mm=12.0), count_chances=none, slab_chances={"basal ganglia": np.ones(1)}), deep=0.22)
    scores = score_session(of)
    total, amended = scores[Scale.SVD_TOTAL], scores[Scale.SVD_AMENDED]
    assert isinstance(total, Score)
    assert isinstance(amended, Score)
    assert (total.value, amended.value) == (1, 2)
    assert total.chances == pytest.approx({0: 0.78, 1: 0.22})
    assert amended.chances == pytest.approx({1: 0.78, 2: 0.22})


def test_a_burden_score_says_how_likely_every_sum_is() -> None:
    sure_wmh = sure_of(evidence(rim_mm=12.0, lacunes={"deep": 1}, cmb={"lobar": 1}, spaces={"basal_ganglia": 9}))
    chances = {(Marker.LACUNE, ""): np.array([0.4, 0.6]), (Marker.CMB, ""): np.array([0.1, 0.8, 0.1])}
    slab = {"basal ganglia": np.array([*[0.0] * 9, 0.75, 0.0, 0.25])}  # nine or eleven
    score = score_session(replace(sure_wmh, count_chances={**sure_wmh.count_chances, **chances}, slab_chances=slab))[Scale.SVD_TOTAL]
    assert isinstance(score, Score)
    assert score.value == 3
    assert score.chances == pytest.approx({1: 0.03, 2: 0.325, 3: 0.51, 4: 0.135})
    assert sum(score.chances.values()) == pytest.approx(1)
    unknown = score_session(replace(sure_wmh, slab_chances=slab))[Scale.SVD_TOTAL]
    assert isinstance(unknown, Score)
    assert unknown.chances == {}
