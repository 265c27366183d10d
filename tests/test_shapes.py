"""Sizes, distances and planes against solids of known geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import ball, ellipsoid, make_grid
from smallvessel.shapes import (
    component_boxes,
    diameter_mm,
    distance_mm,
    grow,
    label_components,
    midline_plane_mm,
    place,
    plane_distance_mm,
    principal_diameters_mm,
    small_components,
    surface_mm2,
    widen,
)

angles = st.tuples(*[st.floats(-40, 40)] * 3)
orientations = st.sampled_from(["RAS", "LPS", "LIA", "PIR", "ASL"])


@given(rotation_deg=angles, orientation=orientations, radius_mm=st.floats(3, 12))
@settings(max_examples=25, deadline=None)
def test_ball_has_its_diameter_on_any_grid(rotation_deg: tuple[float, float, float], orientation: str, radius_mm: float) -> None:
    grid = make_grid((32, 32, 32), (1.0, 1.0, 1.0), orientation, rotation_deg)
    voxels = np.argwhere(ball(grid, (0.3, -0.2, 0.1), radius_mm))
    assert diameter_mm(voxels, grid) == pytest.approx(2 * radius_mm, abs=1.0)
    assert principal_diameters_mm(voxels, grid) == pytest.approx([2 * radius_mm] * 3, abs=0.5)


def test_diameter_of_few_voxels() -> None:
    grid = make_grid((8, 8, 8), (1.0, 1.0, 1.0))
    assert diameter_mm(np.empty((0, 3), int), grid) == 0.0
    assert diameter_mm(np.array([[2, 2, 2]]), grid) == 1.0
    assert diameter_mm(np.array([[2, 2, n] for n in range(5)]), grid) == 5.0
    assert diameter_mm(np.array([[0, 0, 0], [3, 4, 0]]), grid) == 6.0


def test_diameter_of_a_large_plane_and_of_a_long_line() -> None:
    grid = make_grid((40, 40, 3), (1.0, 1.0, 1.0), rotation_deg=(10.0, 20.0, 30.0))
    plane = np.array([[x, y, 1] for x in range(31) for y in range(41)])
    assert diameter_mm(plane, grid) == pytest.approx(50.0 + 1.0)
    assert diameter_mm(np.array([[x, 0, 0] for x in range(600)]), grid) == pytest.approx(600.0)


def test_diameter_of_many_voxels_in_a_plane_is_found_on_its_outline() -> None:
    grid = make_grid((300, 300, 3), (1.0, 1.0, 1.0))
    voxels = np.argwhere(ellipsoid(grid, (0, 0, 0), (140.0, 120.0, 0.9)))
    assert len(voxels) > 50_000
    assert diameter_mm(voxels, grid) == pytest.approx(280.0, abs=1.0)


def test_hull_and_all_pairs_agree() -> None:
    grid = make_grid((40, 40, 40), (1.0, 1.0, 1.0))
    voxels = np.argwhere(ellipsoid(grid, (0, 0, 0), (15.0, 6.0, 4.0)))
    assert len(voxels) > 500
    apart = np.linalg.norm(voxels[:, None] - voxels[None], axis=-1).max()
    assert diameter_mm(voxels, grid) == pytest.approx(apart + 1.0)


def test_principal_diameters_of_an_ellipsoid_and_of_one_voxel() -> None:
    grid = make_grid((40, 40, 40), (1.0, 1.0, 1.0), rotation_deg=(20.0, 10.0, -30.0))
    voxels = np.argwhere(ellipsoid(grid, (0, 0, 0), (12.0, 6.0, 4.0)))
    assert principal_diameters_mm(voxels, grid) == pytest.approx([24.0, 12.0, 8.0], abs=0.3)
    assert principal_diameters_mm(voxels[:1], grid) == pytest.approx([np.sqrt(20 / 12)] * 3)


def test_blur_is_taken_off_but_never_more_than_to_one_voxel() -> None:
    grid = make_grid((40, 40, 40), (1.0, 1.0, 1.0))
    column = np.argwhere(ellipsoid(grid, (0, 0, 0), (6.0, 6.0, 15.0)))
    tall = np.diag([0.0, 0.0, 15.0**2 / 5 - 6.0**2 / 5])
    assert principal_diameters_mm(column, grid, tall) == pytest.approx([12.0] * 3, abs=0.6)
    assert principal_diameters_mm(column, grid, 100.0 * tall)[2] == pytest.approx(np.sqrt(20 / 12))


@pytest.mark.parametrize(("radius_mm", "voxel_mm"), [(3.0, 1.0), (8.0, 1.0), (6.0, 0.5)])
def test_surface_of_a_ball(radius_mm: float, voxel_mm: float) -> None:
    grid = make_grid((40, 40, 40), (voxel_mm,) * 3)
    assert surface_mm2(ball(grid, (0.2, 0.1, -0.3), radius_mm), voxel_mm) == pytest.approx(4 * np.pi * radius_mm**2, rel=0.06)


def test_surface_reaches_the_edge_of_the_array() -> None:
    assert surface_mm2(np.ones((20, 20, 20), bool), 1.0) == pytest.approx(6 * 400, rel=0.12)


def test_distance_counts_millimetres_up_to_its_reach() -> None:
    mask = np.zeros((12, 5, 5), bool)
    mask[1, 2, 2] = True
    distance = distance_mm(mask, np.array([2.0, 1.0, 1.0]), 6.0)
    assert distance[1, 2, 2] == 0.0
    assert distance[4, 2, 2] == 6.0
    assert np.isinf(distance[5, 2, 2])
    assert distance[2, 3, 2] == pytest.approx(np.sqrt(5.0))
    assert np.isinf(distance_mm(np.zeros_like(mask), np.ones(3), 6.0)).all()


def test_components_join_over_corners_and_keep_raster_order() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[4, 4, 4] = True
    labels, count = label_components(mask)
    assert count == 2
    assert labels[0, 0, 0] == labels[1, 1, 1] == 1
    assert [(label, box[0]) for label, box in component_boxes(labels, 1)] == [(1, slice(0, 3)), (2, slice(3, 6))]


def test_small_components_leave_out_large_ones() -> None:
    mask = np.zeros((10, 4, 4), bool)
    mask[:5] = True
    mask[7, 0, 0] = mask[9, 3, 3] = True
    labels = small_components(mask, 2)
    assert not labels[:6].any()
    assert labels[7, 0, 0] != labels[9, 3, 3]
    assert labels[9, 3, 3] > 0


def test_grow_is_a_cube_and_does_not_wrap() -> None:
    mask = np.zeros((7, 7, 7), bool)
    mask[0, 3, 3] = True
    grown = grow(mask, 2)
    assert grown.sum() == 3 * 5 * 5
    assert grown[2, 5, 1]


def test_place_moves_a_mask_into_a_wider_box() -> None:
    box = (slice(2, 4), slice(2, 4), slice(0, 2))
    wide = widen(box, 3, (6, 6, 6))
    assert wide == (slice(0, 6), slice(0, 6), slice(0, 5))
    inside = np.zeros((2, 2, 2), bool)
    inside[1, 0, 1] = True
    assert np.argwhere(place(inside, box, wide)).tolist() == [[3, 2, 1]]


@given(rotation_deg=angles, orientation=orientations)
@settings(max_examples=15, deadline=None)
def test_midline_plane_lies_between_the_hemispheres(rotation_deg: tuple[float, float, float], orientation: str) -> None:
    grid = make_grid((30, 30, 30), (1.0, 1.0, 1.0), orientation, rotation_deg, centre_mm=(3.0, 1.0, 0.0))
    brain = ball(grid, (3.0, 1.0, 0.0), 12.0)
    right = grid.world(np.indices(grid.shape).reshape(3, -1).T)[:, 0].reshape(grid.shape) > 4.0
    plane = midline_plane_mm(right, brain, grid)
    assert plane is not None
    normal, offset = plane
    assert normal == pytest.approx([1.0, 0.0, 0.0], abs=0.05)
    assert offset == pytest.approx(4.0, abs=0.3)
    distance = plane_distance_mm(normal, offset, grid)
    assert (distance[brain & right] > -0.8).all()
    assert (distance[brain & ~right] < 0.8).all()


def test_no_midline_without_two_sides() -> None:
    grid = make_grid((20, 20, 20), (1.0, 1.0, 1.0))
    assert midline_plane_mm(np.zeros(grid.shape, bool), ball(grid, (0, 0, 0), 8.0), grid) is None
