"""A small analytic head for the simulator: balls within balls, 1 mm."""

from __future__ import annotations

from functools import cache

import numpy as np

from smallvessel.simulate.anatomy import RIGHT_BIT, BrainMaps, Head, Tissue, map_brain
from smallvessel.structures import Structure

EDGE = 88


@cache
def small_head() -> Head:
    """Skin, bone, CSF, cortex, white matter, ventricles, thalami and putamina, 88 mm across."""
    x, y, z = (axis - EDGE / 2 + 0.5 for axis in np.indices((EDGE,) * 3))
    radius = np.sqrt(x**2 + y**2 + z**2)
    tissues = np.zeros((EDGE,) * 3, np.uint8)
    for limit, code in (
        (42, Tissue.SKIN),
        (40, Tissue.COMPACT_BONE),
        (37, Structure.CSF),
        (35, Structure.CORTEX),
        (31, Structure.WHITE_MATTER),
    ):
        tissues[radius < limit] = code
    tissues[((np.abs(x) - 4) / 3) ** 2 + (y / 14) ** 2 + ((z - 4) / 5) ** 2 < 1] = Structure.LATERAL_VENTRICLE
    tissues[((np.abs(x) - 8) / 4) ** 2 + (y / 6) ** 2 + ((z + 7) / 4) ** 2 < 1] = Structure.THALAMUS
    tissues[((np.abs(x) - 18) / 3) ** 2 + (y / 8) ** 2 + ((z + 5) / 6) ** 2 < 1] = Structure.PUTAMEN
    return Head((tissues + np.uint8(RIGHT_BIT) * (x > 0)).astype(np.uint8))


@cache
def small_brain() -> BrainMaps:
    """The same head's brain."""
    return map_brain(small_head())
