#!/usr/bin/env python3
"""The reference study in SIMULATED patients: 105 internal and 58 external ones through the whole pipeline to the tables of a paper.

    python benchmarks/replay_study.py FOLDER --label-maps MAPS [--part simulate] [--patients 4 2] [--jobs 2]

In parts (simulate, measure, rate, tables; without --part all four), each of which goes on where it stopped: patients that are there are
kept. Heads 14 to 16, which no training saw, are strongly deformed; burdens are spread so that all grades occur. The external
patients come from another scanner: 1.5 T, which no training has, and in-plane voxels, noise and field beyond the simulator's usual ranges,
on which thresholds were chosen; the training of the markers network reaches that far. The "visual" grades are the scales' rules on the
true masks, the "manual" masks are the true ones. FOLDER gets raw, out, visual.tsv, participants.tsv and cohort.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accuracy import measure
from agreement import measure_truth
from machine import RESULTS, describe_machine, machine_markdown, markdown_table, write_result
from smallvessel.cohort import CohortInputs, make_cohort
from smallvessel.cohort.grades import GRADES
from smallvessel.derivatives import write_text
from smallvessel.errors import InputError
from smallvessel.evaluate import RULES
from smallvessel.markers import MARKERS, Marker
from smallvessel.reference import LEAST_SESSIONS, Reference, fit_reference, write_reference
from smallvessel.restore import list_sessions, read_session
from smallvessel.tables import NOT_AVAILABLE, tsv

if TYPE_CHECKING:
    from smallvessel.simulate.burden import Burden
    from smallvessel.simulate.session import SimulationSettings

PARTS = ("simulate", "measure", "rate", "tables")
HEADS = ("head-14", "head-15", "head-16")
SEED = 2025
RELAXATION_AT_1_5_T = (0.75, 1.1, 1.35)
"""About how T1, T2 and T2* of brain tissue at 1.5 T compare with those at 3 T. Own choice, rounded."""
BEYOND = 1.05
"""The external scanner's ranges begin this factor beyond the end of the simulator's usual ones."""

CROWDED_FROM, CROWDED = 0.8, 20.0
"""From this severity on perivascular spaces rise beyond the simulator's range, to so many times it in the worst patient: without that the
grades that count more than 20 in one slab do not occur."""


@dataclass(frozen=True)
class Published:
    """What the reference study reports of a marker: Dice, and Pearson's correlation with manual volumes."""

    dice: float
    pearson: float


PAPER = {
    Marker.WMH: Published(0.85, 0.968),
    Marker.CMB: Published(0.74, 0.978),
    Marker.LACUNE: Published(0.76, 0.948),
    Marker.EPVS: Published(0.75, 0.947),
}
PAPER_CITATION = "Zhao et al. 2025, 10.3389/fneur.2025.1540923"
SITES = {"internal": 105, "external": 58}
"""Patients of the reference study."""


@dataclass(frozen=True)
class Patient:
    """A patient to be simulated; ``severity`` from 0 to 1 spreads the burden."""

    label: str
    site: str
    head: str
    severity: float
    seed: tuple[int, ...]

    @property
    def age_and_sex(self) -> tuple[float, str]:
        rng = np.random.default_rng((*self.seed, 9))
        return round(float(np.clip(50 + 30 * self.severity + rng.normal(0, 6), 40, 95)), 1), "MF"[int(rng.integers(2))]


def plan_patients(n_internal: int, n_external: int) -> list[Patient]:
    """The patients of both sites: severities evenly spread over 0 to 1 in a drawn order, heads in turn."""
    patients = []
    for number, (site, n) in enumerate(zip(SITES, (n_internal, n_external), strict=True)):
        order = np.random.default_rng((SEED, number)).permutation(n)
        for at in range(n):
            severity = (float(order[at]) + 0.5) / n
            patients.append(Patient(f"{site[:3]}{at:03d}", site, HEADS[at % len(HEADS)], severity, (SEED, number, at)))
    return patients


