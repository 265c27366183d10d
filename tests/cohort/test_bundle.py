"""The command from tables and masks to the bundle: what is in it, what is said when something cannot be computed."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cohorts import Row, make_cohort_tables, write_table
from phantoms import ball, make_grid
from smallvessel.cli import main
from smallvessel.cohort import CohortInputs, make_cohort
from smallvessel.cohort.burden import relate_burden
from smallvessel.cohort.results import (
    Column,
    ResultTable,
    describe_holm,
    format_number,
    format_p,
    to_latex,
    to_record,
    to_separated,
    with_holm,
)
from smallvessel.cohort.segmentation import Comparison, ScanScore, describe_segmentation
from smallvessel.cohort.table import read_cohort
from smallvessel.errors import GeometryError, InputError
from smallvessel.evaluate import Estimate, compare_masks, icc_agreement, lesions_of, metrics_of, pearson
from smallvessel.markers import Marker
from smallvessel.records import NotAssessed, SessionId
from smallvessel.reference import Norm, Reference, write_reference
from smallvessel.volume import Grid, Mask, Volume, write_volume

GRID = make_grid((30, 30, 24), (2.0, 2.0, 3.0))
OTHER = make_grid((32, 30, 24), (2.0, 2.0, 3.0), centre_mm=(0.4, 0.2, 0.0))


def smallvessel(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{name}.tsv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tables of 60 participants, and what the command makes of them."""
    folder = tmp_path_factory.mktemp("cohort")
    _, visual, participants = make_cohort_tables(folder, 60)
    assert smallvessel("cohort", folder, "--visual", visual, "--groups", f"{participants}:site", "--title", "Sixty <made up>") == 0
    return folder, folder / "cohort"


def test_the_bundle_has_every_table_in_every_form(bundle: tuple[Path, Path]) -> None:
    _, out = bundle
    names = {"sample", "sample_sources", "agreement", "limits_of_agreement", "grades_tests", "grades_volumes", "grades_pairs", "burden"}
    assert {path.name for path in (out / "tables").iterdir()} == {f"{name}.{kind}" for name in names for kind in ("tsv", "csv", "tex")}
    figures = {f"{what}_{marker}" for what in ("agreement", "grades") for marker in ("wmh", "lacune", "epvs", "cmb")} | {"burden_z"}
    assert {path.name for path in (out / "figures").iterdir()} == {f"{name}.{kind}" for name in figures for kind in ("svg", "png")}
    for path in (out / "tables").glob("*.csv"):
        with path.open(newline="") as file, path.with_suffix(".tsv").open(newline="") as same:
            assert list(csv.reader(file)) == list(csv.reader(same, delimiter="\t"))


def test_the_tables_hold_the_statistics_of_the_tables_given(bundle: tuple[Path, Path]) -> None:
    folder, out = bundle
    with (folder / "measures.tsv").open() as mine, (folder / "visual.tsv").open() as theirs:
        measured = [float(row["wmh_volume_ml"]) for row in csv.DictReader(mine, delimiter="\t")]
        rated = [float(row["wmh_volume_ml"]) for row in csv.DictReader(theirs, delimiter="\t")]
    row = next(r for r in rows_of(out, "agreement") if (r["marker"], r["measure"], r["group"]) == ("WMH", "volume, mL", "all"))
    correlation, icc = pearson(measured, rated), icc_agreement(np.column_stack([measured, rated]))
    assert isinstance(correlation, Estimate)
    assert isinstance(icc, Estimate)
    assert [float(row[name]) for name in ("pearson", "pearson_low", "icc", "icc_high")] == pytest.approx(
        [correlation.value, correlation.low, icc.value, icc.high], rel=1e-5
    )
    assert int(row["n"]) == 60
    assert row["why_not_assessed"] == "n/a"


