from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_validator import issues_of
from painted import paint_result
from results import NO_SWI, SHIFT_MM, T1W_GRID, make_result, read_rows, without_marker
from smallvessel.dataset import start_dataset
from smallvessel.derivatives import (
    bids_uri,
    clear_session,
    finish_session,
    is_finished,
    raw_root,
    rebuild_tables,
    session_files,
    write_json,
    write_session,
    write_text,
)
from smallvessel.errors import InputError
from smallvessel.markers import Marker, Sequence
from smallvessel.models import parse_networks
from smallvessel.records import Burden, MarkerMeasures, NotAssessed, Score, SessionId, SessionResult
from smallvessel.scales import Scale
from smallvessel.structures import RIGHT_OFFSET, Structure
from smallvessel.tables import measures_table, session_record

MODELS = {"anatomy": "1.0 sha256:a", "markers": "1.0 sha256:b"}
SUB_01 = [
    "anat/sub-01_from-FLAIR_to-MNI152_mode-points_xfm.txt",
    "anat/sub-01_from-T1w_to-FLAIR_mode-points_xfm.txt",
    "anat/sub-01_space-FLAIR_label-WMH_mask.json",
    "anat/sub-01_space-FLAIR_label-WMH_mask.nii.gz",
    "anat/sub-01_space-FLAIR_label-WMH_probseg.json",
    "anat/sub-01_space-FLAIR_label-WMH_probseg.nii.gz",
    "anat/sub-01_space-FLAIR_label-brain_mask.json",
    "anat/sub-01_space-FLAIR_label-brain_mask.nii.gz",
    "anat/sub-01_space-FLAIR_label-lacune_mask.json",
    "anat/sub-01_space-FLAIR_label-lacune_mask.nii.gz",
    "anat/sub-01_space-FLAIR_label-lacune_probseg.json",
    "anat/sub-01_space-FLAIR_label-lacune_probseg.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_desc-WMHlesions_dseg.json",
    "anat/sub-01_space-FLAIR_res-1mm_desc-WMHlesions_dseg.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_desc-anatomy_dseg.json",
    "anat/sub-01_space-FLAIR_res-1mm_desc-anatomy_dseg.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_desc-anatomy_dseg.tsv",
    "anat/sub-01_space-FLAIR_res-1mm_desc-lacunelesions_dseg.json",
    "anat/sub-01_space-FLAIR_res-1mm_desc-lacunelesions_dseg.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_desc-lobes_dseg.json",
    "anat/sub-01_space-FLAIR_res-1mm_desc-lobes_dseg.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_desc-lobes_dseg.tsv",
    "anat/sub-01_space-FLAIR_res-1mm_label-WMH_mask.json",
    "anat/sub-01_space-FLAIR_res-1mm_label-WMH_mask.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_label-WMH_probseg.json",
    "anat/sub-01_space-FLAIR_res-1mm_label-WMH_probseg.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_label-brain_mask.json",
    "anat/sub-01_space-FLAIR_res-1mm_label-brain_mask.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_label-intracranial_mask.json",
    "anat/sub-01_space-FLAIR_res-1mm_label-intracranial_mask.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_label-lacune_mask.json",
    "anat/sub-01_space-FLAIR_res-1mm_label-lacune_mask.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_label-lacune_probseg.json",
    "anat/sub-01_space-FLAIR_res-1mm_label-lacune_probseg.nii.gz",
    "anat/sub-01_space-FLAIR_res-1mm_label-right_mask.json",
    "anat/sub-01_space-FLAIR_res-1mm_label-right_mask.nii.gz",
    "anat/sub-01_space-T1w_label-brain_mask.json",
    "anat/sub-01_space-T1w_label-brain_mask.nii.gz",
    "sub-01_lesions.tsv",
    "sub-01_measures.json",
]


