"""Agreement of measured volumes and counts with a reference: correlations, ICC, Bland and Altman's limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evaluate import Estimate, icc_agreement, pearson, spearman
from ..markers import MARKERS, Marker
from ..records import NotAssessed
from . import plots
from .results import Cell, Column, Figure, ResultTable, Section, describe_holm, name_computed, with_holm
from .sheet import Numbers
from .statistics import VOLUME_OFFSET_ML, BlandAltman, bland_altman, correlation_p, spearman_p
from .table import Cohort

TITLE = "Agreement of volumes and counts"
KINDS = {"volume_ml": "volume, mL", "count": "count"}
CORRELATION_COLUMNS = (
    Column("marker", "marker"),
    Column("measure", "measure"),
    Column("reference", "reference"),
    Column("group", "group"),
    Column("n", "n"),
    Column("pearson", "Pearson r"),
    Column("pearson_p", "p", True),
    Column("pearson_p_holm", "p, Holm", True),
    Column("spearman", "Spearman ρ"),
    Column("spearman_p", "p", True),
    Column("spearman_p_holm", "p, Holm", True),
    Column("icc", "ICC(2,1)"),
)
LIMITS_COLUMNS = (
    Column("marker", "marker"),
    Column("measure", "measure"),
    Column("reference", "reference"),
    Column("group", "group"),
    Column("n", "n"),
    Column("bias", "bias"),
    Column("sd", "SD of differences"),
    Column("lower_limit", "lower limit"),
    Column("upper_limit", "upper limit"),
    Column("slope", "slope on the mean"),
    Column("slope_p", "p of the slope", True),
    Column("slope_p_holm", "p, Holm", True),
)
CORRELATION_PHRASES = {
    "pearson": "Pearson's correlation (Fisher's interval)",
    "spearman": "Spearman's correlation (interval of Bonett and Wright 2000; p from all permutations up to 8 subjects, by t beyond)",
    "icc": "the intraclass correlation ICC(2,1) for absolute agreement (Shrout and Fleiss 1979; interval of McGraw and Wong 1996)",
}
LIMITS_PHRASE = (
    "Bland and Altman's limits of agreement (mean difference ± 1.96 SD, with intervals as in 1999), for volumes also on the log of "
    f"mL + {VOLUME_OFFSET_ML:g}"
)
LOG_NOTE = (
    f"Rows of ratios: the differences are those of log(mL + {VOLUME_OFFSET_ML:g}), shown as the ratio measured / reference; "
    "their SD and slope are on the log scale."
)


@dataclass(frozen=True)
class Pair:
    """Measured and reference numbers of one marker, shape (n,) of the cohort, NaN where one is missing; ``source`` has the reference's."""

    marker: Marker
    kind: str
    source: str
    measured: Numbers
    reference: Numbers

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.asarray(~np.isnan(self.measured) & ~np.isnan(self.reference))


