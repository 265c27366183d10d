"""Agreement statistics against published tables, scipy and closed forms."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from smallvessel.errors import InputError
from smallvessel.evaluate import Estimate, bootstrap, bootstrap_mean, icc_agreement, pearson, share, spearman, weighted_kappa
from smallvessel.records import NotAssessed

# Shrout and Fleiss 1979, table 2: four judges rate six targets; their ICC(2,1) is .29.
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]

numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: round(value, 3))
columns = st.integers(4, 20).flatmap(
    lambda n: st.tuples(st.lists(numbers, min_size=n, max_size=n), st.lists(numbers, min_size=n, max_size=n))
)


def estimate(found: Estimate | NotAssessed) -> Estimate:
    assert isinstance(found, Estimate)
    return found


def test_icc_of_the_published_table_with_its_interval() -> None:
    found = estimate(icc_agreement(SHROUT_FLEISS))
    assert found.value == pytest.approx(0.2898, abs=5e-4)
    # The 95 % interval that R's psych and irr print for this table
    assert [found.low, found.high] == pytest.approx([0.0188, 0.7611], abs=5e-4)


def test_icc_punishes_a_constant_shift_that_correlation_ignores() -> None:
    truth = np.arange(10.0)
    assert estimate(pearson(truth, truth + 5)).value == pytest.approx(1.0)
    # Between subjects 2 var(truth), between raters n 25 / 2, no error: var / (var + shift²/2)
    variance = truth.var(ddof=1)
    assert estimate(icc_agreement(np.column_stack([truth, truth + 5]))).value == pytest.approx(variance / (variance + 12.5))
    assert estimate(icc_agreement(np.column_stack([truth, truth]))).value == 1.0


def test_weighted_kappa_of_a_table_computed_by_hand() -> None:
    # disagreement 2 / 5; by chance 10 / 5 + 10 / 5 - 2 * 1.2 * 1.2
    assert weighted_kappa([0, 1, 2, 2, 1], [0, 2, 2, 1, 1]) == pytest.approx(1 - 0.4 / 1.12)
    assert weighted_kappa([0, 1, 2], [0, 1, 2]) == 1.0
    assert weighted_kappa([0, 2], [2, 0]) == pytest.approx(-1.0)
    assert math.isnan(weighted_kappa([1, 1, 1], [1, 1, 1]))


def test_pearson_and_its_fisher_interval_equal_scipy() -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=25)
    y = x + random.normal(size=25)
    found, expected = estimate(pearson(x, y)), stats.pearsonr(x, y)
    interval = expected.confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((expected.statistic, interval.low, interval.high))


def test_spearman_handles_ties_as_scipy() -> None:
    x, y = [1, 2, 2, 3, 5, 5, 5, 8], [2, 1, 4, 4, 3, 9, 9, 7]
    found = estimate(spearman(x, y))
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low < found.value < found.high


def test_too_few_or_constant_subjects_are_not_assessed() -> None:
    for correlation in (pearson, spearman):
        assert isinstance(correlation([1, 2], [2, 1]), NotAssessed)
        assert isinstance(correlation([1, 1, 1, 1], [1, 2, 3, 4]), NotAssessed)
        three = estimate(correlation([1, 2, 3], [1, 3, 2]))
        assert three.value == pytest.approx(0.5)
        assert math.isnan(three.low)
    assert isinstance(icc_agreement([[1, 1], [1, 1]]), NotAssessed)
    assert isinstance(icc_agreement([[1, 2]]), NotAssessed)


def test_missing_values_are_refused_not_dropped() -> None:
    with pytest.raises(InputError, match="missing"):
        pearson([1, 2, float("nan"), 4], [1, 2, 3, 4])
    with pytest.raises(InputError, match="missing"):
        icc_agreement([[1.0, 2.0], [math.nan, 3.0]])
    with pytest.raises(InputError, match="lengths"):
        bootstrap(lambda a, b: float(a.mean() - b.mean()), [1, 2], [1, 2, 3])


def test_bootstrap_interval_of_a_mean_has_the_width_of_its_standard_error() -> None:
    sample = np.random.default_rng(0).normal(10, 2, 200)
    found = estimate(bootstrap(lambda values: float(values.mean()), sample))
    half = 1.96 * sample.std() / math.sqrt(200)
    assert found.value == pytest.approx(sample.mean())
    assert [found.low, found.high] == pytest.approx([sample.mean() - half, sample.mean() + half], rel=0.01)
    assert bootstrap(lambda values: float(values.mean()), sample) == found
    at_once = estimate(bootstrap_mean(sample))
    assert (at_once.value, at_once.low, at_once.high) == pytest.approx((found.value, found.low, found.high))


def test_bootstrap_keeps_rows_together_and_says_when_it_is_undefined() -> None:
    x = np.arange(12.0)
    found = estimate(bootstrap(lambda a, b: float((a - 2 * b).mean()), x, x))
    alone = estimate(bootstrap_mean(-x))
    assert (found.value, found.low, found.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert isinstance(bootstrap(lambda values: math.nan, x), NotAssessed)
    assert isinstance(bootstrap(lambda values: 1.0, []), NotAssessed)
    assert isinstance(bootstrap_mean([]), NotAssessed)
    often_undefined = estimate(bootstrap(lambda values: 1.0 if 0 in values and 1 in values else math.nan, x))
    assert math.isnan(often_undefined.low)


@pytest.mark.parametrize("sample", [[0.1] * 30, list(range(9)), [1.0]])
def test_a_sample_that_does_not_vary_or_is_small_has_no_interval(sample: list[float]) -> None:
    """Of resamples that agree the interval would have no width, and of three subjects it holds the mean in 75 of 100 cases."""
    for found in (estimate(bootstrap(lambda values: float(np.mean(values)), sample)), estimate(bootstrap_mean(sample))):
        assert found.value == pytest.approx(np.mean(sample))
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert str(found) == f"{found.value:.3f}"
    assert not math.isnan(estimate(bootstrap_mean(range(10))).low)


@pytest.mark.parametrize(
    ("n_yes", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
)
def test_wilsons_interval_of_the_published_shares(n_yes: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3."""
    found = estimate(share(n_yes, n))
    assert [found.value, found.low, found.high] == pytest.approx([n_yes / n, low, high], abs=5e-5)
    other = estimate(share(n - n_yes, n))
    assert [other.low, other.high] == pytest.approx([1 - found.high, 1 - found.low])
    assert share(0, 0) == NotAssessed("no subject")


