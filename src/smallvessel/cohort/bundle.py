"""Writes the results of a cohort: tables as TSV, CSV and LaTeX, figures as SVG and PNG, all numbers as JSON, and one page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..derivatives import write_bytes, write_json, write_text
from ..errors import InputError
from .plots import render
from .results import ResultTable, Section, printed_rows, reasons, text_columns, to_latex, to_record, to_separated

PAGE, NUMBERS, METHODS = "cohort.html", "cohort.json", "methods.md"


@dataclass(frozen=True)
class Bundle:
    """Everything that is written about a cohort; ``methods`` is one paragraph."""

    title: str
    sections: tuple[Section, ...]
    methods: str
    extra_tables: tuple[ResultTable, ...] = ()


def write_bundle(bundle: Bundle, folder: Path) -> Path:
    """Write a bundle. The page is removed first and written last: where it is, everything is there.

    Tables and figures of a former bundle in the folder are removed: the new one may have fewer.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    page = folder / PAGE
    try:
        page.unlink(missing_ok=True)
        for former in _files_of(folder):
            former.unlink(missing_ok=True)
        for table in (*(table for section in bundle.sections for table in section.tables), *bundle.extra_tables):
            write_text(folder / "tables" / f"{table.name}.tsv", to_separated(table, "\t"))
            write_text(folder / "tables" / f"{table.name}.csv", to_separated(table, ","))
            write_text(folder / "tables" / f"{table.name}.tex", to_latex(table))
        pictures: dict[str, str] = {}
        for figure in (figure for section in bundle.sections for figure in section.figures):
            svg, png = render(figure.draw())
            write_bytes(folder / "figures" / f"{figure.name}.svg", svg)
            write_bytes(folder / "figures" / f"{figure.name}.png", png)
            pictures[figure.name] = "data:image/png;base64," + base64.b64encode(png).decode()
        write_text(folder / METHODS, bundle.methods + "\n")
        write_json(folder / NUMBERS, _record(bundle))
        write_text(page, _render_page(bundle, pictures))
    except OSError as error:
        raise InputError(
            f"an output folder {folder} that cannot be written ({error.strerror})", "a folder to write in", "choose another"
        ) from None
    return page


def _record(bundle: Bundle) -> dict[str, object]:
    tables = {table.name: to_record(table) for section in bundle.sections for table in section.tables}
    missing = {section.title: list(section.missing) for section in bundle.sections if section.missing}
    return {"title": bundle.title, "methods": bundle.methods, "not_computed": missing, "tables": tables, "files": _file_names(bundle)}


def _file_names(bundle: Bundle) -> list[str]:
    tables = [table.name for section in bundle.sections for table in section.tables] + [table.name for table in bundle.extra_tables]
    figures = [figure.name for section in bundle.sections for figure in section.figures]
    return [f"tables/{name}.{kind}" for name in tables for kind in ("tsv", "csv", "tex")] + [
        f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png")
    ]


def _files_of(folder: Path) -> list[Path]:
    """The tables and figures that a former bundle in this folder named as its own."""
    try:
        names = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [folder / name for name in names if re.fullmatch(r"(tables|figures)/[a-z0-9_]+\.(tsv|csv|tex|svg|png)", str(name))]


def _render_page(bundle: Bundle, pictures: dict[str, str]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        bundle=bundle, pictures=pictures, printed_rows=printed_rows, reasons=reasons, text_columns=text_columns, anchor=_anchor
    )


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def join_methods(sections: Sequence[Section], versions: str) -> str:
    """One paragraph of the sentences of all sections that were computed, and the versions."""
    return " ".join([sentence for section in sections for sentence in section.methods] + [versions])
