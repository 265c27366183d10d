"""Many predictions against their references at once, and the files that say how they compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..derivatives import write_json, write_text
from ..errors import InputError
from ..markers import Marker
from ..records import NotAssessed
from ..tables import NOT_AVAILABLE, tsv
from ..volume import Mask, Volume, require_same_grid, resample
from .agreement import Estimate
from .comparison import MaskComparison, compare_masks
from .pairing import PROBABILITIES, MaskPair, Pairing, entities
from .probability import (
    THRESHOLDS,
    CalibrationBin,
    ThresholdPoint,
    bin_probabilities,
    expected_calibration_error,
    pool_bins,
    pool_points,
    trace_thresholds,
)
from .reading import ANY, BY_MARKER, THRESHOLD, LesionImage, bring_together, read_lesions, read_reference, require_overlap
from .sizes import SizeBand, match_by_size, pool_sizes
from .summary import METRICS, RULES, Detection, lesions_of, mean_over_scans, metrics_of, summarise_detection

POOLED = ("recall", "precision", "f1", "false_per_scan", "positivity")
MARKER_NAMES = {str(marker).lower(): str(marker) for marker in Marker}


@dataclass(frozen=True)
class ReadingOptions:
    """How images are read.

    Attributes
    ----------
    label : str
        What label maps stand for, see :func:`smallvessel.evaluate.reading.read_lesions`.
    prediction_label : str
        What the predictions' label maps stand for, where that is not ``label``.
    probability : bool
        The predictions are probabilities; those of files that end in ``_probseg`` are in any case.
    threshold : float
        Of probability maps: the operating point.
    resample : bool
        Bring predictions onto their references' grids instead of refusing other grids.
    """

    label: str = ""
    threshold: float = THRESHOLD
    resample: bool = False
    prediction_label: str = ""
    probability: bool = False

    def __post_init__(self) -> None:
        if self.prediction_label and (self.label == BY_MARKER) != (self.prediction_label == BY_MARKER):
            raise InputError(
                f"--label {self.label or '(none)'} with --prediction-label {self.prediction_label}",
                f"{BY_MARKER} for both or for none",
                "compare one marker at a time, with its number",
            )
        if not 0 < self.threshold <= 1:
            raise InputError(f"--threshold {self.threshold:g}", "a probability above 0, up to 1", "give for example 0.5")


@dataclass(frozen=True)
class ScanResult:
    """One prediction against its reference; ``points`` and ``bins`` are empty unless the prediction is a probability map.

    ``subject`` is whose scan it is. ``note`` says what a reader has to know about the images, if anything.
    """

    name: str
    subject: str
    marker: str
    found: MaskComparison
    sizes: tuple[SizeBand, ...]
    points: tuple[ThresholdPoint, ...] = ()
    bins: tuple[CalibrationBin, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class MarkerSummary:
    """All scans of one marker (empty name: the files do not say which).

    ``means`` are by :data:`METRICS`, as is ``n_defined``: the scans on which each is defined. ``detection`` is by :data:`RULES`.
    """

    marker: str
    means: Mapping[str, Estimate | NotAssessed]
    n_defined: Mapping[str, int]
    detection: Mapping[str, Detection]
    sizes: tuple[SizeBand, ...]
    points: tuple[ThresholdPoint, ...]
    bins: tuple[CalibrationBin, ...]


def evaluate_pairs(pairing: Pairing, options: ReadingOptions) -> list[ScanResult]:
    """Compare every pair.

    Raises
    ------
    InputError
        When an image cannot be read or a label map comes without ``label``.
    GeometryError
        When grids differ and resampling was not asked for, or fields of view do not overlap.
    """
    return [result for pair in pairing.pairs for result in _evaluate_pair(pair, options)]


def summarise_results(results: Sequence[ScanResult]) -> list[MarkerSummary]:
    """Means with intervals over subjects, lesions and size bands together, curves and bins added up, per marker."""
    summaries = []
    for marker in dict.fromkeys(result.marker for result in results):
        mine = [result for result in results if result.marker == marker]
        metrics = [metrics_of(result.found) for result in mine]
        subjects = [result.subject for result in mine]
        with_probability = [result for result in mine if result.points]
        summaries.append(
            MarkerSummary(
                marker,
                {name: mean_over_scans([scan[name] for scan in metrics], subjects) for name in METRICS},
                {name: sum(not isinstance(scan[name], NotAssessed) for scan in metrics) for name in METRICS},
                {rule: summarise_detection([lesions_of(result.found)[rule] for result in mine], subjects) for rule in RULES},
                tuple(pool_sizes([result.sizes for result in mine])),
                tuple(pool_points([result.points for result in with_probability])) if with_probability else (),
                tuple(pool_bins([result.bins for result in with_probability])),
            )
        )
    return summaries


def write_evaluation(
    results: Sequence[ScanResult], summaries: Sequence[MarkerSummary], unpaired: Sequence[Path], options: ReadingOptions, folder: Path
) -> None:
    """Write ``evaluate.json`` with everything, and tables per mask, per marker, per band of size, threshold and bin.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    masks: Rows = [("mask", "marker", *METRICS), *((r.name, r.marker or None, *metrics_of(r.found).values()) for r in results)]
    tables = {"masks": masks, "summary": _summary_rows(summaries), "sizes": _size_rows(summaries)}
    if any(summary.points for summary in summaries):
        tables |= {"thresholds": _threshold_rows(summaries, options.threshold), "calibration": _calibration_rows(summaries)}
    record = {
        "options": asdict(options),
        "notes": notes_of(results),
        "without_prediction": [path.as_posix() for path in unpaired],
        "masks": [record_of(result) for result in results],
        **{
            name: [dict(zip(map(str, rows[0]), map(_plain, row), strict=True)) for row in rows[1:]]
            for name, rows in tables.items()
            if name != "masks"
        },
    }
    try:
        for name, rows in tables.items():
            header, *texts = [tuple(map(_text, row)) for row in rows]
            write_text(folder / f"{name}.tsv", tsv(header, texts))
        write_json(folder / "evaluate.json", record)
    except OSError as error:
        raise InputError(
            f"an output folder {folder} that cannot be written ({error.strerror})", "a folder to write in", "choose another"
        ) from None


