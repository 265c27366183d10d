"""Volumes across visual grades: analysis of variance, Welch with Games and Howell, effect sizes, trend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..evaluate import spearman
from ..markers import MARKERS, Marker
from ..records import NotAssessed
from . import plots
from .grades import GRADES, Grade
from .results import Cell, Column, Figure, ResultTable, Section, describe_holm, name_computed, with_holm
from .sheet import Numbers
from .statistics import (
    NO_INTERVAL,
    FTest,
    PairDifference,
    anova,
    describe,
    eta_squared,
    games_howell,
    omega_squared,
    split,
    trend,
    welch_anova,
)
from .table import Cohort

TITLE = "Volumes across visual grades"
CIRCULAR = (
    "No visual table was given: these grades were computed by smallvessel from the same masks as the volumes. They show how the "
    "scales follow the volumes, and nothing about raters."
)


@dataclass(frozen=True)
class Graded:
    """One measure across one grade: the sessions that have both, split by grade."""

    grade: Grade
    measure: str
    grades: Numbers
    values: Numbers

    @property
    def samples(self) -> dict[str, Numbers]:
        return split(self.values, self.grades)


def compare_grades(cohort: Cohort) -> Section:
    """Volumes across the grades of the raters, or across the computed ones where there are no raters'."""
    all_graded = [
        Graded(grade, measure, cohort.grades[name][known], cohort.measured[measure][known])
        for name, grade in GRADES.items()
        for measure in grade.measures
        if name in cohort.grades
        and measure in cohort.measured
        and (known := ~np.isnan(cohort.grades[name]) & ~np.isnan(cohort.measured[measure])).any()
    ]
    if not all_graded:
        return Section(TITLE, missing=("No session has both a grade and a volume: give visual grades with --visual.",))
    who = "visual grades" if cohort.visual else "grades computed by smallvessel"
    tests = [(*_names(one), len(one.values), *_test_cells(one)) for one in all_graded]
    pairs = [(*_names(one), *_pair_cells(pair)) for one in all_graded for pair in games_howell(one.samples)]
    tables = (_test_table(tests, who), _volume_table(all_graded))
    return Section(
        TITLE if cohort.visual else "Volumes across computed grades",
        () if cohort.visual else (CIRCULAR,),
        (*tables, _pair_table(pairs)) if pairs else tables,
        tuple(_figure(marker, mine) for marker in Marker if (mine := [one for one in all_graded if one.grade.marker is marker])),
        _methods(tests, bool(pairs), who),
    )


def _names(one: Graded) -> tuple[str, str]:
    return one.grade.name, measure_name(one.measure)


def _test_table(tests: list[tuple[Cell, ...]], who: str) -> ResultTable:
    corrected = describe_holm(TEST_COLUMNS, tests)
    note = (
        "ANOVA takes the grades' variances for equal, Welch does not. Grades of fewer than two sessions are left out of both, and grades "
        "that do not vary out of Welch's: named in the last column. Trend: Jonckheere and Terpstra's test, which is that of Kendall's "
        "τ-b." + (f" p values are corrected {corrected}." if corrected else "")
    )
    return ResultTable("grades_tests", f"Volumes across {who}", TEST_COLUMNS, with_holm(TEST_COLUMNS, tests), (note,))


def _volume_table(all_graded: list[Graded]) -> ResultTable:
    rows = [
        (*_names(one), grade, len(sample), found.mean, found.sd, found.median, found.q1, found.q3)
        for one in all_graded
        for grade, sample in one.samples.items()
        if not isinstance(found := describe(sample), NotAssessed)
    ]
    note = f"In brackets: 95 % bootstrap intervals of the mean. {NO_INTERVAL}"
    return ResultTable("grades_volumes", "Volumes in mL by grade", VOLUME_COLUMNS, tuple(rows), (note,))


def _pair_table(pairs: list[tuple[Cell, ...]]) -> ResultTable:
    note = "Differences in mL, second grade minus first; p and 95 % intervals hold for all pairs of a scale together."
    return ResultTable("grades_pairs", "Pairs of grades, by Games and Howell", PAIR_COLUMNS, tuple(pairs), (note,))


def _figure(marker: Marker, graded: list[Graded]) -> Figure:
    info = MARKERS[marker]
    caption = f"{info.name.capitalize()}, volume by grade: every session, median and quartiles, whiskers."
    return Figure(f"grades_{info.column}", caption, lambda: plots.draw_grades(graded))


