"""A session measured and drawn again from what a run wrote: after a review, and for a report or PDF that was not asked for before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .config import Settings, settings_from_dict
from .derivatives import read_record, session_files, write_bytes, write_json
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


def draw_again(out: Path, result: SessionResult) -> dict[Path, bytes]:
    """The session's report and picture, made with the images of its present report; none where it has no report."""
    files = session_files(result.id)
    if not (out / files.report).exists():
        return {}
    images = read_images(out / files.report)
    drawn = {files.report: render_report(result, images).encode(), files.thumbnail: render_thumbnail(result, images).encode()}
    return drawn | ({files.pdf: render_pdf(result, images)} if (out / files.pdf).exists() else {})


@contextmanager
def whole_or_unchanged(out: Path, id: SessionId) -> Iterator[None]:
    """Write a finished session anew: when that fails, on a full disk for instance, its files are again what they were."""
    files = session_files(id)
    names = (*read_record(out / files.measures)["files"], files.measures)
    before = {out / name: (out / name).read_bytes() for name in names if (out / name).exists()}
    there = set((out / files.folder).rglob("*"))
    try:
        yield
    except BaseException:
        for path in set((out / files.folder).rglob("*")) - there:  # first, to make room
            if path.is_file():
                path.unlink()
        for path, content in before.items():
            if not path.exists() or path.read_bytes() != content:
                write_bytes(path, content)
        raise


def missing_reports(out: Path, id: SessionId, settings: Settings) -> tuple[Path, ...]:
    """The report, picture and PDF that the settings ask for and a finished session lacks, relative to ``out``."""
    files = session_files(id)
    wanted = (files.report, files.thumbnail, *((files.pdf,) if settings.write_pdf else ())) if settings.write_report else ()
    return tuple(path for path in wanted if not (out / path).exists())


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
    result = read_session(out, source.id)
    result = replace(result, measurements=measure_again(result))
    if (out / files.report).exists():
        images = read_images(out / files.report)
    else:
        session = load_session(source, settings.trust_header)
        images = take_images({sequence: image.volume for sequence, image in session.images.items()}, result.prepared)
    for path in missing:
        if path == files.pdf:
            write_bytes(out / path, render_pdf(result, images))
        else:
            render = render_report if path == files.report else render_thumbnail
            write_bytes(out / path, render(result, images).encode())
    record = read_record(out / files.measures)
    record["files"] = sorted({*record["files"], *(path.as_posix() for path in missing)})
    write_json(out / files.measures, record)
    return missing
