"""Disease that is none of the four markers: old infarcts and haemorrhages, which patients of a stroke clinic often have. Never labelled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..structures import Structure
from .anatomy import BrainMaps, brain_structure_mask
from .forms import FloatMap, pick_voxels, random_axes, sigmoid, smooth_noise
from .lesion_maps import LesionMaps, is_fluid

CORTICAL_RADIUS_MM = (7.0, 28.0)
"""Range, log-uniform, of the mean radius of an infarct that includes cortex. Own choice: from a branch to a third of a territory."""
DEEP_RADIUS_MM = (11.5, 18.0)
"""The same for an infarct of the deep nuclei: its cavity is as long as a lacune may be at most (15 mm, STRIVE-2,
10.1016/S1474-4422(23)00131-X), or longer."""
CORTICAL_RIM_MM, DEEP_RIM_MM = (1.5, 6.0), (1.5, 2.0)
"""Range of the scar's width around the cavity. Own choice."""
HAEMORRHAGE_MM = (8.0, 26.0)
"""The same for half the length of an old haemorrhage, a slit or a ball: larger than a microbleed may be (10 mm)."""
SCAR = (0.4, 1.25)
"""Range of how bright gliosis is: 1.25 is as bright as a WMH (see ``LesionMaps.rim``)."""
CORTICAL_SHARE, DEEP_SHARE = 0.6, 0.15
"""Shares of the old lesions that are cortical and deep infarcts; the rest are haemorrhages. Own choice."""


def draw_old_lesions(maps: LesionMaps, brain: BrainMaps, number: int, rng: np.random.Generator) -> None:
    """Draw old infarcts and haemorrhages over what is there: a cavity of CSF, gliosis around it, iron around old blood.

    No marker is left within their reach. They are not labelled, so that a network learns to leave them out: gliosis around an infarct is
    no WMH, its cavity no lacune, its iron no microbleed.
    """
    for _ in range(number):
        kind = rng.random()
        draw = _cortical_infarct if kind < CORTICAL_SHARE else _deep_infarct if kind < CORTICAL_SHARE + DEEP_SHARE else _haemorrhage
        draw(maps, brain, rng)


def _cortical_infarct(maps: LesionMaps, brain: BrainMaps, rng: np.random.Generator) -> None:
    seeds = ((brain.tissues == Structure.CORTEX) | (brain.tissues == Structure.CEREBELLAR_CORTEX)).astype(np.float32)
    radius_mm = float(np.exp(rng.uniform(*np.log(CORTICAL_RADIUS_MM))))
    _infarct(maps, brain, seeds, radius_mm * np.exp(rng.normal(0, 0.25, 3)), CORTICAL_RIM_MM, rng)


def _deep_infarct(maps: LesionMaps, brain: BrainMaps, rng: np.random.Generator) -> None:
    seeds = np.isin(brain.tissues, (Structure.PUTAMEN, Structure.CAUDATE, Structure.THALAMUS)).astype(np.float32)
    radii_mm = rng.uniform(*DEEP_RADIUS_MM) * np.array([1.0, rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.8)])
    _infarct(maps, brain, seeds, radii_mm, DEEP_RIM_MM, rng)


