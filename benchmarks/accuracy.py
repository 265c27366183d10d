#!/usr/bin/env python3
"""Accuracy on simulated sessions with known truth, and on real scans with reference masks and matrices.

    python benchmarks/accuracy.py simulated FOLDER [--note "heads 14 to 16, held out of training"] [--subsets all | FLAIR FLAIR+T1w ...]
    python benchmarks/accuracy.py real [--data ../shared/data]
    python benchmarks/accuracy.py card

The last one puts what both tables say into the network's card.

Sessions that were measured before with the same inputs, settings and weights are not measured again (--work keeps them).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import real_scans
import simulated
from machine import RESULTS, describe_machine, machine_markdown, write_result
from smallvessel.config import Settings
from smallvessel.errors import InputError
from smallvessel.intake.bids import find_sessions
from smallvessel.markers import Marker, Sequence
from smallvessel.models import WEIGHTS, load_card, write_card
from smallvessel.run import Outcome, run_sessions

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "runs" / "accuracy"
SETTINGS = Settings(write_probability=False, write_report=False)


def measure(data: Path, out: Path, jobs: int, subset: str = "", first: int | None = None) -> None:
    """Run the pipeline on a BIDS folder or its ``first`` sessions, with a subset of their sequences ("FLAIR+T1w") or all.

    Finished sessions are kept, and failed ones are told and stay out of the comparison.
    """

    def tell(outcome: Outcome) -> None:
        reason = f": {outcome.failure.message}" if outcome.failure else ""
        print(f"{outcome.id} {outcome.status} in {outcome.seconds:.0f} s{reason}", file=sys.stderr, flush=True)

    sources = find_sessions(data)[:first]
    if subset:
        sources = tuple(replace(s, files={q: path for q, path in s.files.items() if q in subset.split("+")}) for s in sources)
    run_sessions(sources, out, SETTINGS, jobs=jobs, notify=tell)


def every_subset() -> list[str]:
    """All proper subsets of the four sequences."""
    return ["+".join(chosen) for size in range(1, len(Sequence)) for chosen in combinations(map(str, Sequence), size)]


def results_of(folder: Path, work: Path) -> Path:
    """Where the results of a simulated folder are kept."""
    return work / f"simulated-{folder.resolve().name}"


def evaluate_simulated(folder: Path, out: Path, note: str, subsets: Mapping[str, Path]) -> str:
    """Compare the pipeline's masks with the truth of simulated sessions and write the result.

    Parameters
    ----------
    subsets : mapping of str to Path
        Results from fewer sequences, by which ("FLAIR+T1w").
    """
    scores, missing = simulated.score_folder(folder, out)
    summaries = simulated.summarise(scores)
    machine = describe_machine()
    strata = simulated.summarise_parts(simulated.divide(scores, folder))
    tables = simulated.strata_markdown("By slices, by load and by other disease", strata) + "\n" + simulated.sizes_markdown(scores)
    if subsets:
        fewer = {name: simulated.score_folder(folder, path)[0] for name, path in subsets.items()}
        measured = {score.session for of in fewer.values() for score in of}
        fewer["all four"] = [score for score in scores if score.session in measured]
        parts = [(marker, name, mine) for marker in Marker for name, of in fewer.items() if (mine := [s for s in of if s.marker is marker])]
        from_fewer = simulated.summarise_parts(parts)
        strata += [(f"{name} of {len(measured)} sessions", summary) for name, summary in from_fewer]
        tables += "\n" + simulated.strata_markdown(
            f"From fewer sequences, against what a rater would draw on these ({len(measured)} sessions)", from_fewer
        )
    markdown = f"{simulated.to_markdown(summaries, missing, note)}\n{tables}\n{machine_markdown(machine)}"
    record = {
        "simulated": True,
        "note": note,
        "markers": {str(summary.marker): simulated.to_record(summary) for summary in summaries},
        "strata": [{"marker": str(summary.marker), "part": name, **simulated.to_record(summary)} for name, summary in strata],
        "sessions": [simulated.score_record(score) for score in scores],
        "not_measured": missing,
        "machine": machine,
    }
    write_result("accuracy_simulated", markdown, record)
    return markdown


def evaluate_real(data: Path, openms_out: Path, wmh_outs: Mapping[str, Path]) -> str:
    """Compare the pipeline's results with the references of real scans and write the result."""
    brains, registrations = real_scans.score_openms(data / "openms-bids", openms_out)
    lesions = real_scans.score_wmh(data / "wmh-labelled-bids", wmh_outs)
    machine = describe_machine()
    markdown = real_scans.to_markdown(brains, registrations, lesions) + "\n" + machine_markdown(machine)
    record = {
        "brain_dice": [{**row, "dice": _plain(row["dice"])} for row in brains],
        "registration_mm": [{**row, "error_mm": _plain(row["error_mm"])} for row in registrations],
        "wmh_dice": {case: {tool: _plain(value) for tool, value in row.items()} for case, row in lesions.items()},
        "machine": machine,
    }
    write_result("accuracy_real", markdown, record)
    return markdown


