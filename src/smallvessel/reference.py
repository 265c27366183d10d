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
from .models import describe_networks, parse_networks
from .participants import UNKNOWN, Traits, in_order, read_participants
from .records import NotAssessed

FORMAT = 1
TRANSFORMS: dict[str, Callable[[float], float]] = {"log1p": math.log1p, "identity": float}
"""Volumes and counts are skewed, hence log1p by default."""
TOTALS = ("mean", "sum")
PER_LITRE = 1000.0
"""Volumes are in mL per litre of intracranial volume, which is given in mL."""
LEAST_SESSIONS = 10
"""With fewer, a mean and a spread say little. Own choice."""
TOTAL_OF = {"volume": tuple(Marker), "count": (Marker.LACUNE, Marker.EPVS, Marker.CMB)}
"""Markers of which the totals are made. The number of WMH falls when they run together, so it is no part of a burden. Own choice."""
LEAST_SD = 1e-9
"""Less is rounding: the residuals of a marker that is the same in the whole cohort."""


@dataclass(frozen=True)
class Norm:
    """Mean and standard deviation (n - 1) of a transformed burden, and of how many sessions."""

    mean: float
    sd: float
    n: int
    age_slope: float = 0.0
    """Per year, in an adjusted reference; the spread is then what age and sex leave over."""
    male_shift: float = 0.0
    """Of men against women."""


