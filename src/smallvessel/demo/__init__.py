"""A bundled simulated patient with known truth, through the whole pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config import Settings
from ..derivatives import session_files
from ..errors import InputError
from ..evaluate import LesionMetrics, match_by_overlap
from ..intake.bids import session_from_files
from ..markers import Marker, Sequence
from ..records import SessionId, SessionSource
from ..run import run_sessions
from ..volume import read_mask, resample

DATA = Path(__file__).parent / "data"
SUBJECT = "simulated"


@dataclass(frozen=True)
class TruthBesideMeasurement:
    """One marker of the simulated patient: what was put in and what was measured.

    ``measured_volume_ml``, ``measured_count`` and ``lesions`` are None when the marker was not assessed.
    """

    marker: Marker
    true_volume_ml: float
    true_count: int
    measured_volume_ml: float | None
    measured_count: int | None
    lesions: LesionMetrics | None


@dataclass(frozen=True)
class DemoResult:
    """The demo's comparison, and where the results lie."""

    rows: tuple[TruthBesideMeasurement, ...]
    report: Path
    table: Path


def demo_source(data: Path = DATA) -> SessionSource:
    """The simulated patient's four sequences.

    Raises
    ------
    InputError
        When one is missing from the package.
    """
    return session_from_files({sequence: data / f"sub-{SUBJECT}_{sequence}.nii.gz" for sequence in Sequence}, SUBJECT)


def run_demo(out: Path, settings: Settings, data: Path = DATA) -> DemoResult:
    """Measure the simulated patient and put the truth beside the measurement.

    Raises
    ------
    InputError
        When the session could not be measured; the message is the session's.
    """
    summary = run_sessions((demo_source(data),), out, settings, jobs=1)
    if summary.failed:
        failure = summary.failed[0]
        raise InputError(f"a demo that failed in {failure.stage} ({failure.message})", "a result", "run `smallvessel doctor`")
    files = session_files(SessionId(SUBJECT))
    measured = json.loads((out / files.measures).read_text(encoding="utf-8"))
    truth = json.loads((data / "truth.json").read_text(encoding="utf-8"))["truth"]
    rows = tuple(_compare(marker, truth[marker], measured, out, data) for marker in settings.markers)
    return DemoResult(rows, out / files.report, out / "measures.tsv")


def _compare(marker: Marker, truth: Mapping[str, float], measured: Mapping[str, object], out: Path, data: Path) -> TruthBesideMeasurement:
    markers = measured["markers"]
    found = markers.get(marker, {}) if isinstance(markers, dict) else {}
    lesions = None
    if "count" in found:
        path = session_files(SessionId(SUBJECT)).image(Sequence(str(measured["reference"])), f"label-{marker}_mask", "1mm")
        prediction = read_mask(out / path)
        lesions = match_by_overlap(prediction, resample(read_mask(data / f"sub-{SUBJECT}_label-{marker}_mask.nii.gz"), prediction.grid))
    return TruthBesideMeasurement(
        marker, float(truth["volume_ml"]), int(truth["count"]), found.get("volume_ml"), found.get("count"), lesions
    )
