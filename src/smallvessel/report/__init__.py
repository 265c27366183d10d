"""Show one session's results to a reader: a self-contained HTML page."""

from .html import write_report

__all__ = ["write_report"]
