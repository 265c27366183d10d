"""Hypothesis strategies for geometry: grids of any orientation, obliqueness and spacing, transforms, small masks."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from phantoms import make_grid
from smallvessel.volume import Grid, LabelMap, Mask, Transform, Volume

ORIENTATIONS = ["".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)]
"""All 48 axis codes."""


def orientations() -> st.SearchStrategy[str]:
    """Axis codes such as "LPS"."""
    return st.sampled_from(ORIENTATIONS)


@st.composite
def grids(draw: st.DrawFn, min_side: int = 2, max_side: int = 8, oblique: bool = True) -> Grid:
    """Small grids: any axis codes, anisotropic spacing of 0.4 to 8 mm, turned by up to 40 degrees about each axis, anywhere."""
    side = st.integers(min_side, max_side)
    spacing = st.floats(0.4, 8.0).map(lambda value: round(value, 3))
    angle = st.floats(-40.0, 40.0).map(lambda value: round(value, 2)) if oblique else st.just(0.0)
    place = st.floats(-100.0, 100.0).map(lambda value: round(value, 2))
    return make_grid(
        draw(st.tuples(side, side, side)),
        draw(st.tuples(spacing, spacing, spacing)),
        draw(orientations()),
        draw(st.tuples(angle, angle, angle)),
        draw(st.tuples(place, place, place)),
    )


@st.composite
def transforms(draw: st.DrawFn, rigid: bool = True, max_shift_mm: float = 50.0) -> Transform:
    """Rigid maps of world points, or general affine ones that keep volumes within a factor of about two."""
    rigid_grid = make_grid(
        (2, 2, 2),
        (1.0, 1.0, 1.0),
        rotation_deg=draw(st.tuples(*[st.floats(-60.0, 60.0)] * 3)),
    )
    matrix = rigid_grid.affine.copy()
    if not rigid:
        matrix[:3, :3] += draw(hnp.arrays(np.float64, (3, 3), elements=st.floats(-0.15, 0.15)))
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-max_shift_mm, max_shift_mm)] * 3))
    return Transform(matrix)


@st.composite
def masks(draw: st.DrawFn, grid: st.SearchStrategy[Grid] | None = None) -> Mask:
    """Masks on small grids, empty and full ones included."""
    on = draw(grid if grid is not None else grids())
    return Mask(draw(hnp.arrays(np.bool_, on.shape)), on)


@st.composite
def volumes(draw: st.DrawFn, grid: st.SearchStrategy[Grid] | None = None) -> Volume:
    """Random intensities between 0 and 1000 on small grids."""
    on = draw(grid if grid is not None else grids())
    seed = draw(st.integers(0, 2**32 - 1))
    return Volume(np.random.default_rng(seed).uniform(0, 1000, on.shape).astype(np.float32), on)


@st.composite
def label_maps(draw: st.DrawFn, grid: st.SearchStrategy[Grid] | None = None, max_label: int = 300) -> LabelMap:
    """Random labels from 0 to ``max_label`` on small grids."""
    on = draw(grid if grid is not None else grids())
    return LabelMap(draw(hnp.arrays(np.int32, on.shape, elements=st.integers(0, max_label))), on)
