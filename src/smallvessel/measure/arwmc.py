"""How far WMH reach in the regions of the scale of age-related white matter changes (ARWMC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import NotAssessed
from ..scales import MARS_REGIONS
from ..shapes import component_boxes, diameter_mm, label_components
from ..structures import Structure
from ..volume import LabelMap
from .regions import CODES, RegionMaps

FOCAL_MM = 5.0
"""Changes from this size on are rated (Wahlund et al. 2001, 10.1161/01.STR.32.6.1318)."""
BAND_MM = 5.0
"""Caps and bands along the ventricles are grade 0; this much of the white matter beside them is taken as such (as in Fazekas 1). Deep grey
matter, which borders on them too, has no bands. Own choice."""
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
_DEEP_GREY = ("basal ganglia", "thalamus")
_OF_GANGLIA = ("basal ganglia", "thalamus", "internal capsule", "external capsule")


@dataclass(frozen=True)
class RegionExtent:
    """WMH in one region of one side.

    Attributes
    ----------
    focal : int
        Lesions of 5 mm or more.
    largest_mm : float
        Diameter of the largest, 0 without any; of what leaves the band along the ventricles at most twice the distance from it.
    share : float
        Of the region that is WMH, 0 to 1.
    """

    focal: int
    largest_mm: float
    share: float


def measure_regions(
    wmh: LabelMap, maps: RegionMaps, lobes: LabelMap, structures: NDArray[np.int32]
) -> Mapping[tuple[str, str], RegionExtent] | NotAssessed:
    """WMH by region and side, without the bands along the lateral ventricles.

    Parameters
    ----------
    wmh : LabelMap
        Lesions 1..n. A lesion that spans regions is rated as a whole in that which holds most of it, and by its part in each other.
    maps : RegionMaps
    lobes : LabelMap
        Names as in :func:`smallvessel.prepare.atlas.find_lobes`.
    structures : ndarray, shape (x, y, z)

    Returns
    -------
    mapping or NotAssessed
        The latter without ventricles, or where a region is not there at all.
    """
    if not (structures == Structure.LATERAL_VENTRICLE).any():
        return NotAssessed("no lateral ventricles were found")
    code = {region: number for number, region in enumerate(ARWMC_REGIONS, 1)}
    region = np.zeros(lobes.data.shape, np.uint8)
    for lobe, name in lobes.names.items():
        region[lobes.data == lobe] = code[_OF_LOBE[name]]
    region[np.isin(maps.mars, [CODES[name] for name in _OF_GANGLIA])] = code[GANGLIA]
    region[np.isin(maps.mars, [CODES[name] for name, group in MARS_REGIONS.items() if group == "infratentorial"])] = code["infratentorial"]
    white = np.isin(structures, (Structure.WHITE_MATTER, Structure.CEREBELLAR_WHITE, Structure.BRAINSTEM))
    places = [(name, side) for name in ARWMC_REGIONS for side in SIDES]
    at = np.where(region > 0, 2 * region.astype(np.int8) - 1 + maps.right, 0)  # 1 + place in places; 0 where no region is
    tissue_vox = np.bincount(at[white | (region == code[GANGLIA])], minlength=1 + len(places))
    empty = [f"{name} {side}" for number, (name, side) in enumerate(places, 1) if not tissue_vox[number]]
    if empty:
        return NotAssessed(f"not in the images: {', '.join(empty)}")
    grey = np.isin(maps.mars, [CODES[name] for name in _DEEP_GREY])
    band = (maps.ventricle_mm <= BAND_MM) & (region != code["infratentorial"]) & ~grey
    lesions = (wmh.data > 0) & ~band
    of_band = np.isin(wmh.data, np.unique(wmh.data[band & (wmh.data > 0)])) & lesions
    beyond_mm = np.where(of_band & ~grey, maps.ventricle_mm - BAND_MM, np.inf)
    sizes_mm: dict[int, list[float]] = {number: [] for number in range(1, 1 + len(places))}
    labels, _ = label_components(lesions)
    for label, box in component_boxes(labels, 0):
        inside = labels[box] == label
        shares = np.bincount(at[box][inside], minlength=1 + len(places))[1:]
        home = int(shares.argmax()) + 1
        for number in np.flatnonzero(shares) + 1:
            part = inside if number == home else inside & (at[box] == number)
            # the outermost layer of a thick band is no large lesion: what leaves the band is as large as it is far from it, to both sides
            sizes_mm[number].append(min(diameter_mm(np.argwhere(part), wmh.grid), 2 * float(beyond_mm[box][part].max())))
    wmh_vox = np.bincount(at[lesions], minlength=1 + len(places))
    return {
        place: RegionExtent(
            sum(size_mm >= FOCAL_MM for size_mm in sizes_mm[number]),
            max(sizes_mm[number], default=0.0),
            min(float(wmh_vox[number] / tissue_vox[number]), 1.0),
        )
        for number, place in enumerate(places, 1)
    }