def record_of(result: ScanResult) -> dict[str, Any]:
    """A scan's numbers as plain values; what is not assessed is ``{"not_assessed": reason}``."""
    voxels, lesions = result.found.voxels, result.found.by_overlap
    values = metrics_of(result.found)
    return {
        "mask": result.name,
        "marker": result.marker or None,
        **{name: _plain(values[name]) for name in ("dice", "h95_mm", "avd_percent", "volume_bias_ml")},
        "volume_ml": voxels.prediction_ml,
        "reference_ml": voxels.reference_ml,
        **{f"lesion_{name}": _plain(values[name]) for name in ("recall", "precision", "f1")},
        **{f"lesion_{name}": _plain(values[name]) for name in ("recall_distance", "precision_distance", "f1_distance")},
        "panoptic_quality": _plain(values["panoptic_quality"]),
        "lesions": lesions.n_prediction,
        "reference_lesions": lesions.n_reference,
        "found_lesions": lesions.n_found,
        "false_lesions": lesions.n_false,
        "found_lesions_distance": result.found.by_distance.n_found,
        "false_lesions_distance": result.found.by_distance.n_false,
    }


def _evaluate_pair(pair: MaskPair, options: ReadingOptions) -> list[ScanResult]:
    label = options.prediction_label or options.label
    probability = options.probability or entities(pair.prediction)["suffix"] in PROBABILITIES
    mine = read_lesions(pair.prediction, label, options.threshold, probability)
    theirs = read_reference(pair.reference, options.label)
    note = _note_other_labels(pair, mine, label)
    results = []
    for name, reference in theirs.masks.items():
        curve: tuple[Any, Any] = ((), ())
        if mine.probability is None:
            prediction = bring_together(mine.masks[name], reference, options.resample)
        else:
            # Interpolated once and cut afterwards, so that the masks are those of the curves.
            on_grid = _on_grid(mine.probability, reference, options)
            prediction = Mask(on_grid.data >= options.threshold, on_grid.grid)
            curve = _curves(on_grid, reference, options.threshold)
        marker = name or MARKER_NAMES.get(pair.marker, pair.marker)
        sizes = tuple(match_by_size(prediction, reference))
        results.append(
            ScanResult(
                pair.name + (f", {name}" if name else ""),
                pair.whose,
                marker,
                compare_masks(prediction, reference),
                sizes,
                *curve,
                note=note,
            )
        )
    return results