def test_weighted_kappa_of_many_takes_little_memory() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, (2, 10_000))
    tracemalloc.start()
    found = weighted_kappa(x, y)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 5e6
    some = slice(0, 300)
    chance = float(np.mean((x[some, None] - y[None, some]) ** 2))
    assert weighted_kappa(x[some], y[some]) == pytest.approx(1 - float(np.mean((x[some] - y[some]) ** 2)) / chance)
    assert abs(found) < 0.05


@settings(max_examples=60, deadline=None)
@given(columns)
def test_agreement_is_symmetric_bounded_and_inside_its_interval(pair: tuple[list[float], list[float]]) -> None:
    x, y = pair
    for statistic in (pearson, spearman):
        forth, back = statistic(x, y), statistic(y, x)
        if isinstance(forth, NotAssessed):
            assert isinstance(back, NotAssessed)
            continue
        assert forth.value == pytest.approx(estimate(back).value, abs=1e-9)
        assert -1 <= forth.low <= forth.value <= forth.high <= 1
    icc = icc_agreement(np.column_stack([x, y]))
    if isinstance(icc, Estimate):
        assert icc.value <= 1 + 1e-12
        assert icc.value == pytest.approx(estimate(icc_agreement(np.column_stack([y, x]))).value)


@pytest.mark.parametrize("difference", [0.0, 2e-15, 1e-13])
def test_ratings_that_differ_by_rounding_agree_wholly(difference: float) -> None:
    x = np.array([12.3456, 1.2, 3.4, 7.7])
    y = x + np.array([0.0, difference, 0.0, 0.0])
    assert icc_agreement(np.column_stack([x, y])) == Estimate(1.0, 1.0, 1.0, 4)


@pytest.mark.parametrize(("n", "said"), [(0, "0 subjects"), (1, "1 subject"), (2, "2 subjects")])
def test_too_few_subjects_are_counted(n: int, said: str) -> None:
    reason = NotAssessed(f"{said}, at least 3 are needed")
    values = np.arange(n, dtype=float)
    assert pearson(values, values) == spearman(values, values) == icc_agreement(np.column_stack([values, values])) == reason
