#!/usr/bin/env python3
"""Seconds per session and per stage, and peak memory, as a user of `smallvessel run --jobs 1` sees them.

One worker process measures the sessions one after another on at most two cores. It first measures the first session once as
a warm-up (imports, loading and compiling the networks); that one is shown beside the medians and not counted in them.

    python benchmarks/speed.py [--data ../shared/data/openms-bids] [--cores 2] [--keep OUT]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from machine import describe_machine, machine_markdown, markdown_table, write_result
from smallvessel.config import Settings
from smallvessel.derivatives import session_files
from smallvessel.intake.bids import find_sessions
from smallvessel.records import SessionId
from smallvessel.run import Outcome, run_sessions

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "openms-bids"
WARM_UP = SessionId("warmup")
REST = "rest"
"""What the stages do not cover: the digest of inputs, the tables, and passing the session to the worker."""


@dataclass(frozen=True)
class Timing:
    """One session's wall-clock seconds, per stage and in total, and the process's peak memory so far."""

    session: str
    stages_s: Mapping[str, float]
    total_s: float
    peak_memory_mb: float


def measure_speed(data: Path, out: Path) -> list[Timing]:
    """Measure every session of a BIDS folder; the first entry is the warm-up.

    Raises
    ------
    SystemExit
        When a session fails: a speed without a result is none.
    """
    sources = find_sessions(data)
    timings: list[Timing] = []

    def note(outcome: Outcome) -> None:
        if outcome.failure:
            sys.exit(f"{outcome.id} failed in {outcome.failure.stage}: {outcome.failure.message}")
        record = json.loads((out / session_files(outcome.id).measures).read_text(encoding="utf-8"))
        timings.append(read_timing(str(outcome.id), record, outcome.seconds))
        print(f"{outcome.id}: {outcome.seconds:.1f} s", flush=True)

    run_sessions((replace(sources[0], id=WARM_UP), *sources), out, Settings(), jobs=1, force=True, notify=note)
    return timings


def read_timing(session: str, record: Mapping[str, Any], total_s: float) -> Timing:
    """A session's timing from its record and the seconds that its worker took."""
    made = record["provenance"]
    stages = {stage: float(seconds) for stage, seconds in made["timings_s"].items()}
    return Timing(session, {**stages, REST: max(total_s - sum(stages.values()), 0.0)}, total_s, float(made["peak_memory_mb"]))


def summarise(timings: Sequence[Timing], machine: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The result as Markdown and as a record."""
    warm_up, *counted = timings
    stages = list(dict.fromkeys(stage for timing in counted for stage in timing.stages_s))
    columns = {stage: [timing.stages_s.get(stage, 0.0) for timing in counted] for stage in stages}
    columns["total"] = [timing.total_s for timing in counted]
    first = {**warm_up.stages_s, "total": warm_up.total_s}
    peak_mb = max(timing.peak_memory_mb for timing in timings)
    rows = [
        (name, f"{statistics.median(seconds):.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}", f"{first.get(name, 0.0):.1f}")
        for name, seconds in columns.items()
    ]
    markdown = (
        "# Speed\n\n"
        f"Wall-clock seconds per session: {len(counted)} sessions, one after another in one process, all outputs and the report written. "
        "The warm-up is the first session, measured once more before the others in the same process; it is not in the median.\n\n"
        + markdown_table(("stage", "median s", "fastest s", "slowest s", "warm-up s"), rows)
        + f"\nPeak memory of the process: {peak_mb / 1000:.2f} GB.\n\n"
        + machine_markdown(machine)
        + "\nMade by `python benchmarks/speed.py`.\n"
    )
    record = {
        "sessions": len(counted),
        "median_s": {name: round(statistics.median(seconds), 2) for name, seconds in columns.items()},
        "warm_up_s": {name: round(seconds, 2) for name, seconds in first.items()},
        "peak_memory_mb": round(peak_mb),
        "per_session_s": {timing.session: round(timing.total_s, 2) for timing in counted},
        "machine": dict(machine),
    }
    return markdown, record


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="BIDS folder")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="keep the outputs in this folder")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as temporary:
        timings = measure_speed(options.data, options.keep or Path(temporary))
    markdown, record = summarise(timings, machine)
    write_result("speed", markdown, record)
    print(markdown)


if __name__ == "__main__":
    main()
