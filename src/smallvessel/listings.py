"""The tables that the command line shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

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


def list_scales() -> Table:
    """The scores, with range, needs, rule and source."""
    table = Table("column", "score", "range", "needs", "how it is computed", "source", show_lines=True)
    for scale, info in SCALES.items():
        table.add_row(scale, info.name, f"0 to {info.highest}", ", ".join(info.needs), info.rule, info.citation)
    return table
