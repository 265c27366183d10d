"""A person's review of a session: lesions called wrong or another marker, or a mask drawn anew; everything is measured again.

What was measured at first is kept in the session's folder ``original`` and can be brought back.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import settings_from_dict
from .derivatives import finish_session, rebuild_tables, session_files, write_bytes, write_session
from .errors import GeometryError, InputError
from .markers import Marker
from .records import MarkerMap, NotAssessed, Prepared, Review, SessionId, SessionResult
from .redraw import draw_again, measure_again, whole_or_unchanged
from .report import write_index
from .restore import list_sessions, parse_session, read_session
from .segment.native import bring_to_native
from .shapes import component_boxes, label_components, nearest_labels
from .volume import Grid, LabelMap, Mask, Volume, canonical_grid, read_values, reorder_axes, resample

FORMAT = "smallvessel review 1"
VERDICTS = ("right", "wrong", "relabel", "unsure")
DRAWN_CONFIDENCE = 1.0
"""Of a lesion that a person drew or named."""
HALF = 0.5
"""Of a native voxel has to be covered by what a person said is lesion: there is no doubt in it that a probability would decide."""
MASK_TOLERANCE_MM = 0.05
"""By how much a drawn mask's grid may differ from the image's: editors round headers."""


@dataclass(frozen=True)
class Decision:
    """What a person said about one lesion; ``becomes`` is the marker it is instead, when it is relabelled."""

    marker: Marker
    label: int
    verdict: str
    becomes: Marker | None
    note: str


@dataclass(frozen=True)
class ReviewFile:
    """A review as the report's page saves it."""

    id: SessionId
    lesions_sha256: str
    reviewer: str
    saved_at: str
    note: str
    decisions: tuple[Decision, ...]
    source: str


def read_review(path: Path) -> ReviewFile:
    """Read a review.

    Raises
    ------
    InputError
        When the file cannot be read, or something in it is not as the report's page writes it.
    """
    try:
        text = path.read_bytes()
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"its format is {content.get('format') if isinstance(content, dict) else content!r}")
        decisions = tuple(_read_decision(entry) for entry in content["decisions"])
        reviewer = str(content["reviewer"]).strip()
        named = [(decision.marker, decision.label) for decision in decisions]
        if not reviewer or len(set(named)) < len(named):
            raise ValueError("it names no reviewer" if not reviewer else "it names a lesion twice")
        return ReviewFile(
            id=parse_session(content["session"]),
            lesions_sha256=content["lesions_sha256"],
            reviewer=reviewer,
            saved_at=str(content["saved_at"]),
            note=str(content.get("note", "")),
            decisions=decisions,
            source=f"{path.name}, SHA-256 {hashlib.sha256(text).hexdigest()}",
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"a review that cannot be used, {path} ({reason})", f"JSON of the format {FORMAT}", "save it again in the report"
        ) from None


