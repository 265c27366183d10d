"""Age and sex from a BIDS ``participants.tsv``, for reference cohorts that are adjusted for them."""

from __future__ import annotations

import csv
import math
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
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}, which cannot be read ({type(error).__name__})", "a participants.tsv", "check the path") from None
    found: dict[str, Traits] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        cells = {
            str(name).strip().lower(): (value or "").strip()
            for name, value in row.items()
            if name is not None and not isinstance(value, list)
        }
        if "participant_id" not in cells:
            raise InputError(f"{path} without the column participant_id", "a BIDS participants.tsv", "add that column")
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
    try:
        age = float(text.rstrip("+"))  # 89+ stands for everyone older, for privacy
    except ValueError:
        age = math.nan
    if not AGES[0] <= age <= AGES[1]:
        raise InputError(f"age = {text!r} in line {line} of {path}", f"years from {AGES[0]:g} to {AGES[1]:g}, or n/a", "correct that cell")
    return age


def _is_male(path: Path, line: int, text: str) -> bool | None:
    if text.lower() in (*MISSING, "o", "other"):
        return None
    if text.lower() not in SEXES:
        raise InputError(f"sex = {text!r} in line {line} of {path}", "M, F, or n/a", "correct that cell")
    return SEXES[text.lower()]
