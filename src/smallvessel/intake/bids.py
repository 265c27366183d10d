"""Which files make up a session: a BIDS folder or plain files. Chooses, and says by which rule; opens no image data.

The folder need not be strictly valid BIDS: what counts is ``sub-*[/ses-*]/{anat,swi}/sub-*_SUFFIX.nii[.gz]``.
``derivatives`` and ``sourcedata`` are never entered.

Of several images of one sequence, one is taken, by the first of these criteria that tells them apart:

1. covers a whole head (at least 100 mm along each axis, 10 slices; a slab or a damaged header comes last),
2. susceptibility only: SWI, then T2*-weighted (T2starw), then other gradient echo (GRE, MEGRE),
3. without contrast agent (no ``ce-``),
4. thinner slices, to 0.1 mm: small lesions vanish in thick ones,
5. smaller voxels, to 1 %,
6. the echo: a combined image before single echoes; of these T1w and FLAIR the first, T2w the last, susceptibility the one
   nearest to 25 ms by its JSON side-car, else the last (microbleeds bloom with echo time, late echoes lose signal),
7. the later run, since a scan is repeated when the first one failed,
8. the name that sorts first.

The order is an own choice, as is 25 ms: longer echo times show more microbleeds (Greenberg et al. 2009,
10.1016/S1474-4422(09)70013-4), but no one time fits all field strengths.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, make_printable
from ..markers import Sequence
from ..participants import UNKNOWN, read_participants
from ..records import LABEL, SessionId, SessionSource
from .nifti import read_header

SUFFIXES: dict[str, Sequence] = {
    "flair": Sequence.FLAIR,
    "t1w": Sequence.T1W,
    "t2w": Sequence.T2W,
    "swi": Sequence.SWI,
    "t2starw": Sequence.SWI,
    "t2star": Sequence.SWI,
    "gre": Sequence.SWI,
    "megre": Sequence.SWI,
}
"""Accepted suffixes in lower case; ``t2star`` is the one that BIDS has withdrawn."""

SUSCEPTIBILITY_ORDER = ("swi", "t2starw", "t2star", "gre", "megre")
WHOLE_HEAD_MM = 100.0
WHOLE_HEAD_SLICES = 10
TARGET_ECHO_S = 0.025
DATATYPES = ("anat", "swi")
EXTENSION = re.compile(r"\.nii(\.gz)?\Z", re.IGNORECASE)
"""Some archives write names in capitals."""
LABELS_EXPECTED = "a label of letters and digits, perhaps with . + - between them"
PHASE = {"P", "PHASE", "PHASE MAP"}
"""What DICOM's image type says of a phase image, by vendor."""

CRITERIA = (
    "it covers a whole head",
    "SWI comes before T2*-weighted and other gradient echo",
    "it has no contrast agent",
    "its slices are thinner",
    "its voxels are smaller",
    "its echo suits the sequence better",
    "it is the later run",
    "its name sorts first",
)


@dataclass(frozen=True)
class _Candidate:
    path: Path
    entities: Mapping[str, str]
    suffix: str
    sidecar: Mapping[str, Any]

    @property
    def sequence(self) -> Sequence:
        return SUFFIXES[self.suffix.lower()]


def find_sessions(bids: Path, subjects: Ordered[str] = (), sessions: Ordered[str] = ()) -> tuple[SessionSource, ...]:
    """All sessions of a BIDS folder with the files that were chosen for each.

    A session without a usable image is left out and named in the log of its subject's other sessions; a subject without
    any is returned once, without files, so that it is reported instead of forgotten. So is a session whose folder cannot be read or
    whose label cannot be used, with the reason as its refusal.

    Parameters
    ----------
    bids : Path
        The folder that holds ``sub-*``.
    subjects, sessions : sequence of str, optional
        Labels to keep, with or without ``sub-`` and ``ses-``; all when empty.

    Returns
    -------
    tuple of SessionSource
        Ordered by subject and session.

    Raises
    ------
    InputError
        When ``bids`` is not a folder, holds no usable image, or a label does not occur in it.
    """
    folders = _session_folders(bids)
    wanted_subjects = _known_labels(subjects, "sub-", {key.subject for key in folders}, "participant")
    kept = {key: folder for key, folder in folders.items() if not wanted_subjects or key.subject in wanted_subjects}
    wanted_sessions = _known_labels(sessions, "ses-", {key.session for key in kept if key.session}, "session")
    kept = {key: folder for key, folder in kept.items() if not wanted_sessions or key.session in wanted_sessions}
    found = [_choose_files(key, folder) for key, folder in sorted(kept.items(), key=lambda item: (item[0].subject, item[0].session or ""))]
    if not any(source.files or source.refusal for source in found):
        raise InputError(
            f"no usable image in {len(found)} session folder(s) of {bids}",
            "images such as sub-01/anat/sub-01_FLAIR.nii.gz with a suffix of FLAIR, T1w, T2w, swi, T2starw, GRE or MEGRE",
            "check the names, or name the files with --flair, --t1w, --t2w and --swi",
        )
    return tuple(_add_traits(_drop_empty(found), bids / "participants.tsv"))


