"""Contours of binary pictures: marching squares on the pixels' centres, in the 26-connected sense (diagonal pixels join)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]

T, R, B, L = (0, 1), (1, 2), (2, 1), (1, 0)
"""Middles of the four sides of a cell of 2x2 pixel centres, as (row, column) in half pixels from its first centre."""

SEGMENTS: dict[int, tuple[tuple[Point, Point], ...]] = {
    0b1000: ((T, L),),
    0b0100: ((R, T),),
    0b0010: ((B, R),),
    0b0001: ((L, B),),
    0b1100: ((R, L),),
    0b0110: ((B, T),),
    0b0011: ((L, R),),
    0b1001: ((T, B),),
    0b1110: ((B, L),),
    0b0111: ((L, T),),
    0b1011: ((T, R),),
    0b1101: ((R, B),),
    0b1010: ((T, R), (B, L)),
    0b0101: ((L, T), (R, B)),
}
"""By the corners inside (top left, top right, bottom right, bottom left): pieces of contour with the inside on their right."""


def trace_contours(picture: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed contours halfway between the pixels of a mask and their neighbours outside it.

    Parameters
    ----------
    picture : ndarray of bool, shape (rows, columns)

    Returns
    -------
    list of ndarray, shape (n, 2)
        Corners as (x, y) = (column, row) in pixels, where the first pixel covers 0 to 1; the last corner joins the first.
        Holes are contours of their own.
    """
    inside = np.pad(picture, 1).astype(np.uint8)
    cases = inside[:-1, :-1] << 3 | inside[:-1, 1:] << 2 | inside[1:, 1:] << 1 | inside[1:, :-1]
    # Every middle of a side is where exactly one piece begins and one ends, so the pieces chain into loops by themselves.
    following: dict[Point, Point] = {}
    for row, column in np.argwhere((cases > 0) & (cases < 15)).tolist():
        for (r0, c0), (r1, c1) in SEGMENTS[int(cases[row, column])]:
            following[2 * row + r0, 2 * column + c0] = (2 * row + r1, 2 * column + c1)
    loops = []
    while following:
        start = next(iter(following))
        loop = [start]
        while (point := following.pop(loop[-1])) != start:
            loop.append(point)
        loops.append(_to_pixels(loop))
    return loops


def _to_pixels(loop: list[Point]) -> NDArray[np.float64]:
    """Half pixels of the padded picture as pixels of the picture, without the points in the middle of straight runs."""
    points = np.array(loop)
    bends = (points - np.roll(points, 1, axis=0)) != (np.roll(points, -1, axis=0) - points)
    return np.asarray((points[bends.any(axis=1)][:, ::-1] - 1) / 2.0)
