"""What is normal and resembles a marker: faint white matter, bright linings, fluid in sulci deeper than a label map knows."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..structures import Structure
from .anatomy import BrainMaps, near_midline
from .forms import sigmoid, smooth_noise
from .lesion_maps import LesionMaps

POCKETS_MM = 2
"""How far from the cortex CSF of sulci reaches into what the label map calls white matter. Own choice: of 74 perivascular spaces that a
network found on real scans (round 16) seven were bottoms of sulci and three lay beside the third ventricle."""


def draw_faint(maps: LesionMaps, brain: BrainMaps, rng: np.random.Generator) -> None:
    """Diffuse brightening of normal or dirty white matter, and the thin bright lining of the ventricles."""
    tissues = brain.tissues
    white = tissues == Structure.WHITE_MATTER
    ventricle = brain.ventricle_mm.astype(np.float32)
    if rng.random() < 0.6:
        broad = np.exp(-ventricle / np.float32(rng.uniform(6, 18))) * np.clip(0.5 + 0.5 * smooth_noise(tissues.shape, 25.0, rng), 0, 1.5)
        maps.faint[:] = broad * white * np.float32(rng.uniform(0.05, 0.45))
    if rng.random() < 0.75:
        lining = sigmoid((np.float32(rng.uniform(0.8, 2.4)) - ventricle) / np.float32(0.3)) * white
        maps.faint[:] = np.maximum(maps.faint, lining * np.float32(rng.uniform(0.1, 0.6)))
    if rng.random() < 0.7:  # septum and fornix, which are brighter on FLAIR than other white matter and no WMH
        middle = near_midline(brain) & white & (ventricle < 7)
        maps.faint[:] = np.maximum(maps.faint, middle * np.float32(rng.uniform(0.1, 0.8)))
    if rng.random() < 0.5:  # sheets along the ventricles, as the optic radiation
        band = np.exp(-(((ventricle - rng.uniform(2, 12)) / rng.uniform(1.5, 4)) ** 2)).astype(np.float32)
        band *= np.clip(smooth_noise(tissues.shape, 25.0, rng), 0, 1.2) * white
        maps.faint[:] = np.maximum(maps.faint, band * np.float32(rng.uniform(0.1, 0.45)))
    if rng.random() < 0.5:  # broad patches, as in the internal capsule and the terminal zones
        patches = np.clip(smooth_noise(tissues.shape, float(rng.uniform(8, 20)), rng) - 0.7, 0, 1) * white
        maps.faint[:] = np.maximum(maps.faint, patches * np.float32(rng.uniform(0.1, 0.45)))
    cortex = (tissues == Structure.CORTEX) | (tissues == Structure.HIPPOCAMPUS) | (tissues == Structure.AMYGDALA)
    if rng.random() < 0.5:
        maps.faint[:] = np.maximum(
            maps.faint, cortex * np.clip(smooth_noise(tissues.shape, 18.0, rng), 0, 1.5) * np.float32(rng.uniform(0, 0.3))
        )


def draw_pockets(maps: LesionMaps, brain: BrainMaps, rng: np.random.Generator) -> None:
    """CSF inside the label map's cortex and in tissue near it or near the third ventricle, since these reach deeper than the map knows.

    Where one smooth field is zero there is a sheet, where two are zero a thread.
    """
    tissues = brain.tissues
    open_to = np.isin(tissues, (Structure.CORTEX, Structure.CEREBELLAR_CORTEX))
    open_to |= (tissues == Structure.WHITE_MATTER) & (brain.surface_mm <= POCKETS_MM)
    third = ndimage.binary_dilation(tissues == Structure.THIRD_VENTRICLE, iterations=POCKETS_MM)
    open_to |= third & np.isin(tissues, (Structure.WHITE_MATTER, Structure.THALAMUS, Structure.VENTRAL_DC))
    first, second = (smooth_noise(open_to.shape, float(rng.uniform(4, 8)), rng) for _ in range(2))
    where = np.clip(0.3 + smooth_noise(open_to.shape, 18.0, rng), 0, 1) * open_to
    thread = np.exp(-(first**2 + second**2) / np.float32(rng.uniform(0.15, 0.35) ** 2))
    sheet = np.exp(-(first**2) / np.float32(rng.uniform(0.1, 0.3) ** 2)) * np.float32(rng.uniform(0, 0.6))
    maps.pocket[:] = np.maximum(thread * np.float32(rng.uniform(0.4, 1.0)), sheet) * where
