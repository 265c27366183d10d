"""Whole measurements of phantoms whose lesions are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from phantoms import ball
from scenes import scene, scene_anatomy, scene_grid, segmentation_of
from smallvessel.config import MeasureSettings, PeriventricularRule
from smallvessel.markers import Marker
from smallvessel.measure import measure_session
from smallvessel.records import Lesion, MarkerMeasures, Measurements, NotAssessed, Prepared, Score, Segmentation
from smallvessel.scales import Scale
from smallvessel.structures import STRUCTURES, Structure
from smallvessel.volume import Grid

GRID = scene_grid()
PREPARED = scene()
CONTINUITY = PeriventricularRule.CONTINUITY_3_10


def measure(
    masks: Mapping[Marker, NDArray[np.bool_]],
    prepared: Prepared = PREPARED,
    rule: PeriventricularRule = PeriventricularRule.CONTINUITY_3_10,
) -> Measurements:
    return measure_session(prepared, segmentation_of(prepared, masks), MeasureSettings(periventricular_rule=rule))


def of(measurements: Measurements, marker: Marker) -> MarkerMeasures:
    result = measurements.markers[marker]
    assert isinstance(result, MarkerMeasures)
    return result


@given(
    rotation_deg=st.tuples(*[st.floats(-15, 15)] * 3),
    radius_mm=st.floats(4.0, 6.0),
    centre_mm=st.tuples(st.floats(-12, -8), st.floats(-10, -6), st.floats(4, 9)),
)
@settings(max_examples=6, deadline=None)
def test_ball_on_an_oblique_grid(rotation_deg: tuple[float, float, float], radius_mm: float, centre_mm: tuple[float, float, float]) -> None:
    grid = scene_grid(rotation_deg=rotation_deg)
    mask = ball(grid, centre_mm, radius_mm)
    [lesion] = measure({Marker.CMB: mask}, scene(grid)).lesions
    assert lesion.volume_mm3 == pytest.approx(np.count_nonzero(mask))
    assert lesion.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.12)
    assert lesion.diameter_mm == pytest.approx(2 * radius_mm, abs=1.0)
    assert lesion.centroid_mm == pytest.approx(centre_mm, abs=0.25)
    assert (lesion.side, lesion.label, lesion.confidence) == ("left", 1, 0.9)


def test_empty_markers_have_zeros_in_every_region_and_missing_ones_a_reason() -> None:
    nothing = segmentation_of(PREPARED, {})
    reason = NotAssessed("needs SWI; this session has FLAIR only")
    found = measure_session(PREPARED, Segmentation({**nothing.markers, Marker.CMB: reason}), MeasureSettings())
    assert found.markers[Marker.CMB] is reason
    assert found.lesions == ()
    wmh = of(found, Marker.WMH)
    assert (wmh.volume_ml, wmh.count) == (0.0, 0)
    assert wmh.region_volume_ml == {"periventricular": 0.0, "deep": 0.0, "infratentorial": 0.0}
    assert wmh.region_count == {"periventricular": 0, "deep": 0, "infratentorial": 0, "confluent": 0}
    assert of(found, Marker.LACUNE).region_count == {"lobar": 0, "deep": 0, "infratentorial": 0}
    assert list(of(found, Marker.EPVS).region_count) == ["basal ganglia", "centrum semiovale", "midbrain", "hippocampus", "other"]


def without(*structures: Structure) -> Prepared:
    """The scene with white matter in the place of some structures, or nothing in that of the brainstem and the cerebellum."""
    labels = PREPARED.anatomy.structures
    white = np.where(np.isin(labels.data, structures), Structure.WHITE_MATTER, labels.data)
    if Structure.BRAINSTEM in structures:
        white[np.isin(labels.data, structures)] = Structure.BACKGROUND
    return replace(PREPARED, anatomy=replace(PREPARED.anatomy, structures=replace(labels, data=white.astype(np.int32))))


def test_a_region_that_the_images_do_not_reach_has_no_number() -> None:
    below = (Structure.BRAINSTEM, Structure.VENTRAL_DC, Structure.CEREBELLAR_WHITE, Structure.CEREBELLAR_CORTEX)
    found = measure({}, without(*below))
    assert "midbrain" not in of(found, Marker.EPVS).region_count
    assert "infratentorial" not in of(found, Marker.CMB).region_count
    assert not any("infratentorial" in name or "brainstem" in name for name in of(found, Marker.CMB).details)
    assert isinstance(found.scores[Scale.EPVS_MIDBRAIN], NotAssessed)
    assert isinstance(found.scores[Scale.ARWMC], NotAssessed)


def test_without_ventricles_wmh_are_neither_periventricular_nor_deep() -> None:
    found = measure({Marker.WMH: beam(GRID, 8.0, 14.0)}, without(Structure.LATERAL_VENTRICLE))
    wmh = of(found, Marker.WMH)
    assert set(wmh.region_volume_ml) <= {"unknown", "infratentorial"}
    assert wmh.volume_ml > 0
    assert wmh.region_volume_ml["unknown"] == pytest.approx(wmh.volume_ml)
    total = found.scores[Scale.SVD_TOTAL]
    assert isinstance(total, NotAssessed)
    assert "WMH (no lateral ventricles were found) not assessed" in total.reason


def beam(grid: Grid, from_mm: float, to_mm: float) -> NDArray[np.bool_]:
    """A row of white matter from the right lateral ventricle's wall (x = 6.6 mm) to the side."""
    centres = grid.world(np.indices(grid.shape).reshape(3, -1).T).reshape(*grid.shape, 3)
    x, y, z = centres[..., 0], centres[..., 1], centres[..., 2]
    return np.asarray((x >= from_mm) & (x <= to_mm) & (np.abs(y - 2.0) < 1.6) & (np.abs(z - 4.0) < 1.6), np.bool_)


