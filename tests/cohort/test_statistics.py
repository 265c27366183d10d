"""Statistics of cohorts against published examples, SciPy, statsmodels and closed forms."""

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from smallvessel.cohort.statistics import (
    Association,
    BlandAltman,
    Description,
    FTest,
    anova,
    bland_altman,
    correlation_p,
    describe,
    eta_squared,
    games_howell,
    hedges_g,
    holm,
    omega_squared,
    partial_spearman,
    regress,
    spearman_p,
    split,
    trend,
    welch_anova,
)
from smallvessel.evaluate import Estimate, spearman
from smallvessel.records import NotAssessed

Numbers = NDArray[np.float64]

# Bland and Altman 1986, 10.1016/S0140-6736(86)90837-8, table: peak flow in L/min, first reading of the Wright and of the mini meter.
WRIGHT = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float)
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)


def with_moments(n: int, mean: float, sd: float) -> Numbers:
    """Numbers with exactly this mean and SD."""
    drawn = np.random.default_rng(n).normal(size=n)
    return np.asarray(mean + sd * (drawn - drawn.mean()) / drawn.std(ddof=1))


# Body mass in g of the Palmer penguins (Gorman et al. 2014, 10.1371/journal.pone.0090081) by species: n, mean, SD.
PENGUINS = {
    "Adelie": with_moments(151, 3700.662, 458.566),
    "Chinstrap": with_moments(68, 3733.088, 384.335),
    "Gentoo": with_moments(123, 5076.016, 504.116),
}


def rank_test(x: Any, y: Any) -> Any:
    """SciPy's, whose types know only tables."""
    return stats.spearmanr(x, y)


def rank_correlation(x: Numbers, y: Numbers) -> float:
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def test_bland_altman_of_the_published_peak_flows() -> None:
    found = bland_altman(WRIGHT, MINI)
    assert isinstance(found, BlandAltman)
    assert found.bias.value == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    assert [found.bias.low, found.bias.high] == pytest.approx([-22.0, 17.8], abs=0.1)
    # The paper takes 2 and not 1.96 SD, and sqrt(3 s²/n) for the standard error of a limit.
    assert found.lower.value == pytest.approx(-2.12 - 1.96 * 38.77, abs=0.1)
    assert found.upper.high - found.upper.value == pytest.approx(110.1 - 75.5, rel=0.03)
    assert isinstance(found.slope, Estimate)
    assert found.slope.low < 0 < found.slope.high


def test_games_howell_of_published_statistics() -> None:
    """As the documentation of pingouin prints them: T, df, p and g of the first pair."""
    pairs = {(pair.first, pair.second): pair for pair in games_howell(PENGUINS)}
    first = pairs["Adelie", "Chinstrap"]
    assert first.difference.value == pytest.approx(32.426, abs=1e-3)
    assert (first.t, first.df, first.p) == pytest.approx((0.543, 152.455, 0.850), abs=1e-3)
    assert abs(first.hedges_g) == pytest.approx(0.074, abs=1e-3)
    assert pairs["Adelie", "Gentoo"].t == pytest.approx(23.386, abs=1e-3)
    assert pairs["Adelie", "Gentoo"].df == pytest.approx(249.643, abs=1e-3)
    assert pairs["Chinstrap", "Gentoo"].p < 1e-10
    exact = float(stats.studentized_range.ppf(0.95, 3, first.df)) / math.sqrt(2) * 32.426 / 0.543
    assert first.difference.high - first.difference.value == pytest.approx(exact, rel=2e-3)


def test_games_howell_of_two_groups_is_welchs_t_test() -> None:
    a, b = PENGUINS["Adelie"], PENGUINS["Chinstrap"]
    (pair,) = games_howell({"a": a, "b": b})
    expected = stats.ttest_ind(b, a, equal_var=False)
    assert (pair.t, pair.p, pair.df) == pytest.approx((expected.statistic, expected.pvalue, expected.df), rel=1e-6)


