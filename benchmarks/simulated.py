"""Accuracy on simulated sessions: their lesions are known to the voxel. Nothing here is real.

Predictions are compared on the truth's grid: the prediction's mask on the analysis grid takes the nearest voxel there, so
that lesions of a single voxel are neither lost nor blurred. Intervals are 95 % bootstrap intervals over sessions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from machine import markdown_table
from smallvessel.derivatives import session_files
from smallvessel.evaluate import (
    CENTRE_DISTANCE_MM,
    Estimate,
    LesionMetrics,
    SizeBand,
    bootstrap,
    compare_voxels,
    false_positives_per_scan,
    match_by_distance,
    match_by_overlap,
    match_by_size,
    pearson,
    pool_lesions,
    pool_sizes,
    positivity_without_lesions,
)
from smallvessel.intake.bids import find_sessions
from smallvessel.markers import MARKERS, Marker
from smallvessel.markers import Sequence as MrSequence
from smallvessel.records import NotAssessed, SessionId
from smallvessel.simulate.truth import find_truth, record_path
from smallvessel.tables import NOT_AVAILABLE
from smallvessel.volume import LabelMap, Mask, Transform, read_mask, resample


@dataclass(frozen=True)
class Score:
    """One marker of one session. ``dice`` is NaN when both masks are empty."""

    session: str
    marker: Marker
    reference_ml: float
    prediction_ml: float
    dice: float
    by_overlap: LesionMetrics
    by_distance: LesionMetrics
    by_size: list[SizeBand]

    @property
    def common_ml(self) -> float:
        return 0.0 if math.isnan(self.dice) else self.dice * (self.reference_ml + self.prediction_ml) / 2


@dataclass(frozen=True)
class Summary:
    """One marker over all sessions on which it was assessed and has a truth."""

    marker: Marker
    n: int
    n_with_lesions: int
    n_lesions: int
    dice_mean: Estimate | NotAssessed
    dice_pooled: Estimate | NotAssessed
    f1_overlap: Estimate | NotAssessed
    f1_distance: Estimate | NotAssessed
    recall: float | NotAssessed
    precision: float | NotAssessed
    false_per_session: float | NotAssessed
    positivity: float | NotAssessed
    volume_r: Estimate | NotAssessed


def score_folder(folder: Path, out: Path) -> tuple[list[Score], list[str]]:
    """Compare every session of a simulated folder with its truth.

    Returns
    -------
    scores : list of Score
    missing : list of str
        What has a truth and was not measured, and why.
    """
    scores, missing = [], []
    for source in find_sessions(folder):
        measures = out / session_files(source.id).measures
        if not measures.exists():
            missing.append(f"{source.id}: the session failed, see logs/{source.id}.log")
            continue
        record = json.loads(measures.read_text(encoding="utf-8"))
        images = [MrSequence(name) for name in record["sequences"]]
        truths = {m: path for m in Marker if (path := find_truth(folder, source.id.subject, m, images)).exists()}
        for marker, path in truths.items():
            if "not_assessed" in record["markers"][marker]:
                missing.append(f"{source.id}, {marker}: {record['markers'][marker]['not_assessed']}")
                continue
            reference = MrSequence(record["reference"])
            predicted = read_mask(out / session_files(source.id).image(reference, f"label-{marker}_mask", "1mm"))
            scores.append(score_mask(str(source.id), marker, predicted, read_mask(path), movement_to(reference, folder, source.id)))
    return scores, missing


def movement_to(reference: MrSequence, folder: Path, id: SessionId) -> Transform | None:
    """From the world of the image that the pipeline took as reference to the truth's; None where they are the same."""
    record = json.loads(record_path(folder, id.subject).read_text())
    matrix = np.array(record["ReferenceFromSequence"][reference])
    return None if np.array_equal(matrix, np.eye(4)) else Transform(matrix)


def score_mask(session: str, marker: Marker, predicted: Mask, truth: Mask, truth_from_predicted: Transform | None = None) -> Score:
    """Compare one mask on the analysis grid with the truth on its own grid."""
    labels = resample(LabelMap(predicted.data.astype(np.int32), predicted.grid), truth.grid, truth_from_predicted)
    prediction = Mask(labels.data > 0, truth.grid)
    voxels = compare_voxels(prediction, truth)
    return Score(
        session=session,
        marker=marker,
        reference_ml=voxels.reference_ml,
        prediction_ml=voxels.prediction_ml,
        dice=math.nan if isinstance(voxels.dice, NotAssessed) else voxels.dice,
        by_overlap=match_by_overlap(prediction, truth),
        by_distance=match_by_distance(prediction, truth, CENTRE_DISTANCE_MM),
        by_size=match_by_size(prediction, truth),
    )