@pytest.mark.parametrize(
    ("from_mm", "to_mm", "called"),
    [(7.0, 13.0, "periventricular"), (7.0, 20.0, "confluent"), (12.0, 20.0, "deep"), (9.4, 16.0, "periventricular")],
)
def test_wmh_by_continuity(from_mm: float, to_mm: float, called: str) -> None:
    mask = beam(GRID, from_mm, to_mm)
    found = measure({Marker.WMH: mask})
    [lesion] = found.lesions
    wmh = of(found, Marker.WMH)
    assert lesion.region == called
    assert wmh.region_count[called] == wmh.count == 1
    assert sum(wmh.region_volume_ml.values()) == pytest.approx(wmh.volume_ml)
    if called == "confluent":
        assert 0 < wmh.region_volume_ml["deep"] < wmh.region_volume_ml["periventricular"]
    else:
        assert wmh.region_volume_ml[called] == pytest.approx(mask.sum() / 1000)


@pytest.mark.parametrize("rule", list(PeriventricularRule))
def test_volumes_add_up_by_every_rule(rule: PeriventricularRule) -> None:
    mask = beam(GRID, 7.0, 20.0) | beam(GRID, -20.0, -12.0) | ball(GRID, (0.0, -3.0, -17.0), 2.0)
    wmh = of(measure({Marker.WMH: mask}, rule=rule), Marker.WMH)
    assert wmh.volume_ml == pytest.approx(mask.sum() / 1000)
    assert sum(wmh.region_volume_ml.values()) == pytest.approx(wmh.volume_ml)
    assert sum(wmh.region_count.values()) == wmh.count == 3
    assert wmh.region_count["infratentorial"] == 1
    assert wmh.region_volume_ml["infratentorial"] == pytest.approx(ball(GRID, (0.0, -3.0, -17.0), 2.0).sum() / 1000)


def test_intracranial_volume_needs_a_skull() -> None:
    assert measure({}).icv_ml == pytest.approx(4 / 3 * np.pi * 29 * 31 * 27 / 1000, rel=0.01)
    stripped = measure({}, scene(brain_extracted=True))
    assert isinstance(stripped.icv_ml, NotAssessed)
    assert "brain-extracted" in stripped.icv_ml.reason
    assert stripped.brain_ml == pytest.approx(4 / 3 * np.pi * 27.5 * 29.5 * 25.5 / 1000, rel=0.01)


