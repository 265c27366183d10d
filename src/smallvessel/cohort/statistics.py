"""The statistics of a cohort: pure functions of numbers, from SciPy and statsmodels where they have them.

Arrays are of shape (n subjects,) without missing values. What cannot be computed is ``NotAssessed`` with its reason, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..evaluate import Estimate, bootstrap_mean, pearson
from ..evaluate.agreement import LEAST_FOR_BOOTSTRAP
from ..records import NotAssessed

Numbers = NDArray[np.float64]

LEVEL = 0.95
LIMITS = 1.96
"""Limits of agreement lie this many standard deviations from the bias."""
LEAST_SUBJECTS = 3
LEAST_FOR_NORMAL = 10
"""Below it the normal approximation of a trend says too little. Own choice."""
EXACT_UP_TO = 8
"""Subjects whose permutations are all counted."""
LARGEST_F = 1e6
"""Beyond it all of the variance lies between the groups, and the noncentral F distribution is not computed reliably."""
LARGEST_LEVERAGE = 1 - 1e-8
"""A subject beyond it fixes a coefficient alone: HC3 divides its residual, which is 0, by 1 minus its leverage, which is 0 too."""
NO_INTERVAL = f"There is none below {LEAST_FOR_BOOTSTRAP} subjects, or where all resamples agree."
"""What a table with bootstrap intervals says."""
VOLUME_OFFSET_ML = 0.01
"""Added to volumes before their logarithm is taken: none at all is then a number too."""
NEEDED = ("statsmodels", "matplotlib")


def require_statistics() -> None:
    """Refuse to begin without the packages of the extra ``[stats]``.

    Raises
    ------
    InputError
        When one of them is not installed.
    """
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise InputError(f"no {' and no '.join(absent)}", "what the statistics of cohorts need", "pip install 'smallvessel[stats]'")


@dataclass(frozen=True)
class Description:
    """Numbers in short: mean with its bootstrap interval, sample SD (NaN for one), median and quartiles."""

    mean: Estimate
    sd: float
    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class FTest:
    """An F test of equal means. ``without`` names the groups that could not enter."""

    f: float
    df_between: float
    df_within: float
    p: float
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairDifference:
    """Second group minus first, by Games and Howell; ``hedges_g`` is the difference in pooled SDs, corrected for few subjects."""

    first: str
    second: str
    difference: Estimate
    hedges_g: float
    t: float
    df: float
    p: float


@dataclass(frozen=True)
class BlandAltman:
    """Differences, method minus reference, of n subjects; ``slope`` is that of the difference on the mean of both."""

    bias: Estimate
    sd: float
    lower: Estimate
    upper: Estimate
    slope: Estimate | NotAssessed
    slope_p: float


@dataclass(frozen=True)
class Association:
    """A correlation or a slope with its interval and p value."""

    estimate: Estimate
    p: float


def describe(values: Numbers) -> Description | NotAssessed:
    """Mean with its interval, SD, median and quartiles; not assessed without values."""
    if not len(values):
        return NotAssessed("no value")
    mean = bootstrap_mean(values)
    if isinstance(mean, NotAssessed):
        return mean
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    return Description(mean, float(values.std(ddof=1)) if len(values) > 1 else math.nan, float(median), float(q1), float(q3))


def anova(samples: Mapping[str, Numbers]) -> FTest | NotAssessed:
    """One-way analysis of variance with equal variances, on the groups of two or more subjects."""
    from scipy.stats import f_oneway

    enough, without = _two_or_more(samples)
    if len(enough) < 2:
        return NotAssessed(_too_few_groups(samples))
    if all(np.ptp(sample) == 0 for sample in enough.values()):
        return NotAssessed("nothing varies within the groups")
    found = f_oneway(*enough.values())
    n = sum(map(len, enough.values()))
    if found.statistic <= 0:  # equal means, but for rounding
        return FTest(0.0, len(enough) - 1, n - len(enough), 1.0, without)
    return FTest(float(found.statistic), len(enough) - 1, n - len(enough), float(found.pvalue), without)


def welch_anova(samples: Mapping[str, Numbers]) -> FTest | NotAssessed:
    """Welch's analysis of variance, which does not take variances for equal (Welch 1951, 10.1093/biomet/38.3-4.330).

    A group that does not vary has no weight in it and is left out, and named.
    """
    from statsmodels.stats.oneway import anova_oneway

    enough, without = _two_or_more(samples)
    varying = {name: sample for name, sample in enough.items() if np.ptp(sample) > 0}
    if len(varying) < 2:
        return NotAssessed(_too_few_groups(samples) if len(enough) < 2 else "fewer than two groups vary")
    found = anova_oneway(list(varying.values()), use_var="unequal")
    constant = tuple(name for name in enough if name not in varying)
    between, within = (float(df) for df in found.df)
    return FTest(float(found.statistic), between, within, float(found.pvalue), without + constant)


def eta_squared(test: FTest) -> Estimate:
    """Share of the variance that lies between the groups, from an analysis of variance.

    The interval is that of the population's share, from the noncentral F distribution (Steiger 2004, 10.1037/1082-989X.9.2.164): its
    noncentrality λ at both ends, as λ / (λ + n). The sample's share is larger on average, so that it may lie above it. No interval where F
    is so small that not even equal means give a smaller one in 2.5 % of all samples.
    """
    from scipy.optimize import brentq
    from scipy.stats import f, ncf

    n = round(test.df_between + test.df_within) + 1
    value = test.df_between * test.f / (test.df_between * test.f + test.df_within)
    if test.f > LARGEST_F:
        return Estimate(value, math.nan, math.nan, n)

    def surplus(noncentrality: float, chance: float) -> float:
        dfs = test.df_between, test.df_within
        return float(ncf.cdf(test.f, *dfs, noncentrality) if noncentrality > 0 else f.cdf(test.f, *dfs)) - chance

    ends = []
    for chance in (0.5 + LEVEL / 2, 0.5 - LEVEL / 2):
        if surplus(0.0, chance) <= 0:
            ends.append(0.0)
            continue
        beyond = test.df_between * test.f + 10
        while surplus(beyond, chance) > 0:
            beyond *= 2
        noncentrality = float(brentq(surplus, 0.0, beyond, args=(chance,)))
        ends.append(noncentrality / (noncentrality + n))
    low, high = ends if ends[1] > 0 else (math.nan, math.nan)
    return Estimate(value, low, high, n)


def omega_squared(test: FTest) -> float:
    """Share of the variance between groups with less bias than eta squared (Hays), from an analysis of variance; may be below 0."""
    effect = test.df_between * (test.f - 1)
    return effect / (effect + test.df_between + test.df_within + 1)


def games_howell(samples: Mapping[str, Numbers]) -> list[PairDifference]:
    """All pairs of groups, without equal variances (Games and Howell 1976, 10.3102/10769986001002113).

    p and intervals hold for all pairs together; the intervals' quantiles are statsmodels' approximation, since the exact ones take
    long. Groups below two subjects, and pairs of which neither varies, are left out.
    """
    from scipy.stats import studentized_range
    from statsmodels.stats.libqsturng import qsturng

    enough, _ = _two_or_more(samples)
    pairs = []
    for first, second in combinations(enough, 2):
        a, b = enough[first], enough[second]
        variance_a, variance_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        if variance_a + variance_b == 0:
            continue
        df = (variance_a + variance_b) ** 2 / (variance_a**2 / (len(a) - 1) + variance_b**2 / (len(b) - 1))
        standard_error = math.sqrt(variance_a + variance_b)
        difference = float(b.mean() - a.mean())
        t = difference / standard_error
        p = float(studentized_range.sf(abs(t) * math.sqrt(2), len(enough), df))
        half = float(qsturng(LEVEL, len(enough), df)) / math.sqrt(2) * standard_error
        estimate = Estimate(difference, difference - half, difference + half, len(a) + len(b))
        pairs.append(PairDifference(first, second, estimate, hedges_g(a, b), t, float(df), min(max(p, 0.0), 1.0)))
    return pairs


def hedges_g(a: Numbers, b: Numbers) -> float:
    """Difference of means, b minus a, in pooled SDs, corrected for few subjects (Hedges 1981, 10.3102/10769986006002107)."""
    df = len(a) + len(b) - 2
    pooled = math.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / df)
    return float(b.mean() - a.mean()) / pooled * (1 - 3 / (4 * df - 1)) if pooled > 0 else math.nan


def trend(grades: Numbers, values: Numbers) -> Association | NotAssessed:
    """Jonckheere and Terpstra's test of a monotone trend, as Kendall's tau-b between grade and value, of which it is the test.

    With ties and the normal approximation; the interval of tau is left open (NaN).
    """
    from scipy.stats import kendalltau

    if len(values) < LEAST_FOR_NORMAL:
        return NotAssessed(_too_few(len(values), LEAST_FOR_NORMAL))
    found = kendalltau(grades, values, method="asymptotic")
    if math.isnan(found.statistic):
        return NotAssessed("a column does not vary")
    return Association(Estimate(float(found.statistic), math.nan, math.nan, len(values)), float(found.pvalue))


def spearman_p(x: Numbers, y: Numbers) -> float | NotAssessed:
    """Two-sided p of Spearman's correlation: from all permutations up to ``EXACT_UP_TO`` subjects, by t beyond."""
    from scipy.stats import rankdata, spearmanr

    if len(x) < LEAST_SUBJECTS:
        return NotAssessed(_too_few(len(x), LEAST_SUBJECTS))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return NotAssessed("a column does not vary")
    if len(x) > EXACT_UP_TO:
        columns: Any = (x, y)  # SciPy's types know only tables here
        return float(spearmanr(*columns).pvalue)
    first, second = rankdata(x) - (len(x) + 1) / 2, rankdata(y)
    found = abs(float(first @ second))
    products = np.abs(second[np.array(list(permutations(range(len(y)))))] @ first)
    return float(np.mean(products >= found - 1e-9))


