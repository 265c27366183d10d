#!/usr/bin/env python3
"""Scores, counts and Z from predicted masks against the same from true masks, on simulated sessions that were measured.

    python benchmarks/agreement.py --sessions FOLDER RESULTS [--sessions ...] [--only int] [--note "heads 14 to 16"] [--limit 3]

FOLDER has simulated sessions with their truth, RESULTS what ``smallvessel run`` or ``accuracy.py`` made of them; only the masks are
measured again, which takes seconds per session. Both sides go through the same code and the same anatomy; only the masks differ. Z scores
are against a reference that is fitted to the true masks' own volumes and counts.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from machine import RESULTS, describe_machine, machine_markdown, markdown_table, write_result
from smallvessel.config import MeasureSettings
from smallvessel.derivatives import read_record, session_files, write_text
from smallvessel.errors import InputError
from smallvessel.evaluate import Estimate, bootstrap, bootstrap_mean, icc_agreement, pearson, weighted_kappa
from smallvessel.markers import MARKERS, Marker
from smallvessel.measure import measure_session
from smallvessel.measure.burden import score_burden
from smallvessel.models import describe_networks
from smallvessel.records import (
    MarkerMap,
    MarkerMeasures,
    Measurements,
    NotAssessed,
    Prepared,
    Score,
    Segmentation,
    SessionId,
    SessionResult,
)
from smallvessel.reference import LEAST_SESSIONS, Reference, fit_reference
from smallvessel.restore import list_sessions, read_session
from smallvessel.scales import SCALES, Scale
from smallvessel.shapes import label_components
from smallvessel.simulate.truth import find_truth
from smallvessel.tables import NOT_AVAILABLE, tsv
from smallvessel.volume import LabelMap, read_mask, resample

Values = dict[str, float | None]

FAZEKAS, SPACES, COUNTS, BURDEN, Z = 0.75, 0.70, 0.85, 0.75, 0.95
ASKED: dict[str, float] = {
    SCALES[Scale.FAZEKAS_PERIVENTRICULAR].name: FAZEKAS,
    SCALES[Scale.FAZEKAS_DEEP].name: FAZEKAS,
    SCALES[Scale.EPVS_BASAL_GANGLIA].name: SPACES,
    SCALES[Scale.EPVS_CENTRUM_SEMIOVALE].name: SPACES,
    f"{MARKERS[Marker.CMB].name}, number": COUNTS,
    f"{MARKERS[Marker.LACUNE].name}, number": COUNTS,
    SCALES[Scale.SVD_TOTAL].name: BURDEN,
    "Z of all markers, by volume": Z,
}
"""The least that is asked for, by row."""


@dataclass(frozen=True)
class Both:
    """One session from its true masks and from its predicted ones."""

    id: SessionId
    networks: str
    true: Measurements
    predicted: Measurements


@dataclass(frozen=True)
class Row:
    """How well one number from predicted masks agrees with the same from true masks.

    ``error`` is the mean of predicted minus true; ``equal`` the share of sessions in which both are the same.
    """

    name: str
    statistic: str
    found: Estimate | NotAssessed
    error: Estimate | NotAssessed
    equal: float | None
    n: int

    @property
    def met(self) -> str:
        if self.name not in ASKED:
            return ""
        if isinstance(self.found, NotAssessed):
            return "not known"
        return "yes" if self.found.value >= ASKED[self.name] else "no"


def measure_folder(folder: Path, out: Path, only: str = "", limit: int | None = None) -> list[Both]:
    """The finished sessions of a folder, of subjects whose label begins with ``only``, measured from both kinds of masks."""
    sessions = []
    for id in [id for id in list_sessions(out) if id.subject.startswith(only)][:limit]:
        made_by = read_record(out / session_files(id).measures)["provenance"]["models"]
        result = read_session(out, id)
        predicted = measure_session(result.prepared, result.segmentation, MeasureSettings())
        true = measure_session(result.prepared, true_segmentation(result, folder), MeasureSettings())
        sessions.append(Both(id, describe_networks(made_by), true, predicted))
    return sessions


def true_segmentation(result: SessionResult, folder: Path) -> Segmentation:
    """The true masks in the place of the predicted ones."""
    return Segmentation(
        {
            marker: true_map(found, result.prepared, find_truth(folder, result.id.subject, marker, result.prepared.images))
            if isinstance(found, MarkerMap)
            else found
            for marker, found in result.segmentation.markers.items()
        }
    )


def measure_truth(result: SessionResult, folder: Path) -> Values:
    """Scores, counts and volumes of a session from its true masks alone."""
    return values_of(measure_session(result.prepared, true_segmentation(result, folder), MeasureSettings()))


def true_map(found: MarkerMap, prepared: Prepared, path: Path) -> MarkerMap:
    """A true mask in the place of a predicted one, on the same analysis grid."""
    truth = resample(read_mask(path), prepared.grid)
    labels, count = label_components(truth.data)
    return replace(found, labels=LabelMap(labels, prepared.grid), confidence=(1.0,) * count)


def values_of(measured: Measurements) -> Values:
    """Every score, every count, every volume and their intervals."""
    values: Values = {str(scale): score.value if isinstance(score, Score) else None for scale, score in measured.scores.items()}
    for marker, found in measured.markers.items():
        if isinstance(found, NotAssessed):
            values |= {f"{marker} count": None, f"{marker} volume": None}
            continue
        values |= {f"{marker} count": float(found.count), f"{marker} volume": found.volume_ml}
        for name, ends in (("count", found.count_range), ("volume", found.volume_range_ml)):
            if ends is not None:
                values |= {f"{marker} {name} low": float(ends[0]), f"{marker} {name} high": float(ends[1])}
    return values


def compare(sessions: Sequence[Both]) -> list[Row]:
    """A row per score, count and Z."""
    true, predicted = [values_of(one.true) for one in sessions], [values_of(one.predicted) for one in sessions]
    rows = []
    for scale, info in SCALES.items():
        pairs = _pairs([values[scale] for values in true], [values[scale] for values in predicted])
        rows.append(_row(info.name, "weighted κ", lambda a, b: bootstrap(weighted_kappa, a, b), pairs))
    for marker, about in MARKERS.items():
        pairs = _pairs([values[f"{marker} count"] for values in true], [values[f"{marker} count"] for values in predicted])
        rows.append(_row(f"{about.name}, number", "ICC(2,1)", lambda a, b: icc_agreement(np.stack([a, b], axis=1)), pairs))
    return rows + compare_z(sessions)


def compare_z(sessions: Sequence[Both]) -> list[Row]:
    """The Z scores of each marker and of all, by volume and by count, as the package computes them."""
    parts = {**{str(marker): marker.value for marker in Marker}, "total": "all markers"}
    try:
        reference = reference_of([one.true for one in sessions])
    except InputError:
        reason = NotAssessed(f"fewer than {LEAST_SESSIONS} sessions with any marker assessed make no reference for Z scores")
        return [
            Row(f"Z of {name}, by {kind}", "Pearson r", reason, reason, None, 0) for kind in ("volume", "count") for name in parts.values()
        ]
    burdens = [tuple(score_burden(one.markers, one.icv_ml, reference) for one in (both.true, both.predicted)) for both in sessions]
    rows = []
    for kind in ("volume", "count"):
        for part, name in parts.items():
            true, predicted = ([getattr(pair[side], kind)[part] for pair in burdens] for side in (0, 1))
            rows.append(_row(f"Z of {name}, by {kind}", "Pearson r", pearson, _pairs(true, predicted), graded=False))
    return rows


def reference_of(measured: Iterable[Measurements]) -> Reference:
    """A reference cohort of these sessions, fitted to a table as ``smallvessel reference fit`` is.

    Raises
    ------
    InputError
        When they are too few.
    """

    def text(value: float | NotAssessed) -> str:
        return NOT_AVAILABLE if isinstance(value, NotAssessed) else f"{value:.10g}"

    columns = ("icv_ml", *(f"{info.column}_{kind}" for info in MARKERS.values() for kind in ("volume_ml", "count")))
    rows = []
    for one in measured:
        cells = [text(one.icv_ml)]
        for found in (one.markers[marker] for marker in MARKERS):
            cells += [text(found.volume_ml), text(found.count)] if isinstance(found, MarkerMeasures) else [NOT_AVAILABLE] * 2
        rows.append(tuple(cells))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "measures.tsv"
        write_text(table, tsv(columns, rows))
        return fit_reference(table, "true masks", allow_mismatch=True)


def _pairs(true: Sequence[object], predicted: Sequence[object]) -> NDArray[np.float64]:
    """Sessions in which both are known, shape (n, 2)."""
    both = [pair for pair in zip(true, predicted, strict=True) if all(isinstance(value, (int, float)) for value in pair)]
    return np.array(both, float).reshape(-1, 2)


def _row(name: str, statistic: str, compute: Callable[..., Estimate | NotAssessed], pairs: NDArray[np.float64], graded: bool = True) -> Row:
    true, predicted = pairs.T
    equal = float(np.mean(true == predicted)) if graded and len(pairs) else None
    return Row(name, statistic, compute(true, predicted), bootstrap_mean(predicted - true), equal, len(pairs))


def distribute(sessions: Sequence[Both]) -> list[tuple[str, str, str]]:
    """How often each grade occurs by the true and by the predicted masks: kappa says little where hardly any grade but one does."""

    def text(grades: list[int]) -> str:
        return ", ".join(f"{grade}: {n}" for grade, n in sorted(Counter(grades).items())) or NOT_AVAILABLE

    rows = []
    for scale, info in SCALES.items():
        sides = ([score.value for m in of if isinstance(score := m.scores[scale], Score)] for of in _sides(sessions))
        true, predicted = map(text, sides)
        rows.append((info.name, true, predicted))
    return rows


def _sides(sessions: Sequence[Both]) -> tuple[list[Measurements], list[Measurements]]:
    return [one.true for one in sessions], [one.predicted for one in sessions]


def cover(sessions: Sequence[Both]) -> list[tuple[str, str, str]]:
    """A row per interval: how many of the true values lie in the 95 % interval of the measured one."""
    true, predicted = ([values_of(one) for one in side] for side in _sides(sessions))
    rows = []
    for marker, info in MARKERS.items():
        for name in ("count", "volume"):
            key = f"{marker} {name}"
            found = [(p.get(f"{key} low"), t[key], p.get(f"{key} high")) for t, p in zip(true, predicted, strict=True)]
            known = [(low, value, high) for low, value, high in found if low is not None and value is not None and high is not None]
            if known:
                inside = sum(low <= value <= high for low, value, high in known)
                rows.append((f"{info.name}, {name}", f"{inside} of {len(known)}", f"{inside / len(known):.0%}"))
    return rows


def _text(found: Estimate | NotAssessed) -> str:
    if isinstance(found, NotAssessed) or math.isnan(found.value):
        return NOT_AVAILABLE
    return f"{found.value:.2f}" + ("" if math.isnan(found.low) else f" ({found.low:.2f} to {found.high:.2f})")


def _plain(found: Estimate | NotAssessed) -> dict[str, float | str | None]:
    if isinstance(found, NotAssessed):
        return {"not_assessed": found.reason}
    return {name: None if math.isnan(value) else round(value, 4) for name, value in vars(found).items() if name in ("value", "low", "high")}


def to_markdown(sessions: Sequence[Both], rows: Sequence[Row], note: str) -> str:
    """The tables; the first line says that the sessions are simulated."""
    header = ("measure", "statistic", "predicted against true masks", "asked for", "met", "predicted − true, mean", "equal", "sessions")
    lines = [
        (
            row.name,
            row.statistic,
            _text(row.found),
            f"{ASKED[row.name]:.2f}" if row.name in ASKED else "",
            row.met,
            _text(row.error),
            "" if row.equal is None else f"{row.equal:.0%}",
            str(row.n),
        )
        for row in rows
    ]
    unknown = sorted({row.found.reason for row in rows if isinstance(row.found, NotAssessed)})
    networks = sorted({one.networks for one in sessions})
    return (
        "**SIMULATED** sessions: images and lesions are made by the simulator, nothing here is a real patient.\n\n"
        "# Scores from predicted masks against scores from true masks\n\n"
        + (f"{note}\n\n" if note else "")
        + markdown_table(header, lines)
        + "\nIn brackets: 95 % intervals (κ, with quadratic weights, and mean differences: bootstrap over sessions; ICC: McGraw and Wong; "
        "r: Fisher). Both sides use the same anatomy, the measured one, so that its errors do not show. True lesions that touch on the "
        "1 mm grid count as one.\n"
        + "".join(f"\nNot known: {reason}\n" for reason in unknown)
        + "\n## How often each grade occurs\n\n"
        + markdown_table(("score", "by true masks", "by predicted masks"), distribute(sessions))
        + "\n## True values within the 95 % intervals\n\n"
        + markdown_table(("measure", "inside", "share"), cover(sessions))
        + f"\nThe sessions were measured with the networks {' and with '.join(networks)}.\n"
    )


def main() -> None:
    """Measure what is finished from both kinds of masks, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=Path, nargs=2, action="append", required=True, metavar=("FOLDER", "RESULTS"))
    parser.add_argument("--only", default="", help="subjects whose label begins so, for instance a site of the replayed study")
    parser.add_argument("--name", default="agreement", help="of the result's files")
    parser.add_argument("--note", default="", help="about the sessions, for the table")
    parser.add_argument("--limit", type=int, help="so many sessions of each folder at most")
    parser.add_argument("--target", type=Path, default=RESULTS, help="folder of the tables")
    arguments = parser.parse_args()
    sessions = [both for folder, out in arguments.sessions for both in measure_folder(folder, out, arguments.only, arguments.limit)]
    if not sessions:
        parser.error("no finished session in the results")
    rows, machine = compare(sessions), describe_machine()
    markdown = f"{to_markdown(sessions, rows, arguments.note)}\n{machine_markdown(machine)}"
    table = [
        {**vars(row), "found": _plain(row.found), "error": _plain(row.error), "asked": ASKED.get(row.name), "met": row.met} for row in rows
    ]
    record = {"simulated": True, "note": arguments.note, "rows": table, "grades": distribute(sessions), "intervals": cover(sessions)}
    write_result(arguments.name, markdown, record | {"machine": machine}, arguments.target)
    print(markdown)


if __name__ == "__main__":
    main()
