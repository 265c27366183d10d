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
from .results import Cell, Column, Figure, ResultTable, Section, name_computed, with_holm
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
    "adjusted": "the partial rank correlation adjusted for age and sex",
    "slope": "linear regression with HC3 errors",
    "slope_adjusted": "the same adjusted for age and sex",
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
    computed = name_computed(COLUMNS, rows, PHRASES)
    whose = "rated" if cohort.visual else "computed by smallvessel from the same masks"
    against = f"the reference {cohort.reference}" if cohort.reference else "the reference with which the sessions were measured"
    circular = () if cohort.visual else (f"The total burden score is {whose}, so that it is not independent of the z scores.",)
    notes = (
        "z per point: slope of z on the score by least squares with HC3 errors. Adjusted: for age and sex, on the sessions of which both "
        "are known; one that does not vary is left out. p values are corrected by Holm's method, each of the two columns over its "
        f"{len(rows)} rows.",
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
            f"Z scores against {against} were related to the total burden score ({whose}), all together, per group and per marker, by "
            f"{computed}. p values were corrected by Holm's method.",
        )
        if computed
        else (),
    )


def _association_cells(z: Numbers, burden: Numbers, cohort: Cohort, members: NDArray[np.bool_]) -> tuple[Cell, ...]:
    """As ``COLUMNS`` from the fourth on; the corrected p values are filled in later and stand in as the others."""
    known = members & ~np.isnan(z) & ~np.isnan(burden)
    rho = spearman(z[known], burden[known])
    p = spearman_p(z[known], burden[known])
    with_traits = known & ~np.isnan(cohort.age) & ~np.isnan(cohort.male)
    covariates = [values for values in (cohort.age[with_traits], cohort.male[with_traits]) if len(values) and np.ptp(values) > 0]
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