SLICES_MM = (
    (0.0, 1.5, "slices up to 1.5 mm"),
    (1.5, 4.0, "slices of 1.5 to 4 mm"),
    (4.0, 6.5, "slices of 4 to 6.5 mm"),
    (6.5, math.inf, "slices above 6.5 mm"),
)


def divide(scores: Sequence[Score], folder: Path) -> list[tuple[Marker, str, list[Score]]]:
    """The scores of each marker by the slices of the sequence on which it is rated, by load (halves of the sessions with lesions), and by
    whether there is an old infarct or haemorrhage.
    """
    parts = []
    for marker in Marker:
        mine = [score for score in scores if score.marker is marker]
        slices_mm = {score.session: _slice_mm(folder, score) for score in mine}
        for low_mm, high_mm, name in SLICES_MM:
            parts.append((marker, name, [score for score in mine if low_mm < slices_mm[score.session] <= high_mm]))
        loads_ml = [score.reference_ml for score in mine if score.reference_ml > 0]
        middle_ml = float(np.median(loads_ml)) if loads_ml else 0.0
        parts.append((marker, f"load up to {middle_ml:.2g} mL", [score for score in mine if 0 < score.reference_ml <= middle_ml]))
        parts.append((marker, f"load above {middle_ml:.2g} mL", [score for score in mine if score.reference_ml > middle_ml]))
        scarred = {score.session for score in mine if _record(folder, score)["Burden"].get("old_lesions")}
        parts.append((marker, "with an old infarct or haemorrhage", [score for score in mine if score.session in scarred]))
        parts.append((marker, "without an old infarct or haemorrhage", [score for score in mine if score.session not in scarred]))
    return [part for part in parts if part[2]]


def _slice_mm(folder: Path, score: Score) -> float:
    protocols = _record(folder, score)["Protocols"]
    rated = next(sequence for sequence in MARKERS[score.marker].rated_on if sequence in protocols)
    return float(max(protocols[rated]["spacing_mm"]))


def _record(folder: Path, score: Score) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(record_path(folder, score.session.removeprefix("sub-")).read_text())
    return record


def summarise_parts(parts: Iterable[tuple[Marker, str, Sequence[Score]]]) -> list[tuple[str, Summary]]:
    """Name and summary of each part of the sessions."""
    return [(name, summarise_marker(scores)) for _, name, scores in parts]


def strata_markdown(title: str, strata: Iterable[tuple[str, Summary]]) -> str:
    """Dice and F1 within each part, as a table."""
    rows = []
    for name, summary in strata:
        sessions = f"{summary.n} ({summary.n_with_lesions})"
        of_lesions = (_text(summary.f1_overlap), _text(summary.false_per_session), _text(summary.volume_r))
        rows.append((f"{summary.marker}, {name}", sessions, str(summary.n_lesions), _text(summary.dice_mean), *of_lesions))
    header = (
        "marker, sessions",
        "sessions (with lesions)",
        "lesions",
        "Dice, mean",
        "F1, any overlap",
        "false lesions per session",
        "Pearson r of volumes",
    )
    return f"## {title}\n\n{markdown_table(header, rows)}"


def sizes_markdown(scores: Sequence[Score]) -> str:
    """Lesions found and false by size, all sessions together, as a table."""
    rows = []
    for marker in Marker:
        scans = [score.by_size for score in scores if score.marker is marker]
        for band in pool_sizes(scans) if scans else []:
            found, true = (f"{_text(share)} ({n})" for share, n in ((band.recall, band.n_reference), (band.precision, band.n_prediction)))
            rows.append((f"{marker}, {band.name}", found, true))
    header = ("marker, diameter", "recall (true lesions)", "precision (predicted lesions)")
    return (
        f"## By size\n\n{markdown_table(header, rows)}\n"
        "Diameter of the ball of a lesion's volume; true lesions are sorted by their own, predicted ones by theirs. Any overlap counts.\n"
    )


def summarise(scores: Sequence[Score]) -> list[Summary]:
    """One summary per marker, in the markers' order; markers without a session are left out."""
    return [summarise_marker(mine) for marker in Marker if (mine := [score for score in scores if score.marker is marker])]