def site_settings(site: str) -> SimulationSettings:
    """Scanner and deformation: internal 3 T and usual, external 1.5 T with in-plane voxels, noise and field beyond the usual ranges.

    The markers network was trained on all three as far as they go here, the anatomy network on as much noise and field.
    """
    from dataclasses import replace

    from smallvessel.simulate.acquisition import AcquisitionSettings
    from smallvessel.simulate.anatomy import DeformSettings
    from smallvessel.simulate.sequences import ContrastSettings
    from smallvessel.simulate.session import SimulationSettings

    strong = DeformSettings(rotation_deg=15.0, scaling=0.15, elastic_sd_mm=4.5, ventricle_mm=(-0.8, 7.0), sulcus_mm=(-0.2, 1.2))
    usual = AcquisitionSettings()
    if site == "internal":
        acquisition = replace(usual, volumetric_share=0.3, slice_mm=(3.0, 6.0), in_plane_mm=(0.5, 0.9), noise=(0.02, 0.04))
        return SimulationSettings(deform=strong, acquisition=acquisition)
    beyond: dict[str, Any] = {
        name: (BEYOND * getattr(usual, name)[1], 1.25 * getattr(usual, name)[1]) for name in ("in_plane_mm", "noise", "bias_sd")
    }
    acquisition = replace(usual, volumetric_share=0.0, slice_mm=(5.0, 7.0), **beyond)
    contrast = ContrastSettings(free_share=0.0, relaxation_scale=RELAXATION_AT_1_5_T)
    return SimulationSettings(deform=strong, acquisition=acquisition, contrast=contrast)


def draw_burden(patient: Patient) -> Burden:
    """Every part of the disease between none and the end of its range, around the patient's severity."""
    from smallvessel.simulate.burden import Burden, BurdenSettings

    rng = np.random.default_rng((*patient.seed, 2))
    ranges = BurdenSettings()
    none = rng.random(4) < 2 * ranges.none_share * (1 - patient.severity)

    def part(bounds: tuple[float, float], absent: bool) -> float:
        share = float(np.clip(0.7 * patient.severity + 0.3 * rng.uniform() + rng.normal(0, 0.08), 0, 1))
        return 0.0 if absent else float(np.exp(np.log(bounds[0]) + share * np.log(bounds[1] / bounds[0])))

    crowding = CROWDED ** (max(patient.severity - CROWDED_FROM, 0.0) / (1 - CROWDED_FROM))
    return Burden(
        rim_mm=part(ranges.rim_mm, bool(none[0])),
        deep_wmh_per_l=part(ranges.deep_wmh_per_l, bool(none[0])),
        lacunes_per_l=part(ranges.lacunes_per_l, bool(none[1])),
        epvs_nuclei_per_l=crowding * part(ranges.epvs_nuclei_per_l, bool(none[2])),
        epvs_white_per_l=crowding * part(ranges.epvs_white_per_l, bool(none[2])),
        cmb_per_l=part(ranges.cmb_per_l, bool(none[3])),
        pontine=0.0 if none[0] else ranges.pontine_share,
    )


