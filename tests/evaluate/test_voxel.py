"""Voxel metrics on boxes with known answers, on anisotropic and oblique voxels, and against an independent ITK computation."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from smallvessel.errors import GeometryError
from smallvessel.evaluate import compare_voxels
from smallvessel.evaluate.voxel import avd_percent, dice, h95_mm
from smallvessel.records import NotAssessed
from smallvessel.volume import Grid, Mask, to_sitk

SHAPE = (9, 8, 7)
THICK = Grid(SHAPE, np.diag([1.0, 2.0, 5.0, 1.0]))
masks = arrays(np.bool_, SHAPE, elements=st.booleans(), fill=st.just(False))


def oblique_grid() -> Grid:
    angle = np.radians(25)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] = affine[:3, :3] @ np.diag([0.9, 1.1, 4.0])
    affine[:3, 3] = [10, -20, 30]
    return Grid(SHAPE, affine)


def box(grid: Grid, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Mask:
    data = np.zeros(grid.shape, bool)
    data[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return Mask(data, grid)


def number(value: float | NotAssessed) -> float:
    assert not isinstance(value, NotAssessed)
    return value


def test_two_shifted_boxes_give_the_numbers_computed_by_hand() -> None:
    reference, prediction = box(THICK, (1, 1, 1), (5, 5, 3)), box(THICK, (2, 1, 1), (6, 5, 4))
    metrics = compare_voxels(prediction, reference)
    # 4*4*2 = 32 and 4*4*3 = 48 voxels of 10 mm3, 3*4*2 = 24 in common
    assert metrics.reference_ml == pytest.approx(0.32)
    assert metrics.prediction_ml == pytest.approx(0.48)
    assert metrics.dice == pytest.approx(2 * 24 / 80)
    assert metrics.avd_percent == pytest.approx(50.0)
    assert metrics.volume_bias_ml == pytest.approx(0.16)


@pytest.mark.parametrize(("axis", "expected_mm"), [(0, 1.0), (1, 2.0), (2, 5.0)])
def test_a_point_one_voxel_away_is_one_spacing_away(axis: int, expected_mm: float) -> None:
    there = [3, 3, 3]
    there[axis] += 1
    a = box(THICK, (3, 3, 3), (4, 4, 4))
    b = box(THICK, (there[0], there[1], there[2]), (there[0] + 1, there[1] + 1, there[2] + 1))
    assert h95_mm(a, b) == pytest.approx(expected_mm)


def test_h95_takes_the_boundary_within_the_slice() -> None:
    # Of a 5x5 square in one thick slice the inner 3x3 is no boundary, although it touches both faces.
    square, centre = box(THICK, (2, 2, 3), (7, 7, 4)), box(THICK, (4, 4, 3), (5, 5, 4))
    rim = np.hypot(*np.meshgrid(1.0 * np.arange(-2, 3), 2.0 * np.arange(-2, 3), indexing="ij"))
    rim = rim[[0, -1], :].ravel().tolist() + rim[1:-1, [0, -1]].ravel().tolist()
    assert h95_mm(square, centre) == pytest.approx(np.percentile(rim, 95))


def challenge_h95_mm(prediction: Mask, reference: Mask) -> float:
    """The same definition by other means: ITK's erosion and physical points, all pairs of distances."""

    def boundary(mask: Mask) -> NDArray[np.float64]:
        image = to_sitk(mask)
        rim = sitk.Subtract(image, sitk.BinaryErode(image, (1, 1, 0)))
        voxels = np.argwhere(sitk.GetArrayFromImage(rim) > 0)[:, ::-1]
        return np.array([image.TransformIndexToPhysicalPoint([int(i) for i in voxel]) for voxel in voxels])

    distance = cdist(boundary(prediction), boundary(reference))
    return float(max(np.percentile(distance.min(axis=1), 95), np.percentile(distance.min(axis=0), 95)))


@pytest.mark.parametrize("seed", range(5))
def test_h95_equals_the_challenge_definition_on_oblique_voxels(seed: int) -> None:
    random = np.random.default_rng(seed)
    grid = oblique_grid()
    a, b = box(grid, (1, 1, 1), (7, 7, 5)), box(grid, (2, 0, 2), (8, 6, 6))
    a, b = (Mask(mask.data ^ (random.random(SHAPE) < 0.1), grid) for mask in (a, b))
    assert h95_mm(a, b) == pytest.approx(challenge_h95_mm(a, b))


