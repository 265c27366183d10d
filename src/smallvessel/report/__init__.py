"""Show one session's results to a reader: a self-contained HTML page with a viewer inside; and all sessions on one page."""

from .html import render_report, write_report
from .images import read_images, take_images
from .index import write_index
from .pdf import render_pdf, require_pdf, write_pdf
from .thumbnail import render_thumbnail, write_thumbnail

__all__ = [
    "read_images",
    "render_pdf",
    "render_report",
    "render_thumbnail",
    "require_pdf",
    "take_images",
    "write_index",
    "write_pdf",
    "write_report",
    "write_thumbnail",
]