def session_from_files(files: Mapping[Sequence, Path], subject: str) -> SessionSource:
    """A session of plain files.

    Parameters
    ----------
    files : mapping of Sequence to Path
    subject : str
        Label under which the results are written, with or without ``sub-``; letters and digits, perhaps with . + - between them.

    Raises
    ------
    InputError
        When no file is given, one does not exist or is a phase image by its side-car, or the label cannot be used.
    """
    label = subject.removeprefix("sub-")
    if not re.fullmatch(LABEL, label):
        raise InputError(f"the participant label {subject!r}", LABELS_EXPECTED, "choose another label")
    if not files:
        raise InputError("no image", f"at least one of {', '.join(Sequence)}", "name a file, for example with --flair")
    for sequence, path in files.items():
        if not path.is_file():
            raise InputError(f"no file at {path} ({sequence})", "a NIfTI file", "check the path")
        if _is_phase(_read_sidecar(path)):
            raise InputError(f"{path} ({sequence}), phase by its side-car", "the magnitude image", "give that of the same series")
    ordered = {sequence: files[sequence] for sequence in Sequence if sequence in files}
    return SessionSource(SessionId(label), ordered, tuple(f"{sequence}: {path.name}, as named." for sequence, path in ordered.items()))


def _session_folders(bids: Path) -> dict[SessionId, Path]:
    if not bids.is_dir():
        found = "a file" if bids.exists() else "nothing"
        raise InputError(
            f"{found} at {bids}", "a BIDS folder that holds sub-* folders", "check the path; for single files use --flair and so on"
        )
    folders: dict[SessionId, Path] = {}
    for subject in sorted(bids.glob("sub-?*")):
        if not subject.is_file():
            folders.update(_folders_of(subject))
    if not folders:
        remedy = f"give {bids.parent}" if bids.name.startswith(("sub-", "ses-")) else "check the path"
        raise InputError(f"no sub-* folder in {bids}", "a BIDS folder that holds sub-* folders", remedy)
    return folders


def _folders_of(subject: Path) -> dict[SessionId, Path]:
    """The sessions of a participant; what cannot be read is taken as one session, which is refused when its images are looked for."""
    label = make_printable(subject.name.removeprefix("sub-"))
    try:
        sessions = [path for path in sorted(subject.iterdir()) if re.match("ses-.", path.name) and not path.is_file()]
        has_own = not sessions or any((subject / datatype).is_dir() for datatype in DATATYPES)
    except OSError:
        sessions, has_own = [], True
    found = {SessionId(label, make_printable(path.name.removeprefix("ses-"))): path for path in sessions}
    return {**found, SessionId(label): subject} if has_own else found


def _known_labels(labels: Iterable[str], prefix: str, known: set[str], kind: str) -> set[str]:
    wanted = {label.removeprefix(prefix) for label in labels}
    unknown = sorted(wanted - known)
    if unknown:
        listed = sorted(known)
        shown = ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
        raise InputError(f"unknown {kind} label(s) {', '.join(unknown)}", f"labels among {shown or '(none)'}", f"correct --{kind}-label")
    return wanted


def _drop_empty(found: list[SessionSource]) -> list[SessionSource]:
    empty = {source.id for source in found if not (source.files or source.refusal)}
    kept: list[SessionSource] = []
    for source in found:
        siblings = [other.id for other in found if other.id.subject == source.id.subject]
        left_out = tuple(f"{key} has no usable image and was left out." for key in siblings if key in empty and key != source.id)
        if source.id not in empty:
            kept.append(replace(source, log=source.log + left_out))
        elif all(key in empty for key in siblings) and source.id == siblings[0]:
            kept.append(source)
    return kept


def _add_traits(found: list[SessionSource], table: Path) -> list[SessionSource]:
    """Age and sex where the table tells them; a table that cannot be used costs only them."""
    if not table.is_file():
        return found
    try:
        traits = read_participants(table)
    except InputError as error:
        return [replace(source, log=(*source.log, f"Age and sex are not known: {error}")) for source in found]
    return [replace(source, traits=traits.get(source.id.subject, UNKNOWN)) for source in found]


def _choose_files(key: SessionId, folder: Path) -> SessionSource:
    if not all(re.fullmatch(LABEL, label) for label in (key.subject, key.session) if label is not None):
        return SessionSource(key, {}, refusal=InputError(f"the folder {folder}", LABELS_EXPECTED, "rename it and the files in it"))
    try:
        candidates, log = _list_candidates(key, folder)
    except OSError as error:
        found = f"the folder {error.filename} that cannot be read ({error.strerror})"
        return SessionSource(key, {}, refusal=InputError(found, "a folder of images", "see to its permissions, or fetch what it links to"))
    files: dict[Sequence, Path] = {}
    for sequence in Sequence:
        of_sequence = [candidate for candidate in candidates if candidate.sequence is sequence]
        if of_sequence:
            files[sequence], sentence = _choose_one(sequence, of_sequence)
            log.append(sentence)
    return SessionSource(key, files, tuple(log))