def put_in_card(results: Path, weights: Path) -> None:
    """Write what the tables say of the shipped markers network into its card.

    Raises
    ------
    InputError
        When they are of another network.
    """
    card = load_card("markers", weights)
    tables = {name: json.loads((results / f"accuracy_{name}.json").read_text(encoding="utf-8")) for name in ("simulated", "real")}
    for name, table in tables.items():
        if (found := table["machine"]["models"]["markers"]) != card.identity:
            raise InputError(f"a table accuracy_{name} of the network {found}", card.identity, "make the table again")
    told = tables["simulated"]
    parts = [{"marker": marker, "part": "all", **summary} for marker, summary in told["markers"].items()] + told["strata"]
    test = {"data": f"SIMULATED: {told['note']}", "parts": {f"{part['marker']}, {part['part']}": _sentence(part) for part in parts}}
    wmh_dice = {case: of["smallvessel"] for case, of in tables["real"]["wmh_dice"].items()}
    real = {"data": "real scans of multiple sclerosis patients", "wmh_dice": wmh_dice}
    write_card(replace(card, results={**card.results, "test": test, "real": real}), weights)


def _sentence(part: Mapping[str, Any]) -> str:
    """A part's results, as a line of the card."""
    text = simulated.plain_text
    return (
        f"{part['n']} sessions, {part['n_with_lesions']} with lesions: "
        f"Dice {text(part['dice_mean'])}, lesion F1 {text(part['f1_overlap'])}, "
        f"false lesions per session {text(part['false_per_session'])}, lesion-free sessions with one {text(part['positivity'])}, "
        f"Pearson r of volumes {text(part['volume_r'])}"
    )


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def main() -> None:
    """Run the chosen part and write its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("simulated", "real", "card"))
    parser.add_argument("folder", type=Path, nargs="?", help="simulated BIDS folder with derivatives/truth")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="real scans")
    parser.add_argument("--work", type=Path, default=WORK, help="where the results of the sessions are kept")
    parser.add_argument("--subsets", nargs="*", default=[], help="also from these sequences alone, as FLAIR+T1w; or all")
    parser.add_argument("--subset-sessions", type=int, help="only the first so many sessions from fewer sequences, since that takes long")
    parser.add_argument("--note", default="", help="a sentence on the sessions, for the table")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    if options.part == "card":
        put_in_card(RESULTS, WEIGHTS)
        return
    if options.part == "real":
        openms, labelled = "openms-bids", "wmh-labelled-bids"
        wmh_outs = {"smallvessel": options.work / labelled, "smallvessel, FLAIR alone": options.work / f"{labelled}-FLAIR"}
        measure(options.data / openms, options.work / openms, options.jobs)
        for out, subset in zip(wmh_outs.values(), ("", Sequence.FLAIR), strict=True):
            measure(options.data / labelled, out, options.jobs, subset)
        print(evaluate_real(options.data, options.work / openms, wmh_outs))
        return
    if options.folder is None:
        parser.error("name the folder with the simulated sessions")
    out = results_of(options.folder, options.work)
    measure(options.folder, out, options.jobs)
    names = every_subset() if options.subsets == ["all"] else options.subsets
    subsets = {subset: out.with_name(f"{out.name}-{subset}") for subset in names}
    for subset, path in subsets.items():
        measure(options.folder, path, options.jobs, subset, options.subset_sessions)
    print(evaluate_simulated(options.folder, out, options.note, subsets))


if __name__ == "__main__":
    main()