def test_anova_and_its_effects_follow_from_sums_of_squares() -> None:
    samples = {name: sample for name, sample in zip("abc", ([1.0, 2, 3], [2.0, 3, 4], [7.0, 8, 9]), strict=True)}
    arrays = {name: np.array(sample) for name, sample in samples.items()}
    found = anova(arrays)
    assert isinstance(found, FTest)
    # Means 2, 3 and 8 about 13/3: 62 between the groups; 6 within them
    assert (found.f, found.df_between, found.df_within) == pytest.approx((31.0, 2, 6))
    assert found.p == pytest.approx(stats.f.sf(31.0, 2, 6))
    share = eta_squared(found)
    assert share.value == pytest.approx(62 / 68)
    assert share.n == 9
    assert omega_squared(found) == pytest.approx((62 - 2 * 1) / (68 + 1))


@pytest.mark.parametrize(("f", "low", "high"), [(39.18, 0.4545357, 0.8006797), (5.765, 0.01916242, 0.4524208)])
def test_eta_squared_has_the_limits_that_mbess_printed(f: float, low: float, high: float) -> None:
    """R's MBESS, ci.pvaf with 2 and 22 degrees of freedom of 36 rows: its λ / (λ + 36), here λ / (λ + 25)."""
    found = eta_squared(FTest(f, 2, 22, math.nan))
    expected = [36 * share / (1 - share) for share in (low, high)]
    assert [found.low, found.high] == pytest.approx([noncentrality / (noncentrality + 25) for noncentrality in expected], rel=1e-4)


def test_eta_squared_has_an_end_at_0_or_no_interval() -> None:
    weak = eta_squared(FTest(1.2, 3, 56, math.nan))
    assert weak.low == 0 < weak.value < weak.high
    for without in (FTest(0.02, 3, 56, math.nan), FTest(1e12, 3, 56, math.nan)):
        found = eta_squared(without)
        assert 0 < found.value <= 1
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    assert math.isnan(eta_squared(FTest(0.0, 3, 56, 1.0)).high)


@pytest.mark.parametrize("step", [0.0, 0.2, 0.5])
def test_intervals_of_eta_squared_hold_the_populations_share(step: float) -> None:
    """Seven grades of eight subjects, 400 samples: 95 % but for chance, where a bootstrap interval hardly ever holds a share of 0."""
    rng = np.random.default_rng(1)
    means = step * np.arange(7)
    true = means.var() / (means.var() + 1)
    held, n = 0, 400
    for _ in range(n):
        test = anova({str(mean): rng.normal(mean, 1, 8) for mean in means} if step else {str(at): rng.normal(0, 1, 8) for at in range(7)})
        assert isinstance(test, FTest)
        found = eta_squared(test)
        held += math.isnan(found.low) or found.low <= true <= found.high
    assert 0.92 < held / n < 0.98


def test_welchs_anova_of_two_groups_is_the_square_of_welchs_t() -> None:
    a, b = PENGUINS["Adelie"], PENGUINS["Gentoo"]
    found = welch_anova({"a": a, "b": b})
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert isinstance(found, FTest)
    assert (found.f, found.df_within, found.p) == pytest.approx((expected.statistic**2, expected.df, expected.pvalue), rel=1e-6)


def test_groups_that_cannot_enter_are_named() -> None:
    samples = {"0": np.zeros(5), "1": np.array([1.0, 2, 4]), "2": np.array([3.0, 4, 6, 8]), "3": np.array([9.0])}
    plain, welch = anova(samples), welch_anova(samples)
    assert isinstance(plain, FTest)
    assert isinstance(welch, FTest)
    assert plain.without == ("3",)
    assert welch.without == ("3", "0")
    assert {(pair.first, pair.second) for pair in games_howell(samples)} == {("0", "1"), ("0", "2"), ("1", "2")}
    for nothing in ({"0": np.zeros(1), "1": np.ones(4)}, {}, {"0": np.zeros(3), "1": np.ones(3)}):
        assert isinstance(anova(nothing), NotAssessed)
        assert isinstance(welch_anova(nothing), NotAssessed)
        assert games_howell(nothing) == []