def _list_candidates(key: SessionId, folder: Path) -> tuple[list[_Candidate], list[str]]:
    candidates: list[_Candidate] = []
    log: list[str] = []
    datatypes = [path for path in sorted(folder.iterdir()) if path.name in DATATYPES and not path.is_file()]
    for path in (path for datatype in datatypes for path in sorted(datatype.iterdir())):
        if not (EXTENSION.search(path.name) and path.name.startswith("sub-")):
            continue
        *pairs, suffix = EXTENSION.sub("", path.name).split("_")
        if suffix.lower() not in SUFFIXES:
            continue
        entities = {name: value for name, _, value in (pair.partition("-") for pair in pairs)}
        sidecar = _read_sidecar(path)
        if SessionId(entities["sub"], entities.get("ses")) != key:
            log.append(f"{path.name} was left out: its name does not belong to {key}.")
        elif entities.get("part", "mag") != "mag":
            log.append(f"{path.name} was left out: {entities['part']}, not magnitude.")
        elif _is_phase(sidecar):
            log.append(f"{path.name} was left out: phase by its side-car, not magnitude.")
        else:
            candidates.append(_Candidate(path, entities, suffix, sidecar))
    return candidates, log


def _choose_one(sequence: Sequence, candidates: list[_Candidate]) -> tuple[Path, str]:
    if len(candidates) == 1:
        return candidates[0].path, f"{sequence}: {candidates[0].path.name}, the only one."
    ranked = sorted((_rank(candidate), candidate.path) for candidate in candidates)
    (best, path), (second, _) = ranked[:2]
    reason = next(reason for reason, a, b in zip(CRITERIA, best, second, strict=True) if a != b)
    others = ", ".join(other.name for _, other in ranked[1:])
    return path, f"{sequence}: {path.name} was taken because {reason}; left out: {others}."


def _rank(candidate: _Candidate) -> tuple[bool, int, bool, float, float, float, int, str]:
    """Sort key, smallest is best, one entry for each of ``CRITERIA``."""
    whole_head, thickness_mm, voxel_mm3 = _read_geometry(candidate.path)
    suffix = candidate.suffix.lower()
    run = candidate.entities.get("run", "0")
    return (
        not whole_head,
        SUSCEPTIBILITY_ORDER.index(suffix) if suffix in SUSCEPTIBILITY_ORDER else 0,
        "ce" in candidate.entities,
        round(thickness_mm, 1),
        float(np.round(np.log(voxel_mm3), 2)),
        _echo_rank(candidate),
        -int(run) if run.isdecimal() else 0,
        f"{candidate.path.name} in {candidate.path.parent.name}",
    )


def _read_geometry(path: Path) -> tuple[bool, float, float]:
    """Whether the image covers a whole head, its slice thickness in mm and its voxel volume in mm3, from the header."""
    header = read_header(path)
    if header is None:
        return False, np.inf, np.inf
    shape, spacing_mm = np.array(header.get_data_shape()[:3]), np.array(header.get_zooms()[:3], np.float64)
    if len(shape) < 3 or not np.isfinite(spacing_mm).all() or spacing_mm.min() <= 0:
        return False, np.inf, np.inf
    whole_head = bool((shape * spacing_mm).min() >= WHOLE_HEAD_MM and shape.min() >= WHOLE_HEAD_SLICES)
    return whole_head, float(spacing_mm.max()), float(spacing_mm.prod())


def _echo_rank(candidate: _Candidate) -> float:
    echo = candidate.entities.get("echo", "")
    if not echo.isdecimal():
        return -np.inf
    if candidate.sequence in (Sequence.FLAIR, Sequence.T1W):
        return float(echo)
    if candidate.sequence is Sequence.SWI:
        echo_time_s = candidate.sidecar.get("EchoTime")
        if isinstance(echo_time_s, float) and np.isfinite(echo_time_s):
            return abs(echo_time_s - TARGET_ECHO_S)
    # Positive, so that an echo of known time comes first; falls with the echo's number.
    return 1.0 / (1.0 + float(echo)) + 1.0


def _read_sidecar(image: Path) -> Mapping[str, Any]:
    """The JSON side-car of an image; empty where there is none or it cannot be read, for nothing in it is needed."""
    try:
        content = json.loads(image.with_name(f"{EXTENSION.sub('', image.name)}.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_phase(sidecar: Mapping[str, Any]) -> bool:
    image_type = sidecar.get("ImageType")
    kinds = {str(kind).upper() for kind in image_type} if isinstance(image_type, list) else set()
    return sidecar.get("ComplexImageComponent") == "PHASE" or ("M" not in kinds and not PHASE.isdisjoint(kinds))
