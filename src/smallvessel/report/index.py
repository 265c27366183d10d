"""The page of all sessions: a table to sort and filter, distributions, and a link to each report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..derivatives import files_there, session_files, write_text
from ..markers import MARKERS, Marker
from ..provenance import FAILURE
from ..records import SessionId
from ..scales import SCALES, Scale
from .html import render_page
from .sections import SUMMARY_SCORES, format_ml

GRADED = tuple(SUMMARY_SCORES)
"""The scores that have a column and a filter."""
BINS = 12
COMMON_PERCENTILE = 98
NONE = "n/a"
FAILED = re.compile(rf"^\[(.+?)\] {FAILURE} (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One session of the page; ``n/a`` where something was not assessed. ``concerns`` are what its quality checks complain of."""

    name: str
    report: str
    thumbnail: str
    status: str
    concerns: str
    wmh_ml: str
    counts: tuple[str, ...]
    grades: tuple[str, ...]
    z_total: str
    reviewer: str


@dataclass(frozen=True)
class Unfinished:
    """A session without results: the stage in which it failed and why, as its log says."""

    name: str
    stage: str
    message: str
    log: str


@dataclass(frozen=True)
class Bar:
    """One bar of a distribution: its label, number of sessions and height, 0 to 1."""

    label: str
    count: int
    height: float


@dataclass(frozen=True)
class Distribution:
    """How a number is distributed over the sessions."""

    title: str
    colour: str
    bars: tuple[Bar, ...]
    missing: int


def write_index(out: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write ``index.html``, atomically. Sessions that have a log and no record are listed as not measured.

    Parameters
    ----------
    out : Path
        The output folder, whose reports and thumbnails are linked where they are there.
    records : sequence of mapping
        The sessions' records, as read from their ``measures.json``.
    """
    rows = [_row(out, record) for record in records]
    content = {
        "rows": rows,
        "unfinished": _find_unfinished(out, {row.name for row in rows}),
        "count_names": [MARKERS[marker].short for marker in (Marker.LACUNE, Marker.EPVS, Marker.CMB)],
        "grade_names": [SUMMARY_SCORES[scale] for scale in GRADED],
        "grade_levels": [[str(value) for value in range(SCALES[scale].highest + 1)] for scale in GRADED],
        "distributions": _distributions(records),
        "has_z": any(row.z_total != NONE for row in rows),
        "has_reviews": any(row.reviewer for row in rows),
    }
    write_text(out / "index.html", render_page("index.html", ("tables.js", "index.js"), content))


def _row(out: Path, record: Mapping[str, Any]) -> Row:
    session = record["session_id"]
    id = SessionId(record["participant_id"].removeprefix("sub-"), session.removeprefix("ses-") if session else None)
    files, markers, scores = session_files(id), record["markers"], record["scores"]
    there, wmh = files_there(out, record), markers[Marker.WMH].get("volume_ml")
    z = record["z"].get("volume", {}).get("total", NONE)
    return Row(
        name=str(id),
        report=files.report.as_posix() if files.report in there else "",
        thumbnail=files.thumbnail.as_posix() if files.thumbnail in there else "",
        status=record["qc"]["status"],
        concerns=" ".join(check["message"] for check in record["qc"]["checks"] if check["status"] != "pass"),
        wmh_ml=NONE if wmh is None else format_ml(wmh),
        counts=tuple(str(markers[marker].get("count", NONE)) for marker in (Marker.LACUNE, Marker.EPVS, Marker.CMB)),
        grades=tuple(str(scores.get(scale, {}).get("value", NONE)) for scale in GRADED),
        z_total=f"{z:+.2f}" if isinstance(z, float) else NONE,
        reviewer=", ".join(dict.fromkeys(review["reviewer"] for review in record.get("reviews", ()))),
    )


def _find_unfinished(out: Path, finished: set[str]) -> list[Unfinished]:
    every = session_files(SessionId("*")).log.as_posix()
    paths = sorted(path for path in out.glob(every) if path.stem not in finished)
    return [_read_failure(path, path.relative_to(out).as_posix()) for path in paths]


def _read_failure(path: Path, link: str) -> Unfinished:
    """The last failure that a log tells; a log without one is of a session that was cut off, or is at work."""
    told = FAILED.findall(path.read_text(encoding="utf-8", errors="replace"))
    stage, message = told[-1] if told else ("", "ended without a word, for instance for want of memory, or is still at work")
    return Unfinished(path.stem, stage, message, link)


def _distributions(records: Sequence[Mapping[str, Any]]) -> list[Distribution]:
    shown = []
    for marker, info in MARKERS.items():
        key, unit = ("volume_ml", "mL") if marker is Marker.WMH else ("count", "number")
        values = [record["markers"][marker].get(key) for record in records]
        known = [float(value) for value in values if value is not None]
        bars = _histogram(known)
        shown.append(Distribution(f"{MARKERS[marker].short}, {unit}", info.colour, bars, len(values) - len(known)))
    burden = [record["scores"].get(Scale.SVD_TOTAL, {}).get("value") for record in records]
    numbers = [burden.count(value) for value in range(SCALES[Scale.SVD_TOTAL].highest + 1)]
    bars = tuple(Bar(str(value), n, n / max(*numbers, 1)) for value, n in enumerate(numbers))
    shown.append(Distribution("SVD burden", "", bars, burden.count(None)))
    return shown


def _histogram(values: list[float]) -> tuple[Bar, ...]:
    """Equal bins from 0, in whole numbers where the values are; the last holds the few values far beyond the others too."""
    whole = all(value == int(value) for value in values)
    top = float(np.percentile(values, COMMON_PERCENTILE)) if values else 0.0
    width = max(math.ceil(top / BINS), 1) if whole else _round_up(top / BINS)
    n_bins = math.floor((math.ceil(top) if whole else top) / width) + 1
    bins = np.minimum(np.floor(np.array(values, float) / width).astype(int), n_bins - 1)
    numbers = np.bincount(bins, minlength=n_bins)
    labels = [f"{i}" if width == 1 else f"{i * width:g} to {(i + 1) * width:g}" for i in range(n_bins)]
    if n_bins > 1:
        labels[-1] = f"{(n_bins - 1) * width:g} and more"
    return tuple(Bar(label, int(n), float(n) / max(int(numbers.max()), 1)) for label, n in zip(labels, numbers, strict=True))


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value)
