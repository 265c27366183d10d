"""A person's review of a session: lesions called wrong or another marker, or a mask drawn anew; everything is measured again.

What was measured at first is kept in the session's folder ``original`` and can be brought back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import settings_from_dict
from ..derivatives import (
    files_there,
    finish_session,
    is_cut_off,
    originals_there,
    read_record,
    rebuild_tables,
    session_files,
    write_bytes,
    write_record,
    write_session,
)
from ..errors import GeometryError, InputError, SmallvesselError
from ..markers import Marker
from ..records import MarkerMap, NotAssessed, Review, SessionId, SessionResult
from ..redraw import draw_again, hash_file, measure_again, whole_or_unchanged
from ..report import write_index
from ..restore import list_sessions, read_recorded, read_session
from ..volume import Grid
from .masks import change_mask, change_native_mask, count_joined, read_drawn, reorder
from .saved import FORMAT, Decision, ReviewFile, describe_source, one_line, read_review

__all__ = ["FORMAT", "apply_mask", "apply_reviews", "read_review", "revert_review"]

Tell = Callable[[str], None]


def apply_reviews(out: Path, paths: Sequence[Path], tell: Tell | None = None) -> None:
    """Measure sessions again with a person's decisions about their lesions; the tables are made once, at the end.

    A review that was applied already is skipped, and one that is refused does not keep the others from being applied.

    Parameters
    ----------
    out : Path
        The output folder of a run.
    paths : sequence of Path
        The reviews, each saved in the report of its session as it is now.
    tell : callable, optional
        Is told, in a sentence, of each session when it is done or skipped.

    Raises
    ------
    InputError
        When two reviews are of one session, before anything is changed; when reviews cannot be read, are of another state of their
        session or name lesions that are not there, after the others were applied.
    """
    tell = tell or _keep_silent
    reviews: list[ReviewFile] = []
    refused: list[SmallvesselError] = []
    for path in paths:
        try:
            review = read_review(path)
            if _is_applied(out, review):
                tell(f"{review.id}: {path.name} was applied before and is skipped.")
            else:
                reviews.append(review)
        except SmallvesselError as error:
            refused.append(error)
    twice = [str(id) for id, n in Counter(review.id for review in reviews).items() if n > 1]
    if twice:
        raise InputError(f"several reviews of {', '.join(twice)}", "one review per session", "leave out those that do not hold")
    applied = False
    try:
        for review in reviews:
            try:
                _apply(out, review)
            except SmallvesselError as error:
                refused.append(error)
            else:
                applied = True
                tell(f"{review.id} was measured again. Record: {out / session_files(review.id).measures}")
    finally:
        if applied:
            _rebuild(out, tell)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise InputError(
            f"{len(refused)} of {len(paths)} reviews that were refused: {'; '.join(error.found for error in refused)}",
            "reviews saved in the present reports",
            "; ".join(dict.fromkeys(error.remedy for error in refused)),
        )


def apply_mask(out: Path, path: Path, marker: Marker, id: SessionId | None, reviewer: str, tell: Tell | None = None) -> SessionId:
    """Measure a session again with a marker's mask that a person corrected.

    Lesions that are in the mask as they were keep their volumes and numbers, on whichever grid it was drawn.

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
    tell : callable, optional
        Is told, in a sentence, which sessions are left out of the table.

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
    mask = read_drawn(path)
    prepared, native = result.prepared, result.prepared.native[found.native_sequence]
    changed = found
    if (own := reorder(mask, native.grid)) is not None:
        if not np.array_equal(own.data, found.native_mask.data):
            changed = change_native_mask(found, own, prepared)
    elif (own := reorder(mask, prepared.grid)) is not None:
        if not np.array_equal(own.data, found.mask.data):
            changed = change_mask(found, own.data, prepared)
    else:
        raise GeometryError(
            f"a mask of {_grid_text(mask.grid)}, {path}",
            f"the grid of {found.native_sequence} ({_grid_text(native.grid)}) or the analysis grid ({_grid_text(prepared.grid)})",
            f"draw on {found.native_sequence}, or on a mask that smallvessel wrote",
        )
    changes = [f"{marker}: {len(changed.confidence)} lesions of a corrected mask in place of {len(found.confidence)}."]
    if changed is found:
        changes = [f"{marker}: the mask was left as it is."]
    elif joined := count_joined(found, changed):
        changes.append(f"{marker}: {joined} drawn lesions joined another on the 1 mm grid, or lie outside it.")
    review = Review(one_line(reviewer), _now(), _now(), describe_source(path.name, hash_file(path)), tuple(changes))
    _write_reviewed(out, result, {marker: changed}, review)
    _rebuild(out, tell)
    return id