def test_grades_and_burden_are_related_as_they_were_made(bundle: tuple[Path, Path]) -> None:
    _, out = bundle
    tests = {(row["scale"], row["measure"]): row for row in rows_of(out, "grades_tests")}
    assert float(tests["Fazekas, deep", "WMH"]["anova_p_holm"]) < 0.001
    assert all(float(row["anova_p_holm"]) >= float(row["anova_p"]) for row in tests.values())
    limits = rows_of(out, "limits_of_agreement")
    assert all(float(row["slope_p_holm"]) >= float(row["slope_p"]) for row in limits)
    assert any(float(row["slope_p_holm"]) > float(row["slope_p"]) for row in limits)
    burden = {(row["z"], row["group"]): row for row in rows_of(out, "burden")}
    assert float(burden["all four markers", "all"]["spearman_low"]) > 0.5
    assert {group for _, group in burden} == {"all", "A", "B"}
    assert int(burden["WMH", "all"]["adjusted_n"]) == 60


def test_z_scores_are_adjusted_for_age_where_only_age_is_known(tmp_path: Path) -> None:
    measures, visual, participants = make_cohort_tables(tmp_path, 20)
    header, *lines = participants.read_text().splitlines()
    at = header.split("\t").index("sex")
    without = ["\t".join(cell for place, cell in enumerate(line.split("\t")) if place != at) for line in (header, *lines)]
    participants.write_text("\n".join(without) + "\n")
    cohort = read_cohort(measures, visual, (participants, ""))
    section = relate_burden(cohort)
    keys = [column.key for column in section.tables[0].columns]
    row = section.tables[0].rows[0]
    assert row[keys.index("adjusted_n")] == 20
    assert isinstance(row[keys.index("adjusted")], Estimate)
    assert "adjusted for age," in section.methods[0]
    assert "sex" not in section.methods[0]


def test_methods_say_sex_only_where_it_was_adjusted_for(tmp_path: Path) -> None:
    measures, visual, participants = make_cohort_tables(tmp_path, 30)
    everyone = participants.read_text()
    participants.write_text(everyone.replace("\tF\t", "\tM\t"))
    (methods,) = relate_burden(read_cohort(measures, visual, (participants, "site"))).methods
    assert "adjusted for age," in methods
    assert "sex" not in methods
    of_a = [line.replace("\tF\tA", "\tM\tA") for line in everyone.splitlines()]
    participants.write_text("\n".join(of_a) + "\n")
    (methods,) = relate_burden(read_cohort(measures, visual, (participants, "site"))).methods
    assert "adjusted for age and sex (sex in 10 of 15 rows, where it varies)" in methods
    rows = [line.split("\t") for line in participants.read_text().splitlines()]
    participants.write_text("\n".join("\t".join([line[0], *(["70", "M"] if at else line[1:3]), line[3]]) for at, line in enumerate(rows)))
    section = relate_burden(read_cohort(measures, visual, (participants, "")))
    assert "adjusted" not in section.methods[0]
    assert "neither age nor sex is known to vary" in to_separated(section.tables[0], "\t")


def test_the_reference_of_the_tables_own_z_and_totals_of_fewer_markers_are_named(tmp_path: Path) -> None:
    measures, visual, _ = make_cohort_tables(tmp_path, 20)
    header, *lines = measures.read_text().splitlines()
    made = ["WMH+lacune+EPVS"] * 3 + ["WMH+lacune+EPVS+CMB"] * 17
    measures.write_text(
        "\n".join([f"{header}\tmarkers_in_z_total\treference_cohort", *(f"{line}\t{m}\tours" for line, m in zip(lines, made, strict=True))])
    )
    section = relate_burden(read_cohort(measures, visual))
    said = "3 total z scores from volumes are made of fewer than 4 markers"
    assert f"Z scores against the reference ours ({said})" in section.methods[0]
    assert "against the reference ours;" in section.text[0]
    assert f"{said}." in section.text
    norms = {marker: Norm(1.0, 0.5, 30) for marker in Marker}
    anew = read_cohort(measures, visual, reference=Reference("anew", "log1p", "mean", norms, norms))
    assert "fewer" not in " ".join(relate_burden(anew).methods)
    rows = [line.split("\t") for line in measures.read_text().splitlines()]
    at = rows[0].index("cmb_count")
    measures.write_text("\n".join("\t".join([*row[:at], "n/a" if 0 < n < 3 else row[at], *row[at + 1 :]]) for n, row in enumerate(rows)))
    lenient = read_cohort(measures, visual, reference=Reference("anew", "log1p", "mean", norms, norms), z_over_assessed=True)
    assert "2 total z scores from counts are made of fewer than 3 markers" in relate_burden(lenient).methods[0]


