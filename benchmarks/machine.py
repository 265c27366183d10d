"""On what a benchmark ran: the machine, the versions, the date. Shared by the benchmarks."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smallvessel import __version__
from smallvessel.derivatives import write_text
from smallvessel.provenance import model_versions, package_versions
from smallvessel.run import count_cores, memory_gb

RESULTS = Path(__file__).parent / "results"


def describe_machine() -> dict[str, Any]:
    """Processor, cores in use, memory, load before the run, versions of software and networks, date."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores_used": count_cores(),
        "memory_free_gb": round(memory_gb(), 1),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "smallvessel": __version__,
        "models": model_versions(),
        "packages": package_versions(),
    }


def machine_markdown(machine: Mapping[str, Any]) -> str:
    """The same as a few lines of Markdown."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    models = "; ".join(f"{name} {version}" for name, version in machine["models"].items())
    return (
        f"{machine['date']}. {machine['processor']}, {machine['cores_used']} cores used, {machine['memory_free_gb']} GB of memory free, "
        f"load before the run {machine['load_before']}, {machine['system']}.\n\n"
        f"smallvessel {machine['smallvessel']}; networks {models}; {packages}.\n"
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def write_result(name: str, markdown: str, record: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Write a result as Markdown for people and JSON for programs."""
    write_text(folder / f"{name}.md", markdown)
    write_text(folder / f"{name}.json", json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
