"""Masks of the run against manual masks: voxels and lesions per session, in short per marker and group."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..evaluate import (
    CENTRE_DISTANCE_MM,
    METRICS,
    RULES,
    LesionMetrics,
    MaskPair,
    Pairing,
    bring_together,
    compare_masks,
    lesions_of,
    metrics_of,
    pair_masks,
    read_reference,
    summarise_detection,
)
from ..evaluate.lesionwise import PANOPTIC_IOU, find_instances
from ..markers import MARKERS, Marker
from ..records import NotAssessed, SessionId
from ..volume import read_mask
from . import plots
from .results import Cell, Column, Figure, ResultTable, Section
from .sheet import Numbers
from .statistics import NO_INTERVAL, describe
from .table import Cohort

TITLE = "Segmentation against manual masks"
MARKER_OF = {str(marker).lower(): marker for marker in Marker}


@dataclass(frozen=True)
class ScanScore:
    """One marker of one session against its manual mask.

    ``metrics`` are those of :data:`smallvessel.evaluate.METRICS`, ``lesions`` by :data:`smallvessel.evaluate.RULES`.
    """

    id: SessionId
    marker: Marker
    metrics: Mapping[str, float | NotAssessed]
    lesions: Mapping[str, LesionMetrics]
    reference_ml: float
    reference_count: int


@dataclass(frozen=True)
class Comparison:
    """All sessions with a manual mask; ``missing`` says what could not be compared."""

    scores: tuple[ScanScore, ...]
    missing: tuple[str, ...]

    def numbers(self, cohort: Cohort) -> dict[str, Numbers]:
        """Volumes and counts of the manual masks by column, shape (n,) of the cohort, NaN without a mask."""
        place = {id: at for at, id in enumerate(cohort.ids)}
        found: dict[str, Numbers] = {}
        for score in self.scores:
            prefix = MARKERS[score.marker].column
            for kind, value in (("volume_ml", score.reference_ml), ("count", float(score.reference_count))):
                found.setdefault(f"{prefix}_{kind}", np.full(len(cohort.ids), math.nan))[place[score.id]] = value
        return found


def compare_with_manual(
    cohort: Cohort, out: Path, manual: Path, may_resample: bool, notify: Callable[[str], None] = lambda _: None
) -> Comparison:
    """Compare the masks that a run wrote with manual ones of the same subject, session and ``label`` entities.

    Parameters
    ----------
    cohort : Cohort
    out : Path
        Output folder of the run.
    manual : Path
        Folder of manual masks, such as ``sub-01/anat/sub-01_label-WMH_mask.nii.gz``.
    may_resample : bool
        Bring the run's mask onto the manual mask's grid by nearest voxels where no mask of the run lies on it.
    notify : callable
        Told the name of each comparison.

    Raises
    ------
    InputError
        When nothing pairs, a session has two manual masks of a marker, or one cannot be read or is no mask.
    GeometryError
        When the grids differ and resampling was not asked for, or the fields of view do not overlap.
    """
    pairing = pair_masks(out, manual, of_run=True)
    chosen = {(id.subject, id.session or ""): id for id in cohort.ids}
    matched: dict[tuple[SessionId, Marker], MaskPair] = {}
    others = 0
    for pair in pairing.pairs:
        marker, id = MARKER_OF.get(pair.marker), chosen.get((pair.subject, pair.session))
        if marker is None or id is None:
            others += 1
        elif (id, marker) in matched:
            raise InputError(
                f"two manual {marker} masks of {id}: {matched[id, marker].reference} and {pair.reference}",
                "one per session and marker, or that session would count twice",
                "give one rater at a time, or a consensus of them",
            )
        else:
            matched[id, marker] = pair
    scores = []
    for (id, marker), pair in matched.items():
        notify(pair.name)
        (reference,) = read_reference(pair.reference).masks.values()
        prediction = bring_together(read_mask(pair.prediction), reference, may_resample)
        found = compare_masks(prediction, reference)
        count = int(find_instances(reference).data.max(initial=0))
        scores.append(ScanScore(id, marker, metrics_of(found), lesions_of(found), reference.volume_ml, count))
    if not scores:
        raise InputError(
            f"{len(pairing.pairs)} manual masks in {manual}, none of a session that enters",
            f"names such as sub-01_label-WMH_mask.nii.gz, with label one of {', '.join(Marker)}",
            "rename the masks",
        )
    return Comparison(tuple(scores), _what_is_missing(pairing, others, cohort, scores))


def describe_segmentation(cohort: Cohort, comparison: Comparison, may_resample: bool) -> Section:
    """Means, SDs, medians and quartiles of each measure, and detection, per marker and group."""
    place = {id: at for at, id in enumerate(cohort.ids)}
    metrics: list[tuple[Cell, ...]] = []
    detection: list[tuple[Cell, ...]] = []
    for marker in Marker:
        of_marker = [score for score in comparison.scores if score.marker is marker]
        for group, members in cohort.parts() if of_marker else ():
            scores = [score for score in of_marker if members[place[score.id]]]
            metrics += [(str(marker), group, heading, *_metric_cells(scores, name)) for name, heading in METRICS.items()]
            for rule, heading in RULES.items():
                found = summarise_detection([score.lesions[rule] for score in scores], [score.id.subject for score in scores])
                rates = (found.recall, found.precision, found.f1, found.false_per_scan, found.positivity)
                detection.append((str(marker), group, heading, found.n_scans, found.n_with_lesions, found.n_lesions, *rates))
    metric_table = ResultTable(
        "segmentation",
        TITLE,
        (
            *(Column(name, name) for name in ("marker", "group", "measure")),
            Column("n", "n"),
            Column("n_undefined", "undefined"),
            Column("mean", "mean"),
            Column("sd", "SD"),
            Column("median", "median"),
            Column("q1", "25 %"),
            Column("q3", "75 %"),
        ),
        tuple(metrics),
        (
            "Over the sessions on which the measure is defined: without any lesion in either mask there is no Dice, and no recall without "
            f"one in the manual mask. In brackets: 95 % bootstrap intervals of the mean, over subjects. {NO_INTERVAL}",
        ),
    )
    detection_table = ResultTable(
        "detection",
        "Detection of lesions, all sessions' lesions together",
        (
            Column("marker", "marker"),
            Column("group", "group"),
            Column("rule", "pairs by"),
            Column("n", "n"),
            Column("n_with_lesions", "with lesions"),
            Column("n_lesions", "lesions"),
            Column("recall", "recall"),
            Column("precision", "precision"),
            Column("f1", "F1"),
            Column("false_per_scan", "false lesions per scan"),
            Column("positivity", "lesion-free scans positive"),
        ),
        tuple(detection),
        (
            "By any overlap a lesion is found, or true, when any voxel of it is touched; by centres pairs are one-to-one. In brackets: "
            f"95 % bootstrap intervals over subjects, of lesion-free scans Wilson's. {NO_INTERVAL}",
        ),
    )
    how = " The run's masks were brought onto the manual masks' grids by nearest voxels." if may_resample else ""
    return Section(
        TITLE,
        comparison.missing,
        (metric_table, detection_table),
        (
            Figure(
                "segmentation_dice",
                "Dice per marker and group: every session, median and quartiles.",
                lambda: plots.draw_dice(_dice_by_group(cohort, comparison.scores)),
            ),
        ),
        (
            f"{len(comparison.scores)} masks were compared with manual ones: Dice, 95th percentile of the Hausdorff distance, absolute "
            "volume difference, volume bias, recall, precision, F1 and false lesions (26-connected) by any overlap and by centres within "
            f"{CENTRE_DISTANCE_MM:g} mm (one-to-one), and panoptic quality at an IoU above {PANOPTIC_IOU:g}, summarised as mean ± SD and "
            "median [quartiles]. A measure that an empty mask leaves undefined does not enter: Dice and F1 without a lesion in either "
            f"mask, recall without a manual lesion, precision without a lesion of the run, distances without both.{how}",
        ),
    )


def _metric_cells(scores: Sequence[ScanScore], name: str) -> tuple[Cell, ...]:
    values = [score.metrics[name] for score in scores]
    defined = np.array([value for value in values if not isinstance(value, NotAssessed)], float)
    found = describe(defined)
    counts = (len(defined), len(values) - len(defined))
    if isinstance(found, NotAssessed):
        reasons = sorted({value.reason for value in values if isinstance(value, NotAssessed)})
        return (*counts, *(NotAssessed("; ".join(reasons) or "no session"),) * 5)
    return (*counts, found.mean, found.sd, found.median, found.q1, found.q3)


def _dice_by_group(cohort: Cohort, scores: Sequence[ScanScore]) -> dict[Marker, dict[str, NDArray[np.float64]]]:
    place = {id: at for at, id in enumerate(cohort.ids)}
    parts = cohort.parts()[1:] or cohort.parts()
    return {
        marker: {
            name: np.array([d for s in of if members[place[s.id]] and isinstance(d := s.metrics["dice"], float)], float)
            for name, members in parts
        }
        for marker in Marker
        if (of := [score for score in scores if score.marker is marker])
    }


def _what_is_missing(pairing: Pairing, others: int, cohort: Cohort, scores: Sequence[ScanScore]) -> tuple[str, ...]:
    said = []
    if pairing.unpaired:
        said.append(f"{len(pairing.unpaired)} manual masks have no mask of the run: {', '.join(p.name for p in pairing.unpaired[:20])}.")
    if others:
        said.append(f"{others} manual masks belong to sessions that do not enter, or to no marker, and were not compared.")
    for marker in Marker:
        n = sum(score.marker is marker for score in scores)
        if n < len(cohort.ids):
            said.append(f"{marker}: {n} of {len(cohort.ids)} sessions have a manual mask and a mask of the run.")
    return tuple(said)


def comparison_rows(comparison: Comparison) -> ResultTable:
    """Every session's measures, for whoever wants to check or go on."""
    columns = (Column("session", "session"), Column("marker", "marker"), *(Column(name, heading) for name, heading in METRICS.items()))
    rows = tuple((str(score.id), str(score.marker), *score.metrics.values()) for score in comparison.scores)
    return ResultTable("comparisons", "Every comparison with a manual mask", columns, rows)
