"""One session from its files to its results: the rooms joined in the order in which data passes through them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .config import Settings
from .derivatives import clear_session, finish_session, session_files, write_session
from .intake.sequences import load_session
from .measure import measure_session
from .prepare import prepare_session
from .provenance import Journal, make_provenance, peak_memory_mb
from .records import SessionFailure, SessionId, SessionResult, SessionSource
from .report import take_images, write_pdf, write_report, write_thumbnail
from .segment import segment_markers


def process_session(source: SessionSource, out: Path, settings: Settings) -> SessionId | SessionFailure:
    """Measure one session and write its results.

    Parameters
    ----------
    source : SessionSource
        The session's files.
    out : Path
        A BIDS derivative folder, see :func:`smallvessel.derivatives.start_dataset`.
    settings : Settings

    Returns
    -------
    SessionId or SessionFailure
        The session when all its results are written; else the failure, and the session has no results in ``out``.
    """
    files = session_files(source.id)
    journal = Journal(out / files.log, source.id)
    try:
        with journal.stage("intake"):
            session = load_session(source, settings.trust_header)
            journal.say(*session.log)
        with journal.stage("prepare"):
            prepared = prepare_session(session)
            journal.say(*prepared.steps, *(f"{check.status}: {check.message}" for check in prepared.checks))
        with journal.stage("segment"):
            segmentation = segment_markers(prepared, settings.markers)
            journal.say(*segmentation.steps)
        with journal.stage("measure"):
            measurements = measure_session(
                prepared, segmentation, settings.measure, settings.reference, settings.z_over_assessed, source.traits
            )
        provenance = make_provenance(session, prepared, segmentation, settings, journal, source.traits)
        result = SessionResult(source.id, prepared, segmentation, measurements, provenance)
        with journal.stage("write"):
            clear_session(out, source.id)
            written = write_session(result, out, settings.write_probability)
        if settings.write_report:
            with journal.stage("report"):
                images = take_images({sequence: image.volume for sequence, image in session.images.items()}, prepared)
                write_report(result, images, out / files.report)
                write_thumbnail(result, images, out / files.thumbnail)
                if settings.write_pdf:
                    write_pdf(result, images, out / files.pdf)
            written = (*written, files.report, files.thumbnail, *((files.pdf,) if settings.write_pdf else ()))
        provenance = replace(provenance, timings_s=journal.timings_s, peak_memory_mb=peak_memory_mb())
        finish_session(replace(result, provenance=provenance), out, written)
        return source.id
    except Exception as error:  # whatever happens to one session, the others go on
        clear_session(out, source.id)
        return journal.failure(error)
