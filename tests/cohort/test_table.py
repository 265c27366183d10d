"""What is read of a cohort's tables, and how faults in them are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cohorts import Row, make_cohort_tables, write_table
from smallvessel.cohort.grades import derive_grades
from smallvessel.cohort.sample import describe_sample
from smallvessel.cohort.sheet import read_sheet
from smallvessel.cohort.table import LeftOut, read_cohort
from smallvessel.errors import InputError
from smallvessel.markers import MARKERS, Marker
from smallvessel.measure.burden import score_burden
from smallvessel.participants import Traits
from smallvessel.records import MarkerMeasures
from smallvessel.reference import Adjustment, Norm, Reference


def row(subject: str, session: str = "n/a", **others: object) -> dict[str, object]:
    return {"participant_id": f"sub-{subject}", "session_id": session, "wmh_volume_ml": "1.5", "qc_status": "pass", **others}


def test_columns_are_numbers_and_n_a_stays_missing(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("02", wmh_volume_ml="n/a"), row("01", wmh_volume_ml="0")])
    cohort = read_cohort(table)
    assert [str(id) for id in cohort.ids] == ["sub-01", "sub-02"]
    np.testing.assert_array_equal(cohort.measured["wmh_volume_ml"], [0.0, np.nan])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("participant_id\twmh_volume_ml\nsub-1\t1\nsub-2\tmuch\n", r"wmh_volume_ml = 'much' in line 3 of .*measures\.tsv"),
        ("participant_id\twmh_volume_ml\nsub-1\t-1\n", "wmh_volume_ml = '-1' in line 2"),
        ("participant_id\twmh_volume_ml\tfazekas_deep\nsub-1\t1\t7\n", "fazekas_deep = '7' in line 2 .*from 0 to 3"),
        ("participant_id\twmh_volume_ml\twmh_count\nsub-1\t1\t2.5\n", "wmh_count = '2.5' in line 2 .*a whole number"),
        ("participant_id\twmh_volume_ml\nsub-1\t1_2\n", "wmh_volume_ml = '1_2' in line 2"),
        ("participant_id\twmh_volume_ml\nsub-1\tinf\n", "wmh_volume_ml = 'inf' in line 2"),
        ("participant_id\twmh_volume_ml\nsub-1\t1\nsub-1\t2\n", "sub-1 in lines 2 and 3"),
        ("participant_id\twmh_volume_ml\nsub-1\t1\t2\n", "3 cells in line 2"),
        ("participant_id\twmh_volume_ml\n\t1\n", "participant_id = '' in line 2"),
        ("participant_id\twmh_volume_ml\twmh_volume_ml\nsub-1\t1\t2\n", "the column 'wmh_volume_ml' twice"),
        ("subject\twmh_volume_ml\nsub-1\t1\n", "no column participant_id"),
        ("participant_id\tage\nsub-1\t1\n", "without any of the columns wmh_volume_ml"),
        ("participant_id\twmh_volume_ml\n", "1 lines"),
        ("participant_id\twmh_volume_ml\tqc_status\nsub-1\t1\tgood\n", "qc_status = 'good' in line 2"),
        ("participant_id\twmh_volume_ml\tqc_status\nsub-1\t1\tfail\n", "all of which failed"),
    ],
)
def test_a_fault_is_named_with_line_and_column(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "measures.tsv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_cohort(tmp_path / "measures.tsv")


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "measures.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UnicodeDecodeError"):
        read_cohort(tmp_path / "measures.tsv")
    with pytest.raises(InputError, match="No such file"):
        read_cohort(tmp_path / "nowhere.tsv")


def test_one_session_per_participant_and_no_failed_quality(tmp_path: Path) -> None:
    rows = [row("01", "ses-b"), row("01", "ses-a", qc_status="fail"), row("01", "ses-c"), row("02", qc_status="warn")]
    table = write_table(tmp_path / "measures.tsv", rows)
    cohort = read_cohort(table, failed=[LeftOut("sub-03", "it was not measured")])
    assert [str(id) for id in cohort.ids] == ["sub-01_ses-b", "sub-02"]
    assert {one.id: one.reason for one in cohort.left_out} == {
        "sub-01_ses-a": "a quality check failed",
        "sub-01_ses-c": "sub-01_ses-b of the same participant is in already",
        "sub-03": "it was not measured",
    }
    assert [str(id) for id in read_cohort(table, keep_failed_qc=True).ids] == ["sub-01_ses-a", "sub-02"]


def test_a_stray_quote_costs_no_row(tmp_path: Path) -> None:
    rows = [row(f"{at:02d}", comment='"moved' if at == 3 else 'of 5 mm"' if at == 7 else "n/a") for at in range(10)]
    table = write_table(tmp_path / "measures.tsv", rows)
    assert len(read_cohort(table).ids) == 10
    assert list(read_sheet(table, "a table").lines.values()) == list(range(2, 12))


def test_the_first_session_is_that_of_the_smallest_number(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01", f"ses-{name}") for name in ("10", "2", "3")])
    assert [str(id) for id in read_cohort(table).ids] == ["sub-01_ses-2"]
    table = write_table(tmp_path / "measures.tsv", [row("01", name) for name in ("ses-m12", "ses-m6", "n/a")])
    assert [str(id) for id in read_cohort(table).ids] == ["sub-01"]


def test_a_group_named_as_the_whole_cohort_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01"), row("02")])
    people: list[Row] = [{"participant_id": f"sub-0{at}", "site": site} for at, site in ((1, "all"), (2, "B"))]
    with pytest.raises(InputError, match=r"a site named all in .*rename that group"):
        read_cohort(table, groups=(write_table(tmp_path / "participants.tsv", people), "site"))


def test_z_scores_of_two_reference_cohorts_are_refused(tmp_path: Path) -> None:
    rows = [row(f"0{at}", z_total=0.5, reference_cohort=name) for at, name in ((1, "ours"), (2, "theirs"), (3, "n/a"))]
    table = write_table(tmp_path / "measures.tsv", rows)
    with pytest.raises(InputError, match=r"2 reference cohorts in .*: ours \(line 2\) and theirs \(line 3\).*--reference"):
        read_cohort(table)
    norms = {marker: Norm(1.0, 0.5, 30) for marker in Marker}
    assert read_cohort(table, reference=Reference("anew", "log1p", "mean", norms, norms)).z_reference == "anew"
    assert read_cohort(write_table(tmp_path / "measures.tsv", [rows[0], rows[2]])).z_reference == "ours"


def test_visual_grades_are_matched_and_strangers_told(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01", "ses-a"), row("02")])
    grades: list[Row] = [{"participant_id": name, "fazekas_deep": grade, "reader": "x"} for name, grade in (("01", 2), ("sub-09", 1))]
    cohort = read_cohort(table, write_table(tmp_path / "visual.csv", grades, ","))
    np.testing.assert_array_equal(cohort.grades["fazekas_deep"], [2, np.nan])
    assert cohort.visual
    said = " ".join(cohort.notes)
    assert "reader" in said
    assert "sub-09" in said
    assert "1 not in visual.csv: sub-02" in said


@pytest.mark.parametrize(("cell", "said"), [("4", "from 0 to 3"), ("1.5", "a whole number"), ("-1", "from 0 to 3")])
def test_a_grade_beyond_its_scale_is_refused(cell: str, said: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01")])
    visual = write_table(tmp_path / "visual.tsv", [{"participant_id": "sub-01", "fazekas_pv": cell}])
    with pytest.raises(InputError, match=f"fazekas_pv = '{cell}' in line 2.*{said}"):
        read_cohort(table, visual)


def test_a_visual_table_without_known_columns_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01")])
    with pytest.raises(InputError, match="without a column that is known"):
        read_cohort(table, write_table(tmp_path / "visual.tsv", [{"participant_id": "sub-01", "fazekas": 1}]))


def test_groups_and_traits(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01"), row("02"), row("03")])
    people: list[Row] = [
        {"participant_id": "sub-01", "age": 71, "sex": "F", "site": "A"},
        {"participant_id": "sub-02", "age": "n/a", "sex": "m", "site": "B"},
    ]
    participants = write_table(tmp_path / "participants.tsv", people)
    cohort = read_cohort(table, groups=(participants, "site"))
    assert cohort.groups == ("A", "B", "")
    np.testing.assert_array_equal(cohort.age, [71, np.nan, np.nan])
    np.testing.assert_array_equal(cohort.male, [0, 1, np.nan])
    assert [name for name, _ in cohort.parts()] == ["all", "A", "B"]
    assert "sub-03" in " ".join(cohort.notes)
    assert [name for name, _ in read_cohort(table, groups=(participants, "")).parts()] == ["all"]
    with pytest.raises(InputError, match="without the column scanner"):
        read_cohort(table, groups=(participants, "scanner"))


def test_participants_may_be_separated_by_commas(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01"), row("02")])
    people: list[Row] = [{"participant_id": f"sub-0{at}", "Age": 70 + at, "sex": "F", "site": "AB"[at - 1]} for at in (1, 2)]
    cohort = read_cohort(table, groups=(write_table(tmp_path / "participants.csv", people, ","), "site"))
    assert cohort.groups == ("A", "B")
    np.testing.assert_array_equal(cohort.age, [71, 72])


def test_a_fault_after_an_empty_line_is_named_with_its_own_line(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01")])
    participants = tmp_path / "participants.tsv"
    participants.write_text("participant_id\tage\n\n\nsub-01\told\n")
    with pytest.raises(InputError, match="age = 'old' in line 4"):
        read_cohort(table, groups=(participants, ""))


def test_age_and_group_are_those_of_the_session_that_enters(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01", "ses-a"), row("01", "ses-b"), row("02", "ses-c"), row("03", "ses-a")])
    people: list[Row] = [
        {"participant_id": "sub-01", "session_id": "ses-a", "age": 60, "site": "A"},
        {"participant_id": "sub-01", "session_id": "ses-b", "age": 65, "site": "B"},
        {"participant_id": "sub-02", "session_id": "n/a", "age": 70, "site": "B"},
        {"participant_id": "sub-03", "session_id": "ses-x", "age": 80, "site": "A"},
        {"participant_id": "sub-03", "session_id": "ses-y", "age": 81, "site": "A"},
    ]
    cohort = read_cohort(table, groups=(write_table(tmp_path / "participants.tsv", people), "site"))
    assert cohort.groups == ("A", "B", "")
    np.testing.assert_array_equal(cohort.age, [60, 70, np.nan])
    assert "1 not in participants.tsv, so that age, sex and group are not known: sub-03" in " ".join(cohort.notes)


def test_site_and_scanner_are_described_whatever_divides_the_cohort(tmp_path: Path) -> None:
    table = write_table(tmp_path / "measures.tsv", [row("01"), row("02"), row("03")])
    people: list[Row] = [
        {"participant_id": f"sub-0{at}", "site": site, "Scanner": scanner, "arm": "x"}
        for at, site, scanner in ((1, "A", "Prisma"), (2, "B", "Prisma"), (3, "B", "n/a"))
    ]
    participants = write_table(tmp_path / "participants.tsv", people)
    for column in ("", "site"):
        cohort = read_cohort(table, groups=(participants, column))
        assert cohort.sources == {"site": ("A", "B", "B"), "Scanner": ("Prisma", "Prisma", "")}
        (levels,) = (one for one in describe_sample(cohort).tables if one.name == "sample_sources")
        assert [found[:3] for found in levels.rows] == [
            ("site", "A", 1),
            ("site", "B", 2),
            ("Scanner", "Prisma", 2),
            ("Scanner", "not known", 1),
        ]


def test_z_scores_are_those_of_a_run(tmp_path: Path) -> None:
    reference = Reference(
        "controls",
        "log1p",
        "mean",
        {marker: Norm(1.0, 0.5, 30, 0.01, 0.1) for marker in Marker},
        {marker: Norm(0.7, 0.4, 30, 0.02, -0.1) for marker in Marker},
        adjustment=Adjustment(60.0, 0.5),
    )
    numbers = {info.column: (1.0 + at, 3 * at) for at, info in enumerate(MARKERS.values())}
    cells: dict[str, Any] = {
        f"{column}_{kind}": value for column, pair in numbers.items() for kind, value in zip(("volume_ml", "count"), pair, strict=True)
    }
    table = write_table(tmp_path / "measures.tsv", [row("01", icv_ml=1400, **cells), row("02", icv_ml="n/a", **cells)])
    people = [{"participant_id": name, "age": 70, "sex": "M"} for name in ("sub-01", "sub-02")]
    cohort = read_cohort(table, groups=(write_table(tmp_path / "p.tsv", people), ""), reference=reference)
    measures = {m: MarkerMeasures(m, numbers[i.column][0], numbers[i.column][1], {}, {}) for m, i in MARKERS.items()}
    expected = score_burden(measures, 1400.0, reference, traits=Traits(70.0, True))
    assert cohort.measured["z_total"][0] == pytest.approx(expected.volume["total"])
    assert cohort.measured["z_wmh"][0] == pytest.approx(expected.volume["WMH"])
    assert cohort.measured["z_count_total"][1] == pytest.approx(expected.count["total"])
    assert np.isnan(cohort.measured["z_total"][1])


def test_the_total_z_of_those_assessed_is_there_only_where_asked_for(tmp_path: Path) -> None:
    norms = {marker: Norm(1.0, 0.5, 30) for marker in Marker}
    reference = Reference("ours", "log1p", "mean", norms, norms)
    table = write_table(tmp_path / "measures.tsv", [row("01", icv_ml=1400, wmh_count=3, lacune_volume_ml=0.2, lacune_count=1)])
    strict, lenient = (read_cohort(table, reference=reference, z_over_assessed=wanted).measured for wanted in (False, True))
    assert np.isnan(strict["z_total"][0])
    assert lenient["z_total"][0] == pytest.approx((lenient["z_wmh"][0] + lenient["z_lacune"][0]) / 2)


def test_grades_that_follow_from_others() -> None:
    grades = {
        "fazekas_pv": np.array([3.0, 1, 0, np.nan]),
        "fazekas_deep": np.array([1.0, 2, 0, 1]),
        "epvs_bg": np.array([2.0, 1, 0, 1]),
    }
    numbers = {"lacune_count": np.array([2.0, 6, 0, 1]), "cmb_count": np.array([0.0, 5, 0, 1])}
    found = derive_grades(grades, numbers)
    np.testing.assert_array_equal(found["fazekas_total"], [4, 3, 0, np.nan])
    np.testing.assert_array_equal(found["lacune_grade"], [1, 3, 0, 1])
    np.testing.assert_array_equal(found["cmb_band"], [0, 2, 0, 1])
    np.testing.assert_array_equal(found["svd_total"], [3, 3, 0, np.nan])
    given = derive_grades({**grades, "svd_total": np.array([4.0, 4, 4, 4])}, numbers)
    np.testing.assert_array_equal(given["svd_total"], 4)


def test_a_sheet_knows_where_its_rows_stand(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("\ufeffparticipant_id\tx\n\nsub-1\t2\n", encoding="utf-8")
    sheet = read_sheet(tmp_path / "a.tsv", "a table")
    assert list(sheet.lines.values()) == [3]


def test_a_made_up_cohort_is_read_whole(tmp_path: Path) -> None:
    measures, visual, participants = make_cohort_tables(tmp_path, 20)
    cohort = read_cohort(measures, visual, (participants, "site"))
    assert len(cohort.ids) == 20
    assert set(cohort.rated) == {f"{info.column}_{kind}" for info in MARKERS.values() for kind in ("volume_ml", "count")}
    assert {"fazekas_total", "fazekas_pv", "lacune_grade", "svd_total"} <= set(cohort.grades)
