"""Age and sex from a BIDS ``participants.tsv``, for reference cohorts that are adjusted for them; and how tables of text are read."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

MISSING = ("", "n/a", "na", "nan", "none")
SEXES = {"m": True, "male": True, "1": True, "f": False, "female": False, "2": False}
"""Also the codes 1 and 2 of many cohorts."""
AGES = (0.0, 120.0)


@dataclass(frozen=True)
class Traits:
    """What is known of a participant, None where it is not: age in years, and sex."""

    age: float | None = None
    male: bool | None = None


UNKNOWN = Traits()


def read_participants(path: Path) -> dict[str, Traits]:
    """Traits by participant label, without ``sub-``; columns ``age`` and ``sex`` in any case, both optional.

    Commas separate in ``.csv``, tabs in everything else.

    Raises
    ------
    InputError
        When the file cannot be read, has no ``participant_id``, a cell is neither a value nor n/a, or two rows of a participant
        differ in age or sex: which of them holds is not ours to choose.
    """
    (_, header), *rows = read_lines(path, "a participants.tsv") or [(1, [])]
    columns = [name.strip().lower() for name in header]
    if rows and "participant_id" not in columns:
        raise InputError(f"{path} without the column participant_id", "a BIDS participants.tsv", "add that column")
    found: dict[str, Traits] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        cells = dict.fromkeys(columns, "") | dict(zip(columns, map(str.strip, row), strict=False))
        label = cells["participant_id"].removeprefix("sub-")
        traits = read_traits(path, line, cells)
        if found.setdefault(label, traits) != traits:
            raise InputError(
                f"another age or sex of sub-{label} in line {line} than in line {lines[label]} of {path}",
                "one row per participant",
                "keep the row that holds",
            )
        lines.setdefault(label, line)
    return found


def read_lines(path: Path, expected: str) -> list[tuple[int, list[str]]]:
    """The lines of a table that are not empty, each with its number and its cells.

    Commas separate in ``.csv``, where quotes may hold a cell together; tabs in everything else, where a quote is a letter like any other,
    as in BIDS: one that is never closed would eat the rows after it.

    Raises
    ------
    InputError
        When the file cannot be read, is no UTF-8 text, or a quote in a ``.csv`` is not closed in its line.
    """
    with_commas = path.suffix.lower() == ".csv"
    lines: list[tuple[int, list[str]]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True) if with_commas else csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            before = 0
            for row in reader:
                if reader.line_num > before + 1:
                    raise InputError(
                        f"a cell that goes on from line {before + 1} to line {reader.line_num} of {path}",
                        "each row in one line",
                        "close its quote, or take the line break out",
                    )
                before = reader.line_num
                lines += [(before, row)] if row else []
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} of {path}, which cannot be read ({error})", expected, "look at its quotes") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"a table {path} that cannot be read ({reason})", expected, "check the path and that it is UTF-8 text") from None
    return lines


def in_order(session: str) -> list[str | int]:
    """Key by which sessions are sorted: 2 before 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", session)]


def to_number(text: str) -> float:
    """The number that a cell holds, NaN where it holds none; ``1_2`` and digits of other scripts are none, though Python reads them."""
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def read_traits(path: Path, line: int, row: Mapping[str, str]) -> Traits:
    """Age and sex of one row by column, in any case.

    Raises
    ------
    InputError
        When a cell is neither a value nor n/a.
    """
    cells = {name.lower(): text for name, text in row.items()}
    return Traits(_age(path, line, cells.get("age", "")), _is_male(path, line, cells.get("sex", "")))


def _age(path: Path, line: int, text: str) -> float | None:
    if text.lower() in MISSING:
        return None
    age = to_number(text.rstrip("+"))  # 89+ stands for everyone older, for privacy
    if not AGES[0] <= age <= AGES[1]:
        raise InputError(f"age = {text!r} in line {line} of {path}", f"years from {AGES[0]:g} to {AGES[1]:g}, or n/a", "correct that cell")
    return age


def _is_male(path: Path, line: int, text: str) -> bool | None:
    if text.lower() in (*MISSING, "o", "other"):
        return None
    if text.lower() not in SEXES:
        raise InputError(f"sex = {text!r} in line {line} of {path}", "M, F, or n/a", "correct that cell")
    return SEXES[text.lower()]