def correlation_p(r: float, n: int, covariates: int = 0) -> float | NotAssessed:
    """Two-sided p of a Pearson correlation, or one of ranks, by t with n - 2 - covariates degrees of freedom."""
    from scipy.stats import t as t_distribution

    df = n - 2 - covariates
    if df < 1:
        return NotAssessed(_too_few(n, LEAST_SUBJECTS + covariates))
    if abs(r) >= 1:
        return NotAssessed("all points lie on one line")
    return float(2 * t_distribution.sf(abs(r) * math.sqrt(df / (1 - r * r)), df))


def partial_spearman(x: Numbers, y: Numbers, covariates: Sequence[Numbers]) -> Association | NotAssessed:
    """Spearman's correlation of what the ranks of the covariates leave over.

    The interval is Fisher's with the variance (1 + r²/2) / (n − 3 − k) of Bonett and Wright 2000, 10.1007/BF02294183, lowered by
    the number k of covariates.
    """
    from statistics import NormalDist

    from scipy.stats import rankdata

    n, k = len(x), len(covariates)
    if n < 4 + k:
        return NotAssessed(_too_few(n, 4 + k))
    design = np.stack([np.ones(n), *(rankdata(one) for one in covariates)], axis=1)
    ranks = np.stack([rankdata(x), rankdata(y)], axis=1)
    left = ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
    if np.abs(left).max(axis=0).min() < 1e-9 * n:
        return NotAssessed("a column does not vary beyond what the covariates explain")
    found = pearson(left[:, 0], left[:, 1])
    if isinstance(found, NotAssessed):
        return found
    r = found.value
    if abs(r) >= 1:
        return NotAssessed("all ranks lie on one line")
    half = NormalDist().inv_cdf(0.5 + LEVEL / 2) * math.sqrt((1 + r * r / 2) / (n - 3 - k))
    p = correlation_p(r, n, k)
    estimate = Estimate(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), n)
    return p if isinstance(p, NotAssessed) else Association(estimate, p)


