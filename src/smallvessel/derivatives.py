"""Every file that a run writes: names, atomic writes, and which sessions are finished. BIDS derivatives.

Nothing is ever half-written: a file is whole or absent. A session's ``measures.json`` is written last and removed first, so
that its presence means that everything it lists is there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .markers import MARKERS, Marker, Sequence
from .records import MarkerMap, SessionId, SessionResult
from .structures import RIGHT_OFFSET, UNSIDED, lookup_rows
from .tables import LESION_COLUMNS, lesion_rows, measures_table, session_record, tsv
from .volume import LabelMap, Mask, Transform, Volume, write_volume

RESOLUTION = {"1mm": "1 mm isotropic, axes parallel to the reference image, cropped to the brain"}
"""The analysis grid, as BIDS wants its ``res-`` entity explained."""
PROBABILITY_DECIMALS = 4
MNI = "MNI152"
ROW = ("participant_id", "session_id", "sequences", "icv_ml", "brain_ml", "markers", "scores", "z", "qc", "provenance")
"""What the record of a session has to hold to be a row of the table."""


@dataclass(frozen=True)
class SessionFiles:
    """Names of one session's outputs, relative to the output folder."""

    id: SessionId

    @property
    def folder(self) -> Path:
        subject = Path(f"sub-{self.id.subject}")
        return subject / f"ses-{self.id.session}" if self.id.session else subject

    @property
    def measures(self) -> Path:
        return self.folder / f"{self.id}_measures.json"

    @property
    def lesions(self) -> Path:
        return self.folder / f"{self.id}_lesions.tsv"

    @property
    def original(self) -> Path:
        """What a review replaced, as it was measured."""
        return self.folder / "original"

    def kept(self, path: Path) -> Path:
        """Where a review keeps what was measured at first, of a file in the session's folder."""
        return self.original / path.relative_to(self.folder)

    @property
    def reports(self) -> tuple[Path, ...]:
        """What shows the session's results, and can be made of them again."""
        return self.report, self.pdf, self.thumbnail

    @property
    def report(self) -> Path:
        return Path(f"{self.id}.html")

    @property
    def pdf(self) -> Path:
        return Path(f"{self.id}.pdf")

    @property
    def thumbnail(self) -> Path:
        return self.folder / f"{self.id}_thumbnail.svg"

    @property
    def log(self) -> Path:
        return Path("logs") / f"{self.id}.log"

    def image(self, space: Sequence, what: str, resolution: str | None = None) -> Path:
        """An image: ``what`` is the end of its name, such as ``label-WMH_mask``; without resolution it is on the sequence's own grid."""
        res = f"_res-{resolution}" if resolution else ""
        return self.folder / "anat" / f"{self.id}_space-{space}{res}_{what}.nii.gz"

    def transform(self, source: Sequence, target: Sequence | str) -> Path:
        return self.folder / "anat" / f"{self.id}_from-{source}_to-{target}_mode-points_xfm.txt"

    def every(self) -> tuple[Path, ...]:
        """All that a session may own, whatever its sequences, markers and settings, but its record and its log."""
        whats = [f"label-{what}" for what in ("brain_mask", "intracranial_mask", "right_mask")] + ["desc-anatomy_dseg", "desc-lobes_dseg"]
        for marker in Marker:
            whats += [f"label-{marker}_mask", f"label-{marker}_probseg", f"desc-{marker}lesions_dseg"]
        images = [self.image(space, what, res) for space in Sequence for what in whats for res in (None, *RESOLUTION)]
        beside = [beside_image(image, ending) for image in images for ending in (".json", ".tsv")]
        transforms = [self.transform(source, target) for source in Sequence for target in (*Sequence, MNI)]
        inside = [self.lesions, *images, *beside, *transforms]
        return *self.reports, *inside, *map(self.kept, (self.measures, *inside))


def beside_image(path: Path, ending: str) -> Path:
    """The file that belongs to an image: its sidecar (.json) or its look-up table (.tsv)."""
    return path.with_name(path.name.removesuffix(".nii.gz") + ending)


