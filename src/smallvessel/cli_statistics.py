"""The commands that compare masks with references and make the statistics of a cohort."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from .console import err, out, say
from .errors import InputError
from .listings import make_table

if TYPE_CHECKING:
    from .evaluate.evaluation import MarkerSummary, ScanResult
    from .records import NotAssessed

CHALLENGE = "wmh-challenge"

commands = typer.Typer()


@commands.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", exists=True, help="A mask, or a folder of masks.")],
    reference: Annotated[Path, typer.Argument(metavar="REF", exists=True, help="A mask, or a folder of masks.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    rules: Annotated[str, typer.Option(help="wmh-challenge: that challenge's rules; the reference may hold 2, other pathology.")] = "",
    output: Annotated[Path | None, typer.Option(file_okay=False, help="Folder for TSV and JSON files.")] = None,
    probability: Annotated[bool, typer.Option("--probability", help="From folders take _probseg files instead of masks.")] = False,
    threshold: Annotated[float, typer.Option(help="A probability counts as lesion from this value on.")] = 0.5,
    label: Annotated[str, typer.Option(help="What a label map stands for: a number, any, or markers (a row for each).")] = "",
    resample: Annotated[bool, typer.Option("--resample", help="Bring predictions on another grid onto that of the reference.")] = False,
) -> None:
    """Compare masks with reference masks, voxel by voxel and lesion by lesion.

    Files of folders belong together when they have the same place, or the same sub-, ses- and label- in their names.
    """
    from .evaluate import pair_masks
    from .evaluate.evaluation import ReadingOptions, evaluate_pairs, record_of, summarise_results, write_evaluation

    if rules:
        _evaluate_by_challenge(rules, prediction, reference, as_json)
        return
    options = ReadingOptions(label, threshold, resample)
    pairing = pair_masks(prediction, reference, probability)
    results = evaluate_pairs(pairing, options)
    summaries = summarise_results(results)
    for path in pairing.unpaired:
        err.print(f"[yellow]no prediction[/yellow] for {escape(str(path))}", soft_wrap=True, highlight=False)
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
) -> None:
    """Tables, figures, statistics and a methods paragraph of a measured cohort."""
    from .cohort import CohortInputs, make_cohort
    from .reference import read_reference, require_same_models
    from .restore import measured_with

    against = read_reference(reference) if reference else None
    if against is not None and folder.is_dir():
        require_same_models(against, measured_with(folder, against.models), allow_model_mismatch)
    elif against is not None:
        say(f"With which networks {folder} was measured is not known: make sure that they are those of {against.name}.")
    inputs = CohortInputs(folder, visual, manual, _split_groups(groups), against, resample, keep_failed_qc)
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
    table = make_table(
        None, "mask", "Dice", "H95 mm", "AVD %", "volume mL", "reference mL", "recall", "precision", "F1", "false lesions", "panoptic"
    )
    for result in results:
        voxels, lesions = result.found.voxels, result.found.by_overlap
        numbers = (voxels.dice, voxels.h95_mm, voxels.avd_percent, voxels.prediction_ml, voxels.reference_ml)
        detection = (lesions.recall, lesions.precision, lesions.f1, lesions.n_false, result.found.panoptic.quality)
        table.add_row(escape(result.name), *map(_number_text, (*numbers, *detection)))
    out.print(table)


def _show_summaries(summaries: list[MarkerSummary]) -> None:
    table = make_table(
        "Together, with 95 % bootstrap intervals over masks",
        *("marker", "masks", "Dice, mean", "lesions", "recall", "precision", "F1", "false lesions per scan", "lesion-free scans positive"),
    )
    for summary in summaries:
        found = summary.detection
        rates = (found.recall, found.precision, found.f1, found.false_per_scan, found.positivity)
        table.add_row(
            summary.marker or "all",
            str(found.n_scans),
            _number_text(summary.means["dice"]),
            str(found.n_lesions),
            *map(_number_text, rates),
        )
    out.print(table)
    sizes = make_table("By size of lesion", "marker", "diameter", "reference lesions", "recall", "predicted lesions", "precision")
    for summary in summaries:
        for band in summary.sizes:
            first, second = (str(band.n_reference), _number_text(band.recall)), (str(band.n_prediction), _number_text(band.precision))
            sizes.add_row(summary.marker or "all", band.name, *first, *second)
    out.print(sizes)


def _draw(summaries: list[MarkerSummary], threshold: float, folder: Path) -> None:
    if any(summary.points for summary in summaries):
        if find_spec("matplotlib") is None:
            say("No figure of the curves: that needs pip install 'smallvessel[stats]'.")
            return
        from .evaluate.plots import write_curves

        write_curves(summaries, threshold, folder)


def _evaluate_by_challenge(rules: str, prediction: Path, reference: Path, as_json: bool) -> None:
    from .evaluate import pair_masks, score_by_challenge
    from .volume import read_values

    if rules != CHALLENGE:
        raise InputError(f"--rules {rules}", CHALLENGE, f"smallvessel evaluate PRED REF --rules {CHALLENGE}")
    table = make_table(f"By the rules of the {CHALLENGE}", "mask", "Dice", "H95 mm", "AVD %", "recall", "precision", "F1")
    records = []
    for pair in pair_masks(prediction, reference).pairs:
        found = vars(score_by_challenge(read_values(pair.prediction), read_values(pair.reference)))
        table.add_row(escape(pair.name), *map(_number_text, found.values()))
        records.append({"mask": pair.name, **{key: _plain(value) for key, value in found.items()}})
    if as_json:
        out.print_json(json.dumps(records))
    else:
        out.print(table)


def _number_text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "n/a" if hasattr(value, "reason") else str(value)


def _plain(value: float | NotAssessed) -> object:
    return value if isinstance(value, (int, float)) else {"not_assessed": value.reason}