def regress(y: Numbers, x: Numbers, covariates: Sequence[Numbers] = ()) -> Association | NotAssessed:
    """Slope of y on x by least squares, adjusted for covariates, with errors that do not take the spread for constant (HC3).

    Not assessed where a subject has a leverage of 1: the spread about a coefficient that it fixes alone is not known.
    """
    from statsmodels.regression.linear_model import OLS

    design = np.stack([np.ones(len(x)), x, *covariates], axis=1)
    if len(x) < design.shape[1] + 2:
        return NotAssessed(_too_few(len(x), design.shape[1] + 2))
    if np.linalg.matrix_rank(design) < design.shape[1] or np.ptp(y) == 0:
        return NotAssessed("a column does not vary, or follows from the others")
    basis, _ = np.linalg.qr(design)
    if (basis**2).sum(axis=1).max() > LARGEST_LEVERAGE:
        return NotAssessed("one subject alone fixes a coefficient, such as the only one of its sex or with any burden")
    fitted = OLS(y, design).fit(cov_type="HC3", use_t=True)
    low, high = (float(end) for end in fitted.conf_int(1 - LEVEL)[1])
    if not math.isfinite(low + high):
        return NotAssessed("the slope has no interval")
    return Association(Estimate(float(fitted.params[1]), low, high, len(x)), float(fitted.pvalues[1]))