def session_files(id: SessionId) -> SessionFiles:
    """Names of one session's outputs, relative to the output folder."""
    return SessionFiles(id)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically: it is whole or absent. A name's bytes that are not UTF-8 are spelled out."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: it is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_session(result: SessionResult, out: Path, probability: bool = True) -> tuple[Path, ...]:
    """Write a session's images, transforms and lesions over those that are there; from now on it is not finished.

    Returns
    -------
    tuple of Path
        The files written, relative to ``out``: with the reports they are what :func:`finish_session` has to know.
    """
    (out / session_files(result.id).measures).unlink(missing_ok=True)
    files, prepared = session_files(result.id), result.prepared
    written = []
    for path, image, sidecar in _images(result, probability):
        write_volume(out / path, image)
        write_json(out / beside_image(path, ".json"), sidecar)
        written += [path, beside_image(path, ".json")]
    lookup = beside_image(_anatomy_path(result), ".tsv")
    write_text(out / lookup, tsv(("index", "name", "color"), lookup_rows()))
    lobes = beside_image(_lobes_path(result), ".tsv")
    write_text(out / lobes, tsv(("index", "name"), ((str(code), name) for code, name in sorted(prepared.anatomy.lobes.names.items()))))
    to_mni = files.transform(prepared.reference, MNI)
    write_text(out / to_mni, _matrix_text(prepared.anatomy.mni_from_reference))
    for sequence, native in prepared.native.items():
        if sequence is not prepared.reference:
            path = files.transform(sequence, prepared.reference)
            write_text(out / path, _matrix_text(native.reference_from_native))
            written.append(path)
    write_text(out / files.lesions, tsv(tuple(LESION_COLUMNS), lesion_rows(result.measurements.lesions)))
    return (*written, lookup, lobes, to_mni, files.lesions)


def finish_session(result: SessionResult, out: Path, written: tuple[Path, ...]) -> None:
    """Write the session's ``measures.json``: from now on the session counts as finished."""
    write_record(out, result.id, session_record(result), written)


def write_record(out: Path, id: SessionId, record: Mapping[str, Any], written: Iterable[Path]) -> None:
    """Write a session's record with the names of its files; what else it may own is of an earlier run or review, and is removed."""
    files, names = session_files(id), set(written)
    write_json(out / files.measures, {**record, "files": sorted(path.as_posix() for path in names)})
    _remove(out, files, set(files.every()) - names)


def clear_session(out: Path, id: SessionId) -> None:
    """Remove all that runs and reviews wrote for this session, finished or cut off, and only that."""
    files = session_files(id)
    listed = _files_of(out / files.measures)
    (out / files.kept(files.measures)).unlink(missing_ok=True)  # first: without a record beside it, it tells of a review that was cut off
    (out / files.measures).unlink(missing_ok=True)
    _remove(out, files, {*files.every(), *listed})


def is_finished(out: Path, id: SessionId, digest: str) -> bool:
    """Whether this session's results are complete and come from the same inputs, settings, weights and version.

    Its reports may be missing: they can be made again.
    """
    files = session_files(id)
    try:
        found = read_record(out / files.measures)["provenance"]["digest"]
    except (InputError, KeyError, TypeError):
        return False
    needed = set(_files_of(out / files.measures)) - set(files.reports)
    return bool(found == digest) and all((out / path).exists() for path in needed)


def is_cut_off(out: Path, id: SessionId) -> bool:
    """Whether a review of this session was cut off while it was written: what was measured at first is there, and no record."""
    files = session_files(id)
    return not (out / files.measures).exists() and (out / files.kept(files.measures)).exists()


def files_there(out: Path, record: Mapping[str, Any]) -> frozenset[Path]:
    """The files that a session's record lists and that are there. Others may be of an earlier run that was cut off."""
    return frozenset(path for path in _listed(record) if (out / path).exists())


