"""Reference cohorts and the Z scores against them."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import pytest

from smallvessel.config import Settings, settings_from_dict
from smallvessel.errors import InputError
from smallvessel.markers import MARKERS, Marker
from smallvessel.measure.burden import score_burden
from smallvessel.records import MarkerMeasures, NotAssessed
from smallvessel.reference import Norm, Reference, fit_reference, read_reference, require_same_models, write_reference

MODELS = {"anatomy": "0.1.0 sha256:aa", "markers": "0.1.0 sha256:bb"}
NORMS = {marker: Norm(1.0, 0.5, 20) for marker in Marker}
COHORT = Reference("own controls", "log1p", "mean", NORMS, NORMS, MODELS, "0.1.0")


def write_table(path: Path, rows: list[dict[str, object]]) -> Path:
    columns = ["participant_id", "icv_ml", *(f"{info.column}_{kind}" for info in MARKERS.values() for kind in ("volume_ml", "count"))]
    columns.append("qc_status")
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
        }
        for i in range(n)
    ]


def measured(volume_ml: float, count: int, missing: tuple[Marker, ...] = ()) -> dict[Marker, MarkerMeasures | NotAssessed]:
    return {m: NotAssessed("needs SWI") if m in missing else MarkerMeasures(m, volume_ml, count, {}, {}) for m in Marker}


def test_a_reference_is_the_mean_and_spread_of_the_cohort(tmp_path: Path) -> None:
    rows = [*cohort_rows(12), {"participant_id": "sub-99", "icv_ml": 1, "wmh_volume_ml": 999, "wmh_count": 999, "qc_status": "fail"}]
    reference = fit_reference(write_table(tmp_path / "measures.tsv", rows), "own controls", MODELS, "0.1.0")
    expected = [math.log1p(1000 * 2.0 * i / (1400 + i)) for i in range(12)]
    assert reference.volume[Marker.WMH] == Norm(pytest.approx(statistics.fmean(expected)), pytest.approx(statistics.stdev(expected)), 12)  # type: ignore[arg-type]
    assert reference.count[Marker.LACUNE] == Norm(0.0, 0.0, 12)
    assert Marker.LACUNE not in reference.volume
    assert Marker.CMB not in reference.count
    write_reference(reference, tmp_path / "reference.json")
    assert read_reference(tmp_path / "reference.json") == reference


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
    with pytest.raises(InputError, match=r"another network .markers."):
        require_same_models(COHORT, newer, allow_mismatch=False)
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
        fit_reference(write_table(tmp_path / "measures.tsv", rows), "own", MODELS, "0.1.0")


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
        fit_reference(tmp_path / "c.tsv", "own", MODELS, "0.1.0")
