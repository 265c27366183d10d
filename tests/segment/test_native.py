"""Masks and probabilities on native grids of any orientation and slice thickness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import ball, make_grid
from smallvessel.records import Native
from smallvessel.segment.native import bring_to_native
from smallvessel.shapes import label_components
from smallvessel.volume import LabelMap, Mask, Transform, Volume

GRID = make_grid((48, 48, 48), (1.0, 1.0, 1.0))


def native_of(grid, reference_from_native=None):
    return Native(grid, Mask(np.ones(grid.shape, bool), grid), reference_from_native or Transform.identity())


def carry(mask, native):
    labels, _ = label_components(mask)
    return bring_to_native(LabelMap(labels, GRID), Volume(mask.astype(np.float32), GRID), native)


def test_same_grid_same_mask():
    mask = ball(GRID, (3.0, -4.0, 5.0), 4.0)
    drawn, probability = carry(mask, native_of(GRID))
    assert np.array_equal(drawn.data, mask)
    assert np.array_equal(probability.data, mask.astype(np.float32))


@given(
    rotation_deg=st.tuples(*[st.floats(-25, 25)] * 3),
    spacing_mm=st.sampled_from([(1.0, 1.0, 1.0), (0.5, 0.5, 3.0), (2.0, 0.9, 0.9), (0.8, 4.0, 0.8)]),
    orientation=st.sampled_from(["RAS", "LPI", "PIR"]),
)
@settings(max_examples=20, deadline=None)
def test_volume_and_place_are_kept(rotation_deg, spacing_mm, orientation):
    shape = tuple(int(56 / s) for s in spacing_mm)
    grid = make_grid(shape, spacing_mm, orientation, rotation_deg)
    shift = np.eye(4)
    shift[:3, 3] = (2.0, -1.0, 0.5)
    mask = ball(GRID, (3.0, -4.0, 5.0), 9.0)
    drawn, probability = carry(mask, native_of(grid, Transform(shift)))
    assert drawn.volume_ml * 1000 == pytest.approx(mask.sum(), rel=0.08)
    centre = grid.world(np.argwhere(drawn.data)).mean(axis=0)
    assert centre == pytest.approx([1.0, -3.0, 4.5], abs=0.8)
    assert probability.grid.same_as(grid)


@pytest.mark.parametrize("offset_mm", [0.0, 1.0, 2.0, 3.0])
def test_lesion_thinner_than_a_slice_survives(offset_mm):
    grid = make_grid((48, 48, 8), (1.0, 1.0, 6.0), centre_mm=(0.0, 0.0, offset_mm))
    mask = ball(GRID, (3.0, -4.0, 0.0), 1.3) | ball(GRID, (-9.0, 6.0, 0.0), 1.3)
    drawn, _ = carry(mask, native_of(grid))
    _, count = label_components(drawn.data)
    assert count == 2
    slices = np.unique(np.argwhere(drawn.data)[:, 2])
    assert (np.abs(grid.world(np.array([[0, 0, k] for k in slices]))[:, 2]) <= 3.0 + 1e-6).all()


def test_lesion_outside_the_native_view_is_not_drawn():
    grid = make_grid((20, 20, 20), (1.0, 1.0, 1.0), centre_mm=(-12.0, 0.0, 0.0))
    drawn, _ = carry(ball(GRID, (15.0, 0.0, 0.0), 3.0), native_of(grid))
    assert not drawn.data.any()


def test_no_lesion_no_native_voxel():
    drawn, probability = carry(np.zeros(GRID.shape, bool), native_of(make_grid((10, 10, 4), (4.0, 4.0, 6.0))))
    assert not drawn.data.any()
    assert not probability.data.any()
