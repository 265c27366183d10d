"""The Z score of the burden against the total burden score: all together, by group, adjusted for age and sex."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..evaluate import spearman
from ..markers import MARKERS
from ..records import NotAssessed
from ..reference import TOTAL_OF
from ..scales import SCALES, Scale
from ..tables import Z_PREFIX
from . import plots
from .grades import BURDEN
from .results import Cell, Column, Figure, ResultTable, Section, describe_holm, name_computed, with_holm
from .sheet import Numbers
from .statistics import Association, partial_spearman, regress, spearman_p
from .table import Cohort

TITLE = "Z score against the total burden"
NO_Z = "There are no Z scores: make a reference of one's own controls with smallvessel reference fit, then give it with --reference."
TOTAL = "total"
PARTS = {
    kind: {
        TOTAL: "all four markers" if len(of) == len(MARKERS) else ", ".join(of[:-1]) + f" and {of[-1]}",
        **{info.column: str(marker) for marker, info in MARKERS.items()},
    }
    for kind, of in TOTAL_OF.items()
}
"""What z scores are of, by kind and end of their column."""
NO_TRAITS = NotAssessed("age and sex are not known; give a participants.tsv with --groups")
SAME_TRAITS = NotAssessed("neither age nor sex is known to vary")
COLUMNS = (
    Column("z", "z of"),
    Column("kind", "from"),
    Column("group", "group"),
    Column("n", "n"),
    Column("spearman", "Spearman ρ"),
    Column("p", "p", True),
    Column("p_holm", "p, Holm", True),
    Column("adjusted", "ρ, adjusted"),
    Column("adjusted_n", "n, adjusted"),
    Column("adjusted_p", "p", True),
    Column("adjusted_p_holm", "p, Holm", True),
    Column("slope", "z per point"),
    Column("slope_adjusted", "z per point, adjusted"),
)
PHRASES = {
    "spearman": "Spearman's correlation",
    "adjusted": "the partial rank correlation adjusted for {traits}",
    "slope": "linear regression with HC3 errors",
    "slope_adjusted": "the same adjusted for {traits}",
}


def relate_burden(cohort: Cohort) -> Section:
    """Spearman's correlation of the z scores with the total burden score, plain and adjusted, and the slope per point."""
    scores = {
        (part, kind): cohort.measured[f"{prefix}{part}"]
        for kind, prefix in Z_PREFIX.items()
        for part in PARTS[kind]
        if not np.isnan(cohort.measured.get(f"{prefix}{part}", np.array([math.nan]))).all()
    }
    burden = cohort.grades.get(BURDEN)
    if not scores:
        return Section(TITLE, missing=(NO_Z,))
    if burden is None or np.isnan(burden).all():
        return Section(TITLE, missing=(f"No session has a total burden score: give the column {BURDEN} with --visual, or all its parts.",))
    found = [
        (PARTS[kind][part], kind, group, _associate(z, burden, cohort, members))
        for (part, kind), z in scores.items()
        for group, members in cohort.parts()
    ]
    rows = [(*named, *cells) for *named, (cells, _) in found]
    adjusted_for = [adjusted for *_, (_, adjusted) in found if adjusted]
    traits = _name_traits(adjusted_for)
    phrases = {key: phrase.format(traits=traits) for key, phrase in PHRASES.items()}
    computed, corrected = name_computed(COLUMNS, rows, phrases), describe_holm(COLUMNS, rows)
    whose = "rated" if cohort.visual else "computed by smallvessel from the same masks"
    against = f"the reference {cohort.z_reference}" if cohort.z_reference else "the reference with which the sessions were measured"
    circular = () if cohort.visual else (f"The total burden score is {whose}, so that it is not independent of the z scores.",)
    notes = (
        "z per point: slope of z on the score by least squares with HC3 errors."
        + (f" Adjusted: for {traits}, on the sessions of which that is known." if traits else "")
        + (f" p values are corrected {corrected}." if corrected else ""),
    )
    return Section(
        TITLE,
        (f"Z scores against {against}; {SCALES[Scale.SVD_TOTAL].name.lower()} score, {whose}.", *_fewer_markers(cohort), *circular),
        (ResultTable("burden", "Z scores against the total burden score", COLUMNS, with_holm(COLUMNS, rows), notes),),
        (
            Figure(
                "burden_z",
                f"Z scores from volumes by total burden score ({whose}): every session, median and quartiles.",
                lambda: plots.draw_burden({PARTS[kind][part]: z for (part, kind), z in scores.items() if kind == "volume"}, burden, cohort),
            ),
        ),
        (
            f"Z scores against {against}{_rule(cohort)} were related to the total burden score ({whose}), all together, per "
            f"group and per marker, by {computed}." + (f" p values were corrected {corrected}." if corrected else ""),
        )
        if computed
        else (),
    )