def test_equal_means_give_no_effect_whatever_the_rounding() -> None:
    found = anova({"0": np.array([0.0, 0, 0, 0, 1, 0]), "1": np.array([0.0, 0, 0, 0, 0, 1])})
    assert found == FTest(0.0, 1, 10, 1.0)


def test_hedges_g_by_hand() -> None:
    assert hedges_g(np.array([1.0, 2, 3]), np.array([3.0, 4, 5])) == pytest.approx(2 * (1 - 3 / 15))
    assert math.isnan(hedges_g(np.ones(3), np.ones(3)))


def test_trend_has_the_statistic_of_jonckheere_and_terpstra() -> None:
    """J is the number of pairs in order; its normal approximation with ties is the same test as Kendall's tau-b."""
    rng = np.random.default_rng(1)
    grades = np.repeat([0.0, 1, 2], [6, 7, 8])
    values: Numbers = np.asarray(np.round(grades + rng.normal(0, 1.5, 21), 0), np.float64)
    found = trend(grades, values)
    assert isinstance(found, Association)
    groups = list(split(values, grades).values())
    j = sum(
        float((b[:, None] > a[None, :]).sum() + 0.5 * (b[:, None] == a[None, :]).sum())
        for at, a in enumerate(groups)
        for b in groups[at + 1 :]
    )
    n, sizes = len(values), np.array([len(group) for group in groups], float)
    ties = np.unique(values, return_counts=True)[1].astype(float)

    def cubic(counts: Numbers | float) -> float:
        return float(np.sum(np.asarray(counts) * (np.asarray(counts) - 1) * (2 * np.asarray(counts) + 5)))

    def falling(counts: Numbers, k: int) -> float:
        return float(np.sum(np.prod([counts - i for i in range(k)], axis=0)))

    # Hollander and Wolfe, Nonparametric Statistical Methods, the variance with ties
    variance = (
        (cubic(float(n)) - cubic(sizes) - cubic(ties)) / 72
        + falling(sizes, 3) * falling(ties, 3) / (36 * n * (n - 1) * (n - 2))
        + falling(sizes, 2) * falling(ties, 2) / (8 * n * (n - 1))
    )
    z = (j - (n**2 - (sizes**2).sum()) / 4) / math.sqrt(variance)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)
    assert isinstance(trend(grades[:9], values[:9]), NotAssessed)
    assert isinstance(trend(np.zeros(12), grades[:12]), NotAssessed)


def test_spearmans_p_is_exact_for_few_and_scipys_for_many() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=7), rng.normal(size=7)
    found, n = abs(rank_correlation(x, y)), math.factorial(7)
    as_large = sum(abs(rank_correlation(x, np.array(order))) >= found - 1e-12 for order in permutations(y))
    assert spearman_p(x, y) == pytest.approx(as_large / n)
    assert spearman_p(np.array([1.0, 2, 3]), np.array([1.0, 2, 3])) == pytest.approx(2 / 6)
    x, y = rng.normal(size=40), rng.normal(size=40)
    assert spearman_p(x, y) == pytest.approx(rank_test(x, y).pvalue)
    assert isinstance(spearman_p(x[:2], y[:2]), NotAssessed)


def test_pearsons_p_equals_scipy() -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 15))
    expected = stats.pearsonr(x, y)
    assert correlation_p(float(expected.statistic), 15) == pytest.approx(expected.pvalue)
    assert isinstance(correlation_p(0.5, 2), NotAssessed)
    assert isinstance(correlation_p(1.0, 9), NotAssessed)


