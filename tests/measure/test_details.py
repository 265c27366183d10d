"""Confluency and sizes of microbleeds, on solids of known shape."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import ball, ellipsoid, make_grid
from smallvessel.markers import Marker
from smallvessel.measure.details import count_definite, measure_confluency, measure_details
from smallvessel.records import Lesion
from smallvessel.scales import DETAILS, MARS_REGIONS, WMH_VOLUME_LIMITS_ML
from smallvessel.shapes import label_components
from smallvessel.volume import LabelMap

GRID = make_grid((60, 40, 40), (1.0, 1.0, 1.0))


def confluency(mask: NDArray[np.bool_]) -> float:
    return sum(measure_confluency(LabelMap(label_components(mask)[0], GRID)).values())


def bleed(region: str, diameter_mm: float) -> Lesion:
    return Lesion(Marker.CMB, 1, 30.0, diameter_mm, (0.0, 0.0, 0.0), region, None, "left", 0.9)


def test_balls_are_not_confluent_and_a_spindle_is_as_much_as_its_surface_says() -> None:
    balls = ball(GRID, (-15, 0, 0), 6) | ball(GRID, (10, 0, 0), 4)
    assert confluency(balls) < 0.05
    long_mm, short_mm = 26.0, 5.0
    eccentricity = math.sqrt(1 - (short_mm / long_mm) ** 2)
    surface = 2 * math.pi * short_mm**2 * (1 + long_mm / (short_mm * eccentricity) * math.asin(eccentricity))
    volume = 4 / 3 * math.pi * long_mm * short_mm**2
    spindle = ellipsoid(GRID, (0.3, 0.2, -0.1), (long_mm, short_mm, short_mm))
    assert confluency(spindle) == pytest.approx(surface / (36 * math.pi * volume**2) ** (1 / 3) - 1, rel=0.12)


def test_joining_two_lesions_by_a_bridge_raises_confluency() -> None:
    two = ball(GRID, (-8, 0, 0), 6) | ball(GRID, (8, 0, 0), 6)
    bridge = ball(GRID, (0, 0, 0), 3)
    assert confluency(two | bridge) > confluency(two) + 0.1


def test_no_lesion_has_no_confluency() -> None:
    assert confluency(np.zeros(GRID.shape, bool)) == 0.0


def test_microbleeds_are_counted_by_size_at_the_border_of_5_mm() -> None:
    empty = LabelMap(np.zeros(GRID.shape, np.int32), GRID)
    bleeds = [bleed("lobar", 4.9), bleed("lobar", 5.0), bleed("lobar", 9.0), bleed("deep", 2.0), bleed("unknown", 3.0)]
    found = measure_details(empty, bleeds, Marker.CMB)
    sizes = {name: number for name, number in found.items() if "mars" not in name}
    assert sizes == dict.fromkeys((name for name in DETAILS if name.startswith("cmb_") and "5mm" in name), 0) | {
        "cmb_lobar_below_5mm_count": 1,
        "cmb_lobar_from_5mm_count": 2,
        "cmb_deep_below_5mm_count": 1,
    }
    assert measure_details(empty, [], Marker.EPVS) == {}


@pytest.mark.parametrize("marker", [Marker.LACUNE, Marker.CMB])
def test_lacunes_and_microbleeds_are_counted_in_the_13_regions_of_mars(marker: Marker) -> None:
    empty = LabelMap(np.zeros(GRID.shape, np.int32), GRID)
    places = ["frontal", "frontal", "deep and periventricular white matter", None]
    found = measure_details(empty, [replace(bleed("lobar", 4.0), marker=marker, mars_region=place) for place in places], marker)
    mars = {name: number for name, number in found.items() if "_mars_" in name}
    prefix = str(marker).lower()
    assert len(mars) == len(MARS_REGIONS) == 13
    assert {name: number for name, number in mars.items() if number} == {
        f"{prefix}_mars_frontal_count": 2,
        f"{prefix}_mars_deep_and_periventricular_white_matter_count": 1,
    }
    assert set(found) <= set(DETAILS)


@pytest.mark.parametrize(("volume_ml", "grade"), [(0.0, 0), (3.39, 0), (3.4, 1), (9.59, 1), (9.6, 2), (17.09, 2), (17.1, 3)])
def test_the_volume_of_wmh_has_a_grade_beside_fazekas(volume_ml: float, grade: int) -> None:
    labels = LabelMap(ball(GRID, (0, 0, 0), 4).astype(np.int32), GRID)
    lesion = Lesion(Marker.WMH, 1, 1000 * volume_ml, 8.0, (0.0, 0.0, 0.0), "deep", None, "left", 0.9)
    assert measure_details(labels, [lesion], Marker.WMH)["wmh_volume_grade"] == grade
    assert WMH_VOLUME_LIMITS_ML == (3.4, 9.6, 17.1)


def test_the_shape_of_the_largest_lesion_is_its_part_of_the_confluency() -> None:
    small, large = ellipsoid(GRID, (-15, 0, 0), (9, 3, 3)), ball(GRID, (10, 0, 0), 8)
    labels = LabelMap(small + 2 * large.astype(np.int32), GRID)
    lesions = [
        Lesion(Marker.WMH, at, float(mask.sum()), 1.0, (0.0, 0.0, 0.0), "deep", None, "left", 0.9) for at, mask in ((1, small), (2, large))
    ]
    found = measure_details(labels, lesions, Marker.WMH)
    assert found["wmh_largest_confluency"] < 0.05
    assert found["wmh_confluency"] > found["wmh_largest_confluency"] + 0.1
    assert measure_details(LabelMap(np.zeros(GRID.shape, np.int32), GRID), [], Marker.WMH)["wmh_largest_confluency"] == 0.0


def test_a_microbleed_is_definite_when_its_expected_chance_is_a_half() -> None:
    assert count_definite([0.95, 0.5, 0.49, 0.3]) == {"cmb_definite_count": 2, "cmb_possible_count": 2}
    assert count_definite([]) == {"cmb_definite_count": 0, "cmb_possible_count": 0}
