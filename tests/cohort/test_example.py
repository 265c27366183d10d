"""The worked example of the documentation: its tables follow from its inputs."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from smallvessel.cohort import CohortInputs, make_cohort
from smallvessel.reference import read_reference

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = DOCS / "example"


def cells_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t"))


def test_the_committed_tables_are_those_that_the_command_makes(tmp_path: Path) -> None:
    groups = (EXAMPLE / "participants.tsv", "site")
    inputs = CohortInputs(EXAMPLE / "measures.tsv", EXAMPLE / "visual.tsv", None, groups, read_reference(EXAMPLE / "controls.json"))
    make_cohort(inputs, tmp_path)
    committed = sorted((EXAMPLE / "tables").glob("*.tsv"))
    assert len(committed) == 8
    for path in committed:
        for mine, theirs in zip(cells_of(path), cells_of(tmp_path / "tables" / path.name), strict=True):
            for cell, again in zip(mine, theirs, strict=True):
                assert re.sub(r"-?\d+\.?\d*(e-?\d+)?", "", cell) == re.sub(r"-?\d+\.?\d*(e-?\d+)?", "", again)
                numbers, expected = (re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text) for text in (again, cell))
                assert [float(n) for n in numbers] == pytest.approx([float(n) for n in expected], rel=1e-3, abs=1e-6)


def test_the_page_shows_numbers_of_the_tables() -> None:
    page = (DOCS / "cohort.md").read_text(encoding="utf-8")
    assert "SIMULATED" in page
    for figure in re.findall(r"\]\((images/[^)]+)\)", page):
        assert (DOCS / figure).is_file()
    row = next(r for r in cells_of(EXAMPLE / "tables" / "agreement.tsv") if r[:4] == ["WMH", "volume, mL", "visual table", "all"])
    assert f"{float(row[5]):.3f}" in page
    assert f"{float(row[15]):.3f}" in page
