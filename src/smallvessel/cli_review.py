"""The commands that apply a person's review to a session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import say
from .derivatives import session_files
from .errors import InputError
from .markers import Marker

commands = typer.Typer(no_args_is_help=True, help="Correct a session's lesions by a person's review.")

Out = Annotated[Path, typer.Argument(metavar="OUT", exists=True, file_okay=False, help="The output folder of a run.")]
Session = Annotated[str | None, typer.Option(help="Such as sub-01_ses-1; not needed for a folder of one session.")]


@commands.command()
def apply(
    out: Out,
    reviews: Annotated[
        list[Path] | None, typer.Argument(metavar="[REVIEW.json ...]", exists=True, dir_okay=False, help="Of reports, one or more.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A corrected mask instead, NIfTI.")] = None,
    marker: Annotated[str | None, typer.Option(help="Whose mask: WMH, lacune, EPVS or CMB.")] = None,
    session: Session = None,
    reviewer: Annotated[str, typer.Option(help="Who corrected the mask.")] = "",
) -> None:
    """Measure sessions again after reviews, or one with a corrected mask from ITK-SNAP or 3D Slicer."""
    from .restore import parse_session
    from .review import apply_mask, apply_reviews

    if reviews and mask is None:
        apply_reviews(out, reviews, say)
    elif mask is not None and not reviews:
        known = {name.casefold(): name for name in Marker}
        if (marker or "").casefold() not in known:
            raise InputError(f"--mask with --marker {marker}", f"one of {', '.join(Marker)}", "say whose mask it is")
        if not reviewer.strip():
            raise InputError("--mask without --reviewer", "the name of who corrected it", 'add --reviewer "A. Name"')
        id = apply_mask(out, mask, known[str(marker).casefold()], parse_session(session) if session else None, reviewer, say)
        say(f"{id} was measured again. Record: {out / session_files(id).measures}")
    else:
        raise InputError(
            f"{'both a review and a mask' if reviews else 'neither a review nor a mask'}",
            "one of the two",
            "smallvessel review apply OUT REVIEW.json, or ... OUT --mask FILE --marker CMB --reviewer NAME",
        )
    say("What was measured at first is in each session's folder original; smallvessel review revert brings it back.")


@commands.command()
def revert(out: Out, session: Session = None) -> None:
    """Bring back what was measured before the first review."""
    from .restore import parse_session
    from .review import revert_review

    id = revert_review(out, parse_session(session) if session else None, say)
    say(f"{id} is again as it was measured. Record: {out / session_files(id).measures}")
