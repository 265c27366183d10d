"""The command line. The only file that exits.

Heavy packages are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import json
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperCommand

from . import __version__
from .cli_review import commands as review
from .cli_statistics import commands as statistics
from .cli_training import commands as training
from .console import err, out, say, say_error
from .errors import InputError, SmallvesselError
from .listings import list_demo, list_markers, list_reference, list_scales
from .markers import Marker
from .markers import Sequence as MRSequence

if TYPE_CHECKING:
    from .config import Settings
    from .records import RunSummary, SessionSource
    from .run import Outcome

SOME_FAILED = 1
WRONG_CALL = 2
SEVERAL_VALUES = ("--participant-label", "--session-label", "--markers")
"""Options that take several words, as in BIDS apps: ``--participant-label 01 02``."""

app = typer.Typer(
    name="smallvessel",
    help="Measure cerebral small vessel disease on brain MRI: white matter hyperintensities, lacunes, enlarged perivascular "
    "spaces and cerebral microbleeds. Research use only, no diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(statistics)
app.add_typer(training)
app.add_typer(review, name="review")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors are one clean line, and the exit code says what kind they are."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="smallvessel")
    except SmallvesselError as error:
        say_error(f"{error}")
        sys.exit(WRONG_CALL)
    except OSError as error:  # a full disk, a folder that may not be written
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            _report_defect(error)
        say_error(f"The system refused: {error}. Make room or see to the permissions, and call again")
        sys.exit(WRONG_CALL)
    except Exception as error:
        _report_defect(error)


def _report_defect(error: Exception) -> NoReturn:
    """One line for the user, the traceback in a file for whoever mends it."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="smallvessel-error-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as log:
        traceback.print_exception(error, file=log)
    say_error(f"Unexpected {type(error).__name__}: {error}. Please report it with {log.name}")
    sys.exit(WRONG_CALL)


def repeat_option_names(arguments: Iterable[str]) -> list[str]:
    """``--participant-label 01 02`` as ``--participant-label 01 --participant-label 02``, which the parser understands.

    The words after such an option belong to it up to the next option; ``--markers`` takes only names of markers.
    """
    repeated: list[str] = []
    option, is_first = "", False
    known = {marker.casefold() for marker in Marker}
    for word in arguments:
        if word.startswith("-"):
            option, is_first = (word, True) if word in SEVERAL_VALUES else ("", False)
            repeated.append(word)
        elif option and (is_first or option != "--markers" or word.casefold() in known):
            repeated += [word] if is_first else [option, word]
            is_first = False
        else:
            option = ""
            repeated.append(word)
    return repeated


class _SeveralValues(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_option_names(args))


def _say_version(wanted: bool) -> None:
    if wanted:
        out.print(f"smallvessel {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    pass


ImagePath = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A NIfTI file, instead of a BIDS folder.")]


@app.command(cls=_SeveralValues)
def run(
    paths: Annotated[list[Path], typer.Argument(metavar="[BIDS] OUT", help="The BIDS folder and the output folder; OUT alone with files.")],
    flair: ImagePath = None,
    t1w: ImagePath = None,
    t2w: ImagePath = None,
    swi: ImagePath = None,
    participant_label: Annotated[list[str] | None, typer.Option(help="Only these participants; the name of a session of files.")] = None,
    session_label: Annotated[list[str] | None, typer.Option(help="Only these sessions.")] = None,
    markers: Annotated[list[str] | None, typer.Option(help="Only these markers: WMH, lacune, EPVS, CMB.")] = None,
    settings: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A TOML file of settings.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Sessions at the same time; by default as cores and memory allow.")] = None,
    reference: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A reference cohort for Z scores, see smallvessel reference fit.")
    ] = None,
    allow_model_mismatch: Annotated[
        bool, typer.Option("--allow-model-mismatch", help="Take a reference that other weights measured.")
    ] = False,
    z_over_assessed: Annotated[
        bool, typer.Option("--z-over-assessed", help="Make the total Z score from the markers that were assessed, where one was not.")
    ] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write each report as a PDF too; needs the extra \\[pdf].")] = False,
    force: Annotated[bool, typer.Option("--force", help="Measure finished sessions again.")] = False,
    trust_header: Annotated[bool, typer.Option("--trust-header", help="Accept images without a declared orientation.")] = False,
) -> None:
    """Measure the sessions of a BIDS folder, or one session of plain files.

    Exit code 0: all sessions are done; 1: some failed, the others are complete; 2: the call was wrong.
    """
    from dataclasses import replace

    from .run import run_sessions

    files = {MRSequence.FLAIR: flair, MRSequence.T1W: t1w, MRSequence.T2W: t2w, MRSequence.SWI: swi}
    given = {sequence: path for sequence, path in files.items() if path}
    sources = _find_sources(paths, given, participant_label or (), session_label or ())
    chosen = _choose_settings(settings, markers, trust_header)
    if reference is not None:
        chosen = _with_reference(chosen, reference, allow_model_mismatch)
    if z_over_assessed:
        chosen = replace(chosen, z_over_assessed=True)
    if pdf or chosen.write_pdf:
        chosen = _with_pdf(chosen)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err, transient=True
    ) as bar:
        task = bar.add_task("sessions", total=len(sources))

        def show(outcome: Outcome) -> None:
            bar.advance(task)
            _show_outcome(outcome)

        summary = run_sessions(sources, paths[-1], chosen, jobs, force, show, tell=say_error)
    _show_summary(summary, paths[-1])
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


