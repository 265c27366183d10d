"""Reference cohorts and the Z scores against them."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from smallvessel.config import Settings, settings_from_dict
from smallvessel.errors import InputError
from smallvessel.intake.bids import find_sessions
from smallvessel.markers import MARKERS, Marker
from smallvessel.measure.burden import score_burden
from smallvessel.models import describe_networks
from smallvessel.participants import Traits, read_participants
from smallvessel.provenance import run_digest
from smallvessel.records import MarkerMeasures, NotAssessed
from smallvessel.reference import Adjustment, Norm, Reference, fit_reference, read_reference, require_same_models, write_reference

MODELS = {"anatomy": "0.1.0 sha256:aa", "markers": "0.1.0 sha256:bb operating:cc"}
MADE = {"software_version": "0.1.0", "networks": describe_networks(MODELS)}
NORMS = {marker: Norm(1.0, 0.5, 20) for marker in Marker}
COHORT = Reference("own controls", "log1p", "mean", NORMS, NORMS, MODELS, "0.1.0")


def write_table(path: Path, rows: list[dict[str, object]]) -> Path:
    columns = ["participant_id", "icv_ml", *(f"{info.column}_{kind}" for info in MARKERS.values() for kind in ("volume_ml", "count"))]
    columns += ["session_id", "qc_status", "software_version", "networks"]
    lines = ["\t".join(columns), *("\t".join(str(row.get(column, "n/a")) for column in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def cohort_rows(n: int) -> list[dict[str, object]]:
    return [
        {
            "participant_id": f"sub-{i:02d}",
            "icv_ml": 1400 + i,
            "wmh_volume_ml": 2.0 * i,
            "wmh_count": i,
            "lacune_count": 0,
            "qc_status": "pass",
            **MADE,
        }
        for i in range(n)
    ]


def measured(volume_ml: float, count: int, missing: tuple[Marker, ...] = ()) -> dict[Marker, MarkerMeasures | NotAssessed]:
    return {m: NotAssessed("needs SWI") if m in missing else MarkerMeasures(m, volume_ml, count, {}, {}) for m in Marker}


def test_a_reference_is_the_mean_and_spread_of_the_cohort(tmp_path: Path) -> None:
    rows = [*cohort_rows(12), {"participant_id": "sub-99", "icv_ml": 1, "wmh_volume_ml": 999, "wmh_count": 999, "qc_status": "fail"}]
    reference = fit_reference(write_table(tmp_path / "measures.tsv", rows), "own controls")
    expected = [math.log1p(1000 * 2.0 * i / (1400 + i)) for i in range(12)]
    assert reference.volume[Marker.WMH] == Norm(pytest.approx(statistics.fmean(expected)), pytest.approx(statistics.stdev(expected)), 12)  # type: ignore[arg-type]
    assert reference.count[Marker.LACUNE] == Norm(0.0, 0.0, 12)
    assert Marker.LACUNE not in reference.volume
    assert Marker.CMB not in reference.count
    assert (reference.models, reference.software_version) == (MODELS, "0.1.0")
    write_reference(reference, tmp_path / "reference.json")
    assert read_reference(tmp_path / "reference.json") == reference


def test_a_reference_is_of_the_networks_that_measured_its_rows(tmp_path: Path) -> None:
    newer = {**MODELS, "markers": "0.2.0 sha256:dd"}
    mixed = [{**row, "networks": describe_networks(newer)} if i > 9 else row for i, row in enumerate(cohort_rows(12))]
    table = write_table(tmp_path / "mixed.tsv", mixed)
    with pytest.raises(InputError, match=r"10 rows, the first in line 2: .*sha256:bb.* 2 rows, the first in line 12: .*sha256:dd"):
        fit_reference(table, "mixed")
    allowed = fit_reference(table, "mixed", allow_mismatch=True)
    assert allowed.models == {}
    with pytest.raises(InputError, match="another network"):
        require_same_models(allowed, MODELS, allow_mismatch=False)
    failed = [{**row, "qc_status": "fail"} if i > 9 else row for i, row in enumerate(mixed)]
    assert fit_reference(write_table(tmp_path / "failed.tsv", failed), "those that enter").models == MODELS
    partly = [{**row, "networks": "n/a"} if i > 9 else row for i, row in enumerate(cohort_rows(12))]
    with pytest.raises(InputError, match="2 rows, the first in line 12: not known"):
        fit_reference(write_table(tmp_path / "partly.tsv", partly), "partly known")
    nowhere = [{**row, "networks": "n/a"} for row in cohort_rows(12)]
    with pytest.raises(InputError, match=r"does not say which networks .*smallvessel run"):
        fit_reference(write_table(tmp_path / "nowhere.tsv", nowhere), "not known")


def test_a_participant_with_two_sessions_counts_once(tmp_path: Path) -> None:
    rows = cohort_rows(12)
    again = [{**row, "wmh_count": 99} for row in rows]
    once, twice = (fit_reference(write_table(tmp_path / f"{len(table)}.tsv", table), "own controls") for table in (rows, [*rows, *again]))
    assert twice == once
    with pytest.raises(InputError, match="9 usable sessions"):
        fit_reference(write_table(tmp_path / "few.tsv", cohort_rows(9) * 2), "own controls")


def test_a_member_at_the_mean_has_a_z_of_zero_and_one_sd_above_has_one() -> None:
    icv_ml = 1400.0
    at_mean = measured(math.expm1(1.0) * icv_ml / 1000, round(math.expm1(1.0)))
    burden = score_burden(at_mean, icv_ml, COHORT)
    assert all(z == pytest.approx(0.0, abs=1e-9) for z in burden.volume.values())
    above = score_burden(measured(math.expm1(1.5) * icv_ml / 1000, 3), icv_ml, COHORT)
    assert above.volume["total"] == pytest.approx(1.0)
    assert above.count["WMH"] == pytest.approx((math.log1p(3) - 1.0) / 0.5)
    summed = Reference("own controls", "log1p", "sum", NORMS, NORMS, MODELS)
    assert score_burden(measured(math.expm1(1.5) * icv_ml / 1000, 3), icv_ml, summed).volume["total"] == pytest.approx(4.0)


def test_what_is_missing_has_no_z_and_no_total_unless_it_may() -> None:
    found = measured(5.0, 3, missing=(Marker.CMB,))
    strict = score_burden(found, 1400.0, COHORT)
    assert strict.volume["CMB"] == NotAssessed("needs SWI")
    assert strict.volume["total"] == NotAssessed("no z of CMB")
    lenient = score_burden(found, 1400.0, COHORT, over_assessed=True)
    assert lenient.volume["total"] == lenient.volume["WMH"]
    summed = score_burden(found, 1400.0, replace(COHORT, total="sum"), over_assessed=True)
    assert summed.volume["total"] == pytest.approx(4 * lenient.volume["WMH"])  # type: ignore[operator]  # as if all four were as these three
    without_icv = score_burden(found, NotAssessed("brain-extracted"), COHORT)
    assert without_icv.volume["WMH"] == NotAssessed("needs the intracranial volume: brain-extracted")
    assert isinstance(without_icv.count["WMH"], float)
    flat = Reference("flat", "log1p", "mean", {}, {Marker.WMH: Norm(0.0, 0.0, 12)}, MODELS)
    none = score_burden(found, 1400.0, flat)
    assert "do not vary" in str(none.count["WMH"])
    assert "too few" in str(none.volume["WMH"])


def test_other_weights_are_refused_unless_allowed() -> None:
    require_same_models(COHORT, MODELS, allow_mismatch=False)
    newer = {**MODELS, "markers": "0.2.0 sha256:cc"}
    with pytest.raises(InputError, match=r"another network .markers.*that of sessions in t\.tsv, markers 0\.2\.0"):
        require_same_models(COHORT, newer, allow_mismatch=False, whose="sessions in t.tsv")
    require_same_models(COHORT, newer, allow_mismatch=True)


def test_settings_carry_the_reference_and_its_content_changes_the_digest() -> None:
    with_it = Settings(reference=COHORT)
    assert settings_from_dict(json.loads(json.dumps(with_it.as_dict()))) == with_it
    other = Reference("own controls", "log1p", "mean", NORMS, {}, MODELS, "0.1.0")
    assert len({Settings().digest(), with_it.digest(), Settings(reference=other).digest()}) == 3


@pytest.mark.parametrize("value", ["controls.json", 3, {"name": "x"}, {**COHORT.as_dict(), "format": 99}])
def test_settings_with_something_else_for_a_reference_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="no reference"):
        settings_from_dict({"reference": value})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (cohort_rows(9), "9 usable sessions"),
        ([*cohort_rows(10), {"icv_ml": 1400, "wmh_volume_ml": "many", "wmh_count": 1}], "wmh_volume_ml = 'many' in line 12"),
        ([*cohort_rows(10), {"icv_ml": 1400, "wmh_volume_ml": -1, "wmh_count": 1}], "wmh_volume_ml = '-1' in line 12"),
    ],
)
def test_a_table_that_makes_no_reference_is_refused(rows: list[dict[str, object]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        fit_reference(write_table(tmp_path / "measures.tsv", rows), "own")


def test_files_that_are_no_reference_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "x"}')
    (tmp_path / "b.json").write_text("no json")
    (tmp_path / "c.tsv").write_text("a\tb\n1\t2\n")
    for name in ("a.json", "b.json"):
        with pytest.raises(InputError, match="no reference"):
            read_reference(tmp_path / name)
    with pytest.raises(InputError, match="cannot be opened"):
        read_reference(tmp_path / "nothing.json")
    with pytest.raises(InputError, match="without the column wmh_volume_ml"):
        fit_reference(tmp_path / "c.tsv", "own")


def write_participants(path: Path, n: int) -> Path:
    rows = [f"sub-{i:02d}\t{50 + 2 * i}\t{'M' if i % 2 else 'F'}" for i in range(n)]
    path.write_text("\n".join(["participant_id\tage\tsex", *rows, "sub-77\tn/a\tM"]) + "\n")
    return path


def test_of_several_sessions_the_first_counts_by_its_number(tmp_path: Path) -> None:
    later = [{**row, "session_id": "ses-10", "wmh_count": 99} for row in cohort_rows(12)]
    first = [{**row, "session_id": "ses-2"} for row in cohort_rows(12)]
    both = fit_reference(write_table(tmp_path / "both.tsv", later + first), "ours")
    assert both.count == fit_reference(write_table(tmp_path / "first.tsv", first), "ours").count


def test_an_adjusted_reference_expects_more_of_the_old_and_of_men(tmp_path: Path) -> None:
    def burden_of(i: int) -> float:
        return 1.0 + 0.03 * (50 + 2 * i) + (0.4 if i % 2 else 0.0)

    rows = [
        {"participant_id": f"sub-{i:02d}", "icv_ml": 1000, "wmh_volume_ml": math.expm1(burden_of(i)), "wmh_count": 1, **MADE}
        for i in range(16)
    ]
    rows.append({"participant_id": "sub-77", "icv_ml": 1000, "wmh_volume_ml": 500, "wmh_count": 1, "qc_status": "pass"})
    table, participants = write_table(tmp_path / "measures.tsv", rows), write_participants(tmp_path / "participants.tsv", 16)
    reference = fit_reference(table, "ours", participants=participants)
    norm = reference.volume[Marker.WMH]
    assert norm.n == 16
    assert norm.age_slope == pytest.approx(0.03)
    assert norm.male_shift == pytest.approx(0.4)
    assert norm.sd == pytest.approx(0.0, abs=1e-6)
    assert reference.expected(norm, Traits(80.0, True)) == pytest.approx(1.0 + 0.03 * 80 + 0.4)
    assert reference.expected(norm, Traits(81.0, True)) == NotAssessed("the reference ours is of ages 50 to 80, which 81 is not within")
    write_reference(reference, tmp_path / "reference.json")
    assert read_reference(tmp_path / "reference.json") == reference


def test_an_adjusted_reference_has_no_z_for_whom_age_or_sex_are_not_known() -> None:
    norms = {marker: Norm(1.0, 0.5, 20, 0.1, 0.0) for marker in Marker}
    adjusted = Reference("ours", "log1p", "mean", norms, norms, MODELS, "0.1.0", Adjustment(60.0, 0.5))
    found = measured(math.expm1(2.0) * 1.4, 3)
    at_70 = score_burden(found, 1400.0, adjusted, traits=Traits(70.0, False))
    assert at_70.volume["WMH"] == pytest.approx(0.0, abs=1e-9)
    unknown = score_burden(found, 1400.0, adjusted, traits=Traits(70.0, None))
    assert "adjusted for age and sex" in str(unknown.volume["WMH"])
    women = replace(adjusted, adjustment=Adjustment(60.0, 0.0))
    man = score_burden(found, 1400.0, women, traits=Traits(70.0, True))
    assert man.volume["WMH"] == NotAssessed("the reference ours is adjusted for sex and has no men")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("01\t64\tF", Traits(64.0, False)),
        ("sub-01\t89+\tmale", Traits(89.0, True)),
        ("01\tn/a\tO", Traits()),
        ("01\t70", Traits(70.0, None)),
    ],
)
def test_participants_are_read(row: str, found: Traits, tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text(f"participant_id\tAge\tSex\n{row}\n")
    assert read_participants(tmp_path / "participants.tsv") == {"01": found}


@pytest.mark.parametrize(("row", "column"), [("01\told\tF", "age"), ("01\t640\tF", "age"), ("01\t64\tx", "sex")])
def test_a_cell_that_is_no_value_is_named(row: str, column: str, tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text(f"participant_id\tage\tsex\n{row}\n")
    with pytest.raises(InputError, match=f"{column} = .* in line 2"):
        read_participants(tmp_path / "participants.tsv")


def test_participants_separated_by_commas_and_lines_after_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "participants.csv").write_text("participant_id,age,sex\nsub-01,64,F\n")
    assert read_participants(tmp_path / "participants.csv") == {"01": Traits(64.0, False)}
    (tmp_path / "participants.tsv").write_text("participant_id\tage\n\nsub-01\told\n")
    with pytest.raises(InputError, match="age = 'old' in line 3"):
        read_participants(tmp_path / "participants.tsv")


def test_two_ages_of_one_participant_are_refused_and_two_equal_ones_are_not(tmp_path: Path) -> None:
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tsession_id\tage\nsub-01\ta\t64\nsub-01\tb\t64\n")
    assert read_participants(table) == {"01": Traits(64.0)}
    table.write_text("participant_id\tsession_id\tage\nsub-01\ta\t64\nsub-01\tb\t65\n")
    with pytest.raises(InputError, match="sub-01 in line 3 than in line 2"):
        read_participants(table)


def test_sessions_get_age_and_sex_and_the_digest_only_where_it_matters(tmp_path: Path) -> None:
    for label in ("01", "02"):
        folder = tmp_path / f"sub-{label}" / "anat"
        folder.mkdir(parents=True)
        (folder / f"sub-{label}_FLAIR.nii.gz").write_bytes(b"x")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t64\tF\n")
    assert [source.traits for source in find_sessions(tmp_path)] == [Traits(64.0, False), Traits()]
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\told\n")
    damaged = find_sessions(tmp_path)
    assert [source.traits for source in damaged] == [Traits(), Traits()]
    assert all("Age and sex are not known" in source.log[-1] for source in damaged)
    young, old = Traits(40.0, False), Traits(80.0, False)
    plain = Settings()
    assert run_digest({}, plain, MODELS, young) == run_digest({}, plain, MODELS, old)
    adjusted = replace(plain, reference=replace(COHORT, adjustment=Adjustment(60.0, 0.5)))
    assert run_digest({}, adjusted, MODELS, young) != run_digest({}, adjusted, MODELS, old)