def test_partial_rank_correlation_with_one_covariate_has_a_closed_form() -> None:
    rng = np.random.default_rng(9)
    z = rng.normal(size=60)
    x, y = z + rng.normal(size=60), z + rng.normal(size=60)
    xy, xz, yz = (rank_correlation(*pair) for pair in ((x, y), (x, z), (y, z)))
    found = partial_spearman(x, y, [z])
    assert isinstance(found, Association)
    assert found.estimate.value == pytest.approx((xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)))
    assert found.estimate.low < found.estimate.value < found.estimate.high
    plain, same = spearman(x, y), partial_spearman(x, y, [])
    assert isinstance(plain, Estimate)
    assert isinstance(same, Association)
    assert (same.estimate.value, same.estimate.low) == pytest.approx((plain.value, plain.low))
    assert isinstance(partial_spearman(z, y, [z]), NotAssessed)
    assert isinstance(partial_spearman(x[:4], y[:4], [z[:4]]), NotAssessed)


def test_regression_is_adjusted_for_what_goes_along() -> None:
    rng = np.random.default_rng(3)
    age = rng.uniform(50, 80, 400)
    grade: Numbers = np.asarray(np.round((age - 50) / 10 + rng.normal(0, 0.5, 400)), np.float64)
    y = 0.5 * grade + 0.05 * age + rng.normal(0, 0.3, 400)
    plain, adjusted = regress(y, grade), regress(y, grade, [age])
    assert isinstance(plain, Association)
    assert isinstance(adjusted, Association)
    assert adjusted.estimate.low < 0.5 < adjusted.estimate.high
    assert plain.estimate.low > 0.5
    assert isinstance(regress(y, np.ones(400)), NotAssessed)
    assert isinstance(regress(y[:3], grade[:3]), NotAssessed)


@pytest.mark.parametrize("seed", range(8))
def test_a_slope_that_one_subject_fixes_alone_is_not_assessed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grade, age, only = rng.integers(0, 5, 20).astype(float), rng.normal(70, 8, 20), np.zeros(20)
    only[seed] = 1
    y = 0.5 * grade + rng.normal(size=20)
    for found in (regress(y, grade, [age, only]), regress(y, 2 * only)):
        assert isinstance(found, NotAssessed)
        assert "one subject alone" in found.reason
    two = only.copy()
    two[seed + 1] = 1
    assert isinstance(regress(y, grade, [age, two]), Association)


def test_holm_by_hand_and_by_statsmodels() -> None:
    missing = NotAssessed("no group")
    assert holm([0.01, missing, 0.04, 0.03]) == [pytest.approx(0.03), missing, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([missing]) == [missing]
    p = list(np.random.default_rng(0).uniform(0, 0.2, 9))
    assert holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))


def test_description_of_few_and_of_none() -> None:
    found = describe(np.array([1.0, 2, 3, 4, 10]))
    assert isinstance(found, Description)
    assert (found.mean.value, found.median, found.q1, found.q3) == (4.0, 3.0, 2.0, 4.0)
    assert found.sd == pytest.approx(math.sqrt(12.5))
    one = describe(np.array([7.0]))
    assert isinstance(one, Description)
    assert math.isnan(one.sd)
    assert math.isnan(one.mean.low)
    assert isinstance(describe(np.array([])), NotAssessed)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(0, 100).map(lambda v: round(v, 2)), min_size=2, max_size=8), min_size=2, max_size=4), st.floats(0.5, 20))
def test_tests_do_not_depend_on_the_unit_and_keep_their_bounds(lists: list[list[float]], factor: float) -> None:
    samples = {str(at): np.array(sample) for at, sample in enumerate(lists)}
    scaled = {name: sample * factor for name, sample in samples.items()}
    for test in (anova, welch_anova):
        found, again = test(samples), test(scaled)
        assert isinstance(found, FTest) == isinstance(again, FTest)
        if isinstance(found, FTest) and isinstance(again, FTest) and found.f < 1e6:
            assert 0 <= found.p <= 1
            assert again.f == pytest.approx(found.f, rel=1e-3, abs=1e-6)
    for pair in games_howell(samples):
        assert 0 <= pair.p <= 1
        assert pair.difference.low <= pair.difference.value <= pair.difference.high
