"""Every file that a run writes: names, atomic writes, and which sessions are finished. BIDS derivatives.

Nothing is ever half-written: a file is whole or absent. A session's ``measures.json`` is written last and removed first, so
that its presence means that everything it lists is there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .markers import MARKERS, Marker, Sequence
from .models import describe_networks
from .records import MarkerMap, SessionId, SessionResult
from .structures import RIGHT_OFFSET, UNSIDED, lookup_rows
from .tables import LESION_COLUMNS, lesion_rows, measures_table, session_record, tsv
from .volume import LabelMap, Mask, Transform, Volume, write_volume

BIDS_VERSION = "1.10.0"
RESOLUTION = {"1mm": "1 mm isotropic, axes parallel to the reference image, cropped to the brain"}
"""The analysis grid, as BIDS wants its ``res-`` entity explained."""
PROBABILITY_DECIMALS = 4
IGNORED = (
    "# Files that BIDS has no name for: tables per session, reports, logs and transforms (BEP014 is not part of BIDS yet).",
    "/measures.tsv",
    "/measures.json",
    "/lesions.json",
    "/cohort/",
    "*_measures.json",
    "*_lesions.tsv",
    "*_xfm.txt",
    "*.html",
    "*.pdf",
    "*_review.json",
    "*_thumbnail.svg",
    "original/",
    "logs/",
)
README = """# Markers of cerebral small vessel disease

Measured by smallvessel. Research use only, no diagnosis.

- `measures.tsv`: a row per session; `measures.json` describes its columns. `n/a` means not assessed, never zero.
- `index.html`: all sessions; `sub-*.html`: a report per session.
- `sub-*/**/*_measures.json`: all that was measured on a session, why something was not, the quality checks, and how it was made.
- `sub-*/**/*_lesions.tsv`: a row per lesion; `lesions.json` describes its columns.
- `*_space-FLAIR_label-WMH_mask.nii.gz`: a marker on the very grid of the sequence that `space` names; likewise `_probseg`.
- `*_space-FLAIR_res-1mm_*`: on the 1 mm grid on which everything is measured, in the same world as that sequence.
- `*_from-T1w_to-FLAIR_mode-points_xfm.txt`: 4x4 matrix; maps a point in the world of T1w (RAS, mm) to that of FLAIR.
- `logs/`: what happened to each session.
"""
MNI = "MNI152"


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


def session_files(id: SessionId) -> SessionFiles:
    """Names of one session's outputs, relative to the output folder."""
    return SessionFiles(id)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically: it is whole or absent."""
    write_bytes(path, text.encode())


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


def start_dataset(out: Path, version: str, models: Mapping[str, str], raw: Path | None = None) -> None:
    """Make the output folder a BIDS derivative data set.

    Parameters
    ----------
    out : Path
    version : str
    models : mapping
        Network name to its version and hash.
    raw : Path, optional
        The BIDS data set that is measured; the link to it is relative, so that both can move together.

    Raises
    ------
    InputError
        When the folder cannot be written or belongs to something else.
    """
    description = out / "dataset_description.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if description.exists():
            _refuse_foreign(description)
        links = {"raw": _link(raw, out)} if raw else {}
        content = {
            "Name": "Markers of cerebral small vessel disease, measured by smallvessel",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": "as the source data",
            "GeneratedBy": [{"Name": "smallvessel", "Version": version, "Description": f"Networks: {describe_networks(models)}"}],
            **({"DatasetLinks": links} if links else {}),
        }
        write_json(description, content)
        write_text(out / ".bidsignore", "\n".join(IGNORED) + "\n")
        write_text(out / "README.md", README)
    except OSError as error:
        raise InputError(
            f"an output folder {out} that cannot be written ({error.strerror})", "a folder to write in", "choose another"
        ) from None


def write_session(result: SessionResult, out: Path, probability: bool = True) -> tuple[Path, ...]:
    """Write a session's images, transforms and lesions; not yet its ``measures.json``, see :func:`finish_session`.

    What an earlier run wrote for this session is removed first, so that no file is left over from other inputs or settings.

    Returns
    -------
    tuple of Path
        The files written, relative to ``out``.
    """
    clear_session(out, result.id)
    files, prepared = session_files(result.id), result.prepared
    written = []
    for path, image, sidecar in _images(result, probability):
        write_volume(out / path, image)
        write_json(out / path.with_name(path.name.replace(".nii.gz", ".json")), sidecar)
        written += [path, path.with_name(path.name.replace(".nii.gz", ".json"))]
    lookup = _anatomy_path(result).with_name(_anatomy_path(result).name.replace(".nii.gz", ".tsv"))
    write_text(out / lookup, tsv(("index", "name", "color"), lookup_rows()))
    lobes = _lobes_path(result).with_name(_lobes_path(result).name.replace(".nii.gz", ".tsv"))
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
    record = session_record(result)
    record["files"] = sorted(path.as_posix() for path in written)
    write_json(out / session_files(result.id).measures, record)


def clear_session(out: Path, id: SessionId) -> None:
    """Remove what a finished run wrote for this session, and only that; afterwards it is not finished."""
    path = out / session_files(id).measures
    names = _files_of(path)
    path.unlink(missing_ok=True)
    for name in names:
        (out / name).unlink(missing_ok=True)


def is_finished(out: Path, id: SessionId, digest: str) -> bool:
    """Whether this session's outputs are complete and come from the same inputs, settings, weights and version."""
    path = out / session_files(id).measures
    try:
        found = read_record(path)["provenance"]["digest"]
    except (InputError, KeyError, TypeError):
        return False
    return bool(found == digest) and all((out / name).exists() for name in _files_of(path))


def reviewers_of(out: Path, id: SessionId) -> tuple[str, ...]:
    """Who reviewed a session, each once; nobody where its record is absent or damaged."""
    try:
        reviews = read_record(out / session_files(id).measures).get("reviews", ())
        return tuple(dict.fromkeys(review["reviewer"] for review in reviews))
    except (InputError, KeyError, TypeError):
        return ()


def rebuild_tables(out: Path) -> list[dict[str, Any]]:
    """Write ``measures.tsv`` and its description from the session files that are there, this run's and earlier ones'.

    Returns
    -------
    list of dict
        The records of the sessions in the table, in its order.
    """
    paths = sorted({*out.glob("sub-*/sub-*_measures.json"), *out.glob("sub-*/ses-*/sub-*_measures.json")})
    records = [read_record(path) for path in paths]
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


def _link(raw: Path, out: Path) -> str:
    try:
        return Path(os.path.relpath(raw.resolve(), out.resolve())).as_posix()
    except ValueError:  # another drive
        return raw.resolve().as_uri()


def _files_of(path: Path) -> tuple[str, ...]:
    """The files that a session's record lists; none when it is absent or damaged, for then it is made anew."""
    try:
        return tuple(read_record(path).get("files", ()))
    except InputError:
        return ()


def _refuse_foreign(description: Path) -> None:
    makers = read_record(description).get("GeneratedBy", ())
    if "smallvessel" not in [str(entry.get("Name")) for entry in makers if isinstance(entry, dict)]:
        raise InputError(
            f"a data set in the output folder that smallvessel did not make, {description}",
            "a new folder or that of an earlier run",
            "choose another output folder",
        )


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
