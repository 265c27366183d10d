"""The challenge's rules against its own script's steps, done with SimpleITK, and on cases made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial import KDTree

from phantoms import make_grid
from smallvessel.cli import main
from smallvessel.errors import GeometryError
from smallvessel.evaluate import ChallengeScore, score_by_challenge
from smallvessel.records import NotAssessed
from smallvessel.volume import Volume, write_volume

GRID = make_grid((20, 22, 12), (1.1, 0.9, 3.0), "LPS", (5.0, -8.0, 11.0))


def volume(data: NDArray[Any]) -> Volume:
    return Volume(np.asarray(data, np.float32), GRID)


def by_script(prediction: NDArray[Any], reference: NDArray[Any]) -> tuple[float, ...]:
    """The steps of the challenge's evaluation.py on images of x, y, z spacing, in voxel order of ITK."""
    test = sitk.GetImageFromArray(np.transpose(np.asarray(reference, np.float32), (2, 1, 0)))
    result = sitk.GetImageFromArray(np.transpose(np.asarray(prediction, np.float32), (2, 1, 0)))
    for image in (test, result):
        image.SetSpacing([float(s) for s in GRID.spacing_mm])
    masked_test = sitk.BinaryThreshold(test, 0.5, 1.5, 1, 0)
    not_other = sitk.BinaryThreshold(test, 1.5, 2.5, 0, 1)
    found = sitk.BinaryThreshold(sitk.Mask(result, not_other), 0.5, 1000, 1, 0)
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


def test_other_grids_are_refused() -> None:
    other = Volume(np.zeros((20, 22, 12), np.float32), make_grid((20, 22, 12), (1.1, 0.9, 3.1)))
    with pytest.raises(GeometryError):
        score_by_challenge(volume(np.zeros(GRID.shape)), other)


def test_the_command_line_prints_the_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = np.zeros(GRID.shape)
    data[3:8, 3:8, 3:8] = 1
    write_volume(tmp_path / "a.nii.gz", volume(data))
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "a.nii.gz"), "--rules", "wmh-challenge", "--json"])
    assert not end.value.code
    assert json.loads(capsys.readouterr().out)[0]["dice"] == 1.0
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "a.nii.gz"), "--rules", "brats"])
    assert end.value.code == 2
    assert "wmh-challenge" in capsys.readouterr().err
