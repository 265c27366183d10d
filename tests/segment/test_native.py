"""Masks and probabilities on native grids of any orientation and slice thickness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from phantoms import ball, make_grid, voxel_centres_mm
from smallvessel.records import Native
from smallvessel.segment.native import bring_to_native
from smallvessel.shapes import label_components
from smallvessel.volume import Grid, LabelMap, Mask, Transform, Volume

Point = tuple[float, float, float]

GRID = make_grid((48, 48, 48), (1.0, 1.0, 1.0))


def native_of(grid: Grid, reference_from_native: Transform | None = None) -> Native:
    return Native(grid, Mask(np.ones(grid.shape, bool), grid), reference_from_native or Transform.identity())


def carry(mask: NDArray[np.bool_], native: Native) -> tuple[Mask, Volume]:
    labels, _ = label_components(mask)
    return bring_to_native(LabelMap(labels, GRID), Volume(mask.astype(np.float32), GRID), 0.5, native)


def test_same_grid_same_mask() -> None:
    mask = ball(GRID, (3.0, -4.0, 5.0), 4.0)
    drawn, probability = carry(mask, native_of(GRID))
    assert np.array_equal(drawn.data, mask)
    assert np.array_equal(probability.data, mask.astype(np.float32))


@given(
    rotation_deg=st.sampled_from([(0.0, 0.0, 0.0), (10.0, -20.0, 5.0)]),
    spacing_mm=st.sampled_from([(1.0, 1.0, 1.0), (0.5, 0.5, 4.0), (2.0, 2.0, 2.0), (0.8, 3.0, 0.8)]),
    orientation=st.sampled_from(["RAS", "LPI", "PIR"]),
)
@settings(max_examples=15, deadline=None)
def test_volume_and_place_are_kept(rotation_deg: Point, spacing_mm: Point, orientation: str) -> None:
    x, y, z = (int(56 / s) for s in spacing_mm)
    grid = make_grid((x, y, z), spacing_mm, orientation, rotation_deg)
    shift = np.eye(4)
    shift[:3, 3] = (2.0, -1.0, 0.5)
    centre_mm, radius_mm = (3.2, -4.4, 5.1), 10.3
    from_centre_mm = np.linalg.norm(voxel_centres_mm(GRID) - np.array(centre_mm), axis=-1)
    probability = Volume(1 / (1 + np.exp(from_centre_mm - radius_mm)), GRID)
    labels = LabelMap((probability.data >= 0.5).astype(np.int32), GRID)
    drawn, native_probability = bring_to_native(labels, probability, 0.5, native_of(grid, Transform(shift)))
    assert drawn.volume_ml * 1000 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.07)
    centre = grid.world(np.argwhere(drawn.data)).mean(axis=0)
    assert centre == pytest.approx(np.array(centre_mm) - shift[:3, 3], abs=0.5)
    assert native_probability.grid.same_as(grid)


def test_slices_midway_between_voxels_do_not_swell_a_lesion() -> None:
    grid = make_grid((48, 48, 12), (1.0, 1.0, 4.0))
    thickness_mm = []
    for start in range(12, 16):
        mask = np.zeros(GRID.shape, bool)
        mask[20:28, 20:28, start : start + 8] = True
        probability = np.where(mask, 0.9, 0.0).astype(np.float32)
        probability[20:28, 20:28, start - 1] = 0.4
        labels, _ = label_components(mask)
        drawn, _ = bring_to_native(LabelMap(labels, GRID), Volume(probability, GRID), 0.5, native_of(grid))
        thickness_mm.append(drawn.volume_ml * 1000 / 64)
    assert sorted(thickness_mm) == [8.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize("offset_mm", [0.0, 1.0, 2.0, 3.0])
def test_lesion_thinner_than_a_slice_survives(offset_mm: float) -> None:
    grid = make_grid((48, 48, 8), (1.0, 1.0, 6.0), centre_mm=(0.0, 0.0, offset_mm))
    mask = ball(GRID, (3.0, -4.0, 0.0), 1.3) | ball(GRID, (-9.0, 6.0, 0.0), 1.3)
    drawn, _ = carry(mask, native_of(grid))
    _, count = label_components(drawn.data)
    assert count == 2
    slices = np.unique(np.argwhere(drawn.data)[:, 2])
    assert (np.abs(grid.world(np.array([[0, 0, k] for k in slices]))[:, 2]) <= 3.0 + 1e-6).all()


def test_lesion_outside_the_native_view_is_not_drawn() -> None:
    grid = make_grid((20, 20, 20), (1.0, 1.0, 1.0), centre_mm=(-12.0, 0.0, 0.0))
    drawn, _ = carry(ball(GRID, (15.0, 0.0, 0.0), 3.0), native_of(grid))
    assert not drawn.data.any()


def test_no_lesion_no_native_voxel() -> None:
    drawn, probability = carry(np.zeros(GRID.shape, bool), native_of(make_grid((10, 10, 4), (4.0, 4.0, 6.0))))
    assert not drawn.data.any()
    assert not probability.data.any()
