"""The command from tables and masks to the bundle: what is in it, what is said when something cannot be computed."""

from __future__ import annotations

import csv
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from cohorts import make_cohort_tables, write_table
from phantoms import ball, make_grid
from smallvessel.cli import main
from smallvessel.cohort import CohortInputs, make_cohort
from smallvessel.cohort.results import Column, ResultTable, format_number, format_p, to_latex, to_separated
from smallvessel.errors import GeometryError, InputError
from smallvessel.evaluate import Estimate, icc_agreement, pearson
from smallvessel.markers import Marker
from smallvessel.records import NotAssessed
from smallvessel.reference import Norm, Reference, write_reference
from smallvessel.restore import measured_with
from smallvessel.volume import Grid, Mask, write_volume

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
    names = {"sample", "agreement", "limits_of_agreement", "grades_tests", "grades_volumes", "grades_pairs", "burden"}
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
    burden = {(row["z"], row["group"]): row for row in rows_of(out, "burden")}
    assert float(burden["all four markers", "all"]["spearman_low"]) > 0.5
    assert {group for _, group in burden} == {"all", "A", "B"}
    assert int(burden["WMH", "all"]["adjusted_n"]) == 60


def test_the_page_is_one_file_without_scripts_and_escapes_its_title(bundle: tuple[Path, Path]) -> None:
    page = (bundle[1] / "cohort.html").read_text(encoding="utf-8")
    assert "Sixty &lt;made up&gt;" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("data:image/png") == 9


def test_the_numbers_and_the_methods_say_what_was_done(bundle: tuple[Path, Path]) -> None:
    record = json.loads((bundle[1] / "cohort.json").read_text(encoding="utf-8"))
    assert record["tables"]["sample"][0]["n"] == "60"
    assert record["not_computed"] == {"Segmentation against manual masks": ["No manual masks were given (--manual)."]}
    methods = (bundle[1] / "methods.md").read_text(encoding="utf-8")
    for said in ("60 of 60 sessions", "ICC(2,1)", "Games and Howell", "Holm", "statsmodels", "partial rank correlation"):
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
    assert all("0" not in row["anova_p"] or row["anova_p"] != "0" for row in rows_of(tmp_path / "out", "grades_tests"))
    methods = (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")
    assert "partial rank correlation" not in methods


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
    assert (dice["n"], dice["mean"], dice["mean_low"], dice["sd"]) == ("3", "1", "1", "0")
    (found,) = rows_of(measured / "result", "detection")
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


def test_z_scores_against_a_reference_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_cohort_tables(tmp_path, 30)
    norms = {marker: Norm(1.0, 0.5, 30) for marker in Marker}
    write_reference(Reference("our controls", "log1p", "mean", norms, norms, {"markers": "1 sha256:a"}), tmp_path / "r.json")
    options = ("--visual", tmp_path / "visual.tsv", "--reference", tmp_path / "r.json")
    assert smallvessel("cohort", tmp_path / "measures.tsv", *options, "--output", tmp_path / "out") == 0
    assert "which networks" in capsys.readouterr().out
    assert "our controls" in (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")
    (tmp_path / "dataset_description.json").write_text(json.dumps({"GeneratedBy": [{"Description": "Networks: markers 2 sha256:b"}]}))
    assert smallvessel("cohort", tmp_path, *options) == 2
    assert "measured with another network" in capsys.readouterr().err


def test_the_networks_of_a_run_are_those_that_it_wrote_down(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text(json.dumps({"GeneratedBy": [{"Description": "Networks: markers 1 sha256:a"}]}))
    assert measured_with(tmp_path, {"markers": "1 sha256:a"}) == {"markers": "1 sha256:a"}
    assert measured_with(tmp_path, {"markers": "1 sha256:b"}) == {"markers": "Networks: markers 1 sha256:a"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--groups", "nowhere.tsv:site"], "no table nowhere.tsv"),
        (["--groups", "PARTICIPANTS:scanner"], "without the column scanner"),
        (["--manual", "FOLDER"], "no mask of"),
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


def test_ten_thousand_rows_in_a_minute(tmp_path: Path) -> None:
    """Processor time and not the clock's: other processes may be running."""
    measures, visual, participants = make_cohort_tables(tmp_path, 10_000)
    start = time.process_time()
    make_cohort(CohortInputs(measures, visual, groups=(participants, "site")), tmp_path / "out")
    assert time.process_time() - start < 60
    assert (tmp_path / "out" / "figures" / "agreement_wmh.svg").stat().st_size < 1e6
    assert "drawn as a picture" in (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")


def test_how_numbers_are_printed() -> None:
    shown = [format_number(value) for value in (0.0, 0.01234, 0.5, 1.234, 12.34, 1234.5, -0.5, 1e-7, float("nan"))]
    assert shown == ["0", "0.0123", "0.500", "1.23", "12.3", "1234", "−0.500", "1.0e-07", "n/a"]
    assert [format_p(p) for p in (0.0, 0.0009, 0.0123)] == ["<0.001", "<0.001", "0.012"]


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
    latex = to_latex(table)
    assert r"\caption{50 \% of A \& B\_1}" in latex
    assert r"a & 0.500 (0.100 to 0.900) & \textless{}0.001 \\" in latex
    assert "n/a in r, p: 2 subjects." in latex
