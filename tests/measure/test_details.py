"""Confluency and sizes of microbleeds, on solids of known shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import ball, ellipsoid, make_grid
from smallvessel.markers import Marker
from smallvessel.measure.details import measure_details, sum_confluency
from smallvessel.records import Lesion
from smallvessel.scales import DETAILS
from smallvessel.shapes import label_components
from smallvessel.volume import LabelMap

GRID = make_grid((60, 40, 40), (1.0, 1.0, 1.0))


def confluency(mask: NDArray[np.bool_]) -> float:
    return sum_confluency(LabelMap(label_components(mask)[0], GRID))


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
    assert found == dict.fromkeys((name for name, info in DETAILS.items() if info.marker is Marker.CMB), 0) | {
        "cmb_lobar_below_5mm_count": 1,
        "cmb_lobar_from_5mm_count": 2,
        "cmb_deep_below_5mm_count": 1,
    }
    assert measure_details(empty, [], Marker.LACUNE) == {}
