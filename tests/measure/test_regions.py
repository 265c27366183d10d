"""Every region at a place where the anatomy leaves no doubt, and the rules that divide WMH."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import ball
from scenes import scene_anatomy, scene_grid
from smallvessel.config import MeasureSettings, PeriventricularRule
from smallvessel.markers import Marker
from smallvessel.measure.regions import divide_wmh, map_regions, region_of, side_of, vote, wmh_classes, wmh_zones
from smallvessel.shapes import Box, component_boxes
from smallvessel.structures import Structure
from smallvessel.volume import LabelMap, Mask, Transform

GRID = scene_grid()
ANATOMY = scene_anatomy(GRID)
MAPS = map_regions(ANATOMY, MeasureSettings())

MARS_PLACES = {
    "brainstem": (0.0, -3.0, -18.0),
    "cerebellum": (7.0, -15.0, -14.0),
    "basal ganglia": (-17.0, 2.0, -1.0),
    "thalamus": (6.0, -4.0, -3.0),
    "internal capsule": (10.5, -1.5, -2.5),
    "external capsule": (-20.5, 2.0, -1.0),
    "corpus callosum": (0.5, 2.0, 9.5),
    "deep and periventricular white matter": (-8.0, -6.0, 10.0),
    "frontal": (4.0, 27.0, 0.0),
    "parietal": (0.0, -4.0, 23.5),
    "temporal": (-20.0, -7.0, -13.0),
    "occipital": (3.0, -27.0, 0.0),
    "insula": (25.0, 1.0, 0.0),
}
GROUPS = {
    "infratentorial": ("brainstem", "cerebellum"),
    "lobar": ("frontal", "parietal", "temporal", "occipital", "insula"),
}
EPVS_PLACES = {
    "basal ganglia": [(-17.0, 2.0, -1.0), (6.0, -4.0, -3.0), (10.5, -1.5, -2.5), (-20.5, 2.0, -1.0)],
    "centrum semiovale": [(-8.0, -6.0, 10.0), (-10.0, 4.0, 14.0)],
    "midbrain": [(-3.0, -2.0, -6.5), (0.5, -3.0, -7.5)],
    "hippocampus": [(15.0, -8.0, -10.0)],
    "other": [(0.0, -3.0, -18.0), (7.0, -15.0, -14.0)],
}


def locate(mask: NDArray[np.bool_]) -> tuple[Box, NDArray[np.bool_]]:
    [(_, box)] = component_boxes(mask.astype(np.int32), 0)
    return box, mask[box]


@pytest.mark.parametrize("name", MARS_PLACES)
@pytest.mark.parametrize("marker", [Marker.LACUNE, Marker.CMB])
def test_mars_region(name: str, marker: Marker) -> None:
    group = next((group for group, names in GROUPS.items() if name in names), "deep")
    if marker is Marker.LACUNE and name in ("corpus callosum", "deep and periventricular white matter"):
        group = "lobar"
    assert region_of(marker, MAPS, *locate(ball(GRID, MARS_PLACES[name], 1.3))) == (group, name)


@pytest.mark.parametrize(("name", "place_mm"), [(name, place) for name, places in EPVS_PLACES.items() for place in places])
def test_epvs_region(name: str, place_mm: tuple[float, float, float]) -> None:
    assert region_of(Marker.EPVS, MAPS, *locate(ball(GRID, place_mm, 1.0))) == (name, None)


@pytest.mark.parametrize("called", [Structure.CSF, Structure.LATERAL_VENTRICLE, Structure.CORTEX])
def test_lesion_that_the_anatomy_misnames_has_the_region_around_it(called: Structure) -> None:
    lesion = ball(GRID, (-17.0, 2.0, -1.0), 2.0)
    misnamed = ANATOMY.structures.data.copy()
    misnamed[lesion] = called
    anatomy = type(ANATOMY)(**{**vars(ANATOMY), "structures": LabelMap(misnamed, GRID)})
    assert region_of(Marker.LACUNE, map_regions(anatomy, MeasureSettings()), *locate(lesion)) == ("deep", "basal ganglia")


def test_unknown_where_nothing_is_named() -> None:
    nothing = LabelMap(np.zeros(GRID.shape, np.int32), GRID)
    anatomy = type(ANATOMY)(**{**vars(ANATOMY), "structures": nothing, "right": Mask(nothing.data > 0, GRID)})
    maps = map_regions(anatomy, MeasureSettings())
    lesion = locate(ball(GRID, (0.0, 0.0, 0.0), 2.0))
    assert region_of(Marker.CMB, maps, *lesion) == ("unknown", None)
    assert region_of(Marker.EPVS, maps, *lesion) == ("other", None)


def test_midline_without_sides_comes_from_mni() -> None:
    shifted = np.diag([2.6, 2.6, 2.6, 1.0])
    blind = type(ANATOMY)(**{**vars(ANATOMY), "right": Mask(np.zeros(GRID.shape, bool), GRID)})
    same = map_regions(blind, MeasureSettings())
    assert np.mean(same.mars == MAPS.mars) > 0.999
    shifted[0, 3] = 2.6 * 40.0
    away = type(blind)(**{**vars(blind), "mni_from_reference": Transform(shifted)})
    assert not (map_regions(away, MeasureSettings()).mars == 1 + list(MARS_PLACES).index("corpus callosum")).any()


def test_vote_takes_the_majority_and_the_lowest_of_equals() -> None:
    codes = np.zeros((10, 10, 10), np.uint8)
    codes[:5], codes[5:8] = 3, 2
    box, inside = (slice(3, 7), slice(0, 1), slice(0, 1)), np.ones((4, 1, 1), bool)
    assert vote(codes, box, inside) == 2
    inside[3] = False
    assert vote(codes, box, inside) == 3


def test_side() -> None:
    for x_mm, side in ((-9.0, "left"), (9.0, "right"), (0.0, "midline")):
        assert side_of(MAPS.right, *locate(ball(GRID, (x_mm, 0.0, 8.0), 3.0))) == side


def test_ventricle_distance_is_in_millimetres() -> None:
    along_x = MAPS.ventricle_mm[:, 33, 31]
    assert along_x[GRID.shape[0] // 2 + 4] == 0.0
    assert along_x[GRID.shape[0] // 2 + 9] == 3.0


CONTINUITY, VOXELWISE, BANDS, TOUCHING = PeriventricularRule
CASES = {
    "inside the rim": ([1.0, 2.0, 3.0], "periventricular", "periventricular", "juxtaventricular", "periventricular"),
    "touches, stays": ([3.0, 6.0, 10.0], "periventricular", "periventricular", "periventricular", "periventricular"),
    "touches, leaves": ([2.0, 9.0, 11.0, 12.0, 14.0], "confluent", "deep", "periventricular", "periventricular"),
    "near, does not touch": ([4.0, 5.0, 6.0], "deep", "periventricular", "periventricular", "deep"),
    "far": ([11.0, 14.0, np.inf, np.inf], "deep", "deep", "deep", "deep"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("place", range(4))
def test_rules_for_wmh(case: str, place: int) -> None:
    distances, expected = CASES[case][0], CASES[case][1 + place]
    rule = (CONTINUITY, VOXELWISE, BANDS, TOUCHING)[place]
    division = divide_wmh(np.array(distances, np.float32), False, MeasureSettings(periventricular_rule=rule))
    assert division.region == expected
    assert division.region in wmh_classes(rule)
    assert set(division.zone_voxels) <= set(wmh_zones(rule))
    assert sum(division.zone_voxels.values()) == len(distances)


def test_voxels_of_a_divided_lesion() -> None:
    distances = np.array([2.0, 9.0, 11.0, 12.0, 14.0], np.float32)
    assert divide_wmh(distances, False, MeasureSettings()).zone_voxels == {"periventricular": 2, "deep": 3}
    bands = divide_wmh(distances, False, MeasureSettings(periventricular_rule=BANDS))
    assert bands.zone_voxels == {"juxtaventricular": 1, "periventricular": 3, "deep": 1}
    wider = MeasureSettings(reach_mm=12.0)
    assert divide_wmh(distances, False, wider).zone_voxels == {"periventricular": 4, "deep": 1}


def test_rules_do_not_apply_below_the_tentorium() -> None:
    division = divide_wmh(np.array([1.0, np.inf], np.float32), True, MeasureSettings())
    assert (division.region, division.zone_voxels) == ("infratentorial", {"infratentorial": 2})