cohorts = typer.Typer(no_args_is_help=True, help="Reference cohorts for Z scores.")
app.add_typer(cohorts, name="reference")


@cohorts.command("fit")
def fit_reference_cohort(
    table: Annotated[Path, typer.Argument(metavar="MEASURES.tsv", exists=True, dir_okay=False, help="The table of one's own cohort.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.json", help="The reference.")],
    name: Annotated[str, typer.Option(help="Which cohort; printed beside every Z score.")],
    transform: Annotated[str, typer.Option(help="log1p or identity, of volumes and counts.")] = "log1p",
    total: Annotated[str, typer.Option(help="mean or sum of the markers' Z scores.")] = "mean",
    participants: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Adjust for the age and sex in this table.")
    ] = None,
    allow_model_mismatch: Annotated[
        bool, typer.Option("--allow-model-mismatch", help="Take rows that different, or unknown, weights measured.")
    ] = False,
) -> None:
    """Freeze a cohort's means and spreads, so that the burden of other sessions becomes a Z score."""
    from .reference import TOTALS, TRANSFORMS, fit_reference, write_reference

    for option, value, known in (("--transform", transform, TRANSFORMS), ("--total", total, TOTALS)):
        if value not in known:
            raise InputError(f"{option} {value}", " or ".join(known), f"smallvessel reference fit ... {option} {next(iter(known))}")
    reference = fit_reference(table, name, transform, total, participants, allow_model_mismatch)
    write_reference(reference, target)
    out.print(list_reference(reference))
    say(f"Reference: {target}")


@app.command()
def demo(folder: Annotated[Path, typer.Argument(metavar="[OUT]", help="Output folder.")] = Path("demo-output")) -> None:
    """Measure the bundled simulated patient and show the truth beside the measurement."""
    from .config import Settings
    from .demo import run_demo

    with err.status("measuring the simulated patient"):
        result = run_demo(folder, Settings())
    out.print(list_demo(result.rows))
    say(f"Report: {result.report}")
    say(f"Table:  {result.table}")


@app.command()
def info(topic: Annotated[str | None, typer.Argument(metavar="[scores]", help="Show the scores instead.")] = None) -> None:
    """Show the version, the networks with their cards, and the markers; or every score with range, needs, rule and citation."""
    if topic == "scores":
        out.print(list_scales())
        return
    if topic is not None:
        raise InputError(f"no topic named {topic}", "scores, or nothing", "smallvessel info scores")
    from .models import load_card
    from .provenance import NETWORKS

    say(f"smallvessel {__version__}. Research use only, no diagnosis.")
    for name in NETWORKS:
        card = load_card(name)
        say(f"\nNetwork {card.name} {card.version}: {card.spacing_mm:g} mm, in {', '.join(card.inputs)}")
        say(f"  sha256 {card.sha256}")
        say(f"  training: {json.dumps(card.training, ensure_ascii=False)}")
        for data, content in card.results.items():
            if "parts" in content:  # the whole is in the card
                content = {**content, "parts": {name: told for name, told in content["parts"].items() if name.endswith(", all")}}
            say(f"  results, {data}: {json.dumps(content, ensure_ascii=False)}")
        for limit in card.limits:
            say(f"  limit: {limit}")
    out.print(list_markers())


