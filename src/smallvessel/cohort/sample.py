"""Who is in the cohort: numbers, age, sex and markers per group, and everyone who is not in it with the reason."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from ..markers import MARKERS
from ..records import NotAssessed
from .results import Cell, Column, ResultTable, Section
from .sheet import Numbers
from .table import Cohort

NO_TRAITS = NotAssessed("not known of any session; give a participants.tsv with --groups")


def describe_sample(cohort: Cohort) -> Section:
    """The sample, and what was left out of it."""
    columns = (
        Column("group", cohort.group_name or "group"),
        Column("n", "participants"),
        Column("age_mean", "age, mean"),
        Column("age_sd", "age, SD"),
        Column("age_min", "youngest"),
        Column("age_max", "oldest"),
        Column("age_known", "age known"),
        Column("male", "men"),
        Column("sex_known", "sex known"),
        *(Column(f"{info.column}_assessed", f"{marker} assessed") for marker, info in MARKERS.items()),
        Column("qc_warned", "quality warned"),
        Column("qc_failed", "quality failed, kept"),
    )
    rows = [_row(cohort, name, members) for name, members in cohort.parts()]
    notes = ("Age in years. A session with a quality warning is in; look at its report.",)
    sample = ResultTable("sample", "The sample", columns, tuple(rows), notes)
    left_out = ResultTable(
        "left_out",
        "Left out, with the reason",
        (Column("session", "session"), Column("reason", "reason")),
        tuple((one.id, one.reason) for one in cohort.left_out),
    )
    unknown = sum(not group for group in cohort.groups) if cohort.group_name else 0
    without_group = (
        [f"The {cohort.group_name} of {unknown} sessions is not known: they are counted under all, in no group."] if unknown else []
    )
    total = len(cohort.ids) + len(cohort.left_out)
    entered = f"{len(cohort.ids)} of {total} sessions, one per participant, enter the analysis."
    left = len(cohort.left_out)
    kinds = Counter(one.kind or one.reason for one in cohort.left_out)
    why = f" {left} {'was' if left == 1 else 'were'} left out ({'; '.join(f'{n}: {kind}' for kind, n in kinds.items())})." if left else ""
    groups = [f"{name} {int(members.sum())}" for name, members in cohort.parts()[1:]]
    divided = (f"The cohort is divided by {cohort.group_name}: {', '.join(groups)}.",) if groups else ()
    return Section(
        "Sample",
        (entered + why, *without_group, *cohort.notes),
        tuple(table for table in (sample, _sources(cohort), left_out, _missing_markers(cohort)) if table.rows),
        methods=(entered + why, *divided),
    )


def _sources(cohort: Cohort) -> ResultTable:
    rows: list[tuple[Cell, ...]] = []
    for name, cells in cohort.sources.items():
        counts = Counter(cell or "not known" for cell in cells)
        rows += [(name, level, n, 100 * n / len(cells)) for level, n in sorted(counts.items())]
    columns = (Column("column", "column"), Column("level", "level"), Column("n", "participants"), Column("percent", "%"))
    return ResultTable("sample_sources", "Where the images come from", columns, tuple(rows))


def _missing_markers(cohort: Cohort) -> ResultTable:
    volumes = {str(marker): cohort.measured.get(f"{info.column}_volume_ml") for marker, info in MARKERS.items()}
    rows = []
    for at, id in enumerate(cohort.ids):
        missing = [marker for marker, values in volumes.items() if values is None or math.isnan(values[at])]
        rows += [(str(id), ", ".join(missing))] if missing else []
    columns = (Column("session", "session"), Column("markers", "markers that were not assessed"))
    return ResultTable("missing_markers", "In, but not with every marker", columns, tuple(rows), ("The session's report says why.",))


def _row(cohort: Cohort, name: str, members: NDArray[np.bool_]) -> tuple[Cell, ...]:
    age, male = _known(cohort.age[members]), _known(cohort.male[members])
    ages: tuple[Cell, ...] = (NO_TRAITS,) * 4
    if len(age):
        sd = float(age.std(ddof=1)) if len(age) > 1 else math.nan
        ages = (float(age.mean()), sd, float(age.min()), float(age.max()))
    status = np.array(cohort.qc)[members]
    volumes = [cohort.measured.get(f"{info.column}_volume_ml") for info in MARKERS.values()]
    return (
        name,
        int(members.sum()),
        *ages,
        len(age),
        int(male.sum()) if len(male) else NO_TRAITS,
        len(male),
        *(0 if values is None else len(_known(values[members])) for values in volumes),
        int((status == "warn").sum()),
        int((status == "fail").sum()),
    )


def _known(values: Numbers) -> Numbers:
    return np.asarray(values[~np.isnan(values)], np.float64)
