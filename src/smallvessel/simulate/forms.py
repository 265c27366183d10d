"""Forms that lesions are made of: noise fields, blobs and bent tubes, painted as the share of each 1 mm voxel that they fill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatMap = NDArray[np.float32]
Fraction = Callable[[FloatMap], FloatMap]
"""Share of lesion at points (3, x, y, z) in mm relative to the lesion's centre."""


def smooth_noise(shape: tuple[int, ...], spacing_mm: float, rng: np.random.Generator) -> FloatMap:
    """Smooth random field of SD about 1 whose features are ``spacing_mm`` wide."""
    knots = tuple(int(np.ceil(n / spacing_mm)) + 2 for n in shape)
    values = rng.standard_normal(knots, dtype=np.float32)
    field_ = values
    for axis, n in enumerate(shape):
        at = (np.arange(n) + rng.uniform(0, spacing_mm)) / spacing_mm
        low = np.minimum(at.astype(int), knots[axis] - 2)
        part = (at - low).astype(np.float32)
        part = part * part * (3 - 2 * part)
        part = part.reshape([-1 if i == axis else 1 for i in range(3)])
        field_ = np.take(field_, low, axis) * (1 - part) + np.take(field_, low + 1, axis) * part
    return field_ * np.float32(1.4)


def sigmoid(x: FloatMap) -> FloatMap:
    """Logistic function, safe for large arguments."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))), np.float32)


def pick_voxels(weight: FloatMap, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Voxels drawn with probability proportional to ``weight``, shape (count, 3)."""
    if count == 0:
        return np.zeros((0, 3), np.int64)
    cumulative = np.cumsum(weight.ravel(), dtype=np.float64)
    if cumulative[-1] <= 0:
        return np.zeros((0, 3), np.int64)
    flat = np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], count))
    return np.stack(np.unravel_index(np.minimum(flat, weight.size - 1), weight.shape), 1)


def draw_count(density_per_l: float, weight: FloatMap, rng: np.random.Generator) -> int:
    """Poisson number of lesions at a density per litre of the voxels (1 mm) with weight."""
    return int(rng.poisson(density_per_l * float(np.count_nonzero(weight)) * 1e-6))


def paint(
    target: FloatMap, centre: NDArray[np.float64], reach_mm: float, fraction_of: Fraction, supersample: int = 1
) -> tuple[slice, slice, slice] | None:
    """Evaluate ``fraction_of(points)`` around a centre and keep the maximum with what is there. Returns the box painted."""
    low = np.maximum(np.floor(centre - reach_mm).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach_mm).astype(int) + 1, target.shape)
    if (high <= low).any():
        return None
    axes = [
        (np.arange((h - l) * supersample, dtype=np.float32) + 0.5) / supersample - 0.5 + l - c
        for l, h, c in zip(low, high, centre, strict=True)  # noqa: E741
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    fine = fraction_of(points)
    if supersample > 1:
        s, n = supersample, high - low
        fine = fine.reshape(n[0], s, n[1], s, n[2], s).mean((1, 3, 5))
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    target[box] = np.maximum(target[box], fine)
    return box


def random_axes(rng: np.random.Generator) -> NDArray[np.float64]:
    """A random orthogonal 3x3 matrix."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(q)


def ellipsoid(
    radii_mm: NDArray[np.float64], axes: NDArray[np.float64], roughness: float, rng: np.random.Generator, edge_mm: float
) -> Fraction:
    """A blob whose radius wobbles with direction; soft within ``edge_mm``."""
    waves = rng.normal(size=(5, 3)) * 2.2
    phases, weights = rng.uniform(0, 2 * np.pi, 5), rng.normal(size=5) * roughness / np.sqrt(5)
    mean = float(np.prod(radii_mm) ** (1 / 3))

    def fraction(points: FloatMap) -> FloatMap:
        local = np.tensordot(axes.astype(np.float32), points, 1)
        scaled = local / radii_mm[:, None, None, None].astype(np.float32)
        distance = np.sqrt((scaled**2).sum(0)) + 1e-6
        wobble = np.ones_like(distance)
        if roughness > 0:
            direction = scaled / distance
            for wave, phase, weight in zip(waves, phases, weights, strict=True):
                wobble += np.float32(weight) * np.sin(np.tensordot(wave.astype(np.float32), direction, 1) + np.float32(phase))
        return sigmoid((wobble - distance) * np.float32(mean / max(edge_mm, 0.05)) * 2)

    return fraction


def stamp_tube(target: FloatMap, path: NDArray[np.float64], radii_mm: NDArray[np.float64]) -> None:
    """Draw a bent tube along a path of voxel coordinates, radii interpolated, as the share of each voxel that it fills."""
    steps = max(int(np.linalg.norm(np.diff(path, axis=0), axis=1).sum() / 0.4), 2)
    t = np.linspace(0, len(path) - 1, steps)
    points = np.stack([np.interp(t, np.arange(len(path)), path[:, axis]) for axis in range(3)], 1)
    radius = np.interp(t, np.arange(len(path)), radii_mm)
    reach = int(np.ceil(radii_mm.max() + 0.5))
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    voxels = np.rint(points).astype(int)[:, None] + offsets
    distance = np.sqrt(((voxels - points[:, None]) ** 2).sum(-1))
    width = np.minimum(2 * radius, 1.0)[:, None]
    # a tube thinner than a voxel fills its width's share of the two directions across
    share = np.clip(radius[:, None] + 0.5 - distance, 0, width) * np.minimum(0.85 * width + 0.15 * width**2, 1)
    inside = ((voxels >= 0) & (voxels < target.shape)).all(-1) & (share > 0)
    flat = np.ravel_multi_index(tuple(voxels[inside].T), target.shape)
    np.maximum.at(target.reshape(-1), flat, share[inside].astype(np.float32))


def unit_vector(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector at length 1; zero stays zero."""
    return vector / (np.linalg.norm(vector) + 1e-6)


def bent_path(direction: NDArray[np.float64], length_mm: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Four points on a slightly bent line of ``length_mm`` about the origin, shape (4, 3)."""
    side = unit_vector(np.asarray(np.cross(direction, rng.normal(size=3)), np.float64))
    bend = rng.normal(0, 0.12) * length_mm
    t = np.linspace(-0.5, 0.5, 4)[:, None]
    return t * length_mm * direction + (0.25 - t**2) * 4 * bend * side * 0.5