@pytest.mark.parametrize(
    ("has_prediction", "has_reference", "expected"),
    [
        (False, False, (NotAssessed, NotAssessed, NotAssessed, 0.0)),
        (True, False, (0.0, NotAssessed, NotAssessed, 0.08)),
        (False, True, (0.0, NotAssessed, 100.0, -0.08)),
    ],
)
def test_empty_masks_follow_the_table(has_prediction: bool, has_reference: bool, expected: tuple[object, ...]) -> None:
    full, empty = box(THICK, (1, 1, 1), (3, 3, 3)), box(THICK, (0, 0, 0), (0, 0, 0))
    metrics = compare_voxels(full if has_prediction else empty, full if has_reference else empty)
    for found, wanted in zip((metrics.dice, metrics.h95_mm, metrics.avd_percent, metrics.volume_bias_ml), expected, strict=True):
        if wanted is NotAssessed:
            assert isinstance(found, NotAssessed)
        else:
            assert found == pytest.approx(wanted)


def test_excluded_voxels_count_in_neither_mask() -> None:
    reference, prediction = box(THICK, (1, 1, 1), (3, 3, 3)), box(THICK, (1, 1, 1), (7, 3, 3))
    other_pathology = box(THICK, (3, 0, 0), SHAPE)
    assert compare_voxels(prediction, reference).dice != 1.0
    assert compare_voxels(prediction, reference, other_pathology).dice == 1.0


def test_masks_on_different_grids_are_refused() -> None:
    with pytest.raises(GeometryError, match="different grids"):
        compare_voxels(box(THICK, (1, 1, 1), (3, 3, 3)), box(oblique_grid(), (1, 1, 1), (3, 3, 3)))


@settings(max_examples=40, deadline=None)
@given(masks, masks)
def test_measures_are_symmetric_bounded_and_perfect_only_on_identity(a_data: NDArray[np.bool_], b_data: NDArray[np.bool_]) -> None:
    a, b = Mask(a_data, THICK), Mask(b_data, THICK)
    if not (a_data.any() and b_data.any()):
        assert isinstance(h95_mm(a, b), NotAssessed)
        return
    assert dice(a, b) == dice(b, a)
    assert h95_mm(a, b) == pytest.approx(number(h95_mm(b, a)))
    assert 0 <= number(dice(a, b)) <= 1
    assert 0 <= number(h95_mm(a, b)) <= np.linalg.norm(THICK.extent_mm)
    assert (dice(a, b) == 1.0) == bool((a_data == b_data).all())
    assert (h95_mm(a, a), dice(a, a), avd_percent(a, a)) == (0.0, 1.0, 0.0)


@settings(max_examples=20, deadline=None)
@given(masks, masks, st.permutations([0, 1, 2]), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_reordering_the_axes_changes_nothing(
    a_data: NDArray[np.bool_], b_data: NDArray[np.bool_], order: list[int], flips: tuple[bool, bool, bool]
) -> None:
    a_data[4, 4, 4] = b_data[3, 4, 4] = True
    turned = THICK.affine.copy()
    for axis, flip in enumerate(flips):
        if flip:
            turned[:3, 3] += turned[:3, axis] * (SHAPE[axis] - 1)
            turned[:3, axis] *= -1
    turned[:3, :3] = turned[:3, order]
    flipped = tuple(slice(None, None, -1 if flip else None) for flip in flips)
    grid = Grid((SHAPE[order[0]], SHAPE[order[1]], SHAPE[order[2]]), turned)
    before = compare_voxels(Mask(a_data, THICK), Mask(b_data, THICK))
    after = compare_voxels(Mask(a_data[flipped].transpose(order), grid), Mask(b_data[flipped].transpose(order), grid))
    assert after.dice == before.dice
    assert after.h95_mm == pytest.approx(number(before.h95_mm))
    assert after.volume_bias_ml == pytest.approx(before.volume_bias_ml)