def bland_altman(method: Numbers, reference: Numbers) -> BlandAltman | NotAssessed:
    """Bias and limits of agreement with their intervals (Bland and Altman 1999, 10.1177/096228029900800204).

    The standard error of a limit is SD · sqrt(1/n + 1.96² / (2 (n − 1))).
    """
    from scipy.stats import linregress
    from scipy.stats import t as t_distribution

    n = len(method)
    if n < LEAST_SUBJECTS:
        return NotAssessed(_too_few(n, LEAST_SUBJECTS))
    difference, mean = method - reference, (method + reference) / 2
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    quantile = float(t_distribution.ppf(0.5 + LEVEL / 2, n - 1))

    def around(value: float, standard_error: float) -> Estimate:
        return Estimate(value, value - quantile * standard_error, value + quantile * standard_error, n)

    of_limit = sd * math.sqrt(1 / n + LIMITS**2 / (2 * (n - 1)))
    slope: Estimate | NotAssessed = NotAssessed("the means do not vary")
    slope_p = math.nan
    if np.ptp(mean) > 0:
        line = linregress(mean, difference)
        half = float(t_distribution.ppf(0.5 + LEVEL / 2, n - 2)) * float(line.stderr)
        slope, slope_p = Estimate(float(line.slope), float(line.slope) - half, float(line.slope) + half, n), float(line.pvalue)
    return BlandAltman(
        around(bias, sd / math.sqrt(n)), sd, around(bias - LIMITS * sd, of_limit), around(bias + LIMITS * sd, of_limit), slope, slope_p
    )


def holm(p_values: Sequence[float | NotAssessed]) -> list[float | NotAssessed]:
    """The p values corrected for their number by Holm's step-down method (1979); those not assessed stay, and do not count."""
    known = [(at, p) for at, p in enumerate(p_values) if not isinstance(p, NotAssessed)]
    corrected = list(p_values)
    if not known:
        return corrected
    from statsmodels.stats.multitest import multipletests

    for (at, _), value in zip(known, multipletests([p for _, p in known], method="holm")[1], strict=True):
        corrected[at] = float(value)
    return corrected


def split(values: Numbers, grades: Numbers) -> dict[str, Numbers]:
    """The values of each grade, in the order of the grades."""
    return {f"{grade:g}": values[grades == grade] for grade in np.unique(grades)}


def _too_few(n: int, needed: int) -> str:
    return f"{n} subject{'' if n == 1 else 's'}, at least {needed} are needed"


def _two_or_more(samples: Mapping[str, Numbers]) -> tuple[dict[str, Numbers], tuple[str, ...]]:
    enough = {name: sample for name, sample in samples.items() if len(sample) >= 2}
    return enough, tuple(name for name in samples if name not in enough)


def _too_few_groups(samples: Mapping[str, Numbers]) -> str:
    sizes = ", ".join(f"{name}: {len(sample)}" for name, sample in samples.items())
    return f"fewer than two groups of two or more subjects ({sizes or 'none'})"
