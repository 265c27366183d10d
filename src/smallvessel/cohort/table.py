"""Reads the tables of a cohort and checks them: whatever is wrong is named with its line and column, and nothing is dropped in silence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..markers import MARKERS
from ..participants import MISSING, UNKNOWN, Traits, in_order, read_traits
from ..records import NotAssessed, SessionId
from ..reference import PER_LITRE, TOTAL_OF, Reference, total_z, z_score
from ..tables import QC_LEVELS, Z_PREFIX
from .grades import GRADES, derive_grades
from .sheet import KEYS, Numbers, Sheet, read_numbers, read_sheet

ALL = "all"
"""Name of the whole cohort in the tables, beside those of its groups."""
FAILED_QC = "a quality check failed"
SOURCES = ("site", "scanner", "manufacturer", "manufacturers_model_name", "magnetic_field_strength")
"""Columns of a participants' table that tell where an image comes from, in any case."""
NOT_MEASURED = NotAssessed("n/a in the table")
RATED = tuple(f"{info.column}_{kind}" for info in MARKERS.values() for kind in ("volume_ml", "count"))
"""Columns of a visual table that hold volumes and counts and not grades."""


@dataclass(frozen=True)
class LeftOut:
    """A session that does not enter the analysis, and why; ``kind`` is the reason without the session's own details."""

    id: str
    reason: str
    kind: str = ""


