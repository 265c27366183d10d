"""The tables that the command line shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from .markers import MARKERS
from .scales import SCALES

if TYPE_CHECKING:
    from .demo import TruthBesideMeasurement
    from .reference import Reference


def make_table(title: str | None, first: str, *others: str) -> Table:
    """An empty table: the first column is text, the others are numbers."""
    table = Table(title=title)
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def list_demo(rows: Iterable[TruthBesideMeasurement]) -> Table:
    """Truth beside measurement."""
    table = make_table(
        "Simulated patient: truth beside measurement",
        *("marker", "true mL", "measured mL", "true count", "measured count", "found", "false"),
    )
    for row in rows:
        name = str(row.marker)
        if row.measured_volume_ml is None or row.measured_count is None or row.lesions is None:
            table.add_row(name, f"{row.true_volume_ml:.3f}", "n/a", f"{row.true_count}", "n/a", "n/a", "n/a")
            continue
        found = f"{row.lesions.n_found} of {row.lesions.n_reference}"
        volumes = (f"{row.true_volume_ml:.3f}", f"{row.measured_volume_ml:.3f}")
        table.add_row(name, *volumes, f"{row.true_count}", f"{row.measured_count}", found, f"{row.lesions.n_false}")
    return table


def list_reference(reference: Reference) -> Table:
    """Means and spreads of a reference cohort."""
    table = make_table(f"Reference {reference.name}, {reference.transform}", "marker", "mean", "SD", "n")
    for kind, norms in (("volume", reference.volume), ("count", reference.count)):
        for marker, norm in norms.items():
            table.add_row(f"{marker} {kind}", f"{norm.mean:.3f}", f"{norm.sd:.3f}", f"{norm.n}")
    return table


def list_markers() -> Table:
    """The markers, with what each needs."""
    table = Table("marker", "name", "needs one of", "rated on", "diameter mm")
    for marker, info in MARKERS.items():
        sizes = "any" if info.max_diameter_mm is None else f"{info.min_diameter_mm:g} to {info.max_diameter_mm:g}"
        table.add_row(marker, info.name, ", ".join(info.needs_one_of), ", ".join(info.rated_on), sizes)
    return table


def list_scales() -> Group:
    """The scores, with range, needs, rule, limits and source; lines wrap and are never cut."""
    blocks: list[RenderableType] = []
    for scale, info in SCALES.items():
        table = Table(box=None, show_header=False, pad_edge=False, title=f"{info.name} ({scale})", title_justify="left")
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("range", f"0 to {info.highest}")
        table.add_row("needs", ", ".join(info.needs))
        table.add_row("rule", info.rule)
        if info.limits:
            begins = (f"{grade} {'above' if limit == 0 else 'from'} {limit:g}" for grade, limit in enumerate(info.limits, 1))
            table.add_row("grades", f"{', '.join(begins)} {info.unit}")
        table.add_row("source", info.citation)
        blocks += [table, ""]
    return Group(*blocks)
