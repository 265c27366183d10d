"""Which prediction is compared with which reference: never a mask with itself, another run, another site or another method's."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from phantoms import make_grid
from smallvessel.errors import InputError
from smallvessel.evaluate import MaskPair, pair_masks
from smallvessel.evaluate.evaluation import ReadingOptions, evaluate_pairs
from smallvessel.volume import Mask, write_volume

GRID = make_grid((12, 12, 6), (1.0, 1.0, 2.0))
NAME = "sub-01_label-WMH_mask.nii.gz"
OF_RUN = "sub-01/anat/sub-01_space-FLAIR_label-WMH_mask.nii.gz"


def write(path: Path, at: int = 2) -> Path:
    data = np.zeros(GRID.shape, bool)
    data[at : at + 2, 2:4, 2:4] = True
    write_volume(path, Mask(data, GRID))
    return path


def pairs(prediction: Path, reference: Path, of_run: bool = False) -> dict[str, str]:
    """Places of the references and their predictions."""
    found = pair_masks(prediction, reference, of_run=of_run).pairs
    return {pair.name: pair.prediction.relative_to(prediction).as_posix() for pair in found}


def test_manual_masks_inside_the_output_are_no_predictions(tmp_path: Path) -> None:
    write(tmp_path / "out" / OF_RUN)
    write(tmp_path / "out" / "manual" / NAME, 6)
    assert pairs(tmp_path / "out", tmp_path / "out" / "manual") == {NAME: OF_RUN}
    (result,) = evaluate_pairs(pair_masks(tmp_path / "out", tmp_path / "out" / "manual"), ReadingOptions())
    assert result.found.voxels.dice == 0


def test_labels_with_dots_are_told_apart(tmp_path: Path) -> None:
    for label in ("P.02", "P.03"):
        write(tmp_path / "out" / OF_RUN.replace("01", label))
        write(tmp_path / "manual" / NAME.replace("01", label))
    found = pairs(tmp_path / "out", tmp_path / "manual")
    assert found == {NAME.replace("01", label): OF_RUN.replace("01", label) for label in ("P.02", "P.03")}


def test_results_inside_the_dataset_are_no_references(tmp_path: Path) -> None:
    write(tmp_path / "derivatives" / "smallvessel" / OF_RUN)
    write(tmp_path / "sub-01" / "anat" / NAME, 6)
    assert pairs(tmp_path / "derivatives" / "smallvessel", tmp_path) == {f"sub-01/anat/{NAME}": OF_RUN}


def test_a_folder_inside_another_is_known_behind_a_link(tmp_path: Path) -> None:
    write(tmp_path / "out" / OF_RUN)
    write(tmp_path / "out" / "manual" / NAME, 6)
    (tmp_path / "elsewhere").symlink_to(tmp_path / "out" / "manual")
    assert pairs(tmp_path / "out", tmp_path / "elsewhere") == {NAME: OF_RUN}


def test_nothing_is_compared_with_itself(tmp_path: Path) -> None:
    reference = write(tmp_path / "ref" / NAME)
    for same in (reference, reference.parent):
        with pytest.raises(InputError, match="twice"):
            pair_masks(same, same)
    (tmp_path / "pred").mkdir()
    (tmp_path / "pred" / NAME).symlink_to(reference)
    with pytest.raises(InputError, match="the same file as its reference"):
        pair_masks(tmp_path / "pred", tmp_path / "ref")


def test_the_challenges_layout_keeps_results_inside_the_references_apart(tmp_path: Path) -> None:
    write(tmp_path / "Utrecht" / "0" / "wmh.nii.gz")
    write(tmp_path / "mine" / "Utrecht" / "0" / "result.nii.gz")
    write(tmp_path / "mine" / "Utrecht" / "0" / "wmh.nii.gz")
    found = pair_masks(tmp_path / "mine", tmp_path)
    assert [pair.name for pair in found.pairs] == ["Utrecht/0/wmh.nii.gz"]
    assert found.unpaired == ()


def test_of_a_run_only_its_own_masks_are_taken(tmp_path: Path) -> None:
    write(tmp_path / "out" / OF_RUN)
    write(tmp_path / "out" / "older" / "sub-01_space-FLAIR_label-WMH_mask.nii.gz")
    write(tmp_path / "out" / "sub-01" / "anat" / "sub-01_desc-corrected_label-WMH_mask.nii.gz")
    write(tmp_path / "manual" / NAME)
    assert pairs(tmp_path / "out", tmp_path / "manual", of_run=True) == {NAME: OF_RUN}


def test_sites_with_the_same_labels_are_kept_apart(tmp_path: Path) -> None:
    for site in ("a", "b"):
        write(tmp_path / "pred" / site / OF_RUN)
        write(tmp_path / "ref" / site / NAME)
    assert pairs(tmp_path / "pred", tmp_path / "ref") == {f"{site}/{NAME}": f"{site}/{OF_RUN}" for site in "ab"}
    assert [pair.whose for pair in pair_masks(tmp_path / "pred", tmp_path / "ref").pairs] == ["a/01", "b/01"]
    shutil.rmtree(tmp_path / "pred" / "b")
    with pytest.raises(InputError, match=r"one prediction, .*/a/.*for two references: .*/a/.* and .*/b/"):
        pair_masks(tmp_path / "pred", tmp_path / "ref")


def test_runs_are_kept_apart(tmp_path: Path) -> None:
    for run in (1, 2):
        write(tmp_path / "pred" / f"sub-01_run-{run}_space-T2w_label-WMH_mask.nii.gz")
        write(tmp_path / "ref" / f"sub-01_run-{run}_label-WMH_mask.nii.gz")
    write(tmp_path / "ref" / "sub-01_run-3_label-WMH_mask.nii.gz")
    expected = {f"sub-01_run-{run}_label-WMH_mask.nii.gz": f"sub-01_run-{run}_space-T2w_label-WMH_mask.nii.gz" for run in (1, 2)}
    assert pairs(tmp_path / "pred", tmp_path / "ref") == expected
    assert [path.name for path in pair_masks(tmp_path / "pred", tmp_path / "ref").unpaired] == ["sub-01_run-3_label-WMH_mask.nii.gz"]


def test_a_mask_of_the_session_stands_for_one_of_its_acquisitions_only(tmp_path: Path) -> None:
    write(tmp_path / "pred" / OF_RUN)
    write(tmp_path / "ref" / "sub-01_acq-3D_label-WMH_mask.nii.gz")
    assert pairs(tmp_path / "pred", tmp_path / "ref") == {"sub-01_acq-3D_label-WMH_mask.nii.gz": OF_RUN}
    write(tmp_path / "ref" / "sub-01_acq-2D_label-WMH_mask.nii.gz")
    with pytest.raises(InputError, match="for two references"):
        pair_masks(tmp_path / "pred", tmp_path / "ref")


def test_two_methods_are_refused_unless_the_reference_names_one(tmp_path: Path) -> None:
    for method in ("new", "old"):
        write(tmp_path / "pred" / f"sub-01_desc-{method}_label-WMH_mask.nii.gz")
    reference = write(tmp_path / "ref" / NAME)
    with pytest.raises(InputError, match=r"two predictions of .*desc-new.*desc-old.*neither fits better"):
        pair_masks(tmp_path / "pred", tmp_path / "ref")
    reference.rename(tmp_path / "ref" / "sub-01_space-FLAIR_desc-old_label-WMH_mask.nii.gz")
    assert list(pairs(tmp_path / "pred", tmp_path / "ref").values()) == ["sub-01_desc-old_label-WMH_mask.nii.gz"]


@pytest.mark.parametrize(
    ("name", "subject", "whose"),
    [
        ("sub-7/ses-1/anat/a.nii.gz", "", "7"),
        ("site/sub-7/a.nii.gz", "", "site/7"),
        ("site/sub-7_label-WMH_mask.nii.gz", "7", "site/7"),
        ("ses-1/sub-7_label-WMH_mask.nii.gz", "7", "7"),
        ("b/a.nii.gz", "", "b/a.nii.gz"),
    ],
)
def test_a_subject_is_named_with_the_folders_above_it(name: str, subject: str, whose: str, tmp_path: Path) -> None:
    assert MaskPair(name, tmp_path, tmp_path, subject=subject).whose == whose
