"""The Z score of the burden against the total burden score: all together, by group, adjusted for age and sex."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..evaluate import spearman
from ..markers import MARKERS
from ..records import NotAssessed
from ..scales import SCALES, Scale
from ..tables import Z_PREFIX
from . import plots
from .grades import BURDEN
from .results import Cell, Column, Figure, ResultTable, Section, describe_holm, name_computed, with_holm
from .statistics import Association, partial_spearman, regress, spearman_p
from .table import Cohort, Numbers

TITLE = "Z score against the total burden"
NO_Z = "There are no Z scores: make a reference of one's own controls with smallvessel reference fit, then give it with --reference."
PARTS = {"total": "all four markers", **{info.column: str(marker) for marker, info in MARKERS.items()}}
NO_TRAITS = NotAssessed("age and sex are not known; give a participants.tsv with --groups")
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
        for part in PARTS
        if not np.isnan(cohort.measured.get(f"{prefix}{part}", np.array([math.nan]))).all()
    }
    burden = cohort.grades.get(BURDEN)
    if not scores:
        return Section(TITLE, missing=(NO_Z,))
    if burden is None or np.isnan(burden).all():
        return Section(TITLE, missing=(f"No session has a total burden score: give the column {BURDEN} with --visual, or all its parts.",))
    rows = [
        (PARTS[part], kind, group, *_association_cells(z, burden, cohort, members))
        for (part, kind), z in scores.items()
        for group, members in cohort.parts()
    ]
    traits = " and ".join(_known_traits(cohort))
    phrases = {key: phrase.format(traits=traits) for key, phrase in PHRASES.items()}
    computed, corrected = name_computed(COLUMNS, rows, phrases), describe_holm(COLUMNS, rows)
    whose = "rated" if cohort.visual else "computed by smallvessel from the same masks"
    against = f"the reference {cohort.reference.name}" if cohort.reference else "the reference with which the sessions were measured"
    circular = () if cohort.visual else (f"The total burden score is {whose}, so that it is not independent of the z scores.",)
    notes = (
        "z per point: slope of z on the score by least squares with HC3 errors."
        + (f" Adjusted: for {traits}, on the sessions of which that is known; what does not vary is left out." if traits else "")
        + (f" p values are corrected {corrected}." if corrected else ""),
    )
    return Section(
        TITLE,
        (f"Z scores against {against}; {SCALES[Scale.SVD_TOTAL].name.lower()} score, {whose}.", *circular),
        (ResultTable("burden", "Z scores against the total burden score", COLUMNS, with_holm(COLUMNS, rows), notes),),
        (
            Figure(
                "burden_z",
                f"Z scores from volumes by total burden score ({whose}): every session, median and quartiles.",
                lambda: plots.draw_burden({PARTS[part]: z for (part, kind), z in scores.items() if kind == "volume"}, burden, cohort),
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
    """How the z scores were made, and of which networks' measurements; empty for those that the table had."""
    reference = cohort.reference
    if reference is None:
        return ""
    adjusted = ", adjusted for age and sex" if reference.adjustment else ""
    z_total = cohort.measured["z_total"]
    fewer = int(
        np.count_nonzero(~np.isnan(z_total) & np.isnan([cohort.measured[f"z_{info.column}"] for info in MARKERS.values()]).any(axis=0))
    )
    assessed = f", in {fewer} sessions over the markers that were assessed" if fewer else ""
    named = ", ".join(f"{name} {model}" for name, model in reference.models.items())
    networks = f"; the reference was measured by {named}" if named else ""
    return (
        f" ({reference.transform} of mL per litre of intracranial volume, or of counts{adjusted}; all markers together: the "
        f"{reference.total} of their z{assessed}{networks})"
    )


def _known_traits(cohort: Cohort) -> dict[str, Numbers]:
    """What z can be adjusted for: of age and sex what is known of any session, shape (n,)."""
    return {name: values for name, values in (("age", cohort.age), ("sex", cohort.male)) if not np.isnan(values).all()}


def _association_cells(z: Numbers, burden: Numbers, cohort: Cohort, members: NDArray[np.bool_]) -> tuple[Cell, ...]:
    """As ``COLUMNS`` from the fourth on; the corrected p values are filled in later and stand in as the others."""
    known = members & ~np.isnan(z) & ~np.isnan(burden)
    rho = spearman(z[known], burden[known])
    p = spearman_p(z[known], burden[known])
    traits = _known_traits(cohort)
    with_traits = known & ~np.isnan([*traits.values()]).any(axis=0) if traits else np.zeros_like(known)
    covariates = [values[with_traits] for values in traits.values() if with_traits.any() and np.ptp(values[with_traits]) > 0]
    adjusted: Association | NotAssessed = NO_TRAITS
    slope_adjusted: Association | NotAssessed = NO_TRAITS
    if with_traits.any():
        adjusted = partial_spearman(z[with_traits], burden[with_traits], covariates)
        slope_adjusted = regress(z[with_traits], burden[with_traits], covariates)
    slope = regress(z[known], burden[known])
    of_adjusted = adjusted if isinstance(adjusted, NotAssessed) else adjusted.p
    return (
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
