"""Reference cohorts: the means and spreads against which a session's burden becomes a Z score, frozen in a JSON file.

A reference is made of one's own controls or cohort, measured with the same weights. None ships with the package: no shipped
reference could stand for a population that nobody drew.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import InputError
from .markers import MARKERS, Marker

FORMAT = 1
TRANSFORMS: dict[str, Callable[[float], float]] = {"log1p": math.log1p, "identity": float}
"""Volumes and counts are skewed, hence log1p by default."""
TOTALS = ("mean", "sum")
LEAST_SESSIONS = 10
"""With fewer, a mean and a spread say little. Own choice."""


@dataclass(frozen=True)
class Norm:
    """Mean and standard deviation (n - 1) of a transformed burden, and of how many sessions."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True)
class Reference:
    """A frozen reference cohort.

    Attributes
    ----------
    name : str
        Which cohort: it is printed beside every Z score.
    transform : str
        Of ``TRANSFORMS``, applied to a volume in mL per litre of intracranial volume, and to a count.
    total : {"mean", "sum"}
        Of the four markers' z.
    volume, count : mapping of Marker to Norm
        Markers that were assessed in enough sessions.
    models : mapping of str to str
        Network to its version and SHA-256, with which the cohort was measured.
    software_version : str
    """

    name: str
    transform: str
    total: str
    volume: Mapping[Marker, Norm]
    count: Mapping[Marker, Norm]
    models: Mapping[str, str] = field(default_factory=dict)
    software_version: str = ""

    def transformed(self, value: float) -> float:
        return TRANSFORMS[self.transform](value)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they are stored."""
        plain = {"format": FORMAT, **asdict(self)}
        for kind in ("volume", "count"):
            plain[kind] = {str(marker): asdict(norm) for marker, norm in getattr(self, kind).items()}
        return plain


def write_reference(reference: Reference, path: Path) -> None:
    """Write a reference, whole or not at all."""
    from .derivatives import write_text

    write_text(path, json.dumps(reference.as_dict(), indent=2, ensure_ascii=False) + "\n")


def read_reference(path: Path) -> Reference:
    """Read a reference.

    Raises
    ------
    InputError
        When the file cannot be read, or is no reference.
    """
    try:
        return reference_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"a reference {path} that cannot be opened ({error.strerror})", "a JSON file", "check the path") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}, which is no reference ({error})", "a file that smallvessel reference fit wrote", "make it again"
        ) from None


def reference_from_dict(plain: Mapping[str, Any]) -> Reference:
    """A reference from plain values, as :meth:`Reference.as_dict` gives them.

    Raises
    ------
    ValueError, KeyError, TypeError
        When they are none.
    """
    volume, count = ({Marker(name): Norm(**norm) for name, norm in plain[kind].items()} for kind in ("volume", "count"))
    reference = Reference(
        plain["name"], plain["transform"], plain["total"], volume, count, dict(plain["models"]), plain["software_version"]
    )
    if plain["format"] != FORMAT or reference.transform not in TRANSFORMS or reference.total not in TOTALS:
        raise ValueError("another format")
    return reference


def require_same_models(reference: Reference, models: Mapping[str, str], allow_mismatch: bool) -> None:
    """Refuse a reference that other weights measured: their volumes are not comparable.

    Raises
    ------
    InputError
        Unless ``allow_mismatch``.
    """
    other = [name for name, version in models.items() if reference.models.get(name) != version]
    if other and not allow_mismatch:
        raise InputError(
            f"the reference {reference.name}, measured with another network ({', '.join(other)})",
            "; ".join(f"{name} {models[name][:40]}" for name in other),
            "measure the reference cohort again with this version, or add --allow-model-mismatch",
        )


def fit_reference(
    table: Path, name: str, models: Mapping[str, str], software_version: str, transform: str = "log1p", total: str = "mean"
) -> Reference:
    """Make a reference from a ``measures.tsv``.

    Parameters
    ----------
    table : Path
        One row per session of the cohort. Sessions whose quality failed are left out.
    name : str
    models, software_version
        With which the table was made.
    transform, total
        See :class:`Reference`.

    Raises
    ------
    InputError
        When the table lacks a column, a value is no number, or no marker has ``LEAST_SESSIONS`` sessions.
    """
    rows = [row for row in _read_rows(table) if row[1].get("qc_status") != "fail"]
    volume: dict[Marker, Norm] = {}
    count: dict[Marker, Norm] = {}
    transformed = TRANSFORMS[transform]
    for marker, info in MARKERS.items():
        columns = (f"{info.column}_volume_ml", f"{info.column}_count", "icv_ml")
        known = [tuple(_number(table, line, row, column) for column in columns) for line, row in rows]
        relative = [1000 * v / icv for v, _, icv in known if v is not None and icv]
        counts = [c for _, c, _ in known if c is not None]
        for norms, values in ((volume, relative), (count, counts)):
            if len(values) >= LEAST_SESSIONS:
                norms[marker] = _norm([transformed(value) for value in values])
    if not count:
        raise InputError(
            f"{len(rows)} usable sessions in {table}", f"at least {LEAST_SESSIONS} with an assessed marker", "measure a larger cohort"
        )
    return Reference(name, transform, total, volume, count, dict(models), software_version)


def _norm(values: Sequence[float]) -> Norm:
    return Norm(statistics.fmean(values), statistics.stdev(values), len(values))


def _read_rows(table: Path) -> list[tuple[int, Mapping[str, str]]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return list(enumerate(csv.DictReader(file, delimiter="\t"), start=2))
    except OSError as error:
        raise InputError(f"a table {table} that cannot be opened ({error.strerror})", "a measures.tsv", "check the path") from None


def _number(table: Path, line: int, row: Mapping[str, str], column: str) -> float | None:
    if column not in row:
        raise InputError(f"{table} without the column {column}", "a measures.tsv as smallvessel run writes it", "give that file")
    text = row[column]
    if text in ("n/a", None, ""):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{column} = {text!r} in line {line} of {table}", "a number from 0 on, or n/a", "correct that cell")
    return value