def analyse_agreement(cohort: Cohort, manual: Mapping[str, Numbers]) -> Section:
    """Correlation and agreement of volumes and counts, per marker and group.

    Parameters
    ----------
    cohort : Cohort
    manual : mapping of str to ndarray, shape (n,)
        Volumes and counts of the manual masks by column, NaN without a mask. They stand beside the visual table's numbers: neither
        displaces the other.
    """
    pairs = [
        Pair(marker, kind, source, cohort.measured[column], reference[column])
        for marker, info in MARKERS.items()
        for source, reference in (("manual masks", manual), ("visual table", cohort.rated))
        for kind in KINDS
        if (column := f"{info.column}_{kind}") in cohort.measured and column in reference
    ]
    if not pairs:
        return Section(
            TITLE,
            missing=("There is nothing to agree with: give manual masks (--manual), or a visual table with volumes or counts (--visual).",),
        )
    correlations, limits = [], []
    for pair in pairs:
        for name, members in cohort.parts():
            chosen = pair.known & members
            mine, theirs = pair.measured[chosen], pair.reference[chosen]
            marker, what = str(pair.marker), (pair.source, name, int(chosen.sum()))
            correlations.append((marker, KINDS[pair.kind], *what, *_correlate(mine, theirs)))
            limits.append((marker, KINDS[pair.kind], *what, *_limit_cells(bland_altman(mine, theirs), ratio=False)))
            if pair.kind == "volume_ml":
                logs = (np.log(values + VOLUME_OFFSET_ML) for values in (mine, theirs))
                limits.append((marker, "volume, ratio", *what, *_limit_cells(bland_altman(*logs), ratio=True)))
    sources = " and ".join(f"the {source}" for source in dict.fromkeys(str(row[2]) for row in correlations))
    computed = name_computed(CORRELATION_COLUMNS, correlations, CORRELATION_PHRASES)
    with_limits = name_computed(LIMITS_COLUMNS, limits, {"bias": LIMITS_PHRASE})
    corrected, of_slopes = describe_holm(CORRELATION_COLUMNS, correlations), describe_holm(LIMITS_COLUMNS, limits)
    notes = [f"p values are corrected {how}." if how else "" for how in (corrected, of_slopes)]
    return Section(
        TITLE,
        ("Numbers of measures.tsv against those of the reference that each row names.",),
        (
            ResultTable(
                "agreement", TITLE, CORRELATION_COLUMNS, with_holm(CORRELATION_COLUMNS, correlations), tuple(filter(None, notes[:1]))
            ),
            ResultTable(
                "limits_of_agreement",
                "Limits of agreement, measured minus reference",
                LIMITS_COLUMNS,
                with_holm(LIMITS_COLUMNS, limits),
                tuple(filter(None, (LOG_NOTE, notes[1]))),
            ),
        ),
        tuple(_figure(marker, shown, cohort) for marker in Marker if (shown := [p for p in pairs if p.marker is marker and p.known.any()])),
        tuple(
            f"Measured volumes and counts were compared with those of {sources} by {what}."
            for what in (
                computed + (f"; p values were corrected {corrected}" if corrected else ""),
                with_limits + (f"; p values of slopes on the mean were corrected {of_slopes}" if of_slopes else ""),
            )
            if what
        ),
    )


def _figure(marker: Marker, pairs: list[Pair], cohort: Cohort) -> Figure:
    info = MARKERS[marker]
    caption = (
        f"{info.name.capitalize()}: measured against the reference with the line of identity, and differences with bias (line), limits of "
        "agreement (dashed) and their 95 % intervals (shaded)."
    )
    return Figure(f"agreement_{info.column}", caption, lambda: plots.draw_agreement(pairs, cohort))


def _correlate(measured: Numbers, reference: Numbers) -> tuple[Cell, ...]:
    """Pearson and Spearman, each with p twice (the second is corrected later), and ICC."""
    linear = pearson(measured, reference)
    linear_p = linear if isinstance(linear, NotAssessed) else correlation_p(linear.value, len(measured))
    rank_p = spearman_p(measured, reference)
    cells: tuple[Cell, ...] = (linear, linear_p, linear_p, spearman(measured, reference), rank_p, rank_p)
    return (*cells, icc_agreement(np.stack([measured, reference], axis=1)))


def _limit_cells(found: BlandAltman | NotAssessed, ratio: bool) -> tuple[Cell, ...]:
    if isinstance(found, NotAssessed):
        return (found,) * 7
    ends = (found.bias, found.lower, found.upper)
    bias, lower, upper = (_as_ratio(end) for end in ends) if ratio else ends
    slope_p = NotAssessed("no slope") if math.isnan(found.slope_p) else found.slope_p
    return bias, found.sd, lower, upper, found.slope, slope_p, slope_p


def _as_ratio(found: Estimate) -> Estimate:
    return Estimate(math.exp(found.value), math.exp(found.low), math.exp(found.high), found.n)