def simulate_patients(patients: Iterable[Patient], label_maps: Path, raw: Path) -> None:
    """Simulate the patients that are not there yet.

    Raises
    ------
    InputError
        When a head's label map is missing.
    """
    from smallvessel.simulate.anatomy import deform_head, load_head
    from smallvessel.simulate.session import simulate_session, write_simulated_session
    from smallvessel.simulate.truth import record_path

    raw.mkdir(parents=True, exist_ok=True)
    description = {"Name": "SIMULATED by smallvessel, not real patients", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    write_text(raw / "dataset_description.json", json.dumps(description, indent=1) + "\n")
    write_text(raw / ".bidsignore", "derivatives/\n*_SWI.nii.gz\n")
    for patient in patients:
        if record_path(raw, patient.label).exists():
            continue
        path = label_maps / f"{patient.head}.nii.gz"
        if not path.is_file():
            raise InputError(f"no label map {path}", "the held-out heads", "give their folder with --label-maps")
        settings = site_settings(patient.site)
        head = deform_head(load_head(path), np.random.default_rng((*patient.seed, 0)), settings.deform)
        session = simulate_session(head, (*patient.seed, 1), settings=settings, burden=draw_burden(patient))
        write_simulated_session(session, raw, patient.label)
        print(f"{patient.label} simulated", flush=True)


def rate_patients(raw: Path, out: Path, target: Path) -> Path:
    """Grade the true masks by the scales' rules, on the anatomy that a finished run measured.

    Returns
    -------
    Path
        ``target``, a table.

    Raises
    ------
    InputError
        When nothing was measured yet.
    """
    rows = []
    for id in list_sessions(out):
        values = measure_truth(read_session(out, id), raw)
        grades = {name: values.get(name) for name in GRADES if name in values}
        counts = {f"{info.column}_count": values.get(f"{marker} count") for marker, info in MARKERS.items()}
        rows.append({"participant_id": f"sub-{id.subject}", **grades, **counts})
    if not rows:
        raise InputError(f"no finished session in {out}", "patients that were measured", "do the part measure first")
    return write_rows(target, rows)


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A table of rows of the same columns; None becomes ``n/a``, whole numbers have no decimals."""

    def text(value: object) -> str:
        return NOT_AVAILABLE if value is None else f"{value:g}" if isinstance(value, float) else str(value)

    write_text(path, tsv(tuple(rows[0]), [tuple(text(value) for value in row.values()) for row in rows]))
    return path


def make_reference(out: Path, target: Path) -> Reference | None:
    """The internal patients as the reference of the z scores, of the networks that measured them; None when they are too few."""
    with (out / "measures.tsv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["participant_id"].startswith("sub-int")]
    if len(rows) < LEAST_SESSIONS:
        return None
    table = write_rows(target.with_name("internal_measures.tsv"), rows)
    reference = fit_reference(table, "internal patients, SIMULATED")
    write_reference(reference, target)
    return reference


def make_tables(patients: Sequence[Patient], folder: Path) -> Mapping[str, Any]:
    """The cohort's tables, as :mod:`smallvessel.cohort` writes them to ``cohort.json``."""
    raw, out = folder / "raw", folder / "out"
    people = [
        {"participant_id": f"sub-{p.label}", "age": p.age_and_sex[0], "sex": p.age_and_sex[1], "site": p.site, "head": p.head}
        for p in patients
    ]
    participants = write_rows(folder / "participants.tsv", people)
    inputs = CohortInputs(
        out,
        folder / "visual.tsv",
        raw / "derivatives" / "truth",
        (participants, "site"),
        make_reference(out, folder / "reference.json"),
        resample=True,
    )
    make_cohort(inputs, folder / "cohort", "The reference study, replayed in SIMULATED patients")
    tables: Mapping[str, Any] = json.loads((folder / "cohort" / "cohort.json").read_text(encoding="utf-8"))
    return tables


def describe_patients(tables: Mapping[str, Any], n_patients: int) -> str:
    """Who entered and who did not, with the reason, and how often each visual grade occurs."""
    groups = [
        tuple(_plain(row[key]) for key in ("group", "n", "age_mean", "male", "qc_warned", "qc_failed")) for row in tables.get("sample", ())
    ]
    left_out = [f"- {row['session']}: {row['reason']}\n" for row in tables.get("left_out", ())]
    n_in = int(groups[0][1]) if groups else 0
    unnamed = n_patients - n_in - len(left_out)
    missing = "".join(left_out) + (f"- {unnamed} more, of whom nothing was measured and no log tells\n" if unnamed > 0 else "")
    return (
        f"## Sample\n\n{n_in} of {n_patients} patients enter.\n\n"
        + markdown_table(("group", "n", "age, mean", "men", "quality warned", "quality failed, kept"), groups)
        + (f"\nLeft out:\n\n{missing}" if missing else "\nNobody was left out.\n")
        + "\nPatients with each grade:\n\n"
        + markdown_table(("scale", "patients by grade", "grades that do not occur"), _grades_that_occur(tables))
    )


def _grades_that_occur(tables: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for grade in GRADES.values():
        of_scale = [row for row in tables.get("grades_volumes", ()) if row["scale"] == grade.name]
        counts = {_plain(row["grade"]): _plain(row["n"]) for row in of_scale}
        if counts:
            steps = [str(step) for step in range(grade.highest + 1)]
            absent = ", ".join(step for step in steps if step not in counts)
            rows.append((grade.name, ", ".join(f"{step}: {counts.get(step, '0')}" for step in steps), absent or "none"))
    return rows


def to_markdown(record: Mapping[str, Any], n_patients: int) -> str:
    """Our figures beside the paper's; the first line says that ours are simulated."""
    tables = record["tables"]
    marker_rows = [
        row
        for marker in Marker
        for group in ("internal", "external", "all")
        if (row := _marker_row(tables, marker, group)) and any(cell != NOT_AVAILABLE for cell in row[3:-2])
    ]
    detection = [f"{what}, {heading}" for heading in RULES.values() for what in ("lesion F1", "false per scan")]
    header = ("marker", "group", "n", "Dice, mean", "Pearson r", "ICC(2,1)", *detection, "paper: Dice", "paper: Pearson r")
    grades = [
        (
            row["scale"],
            row["measure"],
            _plain(row["n"]),
            _digits(row["anova_f"]),
            _p(row["anova_p"]),
            _p(row["anova_p_holm"]),
            _p(row["welch_p"]),
        )
        for row in tables.get("grades_tests", ())
    ]
    burden = [
        (
            row["z"],
            row["kind"],
            row["group"],
            _plain(row["n"]),
            _estimate(row, "spearman"),
            _p(row["p"]),
            _p(row["p_holm"]),
            _estimate(row, "adjusted"),
        )
        for row in tables.get("burden", ())
    ]
    missing = [f"- {title}: {line}\n" for title, lines in record.get("not_computed", {}).items() for line in lines]
    return (
        "**SIMULATED** patients: ours are figures of the simulator, not of patients; those of the paper are of patients. They cannot be "
        "compared as if they were alike.\n\n"
        f"# The reference study, replayed\n\n{n_patients} simulated patients in the shape of {PAPER_CITATION} (105 internal, 58 external). "
        "External: 1.5 T, which no training has, and in-plane voxels, noise and field beyond the simulator's usual ranges, on which "
        "thresholds were chosen (the markers network was trained that far); the true masks stand for manual ones, the scales' rules on "
        "them for visual grades. Burdens are spread over the simulator's ranges; perivascular spaces of the worst fifth rise beyond them, "
        "so that high grades occur.\n\n"
        f"{describe_patients(tables, n_patients)}\n"
        f"## Segmentation and volumes\n\n{markdown_table(header, marker_rows)}\n"
        "In brackets: 95 % intervals. The paper's Dice and r are those of its abstract, without a group.\n\n"
        "## Volumes across grades (paper: ANOVA, p < .001)\n\n"
        + markdown_table(("scale", "volume", "n", "ANOVA F", "p", "p, Holm", "Welch p"), grades)
        + "\n## Z against the total burden score (paper: p < .001)\n\n"
        + markdown_table(("z of", "from", "group", "n", "Spearman", "p", "p, Holm", "adjusted for age and sex"), burden)
        + (f"\nNot computed:\n\n{''.join(missing)}" if missing else "")
    )


def _marker_row(tables: Mapping[str, Any], marker: Marker, group: str) -> tuple[str, ...]:
    dice = _find(tables, "segmentation", marker=marker, group=group, measure="Dice")
    volumes = _find(tables, "agreement", marker=marker, group=group, measure="volume, mL")
    detection = [_find(tables, "detection", marker=marker, group=group, rule=heading) for heading in RULES.values()]
    return (
        str(marker),
        group,
        _plain(detection[0].get("n")),
        _estimate(dice, "mean"),
        _estimate(volumes, "pearson"),
        _estimate(volumes, "icc"),
        *(_estimate(found, key) for found in detection for key in ("f1", "false_per_scan")),
        f"{PAPER[marker].dice:.2f}",
        f"{PAPER[marker].pearson:.3f}",
    )


def _find(tables: Mapping[str, Any], name: str, **values: str) -> Mapping[str, Any]:
    return next((row for row in tables.get(name, ()) if all(row[key] == value for key, value in values.items())), {})


def _estimate(row: Mapping[str, Any], key: str) -> str:
    value, low, high = (row.get(f"{key}{end}") for end in ("", "_low", "_high"))
    return _digits(value) + ("" if value is None or low is None or high is None else f" ({_digits(low)} to {_digits(high)})")


def _plain(value: str | float | None) -> str:
    return NOT_AVAILABLE if value is None else value if isinstance(value, str) else f"{value:g}"


def _digits(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:.3g}"


def _p(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else "<.001" if value < 0.001 else f"{value:.3f}"


def main() -> None:
    """Do the parts asked for, and write the result after the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="everything is kept here")
    parser.add_argument("--label-maps", type=Path, help="folder of the heads' label maps, for the part simulate")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--patients", type=int, nargs=2, default=list(SITES.values()), metavar=("INTERNAL", "EXTERNAL"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table goes")
    arguments = parser.parse_args()
    parts = arguments.part or PARTS
    patients = plan_patients(*arguments.patients)
    raw, out = arguments.folder / "raw", arguments.folder / "out"
    if "simulate" in parts:
        if arguments.label_maps is None:
            parser.error("--label-maps is needed to simulate")
        simulate_patients(patients, arguments.label_maps, raw)
    if "measure" in parts:
        measure(raw, out, arguments.jobs)
    if "rate" in parts:
        rate_patients(raw, out, arguments.folder / "visual.tsv")
    if "tables" in parts:
        record = make_tables(patients, arguments.folder)
        machine = describe_machine()
        markdown = f"{to_markdown(record, len(patients))}\n{machine_markdown(machine)}"
        write_result("replay_study", markdown, {"simulated": True, **record, "machine": machine}, arguments.results)
        print(markdown)


if __name__ == "__main__":
    main()
