"""Ranges of numbers, volumes and grades against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallvessel.measure.uncertainty import count_chances, count_range, grade_chances, lesion_chances, volume_range_ml
from smallvessel.records import VOLUME_OFFSET_ML, ExpectedErrors

HONEST = ExpectedErrors(offset=0.0, slope=1.0, missed=0.0, log_bias=0.0, log_sd=0.2, sessions=1000)
CONFIDENCES = st.lists(st.floats(0, 1), max_size=30)


def test_an_honest_confidence_is_the_lesions_probability() -> None:
    assert lesion_chances([0.3, 0.9], HONEST) == pytest.approx([0.3, 0.9])
    doubted = ExpectedErrors(-1.0, 1.0, 0.0, 0.0, 0.2, 10)
    assert (lesion_chances([0.3, 0.9], doubted) < [0.3, 0.9]).all()


def test_numbers_of_equal_lesions_are_binomial() -> None:
    chances = count_chances([0.5] * 4, HONEST)
    assert chances[:5] == pytest.approx([1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16], abs=1e-6)
    assert count_range(chances) == (0, 4)
    assert count_range(chances, level=0.8) == (1, 3)


def test_what_is_missed_raises_the_number_even_where_none_was_found() -> None:
    missing = ExpectedErrors(0.0, 1.0, 0.5, 0.0, 0.2, 10)
    none = count_chances([], missing)
    assert none[0] == pytest.approx(math.exp(-0.25))
    sure = count_chances([1.0] * 10, missing)
    assert float(sure @ np.arange(sure.size)) == pytest.approx(10 + 0.5 * 10.5, abs=0.05)
    assert count_range(sure)[0] >= 9


@given(CONFIDENCES, st.floats(0, 2))
def test_chances_add_up_and_one_lesion_more_never_lowers_the_range(confidences: list[float], missed: float) -> None:
    errors = ExpectedErrors(-0.3, 0.8, missed, 0.0, 0.2, 10)
    chances, more = count_chances(confidences, errors), count_chances([*confidences, 0.7], errors)
    assert chances.sum() == pytest.approx(1)
    (low, high), (low_more, high_more) = count_range(chances), count_range(more)
    assert low <= high
    assert low <= low_more
    assert high <= high_more


def test_the_volumes_range_is_log_normal() -> None:
    low, high = volume_range_ml(10.0, HONEST)
    assert low == pytest.approx((10 + VOLUME_OFFSET_ML) * math.exp(-1.96 * 0.2) - VOLUME_OFFSET_ML, rel=0.01)
    assert high == pytest.approx((10 + VOLUME_OFFSET_ML) * math.exp(1.96 * 0.2) - VOLUME_OFFSET_ML, rel=0.01)
    few = ExpectedErrors(0.0, 1.0, 0.0, 0.0, 0.2, 5)
    assert volume_range_ml(10.0, few)[1] > high
    assert volume_range_ml(0.0, HONEST)[0] == 0.0


def test_grades_share_the_numbers_chances() -> None:
    chances = count_chances([0.5] * 4, HONEST)
    assert grade_chances(chances, lambda number: int(number >= 1) + int(number >= 4)) == pytest.approx(
        {0: 1 / 16, 1: 14 / 16, 2: 1 / 16}, abs=1e-6
    )
