#!/usr/bin/env python3
"""Make the worked example of docs/cohort.md: docs/example with its tables, and the figures in docs/images.

    python tools/make_cohort_example.py

The numbers are SIMULATED: drawn from a severity per participant with noise, no patient and no image is behind them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smallvessel.cohort import CohortInputs, make_cohort
from smallvessel.derivatives import write_text
from smallvessel.markers import MARKERS, Marker
from smallvessel.reference import fit_reference, write_reference
from smallvessel.tables import tsv

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLE = DOCS / "example"
TABLES = ("sample", "left_out", "missing_markers", "agreement", "limits_of_agreement", "grades_tests", "grades_pairs", "burden")
FIGURES = ("agreement_wmh", "grades_wmh", "burden_z")
N_CONTROLS, N_PATIENTS = 40, 60
LARGEST_ML = {Marker.WMH: 45.0, Marker.LACUNE: 1.2, Marker.EPVS: 3.0, Marker.CMB: 0.6}
LARGEST_COUNT = {Marker.WMH: 60, Marker.LACUNE: 7, Marker.EPVS: 70, Marker.CMB: 12}
SPAN = 5.0
"""Volumes rise by a factor of exp(SPAN) from the mildest to the most severe."""

Row = dict[str, str]


def draw_rows(n: int, mildest: float, worst: float, prefix: str, seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of measures.tsv, visual.tsv and participants.tsv of n participants between two severities."""
    rng = np.random.default_rng(seed)
    measures, visual, people = [], [], []
    for at, severity in enumerate(rng.uniform(mildest, worst, n)):
        name = f"sub-{prefix}{at + 1:02d}"
        measured: Row = {"participant_id": name, "session_id": "n/a", "icv_ml": f"{rng.normal(1450, 110):.1f}"}
        rated: Row = {"participant_id": name}
        own = {marker: float(np.clip(severity + rng.normal(0, 0.12), 0, 1)) for marker in Marker}
        for marker, info in MARKERS.items():
            manual_ml = LARGEST_ML[marker] * float(np.exp(SPAN * (own[marker] - 1)))
            manual_count = int(rng.poisson(LARGEST_COUNT[marker] * own[marker] ** 2))
            rated |= {f"{info.column}_volume_ml": f"{manual_ml:.4f}", f"{info.column}_count": str(manual_count)}
            measured[f"{info.column}_volume_ml"] = f"{manual_ml * float(np.exp(rng.normal(0.05, 0.25))):.4f}"
            measured[f"{info.column}_count"] = str(max(manual_count + int(rng.integers(-2, 3)), 0))
        measured |= {"qc_status": "pass", "software_version": "0.1.0"}
        for column, highest, marker in (("fazekas_pv", 3, Marker.WMH), ("fazekas_deep", 3, Marker.WMH), ("epvs_bg", 4, Marker.EPVS)):
            rated[column] = str(int(np.clip(round(own[marker] * highest + rng.normal(0, 0.35)), 0, highest)))
        measures.append(measured)
        visual.append(rated)
        age = float(np.clip(48 + 32 * severity + rng.normal(0, 6), 40, 90))
        people.append(
            {"participant_id": name, "age": f"{age:.0f}", "sex": "MF"[int(rng.integers(2))], "site": ("north", "south")[at % 3 == 0]}
        )
    return measures, visual, people


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write rows of the same columns."""
    write_text(path, tsv(tuple(rows[0]), [tuple(row.values()) for row in rows]))
    return path


def main() -> None:
    """Draw the tables, run the command's work on them, and keep what the page shows."""
    measures, visual, people = draw_rows(N_PATIENTS, 0.0, 1.0, "p", 1)
    measures[6]["qc_status"] = "fail"
    measures[17] |= {"cmb_volume_ml": "n/a", "cmb_count": "n/a"}  # as without SWI
    table = write_rows(EXAMPLE / "measures.tsv", measures)
    graded = write_rows(EXAMPLE / "visual.tsv", [row for at, row in enumerate(visual) if at != 29])
    participants = write_rows(EXAMPLE / "participants.tsv", people)
    with tempfile.TemporaryDirectory() as folder:
        controls = write_rows(Path(folder) / "measures.tsv", draw_rows(N_CONTROLS, 0.0, 0.45, "c", 2)[0])
        reference = fit_reference(controls, "simulated controls", allow_mismatch=True)
        write_reference(reference, EXAMPLE / "controls.json")
        made = Path(folder) / "cohort"
        inputs = CohortInputs(table, graded, groups=(participants, "site"), reference=reference)
        make_cohort(inputs, made, "A worked example, SIMULATED numbers")
        for name in TABLES:
            (EXAMPLE / "tables").mkdir(exist_ok=True)
            shutil.copy(made / "tables" / f"{name}.tsv", EXAMPLE / "tables" / f"{name}.tsv")
        for name in FIGURES:
            shutil.copy(made / "figures" / f"{name}.png", DOCS / "images" / f"cohort_{name}.png")
        shutil.copy(made / "methods.md", EXAMPLE / "methods.md")


if __name__ == "__main__":
    main()
