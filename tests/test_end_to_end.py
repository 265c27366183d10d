"""The whole of smallvessel with its own weights: real scans, the simulated patient, every subset of its sequences."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bids_validator import errors_of
from browser import assert_layer_toggles, assert_lesions_sort, assert_viewer_draws, go_to, needs_browser, open_page, save_review
from results import read_rows
from smallvessel.cli import main
from smallvessel.config import Settings
from smallvessel.demo import DATA, SUBJECT, demo_source
from smallvessel.derivatives import read_record, session_files
from smallvessel.intake.bids import session_from_files
from smallvessel.markers import MARKERS, Marker, Sequence
from smallvessel.records import RunSummary
from smallvessel.redraw import measure_again
from smallvessel.restore import list_sessions, read_session
from smallvessel.run import run_sessions
from smallvessel.tables import lesions_digest, session_record

OPENMS = Path(__file__).resolve().parents[1] / "../shared/data/openms-bids"
GOLDEN = Path(__file__).parent / "golden/openms_listing.txt"
SUBSETS = [subset for size in range(1, len(Sequence) + 1) for subset in itertools.combinations(Sequence, size)]
ALL = tuple(Sequence)
MAX_CHANGE = 0.01
ONE_VOXEL_ML = 0.001
pytestmark = pytest.mark.whole
needs_openms = pytest.mark.skipif(not OPENMS.is_dir(), reason=f"the public scans are not beside the checkout ({OPENMS})")


def smallvessel(*arguments: object) -> int:
    """Exit code of a command line."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def label(subset: Iterable[Sequence]) -> str:
    return "".join(subset)


def record_of(out: Path, name: str) -> dict[str, Any]:
    """A session's record; ``name`` such as sub-01_ses-1."""
    record: dict[str, Any] = json.loads(next(out.rglob(f"{name}_measures.json")).read_text())
    return record


def volumes_ml(record: Mapping[str, Any]) -> dict[str, float]:
    """All volumes of a session by name; without what was not assessed."""
    found = {"brain": record["brain_ml"], **record["structure_ml"]}
    if isinstance(record["icv_ml"], float):
        found["icv"] = record["icv_ml"]
    for marker, measures in record["markers"].items():
        if "volume_ml" in measures:
            found[marker] = measures["volume_ml"]
            regions = measures["regions"].items()
            found |= {f"{marker} {region}": numbers["volume_ml"] for region, numbers in regions if "volume_ml" in numbers}
    return found


def assert_same_volumes(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """No volume differs by more than 1 % (or one voxel of the analysis grid)."""
    a, b = volumes_ml(mine), volumes_ml(theirs)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name] == pytest.approx(b[name], rel=MAX_CHANGE, abs=ONE_VOXEL_ML), name


def reorient(source: Path, target: Path, axes: str) -> Path:
    """The same image in the same world with its axes in another order and direction."""
    image = nib.load(source)
    assert isinstance(image, nib.Nifti1Image)
    change = nib.orientations.ornt_transform(nib.io_orientation(np.asarray(image.affine)), nib.orientations.axcodes2ornt(tuple(axes)))
    target.parent.mkdir(parents=True, exist_ok=True)
    image.as_reoriented(change).to_filename(target)
    return target


# The public scans of three patients, two sessions each, one of them without T1w.


@pytest.fixture(scope="module")
def openms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("openms")
    assert smallvessel("run", OPENMS, out) == 0
    return out


@needs_openms
def test_every_real_session_is_measured(openms: Path) -> None:
    rows = read_rows(openms / "measures.tsv")
    expected = [f"sub-{subject}_ses-{number}" for subject in ("01", "03", "12") for number in (1, 2)]
    assert [f"{row['participant_id']}_{row['session_id']}" for row in rows] == expected
    assert [row["sequences"] for row in rows] == ["FLAIR+T1w+T2w"] * 2 + ["FLAIR+T2w"] + ["FLAIR+T1w+T2w"] * 3
    for row in rows:
        assert float(row["wmh_volume_ml"]) > 0
        assert 900 < float(row["brain_ml"]) < 1900
        assert row["cmb_count"] == row["cmb_volume_ml"] == "n/a"


@needs_openms
def test_the_output_has_exactly_the_golden_listing(openms: Path) -> None:
    found = sorted(path.relative_to(openms).as_posix() for path in openms.rglob("*") if path.is_file())
    assert found == GOLDEN.read_text().splitlines()