def write(result: SessionResult, out: Path, probability: bool = True) -> None:
    finish_session(result, out, write_session(result, out, probability))


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    out = folder / "out"
    start_dataset(out, "0.1.0", MODELS, folder / "raw")
    write(make_result(), out)
    write(make_result(SessionId("02", "b")), out)
    write_text(out / "sub-01.html", "<html></html>")
    write_text(out / "logs/sub-01.log", "done")
    rebuild_tables(out)
    return out


@pytest.fixture
def dataset_of_plain_files(tmp_path: Path) -> Path:
    result = make_result()
    provenance = replace(result.provenance, sources={"FLAIR": "flair.nii.gz", "T1w": "my T1 (2).nii.gz"})
    start_dataset(tmp_path, "0.1.0", MODELS)
    write(replace(result, provenance=provenance), tmp_path)
    rebuild_tables(tmp_path)
    return tmp_path


def test_a_session_has_exactly_the_designed_files(dataset: Path) -> None:
    assert listing(dataset / "sub-01") == SUB_01
    assert listing(dataset / "sub-02") == [
        name.replace("sub-01", "sub-02_ses-b").replace("anat/", "ses-b/anat/")
        if name.startswith("anat/")
        else "ses-b/" + name.replace("sub-01", "sub-02_ses-b")
        for name in SUB_01
    ]


def test_native_masks_are_told_from_those_on_the_analysis_grid_by_name(dataset: Path) -> None:
    found = [path.name for path in dataset.rglob("*_space-FLAIR_label-WMH_mask.nii.gz")]
    assert sorted(found) == ["sub-01_space-FLAIR_label-WMH_mask.nii.gz", "sub-02_ses-b_space-FLAIR_label-WMH_mask.nii.gz"]


@pytest.mark.parametrize("name", ["dataset", "dataset_of_plain_files"])
def test_the_official_validator_finds_no_error(name: str, request: pytest.FixtureRequest) -> None:
    issues = issues_of(request.getfixturevalue(name))
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert {issue["code"] for issue in issues} <= {"TOO_FEW_AUTHORS"}


def test_what_the_validator_ignores_is_only_what_bids_has_no_name_for(dataset: Path) -> None:
    patterns = [line for line in (dataset / ".bidsignore").read_text().splitlines() if not line.startswith("#")]
    assert not [pattern for pattern in patterns if pattern.endswith((".nii.gz", "anat/", "*", "_mask.json", "_dseg.tsv"))]


def test_a_transform_maps_points_of_the_sequence_to_the_reference(dataset: Path) -> None:
    matrix = np.loadtxt(dataset / "sub-01/anat/sub-01_from-T1w_to-FLAIR_mode-points_xfm.txt")
    np.testing.assert_allclose(matrix @ [0, 0, 0, 1], [SHIFT_MM, 0, 0, 1], atol=1e-6)


