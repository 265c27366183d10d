"""Tables of results and how they are written: TSV and CSV for programs, LaTeX for a paper, text cells for the page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..evaluate import Estimate
from ..records import NotAssessed
from ..tables import NOT_AVAILABLE
from .statistics import holm

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Cell = str | int | float | Estimate | NotAssessed
SMALLEST_P = 0.001
LONGEST_ON_ONE_PAGE = 40
"""Rows of a table for LaTeX that stay together; more are divided between pages."""


@dataclass(frozen=True)
class Column:
    """A column of a table of results.

    Attributes
    ----------
    key : str
        Its name in TSV and CSV.
    heading : str
        As printed.
    is_p : bool
        Whether it holds p values, which are printed as "<0.001" below that.
    """

    key: str
    heading: str
    is_p: bool = False


@dataclass(frozen=True)
class ResultTable:
    """A table of results. ``notes`` stand below it."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure that is drawn when it is written; ``name`` is that of its files."""

    name: str
    caption: str
    draw: Callable[[], Drawing]


@dataclass(frozen=True)
class Section:
    """One part of the results: text, tables and figures, and the sentences that it adds to the methods paragraph.

    ``missing`` says why something that belongs here was not computed.
    """

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[ResultTable, ...] = ()
    figures: tuple[Figure, ...] = ()
    methods: tuple[str, ...] = ()
    missing: tuple[str, ...] = field(default=())


def format_number(value: float) -> str:
    """Three digits that count: 0.012, 1.23, 12.3, 1234; ``n/a`` for NaN."""
    if not math.isfinite(value):
        return NOT_AVAILABLE
    if value == 0:
        return "0"
    decimals = min(max(2 - math.floor(math.log10(abs(value))), 0), 4)
    text = f"{value:.{decimals}f}"
    return f"{value:.1e}" if float(text) == 0 else text.replace("-", "−")


def format_p(p: float) -> str:
    """As papers print it: three decimals, "<0.001" below that."""
    return NOT_AVAILABLE if math.isnan(p) else f"<{SMALLEST_P:g}" if p < SMALLEST_P else f"{p:.3f}"


def format_estimate(found: Estimate | NotAssessed) -> str:
    """The number with its interval in brackets, if it has one."""
    if isinstance(found, NotAssessed):
        return NOT_AVAILABLE
    interval = "" if math.isnan(found.low) else f" ({format_number(found.low)} to {format_number(found.high)})"
    return format_number(found.value) + interval


def format_cell(cell: Cell, column: Column) -> str:
    """A cell as it is printed."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return str(cell)
    if isinstance(cell, float):
        return format_p(cell) if column.is_p else format_number(cell)
    return format_estimate(cell)


def with_holm(columns: Sequence[Column], rows: Sequence[tuple[Cell, ...]]) -> tuple[tuple[Cell, ...], ...]:
    """The rows with each column ``..._holm`` filled from the p values in the column before it, corrected over all rows."""
    filled = [list(row) for row in rows]
    for at, column in enumerate(columns):
        if column.key.endswith("_holm"):
            p_values = [p for row in rows if isinstance(p := row[at - 1], (float, NotAssessed))]
            for row, p in zip(filled, holm(p_values), strict=True):
                row[at] = p
    return tuple(tuple(row) for row in filled)


def describe_holm(columns: Sequence[Column], rows: Sequence[tuple[Cell, ...]]) -> str:
    """How many p values each column was corrected over, as the end of a sentence; empty when there is none."""
    counts = {
        column.key.removesuffix("_holm"): n
        for at, column in enumerate(columns)
        if column.key.endswith("_holm") and (n := sum(isinstance(row[at - 1], float) for row in rows))
    }
    if not counts:
        return ""
    return "by Holm's method, each column over its p values: " + ", ".join(f"{n} of {key}" for key, n in counts.items())


def name_computed(columns: Sequence[Column], rows: Sequence[tuple[Cell, ...]], phrases: Mapping[str, str]) -> str:
    """What was computed, for the methods paragraph: the phrase of each column (by key) that has a result, and in how many rows it has one.

    Empty when nothing was.
    """
    named = []
    for at, column in enumerate(columns):
        if column.key in phrases:
            done = sum(not isinstance(row[at], NotAssessed) for row in rows)
            share = "" if done == len(rows) else f" (in {done} of {len(rows)} rows of the table)"
            named += [phrases[column.key] + share] if done else []
    return ", ".join(named[:-1]) + (" and " if len(named) > 1 else "") + named[-1] if named else ""


def plain_rows(table: ResultTable) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text with all digits: an estimate is three columns, and the last column says why something is ``n/a``."""
    header, rows = _flat_rows(table)
    return header, [[_plain(cell) for cell in row] for row in rows]


