"""A session measured and drawn again from what a run wrote: after a review, and for a report or PDF that was not asked for before."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .config import Settings, settings_from_dict
from .derivatives import files_there, read_record, session_files, write_bytes, write_record
from .intake.sequences import load_session
from .measure import measure_session
from .records import Measurements, SessionId, SessionResult, SessionSource
from .report import read_images, render_pdf, render_report, render_thumbnail, take_images
from .restore import read_session


def measure_again(result: SessionResult) -> Measurements:
    """Measure a session's masks with the settings of its run."""
    settings = settings_from_dict(result.provenance.settings)
    return measure_session(
        result.prepared, result.segmentation, settings.measure, settings.reference, settings.z_over_assessed, result.provenance.traits
    )


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def draw_again(out: Path, result: SessionResult, there: Collection[Path], lesions_sha256: str | None = None) -> dict[Path, bytes]:
    """The session's report and picture, made with the images of its present report; none where it has no report.

    Parameters
    ----------
    out : Path
    result : SessionResult
    there : collection of Path
        The session's files, see :func:`smallvessel.derivatives.files_there`.
    lesions_sha256 : str, optional
        As :func:`smallvessel.report.render_report` takes it.
    """
    files = session_files(result.id)
    if files.report not in there:
        return {}
    images = read_images(out / files.report)
    report = render_report(result, images, lesions_sha256=lesions_sha256)
    drawn = {files.report: report.encode(), files.thumbnail: render_thumbnail(result, images).encode()}
    return drawn | ({files.pdf: render_pdf(result, images)} if files.pdf in there else {})


@contextmanager
def whole_or_unchanged(out: Path, id: SessionId) -> Iterator[None]:
    """Write a finished session anew: when that fails, on a full disk for instance, its files are again what they were."""
    files = session_files(id)
    every = [out / path for path in (*files.every(), files.measures)]
    before = {path: path.read_bytes() for path in every if path.exists()}
    try:
        yield
    except BaseException:
        for path in set(every) - set(before):  # first, to make room
            path.unlink(missing_ok=True)
        for path, content in before.items():
            if not path.exists() or path.read_bytes() != content:
                write_bytes(path, content)
        raise


def missing_reports(out: Path, id: SessionId, settings: Settings) -> tuple[Path, ...]:
    """The report, picture and PDF that the settings ask for and a finished session lacks, relative to ``out``.

    One that is there and not in the session's record is of an earlier run, and counts as lacking.
    """
    files = session_files(id)
    wanted = (files.report, files.thumbnail, *((files.pdf,) if settings.write_pdf else ())) if settings.write_report else ()
    there = files_there(out, read_record(out / files.measures)) if wanted else ()
    return tuple(path for path in wanted if path not in there)


def add_reports(source: SessionSource, out: Path, settings: Settings) -> tuple[Path, ...]:
    """Make the reports that a finished session lacks, see :func:`missing_reports`; numbers, masks and reviews stay as they are.

    Returns
    -------
    tuple of Path
        What was written, relative to ``out``.

    Raises
    ------
    InputError
        When the session's files, or its scans where it has no report yet, cannot be read.
    """
    files, missing = session_files(source.id), missing_reports(out, source.id, settings)
    if not missing:
        return ()
    record = read_record(out / files.measures)
    result = read_session(out, source.id)
    result = replace(result, measurements=measure_again(result))
    if files.report not in missing:
        images = read_images(out / files.report)
    else:
        session = load_session(source, settings.trust_header)
        images = take_images({sequence: image.volume for sequence, image in session.images.items()}, result.prepared)
    for path in missing:
        if path == files.pdf:
            content = render_pdf(result, images)
        elif path == files.report:
            content = render_report(result, images, lesions_sha256=hash_file(out / files.lesions)).encode()
        else:
            content = render_thumbnail(result, images).encode()
        write_bytes(out / path, content)
    write_record(out, source.id, record, {*files_there(out, record), *missing})
    return missing