@needs_openms
def test_the_official_validator_finds_no_error_in_the_output(openms: Path) -> None:
    assert errors_of(openms) == []


@needs_openms
def test_native_masks_are_on_the_scanners_own_grids(openms: Path) -> None:
    checked = 0
    for raw in sorted(OPENMS.glob("sub-*/ses-*/anat/*.nii.gz")):
        name, _, sequence = raw.name.removesuffix(".nii.gz").rpartition("_")
        scan = nib.load(raw)
        assert isinstance(scan, nib.Nifti1Image)
        for path in openms.rglob(f"{name}_space-{sequence}_label-*.nii.gz"):
            image = nib.load(path)
            assert isinstance(image, nib.Nifti1Image)
            assert image.shape == scan.shape[:3], path.name
            np.testing.assert_allclose(np.asarray(image.affine), np.asarray(scan.affine), atol=1e-3)
            checked += 1
    assert checked >= 6 * 3


@needs_openms
def test_finished_sessions_are_skipped_and_the_table_stays(openms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in openms.rglob("sub-*") if path.is_file()}
    assert smallvessel("run", OPENMS, openms, "--participant-label", "01", "03") == 0
    assert "4 finished before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(read_rows(openms / "measures.tsv")) == 6


@needs_openms
def test_reoriented_real_scans_have_the_same_volumes(openms: Path, tmp_path: Path) -> None:
    axes = {"FLAIR": "LPI", "T1w": "SRP", "T2w": "AIL"}
    for name, codes in axes.items():
        raw = OPENMS / f"sub-12/ses-1/anat/sub-12_ses-1_{name}.nii.gz"
        reorient(raw, tmp_path / "raw/sub-12/ses-1/anat" / raw.name, codes)
    assert smallvessel("run", tmp_path / "raw", tmp_path / "out") == 0
    assert_same_volumes(record_of(tmp_path / "out", "sub-12_ses-1"), record_of(openms, "sub-12_ses-1"))


# The simulated patient, with every subset of its four sequences and with one file damaged.


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    assert smallvessel("demo", out) == 0
    return out


@pytest.fixture(scope="module")
def subsets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary]:
    folder = tmp_path_factory.mktemp("subsets")
    files = demo_source().files
    damaged = folder / "damaged.nii.gz"
    damaged.write_bytes(files[Sequence.FLAIR].read_bytes()[:20000])
    sources = [session_from_files({sequence: files[sequence] for sequence in subset}, label(subset)) for subset in SUBSETS]
    bad = session_from_files({Sequence.FLAIR: damaged}, "damaged")
    summary = run_sessions((bad, *sources), folder / "out", Settings(write_report=False))
    return folder / "out", summary