def originals_there(out: Path, id: SessionId) -> tuple[Path, ...]:
    """What is kept from before the first review; the record, by which one can tell that it is whole, comes last."""
    files = session_files(id)
    record = files.kept(files.measures)
    inside = [path for path in files.every() if files.original in path.parents and path != record and (out / path).exists()]
    return (*inside, record) if (out / record).exists() else ()


def reviewers_of(out: Path, id: SessionId) -> tuple[str, ...]:
    """Who reviewed a session, each once; nobody where its record is absent or damaged."""
    try:
        reviews = read_record(out / session_files(id).measures).get("reviews", ())
        return tuple(dict.fromkeys(review["reviewer"] for review in reviews))
    except (InputError, KeyError, TypeError):
        return ()


def rebuild_tables(out: Path, tell: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Write ``measures.tsv`` and its description from the session files that are there, this run's and earlier ones'.

    Parameters
    ----------
    out : Path
    tell : callable, optional
        Is told which session is left out because its record cannot be read.

    Returns
    -------
    list of dict
        The records of the sessions in the table, in its order.
    """
    records = []
    for path in sorted({*out.glob("sub-*/sub-*_measures.json"), *out.glob("sub-*/ses-*/sub-*_measures.json")}):
        try:
            records.append(_read_row(path))
        except InputError as error:
            if tell:
                tell(f"{path.name.removesuffix('_measures.json')} is left out of the table. {error}")
    columns, rows = measures_table(records)
    write_text(out / "measures.tsv", tsv(tuple(columns), rows))
    write_json(out / "measures.json", columns)
    write_json(out / "lesions.json", LESION_COLUMNS)
    return records


def raw_root(path: Path, id: SessionId) -> Path | None:
    """The BIDS data set in which an input lies: the folder above its subject's; None for a plain file."""
    return next((parent.parent for parent in path.absolute().parents if parent.name == f"sub-{id.subject}"), None)


def bids_uri(path: Path, id: SessionId) -> str:
    """An input as a BIDS URI of the raw data set, when it lies in a subject's folder; else its plain name."""
    root = raw_root(path, id)
    return f"bids:raw:{path.absolute().relative_to(root).as_posix()}" if root else path.name


def _files_of(path: Path) -> tuple[Path, ...]:
    """The files that a session's record lists; none when it is absent or damaged, for then it is made anew."""
    try:
        return _listed(read_record(path))
    except InputError:
        return ()


def _listed(record: Mapping[str, Any]) -> tuple[Path, ...]:
    names = record.get("files", ())
    return tuple(Path(name) for name in names if isinstance(name, str)) if isinstance(names, (list, tuple)) else ()


def _remove(out: Path, files: SessionFiles, paths: Iterable[Path]) -> None:
    """Remove files of a session, and the folders of what it kept when nothing is left in them."""
    for path in paths:
        (out / path).unlink(missing_ok=True)
    for folder in (files.original / "anat", files.original):
        with suppress(OSError):  # not there, or something else is in it
            (out / folder).rmdir()


def _read_row(path: Path) -> dict[str, Any]:
    """A session's record with everything that the table and the page of all sessions show."""
    record = read_record(path)
    if missing := [name for name in ROW if name not in record]:
        raise InputError(f"a record without {', '.join(missing)}, {path}", "one as smallvessel wrote it", "delete it and run again")
    return record


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON file that smallvessel wrote; an error that says what to do when it cannot be."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise InputError(
            f"a file that cannot be read, {path} ({error})", "JSON as smallvessel wrote it", "delete it and run again"
        ) from None
    return record


