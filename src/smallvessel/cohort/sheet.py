"""A table of text with a row per session or participant, and its columns of numbers: a fault is named with its line and column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..participants import MISSING, read_lines, to_number
from ..records import SessionId

Numbers = NDArray[np.float64]
"""One number per session, shape (n,); NaN where it is n/a."""

KEYS = ("participant_id", "session_id")


@dataclass(frozen=True)
class Sheet:
    """A table of text whose rows all have as many cells as its header. ``rows`` are by session; ``lines`` say where each stands."""

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[SessionId, Mapping[str, str]]
    lines: Mapping[SessionId, int]

    @cached_property
    def of_subject(self) -> Mapping[str, tuple[SessionId, ...]]:
        """The sessions of each participant."""
        found: dict[str, tuple[SessionId, ...]] = {}
        for id in self.rows:
            found[id.subject] = (*found.get(id.subject, ()), id)
        return found


def read_sheet(path: Path, expected: str) -> Sheet:
    """Read a table by session; commas separate in ``.csv``, tabs in everything else.

    Raises
    ------
    InputError
        When it cannot be read, a row has another number of cells than the header, a column or a session occurs twice, or
        there is no row.
    """
    lines = read_lines(path, expected)
    if len(lines) < 2:
        raise InputError(f"{path} with {len(lines)} lines", f"{expected}, with a header and a row per session", "give that file")
    columns = tuple(cell.strip() for cell in lines[0][1])
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice or KEYS[0] not in columns:
        found = f"the column {twice[0]!r} twice" if twice else f"no column {KEYS[0]}"
        raise InputError(f"{found} in {path}", f"{expected}, each column once", "correct the header")
    rows: dict[SessionId, Mapping[str, str]] = {}
    places: dict[SessionId, int] = {}
    for number, cells in lines[1:]:
        if len(cells) != len(columns):
            raise InputError(f"{len(cells)} cells in line {number} of {path}", f"{len(columns)}, as in its header", "correct that line")
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        id = _session_id(path, number, row)
        if id in rows:
            raise InputError(f"{id} in lines {places[id]} and {number} of {path}", "each session once", "remove one of them")
        rows[id], places[id] = row, number
    return Sheet(path, columns, rows, places)


def _session_id(path: Path, line: int, row: Mapping[str, str]) -> SessionId:
    subject, session = (row.get(key, "").removeprefix(prefix) for key, prefix in zip(KEYS, ("sub-", "ses-"), strict=True))
    if subject.lower() in MISSING:
        raise InputError(f"participant_id = {row[KEYS[0]]!r} in line {line} of {path}", "a participant", "fill or remove that line")
    return SessionId(subject, None if session.lower() in MISSING else session)


def read_numbers(
    sheet: Sheet, column: str, ids: Iterable[SessionId | None], lowest: float, highest: float = math.inf, whole: bool = False
) -> Numbers:
    """The numbers of one column for these sessions; NaN for ``n/a`` and for a session without a row (None)."""
    found = [math.nan if id is None else _number(sheet, column, id, lowest, highest, whole) for id in ids]
    return np.array(found, float)


def _number(sheet: Sheet, column: str, id: SessionId, lowest: float, highest: float, whole: bool) -> float:
    text = sheet.rows[id][column]
    if text.lower() in MISSING:
        return math.nan
    value = to_number(text)
    if not (math.isfinite(value) and lowest <= value <= highest and (not whole or value == int(value))):
        kind = "a whole number" if whole else "a number"
        bounds = "" if lowest == -math.inf else f" from {lowest:g}" + (" on" if highest == math.inf else f" to {highest:g}")
        raise InputError(f"{column} = {text!r} in line {sheet.lines[id]} of {sheet.path}", f"{kind}{bounds}, or n/a", "correct that cell")
    return value