def test_the_demo_shows_truth_beside_measurement(tmp_path: Path, demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(demo, tmp_path / "again")
    assert smallvessel("demo", tmp_path / "again") == 0
    shown = capsys.readouterr().out
    assert "Simulated patient" in shown
    assert "sub-simulated.html" in shown.replace("\n", "")
    truth = json.loads((DATA / "truth.json").read_text())["truth"]
    for marker in Marker:
        assert f"{truth[marker]['volume_ml']:.3f}" in shown
    assert (demo / f"sub-{SUBJECT}.html").exists()


def test_every_marker_of_the_simulated_patient_is_found(demo: Path) -> None:
    markers = record_of(demo, f"sub-{SUBJECT}")["markers"]
    assert all(markers[marker]["count"] > 0 for marker in Marker)


@needs_browser
def test_a_session_that_is_read_back_has_the_same_lesions_ranges_and_chances(demo: Path) -> None:
    (id,) = list_sessions(demo)
    files, result = session_files(id), read_session(demo, id)
    again = replace(result, measurements=measure_again(result))
    assert lesions_digest(again.measurements.lesions) == hashlib.sha256((demo / files.lesions).read_bytes()).hexdigest()
    assert all(lesion.chance is not None for lesion in again.measurements.lesions)
    written, now = read_record(demo / files.measures), json.loads(json.dumps(session_record(again)))
    assert {name: now[name] for name in ("markers", "scores", "expected_errors")} == {
        name: written[name] for name in ("markers", "scores", "expected_errors")
    }


def test_the_report_of_the_simulated_patient_is_read_and_reviewed_in_a_browser(demo: Path, tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed (pip install smallvessel[dev])")
    complaints: list[str] = []
    lesions = read_rows(demo / f"sub-{SUBJECT}" / f"sub-{SUBJECT}_lesions.tsv")
    with open_page(demo / f"sub-{SUBJECT}.html", complaints) as page:
        assert_viewer_draws(page)
        for marker in Marker:
            row = next(row for row in lesions if row["marker"] == marker)
            go_to(page, marker, int(row["label"]))
            np.testing.assert_allclose(page.evaluate("crosshairMm()"), [float(row[f"{axis}_mm"]) for axis in "xyz"], atol=1.0)
        largest = max((row for row in lesions if row["marker"] == Marker.WMH), key=lambda row: float(row["volume_mm3"]))
        go_to(page, Marker.WMH, int(largest["label"]))
        assert_layer_toggles(page, Marker.WMH)
        assert_lesions_sort(page)
        wrong = next(row for row in lesions if row["marker"] == Marker.EPVS)
        page.locator(f'tr[data-lesion="EPVS-{wrong["label"]}"] select').select_option("wrong")
        page.locator("#reviewer").fill("A. Reader")
        save_review(page, tmp_path / "review.json")
    assert complaints == []
    shutil.copytree(demo, tmp_path / "out")
    assert smallvessel("review", "apply", tmp_path / "out", tmp_path / "review.json") == 0
    before, after = (record_of(out, f"sub-{SUBJECT}")["markers"]["EPVS"]["count"] for out in (demo, tmp_path / "out"))
    assert after == before - 1


def test_a_damaged_file_costs_only_its_own_session(subsets: tuple[Path, RunSummary]) -> None:
    _, summary = subsets
    assert [failure.id.subject for failure in summary.failed] == ["damaged"]
    assert "damaged.nii.gz" in summary.failed[0].message
    assert len(summary.completed) == len(SUBSETS) == 15


@pytest.mark.parametrize("subset", SUBSETS, ids=label)
def test_every_subset_gives_results_or_says_why_not(subset: tuple[Sequence, ...], subsets: tuple[Path, RunSummary]) -> None:
    record = record_of(subsets[0], f"sub-{label(subset)}")
    assert record["sequences"] == [str(sequence) for sequence in subset]
    assert 900 < record["brain_ml"] < 1900
    for marker, info in MARKERS.items():
        found = record["markers"][marker]
        if set(info.needs_one_of) & set(subset):
            assert found["volume_ml"] >= 0
            assert found["count"] >= 0
        else:
            assert "needs" in found["not_assessed"]


def test_two_runs_give_the_same_bytes(demo: Path, subsets: tuple[Path, RunSummary]) -> None:
    once, again = f"sub-{SUBJECT}", f"sub-{label(ALL)}"
    images = sorted((demo / once).rglob("*.nii.gz"))
    assert len(images) > 4 * len(Marker)
    for path in images:
        other = subsets[0] / again / "anat" / path.name.replace(once, again)
        assert path.read_bytes() == other.read_bytes(), path.name
    assert (demo / once / f"{once}_lesions.tsv").read_bytes() == (subsets[0] / again / f"{again}_lesions.tsv").read_bytes()
    mine, theirs = record_of(demo, once), record_of(subsets[0], again)
    for name in ("icv_ml", "brain_ml", "structure_ml", "markers", "qc"):
        assert mine[name] == theirs[name]


def test_reoriented_simulated_scans_have_the_same_volumes(demo: Path, tmp_path: Path) -> None:
    axes = {Sequence.FLAIR: "LAS", Sequence.T1W: "PSR", Sequence.T2W: "IRP", Sequence.SWI: "RPI"}
    files = demo_source().files
    turned = {sequence: reorient(files[sequence], tmp_path / f"{sequence}.nii.gz", codes) for sequence, codes in axes.items()}
    options = [word for sequence, path in turned.items() for word in (f"--{sequence.lower()}", path)]
    assert smallvessel("run", *options, tmp_path / "out", "--participant-label", SUBJECT) == 0
    assert_same_volumes(record_of(tmp_path / "out", f"sub-{SUBJECT}"), record_of(demo, f"sub-{SUBJECT}"))