def test_a_brain_mask_is_on_its_sequences_own_grid(dataset: Path) -> None:
    image = nib.load(dataset / "sub-01/anat/sub-01_space-T1w_label-brain_mask.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    assert image.shape == T1W_GRID.shape
    np.testing.assert_allclose(np.asarray(image.affine), T1W_GRID.affine, atol=1e-4)


def test_the_right_side_has_codes_of_its_own_and_every_code_is_in_the_look_up(dataset: Path) -> None:
    path = dataset / "sub-01/anat/sub-01_space-FLAIR_res-1mm_desc-anatomy_dseg.nii.gz"
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    codes = np.asarray(image.dataobj)
    world_x = (np.indices(codes.shape).reshape(3, -1).T @ np.asarray(image.affine)[:3, :3].T + np.asarray(image.affine)[:3, 3])[:, 0]
    white = codes.ravel() == Structure.WHITE_MATTER + RIGHT_OFFSET
    assert white.any()
    assert world_x[white].min() > 0
    names = {int(row["index"]): row["name"] for row in read_rows(path.with_name(path.name.replace(".nii.gz", ".tsv")))}
    assert set(np.unique(codes).tolist()) <= set(names)
    assert names[Structure.PALLIDUM] == "left pallidum"
    assert names[Structure.PALLIDUM + RIGHT_OFFSET] == "right pallidum"
    assert names[Structure.BRAINSTEM] == "brainstem"
    assert Structure.BRAINSTEM + RIGHT_OFFSET not in names


def test_lesions_are_rows_with_fixed_decimals(dataset: Path) -> None:
    rows = read_rows(dataset / "sub-01/sub-01_lesions.tsv")
    assert rows[0] == {
        "marker": "WMH",
        "label": "1",
        "volume_mm3": "2144.66",
        "diameter_mm": "16.00",
        "x_mm": "30.00",
        "y_mm": "0.00",
        "z_mm": "20.00",
        "region": "periventricular",
        "mars_region": "n/a",
        "side": "right",
        "confidence": "0.912",
        "chance": "n/a",
    }
    assert set(rows[0]) == set(json.loads((dataset / "lesions.json").read_text()))


def test_the_table_has_a_row_per_session_and_na_for_what_was_not_assessed(dataset: Path) -> None:
    rows = read_rows(dataset / "measures.tsv")
    assert [(row["participant_id"], row["session_id"]) for row in rows] == [("sub-01", "n/a"), ("sub-02", "ses-b")]
    assert rows[0]["wmh_volume_ml"] == "1.2346"
    assert rows[0]["wmh_count"] == "2"
    assert rows[0]["wmh_deep_count"] == "0"
    assert rows[0]["lacune_count"] == "0"
    assert rows[0]["cmb_volume_ml"] == rows[0]["cmb_count"] == rows[0]["epvs_count"] == "n/a"
    assert rows[0]["icv_ml"] == "1500.0000"
    assert rows[0]["qc_status"] == "warn"
    record = json.loads((dataset / "sub-01/sub-01_measures.json").read_text())
    assert record["markers"]["CMB"] == {"not_assessed": NO_SWI}


def test_every_column_is_described(dataset: Path) -> None:
    described = json.loads((dataset / "measures.json").read_text())
    assert list(described) == (dataset / "measures.tsv").read_text().splitlines()[0].split("\t")
    assert all(entry["Description"] for entry in described.values())
    assert {name for name in described if name.endswith("_ml")} == {name for name, entry in described.items() if entry.get("Units") == "mL"}
    assert set(described["qc_status"]["Levels"]) == {"pass", "warn", "fail"}


def test_every_row_tells_its_networks_and_what_its_z_are_made_of(tmp_path: Path) -> None:
    result = make_result()
    zs: dict[str, float | NotAssessed] = {"WMH": 1.0, "lacune": -0.5, "EPVS": 0.0, "CMB": NotAssessed("needs SWI"), "total": 0.1667}
    without: dict[str, float | NotAssessed] = {**zs, "total": NotAssessed("no z of CMB")}
    measured = replace(result.measurements, burden=Burden("our controls", zs, without))
    columns, rows = measures_table([session_record(replace(result, measurements=measured)), session_record(result)])
    first, second = (dict(zip(columns, row, strict=True)) for row in rows)
    assert first["networks"] == "anatomy 1.0 sha256:a; markers 1.0 sha256:b"
    assert parse_networks(first["networks"]) == result.provenance.models
    assert (first["reference_cohort"], second["reference_cohort"]) == ("our controls", "n/a")
    assert (first["z_total"], first["markers_in_z_total"]) == ("0.1667", "WMH+lacune+EPVS")
    assert (first["z_count_total"], first["markers_in_z_count_total"]) == ("n/a", "n/a")


def test_a_score_is_written_with_its_lesions_its_way_to_the_next_grade_and_what_is_possible() -> None:
    scores: dict[Scale, Score | NotAssessed] = {
        Scale.FAZEKAS_DEEP: Score(2, "12.0 mm", "grade 3 from 25 mm, 13.0 mm more", to_next=13.0, lesions=(4,)),
        Scale.EPVS_BASAL_GANGLIA: Score(4, "50", "highest grade"),
        Scale.SVD_TOTAL: NotAssessed("CMB not assessed; 2 to 3 is possible", (2, 3)),
        Scale.CMB_BAND: NotAssessed("needs SWI"),
    }
    result = make_result()
    record = session_record(replace(result, measurements=replace(result.measurements, scores=scores)))["scores"]
    assert (record["fazekas_deep"]["to_next"], record["fazekas_deep"]["lesions"]) == (13.0, [4])
    assert record["epvs_bg"] == {"value": 4, "evidence": "50", "next_grade": "highest grade"}
    assert record["svd_total"] == {"not_assessed": "CMB not assessed; 2 to 3 is possible", "possible": [2, 3]}
    assert record["cmb_band"] == {"not_assessed": "needs SWI"}


def test_a_session_without_lesions_of_unknown_region_has_none_of_them(tmp_path: Path) -> None:
    result = make_result()
    stray = MarkerMeasures(Marker.LACUNE, 0.1, 1, {"lobar": 0.0, "unknown": 0.1}, {"lobar": 0, "unknown": 1})
    with_one = replace(result.measurements, markers={**result.measurements.markers, Marker.LACUNE: stray})
    columns, rows = measures_table([session_record(replace(result, measurements=with_one)), session_record(result)])
    first, second = (dict(zip(columns, row, strict=True)) for row in rows)
    assert (first["lacune_unknown_count"], second["lacune_unknown_count"]) == ("1", "0")
    assert (first["lacune_unknown_volume_ml"], second["lacune_unknown_volume_ml"]) == ("0.1000", "0.0000")
    missing = session_record(without_marker(result, Marker.LACUNE))
    _, rows = measures_table([session_record(replace(result, measurements=with_one)), missing])
    assert dict(zip(columns, rows[1], strict=True))["lacune_unknown_count"] == "n/a"


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for out in (tmp_path / "a", tmp_path / "b"):
        start_dataset(out, "0.1.0", MODELS)
        write(make_result(), out)
        rebuild_tables(out)
    assert listing(tmp_path / "a") == listing(tmp_path / "b")
    for name in listing(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_second_run_adds_sessions_to_the_table(tmp_path: Path) -> None:
    start_dataset(tmp_path, "0.1.0", MODELS)
    write(make_result(), tmp_path)
    assert len(rebuild_tables(tmp_path)) == 1
    start_dataset(tmp_path, "0.1.0", MODELS)
    write(make_result(SessionId("02")), tmp_path)
    assert len(rebuild_tables(tmp_path)) == 2


def test_a_session_is_finished_only_with_its_digest_and_all_its_files(tmp_path: Path) -> None:
    id, digest = SessionId("01"), "d" * 64
    assert not is_finished(tmp_path, id, digest)
    written = write_session(make_result(), tmp_path)
    assert not is_finished(tmp_path, id, digest)
    finish_session(make_result(), tmp_path, written)
    assert is_finished(tmp_path, id, digest)
    assert not is_finished(tmp_path, id, "e" * 64)
    (tmp_path / written[3]).unlink()
    assert not is_finished(tmp_path, id, digest)
    (tmp_path / session_files(id).measures).write_text("{damaged")
    assert not is_finished(tmp_path, id, digest)


def test_nothing_is_left_over_from_earlier_settings_and_nothing_else_is_touched(tmp_path: Path) -> None:
    write(make_result(), tmp_path)
    mine = tmp_path / "sub-01/anat/sub-01_space-FLAIR_label-WMH_desc-manual_mask.nii.gz"
    mine.write_bytes(b"drawn by hand")
    write(without_marker(make_result(), Marker.WMH), tmp_path, probability=False)
    left = [name for name in listing(tmp_path) if "WMH" in name]
    assert left == [mine.relative_to(tmp_path).as_posix()]
    assert not [name for name in listing(tmp_path) if "probseg" in name]
    clear_session(tmp_path, SessionId("01"))
    assert listing(tmp_path) == left


def test_what_a_session_may_own_is_all_that_is_ever_written(tmp_path: Path) -> None:
    result = paint_result()
    files = session_files(result.id)
    assert set(write_session(result, tmp_path)) <= set(files.every())
    assert {files.report, files.pdf, files.thumbnail, files.kept(files.measures), files.kept(files.lesions)} <= set(files.every())
    assert files.measures not in files.every()
    assert len(set(files.every())) == len(files.every())


def test_what_a_run_that_was_killed_left_is_removed_though_no_record_names_it(tmp_path: Path) -> None:
    files = session_files(SessionId("01"))
    for path in (
        files.report,
        files.pdf,
        files.thumbnail,
        files.kept(files.measures),
        files.kept(files.image(Sequence.SWI, "label-CMB_mask")),
    ):
        write_text(tmp_path / path, "old")
    write_session(make_result(), tmp_path)
    clear_session(tmp_path, SessionId("01"))
    assert listing(tmp_path) == []
    assert not (tmp_path / files.original).exists()
    write_text(tmp_path / files.report, "old")
    write_text(tmp_path / files.kept(files.measures), "old")
    write(make_result(), tmp_path)
    assert listing(tmp_path / "sub-01") == SUB_01
    assert not (tmp_path / files.report).exists()
    assert not (tmp_path / files.original).exists()


@pytest.mark.parametrize("damage", ["", "{}", "{cut of", '["a list"]', None])
def test_the_damaged_record_of_one_session_leaves_the_table_to_the_others(tmp_path: Path, damage: str | None) -> None:
    write(make_result(), tmp_path)
    write(make_result(SessionId("02")), tmp_path)
    path = tmp_path / session_files(SessionId("02")).measures
    if damage is None:  # gone between the look into the folder and the reading
        path.unlink()
        path.symlink_to("nowhere")
    else:
        path.write_text(damage)
    said: list[str] = []
    assert [record["participant_id"] for record in rebuild_tables(tmp_path, said.append)] == ["sub-01"]
    assert [row["participant_id"] for row in read_rows(tmp_path / "measures.tsv")] == ["sub-01"]
    (sentence,) = said
    assert sentence.startswith("sub-02 is left out of the table. Found: ")
    assert "To do: delete it and run again" in sentence


def test_an_interrupted_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "kept.txt", "before")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(tmp_path / "kept.txt", "after")
    assert listing(tmp_path) == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "before"


def test_json_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert listing(tmp_path) == []


def test_a_data_set_of_another_maker_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text('{"Name": "raw", "BIDSVersion": "1.10.0"}')
    with pytest.raises(InputError, match="smallvessel did not make"):
        start_dataset(tmp_path, "0.1.0", MODELS)


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        start_dataset(tmp_path / "file", "0.1.0", MODELS)


def test_inputs_are_named_by_bids_uri_or_plain_name(tmp_path: Path) -> None:
    path = tmp_path / "study/sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz"
    assert raw_root(path, SessionId("01", "a")) == tmp_path / "study"
    assert bids_uri(path, SessionId("01", "a")) == "bids:raw:sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz"
    assert bids_uri(tmp_path / "flair.nii.gz", SessionId("01")) == "flair.nii.gz"


def test_the_raw_data_are_linked_relatively(dataset: Path) -> None:
    assert json.loads((dataset / "dataset_description.json").read_text())["DatasetLinks"] == {"raw": "../raw"}


def test_names_of_a_session(tmp_path: Path) -> None:
    files = session_files(SessionId("01", "x"))
    assert files.report == Path("sub-01_ses-x.html")
    assert files.log == Path("logs/sub-01_ses-x.log")
    assert files.transform(Sequence.T2W, Sequence.FLAIR).name == "sub-01_ses-x_from-T2w_to-FLAIR_mode-points_xfm.txt"


def test_a_link_to_a_folder_whose_name_is_not_utf8_can_be_written(tmp_path: Path) -> None:
    raw = tmp_path / b"m\xfcller".decode(errors="surrogateescape")
    start_dataset(tmp_path / "out", "0.1.0", MODELS, raw)
    links = json.loads((tmp_path / "out/dataset_description.json").read_text(encoding="utf-8"))["DatasetLinks"]
    assert links == {"raw": f"../{raw.name}"}