def _images(result: SessionResult, probability: bool) -> Iterator[tuple[Path, Volume | Mask | LabelMap, dict[str, Any]]]:
    prepared, files = result.prepared, session_files(result.id)
    for sequence, native in prepared.native.items():
        sidecar = _sidecar(result, sequence, f"Brain with ventricles and the fluid of the sulci, on the grid of {sequence}.", "Brain")
        yield files.image(sequence, "label-brain_mask"), native.brain, sidecar
    for marker, found in result.segmentation.markers.items():
        if isinstance(found, MarkerMap):
            yield from _marker_images(result, marker, found, probability)
    anatomy, reference = prepared.anatomy, prepared.reference
    for label, mask, what in (
        ("brain", anatomy.brain, "Brain with ventricles and the fluid of the sulci"),
        ("intracranial", anatomy.intracranial, "Brain and all fluid inside the skull"),
        ("right", anatomy.right, "Right hemisphere, meaningful inside the brain"),
    ):
        sidecar = _sidecar(result, reference, f"{what}, on the analysis grid.", "Brain", "1mm")
        yield files.image(reference, f"label-{label}_mask", "1mm"), mask, sidecar
    yield _lobes_path(result), anatomy.lobes, _sidecar(result, reference, "Lobes, on the analysis grid.", grid="1mm")
    description = f"Anatomical structures; the right side has the code of the left plus {RIGHT_OFFSET}."
    yield _anatomy_path(result), _anatomy_codes(result), _sidecar(result, prepared.reference, description, grid="1mm")


def _marker_images(
    result: SessionResult, marker: Marker, found: MarkerMap, probability: bool
) -> Iterator[tuple[Path, Volume | Mask | LabelMap, dict[str, Any]]]:
    files, reference, own = session_files(result.id), result.prepared.reference, found.native_sequence
    name = MARKERS[marker].name.capitalize()
    on_own, on_grid = f"on the grid of {own}.", "on the analysis grid."
    yield files.image(own, f"label-{marker}_mask"), found.native_mask, _sidecar(result, own, f"{name}, {on_own}", "Lesion")
    yield (
        files.image(reference, f"label-{marker}_mask", "1mm"),
        found.mask,
        _sidecar(result, reference, f"{name}, {on_grid}", "Lesion", "1mm"),
    )
    description = f"{name}: lesions numbered as in the column label of the lesions table, {on_grid}"
    yield files.image(reference, f"desc-{marker}lesions_dseg", "1mm"), found.labels, _sidecar(result, reference, description, grid="1mm")
    if probability:
        yield (
            files.image(own, f"label-{marker}_probseg"),
            _rounded(found.native_probability),
            _sidecar(result, own, f"Calibrated probability of {MARKERS[marker].name}, {on_own}"),
        )
        yield (
            files.image(reference, f"label-{marker}_probseg", "1mm"),
            _rounded(found.probability),
            _sidecar(result, reference, f"Calibrated probability of {MARKERS[marker].name}, {on_grid}", grid="1mm"),
        )


def _rounded(probability: Volume) -> Volume:
    return Volume(probability.data.round(PROBABILITY_DECIMALS), probability.grid)


def _sidecar(result: SessionResult, space: Sequence, description: str, kind: str | None = None, grid: str | None = None) -> dict[str, Any]:
    sources = result.provenance.sources
    return {
        "Description": description,
        "SpatialReference": sources[space],
        "Sources": list(sources.values()),
        **({"Type": kind} if kind else {}),
        **({"Resolution": RESOLUTION} if grid else {}),
    }


def _anatomy_path(result: SessionResult) -> Path:
    return session_files(result.id).image(result.prepared.reference, "desc-anatomy_dseg", "1mm")


def _lobes_path(result: SessionResult) -> Path:
    return session_files(result.id).image(result.prepared.reference, "desc-lobes_dseg", "1mm")


def _anatomy_codes(result: SessionResult) -> LabelMap:
    anatomy = result.prepared.anatomy
    codes = anatomy.structures.data.copy()
    sided = ~np.isin(codes, [int(structure) for structure in UNSIDED])
    codes[sided & anatomy.right.data] += RIGHT_OFFSET
    return LabelMap(codes, anatomy.structures.grid)


def _matrix_text(transform: Transform) -> str:
    return "".join(" ".join(f"{value:.8f}" for value in row) + "\n" for row in transform.matrix)