def _methods(tests: list[tuple[Cell, ...]], with_pairs: bool, who: str) -> tuple[str, ...]:
    computed = name_computed(TEST_COLUMNS, tests, PHRASES)
    if not computed:
        return ()
    pairs = ", and pairs of grades by Games and Howell's test with Hedges' g" if with_pairs else ""
    corrected = [f"p values were corrected {how}" for how in (describe_holm(TEST_COLUMNS, tests),) if how]
    corrected += ["p values of pairs hold for all pairs of a scale by the test itself"] if with_pairs else []
    return (". ".join([f"Volumes were compared across {who} by {computed}{pairs}", *corrected]) + ".",)


TEST_COLUMNS = (
    Column("scale", "scale"),
    Column("measure", "measure"),
    Column("n", "n"),
    Column("anova_f", "ANOVA F"),
    Column("anova_df", "df"),
    Column("anova_p", "p", True),
    Column("anova_p_holm", "p, Holm", True),
    Column("welch_f", "Welch F"),
    Column("welch_df", "df"),
    Column("welch_p", "p", True),
    Column("welch_p_holm", "p, Holm", True),
    Column("eta_squared", "η²"),
    Column("omega_squared", "ω²"),
    Column("tau_b", "trend, τ-b"),
    Column("trend_p", "p", True),
    Column("trend_p_holm", "p, Holm", True),
    Column("spearman", "Spearman ρ"),
    Column("left_out", "grades left out"),
)
PHRASES = {
    "anova_f": "one-way analysis of variance",
    "welch_f": "Welch's analysis of variance",
    "eta_squared": "the effect sizes η² (interval from the noncentral F distribution, Steiger 2004) and ω²",
    "tau_b": "Jonckheere and Terpstra's test of trend (Kendall's τ-b, normal approximation)",
    "spearman": "Spearman's correlation",
}
VOLUME_COLUMNS = (
    Column("scale", "scale"),
    Column("measure", "measure"),
    Column("grade", "grade"),
    Column("n", "n"),
    Column("mean", "mean"),
    Column("sd", "SD"),
    Column("median", "median"),
    Column("q1", "25 %"),
    Column("q3", "75 %"),
)
PAIR_COLUMNS = (
    Column("scale", "scale"),
    Column("measure", "measure"),
    Column("first", "first"),
    Column("second", "second"),
    Column("difference", "difference"),
    Column("hedges_g", "Hedges' g"),
    Column("t", "t"),
    Column("df", "df"),
    Column("p", "p", True),
)


def measure_name(column: str) -> str:
    """A column of volumes as it is printed: "WMH" for ``wmh_volume_ml``, "WMH, deep" for ``wmh_deep_volume_ml``."""
    for marker, info in MARKERS.items():
        if column.startswith(info.column):
            region = column.removeprefix(info.column).removesuffix("volume_ml").strip("_").replace("_", " ")
            return f"{marker}, {region}" if region else str(marker)
    return column


def _test_cells(one: Graded) -> tuple[Cell, ...]:
    """As ``TEST_COLUMNS`` from the fourth on; the corrected p values are filled in later and stand in as the others."""
    samples = one.samples
    plain, welch = anova(samples), welch_anova(samples)
    tau = trend(one.grades, one.values)
    named = [
        f"{name}: {', '.join(test.without)}"
        for name, test in (("ANOVA", plain), ("Welch", welch))
        if isinstance(test, FTest) and test.without
    ]
    return (
        *_f_cells(plain),
        *_f_cells(welch),
        eta_squared(plain) if isinstance(plain, FTest) else plain,
        omega_squared(plain) if isinstance(plain, FTest) else plain,
        *((tau,) * 3 if isinstance(tau, NotAssessed) else (tau.estimate.value, tau.p, tau.p)),
        spearman(one.grades, one.values),
        "; ".join(named) or "none",
    )


def _f_cells(test: FTest | NotAssessed) -> tuple[Cell, ...]:
    if isinstance(test, NotAssessed):
        return (test,) * 4
    return test.f, f"{test.df_between:.3g}, {test.df_within:.4g}", test.p, test.p


def _pair_cells(pair: PairDifference) -> tuple[Cell, ...]:
    return pair.first, pair.second, pair.difference, pair.hedges_g, pair.t, pair.df, pair.p