def _rule(cohort: Cohort) -> str:
    """How the z scores were made, and of which networks' measurements, as far as that is known."""
    said = []
    if reference := cohort.reference:
        adjusted = ", adjusted for age and sex" if reference.adjustment else ""
        said = [f"{reference.transform} of mL per litre of intracranial volume, or of counts{adjusted}"]
        said += [f"all markers together, of counts {PARTS['count'][TOTAL]}: the {reference.total} of their z"]
        named = ", ".join(f"{name} {model}" for name, model in reference.models.items())
        said += [f"the reference was measured by {named}"] if named else []
    said += [sentence.removesuffix(".") for sentence in _fewer_markers(cohort)]
    return f" ({'; '.join(said)})" if said else ""


def _fewer_markers(cohort: Cohort) -> tuple[str, ...]:
    """How many total z scores are made of fewer markers than all; empty where none is known to be."""
    fewer = []
    for kind, prefix in Z_PREFIX.items():
        total, n_markers = (of.get(key) for of, key in ((cohort.measured, f"{prefix}{TOTAL}"), (cohort.z_markers, kind)))
        if total is not None and n_markers is not None:
            n, n_all = int(np.count_nonzero(~np.isnan(total) & (n_markers < len(TOTAL_OF[kind])))), len(TOTAL_OF[kind])
            fewer += [f"{n} total z scores from {kind}s are made of fewer than {n_all} markers"] if n else []
    return (f"{' and '.join(fewer)}.",) if fewer else ()


def _name_traits(adjusted_for: Sequence[Sequence[str]]) -> str:
    """For what it was adjusted in how many rows of the table, such as "age and sex (sex in 3 of 4 rows)"."""
    names = [name for name in ("age", "sex") if any(name in one for one in adjusted_for)]
    counts = {name: sum(name in one for one in adjusted_for) for name in names}
    partly = [f"{name} in {n} of {len(adjusted_for)} rows, where it varies" for name, n in counts.items() if n < len(adjusted_for)]
    return " and ".join(names) + (f" ({'; '.join(partly)})" if partly else "")


def _known_traits(cohort: Cohort) -> dict[str, Numbers]:
    """What z can be adjusted for: of age and sex what is known of any session, shape (n,)."""
    return {name: values for name, values in (("age", cohort.age), ("sex", cohort.male)) if not np.isnan(values).all()}


def _associate(z: Numbers, burden: Numbers, cohort: Cohort, members: NDArray[np.bool_]) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """Cells as ``COLUMNS`` from the fourth on, and for what they were adjusted.

    The corrected p values are filled in later and stand in as the others.
    """
    known = members & ~np.isnan(z) & ~np.isnan(burden)
    rho = spearman(z[known], burden[known])
    p = spearman_p(z[known], burden[known])
    traits = _known_traits(cohort)
    with_traits = known & ~np.isnan([*traits.values()]).any(axis=0) if traits else np.zeros_like(known)
    covariates = {name: values[with_traits] for name, values in traits.items() if with_traits.any() and np.ptp(values[with_traits]) > 0}
    adjusted: Association | NotAssessed = SAME_TRAITS if with_traits.any() else NO_TRAITS
    slope_adjusted = adjusted
    if covariates:
        adjusted = partial_spearman(z[with_traits], burden[with_traits], list(covariates.values()))
        slope_adjusted = regress(z[with_traits], burden[with_traits], list(covariates.values()))
    slope = regress(z[known], burden[known])
    of_adjusted = adjusted if isinstance(adjusted, NotAssessed) else adjusted.p
    cells = (
        int(known.sum()),
        rho,
        p,
        p,
        adjusted if isinstance(adjusted, NotAssessed) else adjusted.estimate,
        int(with_traits.sum()),
        of_adjusted,
        of_adjusted,
        slope if isinstance(slope, NotAssessed) else slope.estimate,
        slope_adjusted if isinstance(slope_adjusted, NotAssessed) else slope_adjusted.estimate,
    )
    done = not (isinstance(adjusted, NotAssessed) and isinstance(slope_adjusted, NotAssessed))
    return cells, tuple(covariates) if done else ()
