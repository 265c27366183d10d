"""How far WMH reach in the regions of the scale of age-related white matter changes (ARWMC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scales import MARS_REGIONS
from ..shapes import component_boxes, diameter_mm, label_components
from ..structures import Structure
from ..volume import Grid, LabelMap
from .regions import CODES, RegionMaps

FOCAL_MM = 5.0
"""Changes from this size on are rated (Wahlund et al. 2001, 10.1161/01.STR.32.6.1318)."""
BAND_MM = 5.0
"""Caps and bands along the ventricles are grade 0; this much of what touches them is taken as such (as in Fazekas 1). Own choice."""
WHITE_REGIONS = ("frontal", "parieto-occipital", "temporal", "infratentorial")
GANGLIA = "basal ganglia"
ARWMC_REGIONS = (*WHITE_REGIONS, GANGLIA)
SIDES = ("left", "right")
_OF_LOBE = {
    "frontal": "frontal",
    "parietal": "parieto-occipital",
    "occipital": "parieto-occipital",
    "temporal": "temporal",
    "insula": GANGLIA,
}
_OF_GANGLIA = ("basal ganglia", "thalamus", "internal capsule", "external capsule")


@dataclass(frozen=True)
class RegionExtent:
    """WMH in one region of one side.

    Attributes
    ----------
    focal : int
        Parts of 5 mm or more.
    largest_mm : float
        Diameter of the largest part, 0 without any; of what leaves the band along the ventricles at most twice the distance from it.
    share : float
        Of the region that is WMH, 0 to 1.
    """

    focal: int
    largest_mm: float
    share: float


def measure_regions(
    wmh: LabelMap, maps: RegionMaps, lobes: LabelMap, structures: NDArray[np.int32]
) -> Mapping[tuple[str, str], RegionExtent]:
    """WMH by region and side, without the bands along the lateral ventricles.

    Parameters
    ----------
    wmh : LabelMap
        Lesions 1..n; a lesion that spans regions is rated in each by its part.
    maps : RegionMaps
    lobes : LabelMap
        Names as in :func:`smallvessel.prepare.atlas.find_lobes`.
    structures : ndarray, shape (x, y, z)
    """
    code = {region: number for number, region in enumerate(ARWMC_REGIONS, 1)}
    region = np.zeros(lobes.data.shape, np.uint8)
    for lobe, name in lobes.names.items():
        region[lobes.data == lobe] = code[_OF_LOBE[name]]
    region[np.isin(maps.mars, [CODES[name] for name in _OF_GANGLIA])] = code[GANGLIA]
    region[np.isin(maps.mars, [CODES[name] for name, group in MARS_REGIONS.items() if group == "infratentorial"])] = code["infratentorial"]
    band = (maps.ventricle_mm <= BAND_MM) & (region != code["infratentorial"])
    lesions = (wmh.data > 0) & ~band
    of_band = np.isin(wmh.data, np.unique(wmh.data[band & (wmh.data > 0)])) & lesions
    beyond_mm = np.where(of_band, maps.ventricle_mm - BAND_MM, np.inf)
    tissue = np.isin(structures, (Structure.WHITE_MATTER, Structure.CEREBELLAR_WHITE, Structure.BRAINSTEM)) | (region == code[GANGLIA])
    found = {}
    for side in SIDES:
        half = maps.right if side == "right" else ~maps.right
        for name, number in code.items():
            here = half & (region == number)
            found[name, side] = _measure_part(lesions & here, int(np.count_nonzero(tissue & here)), beyond_mm, wmh.grid)
    return found


def _measure_part(mask: NDArray[np.bool_], tissue_vox: int, beyond_mm: NDArray[np.floating[Any]], grid: Grid) -> RegionExtent:
    labels, _ = label_components(mask)
    sizes_mm = []
    for label, box in component_boxes(labels, 0):
        inside = labels[box] == label
        # the outermost layer of a thick band is no large lesion: what leaves the band is as large as it is far from it, to both sides
        sizes_mm.append(min(diameter_mm(np.argwhere(inside), grid), 2 * float(beyond_mm[box][inside].max())))
    share = min(float(np.count_nonzero(mask)) / tissue_vox, 1.0) if tissue_vox else 0.0
    return RegionExtent(sum(size_mm >= FOCAL_MM for size_mm in sizes_mm), max(sizes_mm, default=0.0), share)
