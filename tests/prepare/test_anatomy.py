"""Brain masks, structures and the analysis grid from known probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fake_networks import FakeNetwork
from phantoms import BRAIN_MM, INTRACRANIAL_MM, ball, ellipsoid, head_image, head_structures, make_grid, voxel_centres_mm
from smallvessel.markers import Sequence
from smallvessel.prepare.anatomy import (
    AnatomyProbability,
    AnatomyView,
    analysis_grid,
    close_probability,
    decide_structures,
    find_anatomy,
    find_brain,
    find_intracranial,
    fuse_anatomy,
    largest_piece,
    make_consistent,
    suppress_islands,
    take_over_head,
)
from smallvessel.structures import Structure
from smallvessel.volume import Grid, LabelMap, Mask, Transform, isotropic_grid

COARSE = make_grid((80, 96, 80), (2.0, 2.0, 2.0))


def certain(labels: NDArray[np.int32], grid: Grid, sure: float = 1.0) -> AnatomyProbability:
    """A network that is this sure of ``labels``, and of the right side where x is positive."""
    structures = (labels[None] == np.arange(len(Structure))[:, None, None, None]) * np.float32(sure)
    structures[0] += np.float32(1.0 - sure)
    right = (voxel_centres_mm(grid)[..., 0] > 0).astype(np.float32)
    return AnatomyProbability(grid, structures.astype(np.float32), right)


def phantom() -> AnatomyProbability:
    return certain(head_structures(COARSE).data, COARSE)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_probabilities_add_up_and_lie_on_the_two_millimetre_grid() -> None:
    image = head_image(make_grid((60, 70, 30), (3.0, 3.0, 6.0), "LPS"), Sequence.T1W)
    found = find_anatomy(image, FakeNetwork("anatomy"))
    assert found.grid.same_as(isotropic_grid(image.grid, 2.0))
    assert found.structures.shape == (len(Structure), *found.grid.shape)
    assert np.allclose(found.structures.sum(axis=0), 1.0, atol=1e-5)
    assert np.allclose(found.head.brain, found.structures[2:].sum(axis=0), atol=1e-5)
    assert np.allclose(found.head.intracranial, found.structures[1:].sum(axis=0), atol=1e-5)


@settings(max_examples=5)
@given(
    orientation=st.sampled_from(["RAS", "LPS", "PIR", "ASL"]),
    thick_mm=st.sampled_from([2.0, 4.0, 7.0]),
    angle_deg=st.floats(-15, 15),
)
def test_masks_have_the_true_shape_on_any_grid(orientation: str, thick_mm: float, angle_deg: float) -> None:
    grid = make_grid((66, 66, int(200 / thick_mm)), (3.0, 3.0, thick_mm), orientation, (angle_deg, 0.0, angle_deg / 2))
    assert dice(find_brain(phantom().head, grid).data, ellipsoid(grid, (0, 0, 0), BRAIN_MM)) > 0.97
    assert dice(find_intracranial(phantom().head, grid).data, ellipsoid(grid, (0, 0, 0), INTRACRANIAL_MM)) > 0.97


def test_a_narrow_sulcus_belongs_to_the_brain_and_a_wide_gap_does_not() -> None:
    labels = head_structures(COARSE).data.copy()
    x, _, z = np.moveaxis(voxel_centres_mm(COARSE), -1, 0)
    brain = labels > Structure.CSF
    narrow = brain & (np.abs(x - 21) < 2.1) & (z > 20)
    wide = brain & (np.abs(x + 30) < 14.1) & (z > 20)
    labels[narrow | wide] = Structure.CSF
    found = find_brain(certain(labels, COARSE).head, COARSE).data
    deep = ellipsoid(COARSE, (0, 0, 0), (55.0, 73.0, 55.0))
    assert found[narrow & deep].mean() > 0.95
    assert found[wide & deep & (np.abs(x + 30) < 6)].mean() < 0.05


def test_the_brain_is_one_piece_without_holes() -> None:
    labels = head_structures(COARSE).data.copy()
    labels[ball(COARSE, (0, 0, 30), 10.0)] = Structure.BACKGROUND
    labels[ball(COARSE, (0, 0, -78), 3.0)] = Structure.CORTEX
    found = find_brain(certain(labels, COARSE).head, COARSE).data
    assert found[ball(COARSE, (0, 0, 30), 10.0)].all()
    assert not found[ball(COARSE, (0, 0, -78), 4.0)].any()


def test_no_brain_gives_an_empty_mask() -> None:
    empty = certain(np.zeros(COARSE.shape, np.int32), COARSE)
    assert not find_brain(empty.head, COARSE).data.any()


def test_closing_never_takes_away_and_keeps_a_half_probability() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((12, 14, 10)).astype(np.float32)
    assert (close_probability(probability, 2.0) >= probability).all()
    edge = np.zeros((12, 12, 12), np.float32)
    edge[:6], edge[6] = 1.0, 0.3
    assert np.array_equal(close_probability(edge, 2.0), edge)


@settings(max_examples=6)
@given(
    shape=st.tuples(*[st.integers(50, 64)] * 3), thick_mm=st.sampled_from([3.0, 5.0]), orientation=st.sampled_from(["RAS", "LPS", "SRA"])
)
def test_the_analysis_grid_holds_the_head(shape: tuple[int, int, int], thick_mm: float, orientation: str) -> None:
    reference = make_grid((shape[0], shape[1], shape[2]), (3.4, 3.6, thick_mm), orientation, (5.0, 0.0, 3.0))
    coarse = isotropic_grid(reference, 2.0)
    inside = Mask(ellipsoid(coarse, (4, -3, 2), INTRACRANIAL_MM), coarse)
    grid = analysis_grid(reference, inside)
    assert all(n % 16 == 0 for n in grid.shape)
    assert np.allclose(grid.spacing_mm, 1.0)
    assert np.allclose(grid.affine[:3, :3], isotropic_grid(reference, 1.0).affine[:3, :3])
    voxels = grid.voxels(coarse.world(np.argwhere(inside.data)))
    assert (voxels.min(axis=0) >= 8.0 - 1e-6).all()
    assert (voxels.max(axis=0) <= np.array(grid.shape) - 9.0 + 1e-6).all()
    assert (np.array(grid.shape) - (voxels.max(axis=0) - voxels.min(axis=0)) < 16 + 18).all()


def test_structures_are_interpolated_before_the_choice() -> None:
    fine = make_grid((120, 140, 120), (1.3, 1.3, 1.3))
    structures, right = decide_structures(phantom(), fine)
    truth = head_structures(fine).data
    for structure in (Structure.CSF, Structure.CORTEX, Structure.WHITE_MATTER, Structure.LATERAL_VENTRICLE):
        assert dice(structures.data == structure, truth == structure) > 0.88
    centres = voxel_centres_mm(fine)
    far = (truth > 0) & (np.abs(centres[..., 0]) > 2)
    assert np.array_equal(right.data[far], centres[..., 0][far] > 0)


def test_outside_the_field_of_view_is_background() -> None:
    beyond = make_grid((32, 32, 32), (1.0, 1.0, 1.0), centre_mm=(400.0, 0.0, 0.0))
    structures, right = decide_structures(phantom(), beyond)
    assert not structures.data.any()
    assert not right.data.any()


def test_islands_of_deep_structures_go_and_both_sides_stay() -> None:
    labels = head_structures(COARSE).data.copy()
    for x in (-24, 24):
        labels[ball(COARSE, (x, 0, 0), 7.0)] = Structure.PUTAMEN
    island = ball(COARSE, (40, 30, 0), 3.0)
    labels[island] = Structure.PUTAMEN
    structures, _ = decide_structures(suppress_islands(certain(labels, COARSE, sure=0.9)), COARSE)
    assert not (structures.data[island] == Structure.PUTAMEN).any()
    for x in (-24, 24):
        assert (structures.data[ball(COARSE, (x, 0, 0), 7.0)] == Structure.PUTAMEN).all()


def test_fusing_averages_by_weight_and_only_where_an_image_reaches() -> None:
    labels = head_structures(COARSE).data
    other = labels.copy()
    patch = ball(COARSE, (30, 0, 20), 8.0)
    other[patch] = Structure.THALAMUS
    upper = COARSE.crop((0, 0, 40), (80, 96, 40))
    views = [
        AnatomyView(certain(labels, COARSE), Transform.identity(), 1.0),
        AnatomyView(certain(other[:, :, 40:], upper), Transform.identity(), 3.0),
    ]
    fused = fuse_anatomy(views)
    assert np.allclose(fused.structures[Structure.THALAMUS][patch & (voxel_centres_mm(COARSE)[..., 2] > 1)], 0.75, atol=1e-4)
    assert np.array_equal(fused.structures[:, :, :, :39], views[0].probability.structures[:, :, :, :39])
    assert fuse_anatomy(views[:1]) is views[0].probability


def test_fusing_undoes_a_motion() -> None:
    labels = head_structures(COARSE).data
    away = make_grid((80, 96, 80), (2.0, 2.0, 2.0), centre_mm=(14.0, -6.0, 8.0))
    back = np.eye(4)
    back[:3, 3] = (-14.0, 6.0, -8.0)
    views = [
        AnatomyView(certain(labels, COARSE), Transform.identity(), 1.0),
        AnatomyView(certain(labels, away), Transform(back), 1.0),
    ]
    assert np.allclose(fuse_anatomy(views).structures, views[0].probability.structures, atol=1e-4)


def test_masks_are_taken_over_where_the_reference_reaches() -> None:
    own = certain(np.zeros(COARSE.shape, np.int32), COARSE).head
    upper = COARSE.crop((0, 0, 40), (80, 96, 40))
    fused = certain(head_structures(upper).data, upper).head
    found = take_over_head(own, fused, Transform.identity())
    assert np.allclose(found.brain[:, :, 40:], fused.brain, atol=1e-5)
    assert not found.brain[:, :, :40].any()
    assert np.allclose(found.intracranial[:, :, 40:], fused.intracranial, atol=1e-5)


def test_labels_agree_with_the_masks() -> None:
    grid = make_grid((8, 8, 8), (1.0, 1.0, 1.0))
    labels = np.full(grid.shape, Structure.CORTEX, np.int32)
    labels[4] = Structure.BACKGROUND
    brain, intracranial = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    brain[2:6], intracranial[1:7] = True, True
    found = make_consistent(LabelMap(labels, grid), Mask(brain, grid), Mask(intracranial, grid)).data
    assert (found[[0, 7]] == Structure.BACKGROUND).all()
    assert (found[[1, 6]] == Structure.CSF).all()
    assert (found[[2, 3, 5]] == Structure.CORTEX).all()
    assert (found[4] == Structure.CSF).all()


@pytest.mark.parametrize("shape", [(5, 5, 5), (3, 9, 4)])
def test_the_largest_piece_joins_at_corners(shape: tuple[int, int, int]) -> None:
    mask = np.zeros(shape, bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[-1, -1, -1] = True
    expected = mask.copy()
    expected[-1, -1, -1] = max(shape) <= 2
    assert np.array_equal(largest_piece(mask), expected)
    assert not largest_piece(np.zeros(shape, bool)).any()
