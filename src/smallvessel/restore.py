"""A session's result read back from the files of a run, so that it can be measured again after a review, without the scans."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np

from .derivatives import MNI, read_record, session_files
from .errors import InputError
from .expected import ExpectedErrors
from .markers import MARKERS, Marker, Sequence
from .participants import UNKNOWN, Traits
from .records import (
    LABEL,
    Anatomy,
    Check,
    MarkerMap,
    Measurements,
    Native,
    NotAssessed,
    Prepared,
    Provenance,
    Review,
    Segmentation,
    SessionId,
    SessionResult,
)
from .structures import RIGHT_OFFSET
from .volume import LabelMap, Mask, Transform, Volume, read_mask, read_values

NOT_YET = NotAssessed("not measured yet")


def parse_session(name: str) -> SessionId:
    """A session's identity from its name, such as ``sub-01_ses-1``.

    Raises
    ------
    InputError
        When it is no such name.
    """
    match = re.fullmatch(f"sub-({LABEL})(?:_ses-({LABEL}))?", name)
    if match is None:
        raise InputError(f"a session named {name!r}", "a name such as sub-01 or sub-01_ses-1", "take it from the report's file name")
    return SessionId(match[1], match[2])


def list_sessions(out: Path) -> tuple[SessionId, ...]:
    """The sessions that are finished in an output folder, in the order of their names."""
    paths = {*out.glob("sub-*/sub-*_measures.json"), *out.glob("sub-*/ses-*/sub-*_measures.json")}
    return tuple(sorted((parse_session(path.name.removesuffix("_measures.json")) for path in paths), key=str))


def read_session(out: Path, id: SessionId) -> SessionResult:
    """Read a finished session back; its measurements are empty, to be made from the masks.

    Parameters
    ----------
    out : Path
    id : SessionId

    Raises
    ------
    InputError
        When the session is not finished there, or one of its files is missing or damaged.
    """
    path = out / session_files(id).measures
    if not path.exists():
        there = ", ".join(map(str, list_sessions(out))) or "none"
        raise InputError(f"no finished session {id} in {out}", f"one of those that are ({there})", "check the folder and the name")
    return read_recorded(out, id, read_record(path), path)


def read_recorded(out: Path, id: SessionId, record: dict[str, Any], path: Path) -> SessionResult:
    """Read back the session of a record that stands in ``path``; else as :func:`read_session`."""
    try:
        prepared = _read_prepared(out, id, record)
        markers = {marker: _read_marker(out, id, record, prepared, marker) for marker in Marker}
        empty = Measurements(NOT_YET, 0.0, {}, {}, ())
        reviews = tuple(Review(**{**review, "changes": tuple(review["changes"])}) for review in record.get("reviews", ()))
        return SessionResult(id, prepared, Segmentation(markers), empty, _read_provenance(record["provenance"]), reviews)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"a record that cannot be read, {path} ({type(error).__name__}: {error})",
            "a session as this version of smallvessel writes it",
            "measure it again with smallvessel run --force",
        ) from None


def _read_prepared(out: Path, id: SessionId, record: dict[str, Any]) -> Prepared:
    files, reference = session_files(id), Sequence(record["reference"])
    native = {}
    for name in record["sequences"]:
        sequence = Sequence(name)
        brain = read_mask(out / files.image(sequence, "label-brain_mask"))
        same = sequence is reference
        to_reference = Transform.identity() if same else _read_transform(out / files.transform(sequence, reference))
        native[sequence] = Native(brain.grid, brain, to_reference)

    def on_grid(what: str) -> Path:
        return out / files.image(reference, what, "1mm")

    codes = read_values(on_grid("desc-anatomy_dseg"))
    lobes = read_values(on_grid("desc-lobes_dseg"))
    names = _read_table(on_grid("desc-lobes_dseg").with_name(on_grid("desc-lobes_dseg").name.replace(".nii.gz", ".tsv")))
    structures = codes.data.astype(np.int32)
    structures = structures - RIGHT_OFFSET * (structures >= RIGHT_OFFSET)
    anatomy = Anatomy(
        structures=LabelMap(structures, codes.grid),
        right=_on(read_mask(on_grid("label-right_mask")), codes),
        brain=_on(read_mask(on_grid("label-brain_mask")), codes),
        intracranial=_on(read_mask(on_grid("label-intracranial_mask")), codes),
        lobes=LabelMap(lobes.data.astype(np.int32), codes.grid, {int(row["index"]): row["name"] for row in names}),
        mni_from_reference=_read_transform(out / files.transform(reference, MNI)),
    )
    checks = tuple(Check(**check) for check in record["qc"]["checks"])
    return Prepared(id, reference, codes.grid, {}, native, anatomy, bool(record["brain_extracted"]), checks)


def _read_marker(out: Path, id: SessionId, record: dict[str, Any], prepared: Prepared, marker: Marker) -> MarkerMap | NotAssessed:
    told = record["markers"][str(marker)]
    if "not_assessed" in told:
        return NotAssessed(told["not_assessed"])
    files, reference = session_files(id), prepared.reference
    own = next(sequence for sequence in MARKERS[marker].rated_on if sequence in prepared.native)
    labels = read_values(out / files.image(reference, f"desc-{marker}lesions_dseg", "1mm"))
    native_mask = read_mask(out / files.image(own, f"label-{marker}_mask"))
    rows = [row for row in _read_table(out / files.lesions) if row["marker"] == str(marker)]
    errors = record["expected_errors"].get(str(marker))

    def chance(path: Path, otherwise: Volume | Mask) -> Volume:
        """A probability map; where the session has none, that of the mask itself. One of an earlier run may be there."""
        written = path.as_posix() in record["files"]
        return read_values(out / path) if written else Volume((otherwise.data > 0).astype(np.float32), otherwise.grid)

    return MarkerMap(
        marker=marker,
        probability=chance(files.image(reference, f"label-{marker}_probseg", "1mm"), labels),
        labels=LabelMap(labels.data.astype(np.int32), prepared.grid),
        confidence=tuple(float(row["confidence"]) for row in sorted(rows, key=lambda row: int(row["label"]))),
        native_sequence=own,
        native_mask=Mask(native_mask.data, prepared.native[own].grid),
        native_probability=chance(files.image(own, f"label-{marker}_probseg"), native_mask),
        errors=ExpectedErrors(**errors) if errors else None,
    )


def _on(mask: Mask, other: Volume) -> Mask:
    return Mask(mask.data, other.grid)


def _read_provenance(made: dict[str, Any]) -> Provenance:
    return Provenance(
        version=made["version"],
        digest=made["digest"],
        inputs=made["inputs_sha256"],
        models=made["models"],
        settings=made["settings"],
        packages=made["packages"],
        timings_s=made["timings_s"],
        peak_memory_mb=made["peak_memory_mb"],
        methods=made["methods"],
        log=tuple(made["log"]),
        sources=made["sources"],
        traits=Traits(**made["traits"]) if "traits" in made else UNKNOWN,
    )


def _read_transform(path: Path) -> Transform:
    try:
        return Transform(np.loadtxt(path))
    except OSError as error:
        raise InputError(f"a transform that cannot be read, {path} ({error})", "a 4x4 matrix", "measure the session again") from None


def _read_table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise InputError(f"a table that cannot be read, {path} ({error})", "a table of a run", "measure the session again") from None