def _flat_rows(table: ResultTable) -> tuple[list[str], list[list[str | int | float | None]]]:
    with_interval = [any(isinstance(row[at], Estimate) for row in table.rows) for at in range(len(table.columns))]
    header = []
    for column, wide in zip(table.columns, with_interval, strict=True):
        header += [column.key, f"{column.key}_low", f"{column.key}_high"] if wide else [column.key]
    rows = []
    for row in table.rows:
        cells: list[str | int | float | None] = []
        for cell, wide in zip(row, with_interval, strict=True):
            if isinstance(cell, Estimate):
                cells += [cell.value, cell.low, cell.high]
            else:
                cells += [None if isinstance(cell, NotAssessed) else cell, *([None] * 2 if wide else [])]
        rows.append([*cells, "; ".join(_reasons(table, row)) or None])
    return [*header, "why_not_assessed"], rows


def to_separated(table: ResultTable, separator: str) -> str:
    """The table as TSV or CSV."""
    header, rows = plain_rows(table)
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def to_record(table: ResultTable) -> list[Mapping[str, str | int | float | None]]:
    """The rows by column for JSON: numbers as numbers, None where something is not assessed."""
    header, rows = _flat_rows(table)
    finite = [[None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in row] for row in rows]
    return [dict(zip(header, row, strict=True)) for row in finite]


def to_latex(table: ResultTable) -> str:
    """The table for LaTeX with booktabs: in a ``table`` environment, or across pages when it is long."""
    layout = "".join("l" if is_text else "r" for is_text in text_columns(table))
    lines = [[column.heading for column in table.columns], *printed_rows(table)]
    head, *body = [_latex_row(line) for line in lines]
    notes = [rf"\par\smallskip\footnotesize {_escape(' '.join([*table.notes, *reasons(table)]))}"] if table.notes or reasons(table) else []
    title = rf"\caption{{{_escape(table.title)}}}"
    if len(body) > LONGEST_ON_ONE_PAGE:
        return "\n".join(
            [
                r"% needs \usepackage{booktabs,longtable}",
                r"{\footnotesize",
                rf"\begin{{longtable}}{{{layout}}}",
                rf"{title}\label{{tab:{table.name}}}\\",
                *(r"\toprule", head, r"\midrule", r"\endfirsthead"),
                *(r"\toprule", head, r"\midrule", r"\endhead"),
                *(r"\bottomrule", r"\endfoot"),
                *body,
                r"\end{longtable}",
                *(["\\noindent" + note.removeprefix(r"\par\smallskip\footnotesize") + r"\par" for note in notes]),
                "}",
                "",
            ]
        )
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,adjustbox}",
            r"\begin{table}",
            title,
            rf"\label{{tab:{table.name}}}",
            r"\begin{adjustbox}{max width=\textwidth}",
            rf"\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{adjustbox}",
            *notes,
            r"\end{table}",
            "",
        ]
    )


def _latex_row(cells: Sequence[str]) -> str:
    """A row; one that begins with a bracket or a star would be taken for an option of the row before it."""
    row = " & ".join(map(_escape, cells)) + r" \\"
    return "{}" + row if row.startswith(("[", "*")) else row


def text_columns(table: ResultTable) -> list[bool]:
    """Which columns hold nothing but text, and are aligned on the left."""
    return [all(isinstance(row[at], str) for row in table.rows) for at in range(len(table.columns))]


def printed_rows(table: ResultTable) -> list[list[str]]:
    """The rows as they are printed."""
    return [[format_cell(cell, column) for cell, column in zip(row, table.columns, strict=True)] for row in table.rows]


def reasons(table: ResultTable) -> list[str]:
    """Why cells are ``n/a``, each reason once, with the columns it holds for."""
    where: dict[str, list[str]] = {}
    for row in table.rows:
        for cell, column in zip(row, table.columns, strict=True):
            if isinstance(cell, NotAssessed):
                headings = where.setdefault(cell.reason, [])
                headings += [column.heading] if column.heading not in headings else []
    return [f"n/a in {', '.join(headings)}: {reason}." for reason, headings in where.items()]


def _reasons(table: ResultTable, row: Sequence[Cell]) -> list[str]:
    where: dict[str, list[str]] = {}
    for cell, column in zip(row, table.columns, strict=True):
        if isinstance(cell, NotAssessed):
            where.setdefault(cell.reason, []).append(column.key)
    return [f"{', '.join(keys)}: {reason}" for reason, keys in where.items()]


def _plain(cell: str | int | float | None) -> str:
    if isinstance(cell, float):
        return f"{cell:.6g}" if math.isfinite(cell) else NOT_AVAILABLE
    return NOT_AVAILABLE if cell is None else str(cell)


LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "²": r"\textsuperscript{2}",
    "η": r"$\eta$",
    "ω": r"$\omega$",
    "τ": r"$\tau$",
    "ρ": r"$\rho$",
}


def _escape(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)
