"""The challenge's rules against its own script's steps, done with SimpleITK, and on cases made by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from phantoms import ball, make_grid
from smallvessel.cli import main
from smallvessel.errors import GeometryError
from smallvessel.evaluate import ChallengeScore, score_by_challenge
from smallvessel.records import NotAssessed
from smallvessel.volume import Mask, Volume, read_values, write_volume

GRID = make_grid((20, 22, 12), (1.1, 0.9, 3.0), "LPS", (5.0, -8.0, 11.0))


def volume(data: NDArray[Any]) -> Volume:
    return Volume(np.asarray(data, np.float32), GRID)


def by_script(prediction: NDArray[Any], reference: NDArray[Any]) -> tuple[float, ...]:
    """The steps of the challenge's evaluation.py on images of x, y, z spacing, in voxel order of ITK."""
    test = sitk.GetImageFromArray(np.transpose(np.asarray(reference, np.float32), (2, 1, 0)))
    result = sitk.GetImageFromArray(np.transpose(np.asarray(prediction, np.float32), (2, 1, 0)))
    for image in (test, result):
        image.SetSpacing([float(s) for s in GRID.spacing_mm])
    return by_steps(test, result)


def by_steps(test: sitk.Image, result: sitk.Image) -> tuple[float, ...]:
    """The script's steps, the header of the result replaced by that of the test image, as there."""
    result.CopyInformation(test)
    masked_test = sitk.BinaryThreshold(test, 0.5, 1.5, 1, 0)
    not_other = sitk.BinaryThreshold(test, 1.5, 2.5, 0, 1)
    masked = sitk.Mask(result, not_other)
    found = sitk.BinaryThreshold(masked, 1 if "integer" in masked.GetPixelIDTypeAsString() else 0.5, 1000, 1, 0)
    a, b = sitk.GetArrayFromImage(masked_test), sitk.GetArrayFromImage(found)
    dice = 2 * (a & b).sum() / (a.sum() + b.sum())

    def boundary(image: sitk.Image) -> NDArray[np.float64]:
        edge = sitk.Subtract(image, sitk.BinaryErode(image, (1, 1, 0)))
        return np.array(
            [image.TransformContinuousIndexToPhysicalPoint([float(i) for i in v[::-1]]) for v in np.argwhere(sitk.GetArrayFromImage(edge))]
        )

    here, there = boundary(masked_test), boundary(found)
    h95 = max(np.percentile(KDTree(there).query(here)[0], 95), np.percentile(KDTree(here).query(there)[0], 95))
    avd = abs(a.sum() - float(b.sum())) / a.sum() * 100
    connected = sitk.ConnectedComponentImageFilter()
    connected.SetFullyConnected(True)
    of_test, of_found = (sitk.GetArrayFromImage(connected.Execute(image)) for image in (masked_test, found))
    recall = (len(np.unique(of_test * b)) - 1) / (len(np.unique(of_test)) - 1)
    precision = (len(np.unique(of_found * a)) - 1) / (len(np.unique(of_found)) - 1)
    return float(dice), float(h95), float(avd), recall, precision, 2 * recall * precision / (recall + precision)


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_steps_of_the_challenges_script(seed: int) -> None:
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(2, *GRID.shape))
    for axis in (1, 2):
        smooth = smooth + np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis)
    reference = (smooth[0] > 3.5).astype(float)
    reference[2:6, 3:9, 2:5] = 2
    prediction = np.clip(0.5 + 0.12 * (smooth[0] + 0.7 * smooth[1] - 3.5), 0, 1)
    found = score_by_challenge(volume(prediction), volume(reference))
    assert tuple(vars(found).values()) == pytest.approx(by_script(prediction.astype(np.float32), reference), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
def test_equals_the_script_on_oblique_files(kind: str, seed: int, tmp_path: Path) -> None:
    """The script's images as SimpleITK reads them from the very files that the command reads."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(2, *GRID.shape)), (0, 1, 1, 1))
    reference = (smooth[0] > 0.15).astype(np.float32)
    reference[2:6, 3:9, 2:5] = 2
    prediction = np.clip(0.5 + smooth[0] + 0.5 * smooth[1] - 0.15, 0, 1)
    angle = np.deg2rad(12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ np.diag([-0.958, 0.958, 3.0]), (20.0, -8.0, 5.0)
    for name, data in (("reference", reference), ("prediction", np.rint(prediction) if kind == "uint8" else prediction)):
        stored = np.dtype(kind) if name == "prediction" else np.dtype(np.float32)
        image = nib.Nifti1Image(data.astype(stored), affine, dtype=stored)
        nib.save(image, tmp_path / f"{name}.nii.gz")
    test, result = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("reference", "prediction"))
    found = score_by_challenge(read_values(tmp_path / "prediction.nii.gz"), read_values(tmp_path / "reference.nii.gz"))
    # The header's single precision is what is left over of H95.
    assert tuple(vars(found).values()) == pytest.approx(by_steps(test, result), abs=1e-6)


def test_other_pathology_counts_in_neither() -> None:
    reference = np.zeros(GRID.shape)
    reference[3:8, 3:8, 3:8] = 1
    reference[12:18, 12:18, 3:8] = 2
    prediction = (reference > 0).astype(float)
    assert score_by_challenge(volume(prediction), volume(reference)) == ChallengeScore(1.0, 0.0, 0.0, 1.0, 1.0, 1.0)


def test_empty_masks_have_the_challenges_values() -> None:
    nothing, some = np.zeros(GRID.shape), np.zeros(GRID.shape)
    some[3:8, 3:8, 3:8] = 1
    missed = score_by_challenge(volume(nothing), volume(some))
    assert (missed.dice, missed.recall, missed.precision, missed.f1, missed.avd_percent) == (0.0, 0.0, 1.0, 0.0, 100.0)
    assert isinstance(missed.h95_mm, NotAssessed)
    invented = score_by_challenge(volume(some), volume(nothing))
    assert (invented.dice, invented.recall, invented.precision, invented.f1) == (0.0, 1.0, 0.0, 0.0)
    assert isinstance(invented.avd_percent, NotAssessed)


def test_other_numbers_of_voxels_are_refused() -> None:
    other = Volume(np.zeros((20, 22, 13), np.float32), make_grid((20, 22, 13), (1.1, 0.9, 3.0)))
    with pytest.raises(GeometryError, match=r"\(20, 22, 12\) and \(20, 22, 13\) voxels"):
        score_by_challenge(volume(np.zeros(GRID.shape)), other)


def test_the_predictions_header_is_ignored_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, moved = np.zeros(GRID.shape, np.float32), np.zeros(GRID.shape, np.float32)
    data[3:8, 3:8, 3:8], moved[4:9, 3:8, 3:8] = 1, 1
    plain = make_grid(GRID.shape, (1.0, 1.0, 1.0))
    assert score_by_challenge(Volume(moved, plain), Volume(data, GRID)) == score_by_challenge(Volume(moved, GRID), Volume(data, GRID))
    write_volume(tmp_path / "plain.nii.gz", Volume(data, plain))
    write_volume(tmp_path / "reference.nii.gz", Volume(data, GRID))
    call = ("evaluate", tmp_path / "plain.nii.gz", tmp_path / "reference.nii.gz", "--rules", "wmh-challenge", "--json")
    assert smallvessel(*call) == 0
    shown = capsys.readouterr()
    (record,) = json.loads(shown.out)
    assert (record["dice"], record["header_ignored"]) == (1.0, True)
    assert "the header of plain.nii.gz differs" in shown.err


def test_predicted_values_above_1000_are_background() -> None:
    data = np.zeros(GRID.shape)
    data[3:8, 3:8, 3:8] = 1
    assert score_by_challenge(volume(65535 * data), volume(data)).dice == 0.0
    assert score_by_challenge(volume(1000 * data), volume(data)).dice == 1.0


def test_the_command_line_prints_the_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = np.zeros(GRID.shape)
    data[3:8, 3:8, 3:8] = 1
    for name in "ab":
        write_volume(tmp_path / f"{name}.nii.gz", volume(data))
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz"), "--rules", "wmh-challenge", "--json"])
    assert not end.value.code
    assert json.loads(capsys.readouterr().out)[0]["dice"] == 1.0
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz"), "--rules", "brats"])
    assert end.value.code == 2
    assert "wmh-challenge" in capsys.readouterr().err


def smallvessel(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four references, and predictions of three of them that are a slice short."""
    for at in range(4):
        data = np.zeros(GRID.shape)
        data[3:8, 3:8, 3 : 6 + at] = 1
        write_volume(tmp_path / "reference" / f"{at}.nii.gz", volume(data))
        data[:, :, 3] = 0
        if at < 3:
            write_volume(tmp_path / "prediction" / f"{at}.nii.gz", volume(data))
    return tmp_path / "prediction", tmp_path / "reference"


def test_the_challenges_numbers_are_written_with_all_digits(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = folders[0].parent / "out"
    assert smallvessel("evaluate", *folders, "--rules", "wmh-challenge", "--output", out) == 0
    shown = capsys.readouterr()
    assert "no prediction for" in shown.err
    assert "3.nii.gz" in shown.err
    assert "Means" in shown.out
    with (out / "challenge.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    expected = [4 / 5, 6 / 7, 8 / 9]
    assert [float(row["dice"]) for row in rows] == pytest.approx(expected, abs=1e-9)
    record = json.loads((out / "challenge.json").read_text())
    assert [mask["dice"] for mask in record["masks"]] == expected
    assert [Path(name).name for name in record["without_prediction"]] == ["3.nii.gz"]
    mean = record["means"]["dice"]
    assert mean["mean"] == pytest.approx(np.mean(expected))
    assert (mean["low"], mean["high"], mean["subjects"]) == (None, None, 3)  # too few for an interval
    with (out / "challenge_means.tsv").open() as file:
        assert next(csv.DictReader(file, delimiter="\t"))["subjects"] == "3"


def test_folders_as_the_challenge_lays_them_out_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = Mask(ball(make_grid((20, 20, 12), (1.0, 1.0, 3.0)), (0, 0, 0), 6), make_grid((20, 20, 12), (1.0, 1.0, 3.0)))
    for place in ("Utrecht/0", "Amsterdam/GE3T/100", "Singapore/50"):
        write_volume(tmp_path / "ref" / place / "wmh.nii.gz", truth)
        write_volume(tmp_path / "ref" / place / "orig/FLAIR.nii.gz", truth)
    write_volume(tmp_path / "pred/Utrecht/0/result.nii.gz", truth)
    (tmp_path / "pred/Amsterdam/GE3T/100").mkdir(parents=True)
    nib.save(nib.load(tmp_path / "pred/Utrecht/0/result.nii.gz"), tmp_path / "pred/Amsterdam/GE3T/100/result.nii")
    assert smallvessel("evaluate", tmp_path / "pred", tmp_path / "ref", "--rules", "wmh-challenge", "--json") == 0
    shown = capsys.readouterr()
    assert [(one["mask"], one["dice"]) for one in json.loads(shown.out)] == [
        ("Amsterdam/GE3T/100/wmh.nii.gz", 1.0),
        ("Utrecht/0/wmh.nii.gz", 1.0),
    ]
    said = shown.err.replace("\n", "")
    assert "Singapore/50/wmh.nii.gz" in said
    assert "FLAIR" not in said


@pytest.mark.parametrize("option", [("--label", "2"), ("--threshold", "0.9"), ("--resample",), ("--prediction-label", "any")])
def test_options_that_the_challenge_does_not_have_are_refused(
    option: tuple[str, ...], folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert smallvessel("evaluate", *folders, "--rules", "wmh-challenge", *option) == 2
    assert "the challenge's own rules" in " ".join(capsys.readouterr().err.split())