@dataclass(frozen=True)
class Cohort:
    """The sessions that enter the analysis, one per participant, n in all.

    Attributes
    ----------
    measured : mapping of str to ndarray, shape (n,)
        Numeric columns of ``measures.tsv``, z scores included.
    grades : mapping of str to ndarray, shape (n,)
        Visual grades by name, see :data:`smallvessel.cohort.grades.GRADES`.
    visual : bool
        Whether the grades were rated; else smallvessel computed them from the same masks.
    rated : mapping of str to ndarray, shape (n,)
        Volumes and counts of the visual table.
    age, male : ndarray, shape (n,)
        Years; 1 for men and 0 for women.
    group_name : str
        Column by which the cohort is divided; empty when it is not.
    groups : tuple of str
        Each session's group; empty where it is not known.
    sources : mapping of str to tuple of str
        The columns of ``SOURCES`` that the participants' table has, each session's value; empty where it is not known.
    qc : tuple of str
    reference : Reference or None
        Reference cohort of the z scores; None when they are the table's own.
    z_reference : str
        Its name, or that which the table has; empty where it has none.
    z_markers : mapping of str to ndarray, shape (n,)
        Of how many markers each total z from volumes or counts is made; NaN where that is not known.
    versions : tuple of str
        Of smallvessel, that measured the sessions.
    networks : tuple of str
        That measured the sessions, each combination once; "n/a" where that is not known.
    left_out : tuple of LeftOut
    notes : tuple of str
        What a reader has to know about the tables: rows without a session, columns that were not used.
    """

    ids: tuple[SessionId, ...]
    measured: Mapping[str, Numbers]
    grades: Mapping[str, Numbers]
    visual: bool
    rated: Mapping[str, Numbers]
    age: Numbers
    male: Numbers
    group_name: str = ""
    groups: tuple[str, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    qc: tuple[str, ...] = ()
    reference: Reference | None = None
    z_reference: str = ""
    z_markers: Mapping[str, Numbers] = field(default_factory=dict)
    versions: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    def parts(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """The whole cohort and, when there are at least two groups, each by name with its members, shape (n,)."""
        names = sorted({group for group in self.groups if group})
        own = np.array(self.groups, dtype=object)
        return [(ALL, np.ones(len(self.ids), bool)), *((name, own == name) for name in names if len(names) > 1)]


def read_cohort(
    table: Path,
    visual: Path | None = None,
    groups: tuple[Path, str] | None = None,
    reference: Reference | None = None,
    failed: Iterable[LeftOut] = (),
    keep_failed_qc: bool = False,
    z_over_assessed: bool = False,
) -> Cohort:
    """Join ``measures.tsv`` with the raters' table and the participants' groups.

    Parameters
    ----------
    table : Path
        ``measures.tsv``.
    visual : Path, optional
        A row per session or participant: ``participant_id``, perhaps ``session_id``, and grades, volumes or counts.
    groups : (Path, str), optional
        A ``participants.tsv`` with age and sex, and the column by which to divide the cohort; the column may be empty.
    reference : Reference, optional
        Then the z scores are computed against it, whatever the table holds.
    failed : iterable of LeftOut
        Sessions that have no row, to be told with the others that were left out.
    keep_failed_qc : bool
        Whether sessions whose quality checks failed enter all the same.
    z_over_assessed : bool
        Whether the total z against the reference is made from the markers that were assessed.

    Raises
    ------
    InputError
        When a table cannot be read or a cell cannot be right, with its line and column.
    """
    sheet = read_sheet(table, "a measures.tsv as smallvessel run writes it")
    ids, left_out = _choose_sessions(sheet, keep_failed_qc)
    numeric = [
        name for name in sheet.columns if name.endswith(("_volume_ml", "_count", "icv_ml")) or name in GRADES or name.startswith("z_")
    ]
    missing = [f"{info.column}_volume_ml" for info in MARKERS.values() if f"{info.column}_volume_ml" not in sheet.columns]
    if len(missing) == len(MARKERS):
        raise InputError(
            f"{table} without any of the columns {', '.join(missing)}", "a measures.tsv as smallvessel run writes it", "give that file"
        )
    z_reference = reference.name if reference else _reference_of(sheet, ids)
    measured = {
        name: read_numbers(
            sheet,
            name,
            ids,
            -math.inf if name.startswith("z_") else 0.0,
            GRADES[name].highest if name in GRADES else math.inf,
            name in GRADES or name.endswith("_count"),
        )
        for name in numeric
    }
    traits, group_of, sources, notes = _read_groups(groups, ids)
    rated, grades, of_visual = _read_visual(visual, ids)
    z_markers = {kind: _count_markers(sheet, f"markers_in_{prefix}total", ids) for kind, prefix in Z_PREFIX.items()}
    if reference is not None:
        scores = _z_scores(measured, reference, traits, z_over_assessed)
        measured |= scores
        z_markers = {
            kind: np.sum([~np.isnan(scores[f"{Z_PREFIX[kind]}{MARKERS[marker].column}"]) for marker in of], axis=0, dtype=float)
            for kind, of in TOTAL_OF.items()
        }
    own_grades = {name: measured[name] for name in GRADES if name in measured}
    own_counts = {name: measured[name] for name in RATED if name in measured}
    return Cohort(
        ids=ids,
        measured={name: values for name, values in measured.items() if name not in GRADES},
        grades=derive_grades(grades, rated) if visual else derive_grades(own_grades, own_counts),
        visual=visual is not None,
        rated=rated,
        age=np.array([math.nan if one.age is None else one.age for one in traits], float),
        male=np.array([math.nan if one.male is None else float(one.male) for one in traits], float),
        group_name=groups[1] if groups else "",
        groups=group_of,
        sources=sources,
        qc=tuple(sheet.rows[id].get("qc_status", "n/a") for id in ids),
        reference=reference,
        z_reference=z_reference,
        z_markers=z_markers,
        versions=tuple(sorted({sheet.rows[id].get("software_version", "n/a") for id in ids})),
        networks=tuple(sorted({sheet.rows[id].get("networks", "n/a") for id in ids})),
        left_out=(*left_out, *failed),
        notes=(*notes, *of_visual),
    )


def _reference_of(sheet: Sheet, ids: Iterable[SessionId]) -> str:
    """The reference cohort of the table's own z scores; empty where the table does not say."""
    lines: dict[str, int] = {}
    for id in ids:
        if (name := sheet.rows[id].get("reference_cohort", "")).lower() not in MISSING:
            lines.setdefault(name, sheet.lines[id])
    if len(lines) > 1:
        found = " and ".join(f"{name} (line {line})" for name, line in lines.items())
        raise InputError(
            f"Z scores against {len(lines)} reference cohorts in {sheet.path}: {found}",
            "one, or they cannot be compared",
            "compute all anew against one with --reference",
        )
    return next(iter(lines), "")


def _count_markers(sheet: Sheet, column: str, ids: tuple[SessionId, ...]) -> Numbers:
    """How many markers a cell such as WMH+lacune names."""
    cells = [sheet.rows[id].get(column, "") for id in ids]
    return np.array([math.nan if cell.lower() in MISSING else float(cell.count("+") + 1) for cell in cells], float)


def _choose_sessions(sheet: Sheet, keep_failed_qc: bool) -> tuple[tuple[SessionId, ...], list[LeftOut]]:
    """One session per participant, the first one that may enter: the tests take rows for independent."""
    chosen: dict[str, SessionId] = {}
    left_out = []
    for id in sorted(sheet.rows, key=lambda id: (id.subject, in_order(id.session or ""))):
        status = sheet.rows[id].get("qc_status", "n/a")
        if status not in (*QC_LEVELS, "n/a"):
            raise InputError(
                f"qc_status = {status!r} in line {sheet.lines[id]} of {sheet.path}", f"one of {', '.join(QC_LEVELS)}", "correct that cell"
            )
        if status == "fail" and not keep_failed_qc:
            left_out.append(LeftOut(str(id), FAILED_QC, FAILED_QC))
        elif id.subject in chosen:
            reason = f"{chosen[id.subject]} of the same participant is in already"
            left_out.append(LeftOut(str(id), reason, "another session of the participant is in"))
        else:
            chosen[id.subject] = id
    if not chosen:
        raise InputError(
            f"{len(sheet.rows)} sessions in {sheet.path}, all of which failed a quality check",
            "at least one that did not",
            "look at their reports, then add --keep-failed-qc",
        )
    return tuple(chosen.values()), left_out


def _read_groups(
    groups: tuple[Path, str] | None, ids: tuple[SessionId, ...]
) -> tuple[list[Traits], tuple[str, ...], dict[str, tuple[str, ...]], list[str]]:
    if groups is None:
        return [UNKNOWN] * len(ids), ("",) * len(ids), {}, []
    path, column = groups
    sheet = read_sheet(path, "a BIDS participants.tsv")
    if column and column not in sheet.columns:
        raise InputError(f"{path} without the column {column}", f"one of {', '.join(sheet.columns)}", "name one of these after the colon")
    rows = [_row_of(sheet, id) for id in ids]

    def cells(name: str) -> tuple[str, ...]:
        found = [sheet.rows[row][name] if row else "" for row in rows]
        return tuple("" if cell.lower() in MISSING else cell for cell in found)

    if column and ALL in cells(column):
        raise InputError(f"a {column} named {ALL} in {path}", "another name: that of the whole cohort is taken", "rename that group")
    absent = [str(id) for id, row in zip(ids, rows, strict=True) if row is None]
    return (
        [read_traits(path, sheet.lines[row], sheet.rows[row]) if row else UNKNOWN for row in rows],
        cells(column) if column else ("",) * len(ids),
        {name: cells(name) for name in sheet.columns if name.lower() in SOURCES},
        [_named(f"not in {path.name}, so that age, sex and group are not known", absent)] if absent else [],
    )


def _row_of(sheet: Sheet, id: SessionId) -> SessionId | None:
    """Whose row tells of a session: its own, that of its participant without a session, or the only one that its participant has."""
    for key in (id, SessionId(id.subject)):
        if key in sheet.rows:
            return key
    of_subject = sheet.of_subject.get(id.subject, ())
    return of_subject[0] if len(of_subject) == 1 else None


def _read_visual(path: Path | None, ids: tuple[SessionId, ...]) -> tuple[dict[str, Numbers], dict[str, Numbers], list[str]]:
    """Rated volumes and counts, grades, and what is to be said about the table."""
    if path is None:
        return {}, {}, []
    sheet = read_sheet(path, "a table of visual grades")
    rows = [next((key for key in (id, SessionId(id.subject)) if key in sheet.rows), None) for id in ids]
    rated = {name: read_numbers(sheet, name, rows, 0.0, whole=name.endswith("_count")) for name in RATED if name in sheet.columns}
    grades = {name: read_numbers(sheet, name, rows, 0.0, info.highest, True) for name, info in GRADES.items() if name in sheet.columns}
    if not rated and not grades:
        raise InputError(
            f"{path} without a column that is known ({', '.join(sheet.columns)})",
            f"one or more of {', '.join((*GRADES, *RATED))}",
            "rename its columns",
        )
    unused = [name for name in sheet.columns if name not in (*KEYS, *RATED, *GRADES)]
    notes = [f"Columns of {path.name} that were not used: {', '.join(unused)}."] if unused else []
    without = [str(id) for id in sheet.rows if id not in rows]
    unrated = [str(id) for id, row in zip(ids, rows, strict=True) if row is None]
    notes += [_named(f"rated in {path.name}, but not among the sessions that enter", without)] if without else []
    return rated, grades, notes + ([_named(f"not in {path.name}", unrated)] if unrated else [])


N_NAMED = 20


def _named(what: str, ids: list[str]) -> str:
    more = f" and {len(ids) - N_NAMED} more" if len(ids) > N_NAMED else ""
    return f"{len(ids)} {what}: {', '.join(ids[:N_NAMED])}{more}."


def _z_scores(measured: Mapping[str, Numbers], reference: Reference, traits: list[Traits], over_assessed: bool) -> dict[str, Numbers]:
    absent = np.full(len(traits), math.nan)
    icv_ml = measured.get("icv_ml", absent)
    scores: dict[str, Numbers] = {}
    for kind, suffix, norms in (("volume", "volume_ml", reference.volume), ("count", "count", reference.count)):
        per_marker = {marker: measured.get(f"{info.column}_{suffix}", absent) for marker, info in MARKERS.items()}
        if kind == "volume":
            per_marker = {
                marker: PER_LITRE * volumes_ml / np.where(icv_ml > 0, icv_ml, math.nan) for marker, volumes_ml in per_marker.items()
            }
        rows = [
            {
                marker: NOT_MEASURED if math.isnan(values[at]) else z_score(marker, float(values[at]), norms, reference, one)
                for marker, values in per_marker.items()
            }
            for at, one in enumerate(traits)
        ]
        scores |= {f"{Z_PREFIX[kind]}{info.column}": _as_numbers(row[marker] for row in rows) for marker, info in MARKERS.items()}
        totals = (total_z({str(m): z for m, z in row.items()}, kind, reference.total, over_assessed) for row in rows)
        scores[f"{Z_PREFIX[kind]}total"] = _as_numbers(totals)
    return scores


def _as_numbers(found: Iterable[float | NotAssessed]) -> Numbers:
    return np.array([math.nan if isinstance(value, NotAssessed) else value for value in found], float)