def summarise_marker(scores: Sequence[Score]) -> Summary:
    """All sessions of one marker. Dice is averaged over the sessions with true lesions; counts are pooled over all."""
    overlap, distance = [score.by_overlap for score in scores], [score.by_distance for score in scores]
    with_lesions = [score for score in scores if score.reference_ml > 0]
    volumes = np.array([[score.reference_ml, score.prediction_ml, score.common_ml] for score in scores])
    pooled = pool_lesions(overlap)
    return Summary(
        marker=scores[0].marker,
        n=len(scores),
        n_with_lesions=len(with_lesions),
        n_lesions=pooled.n_reference,
        dice_mean=bootstrap(lambda values: float(np.mean(values)), [score.dice for score in with_lesions]),
        dice_pooled=bootstrap(_pooled_dice, volumes),
        f1_overlap=bootstrap(_pooled_f1, _counts(overlap)),
        f1_distance=bootstrap(_pooled_f1, _counts(distance)),
        recall=pooled.recall,
        precision=pooled.precision,
        false_per_session=false_positives_per_scan(overlap),
        positivity=positivity_without_lesions(overlap),
        volume_r=pearson(volumes[:, 0], volumes[:, 1]),
    )


def to_markdown(summaries: Iterable[Summary], missing: Sequence[str], note: str) -> str:
    """The result as Markdown; its first line says that the sessions are simulated."""
    rows = [
        (
            str(summary.marker),
            f"{summary.n} ({summary.n_with_lesions})",
            str(summary.n_lesions),
            _text(summary.dice_mean),
            _text(summary.dice_pooled),
            _text(summary.f1_overlap),
            _text(summary.f1_distance),
            _text(summary.recall),
            _text(summary.precision),
            _text(summary.false_per_session),
            _text(summary.positivity),
            _text(summary.volume_r),
        )
        for summary in summaries
    ]
    header = (
        "marker",
        "sessions (with lesions)",
        "lesions",
        "Dice, mean",
        "Dice, pooled",
        "F1, any overlap",
        f"F1, centres ≤ {CENTRE_DISTANCE_MM:g} mm",
        "recall",
        "precision",
        "false lesions per session",
        "lesion-free sessions positive",
        "Pearson r of volumes",
    )
    left_out = "".join(f"- {line}\n" for line in missing)
    return (
        "**SIMULATED** sessions: images and lesions are made by the simulator, nothing here is a real patient.\n\n"
        "# Accuracy on simulated sessions\n\n" + (f"{note}\n\n" if note else "") + markdown_table(header, rows) + "\n"
        "In brackets: 95 % bootstrap intervals over sessions (Pearson: Fisher's). Mean Dice is over the sessions with true lesions; pooled "
        "Dice, F1, recall and precision count all sessions' voxels or lesions together (recall and precision by any overlap).\n"
        + (f"\nNot compared:\n\n{left_out}" if missing else "")
    )


def to_record(summary: Summary) -> dict[str, Any]:
    """A summary as plain values; None where something is not assessed."""
    return {name: _plain(value) for name, value in vars(summary).items() if name != "marker"}


def score_record(score: Score) -> dict[str, Any]:
    """A session's score as plain values."""
    return {
        "session": score.session,
        "marker": str(score.marker),
        "reference_ml": round(score.reference_ml, 4),
        "prediction_ml": round(score.prediction_ml, 4),
        "dice": None if math.isnan(score.dice) else round(score.dice, 4),
        "lesions_reference": score.by_overlap.n_reference,
        "lesions_prediction": score.by_overlap.n_prediction,
        "found": score.by_overlap.n_found,
        "false": score.by_overlap.n_false,
        "paired_by_distance": score.by_distance.n_true,
    }


def _counts(scans: Iterable[LesionMetrics]) -> NDArray[np.float64]:
    return np.array([[scan.n_reference, scan.n_prediction, scan.n_found, scan.n_true] for scan in scans], float)


def _pooled_f1(counts: NDArray[np.float64]) -> float:
    n_reference, n_prediction, n_found, n_true = (int(total) for total in counts.sum(axis=0))
    f1 = LesionMetrics("pooled", n_reference, n_prediction, n_found, n_true).f1
    return math.nan if isinstance(f1, NotAssessed) else f1


def _pooled_dice(volumes: NDArray[np.float64]) -> float:
    reference, prediction, common = volumes.sum(axis=0)
    return float(2 * common / (reference + prediction)) if reference + prediction > 0 else math.nan


def plain_text(value: Mapping[str, float | None] | float | None) -> str:
    """A value of :func:`to_record` with two decimals, and its interval where it has one."""
    if not isinstance(value, Mapping):
        return NOT_AVAILABLE if value is None else f"{value:.2f}"
    low, high = value["low"], value["high"]
    return f"{value['value']:.2f}" + ("" if low is None or high is None else f" ({low:.2f} to {high:.2f})")


def _text(value: Estimate | float | NotAssessed) -> str:
    return plain_text(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, NotAssessed):
        return None
    if isinstance(value, Estimate):
        bounds = [None if math.isnan(bound) else round(bound, 4) for bound in (value.low, value.high)]
        return {"value": round(value.value, 4), "low": bounds[0], "high": bounds[1], "n": value.n}
    return round(value, 4) if isinstance(value, float) else value