def test_structure_volumes_per_side() -> None:
    volumes = measure({}).structure_ml
    assert volumes["left thalamus"] == volumes["right thalamus"] == pytest.approx(4 / 3 * np.pi * 27 / 1000, rel=0.25)
    assert volumes["brainstem"] > 0
    assert "left brainstem" not in volumes
    inside = np.count_nonzero(scene_anatomy(GRID).structures.data)
    assert sum(volumes.values()) == pytest.approx(inside / 1000)
    assert len(volumes) == sum(2 if info.freesurfer_right else 1 for s, info in STRUCTURES.items() if s is not Structure.BACKGROUND)


def describe(one: Lesion) -> tuple[str, ...]:
    """Everything about a lesion but its label."""
    numbers = np.round([one.volume_mm3, one.diameter_mm, *one.centroid_mm], 2) + 0.0
    return (one.marker, one.region, str(one.mars_region), one.side, *map(str, numbers))


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "SAL"])
def test_order_and_direction_of_axes_change_nothing(orientation: str) -> None:
    shape = {"LPS": (60, 64, 56), "PIR": (64, 56, 60), "SAL": (56, 64, 60)}[orientation]
    rows = []
    for grid in (GRID, scene_grid(shape=shape, orientation=orientation)):
        masks = {
            Marker.WMH: beam(grid, 7.0, 20.0) | ball(grid, (0.0, -3.0, -17.0), 2.0),
            Marker.CMB: ball(grid, (-24.0, 0.0, 1.0), 2.0) | ball(grid, (10.5, -1.5, -2.5), 1.3),
            Marker.EPVS: ball(grid, (-17.0, 2.0, -1.0), 1.5),
        }
        found = measure(masks, scene(grid))
        rows.append(sorted(describe(one) for one in found.lesions))
    assert len(rows[0]) == 5
    assert rows[0] == rows[1]


def test_without_any_marker_every_score_says_why_and_what_is_possible() -> None:
    reason = NotAssessed("no network")
    found = measure_session(PREPARED, Segmentation(dict.fromkeys(Marker, reason)), MeasureSettings())
    assert found.lesions == ()
    assert set(found.scores) == set(Scale)
    assert all(isinstance(score, NotAssessed) for score in found.scores.values())
    assert "0 to 4 is possible" in str(found.scores[Scale.SVD_TOTAL])
    nothing = measure_session(PREPARED, segmentation_of(PREPARED, {}), MeasureSettings())
    assert all(isinstance(score, Score) and score.value == 0 for score in nothing.scores.values())


def test_the_numbers_behind_scores_are_columns() -> None:
    found = measure({Marker.WMH: beam(GRID, 7.0, 20.0), Marker.EPVS: np.zeros(GRID.shape, np.bool_)})
    details = of(found, Marker.WMH).details
    assert details["wmh_deep_diameter_mm"] > 0
    assert 0 < details["wmh_rim_covered"] < 0.1
    assert details["wmh_rim_mm"] == 0, "it covers less than 1 cm2"
    deep = found.scores[Scale.FAZEKAS_DEEP]
    assert isinstance(deep, Score)
    assert deep.lesions == (1,)
    assert of(found, Marker.EPVS).details == {"epvs_basal_ganglia_slab_count": 0, "epvs_centrum_semiovale_slab_count": 0}


@pytest.mark.parametrize(("number", "grade"), [(1, 1), (10, 1), (11, 2)])
def test_ten_spaces_of_the_basal_ganglia_are_grade_1_and_eleven_grade_2(number: int, grade: int) -> None:
    nucleus = np.argwhere((PREPARED.anatomy.structures.data == Structure.PUTAMEN) & ~PREPARED.anatomy.right.data)
    level = np.bincount(nucleus[:, 2]).argmax()
    spaces = np.zeros(GRID.shape, np.bool_)
    for x, y, z in nucleus:
        if x % 2 == 0 and y % 2 == 0 and z in (level, level - 2) and np.count_nonzero(spaces) < number:
            spaces[x, y, z] = True
    assert np.count_nonzero(spaces) == number
    found = measure({Marker.EPVS: spaces}).scores[Scale.EPVS_BASAL_GANGLIA]
    assert isinstance(found, Score)
    assert found.value == grade
