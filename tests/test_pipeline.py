"""The pipeline on phantom heads with networks that know them: joins, failures and files, without trained weights."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

import fake_networks
from phantoms import ball, head_image, make_grid, write_bids
from results import read_rows
from smallvessel import __version__
from smallvessel.config import Settings
from smallvessel.dataset import start_dataset
from smallvessel.derivatives import is_finished, rebuild_tables, session_files
from smallvessel.intake.bids import find_sessions
from smallvessel.markers import Marker, Sequence
from smallvessel.pipeline import process_session
from smallvessel.provenance import hash_inputs, model_versions, run_digest
from smallvessel.records import SessionFailure, SessionId
from smallvessel.volume import Volume, read_mask

GRID = make_grid((56, 64, 46), (3.5, 3.5, 4.5), "LPS")
LESION_MM = 7.0
LESION_CENTRE_MM = (28.0, 10.0, 15.0)


@pytest.fixture(scope="module", autouse=True)
def networks() -> object:
    with pytest.MonkeyPatch.context() as patch:
        for room in ("prepare", "segment"):
            patch.setattr(f"smallvessel.{room}.load_network", fake_networks.fake_network)
        patch.setattr("smallvessel.provenance.load_card", fake_networks.fake_card)
        yield


def flair_with_lesion() -> Volume:
    image = head_image(GRID, Sequence.FLAIR)
    return Volume(np.where(ball(GRID, LESION_CENTRE_MM, LESION_MM), 900.0, image.data), GRID)


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    images = {Sequence.FLAIR: flair_with_lesion(), Sequence.T1W: head_image(GRID, Sequence.T1W)}
    write_bids(folder, {SessionId("good"): images, SessionId("bad"): images})
    damaged = folder / "sub-bad/anat/sub-bad_FLAIR.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    return folder


@pytest.fixture(scope="module")
def out(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derived")
    start_dataset(folder, __version__, model_versions(), bids)
    bad, good = (process_session(source, folder, Settings()) for source in find_sessions(bids))
    assert good == SessionId("good"), (folder / "logs/sub-good.log").read_text()
    assert isinstance(bad, SessionFailure)
    assert bad.stage == "intake"
    assert "sub-bad_FLAIR.nii.gz" in bad.message
    assert "To do:" in bad.message
    rebuild_tables(folder)
    return folder


def test_a_bad_session_never_stops_a_good_one(out: Path) -> None:
    assert [row["participant_id"] for row in read_rows(out / "measures.tsv")] == ["sub-good"]
    assert not (out / "sub-bad").exists()
    assert "FAILED" in (out / "logs/sub-bad.log").read_text()


def test_the_lesion_is_found_where_it_is_and_as_large_as_it_is(out: Path) -> None:
    (lesion,) = read_rows(out / "sub-good/sub-good_lesions.tsv")
    assert (lesion["marker"], lesion["side"]) == ("WMH", "right")
    np.testing.assert_allclose([float(lesion[f"{axis}_mm"]) for axis in "xyz"], LESION_CENTRE_MM, atol=1.5)
    assert float(lesion["volume_mm3"]) == pytest.approx(4 / 3 * np.pi * LESION_MM**3, rel=0.25)
    truth = ball(GRID, LESION_CENTRE_MM, LESION_MM)
    native = read_mask(out / "sub-good/anat/sub-good_space-FLAIR_label-WMH_mask.nii.gz")
    assert native.grid == GRID
    assert 2 * (native.data & truth).sum() / (native.data.sum() + truth.sum()) > 0.75


def test_the_record_says_how_it_was_made(out: Path, bids: Path) -> None:
    record = json.loads((out / "sub-good/sub-good_measures.json").read_text())
    made = record["provenance"]
    source = next(source for source in find_sessions(bids) if source.id.subject == "good")
    digest = run_digest(hash_inputs(source), Settings(), model_versions())
    assert made["digest"] == digest
    assert is_finished(out, source.id, digest)
    assert list(made["timings_s"]) == ["intake", "prepare", "segment", "measure", "write", "report"]
    assert made["peak_memory_mb"] > 50
    assert made["sources"] == {name: f"bids:raw:sub-good/anat/sub-good_{name}.nii.gz" for name in ("FLAIR", "T1w")}
    assert "registered" in made["methods"]
    assert record["markers"][Marker.CMB]["not_assessed"]
    assert record["qc"]["checks"]
    assert all((out / name).exists() for name in record["files"])


def test_the_log_has_every_stage(out: Path) -> None:
    log = (out / session_files(SessionId("good")).log).read_text()
    for stage in ("intake", "prepare", "segment", "measure", "write", "report"):
        assert f"[{stage}] done in" in log


def test_a_session_that_fails_again_loses_its_row(out: Path, bids: Path, tmp_path: Path) -> None:
    images = {Sequence.FLAIR: flair_with_lesion()}
    raw = write_bids(tmp_path / "raw", {SessionId("01"): images})
    folder = tmp_path / "out"
    start_dataset(folder, __version__, model_versions(), raw)
    (source,) = find_sessions(raw)
    assert process_session(source, folder, Settings(write_report=False, write_probability=False)) == source.id
    assert len(rebuild_tables(folder)) == 1
    assert not (folder / "sub-01.html").exists()
    path = source.files[Sequence.FLAIR]
    path.write_bytes(path.read_bytes()[:3000])
    assert isinstance(process_session(source, folder, Settings()), SessionFailure)
    assert rebuild_tables(folder) == []
    assert not [path for path in (folder / "sub-01").rglob("*") if path.is_file()]


def test_a_session_that_fails_late_leaves_nothing_for_fresh(bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = next(source for source in find_sessions(bids) if source.id.subject == "good")
    start_dataset(tmp_path, __version__, model_versions(), bids)

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("smallvessel.pipeline.write_thumbnail", fill)
    failure = process_session(source, tmp_path, Settings())
    assert isinstance(failure, SessionFailure)
    assert failure.stage == "report"
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file() and "sub-good" in path.name]
    assert left == [session_files(source.id).log]
