"""The commands that compare masks with references and make the statistics of a cohort."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len
from rich.markup import escape

from .console import err, out, say
from .errors import InputError
from .listings import make_table

if TYPE_CHECKING:
    from rich.table import Table

    from .evaluate.evaluation import MarkerSummary, ReadingOptions, ScanResult
    from .evaluate.pairing import Pairing

CHALLENGE = "wmh-challenge"

commands = typer.Typer()


@commands.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", exists=True, help="A mask, or a folder of masks.")],
    reference: Annotated[Path, typer.Argument(metavar="REF", exists=True, help="A mask, or a folder of masks.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    rules: Annotated[str, typer.Option(help="wmh-challenge: that challenge's rules; the reference may hold 2, other pathology.")] = "",
    output: Annotated[Path | None, typer.Option(file_okay=False, help="Folder for TSV and JSON files.")] = None,
    probability: Annotated[bool, typer.Option("--probability", help="PRED is probabilities; from folders take _probseg files.")] = False,
    threshold: Annotated[float, typer.Option(help="A probability counts as lesion from this value on.")] = 0.5,
    label: Annotated[str, typer.Option(help="What a label map stands for: a number, any, or markers (a row for each).")] = "",
    prediction_label: Annotated[str, typer.Option(help="The same of PRED, where it is not that of REF: any for a mask.")] = "",
    resample: Annotated[bool, typer.Option("--resample", help="Bring predictions on another grid onto that of the reference.")] = False,
) -> None:
    """Compare masks with reference masks, voxel by voxel and lesion by lesion.

    Files of folders belong together when they have the same place, or the same sub-, ses- and label- in their names.
    """
    from .evaluate import pair_masks
    from .evaluate.evaluation import ReadingOptions, evaluate_pairs, notes_of, record_of, summarise_results, write_evaluation

    options = ReadingOptions(label, threshold, resample, prediction_label, probability)
    if rules:
        _require_challenge(rules, options)
    pairing = pair_masks(prediction, reference, probability)
    for path in pairing.unpaired:
        err.print(f"[yellow]no prediction[/yellow] for {escape(str(path))}", soft_wrap=True, highlight=False)
    if rules:
        _evaluate_by_challenge(rules, pairing, as_json, output)
        return
    results = evaluate_pairs(pairing, options)
    summaries = summarise_results(results)
    for note in notes_of(results):
        err.print(f"[yellow]note[/yellow] {escape(note)}", soft_wrap=True, highlight=False)
    if output is not None:
        write_evaluation(results, summaries, pairing.unpaired, options, output)
        _draw(summaries, threshold, output)
    if as_json:
        out.print_json(json.dumps([record_of(result) for result in results]))
        return
    _show_results(results)
    if len(results) > 1:
        _show_summaries(summaries)
    if output is not None:
        say(f"Tables: {output}")


@commands.command()
def cohort(
    folder: Annotated[Path, typer.Argument(metavar="OUT", exists=True, help="Output folder of a run, or its measures.tsv.")],
    visual: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Table of visual grades, volumes or counts.")] = None,
    manual: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of manual masks, named as BIDS names them.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A reference cohort for Z scores, see smallvessel reference fit.")
    ] = None,
    groups: Annotated[
        str, typer.Option(metavar="TABLE[:COLUMN]", help="participants.tsv with age and sex, and the column that divides the cohort.")
    ] = "",
    output: Annotated[Path | None, typer.Option(file_okay=False, help="Where the results go; by default OUT/cohort.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Cohort",
    resample: Annotated[bool, typer.Option("--resample", help="Compare masks on different grids by their nearest voxels.")] = False,
    keep_failed_qc: Annotated[
        bool, typer.Option("--keep-failed-qc", help="Keep sessions whose quality checks failed; otherwise they are listed and left out.")
    ] = False,
    allow_model_mismatch: Annotated[
        bool, typer.Option("--allow-model-mismatch", help="Take a reference that other weights measured.")
    ] = False,
    z_over_assessed: Annotated[
        bool, typer.Option("--z-over-assessed", help="Make the total Z score from the markers that were assessed, where one was not.")
    ] = False,
) -> None:
    """Tables, figures, statistics and a methods paragraph of a measured cohort."""
    from .cohort import CohortInputs, make_cohort
    from .reference import read_reference

    against = read_reference(reference) if reference else None
    inputs = CohortInputs(
        folder, visual, manual, _split_groups(groups), against, resample, keep_failed_qc, allow_model_mismatch, z_over_assessed
    )
    target = output or (folder if folder.is_dir() else folder.parent) / "cohort"
    with err.status("reading the tables") as status:
        page = make_cohort(inputs, target, title, lambda what: status.update(what))
    say(f"Results: {page}")
    say(f"Tables and figures: {page.parent}")


def _split_groups(text: str) -> tuple[Path, str] | None:
    """``participants.tsv:site`` as the table and its column; the column may be left away."""
    if not text:
        return None
    whole = Path(text)
    path, column = (whole, "") if whole.is_file() else (Path(text.rpartition(":")[0]), text.rpartition(":")[2])
    if not path.is_file():
        raise InputError(
            f"--groups {text}, where there is no table {path}", "a table, a colon and a column", "--groups participants.tsv:site"
        )
    return path, column


def _show_results(results: list[ScanResult]) -> None:
    from .evaluate import RULES, lesions_of

    voxels = make_table("Voxels and volumes", "mask", "Dice", "H95 mm", "AVD %", "volume mL", "reference mL", "panoptic quality")
    lesions = make_table("Lesions", "mask", "pairs by", "reference", "found", "false", "recall", "precision", "F1")
    for result in results:
        found = result.found.voxels
        numbers = (found.dice, found.h95_mm, found.avd_percent, found.prediction_ml, found.reference_ml, result.found.panoptic.quality)
        voxels.add_row(escape(result.name), *map(_number_text, numbers))
        for rule, one in lesions_of(result.found).items():
            counts = (one.n_reference, one.n_found, one.n_false, one.recall, one.precision, one.f1)
            lesions.add_row(escape(result.name), RULES[rule], *map(_number_text, counts))
    _print_whole(voxels)
    _print_whole(lesions)


def _show_summaries(summaries: list[MarkerSummary]) -> None:
    from .evaluate import RULES

    table = make_table("Together, with 95 % intervals over subjects", "marker", "measure", *RULES.values())
    for summary in summaries:
        of_rule = [summary.detection[rule] for rule in RULES]
        rows: list[tuple[str, list[object]]] = [
            ("scans", [found.n_scans for found in of_rule]),
            ("subjects", [found.n_subjects for found in of_rule]),
            ("reference lesions", [found.n_lesions for found in of_rule]),
            ("recall", [found.recall for found in of_rule]),
            ("precision", [found.precision for found in of_rule]),
            ("F1", [found.f1 for found in of_rule]),
            ("false per scan", [found.false_per_scan for found in of_rule]),
            ("lesion-free scans positive", [found.positivity for found in of_rule]),
        ]
        table.add_row(summary.marker or "all", "Dice, mean", _number_text(summary.means["dice"]), "")
        for measure, values in rows:
            table.add_row(summary.marker or "all", measure, *map(_number_text, values))
    _print_whole(table)
    sizes = make_table("By size of lesion", "marker", "diameter", "reference lesions", "recall", "predicted lesions", "precision")
    for summary in summaries:
        for band in summary.sizes:
            first, second = (str(band.n_reference), _number_text(band.recall)), (str(band.n_prediction), _number_text(band.precision))
            sizes.add_row(summary.marker or "all", band.name, *first, *second)
    _print_whole(sizes)


def _print_whole(table: Table) -> None:
    """Print a table whose numbers are never cut: on a narrow terminal names are folded instead."""
    for column in table.columns:
        if column.justify == "right":
            column.min_width = max((cell_len(str(cell)) for cell in column.cells), default=0)
        column.overflow = "fold"
    out.print(table)


def _draw(summaries: list[MarkerSummary], threshold: float, folder: Path) -> None:
    if any(summary.points for summary in summaries):
        if find_spec("matplotlib") is None:
            say("No figure of the curves: that needs pip install 'smallvessel[stats]'.")
            return
        from .evaluate.plots import write_curves

        write_curves(summaries, threshold, folder)


def _require_challenge(rules: str, options: ReadingOptions) -> None:
    from .evaluate.evaluation import ReadingOptions

    if rules != CHALLENGE:
        raise InputError(f"--rules {rules}", CHALLENGE, f"smallvessel evaluate PRED REF --rules {CHALLENGE}")
    if options != ReadingOptions(probability=options.probability):
        raise InputError(
            f"--rules {CHALLENGE} with --label, --prediction-label, --threshold or --resample",
            "the challenge's own rules: lesion from 0.5 on, labels 1 and 2 in the reference, voxels as stored",
            "leave these options out, or leave out --rules",
        )


def _evaluate_by_challenge(rules: str, pairing: Pairing, as_json: bool, output: Path | None) -> None:
    from .evaluate.challenge_summary import average_challenge, challenge_record, evaluate_by_challenge, write_challenge

    results = evaluate_by_challenge(pairing)
    for name in (result.name for result in results if result.header_ignored):
        err.print(
            f"[yellow]note[/yellow] the header of {escape(name)} differs from its reference's and is ignored, as in the challenge",
            soft_wrap=True,
            highlight=False,
        )
    if output is not None:
        write_challenge(results, pairing.unpaired, output)
    if as_json:
        out.print_json(json.dumps([challenge_record(result) for result in results]))
        return
    table = make_table(f"By the rules of the {rules}", "mask", "Dice", "H95 mm", "AVD %", "recall", "precision", "F1")
    for result in results:
        table.add_row(escape(result.name), *map(_number_text, vars(result.score).values()))
    _print_whole(table)
    if len(results) > 1:
        means = make_table("Means with 95 % bootstrap intervals over subjects", "measure", "mean", "subjects")
        for name, found in average_challenge(results).items():
            means.add_row(name, _number_text(found), str(getattr(found, "n", 0)))
        _print_whole(means)
    if output is not None:
        say(f"Tables: {output}")


def _number_text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "n/a" if hasattr(value, "reason") else str(value)
