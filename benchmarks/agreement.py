#!/usr/bin/env python3
"""Scores, counts and Z from predicted masks against the same from true masks, on simulated sessions.

    python benchmarks/agreement.py FOLDER [--work DIR] [--note "heads 14 to 16"] [--jobs 2]

Both go through the same code and the same anatomy; only the masks differ. The results in --work, where ``accuracy.py`` keeps them too,
are not made again. Z scores are against the true masks' own means and spreads.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accuracy import WORK, measure, results_of
from machine import describe_machine, machine_markdown, markdown_table, write_result
from simulated import truth_path
from smallvessel.config import MeasureSettings
from smallvessel.evaluate import Estimate, bootstrap, icc_agreement, pearson, weighted_kappa
from smallvessel.markers import MARKERS, Marker
from smallvessel.measure import measure_session
from smallvessel.models import expected_errors, load_card
from smallvessel.records import MarkerMap, Measurements, NotAssessed, Prepared, Score, Segmentation, SessionId, SessionResult
from smallvessel.restore import list_sessions, read_session
from smallvessel.scales import SCALES
from smallvessel.shapes import label_components
from smallvessel.volume import LabelMap, read_mask, resample

Values = dict[str, float | None]


def measure_both(out: Path, id: SessionId, folder: Path) -> dict[str, Values]:
    """Scores, counts and volumes of a finished session from its predicted masks and from its true ones."""
    result = read_session(out, id, expected_errors(load_card("markers")))
    return {"predicted": measure_masks(result.prepared, result.segmentation), "true": measure_truth(result, folder)}


def measure_truth(result: SessionResult, folder: Path) -> Values:
    """The same from the true masks alone."""
    known = {
        marker: true_map(found, result.prepared, truth_path(folder, result.id, marker)) if isinstance(found, MarkerMap) else found
        for marker, found in result.segmentation.markers.items()
    }
    return measure_masks(result.prepared, Segmentation(known))


def measure_masks(prepared: Prepared, segmentation: Segmentation) -> Values:
    """All values by the usual rules."""
    return values_of(measure_session(prepared, segmentation, MeasureSettings()))


def true_map(found: MarkerMap, prepared: Prepared, path: Path) -> MarkerMap:
    """A true mask in the place of a predicted one, on the same analysis grid."""
    truth = resample(read_mask(path), prepared.grid)
    labels, count = label_components(truth.data)
    return replace(found, labels=LabelMap(labels, prepared.grid), confidence=(1.0,) * count)


def values_of(measured: Measurements) -> Values:
    """Every score, every count, and every volume as a share of the intracranial volume."""
    values: Values = {str(scale): score.value if isinstance(score, Score) else None for scale, score in measured.scores.items()}
    for marker, found in measured.markers.items():
        if isinstance(found, NotAssessed):
            values |= {f"{marker} count": None, f"{marker} share": None}
        else:
            values[f"{marker} count"] = float(found.count)
            values[f"{marker} volume"] = found.volume_ml
            for name, ends in (("count", found.count_range), ("volume", found.volume_range_ml)):
                if ends is not None:
                    values |= {f"{marker} {name} low": float(ends[0]), f"{marker} {name} high": float(ends[1])}
            values[f"{marker} share"] = None if isinstance(measured.icv_ml, NotAssessed) else found.volume_ml / measured.icv_ml
    return values


def compare(sessions: Sequence[Mapping[str, Values]]) -> list[tuple[str, str, str, str, str]]:
    """A row per score, count and Z: its name, the statistic, its value with interval, the share of equal grades, n."""
    rows = [_row(info.name, "weighted kappa", weighted_kappa, *_pairs(sessions, str(scale))) for scale, info in SCALES.items()]
    rows += [_icc_row(f"{MARKERS[marker].name}, number", *_pairs(sessions, f"{marker} count")) for marker in Marker]
    return [*rows, _z_row(sessions)]


def _pairs(sessions: Sequence[Mapping[str, Values]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    both = [(s["true"][name], s["predicted"][name]) for s in sessions if s["true"][name] is not None and s["predicted"][name] is not None]
    table = np.array(both, float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _row(
    name: str, statistic: str, compute: Callable[..., float], true: NDArray[np.float64], predicted: NDArray[np.float64]
) -> tuple[str, str, str, str, str]:
    equal = f"{np.mean(true == predicted):.0%}" if true.size else "n/a"
    return name, statistic, _text(bootstrap(compute, true, predicted)), equal, str(true.size)


def _icc_row(name: str, true: NDArray[np.float64], predicted: NDArray[np.float64]) -> tuple[str, str, str, str, str]:
    return name, "ICC(2,1)", _text(icc_agreement(np.stack([true, predicted], axis=1))), f"{np.mean(true == predicted):.0%}", str(true.size)


def cover(sessions: Sequence[Mapping[str, Values]]) -> list[tuple[str, str, str]]:
    """A row per interval: how many of the true values lie in the 95 % interval of the measured one."""
    rows = []
    for marker in Marker:
        for name in ("count", "volume"):
            key = f"{marker} {name}"
            known = [s for s in sessions if s["predicted"].get(f"{key} low") is not None and s["true"].get(key) is not None]
            if known:
                inside = sum(_within(s["predicted"][f"{key} low"], s["true"][key], s["predicted"][f"{key} high"]) for s in known)
                rows.append((f"{MARKERS[marker].name}, {name}", f"{inside} of {len(known)}", f"{inside / len(known):.0%}"))
    return rows


def _within(low: float | None, value: float | None, high: float | None) -> bool:
    return low is not None and value is not None and high is not None and low <= value <= high


def _z_row(sessions: Sequence[Mapping[str, Values]]) -> tuple[str, str, str, str, str]:
    names = [f"{marker} share" for marker in Marker]
    whole = [s for s in sessions if all(s[kind][name] is not None for kind in ("true", "predicted") for name in names)]
    tables = {kind: np.log1p(1e3 * np.array([[s[kind][name] for name in names] for s in whole], float)) for kind in ("true", "predicted")}
    mean, spread = tables["true"].mean(axis=0), tables["true"].std(axis=0, ddof=1)
    true, predicted = (((tables[kind] - mean) / spread).mean(axis=1) for kind in ("true", "predicted"))
    return "Z score of the whole burden", "Pearson r", _text(pearson(true, predicted)), "n/a", str(len(whole))


def _text(found: Estimate | NotAssessed) -> str:
    if isinstance(found, NotAssessed) or math.isnan(found.value):
        return "n/a"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def main() -> None:
    """Measure what is not measured yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="simulated sessions with their truth")
    parser.add_argument("--work", type=Path, default=WORK, help="where the results of the sessions are kept")
    parser.add_argument("--note", default="", help="about the sessions, for the table")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    out = results_of(arguments.folder, arguments.work)
    measure(arguments.folder, out, arguments.jobs)
    sessions = [measure_both(out, id, arguments.folder) for id in list_sessions(out)]
    rows, inside = compare(sessions), cover(sessions)
    machine = describe_machine()
    header = ("measure", "statistic", "predicted against true masks", "equal", "sessions")
    markdown = (
        "**SIMULATED** sessions: images and lesions are made by the simulator, nothing here is a real patient.\n\n"
        f"# Scores from predicted masks against scores from true masks\n\n{arguments.note}\n\n{markdown_table(header, rows)}\n"
        "In brackets: 95 % intervals (kappa, with quadratic weights: bootstrap over sessions). Both sides use the same anatomy, the "
        f"measured one.\n\n## True values within the 95 % intervals\n\n{markdown_table(('measure', 'inside', 'share'), inside)}\n"
        f"{machine_markdown(machine)}"
    )
    table = [dict(zip(header, row, strict=True)) for row in rows]
    write_result("agreement", markdown, {"simulated": True, "note": arguments.note, "rows": table, "intervals": inside, "machine": machine})
    print(markdown)


if __name__ == "__main__":
    main()