@dataclass(frozen=True)
class Adjustment:
    """Where an adjusted reference has its centre, mean age in years and share of men, and its youngest and oldest."""

    mean_age: float
    male_share: float
    youngest: float | None = None
    oldest: float | None = None

    def reason_against(self, age: float, male: bool) -> str:
        """Why nothing can be expected of a person by this cohort; empty where it can."""
        if self.youngest is not None and self.oldest is not None and not self.youngest <= age <= self.oldest:
            return f"is of ages {self.youngest:g} to {self.oldest:g}, which {age:g} is not within"
        if self.male_share == (0.0 if male else 1.0):
            return f"is adjusted for sex and has no {'men' if male else 'women'}"
        return ""


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
        Network to its version and SHA-256, with which the cohort was measured; empty where they are several, or not known.
    software_version : str
        Of those that measured the cohort.
    adjustment : Adjustment, optional
        Burden is compared with what is expected at the participant's age and sex.
    """

    name: str
    transform: str
    total: str
    volume: Mapping[Marker, Norm]
    count: Mapping[Marker, Norm]
    models: Mapping[str, str] = field(default_factory=dict)
    software_version: str = ""
    adjustment: Adjustment | None = None

    def expected(self, norm: Norm, traits: Traits) -> float | NotAssessed:
        """Mean of the cohort, at the participant's age and sex if it is adjusted for them.

        Those have to be known, and within what the cohort has.
        """
        if self.adjustment is None:
            return norm.mean
        if traits.age is None or traits.male is None:
            return NotAssessed(f"the reference {self.name} is adjusted for age and sex, which participants.tsv does not give")
        centre = self.adjustment
        if against := centre.reason_against(traits.age, traits.male):
            return NotAssessed(f"the reference {self.name} {against}")
        return norm.mean + norm.age_slope * (traits.age - centre.mean_age) + norm.male_shift * (traits.male - centre.male_share)

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
        plain["name"],
        plain["transform"],
        plain["total"],
        volume,
        count,
        dict(plain["models"]),
        plain["software_version"],
        Adjustment(**plain["adjustment"]) if plain.get("adjustment") else None,
    )
    if plain["format"] != FORMAT or reference.transform not in TRANSFORMS or reference.total not in TOTALS:
        raise ValueError("another format")
    return reference


def require_same_models(reference: Reference, models: Mapping[str, str], allow_mismatch: bool, whose: str = "this version") -> None:
    """Refuse a reference that other weights measured: their volumes are not comparable.

    Parameters
    ----------
    reference : Reference
    models : mapping of str to str
        The networks of what is to be compared with it.
    allow_mismatch : bool
    whose : str
        What these networks measured, for the message.

    Raises
    ------
    InputError
        Unless ``allow_mismatch``.
    """
    other = [name for name, version in models.items() if reference.models.get(name) != version]
    if other and not allow_mismatch:
        raise InputError(
            f"the reference {reference.name}, measured with another network ({', '.join(other)})",
            f"that of {whose}, " + "; ".join(f"{name} {models[name][:40]}" for name in other),
            "measure both with the same version and fit the reference again, or add --allow-model-mismatch",
        )


def z_score(marker: Marker, value: float, norms: Mapping[Marker, Norm], reference: Reference, traits: Traits) -> float | NotAssessed:
    """How many standard deviations a marker's relative volume or count lies above what the reference expects.

    Parameters
    ----------
    marker : Marker
    value : float
        mL per litre of intracranial volume, or a count.
    norms : mapping of Marker to Norm
        The reference's, for volumes or for counts.
    reference : Reference
    traits : Traits
        Age and sex, for a reference that is adjusted for them.
    """
    norm = norms.get(marker)
    if norm is None:
        return NotAssessed(f"the reference {reference.name} has too few sessions with {MARKERS[marker].name}")
    if norm.sd < LEAST_SD:
        return NotAssessed(f"{MARKERS[marker].name} do not vary in the reference {reference.name}")
    expected = reference.expected(norm, traits)
    if isinstance(expected, NotAssessed):
        return expected
    return (reference.transformed(value) - expected) / norm.sd


def total_z(zs: Mapping[str, float | NotAssessed], kind: str, total: str, over_assessed: bool = False) -> float | NotAssessed:
    """Mean or sum (``total``) of the z of the kind's markers (``TOTAL_OF``).

    Not assessed when one is missing, unless over the assessed ones is asked for. The sum over those is their mean times the number of all
    of the kind's markers, so that it can stand beside sums over all.
    """
    zs = {marker: zs[marker] for marker in TOTAL_OF[kind]}
    known = [z for z in zs.values() if not isinstance(z, NotAssessed)]
    missing = [str(marker) for marker, z in zs.items() if isinstance(z, NotAssessed)]
    if not known or (missing and not over_assessed):
        return NotAssessed(f"no z of {', '.join(missing)}")
    return sum(known) / len(known) * (1 if total == "mean" else len(zs))


def fit_reference(
    table: Path,
    name: str,
    transform: str = "log1p",
    total: str = "mean",
    participants: Path | None = None,
    allow_mismatch: bool = False,
) -> Reference:
    """Make a reference from a ``measures.tsv``.

    Parameters
    ----------
    table : Path
        One row per session of the cohort. Sessions whose quality failed are left out, and of a participant with several all but the first,
        for the spread is that between people.
    name : str
    transform, total
        See :class:`Reference`.
    participants : Path, optional
        A ``participants.tsv`` with age and sex: the reference is then adjusted for both by linear regression, on the sessions of
        which both are known.
    allow_mismatch : bool
        Take rows that several networks measured, or of which that is not known. The reference then names none, and is itself taken
        only where a mismatch is allowed.

    Raises
    ------
    InputError
        When a table lacks a column, a value is none, no marker has ``LEAST_SESSIONS`` sessions, or the rows were not all measured with the
        same known networks.
    """
    rows = [row for row in _read_rows(table) if row[1].get("qc_status") != "fail"]
    traits: dict[int, Traits] = {}
    if participants is not None:
        known = read_participants(participants)
        of_row = {line: known.get(str(row.get("participant_id")).removeprefix("sub-"), UNKNOWN) for line, row in rows}
        traits = {line: one for line, one in of_row.items() if one.age is not None and one.male is not None}
        rows = [(line, row) for line, row in rows if line in traits]
    rows = _first_of_each(rows)
    traits = {line: traits[line] for line, _ in rows if line in traits}
    adjustment = _centre(list(traits.values())) if len(rows) >= LEAST_SESSIONS and traits else None
    volume: dict[Marker, Norm] = {}
    count: dict[Marker, Norm] = {}
    transformed = TRANSFORMS[transform]
    for marker, info in MARKERS.items():
        relative: dict[int, float] = {}
        counts: dict[int, float] = {}
        for line, row in rows:
            names = (f"{info.column}_volume_ml", f"{info.column}_count", "icv_ml")
            volume_ml, number, icv_ml = (_number(table, line, row, name) for name in names)
            if volume_ml is not None and icv_ml:
                relative[line] = PER_LITRE * volume_ml / icv_ml
            if number is not None:
                counts[line] = number
        for norms, values in ((volume, relative), (count, counts)):
            if len(values) >= LEAST_SESSIONS:
                numbers = [transformed(value) for value in values.values()]
                of_values = [traits.get(line, UNKNOWN) for line in values]
                norms[marker] = _norm(numbers) if adjustment is None else _adjusted_norm(numbers, of_values, adjustment)
    if not count:
        which = " with age and sex" if participants is not None else ""
        raise InputError(
            f"{len(rows)} usable sessions{which} in {table}",
            f"at least {LEAST_SESSIONS} with an assessed marker",
            "measure a larger cohort",
        )
    versions = " and ".join(sorted({str(row["software_version"]) for _, row in rows if row.get("software_version")}))
    return Reference(name, transform, total, volume, count, _common_networks(table, rows, allow_mismatch), versions, adjustment)


def _first_of_each(rows: Sequence[tuple[int, Mapping[str, str]]]) -> list[tuple[int, Mapping[str, str]]]:
    """The first session of every participant; rows that name none stand for themselves."""
    first: dict[str, tuple[int, Mapping[str, str]]] = {}
    for line, row in sorted(rows, key=lambda one: in_order(one[1].get("session_id") or "")):
        name = row.get("participant_id")
        first.setdefault(f"line {line}" if name in ("n/a", "", None) else str(name), (line, row))
    return sorted(first.values(), key=lambda one: one[0])


def _common_networks(table: Path, rows: Sequence[tuple[int, Mapping[str, str]]], allow_mismatch: bool) -> dict[str, str]:
    """The networks that measured all rows; none where those are several, or not known, and that is allowed."""
    lines: dict[str, list[int]] = {}
    for line, row in rows:
        lines.setdefault(describe_networks(parse_networks(row.get("networks") or "")), []).append(line)
    if len(lines) == 1 and "" not in lines:
        return parse_networks(next(iter(lines)))
    if allow_mismatch:
        return {}
    if list(lines) == [""]:
        raise InputError(
            f"{table} that does not say which networks measured it",
            "the column networks",
            "smallvessel run on the same folders writes it; or add --allow-model-mismatch",
        )
    told = ". ".join(f"{len(at)} rows, the first in line {at[0]}: {networks or 'not known'}" for networks, at in lines.items())
    raise InputError(
        f"rows of {table} that different networks measured. {told}",
        "all by the same networks",
        "measure all sessions with smallvessel run of one version (--force), leave the other rows out, or add --allow-model-mismatch",
    )


def _centre(traits: Sequence[Traits]) -> Adjustment:
    ages = [one.age or 0.0 for one in traits]
    return Adjustment(statistics.fmean(ages), statistics.fmean(bool(one.male) for one in traits), min(ages), max(ages))


def _norm(values: Sequence[float]) -> Norm:
    return Norm(statistics.fmean(values), statistics.stdev(values), len(values))


def _adjusted_norm(values: Sequence[float], traits: Sequence[Traits], centre: Adjustment) -> Norm:
    """By least squares on age and sex; one sex alone, or one age, is left out of the regression."""
    import numpy as np

    age = np.array([one.age for one in traits], float) - centre.mean_age
    male = np.array([one.male for one in traits], float) - centre.male_share
    design = np.stack([np.ones(len(values)), age, male], axis=1)
    varies = np.array([True, bool(np.ptp(age) > 0), bool(np.ptp(male) > 0)])
    fitted = np.zeros(3)
    fitted[varies] = np.linalg.lstsq(design[:, varies], np.array(values), rcond=None)[0]
    left = np.array(values) - design @ fitted
    sd = float(np.sqrt((left**2).sum() / max(len(values) - int(varies.sum()), 1)))
    return Norm(float(fitted[0]), sd, len(values), float(fitted[1]), float(fitted[2]))


def _read_rows(table: Path) -> list[tuple[int, Mapping[str, str]]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return list(enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=2))
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