@app.command()
def doctor() -> None:
    """Check that this installation can work: Python, memory, packages, weights, a tiny inference."""
    from .doctor import examine

    failed = False
    for check in examine():
        mark = {"pass": "[green]ok[/green]  ", "warn": "[yellow]warn[/yellow]", "fail": "[red]FAIL[/red]"}[check.status]
        out.print(f"{mark} {escape(check.name)}: {escape(check.message)}", highlight=False, soft_wrap=True)
        failed |= check.status == "fail"
    if failed:
        raise typer.Exit(SOME_FAILED)


def _find_sources(
    paths: list[Path], files: dict[MRSequence, Path], participants: Sequence[str], sessions: Sequence[str]
) -> tuple[SessionSource, ...]:
    from .intake.bids import find_sessions, session_from_files

    if files:
        if len(paths) != 1 or len(participants) > 1 or sessions:
            raise InputError(
                f"image files with {len(paths)} folders, {len(participants)} participants and {len(sessions)} sessions",
                "one output folder and at most one participant",
                "smallvessel run --flair F.nii.gz --t1w T.nii.gz OUT",
            )
        return (session_from_files(files, participants[0] if participants else "01"),)
    if len(paths) != 2:
        raise InputError(
            f"{len(paths)} folder{'s' if len(paths) != 1 else ''} ({', '.join(map(str, paths))}) and no image file",
            "a BIDS folder and an output folder, before any --participant-label",
            "smallvessel run BIDS OUT, or smallvessel run --flair F.nii.gz OUT",
        )
    bids, folder = paths
    if folder.resolve() == bids.resolve():
        raise InputError(f"the output folder {folder}, which is the BIDS folder", "a folder of its own", "choose another output folder")
    return find_sessions(bids, participants, sessions)


def _with_pdf(settings: Settings) -> Settings:
    from dataclasses import replace

    from .report import require_pdf

    require_pdf()
    return replace(settings, write_pdf=True)


def _with_reference(settings: Settings, path: Path, allow_mismatch: bool) -> Settings:
    from dataclasses import replace

    from .provenance import model_versions
    from .reference import read_reference, require_same_models

    reference = read_reference(path)
    require_same_models(reference, model_versions(), allow_mismatch)
    return replace(settings, reference=reference)


def _choose_settings(path: Path | None, markers: Sequence[str] | None, trust_header: bool) -> Settings:
    from dataclasses import replace

    from .config import Settings, read_settings

    settings = read_settings(path) if path else Settings()
    if markers:
        settings = replace(settings, markers=tuple(markers))  # type: ignore[arg-type]  # checked and made markers there
    return replace(settings, trust_header=True) if trust_header else settings


def _show_outcome(outcome: Outcome) -> None:
    if outcome.failure:
        err.print(f"[red]failed[/red] {outcome.id} in {outcome.failure.stage}: {escape(outcome.failure.message)}", soft_wrap=True)
    elif outcome.status == "completed":
        err.print(f"[green]done[/green]   {outcome.id} in {outcome.seconds:.0f} s", highlight=False)
    elif outcome.note:
        err.print(f"[yellow]kept[/yellow]   {outcome.id}: {escape(outcome.note)}", soft_wrap=True, highlight=False)


def _show_summary(summary: RunSummary, folder: Path) -> None:
    counts = [(len(summary.completed), "measured"), (len(summary.skipped), "finished before"), (len(summary.failed), "failed")]
    say(", ".join(f"{count} {name}" for count, name in counts if count) + f". Table: {folder / 'measures.tsv'}")
