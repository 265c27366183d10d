"""Many predictions by the rules of the WMH segmentation challenge, and the files that say how they did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..derivatives import write_json, write_text
from ..errors import InputError
from ..records import NotAssessed
from ..tables import NOT_AVAILABLE, tsv
from ..volume import read_values
from .agreement import Estimate
from .challenge import ChallengeScore, score_by_challenge
from .pairing import Pairing
from .summary import mean_over_scans

MEASURES = tuple(field.name for field in fields(ChallengeScore))


@dataclass(frozen=True)
class ChallengeResult:
    """One prediction by the challenge's rules; ``header_ignored`` when its header had put its voxels elsewhere."""

    name: str
    subject: str
    score: ChallengeScore
    header_ignored: bool = False


def evaluate_by_challenge(pairing: Pairing) -> list[ChallengeResult]:
    """Score every pair.

    Raises
    ------
    InputError
        When an image cannot be read.
    GeometryError
        When a prediction has other numbers of voxels than its reference.
    """
    results = []
    for pair in pairing.pairs:
        prediction, reference = read_values(pair.prediction), read_values(pair.reference)
        score = score_by_challenge(prediction, reference)
        results.append(ChallengeResult(pair.name, pair.whose, score, not prediction.grid.same_as(reference.grid)))
    return results


def average_challenge(results: Sequence[ChallengeResult]) -> dict[str, Estimate | NotAssessed]:
    """The mean of each number over the scans on which it is defined, with its bootstrap interval over subjects."""
    subjects = [result.subject for result in results]
    return {name: mean_over_scans([getattr(result.score, name) for result in results], subjects) for name in MEASURES}


def write_challenge(results: Sequence[ChallengeResult], unpaired: Sequence[Path], folder: Path) -> None:
    """Write ``challenge.tsv`` with a row per scan, ``challenge_means.tsv``, and both as ``challenge.json``.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    means = average_challenge(results)
    scans = [(result.name, *(_text(getattr(result.score, name)) for name in MEASURES)) for result in results]
    record = {
        "masks": [challenge_record(result) for result in results],
        "means": {name: _plain_estimate(found) for name, found in means.items()},
        "without_prediction": [path.as_posix() for path in unpaired],
    }
    try:
        write_text(folder / "challenge.tsv", tsv(("mask", *MEASURES), scans))
        write_text(
            folder / "challenge_means.tsv", tsv(("measure", "mean", "low", "high", "subjects"), [_mean_row(*one) for one in means.items()])
        )
        write_json(folder / "challenge.json", record)
    except OSError as error:
        raise InputError(
            f"an output folder {folder} that cannot be written ({error.strerror})", "a folder to write in", "choose another"
        ) from None


def challenge_record(result: ChallengeResult) -> dict[str, Any]:
    """A scan's numbers as plain values; what is not assessed is ``{"not_assessed": reason}``."""
    return {
        "mask": result.name,
        **{name: _plain(getattr(result.score, name)) for name in MEASURES},
        "header_ignored": result.header_ignored,
    }


def _mean_row(name: str, found: Estimate | NotAssessed) -> tuple[str, ...]:
    if isinstance(found, NotAssessed):
        return (name, *(NOT_AVAILABLE,) * 3, "0")
    return (name, _text(found.value), _text(found.low), _text(found.high), str(found.n))


def _plain_estimate(found: Estimate | NotAssessed) -> Mapping[str, Any]:
    if isinstance(found, NotAssessed):
        return {"not_assessed": found.reason}
    low, high = (None if end != end else end for end in (found.low, found.high))
    return {"mean": found.value, "low": low, "high": high, "subjects": found.n}


def _text(value: float | NotAssessed) -> str:
    # Ten digits, not the six of other tables: the challenge's numbers are compared to 1e-6.
    return NOT_AVAILABLE if isinstance(value, NotAssessed) or value != value else f"{value:.10g}"


def _plain(value: float | NotAssessed) -> Any:
    return {"not_assessed": value.reason} if isinstance(value, NotAssessed) else value