def _infarct(
    maps: LesionMaps,
    brain: BrainMaps,
    seeds: FloatMap,
    radii_mm: NDArray[np.float64],
    rim_range_mm: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """A ragged blob: tissue is lost in its middle, wholly or in part, and scarred around."""
    rim_mm = float(rng.uniform(*rim_range_mm))
    lost = float(rng.uniform(0.5, 1.0)) if rng.random() < 0.75 else float(rng.uniform(0.0, 0.5))
    scar = float(rng.uniform(*SCAR))

    def change(box: tuple[slice, ...], depth_mm: FloatMap, tissue: NDArray[np.bool_]) -> None:
        whole = sigmoid(depth_mm / np.float32(0.4)) * tissue
        core = sigmoid((depth_mm - np.float32(rim_mm)) / np.float32(0.5)) * tissue * np.float32(lost)
        _scar(maps, box, whole * np.float32(scar))
        maps.pocket[box] = np.maximum(maps.pocket[box], core)

    _change_blob(maps, brain, seeds, radii_mm, 0.3, rng, change)


def _haemorrhage(maps: LesionMaps, brain: BrainMaps, rng: np.random.Generator) -> None:
    seeds = np.isin(brain.tissues, (Structure.PUTAMEN, Structure.THALAMUS, Structure.WHITE_MATTER)).astype(np.float32)
    seeds += brain.tissues == Structure.PUTAMEN
    radii_mm = rng.uniform(*HAEMORRHAGE_MM) * np.array([1.0, rng.uniform(0.3, 1.0), rng.uniform(0.15, 0.6)])
    iron_mm, scar_mm = float(rng.uniform(1.0, 4.0)), float(rng.uniform(0.0, 3.0))
    lost, scar, iron = float(rng.uniform(0.0, 1.0)), float(rng.uniform(*SCAR)), float(rng.uniform(0.6, 1.0))

    def change(box: tuple[slice, ...], depth_mm: FloatMap, tissue: NDArray[np.bool_]) -> None:
        whole = sigmoid(depth_mm / np.float32(0.4)) * tissue
        inner = sigmoid((depth_mm - np.float32(scar_mm)) / np.float32(0.4)) * tissue
        core = sigmoid((depth_mm - np.float32(scar_mm + iron_mm)) / np.float32(0.4)) * tissue
        _scar(maps, box, whole * np.float32(scar))
        maps.dark[box] = np.maximum(maps.dark[box], (inner - core) * np.float32(iron))
        maps.pocket[box] = np.maximum(maps.pocket[box], core * np.float32(lost))

    _change_blob(maps, brain, seeds, np.maximum(radii_mm, 2.5), 0.2, rng, change)


def _change_blob(
    maps: LesionMaps,
    brain: BrainMaps,
    seeds: FloatMap,
    radii_mm: NDArray[np.float64],
    roughness: float,
    rng: np.random.Generator,
    change: Callable[[tuple[slice, ...], FloatMap, NDArray[np.bool_]], None],
) -> None:
    """Take a place, clear it of markers, and hand over the depth below the blob's surface and which voxels are tissue."""
    places = pick_voxels(seeds, 1, rng)
    if not len(places):
        return
    at, reach = places[0], int(np.ceil(1.6 * radii_mm.max())) + 3
    low = np.maximum(at - reach, 0)
    box = tuple(slice(a, b) for a, b in zip(low, np.minimum(at + reach + 1, brain.codes.shape), strict=True))
    points = np.indices(brain.codes[box].shape, np.float32) + (low - at).astype(np.float32).reshape(3, 1, 1, 1)
    scaled = np.tensordot(random_axes(rng).astype(np.float32), points, 1) / radii_mm.astype(np.float32).reshape(3, 1, 1, 1)
    mean_mm = float(np.prod(radii_mm) ** (1 / 3))
    shape = brain.codes[box].shape
    ragged = smooth_noise(shape, max(0.8 * mean_mm, 4.0), rng) + 0.4 * smooth_noise(shape, 4.0, rng)
    depth_mm = np.asarray((1 - np.sqrt((scaled**2).sum(0)) + roughness * ragged) * mean_mm, np.float32)
    tissues = brain.tissues[box]
    tissue = brain_structure_mask(tissues) & ~is_fluid(tissues)
    kept = 1 - sigmoid(depth_mm / np.float32(0.4)) * tissue
    for part in (*maps.fraction.values(), maps.strength, maps.black_hole, maps.rim, maps.halo):
        part[box] *= kept
    change(box, depth_mm, tissue)


def _scar(maps: LesionMaps, box: tuple[slice, ...], amount: FloatMap) -> None:
    maps.rim[box] = np.maximum(maps.rim[box], amount)