def revert_review(out: Path, id: SessionId | None, tell: Tell | None = None) -> SessionId:
    """Bring back what was measured before the first review, also when a review was cut off while it was written.

    Raises
    ------
    InputError
        When the session was never reviewed, or what was measured at first is not kept.
    """
    id = id or _only_session(out)
    files, kept, cut_off = session_files(id), originals_there(out, id), is_cut_off(out, id)
    reviewed = cut_off or bool(read_session(out, id).reviews)
    if not reviewed or not kept:
        raise InputError(
            f"{id}, {'whose folder original is gone' if reviewed else 'which was never reviewed'}",
            "a reviewed session with its folder original",
            f"look at {files.measures}",
        )
    first = read_record(out / kept[-1])
    there = files_there(out, first if cut_off else read_record(out / files.measures))
    with whole_or_unchanged(out, id):
        (out / files.measures).unlink(missing_ok=True)
        for path in kept[:-1]:
            write_bytes(out / files.folder / path.relative_to(files.original), (out / path).read_bytes())
        original = read_recorded(out, id, first, out / kept[-1])
        measured = replace(original, measurements=measure_again(original))
        drawn = draw_again(out, measured, there, hash_file(out / files.lesions))
        for path, content in drawn.items():
            write_bytes(out / path, content)
        write_record(out, id, first, (files_there(out, first) - set(files.reports)) | set(drawn))
    _rebuild(out, tell)
    return id


def _is_applied(out: Path, review: ReviewFile) -> bool:
    path = out / session_files(review.id).measures
    earlier = read_record(path).get("reviews", ()) if path.exists() else ()
    return any(review.sha256 in str(entry) for entry in earlier)


def _apply(out: Path, review: ReviewFile) -> None:
    result = read_session(out, review.id)
    _require_present(out, review, result)
    changed, changes = _decide(result, review.decisions)
    if review.note:
        changes.append(f"Remark: {review.note}")
    _write_reviewed(out, result, changed, Review(review.reviewer, review.saved_at, _now(), review.source, tuple(changes)))


def _require_present(out: Path, review: ReviewFile, result: SessionResult) -> None:
    """Refuse a review that was made on another state of the session than it has now."""
    found = hash_file(out / session_files(review.id).lesions)
    has_lesions = any(isinstance(marker, MarkerMap) and marker.confidence for marker in result.segmentation.markers.values())
    why, remedy = "", "open the present report, review again and save; or bring the original back with smallvessel review revert"
    if found != review.lesions_sha256:
        why = f"of other lesions than {review.id} has now (SHA-256 {review.lesions_sha256[:12]}, not {found[:12]})"
    elif review.digest is None and not has_lesions:
        why = f"from a report of an earlier version, in which nothing tells the scans of {review.id} from others without lesions"
        remedy = f"move {session_files(review.id).report} away, make it anew with smallvessel run, review again and save"
    elif review.digest is not None and review.digest != result.provenance.digest:
        why = f"of another run than that which measured {review.id} (digest {review.digest[:12]}, not {result.provenance.digest[:12]})"
    elif review.digest is not None and review.earlier != tuple(earlier.source for earlier in result.reviews):
        why = f"of {review.id} as it was before or after other reviews"
    if why:
        raise InputError(f"a review {why}, {review.name}", "a review saved in the present report", remedy)


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
    changed = {marker: change_mask(_assessed(result, marker), mask, result.prepared) for marker, mask in masks.items()}
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


def _write_reviewed(out: Path, result: SessionResult, changed: Mapping[Marker, MarkerMap], review: Review) -> None:
    """Measure and draw everything first, then write: what fails before leaves the session as it was.

    What was measured at first is kept before anything else is written, so that it can be brought back after whatever happens.
    """
    segmentation = replace(result.segmentation, markers={**result.segmentation.markers, **changed})
    reviewed = replace(result, segmentation=segmentation, reviews=(*result.reviews, review))
    reviewed = replace(reviewed, measurements=measure_again(reviewed))
    drawn = draw_again(out, reviewed, files_there(out, read_record(out / session_files(result.id).measures)))
    originals = {} if result.reviews else _read_originals(out, result)
    kept = tuple(originals) or originals_there(out, result.id)
    with whole_or_unchanged(out, result.id):
        for path, content in originals.items():
            write_bytes(out / path, content)
        written = write_session(reviewed, out, settings_from_dict(result.provenance.settings).write_probability)
        for path, content in drawn.items():
            write_bytes(out / path, content)
        finish_session(reviewed, out, (*written, *drawn, *kept))


def _rebuild(out: Path, tell: Tell | None) -> None:
    records = rebuild_tables(out, tell)
    if (out / "index.html").exists():
        write_index(out, records)


def _read_originals(out: Path, result: SessionResult) -> dict[Path, bytes]:
    """What the first measurement wrote and a review may change, by where it is kept; the record last."""
    files = session_files(result.id)
    paths = [files.lesions]
    for marker, found in result.segmentation.markers.items():
        if isinstance(found, MarkerMap):
            reference = result.prepared.reference
            paths += [
                files.image(reference, f"desc-{marker}lesions_dseg", "1mm"),
                files.image(reference, f"label-{marker}_mask", "1mm"),
                files.image(found.native_sequence, f"label-{marker}_mask"),
            ]
    return {files.kept(path): (out / path).read_bytes() for path in (*paths, files.measures)}


def _keep_silent(sentence: str) -> None:
    """In place of a ``tell`` that was not given."""


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
