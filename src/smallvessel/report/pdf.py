"""The report as a PDF on A4: the page as it prints, without the viewer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from ..derivatives import write_bytes
from ..errors import InputError
from ..markers import Sequence
from ..records import SessionResult
from .html import render_report
from .images import GreyImage


def require_pdf() -> None:
    """Refuse to promise a PDF that cannot be made.

    Raises
    ------
    InputError
        When the extra ``[pdf]`` is not installed.
    """
    if find_spec("weasyprint") is None:
        raise InputError("--pdf without WeasyPrint", "the extra [pdf]", "pip install 'smallvessel[pdf]', or run without --pdf")


def write_pdf(result: SessionResult, images: Mapping[Sequence, GreyImage], path: Path) -> None:
    """Write a session's report as PDF, atomically; errors as :func:`require_pdf`."""
    write_bytes(path, render_pdf(result, images))


def render_pdf(result: SessionResult, images: Mapping[Sequence, GreyImage]) -> bytes:
    """The report as PDF; errors as :func:`require_pdf`."""
    require_pdf()
    from weasyprint import HTML

    # it warns of every style that is meant for screens
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    return bytes(HTML(string=render_report(result, images, printed=True)).write_pdf())
