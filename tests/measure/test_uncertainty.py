"""Ranges of numbers, volumes and grades against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from smallvessel.expected import USUAL_LESION_MM3, ExpectedErrors, lesion_chance
from smallvessel.measure.uncertainty import count_chances, count_range, grade_chances, volume_range_ml

HONEST = ExpectedErrors(
    offset=0.0,
    slope=1.0,
    size_slope=0.0,
    session_sd=0.0,
    missed_base=0.0,
    missed_rate=0.0,
    missed_dispersion=0.0,
    root_bias=0.0,
    root_sd=0.2,
    largest_ml=50.0,
    sessions=1000,
)
SURE = 30.0
LOG_ODDS = st.lists(st.floats(-9, 9), max_size=30)


def test_an_honest_confidence_is_the_lesions_probability() -> None:
    assert [lesion_chance(c, 7.0, HONEST) for c in (0.3, 0.9)] == pytest.approx([0.3, 0.9])
    assert lesion_chance(0.9, 7.0, replace(HONEST, offset=-1.0)) < 0.9


def test_a_large_lesion_may_be_likelier_than_a_small_one() -> None:
    sized = replace(HONEST, size_slope=1.0)
    assert lesion_chance(0.5, USUAL_LESION_MM3, sized) == pytest.approx(0.5)
    assert lesion_chance(0.5, 3 * USUAL_LESION_MM3, sized) == pytest.approx(0.75)


def test_numbers_of_equal_lesions_are_binomial() -> None:
    chances = count_chances([0.0] * 4, HONEST)
    assert chances[:5] == pytest.approx([1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16], abs=1e-6)
    assert count_range(chances) == (0, 4)
    assert count_range(chances, level=0.8) == (1, 3)


def test_where_sessions_differ_all_lesions_may_be_false_together() -> None:
    differing = replace(HONEST, session_sd=2.0)
    alike, apart = count_chances([0.0] * 8, HONEST), count_chances([0.0] * 8, differing)
    assert float(apart @ np.arange(9)) == pytest.approx(4.0)
    assert apart[0] > 20 * alike[0]
    assert lesion_chance(0.9, 7.0, differing) < lesion_chance(0.9, 7.0, HONEST)


def test_what_is_missed_raises_the_number_even_where_none_was_found() -> None:
    missing = replace(HONEST, missed_base=0.25, missed_rate=0.5)
    none = count_chances([], missing)
    assert none[0] == pytest.approx(math.exp(-0.25))
    sure = count_chances([SURE] * 10, missing)
    assert float(sure @ np.arange(sure.size)) == pytest.approx(10 + 0.25 + 0.5 * 10, abs=0.05)
    assert count_range(sure)[0] >= 9


def test_missed_lesions_spread_more_than_poisson() -> None:
    # one of mean 4 and dispersion 1 is geometric: chance p (1 - p)^k with p = 1 / (1 + 4)
    chances = count_chances([], replace(HONEST, missed_base=4.0, missed_dispersion=1.0))
    assert chances[:4] == pytest.approx([0.2, 0.2 * 0.8, 0.2 * 0.8**2, 0.2 * 0.8**3], rel=1e-6)
    assert chances.sum() == pytest.approx(1)


def test_parts_share_out_what_is_missed() -> None:
    missing = replace(HONEST, missed_base=2.0, missed_rate=0.5)
    found, part_of = [SURE] * 6, np.array([0, 0, 0, 0, 0, 1])

    def mean(chances: NDArray[np.float64]) -> float:
        return float(chances @ np.arange(chances.size))

    means = [mean(count_chances(found, missing, list(part_of == part), parts=3)) for part in range(3)]
    assert means[0] > means[1] > means[2] > 0
    assert sum(means) == pytest.approx(mean(count_chances(found, missing)), rel=1e-3)


@given(LOG_ODDS, st.floats(0, 2), st.floats(0, 3), st.floats(0, 3))
def test_chances_add_up_and_one_lesion_more_never_lowers_the_range(
    found: list[float], missed: float, dispersion: float, spread: float
) -> None:
    errors = replace(HONEST, session_sd=spread, missed_base=missed, missed_rate=missed, missed_dispersion=dispersion)
    chances, more = count_chances(found, errors), count_chances([*found, 0.7], errors)
    assert chances.sum() == pytest.approx(1)
    (low, high), (low_more, high_more) = count_range(chances), count_range(more)
    assert low <= high
    assert low <= low_more
    assert high <= high_more


def test_the_volumes_range_is_normal_on_the_roots_scale() -> None:
    low, high = volume_range_ml(9.0, HONEST)
    assert low == pytest.approx((3 - 1.96 * 0.2) ** 2, rel=0.01)
    assert high == pytest.approx((3 + 1.96 * 0.2) ** 2, rel=0.01)
    assert volume_range_ml(9.0, replace(HONEST, sessions=5))[1] > high
    assert volume_range_ml(0.0, HONEST)[0] == 0.0
    assert volume_range_ml(0.0, HONEST)[1] == pytest.approx((1.96 * 0.2) ** 2, rel=0.01)


def test_beyond_the_largest_volume_seen_the_relative_spread_stays() -> None:
    seen, twice = volume_range_ml(50.0, HONEST), volume_range_ml(100.0, HONEST)
    assert twice == pytest.approx((2 * seen[0], 2 * seen[1]))
    nothing_seen = volume_range_ml(9.0, replace(HONEST, largest_ml=0.0))
    assert nothing_seen == pytest.approx(volume_range_ml(9.0, HONEST))


def test_grades_share_the_numbers_chances() -> None:
    chances = count_chances([0.0] * 4, HONEST)
    assert grade_chances(chances, lambda number: int(number >= 1) + int(number >= 4)) == pytest.approx(
        {0: 1 / 16, 1: 14 / 16, 2: 1 / 16}, abs=1e-6
    )
