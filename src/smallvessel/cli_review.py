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
    review: Annotated[Path | None, typer.Argument(metavar="[REVIEW.json]", exists=True, dir_okay=False, help="Of a report.")] = None,
    mask: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A corrected mask instead, NIfTI.")] = None,
    marker: Annotated[str | None, typer.Option(help="Whose mask: WMH, lacune, EPVS or CMB.")] = None,
    session: Session = None,
    reviewer: Annotated[str, typer.Option(help="Who corrected the mask.")] = "",
) -> None:
    """Measure a session again after a review, or with a corrected mask from ITK-SNAP or 3D Slicer."""
    from .restore import parse_session
    from .review import apply_mask, apply_review

    if review is not None and mask is None:
        id = apply_review(out, review)
    elif mask is not None and review is None:
        known = {name.casefold(): name for name in Marker}
        if (marker or "").casefold() not in known:
            raise InputError(f"--mask with --marker {marker}", f"one of {', '.join(Marker)}", "say whose mask it is")
        if not reviewer.strip():
            raise InputError("--mask without --reviewer", "the name of who corrected it", 'add --reviewer "A. Name"')
        id = apply_mask(out, mask, known[str(marker).casefold()], parse_session(session) if session else None, reviewer.strip())
    else:
        raise InputError(
            f"{'both a review and a mask' if review else 'neither a review nor a mask'}",
            "one of the two",
            "smallvessel review apply OUT REVIEW.json, or ... OUT --mask FILE --marker CMB --reviewer NAME",
        )
    say(f"{id} was measured again. Record: {out / session_files(id).measures}")
    say(f"What was measured at first is in {out / session_files(id).original}; smallvessel review revert brings it back.")


@commands.command()
def revert(out: Out, session: Session = None) -> None:
    """Bring back what was measured before the first review."""
    from .restore import parse_session
    from .review import revert_review

    id = revert_review(out, parse_session(session) if session else None)
    say(f"{id} is again as it was measured. Record: {out / session_files(id).measures}")
