"""Show one session's results to a reader: a self-contained HTML page with a viewer inside."""

from .html import render_report, write_report
from .images import read_images, take_images

__all__ = ["read_images", "render_report", "take_images", "write_report"]