def test_the_page_is_one_file_without_scripts_and_escapes_its_title(bundle: tuple[Path, Path]) -> None:
    page = (bundle[1] / "cohort.html").read_text(encoding="utf-8")
    assert "Sixty &lt;made up&gt;" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("data:image/png") == 9


def test_the_numbers_and_the_methods_say_what_was_done(bundle: tuple[Path, Path]) -> None:
    record = json.loads((bundle[1] / "cohort.json").read_text(encoding="utf-8"))
    assert record["tables"]["sample"][0]["n"] == 60
    assert record["not_computed"] == {"Segmentation against manual masks": ["No manual masks were given (--manual)."]}
    methods = (bundle[1] / "methods.md").read_text(encoding="utf-8")
    for said in (
        "60 of 60 sessions",
        "ICC(2,1)",
        "Games and Howell",
        "Holm",
        "statsmodels",
        "partial rank correlation",
        "divided by site: A ",
    ):
        assert said in methods
    assert "manual masks were" not in methods


def test_the_same_tables_give_the_same_files(tmp_path: Path) -> None:
    measures, visual, _ = make_cohort_tables(tmp_path, 12)
    for name in ("one", "two"):
        make_cohort(CohortInputs(measures, visual), tmp_path / name)
    first, second = ({p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two"))
    assert first == second


def test_three_rows_say_what_cannot_be_computed_and_compute_the_rest(tmp_path: Path) -> None:
    measures, visual, participants = make_cohort_tables(tmp_path, 3)
    make_cohort(CohortInputs(measures, visual, groups=(participants, "site")), tmp_path / "out")
    agreement = rows_of(tmp_path / "out", "agreement")
    whole, part = (next(r for r in agreement if r["measure"] == "volume, mL" and r["group"] == group) for group in ("all", "B"))
    assert float(whole["pearson"]) <= 1
    assert whole["pearson_low"] == "n/a"
    assert part["pearson"] == "n/a"
    assert "at least 3 are needed" in part["why_not_assessed"]
    methods = (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")
    assert "partial rank correlation" not in methods
    n = sum(row["pearson_p"] != "n/a" for row in agreement)
    assert 0 < n < len(agreement)
    assert f"{n} of pearson_p" in methods
    assert all(row[p] == "n/a" for row in rows_of(tmp_path / "out", "grades_tests") for p in ("anova_p", "trend_p"))
    assert "of anova_p" not in methods
    assert "of trend_p" not in methods


def test_without_raters_the_grades_are_called_computed(tmp_path: Path) -> None:
    rows = [
        {"participant_id": f"sub-{at:02d}", "wmh_volume_ml": at + 0.5 * (at % 3), "wmh_count": at, "fazekas_deep": min(at // 4, 3)}
        for at in range(16)
    ]
    page = make_cohort(CohortInputs(write_table(tmp_path / "measures.tsv", rows)), tmp_path / "out").read_text(encoding="utf-8")
    assert "Volumes across computed grades" in page
    assert "from the same masks" in page
    assert "There are no Z scores" in page
    assert "There is nothing to agree with" in page


def write_masks(folder: Path, name: str, grid: Grid, *balls_mm: tuple[tuple[float, float, float], float]) -> None:
    data = np.zeros(grid.shape, bool)
    for centre_mm, radius_mm in balls_mm:
        data |= ball(grid, centre_mm, radius_mm)
    write_volume(folder / name, Mask(data, grid))


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A run's output of four sessions with WMH masks, a failed one, and manual masks of three on the same grid."""
    out, manual = tmp_path / "out", tmp_path / "manual"
    rows = [
        {"participant_id": f"sub-0{at}", "session_id": "n/a", "wmh_volume_ml": 1.0 + at, "wmh_count": at, "qc_status": "pass"}
        for at in range(1, 5)
    ]
    write_table(out / "measures.tsv", rows)
    for at in range(1, 5):
        anat = out / f"sub-0{at}" / "anat"
        here = ((10.0, 0.0, 0.0), 6.0 + at)
        write_masks(anat, f"sub-0{at}_space-FLAIR_label-WMH_mask.nii.gz", GRID, here)
        write_masks(anat, f"sub-0{at}_space-FLAIR_res-1mm_label-WMH_mask.nii.gz", OTHER, here)
        (out / f"sub-0{at}" / f"sub-0{at}_measures.json").write_text("{}")
        if at < 4:
            write_masks(manual, f"sub-0{at}_label-WMH_mask.nii.gz", GRID, ((10.0, 0.0, 0.0), 6.0 + at))
    (out / "logs").mkdir()
    (out / "logs" / "sub-05.log").write_text("FAILED")
    return tmp_path


def test_masks_are_compared_on_the_grid_of_the_manual_ones(measured: Path) -> None:
    make_cohort(CohortInputs(measured / "out", manual=measured / "manual"), measured / "result")
    dice = next(row for row in rows_of(measured / "result", "segmentation") if row["measure"] == "Dice")
    assert (dice["n"], dice["mean"], dice["mean_low"], dice["sd"]) == ("3", "1", "n/a", "0")
    found, by_centres = rows_of(measured / "result", "detection")
    assert (found["rule"], by_centres["rule"]) == ("any overlap", "centres ≤ 3 mm")
    assert (by_centres["recall"], by_centres["precision"], by_centres["false_per_scan"]) == ("1", "1", "0")
    assert (found["n_lesions"], found["f1"], found["false_per_scan"]) == ("3", "1", "0")
    assert "no scan is free of lesions" in found["why_not_assessed"]
    assert len(rows_of(measured / "result", "comparisons")) == 3
    left_out = rows_of(measured / "result", "left_out")
    assert left_out[0]["session"] == "sub-05"
    limits = next(row for row in rows_of(measured / "result", "limits_of_agreement") if row["measure"] == "volume, mL")
    assert limits["reference"] == "manual masks"
    assert "3 of 4 sessions have a manual mask" in (measured / "result" / "cohort.html").read_text(encoding="utf-8")


def test_other_grids_are_refused_unless_resampling_is_asked_for(measured: Path) -> None:
    third = make_grid((28, 30, 30), (2.2, 2.0, 2.5))
    for at in range(1, 4):
        write_masks(measured / "manual", f"sub-0{at}_label-WMH_mask.nii.gz", third, ((10.0, 0.0, 0.0), 6.0 + at))
    inputs = CohortInputs(measured / "out", manual=measured / "manual")
    with pytest.raises(GeometryError, match="different grids"):
        make_cohort(inputs, measured / "result")
    assert not (measured / "result" / "cohort.html").exists()
    make_cohort(CohortInputs(measured / "out", manual=measured / "manual", resample=True), measured / "result")
    dice = next(row for row in rows_of(measured / "result", "segmentation") if row["measure"] == "Dice")
    assert 0.85 < float(dice["mean"]) < 1
    assert "nearest voxels" in (measured / "result" / "methods.md").read_text(encoding="utf-8")


def test_two_manual_masks_of_one_session_are_refused(measured: Path) -> None:
    write_masks(measured / "manual", "sub-02_desc-r2_label-WMH_mask.nii.gz", GRID, ((10.0, 0.0, 0.0), 6.0))
    with pytest.raises(InputError, match=r"two references: .*sub-02_desc-r2.*one rater at a time"):
        make_cohort(CohortInputs(measured / "out", manual=measured / "manual"), measured / "result")


def test_two_manual_masks_of_one_session_on_two_grids_are_refused(measured: Path) -> None:
    write_masks(measured / "manual", "sub-02_res-1mm_label-WMH_mask.nii.gz", OTHER, ((10.0, 0.0, 0.0), 6.0))
    with pytest.raises(InputError, match=r"two manual WMH masks of sub-02: .*one rater at a time"):
        make_cohort(CohortInputs(measured / "out", manual=measured / "manual"), measured / "result")


def test_manual_masks_inside_the_output_are_compared_with_the_runs(measured: Path) -> None:
    inside = measured / "out" / "manual"
    write_masks(inside, "sub-01_label-WMH_mask.nii.gz", GRID, ((-20.0, 0.0, 0.0), 6.0))
    make_cohort(CohortInputs(measured / "out", manual=inside), measured / "result")
    dice = next(row for row in rows_of(measured / "result", "segmentation") if row["measure"] == "Dice")
    assert (dice["n"], dice["mean"]) == ("1", "0")


@pytest.mark.parametrize(("inside", "said"), [(0.75, "probabilities in the reference"), (2.0, "the value 2: a label map")])
def test_a_manual_mask_that_is_none_is_refused(inside: float, said: str, measured: Path) -> None:
    values = np.where(ball(GRID, (10.0, 0.0, 0.0), 7.0), inside, 0.0)
    write_volume(measured / "manual" / "sub-01_label-WMH_mask.nii.gz", Volume(values, GRID))
    with pytest.raises(InputError, match=said):
        make_cohort(CohortInputs(measured / "out", manual=measured / "manual"), measured / "result")


def test_manual_masks_stand_beside_the_visual_table(measured: Path) -> None:
    """Masks of three of four sessions, volumes by raters of all four: both are compared."""
    rated: list[Row] = [{"participant_id": f"sub-0{at}", "wmh_volume_ml": 1.5 + at} for at in range(1, 5)]
    visual = write_table(measured / "visual.tsv", rated)
    make_cohort(CohortInputs(measured / "out", visual, measured / "manual"), measured / "result")
    volumes = {row["reference"]: row for row in rows_of(measured / "result", "agreement") if row["measure"] == "volume, mL"}
    assert {source: row["n"] for source, row in volumes.items()} == {"manual masks": "3", "visual table": "4"}
    assert "the manual masks and the visual table" in (measured / "result" / "methods.md").read_text(encoding="utf-8")


def test_nothing_of_a_former_bundle_stays_and_nothing_else_goes(measured: Path) -> None:
    result = measured / "result"
    make_cohort(CohortInputs(measured / "out", manual=measured / "manual"), result)
    (result / "tables" / "mine.tsv").write_text("kept")
    assert (result / "tables" / "segmentation.tex").is_file()
    make_cohort(CohortInputs(measured / "out"), result)
    assert not [path for path in result.rglob("segmentation*")]
    assert not (result / "tables" / "comparisons.tsv").exists()
    assert (result / "tables" / "mine.tsv").read_text() == "kept"


def test_a_failed_quality_check_is_told_as_the_run_told_it(measured: Path) -> None:
    table = measured / "out" / "measures.tsv"
    table.write_text(table.read_text().replace("4\tpass", "4\tfail"))
    checks = [{"status": "fail", "message": "The head moved."}, {"status": "warn", "message": "Some noise."}]
    (measured / "out" / "sub-04" / "sub-04_measures.json").write_text(json.dumps({"qc": {"status": "fail", "checks": checks}}))
    make_cohort(CohortInputs(measured / "out"), measured / "result")
    reasons = {row["session"]: row["reason"] for row in rows_of(measured / "result", "left_out")}
    assert reasons["sub-04"] == "a quality check failed: The head moved."
    assert "(1: a quality check failed; 1: not measured)" in (measured / "result" / "methods.md").read_text(encoding="utf-8")


def test_the_methods_name_what_the_numbers_hang_on(measured: Path) -> None:
    header, *rows = (measured / "out" / "measures.tsv").read_text().splitlines()
    told = [f"{header}\tnetworks", *(f"{row}\tanatomy 3 sha256:a; markers 4 sha256:b" for row in rows)]
    (measured / "out" / "measures.tsv").write_text("\n".join(told) + "\n")
    make_cohort(CohortInputs(measured / "out", manual=measured / "manual"), measured / "result")
    methods = (measured / "result" / "methods.md").read_text(encoding="utf-8")
    for said in (
        "1 was left out (1: not measured)",
        "centres within 3 mm",
        "IoU above 0.5",
        "volume bias",
        "without a lesion in either mask",
        "those of the manual masks",
        "2000 resamples",
        "with the networks anatomy 3 sha256:a; markers 4 sha256:b",
    ):
        assert said in methods


def test_z_scores_against_a_reference_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_cohort_tables(tmp_path, 30)
    norms = {marker: Norm(1.0, 0.5, 30) for marker in Marker}
    write_reference(Reference("our controls", "log1p", "mean", norms, norms, {"markers": "1 sha256:a"}), tmp_path / "r.json")
    options = ("--visual", tmp_path / "visual.tsv", "--reference", tmp_path / "r.json")
    assert smallvessel("cohort", tmp_path / "measures.tsv", *options, "--output", tmp_path / "out") == 0
    methods = (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")
    assert (
        "our controls (log1p of mL per litre of intracranial volume, or of counts; all markers together, of counts lacune, EPVS" in methods
    )
    assert "and CMB: the mean of their z" in methods
    assert {row["z"] for row in rows_of(tmp_path / "out", "burden") if row["kind"] == "count"} == {
        "lacune, EPVS and CMB",
        *map(str, Marker),
    }
    assert "the reference was measured by markers 1 sha256:a" in methods
    assert "those of the visual table" in methods
    assert "Which networks measured the sessions is not in measures.tsv" in (tmp_path / "out" / "cohort.html").read_text(encoding="utf-8")


def test_a_reference_of_other_networks_than_the_sessions_is_refused_row_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, *_ = make_cohort_tables(tmp_path, 30)
    norms = {marker: Norm(1.0, 0.5, 30) for marker in Marker}
    write_reference(Reference("our controls", "log1p", "mean", norms, norms, {"markers": "1 sha256:a"}), tmp_path / "r.json")
    header, *rows = table.read_text().splitlines()
    options = ("--visual", tmp_path / "visual.tsv", "--reference", tmp_path / "r.json", "--output", tmp_path / "out")

    def call(networks: list[str], *more: str) -> int:
        told = [f"{header}\tnetworks", *(f"{row}\t{made}" for row, made in zip(rows, networks, strict=True))]
        table.write_text("\n".join(told) + "\n")
        return smallvessel("cohort", table, *options, *more)

    assert call(["markers 1 sha256:a"] * 30) == 0
    page = (tmp_path / "out" / "cohort.html").read_text(encoding="utf-8")
    assert "networks measured the" not in page
    one_newer = ["markers 1 sha256:a"] * 29 + ["markers 2 sha256:b"]
    assert call(one_newer) == 2
    assert "measured with another network (markers)" in capsys.readouterr().err
    assert call(one_newer, "--allow-model-mismatch") == 0
    assert "Different networks measured these sessions" in (tmp_path / "out" / "cohort.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--groups", "nowhere.tsv:site"], "no table nowhere.tsv"),
        (["--groups", "PARTICIPANTS:scanner"], "without the column scanner"),
        (["--manual", "FOLDER"], "twice"),
        (["--visual", "PARTICIPANTS"], "without a column that is known"),
        (["--reference", "PARTICIPANTS"], "which is no reference"),
    ],
)
def test_a_wrong_call_gives_exit_code_2_and_says_why(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_cohort_tables(tmp_path, 4)
    named = {"PARTICIPANTS": str(tmp_path / "participants.tsv"), "FOLDER": str(tmp_path)}
    words = [word.replace("PARTICIPANTS", named["PARTICIPANTS"]) if word != "FOLDER" else named["FOLDER"] for word in options]
    assert smallvessel("cohort", tmp_path, *words) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert said in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "cohort").exists()


def test_without_the_extra_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measures, _, _ = make_cohort_tables(tmp_path, 4)
    monkeypatch.setattr("smallvessel.cohort.statistics.find_spec", lambda name: None if name == "statsmodels" else object())
    with pytest.raises(InputError, match=r"no statsmodels.*smallvessel\[stats\]"):
        make_cohort(CohortInputs(measures), tmp_path / "out")


def test_ten_thousand_rows_in_a_minute_and_a_gigabyte(tmp_path: Path) -> None:
    """In a process of its own, whose memory is its own; processor time and not the clock's: other processes may be running."""
    make_cohort_tables(tmp_path, 10_000)
    script = (
        "import resource, sys, time\n"
        "from pathlib import Path\n"
        "from smallvessel.cohort import CohortInputs, make_cohort\n"
        "here = Path(sys.argv[1])\n"
        "make_cohort(CohortInputs(here / 'measures.tsv', here / 'visual.tsv', groups=(here / 'participants.tsv', 'site')), here / 'out')\n"
        "print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024))\n"
    )
    shown = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True).stdout
    seconds, most_bytes = map(float, shown.split())
    assert seconds < 60
    assert most_bytes < 1e9
    assert (tmp_path / "out" / "figures" / "agreement_wmh.svg").stat().st_size < 1e6
    assert "drawn as a picture" in (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")


def test_sessions_are_found_without_a_search_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 100
    cohort = read_cohort(make_cohort_tables(tmp_path, n)[0])
    mask = Mask(ball(GRID, (0, 0, 0), 8), GRID)
    found = compare_masks(mask, mask)
    scores = tuple(ScanScore(id, Marker.WMH, metrics_of(found), lesions_of(found), mask.volume_ml, 1) for id in cohort.ids)
    n_compared = 0

    def equal(a: SessionId, b: object) -> bool:
        nonlocal n_compared
        n_compared += 1
        return str(a) == str(b)

    monkeypatch.setattr(SessionId, "__eq__", equal)
    section = describe_segmentation(cohort, Comparison(scores, ()), may_resample=False)
    assert section.tables[0].rows[0][3] == n
    assert n_compared < 10 * n


def test_how_numbers_are_printed() -> None:
    shown = [format_number(value) for value in (0.0, 0.01234, 0.5, 1.234, 12.34, 1234.5, -0.5, 1e-7, float("nan"))]
    assert shown == ["0", "0.0123", "0.500", "1.23", "12.3", "1234", "−0.500", "1.0e-07", "n/a"]
    assert [format_p(p) for p in (0.0, 0.0009, 0.0123)] == ["<0.001", "<0.001", "0.012"]


def test_only_p_values_count_in_the_correction() -> None:
    columns = (Column("p", "p", True), Column("p_holm", "p, Holm", True), Column("q", "q", True), Column("q_holm", "q, Holm", True))
    absent = NotAssessed("2 subjects")
    rows = ((0.01, 0.01, absent, absent), (0.04, 0.04, absent, absent), (absent, absent, absent, absent))
    assert describe_holm(columns, rows) == "by Holm's method, each column over its p values: 2 of p"
    assert [row[1] for row in with_holm(columns, rows)][:2] == [0.02, 0.04]
    assert describe_holm(columns, rows[2:]) == ""


@pytest.mark.parametrize("name", ["[A]", "*B"])
def test_a_row_that_begins_as_an_option_is_none_in_latex(name: str) -> None:
    table = ResultTable("small", "t", (Column("group", name), Column("n", "n")), ((name, 3),))
    latex = to_latex(table)
    assert f"\n{{}}{name} & n" in latex
    assert f"\n{{}}{name} & 3" in latex


def test_a_table_in_every_form() -> None:
    table = ResultTable(
        "small",
        "50 % of A & B_1",
        (Column("name", "name"), Column("r", "r"), Column("p", "p", True)),
        (("a", Estimate(0.5, 0.1, 0.9, 7), 0.0004), ("b", NotAssessed("2 subjects"), NotAssessed("2 subjects"))),
        ("A note.",),
    )
    assert to_separated(table, "\t").splitlines() == [
        "name\tr\tr_low\tr_high\tp\twhy_not_assessed",
        "a\t0.5\t0.1\t0.9\t0.0004\tn/a",
        "b\tn/a\tn/a\tn/a\tn/a\tr, p: 2 subjects",
    ]
    assert to_record(table) == [
        {"name": "a", "r": 0.5, "r_low": 0.1, "r_high": 0.9, "p": 0.0004, "why_not_assessed": None},
        {"name": "b", "r": None, "r_low": None, "r_high": None, "p": None, "why_not_assessed": "r, p: 2 subjects"},
    ]
    latex = to_latex(table)
    assert r"\begin{adjustbox}{max width=\textwidth}" in latex
    assert "longtable" not in latex
    long = to_latex(replace(table, rows=table.rows * 21))
    assert long.count(r"\begin{longtable}{lrr}") == long.count(r"\end{longtable}") == 1
    assert long.count(r"name & r & p \\") == 2  # on the first page and on the others
    assert long.count(r"a & 0.500") == 21
    assert r"\caption{50 \% of A \& B\_1}\label{tab:small}\\" in long
    assert r"\noindent A note. n/a in r, p: 2 subjects.\par" in long
    assert "adjustbox" not in long
    assert r"\caption{50 \% of A \& B\_1}" in latex
    assert r"a & 0.500 (0.100 to 0.900) & \textless{}0.001 \\" in latex
    assert "n/a in r, p: 2 subjects." in latex
