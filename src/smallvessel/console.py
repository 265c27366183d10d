"""Where the command line writes: results to standard output, everything else to standard error."""

from rich.console import Console
from rich.markup import escape

from .errors import make_printable

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """Print a line as it is, without markup or wrapping."""
    out.print(escape(make_printable(text)), highlight=False, soft_wrap=True)


def say_error(text: str) -> None:
    """Print an error."""
    err.print(f"[red]error[/red] {escape(make_printable(text))}", highlight=False, soft_wrap=True)