def _read_decision(entry: Mapping[str, Any]) -> Decision:
    verdict = entry["verdict"]
    if verdict not in VERDICTS:
        raise ValueError(f"the verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    becomes = Marker(entry["as"]) if verdict == "relabel" else None
    return Decision(Marker(entry["marker"]), int(entry["label"]), verdict, becomes, str(entry.get("note", "")))


def apply_reviews(out: Path, paths: Sequence[Path], notify: Callable[[SessionId], None] | None = None) -> None:
    """Measure sessions again with a person's decisions about their lesions; the tables are made once, at the end.

    Parameters
    ----------
    out : Path
        The output folder of a run.
    paths : sequence of Path
        The reviews, each saved in the report of its session as it is now.
    notify : callable, optional
        Is told of each session when it is done.

    Raises
    ------
    InputError
        When a review cannot be read or two are of one session, before anything is changed; when one is of another state of its session
        or names lesions that are not there, after those before it were applied.
    """
    reviews = [read_review(path) for path in paths]
    twice = [str(id) for id, n in Counter(review.id for review in reviews).items() if n > 1]
    if twice:
        raise InputError(f"several reviews of {', '.join(twice)}", "one review per session", "leave out those that do not hold")
    applied = False
    try:
        for review in reviews:
            _apply(out, review)
            applied = True
            if notify:
                notify(review.id)
    finally:
        if applied:
            _rebuild(out)


def _apply(out: Path, review: ReviewFile) -> None:
    result = read_session(out, review.id)
    found = hashlib.sha256((out / session_files(review.id).lesions).read_bytes()).hexdigest()
    if found != review.lesions_sha256:
        raise InputError(
            f"a review of other lesions than {review.id} has now (SHA-256 {review.lesions_sha256[:12]}, not {found[:12]})",
            "a review saved in the present report",
            "open the present report, review again and save; or bring the original back with smallvessel review revert",
        )
    changed, changes = _decide(result, review.decisions)
    if review.note:
        changes.append(f"Remark: {review.note}")
    _write_reviewed(out, result, changed, Review(review.reviewer, review.saved_at, _now(), review.source, tuple(changes)))


def apply_mask(out: Path, path: Path, marker: Marker, id: SessionId | None, reviewer: str) -> SessionId:
    """Measure a session again with a marker's mask that a person corrected.

    Parameters
    ----------
    out : Path
        The output folder of a run.
    path : Path
        NIfTI, on the grid of the marker's own sequence or on the 1 mm analysis grid; every voxel above one half is lesion. Several
        labels are taken together only from a ``_dseg`` file, where they number the lesions.
    marker : Marker
    id : SessionId or None
        None where the folder holds one session only.
    reviewer : str

    Raises
    ------
    InputError
        When the mask cannot be read, or the session or the marker is not there.
    GeometryError
        When the mask is on neither grid.
    """
    id = id or _only_session(out)
    result = read_session(out, id)
    found = result.segmentation.markers[marker]
    if isinstance(found, NotAssessed):
        raise InputError(f"a mask of {marker}, not assessed in {id} ({found.reason})", "a marker that was", "give another --marker")
    mask = _read_drawn(path)
    prepared, native = result.prepared, result.prepared.native[found.native_sequence]
    if (own := _reordered(mask, native.grid)) is not None:
        on_grid = resample(own, prepared.grid, native.reference_from_native)
        changed = replace(_number(found, on_grid.data), native_mask=own)
    elif (own := _reordered(mask, prepared.grid)) is not None:
        changed = _with_native(found, own.data, prepared)
    else:
        raise GeometryError(
            f"a mask of {_grid_text(mask.grid)}, {path}",
            f"the grid of {found.native_sequence} ({_grid_text(native.grid)}) or the analysis grid ({_grid_text(prepared.grid)})",
            f"draw on {found.native_sequence}, or on a mask that smallvessel wrote",
        )
    source = f"{path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    changes = [f"{marker}: {len(changed.confidence)} lesions of a corrected mask in place of {len(found.confidence)}."]
    lost = label_components(mask.data)[1] - len(changed.confidence)
    if lost > 0:
        changes.append(f"{marker}: {lost} drawn lesions were too small for the 1 mm grid or joined another on it.")
    _write_reviewed(out, result, {marker: changed}, Review(reviewer, _now(), _now(), source, tuple(changes)))
    _rebuild(out)
    return id


def revert_review(out: Path, id: SessionId | None) -> SessionId:
    """Bring back what was measured before the first review.

    Raises
    ------
    InputError
        When the session was never reviewed.
    """
    id = id or _only_session(out)
    files = session_files(id)
    result = read_session(out, id)
    kept = [path for path in sorted((out / files.original).rglob("*")) if path.is_file()]
    if not result.reviews or not kept:
        raise InputError(f"{id}, which was never reviewed", "a reviewed session", "look at its measures.json")
    with whole_or_unchanged(out, id):
        for path in kept:
            write_bytes(out / files.folder / path.relative_to(out / files.original), path.read_bytes())
        original = read_session(out, id)
        for path, content in draw_again(out, replace(original, measurements=measure_again(original))).items():
            write_bytes(out / path, content)
    for path in kept:
        path.unlink()
    _rebuild(out)
    return id


def _decide(result: SessionResult, decisions: tuple[Decision, ...]) -> tuple[dict[Marker, MarkerMap], list[str]]:
    """The markers that change, and sentences."""
    masks: dict[Marker, NDArray[np.bool_]] = {}
    named: list[tuple[Marker, NDArray[np.bool_]]] = []
    changes = []

    def mask_of(marker: Marker) -> NDArray[np.bool_]:
        if marker not in masks:
            masks[marker] = _assessed(result, marker).labels.data > 0
        return masks[marker]

    for decision in decisions:
        found = _assessed(result, decision.marker)
        lesion = found.labels.data == decision.label
        if not lesion.any():
            raise InputError(
                f"a decision about {decision.marker} {decision.label}, which {result.id} does not have",
                f"a lesion from 1 to {len(found.confidence)}",
                "save the review again in the present report",
            )
        name, note = f"{decision.marker} {decision.label}", f": {decision.note}" if decision.note else ""
        if decision.verdict in ("wrong", "relabel"):
            mask_of(decision.marker)[lesion] = False
        if decision.becomes is not None:
            named.append((decision.becomes, lesion))
            changes.append(f"{name} became {decision.becomes}{note}.")
        else:
            said = {"wrong": "was removed", "right": "was confirmed", "unsure": "was remarked on"}[decision.verdict]
            changes.append(f"{name} {said}{note}.")
    for marker, lesion in named:  # last, so that the order of the decisions does not matter where lesions overlap
        mask_of(marker)[lesion] = True
    changed = {marker: _with_native(_assessed(result, marker), mask, result.prepared) for marker, mask in masks.items()}
    return changed, changes


def _assessed(result: SessionResult, marker: Marker) -> MarkerMap:
    found = result.segmentation.markers[marker]
    if isinstance(found, NotAssessed):
        raise InputError(
            f"a decision about {marker}, which was not assessed in {result.id} ({found.reason})",
            "lesions of markers that were assessed",
            "take that decision out of the review",
        )
    return found


def _number(found: MarkerMap, mask: NDArray[np.bool_]) -> MarkerMap:
    """A marker with another mask: components numbered anew, each as confident as the most confident lesion it was before.

    The errors that the network's card expects are those of its own lesions, no longer of these.
    """
    labels, _ = label_components(mask)
    confidence = []
    for label, box in component_boxes(labels, 0):
        before = np.unique(found.labels.data[box][labels[box] == label])
        confidence.append(max((found.confidence[old - 1] for old in before if old > 0), default=DRAWN_CONFIDENCE))
    return replace(found, labels=LabelMap(labels, found.labels.grid), confidence=tuple(confidence), errors=None)


def _with_native(found: MarkerMap, mask: NDArray[np.bool_], prepared: Prepared) -> MarkerMap:
    """A marker with another mask on the analysis grid. On its sequence's own grid only what differs is drawn anew.

    What a person drew there, and lesions that nobody touched, stay as they are, voxel by voxel.
    """
    native, before = prepared.native[found.native_sequence], found.labels.data
    cut = np.unique(before[(before > 0) & ~mask])
    drawn = found.native_mask.data.copy()
    voxels = np.argwhere(drawn)
    nearest = nearest_labels(native.reference_from_native(native.grid.world(voxels)), found.labels)
    drawn[tuple(voxels[np.isin(nearest, cut)].T)] = False
    differs = mask & ((before == 0) | np.isin(before, cut))
    certain = Volume(differs.astype(np.float32), found.labels.grid)
    added, _ = bring_to_native(LabelMap(label_components(differs)[0], found.labels.grid), certain, HALF, native)
    return replace(_number(found, mask), native_mask=Mask(drawn | added.data, native.grid))


def _read_drawn(path: Path) -> Mask:
    """A mask that a person drew; of several structures in one file it is not known which is meant."""
    values = read_values(path)
    labels = np.unique(values.data[values.data > HALF])
    if len(labels) > 1 and np.array_equal(labels, np.rint(labels)) and "_dseg." not in path.name:
        shown = ", ".join(f"{label:.0f}" for label in labels[:6]) + (", ..." if len(labels) > 6 else "")
        raise InputError(
            f"a mask with the labels {shown}, {path}",
            "one label, that of the marker",
            "export the label of the marker alone and give that file",
        )
    return Mask(values.data > HALF, values.grid)


def _reordered(mask: Mask, grid: Grid) -> Mask | None:
    """The mask on a grid that has the same voxels, in whatever order of axes; None where they are other voxels."""
    if not canonical_grid(mask.grid).same_as(canonical_grid(grid), MASK_TOLERANCE_MM):
        return None
    ordered = reorder_axes(mask, canonical_grid(mask.grid))
    return Mask(reorder_axes(Mask(ordered.data, canonical_grid(grid)), grid).data, grid)


def _write_reviewed(out: Path, result: SessionResult, changed: Mapping[Marker, MarkerMap], review: Review) -> None:
    """Measure and draw everything first, then write: what fails before leaves the session as it was."""
    segmentation = replace(result.segmentation, markers={**result.segmentation.markers, **changed})
    reviewed = replace(result, segmentation=segmentation, reviews=(*result.reviews, review))
    reviewed = replace(reviewed, measurements=measure_again(reviewed))
    drawn = draw_again(out, reviewed)
    kept = _originals(out, result)
    with whole_or_unchanged(out, result.id):
        written = write_session(reviewed, out, settings_from_dict(result.provenance.settings).write_probability)
        for path, content in (kept | drawn).items():
            write_bytes(out / path, content)
        finish_session(reviewed, out, (*written, *drawn, *kept))


def _rebuild(out: Path) -> None:
    records = rebuild_tables(out)
    if (out / "index.html").exists():
        write_index(out, records)


def _originals(out: Path, result: SessionResult) -> dict[Path, bytes]:
    """What the first measurement wrote and a review may change, by where it is kept."""
    files = session_files(result.id)
    if (out / files.original).exists():
        return {path.relative_to(out): path.read_bytes() for path in sorted((out / files.original).rglob("*")) if path.is_file()}
    paths = [files.measures, files.lesions]
    for marker, found in result.segmentation.markers.items():
        if isinstance(found, MarkerMap):
            reference = result.prepared.reference
            paths += [
                files.image(reference, f"desc-{marker}lesions_dseg", "1mm"),
                files.image(reference, f"label-{marker}_mask", "1mm"),
                files.image(found.native_sequence, f"label-{marker}_mask"),
            ]
    return {files.original / path.relative_to(files.folder): (out / path).read_bytes() for path in paths}


def _only_session(out: Path) -> SessionId:
    sessions = list_sessions(out)
    if len(sessions) != 1:
        raise InputError(
            f"{len(sessions)} sessions in {out}", "one session, or its name", "add --session sub-01, or --session sub-01_ses-1"
        )
    return sessions[0]


def _grid_text(grid: Grid) -> str:
    return f"{' x '.join(map(str, grid.shape))} voxels of {' x '.join(f'{mm:.2f}' for mm in grid.spacing_mm)} mm"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
