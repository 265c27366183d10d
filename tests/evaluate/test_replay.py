"""The replayed study: its patients, and its tables from made-up results of a run."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import replay_study
from accuracy import measure
from cohorts import write_table
from phantoms import ball, make_grid
from smallvessel.errors import InputError
from smallvessel.markers import MARKERS, Marker
from smallvessel.records import SessionId
from smallvessel.simulate.burden import BurdenSettings
from smallvessel.volume import Mask, write_volume

LABEL_MAPS = Path(__file__).resolve().parents[2] / "../shared/data/labelmaps"
TRUTH = make_grid((24, 24, 24), (2.0, 2.0, 2.0))
ANALYSIS = make_grid((26, 24, 24), (2.0, 2.0, 2.0), centre_mm=(0.3, 0.0, 0.1))


def test_the_patients_have_the_studys_shape_and_stay_the_same() -> None:
    patients = replay_study.plan_patients(105, 58)
    assert [sum(p.site == site for p in patients) for site in ("internal", "external")] == [105, 58]
    assert len({p.label for p in patients}) == len({p.seed for p in patients}) == 163
    assert {p.head for p in patients} == {"head-14", "head-15", "head-16"}
    assert patients == replay_study.plan_patients(105, 58)
    for site in ("internal", "external"):
        severities = sorted(p.severity for p in patients if p.site == site)
        assert np.diff(severities) == pytest.approx(1 / len(severities))
    assert all(40 <= p.age_and_sex[0] <= 95 and p.age_and_sex[1] in "MF" for p in patients)


def test_burdens_reach_from_none_to_the_end_of_their_ranges() -> None:
    burdens = [replay_study.draw_burden(patient) for patient in replay_study.plan_patients(105, 58)]
    ranges = BurdenSettings()
    assert not any(burden.old_lesions for burden in burdens), "the replay draws the four markers alone"
    for part in fields(burdens[0]):
        if part.name in ("old_lesions", "pontine"):  # a number and a chance, no densities
            continue
        low, high = getattr(ranges, part.name)
        crowded = part.name.startswith("epvs")
        drawn = np.array([getattr(burden, part.name) for burden in burdens])
        present = drawn[drawn > 0]
        assert (drawn == 0).any()
        assert present.min() >= low * 0.999
        assert present.max() <= high * 1.001 * (replay_study.CROWDED if crowded else 1)
        assert (present.max() > 3 * high) == crowded
        position = np.log(present / low) / np.log(high / low)
        assert position.min() < 0.15
        assert position.max() > 0.85


def test_the_external_scanner_lies_where_the_page_says() -> None:
    """Relaxation as in no training; voxels, noise and field beyond the usual, within the markers' training; voxels beyond the anatomy's."""
    pytest.importorskip("torch", reason="the simulator's images need torch")
    from smallvessel.learn.anatomy_samples import AnatomySamples
    from smallvessel.learn.marker_samples import MarkerSamples
    from smallvessel.learn.recipes import TRAINING_ACQUISITION
    from smallvessel.simulate.acquisition import AcquisitionSettings

    defaults: dict[type, dict[str, Any]] = {
        kind: {field.name: field.default for field in fields(kind)} for kind in (MarkerSamples, AnatomySamples)
    }
    usual, anatomy = AcquisitionSettings(), defaults[AnatomySamples]["acquisition"]
    inside, outside = (replay_study.site_settings(site) for site in ("internal", "external"))
    for name in ("in_plane_mm", "noise", "bias_sd"):
        low, high = getattr(usual, name)
        beyond = getattr(outside.acquisition, name)
        assert high < beyond[0] < beyond[1] <= getattr(TRAINING_ACQUISITION, name)[1]
        assert low <= getattr(inside.acquisition, name)[0] <= getattr(inside.acquisition, name)[1] <= high
    assert outside.acquisition.in_plane_mm[0] > anatomy.in_plane_mm[1]
    for name in ("noise", "bias_sd"):
        assert getattr(outside.acquisition, name)[0] < getattr(anatomy, name)[1]
    for kind in (MarkerSamples, AnatomySamples):
        assert outside.contrast.relaxation_scale != defaults[kind]["contrast"].relaxation_scale
    assert outside.contrast.relaxation_scale != inside.contrast.relaxation_scale == (1.0, 1.0, 1.0)


@pytest.fixture
def study(tmp_path: Path) -> tuple[list[replay_study.Patient], Path]:
    """Twelve internal and four external patients, as if simulated, measured and rated: masks are truths, or truths moved by a voxel."""
    patients = replay_study.plan_patients(12, 4)
    measures, visual = [], []
    for patient in patients:
        radius_mm = 4 + 12 * patient.severity
        truth = ball(TRUTH, (0, 0, 0), radius_mm)
        name = f"sub-{patient.label}"
        measured: dict[str, object] = {"participant_id": name, "session_id": "n/a", "icv_ml": 1400}
        for marker, info in MARKERS.items():
            mask = Mask(ball(ANALYSIS, (2.0 if patient.site == "external" else 0.0, 0, 0), radius_mm), ANALYSIS)
            folder = tmp_path / "raw" / "derivatives" / "truth" / name / "anat"
            write_volume(folder / f"{name}_label-{marker}_mask.nii.gz", Mask(truth, TRUTH))
            write_volume(tmp_path / "out" / name / "anat" / f"{name}_space-FLAIR_res-1mm_label-{marker}_mask.nii.gz", mask)
            measured |= {f"{info.column}_volume_ml": mask.volume_ml, f"{info.column}_count": 1}
        measures.append({**measured, "qc_status": "pass", "networks": "anatomy 7 sha256:a; markers 8 sha256:b"})
        grade = int(4 * patient.severity)
        visual.append({"participant_id": name, "fazekas_deep": min(grade, 3), "epvs_bg": grade, "svd_total": grade})
    write_table(tmp_path / "out" / "measures.tsv", measures)
    write_table(tmp_path / "visual.tsv", visual)
    return patients, tmp_path


def test_tables_put_ours_beside_the_papers(study: tuple[list[replay_study.Patient], Path]) -> None:
    patients, folder = study
    record = replay_study.make_tables(patients, folder)
    markdown = replay_study.to_markdown(record, len(patients))
    assert "SIMULATED" in markdown.splitlines()[0]
    rows = {tuple(cells[1:3]): cells for line in markdown.splitlines() if len(cells := [c.strip() for c in line.split("|")]) == 14}
    for marker, paper in replay_study.PAPER.items():
        for group in ("internal", "external", "all"):
            assert rows[marker, group][11:13] == [f"{paper.dice:.2f}", f"{paper.pearson:.3f}"]
    assert [rows[Marker.WMH, group][3] for group in ("all", "internal", "external")] == ["16", "12", "4"]
    dice = {group: float(rows[Marker.CMB, group][4].split()[0]) for group in ("internal", "external")}
    assert dice["internal"] > 0.9
    assert dice["external"] < dice["internal"] - 0.05
    assert "| Fazekas, deep | WMH | 16 |" in markdown
    assert "| all four markers | volume | all | 16 |" in markdown
    assert "internal patients, SIMULATED" in (folder / "cohort" / "methods.md").read_text(encoding="utf-8")
    json.dumps(record, allow_nan=False)


def test_the_table_says_who_is_missing_and_which_grades_do_not_occur(study: tuple[list[replay_study.Patient], Path]) -> None:
    patients, folder = study
    table = folder / "out" / "measures.tsv"
    header, first, second, *lines = table.read_text().splitlines()
    table.write_text("\n".join([header, second.replace("\tpass\t", "\tfail\t"), *lines]) + "\n")
    name = first.split("\t")[0]
    (folder / "out" / "logs").mkdir()
    (folder / "out" / "logs" / f"{name}.log").write_text("FAILED")
    markdown = replay_study.to_markdown(replay_study.make_tables(patients, folder), len(patients))
    assert "14 of 16 patients enter." in markdown
    assert f"- {second.split()[0]}: a quality check failed" in markdown
    assert f"- {name}: it was not measured" in markdown
    (deep,) = (line for line in markdown.splitlines() if line.startswith("| Fazekas, deep | 0: "))
    assert deep.endswith("| none |")
    (burden,) = (line for line in markdown.splitlines() if line.startswith("| EPVS, basal ganglia | 0: "))
    assert burden.endswith("4: 0 | 4 |")
    models = json.loads((folder / "reference.json").read_text())["models"]
    assert models == {"anatomy": "7 sha256:a", "markers": "8 sha256:b"}


def test_a_study_of_which_nothing_is_measured_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished session"):
        replay_study.rate_patients(tmp_path, tmp_path, tmp_path / "visual.tsv")


def test_a_slice_too_small_for_a_reference_says_so(study: tuple[list[replay_study.Patient], Path]) -> None:
    patients, folder = study
    few = {p.label for p in replay_study.plan_patients(4, 2)}
    for name in ("out/measures.tsv", "visual.tsv"):
        header, *lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text(header + "".join(line for line in lines if line.split("\t")[0].removeprefix("sub-") in few))
    markdown = replay_study.to_markdown(replay_study.make_tables(patients[:4] + patients[12:14], folder), 6)
    assert "There are no Z scores" in markdown
    assert "| WMH | internal |" in markdown


@pytest.mark.whole
@pytest.mark.skipif(not LABEL_MAPS.is_dir(), reason=f"the label maps are not beside the checkout ({LABEL_MAPS})")
def test_a_slice_of_the_study_from_heads_to_tables(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the simulator's images need torch")
    patients = replay_study.plan_patients(4, 2)
    raw = tmp_path / "raw"
    replay_study.simulate_patients(patients, LABEL_MAPS, raw)
    measure(raw, tmp_path / "out", jobs=2)
    replay_study.rate_patients(raw, tmp_path / "out", tmp_path / "visual.tsv")
    record = replay_study.make_tables(patients, tmp_path)
    rows = {(row["marker"], row["group"]): row for row in record["tables"]["segmentation"] if row["measure"] == "Dice"}
    for group in ("internal", "external"):
        assert float(rows[str(Marker.WMH), group]["mean"]) > 0
    assert "SIMULATED" in replay_study.to_markdown(record, len(patients)).splitlines()[0]


def test_grades_of_the_true_masks_become_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {SessionId("a"): {"fazekas_pv": 2.0, "epvs_bg": None, "WMH count": 3.0}, SessionId("b"): {"fazekas_pv": 0.0, "epvs_bg": 1.0}}
    monkeypatch.setattr(replay_study, "list_sessions", lambda _: tuple(values))
    monkeypatch.setattr(replay_study, "read_session", lambda _, id: id)
    monkeypatch.setattr(replay_study, "measure_truth", lambda id, _: values[id])
    table = replay_study.rate_patients(tmp_path / "raw", tmp_path / "out", tmp_path / "visual.tsv")
    header, *rows = (line.split("\t") for line in table.read_text().splitlines())
    rated = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["participant_id"] for row in rated] == ["sub-a", "sub-b"]
    assert [row["fazekas_pv"] for row in rated] == ["2", "0"]
    assert [row["epvs_bg"] for row in rated] == ["n/a", "1"]
    assert [row["wmh_count"] for row in rated] == ["3", "n/a"]