def notes_of(results: Sequence[ScanResult]) -> list[str]:
    """What a reader has to know about the images, each once."""
    return list(dict.fromkeys(result.note for result in results if result.note))


def _note_other_labels(pair: MaskPair, mine: LesionImage, label: str) -> str:
    if not mine.lacks_its_labels:
        return ""
    return (
        f"{pair.prediction} has no voxel of --label {label}, but of {', '.join(f'{value:g}' for value in mine.other_values)}: it counts as "
        f"empty. If it is a mask, add --prediction-label {ANY}."
    )


def _on_grid(probability: Volume, reference: Mask, options: ReadingOptions) -> Volume:
    if options.resample:
        require_overlap(probability.grid, reference.grid)
        return resample(probability, reference.grid)
    require_same_grid(probability, reference)
    return probability


def _curves(probability: Volume, reference: Mask, operating_point: float) -> tuple[tuple[ThresholdPoint, ...], tuple[CalibrationBin, ...]]:
    thresholds = sorted({*THRESHOLDS, operating_point})
    return tuple(trace_thresholds(probability, reference, thresholds)), tuple(bin_probabilities(probability, reference))


Cell = str | bool | int | float | NotAssessed | None
Rows = list[tuple[Cell, ...]]
"""A header and rows of plain values; None is what there is not."""


def _summary_rows(summaries: Sequence[MarkerSummary]) -> Rows:
    rows: Rows = [("marker", "measure", "value", "low", "high", "subjects", "scans")]
    for summary in summaries:
        detection: dict[str, tuple[Estimate | NotAssessed, int]] = {}
        for rule, pooled in summary.detection.items():
            n_scans = {name: pooled.n_scans for name in POOLED} | {"positivity": pooled.n_scans - pooled.n_with_lesions}
            end = "" if rule == "overlap" else f"_{rule}"
            detection |= {f"pooled_{name}{end}": (getattr(pooled, name), n) for name, n in n_scans.items()}
        means = {name: (found, summary.n_defined[name]) for name, found in summary.means.items()}
        for name, (found, n) in {**means, **detection}.items():
            if isinstance(found, Estimate):
                numbers: tuple[Cell, ...] = (found.value, found.low, found.high, found.n, n)
            else:
                numbers = (found, None, None, 0, 0)
            rows.append((summary.marker or None, name, *numbers))
    return rows


def _size_rows(summaries: Sequence[MarkerSummary]) -> Rows:
    return [
        ("marker", "diameter", "reference_lesions", "recall", "predicted_lesions", "precision"),
        *(
            (s.marker or None, band.name, band.n_reference, band.recall, band.n_prediction, band.precision)
            for s in summaries
            for band in s.sizes
        ),
    ]


def _threshold_rows(summaries: Sequence[MarkerSummary], operating_point: float) -> Rows:
    return [
        ("marker", "scans", "threshold", "operating_point", "dice_pooled", "recall", "precision", "f1", "false_per_scan"),
        *(
            (
                s.marker or None,
                point.n_scans,
                point.threshold,
                point.threshold == operating_point,
                *(point.dice, point.lesions.recall, point.lesions.precision, point.lesions.f1, point.false_per_scan),
            )
            for s in summaries
            for point in s.points
        ),
    ]


def _calibration_rows(summaries: Sequence[MarkerSummary]) -> Rows:
    rows: Rows = [
        ("marker", "probability_from", "probability_to", "voxels", "mean_probability", "lesion_share", "expected_calibration_error")
    ]
    for s in summaries:
        error = expected_calibration_error(s.bins)
        rows += [(s.marker or None, one.low, one.high, one.n, one.mean_probability, one.lesion_share, error) for one in s.bins]
    return rows


def _text(value: Cell) -> str:
    if value is None or isinstance(value, NotAssessed) or value != value:
        return NOT_AVAILABLE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Cell) -> Any:
    if isinstance(value, NotAssessed):
        return {"not_assessed": value.reason}
    return value if value == value else None
