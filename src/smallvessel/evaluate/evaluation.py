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
from .pairing import MaskPair, Pairing
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
from .reading import THRESHOLD, bring_together, read_lesions
from .sizes import SizeBand, match_by_size, pool_sizes
from .summary import METRICS, Detection, mean_over_scans, metrics_of, summarise_detection

MARKER_NAMES = {str(marker).lower(): str(marker) for marker in Marker}


@dataclass(frozen=True)
class ReadingOptions:
    """How images are read.

    Attributes
    ----------
    label : str
        What label maps stand for, see :func:`smallvessel.evaluate.reading.read_lesions`.
    threshold : float
        Of probability maps: the operating point.
    resample : bool
        Bring predictions onto their references' grids instead of refusing other grids.
    """

    label: str = ""
    threshold: float = THRESHOLD
    resample: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise InputError(f"--threshold {self.threshold:g}", "a probability above 0, up to 1", "give for example 0.5")


@dataclass(frozen=True)
class ScanResult:
    """One prediction against its reference; ``points`` and ``bins`` are empty unless the prediction is a probability map."""

    name: str
    marker: str
    found: MaskComparison
    sizes: tuple[SizeBand, ...]
    points: tuple[ThresholdPoint, ...] = ()
    bins: tuple[CalibrationBin, ...] = ()


@dataclass(frozen=True)
class MarkerSummary:
    """All scans of one marker (empty name: the files do not say which). ``means`` are by :data:`METRICS`."""

    marker: str
    means: Mapping[str, Estimate | NotAssessed]
    detection: Detection
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
        When grids differ and resampling was not asked for.
    """
    return [result for pair in pairing.pairs for result in _evaluate_pair(pair, options)]


def summarise_results(results: Sequence[ScanResult]) -> list[MarkerSummary]:
    """Means with bootstrap intervals over scans, lesions and size bands together, curves and bins added up, per marker."""
    summaries = []
    for marker in dict.fromkeys(result.marker for result in results):
        mine = [result for result in results if result.marker == marker]
        metrics = [metrics_of(result.found) for result in mine]
        with_probability = [result for result in mine if result.points]
        summaries.append(
            MarkerSummary(
                marker,
                {name: mean_over_scans([scan[name] for scan in metrics]) for name in METRICS},
                summarise_detection([result.found.by_overlap for result in mine]),
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
    masks = [
        ("mask", "marker", *METRICS),
        *((r.name, r.marker or NOT_AVAILABLE, *map(_text, metrics_of(r.found).values())) for r in results),
    ]
    tables = {"masks": masks, "summary": _summary_rows(summaries), "sizes": _size_rows(summaries)}
    if any(summary.points for summary in summaries):
        tables |= {"thresholds": _threshold_rows(summaries, options.threshold), "calibration": _calibration_rows(summaries)}
    record = {
        "options": asdict(options),
        "without_prediction": [path.as_posix() for path in unpaired],
        "masks": [record_of(result) for result in results],
        **{name: [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] for name, rows in tables.items() if name != "masks"},
    }
    try:
        for name, rows in tables.items():
            write_text(folder / f"{name}.tsv", tsv(rows[0], rows[1:]))
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
        **{f"lesion_{name}": _plain(values[name]) for name in ("recall", "precision", "f1", "f1_distance")},
        "panoptic_quality": _plain(values["panoptic_quality"]),
        "lesions": lesions.n_prediction,
        "reference_lesions": lesions.n_reference,
        "found_lesions": lesions.n_found,
        "false_lesions": lesions.n_false,
    }


def _evaluate_pair(pair: MaskPair, options: ReadingOptions) -> list[ScanResult]:
    predictions, probability = read_lesions(pair.prediction, options.label, options.threshold)
    references, reference_probability = read_lesions(pair.reference, options.label)
    if reference_probability is not None:
        raise InputError(f"probabilities in the reference {pair.reference}", "a mask or a label map", "cut it at a threshold first")
    results = []
    for label, reference in references.items():
        prediction = bring_together(predictions[label], reference, options.resample)
        curve = _curves(_on_grid(probability, reference, options), reference, options.threshold) if probability is not None else ((), ())
        name = pair.name + (f", {label}" if label else "")
        marker = label or MARKER_NAMES.get(pair.marker, pair.marker)
        results.append(ScanResult(name, marker, compare_masks(prediction, reference), tuple(match_by_size(prediction, reference)), *curve))
    return results


def _on_grid(probability: Volume, reference: Mask, options: ReadingOptions) -> Volume:
    if options.resample:
        return resample(probability, reference.grid)
    require_same_grid(probability, reference)
    return probability


def _curves(probability: Volume, reference: Mask, operating_point: float) -> tuple[tuple[ThresholdPoint, ...], tuple[CalibrationBin, ...]]:
    thresholds = sorted({*THRESHOLDS, operating_point})
    return tuple(trace_thresholds(probability, reference, thresholds)), tuple(bin_probabilities(probability, reference))


Rows = list[tuple[str, ...]]


def _summary_rows(summaries: Sequence[MarkerSummary]) -> Rows:
    rows: Rows = [("marker", "measure", "value", "low", "high", "n")]
    for summary in summaries:
        detection = {f"pooled_{name}": value for name, value in vars(summary.detection).items() if not name.startswith("n_")}
        for name, found in (*summary.means.items(), *detection.items()):
            if isinstance(found, Estimate):
                numbers = (_text(found.value), _text(found.low), _text(found.high), str(found.n))
            else:
                numbers = (NOT_AVAILABLE,) * 3 + ("0",)
            rows.append((summary.marker or NOT_AVAILABLE, name, *numbers))
    return rows


def _size_rows(summaries: Sequence[MarkerSummary]) -> Rows:
    return [
        ("marker", "diameter", "reference_lesions", "recall", "predicted_lesions", "precision"),
        *(
            (s.marker or NOT_AVAILABLE, band.name, str(band.n_reference), _text(band.recall), str(band.n_prediction), _text(band.precision))
            for s in summaries
            for band in s.sizes
        ),
    ]


def _threshold_rows(summaries: Sequence[MarkerSummary], operating_point: float) -> Rows:
    return [
        ("marker", "threshold", "operating_point", "dice_pooled", "recall", "precision", "f1", "false_per_scan"),
        *(
            (
                s.marker or NOT_AVAILABLE,
                _text(point.threshold),
                "yes" if point.threshold == operating_point else "no",
                *map(_text, (point.dice, point.lesions.recall, point.lesions.precision, point.lesions.f1, point.false_per_scan)),
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
        error = _text(expected_calibration_error(s.bins))
        for one in s.bins:
            ends = (_text(one.low), _text(one.high), str(one.n))
            rows.append((s.marker or NOT_AVAILABLE, *ends, _text(one.mean_probability), _text(one.lesion_share), error))
    return rows


def _text(value: float | NotAssessed) -> str:
    return NOT_AVAILABLE if isinstance(value, NotAssessed) or value != value else f"{value:.6g}"


def _plain(value: float | NotAssessed) -> Any:
    return {"not_assessed": value.reason} if isinstance(value, NotAssessed) else value
