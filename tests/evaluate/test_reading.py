"""What an image of lesions may hold, and what becomes of lesions on another grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phantoms import ball, make_grid
from smallvessel.errors import GeometryError, InputError
from smallvessel.evaluate import bring_together, match_by_overlap, read_lesions, read_reference
from smallvessel.evaluate.evaluation import ReadingOptions, evaluate_pairs
from smallvessel.evaluate.pairing import MaskPair, Pairing
from smallvessel.volume import Grid, LabelMap, Mask, Volume, write_volume

FINE = make_grid((90, 90, 30), (1.0, 1.0, 1.0))
COARSE = Grid((30, 30, 10), FINE.affine @ np.array([[3, 0, 0, 1], [0, 3, 0, 1], [0, 0, 3, 1], [0, 0, 0, 1.0]]))
"""Its voxels are 27 of the fine ones, about the same centres."""


def nothing(grid: Grid) -> Mask:
    return Mask(np.zeros(grid.shape, bool), grid)


def moved(grid: Grid, by_mm: float) -> Grid:
    affine = grid.affine.copy()
    affine[0, 3] += by_mm
    return Grid(grid.shape, affine)


def test_a_lone_voxel_stays_on_a_coarser_grid_in_the_voxel_that_holds_it() -> None:
    rng = np.random.default_rng(0)
    spots = np.stack(np.meshgrid(*(np.arange(0, n, 9) for n in FINE.shape), indexing="ij"), -1).reshape(-1, 3)
    spots = spots + rng.integers(0, 3, spots.shape)
    data = np.zeros(FINE.shape, bool)
    data[tuple(spots.T)] = True
    found = bring_together(Mask(data, FINE), nothing(COARSE), may_resample=True)
    expected = np.zeros(COARSE.shape, bool)
    expected[tuple((spots // 3).T)] = True
    np.testing.assert_array_equal(found.data, expected)
    assert match_by_overlap(found, Mask(expected, COARSE)).n_prediction == len(spots)


def test_lesions_that_stay_anyway_are_left_as_their_nearest_voxels_say() -> None:
    whole = Mask(ball(FINE, (0, 0, 0), 9), FINE)
    found = bring_together(whole, nothing(COARSE), may_resample=True)
    np.testing.assert_array_equal(found.data, whole.data[1::3, 1::3, 1::3])


def test_what_lies_outside_the_references_view_is_not_pulled_into_it() -> None:
    data = np.zeros(FINE.shape, bool)
    data[2, 40, 10] = data[70, 40, 10] = True
    half = Grid((15, 30, 10), moved(COARSE, 45.0).affine)
    assert bring_together(Mask(data, FINE), nothing(half), may_resample=True).data.sum() == 1
    data[70, 40, 10] = False
    with pytest.raises(GeometryError, match="all lie outside"):
        bring_together(Mask(data, FINE), nothing(half), may_resample=True)
    assert not bring_together(nothing(FINE), nothing(half), may_resample=True).data.any()


@pytest.mark.parametrize("name", ["a_mask.nii.gz", "a_probseg.nii.gz"])
def test_images_that_do_not_overlap_are_refused(name: str, tmp_path: Path) -> None:
    far = moved(FINE, 500.0)
    write_volume(tmp_path / name, Volume(np.where(ball(FINE, (0, 0, 0), 5), 1.0, 0.0), FINE))
    write_volume(tmp_path / "far.nii.gz", Mask(np.zeros(far.shape, bool), far))
    with pytest.raises(GeometryError, match="do not overlap"):
        evaluate_pairs(Pairing((MaskPair("a", tmp_path / name, tmp_path / "far.nii.gz"),)), ReadingOptions(resample=True))


@pytest.mark.parametrize(("value", "is_mask"), [(1, True), (255, True), (0, True), (2, False), (77, False)])
def test_one_value_is_a_mask_only_if_it_is_one_of_a_mask(value: int, is_mask: bool, tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", LabelMap(value * ball(FINE, (0, 0, 0), 5).astype(np.int32), FINE))
    if is_mask:
        assert read_lesions(tmp_path / "a.nii.gz").masks[""].data.any() == (value > 0)
        return
    with pytest.raises(InputError, match=f"the value {value}: a label map.*--label"):
        read_lesions(tmp_path / "a.nii.gz")
    assert read_lesions(tmp_path / "a.nii.gz", str(value)).masks[""].data.any()


def test_a_reference_is_no_map_of_probabilities(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", Volume(np.where(ball(FINE, (0, 0, 0), 5), 0.75, 0.125), FINE))
    with pytest.raises(InputError, match=r"probabilities in the reference .*cut it at a threshold"):
        read_reference(tmp_path / "a.nii.gz")
