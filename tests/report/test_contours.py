"""Contours enclose what they should: area, holes, diagonals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from smallvessel.report.contours import trace_contours


def signed_area(loop: NDArray[np.float64]) -> float:
    x, y = loop.T
    return float(0.5 * (x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def test_a_rectangle_has_its_edges_and_cut_corners() -> None:
    picture = np.zeros((6, 8), bool)
    picture[1:4, 2:7] = True
    (loop,) = trace_contours(picture)
    assert len(loop) == 8
    assert loop.min(axis=0).tolist() == [2.0, 1.0]
    assert loop.max(axis=0).tolist() == [7.0, 4.0]
    assert abs(signed_area(loop)) == pytest.approx(15 - 4 * 0.125)


def test_a_mask_up_to_the_edge_of_the_picture_is_closed() -> None:
    (loop,) = trace_contours(np.ones((3, 5), bool))
    assert loop.min(axis=0).tolist() == [0.0, 0.0]
    assert loop.max(axis=0).tolist() == [5.0, 3.0]
    assert trace_contours(np.zeros((3, 5), bool)) == []


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, (7, 9), elements=st.booleans()))
def test_one_contour_per_object_and_one_per_hole(picture: NDArray[np.bool_]) -> None:
    areas = [signed_area(loop) for loop in trace_contours(picture)]
    n_objects = ndimage.label(picture, np.ones((3, 3)))[1]
    n_holes = ndimage.label(~np.pad(picture, 1))[1] - 1
    assert sum(area > 0 for area in areas) == n_objects
    assert sum(area < 0 for area in areas) == n_holes
