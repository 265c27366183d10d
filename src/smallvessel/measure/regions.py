"""Where a lesion lies: region maps made once per session from the anatomy, and the rules that divide WMH.

Distances are from voxel centre to voxel centre. Limits without a citation are our own choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..config import MeasureSettings, PeriventricularRule
from ..markers import Marker
from ..records import Anatomy
from ..scales import MARS_REGIONS
from ..shapes import Box, distance_mm, grow, midline_plane_mm, place, plane_distance_mm, small_components, widen
from ..structures import Structure
from ..volume import Grid

LACUNE_GROUPS = MARS_REGIONS | {"deep and periventricular white matter": "lobar", "corpus callosum": "lobar"}
"""Lacunes of the centrum semiovale are lobar (Pasi et al. 2017, 10.1212/WNL.0000000000004007, as Tsai et al. 2018, PMC5971000, use it;
the former was not read); microbleeds there are deep by MARS."""
CODES = {name: code for code, name in enumerate(MARS_REGIONS, start=1)}
NAMES = ("unknown", *MARS_REGIONS)

EPVS_REGIONS = ("basal ganglia", "centrum semiovale", "midbrain", "hippocampus", "other")
"""Potter et al. 2015 (PMC4386144) rate the first three. Basal ganglia with thalamus and capsules; centrum semiovale with
all other white matter of the hemispheres."""
_EPVS_OF_MARS = {
    "basal ganglia": "basal ganglia",
    "thalamus": "basal ganglia",
    "internal capsule": "basal ganglia",
    "external capsule": "basal ganglia",
    "brainstem": "other",
    "cerebellum": "other",
}

CAPSULE_GAP_MM = 10.0
"""Internal capsule: white matter whose distances to the lentiform nucleus and to thalamus or caudate sum to at most this."""
EXTERNAL_CAPSULE_MM = 5.0
"""External capsule (with claustrum and extreme capsule): white matter this near to the putamen, lateral of it (within 60 degrees)."""
LATERAL_COSINE = 0.5
CALLOSUM_MIDLINE_MM = 6.0
CALLOSUM_VENTRICLE_MM = 12.0
"""Corpus callosum: white matter this near to the midline and to the lateral ventricles."""
SUBCORTICAL_MM = 5.0
"""White matter within it of the cortex belongs to its lobe, as in FreeSurfer's wmparc (Salat et al. 2009,
NeuroImage 44:1247; recalled, not read), unless the lateral ventricle is nearer; the rest is deep white matter."""
PERIVENTRICULAR_MM = 10.0
"""White matter within it of the lateral ventricles, and nearer to them than to the cortex, is periventricular."""
MIDBRAIN_MNI_Z_MM = (-21.0, -5.0)
"""The midbrain lies between pons and thalamus, at these MNI heights (read off anatomy, good to a few mm). Ventral diencephalon below
the upper limit (substantia nigra, red nucleus) is midbrain; above it (subthalamus, hypothalamus) it counts with the thalamus."""
CORTEX_ISLAND_MM3 = 2000.0
"""Pieces of cortex smaller than this and apart from all other cortex are lesions or errors, and have no region of their own."""
SEARCH_VOX = (2, 4, 8, 16)
"""How far around a lesion in unnamed voxels (CSF, ventricle) its region is sought, in steps."""
CONFLUENT = "confluent"
"""A WMH that touches the ventricles and leaves their surroundings: it has a number, while its volume is divided."""
SIDE_SHARE = 0.75
"""A lesion with at least this share of its voxels in one hemisphere lies on that side, else on the midline."""


@dataclass(frozen=True, eq=False)
class RegionMaps:
    """The maps from which lesions get their regions, on the analysis grid.

    Attributes
    ----------
    mars : ndarray of uint8
        Codes of :data:`MARS_REGIONS`, 0 where unknown.
    epvs : ndarray of uint8
        1 + place in :data:`EPVS_REGIONS`, 0 where unknown.
    ventricle_mm : ndarray of float32
        Distance from the lateral ventricles; ``inf`` far away.
    right : ndarray of bool
    """

    mars: NDArray[np.uint8]
    epvs: NDArray[np.uint8]
    ventricle_mm: NDArray[np.float32]
    right: NDArray[np.bool_]

    @cached_property
    def ventricles(self) -> bool:
        """Whether there are lateral ventricles."""
        return bool(np.isfinite(self.ventricle_mm).any())


def map_regions(anatomy: Anatomy, settings: MeasureSettings) -> RegionMaps:
    """Divide the brain into regions.

    Parameters
    ----------
    anatomy : Anatomy
        All maps on one grid.
    settings : MeasureSettings
        How far distances from the ventricles are needed.
    """
    grid, structures = anatomy.structures.grid, anatomy.structures.data
    reach_mm = max(settings.rim_mm, settings.reach_mm, settings.outer_band_mm, CALLOSUM_VENTRICLE_MM)
    ventricle_mm = distance_mm(structures == Structure.LATERAL_VENTRICLE, grid.spacing_mm, reach_mm)
    mars = _lobar(anatomy)
    white = structures == Structure.WHITE_MATTER
    cortex = (structures == Structure.CORTEX) & (small_components(structures == Structure.CORTEX, _island_vox(grid)) == 0)
    cortex_mm = distance_mm(cortex, grid.spacing_mm, max(SUBCORTICAL_MM, PERIVENTRICULAR_MM))
    deep = (cortex_mm > SUBCORTICAL_MM) | ((ventricle_mm <= PERIVENTRICULAR_MM) & (ventricle_mm < cortex_mm))
    mars[white & deep] = CODES["deep and periventricular white matter"]
    mars[(structures == Structure.CORTEX) & ~cortex] = 0
    mars[white & (_between_grey_mm(structures, grid) <= CAPSULE_GAP_MM)] = CODES["internal capsule"]
    mars[_external_capsule(anatomy, white)] = CODES["external capsule"]
    mars[white & (np.abs(_midline_mm(anatomy)) <= CALLOSUM_MIDLINE_MM) & (ventricle_mm <= CALLOSUM_VENTRICLE_MM)] = CODES["corpus callosum"]
    for structure, name in (
        (Structure.THALAMUS, "thalamus"),
        (Structure.CAUDATE, "basal ganglia"),
        (Structure.PUTAMEN, "basal ganglia"),
        (Structure.PALLIDUM, "basal ganglia"),
        (Structure.BRAINSTEM, "brainstem"),
        (Structure.CEREBELLAR_WHITE, "cerebellum"),
        (Structure.CEREBELLAR_CORTEX, "cerebellum"),
        (Structure.HIPPOCAMPUS, "temporal"),
        (Structure.AMYGDALA, "temporal"),
    ):
        mars[structures == structure] = CODES[name]
    midbrain = _midbrain(anatomy)
    mars[structures == Structure.VENTRAL_DC] = CODES["thalamus"]
    mars[midbrain] = CODES["brainstem"]
    epvs = np.array([0, *(1 + EPVS_REGIONS.index(_EPVS_OF_MARS.get(name, "centrum semiovale")) for name in MARS_REGIONS)], np.uint8)[mars]
    epvs[structures == Structure.HIPPOCAMPUS] = 1 + EPVS_REGIONS.index("hippocampus")
    epvs[midbrain] = 1 + EPVS_REGIONS.index("midbrain")
    return RegionMaps(mars, epvs, ventricle_mm, anatomy.right.data)


def _island_vox(grid: Grid) -> float:
    return CORTEX_ISLAND_MM3 / grid.voxel_volume_mm3


def _lobar(anatomy: Anatomy) -> NDArray[np.uint8]:
    lobes, names = anatomy.lobes.data, anatomy.lobes.names
    code_of = np.zeros(int(lobes.max(initial=0)) + 1, np.uint8)
    for code, name in names.items():
        if 0 < code < code_of.size:
            code_of[code] = CODES.get(name, 0)
    hemispheres = np.isin(anatomy.structures.data, (Structure.WHITE_MATTER, Structure.CORTEX))
    return np.where(hemispheres, code_of[lobes], np.uint8(0))


def _between_grey_mm(structures: NDArray[np.int32], grid: Grid) -> NDArray[np.float32]:
    lentiform = distance_mm(np.isin(structures, (Structure.PUTAMEN, Structure.PALLIDUM)), grid.spacing_mm, CAPSULE_GAP_MM)
    medial = distance_mm(np.isin(structures, (Structure.THALAMUS, Structure.CAUDATE)), grid.spacing_mm, CAPSULE_GAP_MM)
    return lentiform + medial


def _external_capsule(anatomy: Anatomy, white: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grid, found = anatomy.structures.grid, np.zeros(white.shape, bool)
    putamen = anatomy.structures.data == Structure.PUTAMEN
    nucleus = np.argwhere(putamen)
    near = np.argwhere(white & (distance_mm(putamen, grid.spacing_mm, EXTERNAL_CAPSULE_MM) <= EXTERNAL_CAPSULE_MM))
    if not len(nucleus) or not len(near):
        return found
    nucleus_mm, near_mm = grid.world(nucleus), grid.world(near)
    nearest_mm = nucleus_mm[cKDTree(nucleus_mm).query(near_mm)[1]]
    from_nucleus = anatomy.mni_from_reference(near_mm) - anatomy.mni_from_reference(nearest_mm)
    outward = from_nucleus[:, 0] * np.sign(anatomy.mni_from_reference(nearest_mm)[:, 0])
    lateral = outward >= LATERAL_COSINE * np.linalg.norm(from_nucleus, axis=1)
    found[tuple(near[lateral].T)] = True
    return found


def _midline_mm(anatomy: Anatomy) -> NDArray[np.float32]:
    grid = anatomy.structures.grid
    plane = midline_plane_mm(anatomy.right.data, anatomy.brain.data, grid)
    if plane is None:
        # x = 0 in MNI space
        row = anatomy.mni_from_reference.matrix[0]
        length = float(np.linalg.norm(row[:3]))
        plane = row[:3] / length, -float(row[3]) / length
    return plane_distance_mm(*plane, grid)


def _midbrain(anatomy: Anatomy) -> NDArray[np.bool_]:
    structures, found = anatomy.structures.data, np.zeros(anatomy.structures.data.shape, bool)
    voxels = np.argwhere(np.isin(structures, (Structure.BRAINSTEM, Structure.VENTRAL_DC)))
    height_mm = anatomy.mni_from_reference(anatomy.structures.grid.world(voxels))[:, 2]
    low, high = MIDBRAIN_MNI_Z_MM
    # the brainstem ends at the thalamus, so only the ventral diencephalon needs the upper limit
    inside = (height_mm >= low) & ((height_mm <= high) | (structures[tuple(voxels.T)] == Structure.BRAINSTEM))
    found[tuple(voxels[inside].T)] = True
    return found


def vote(codes: NDArray[np.uint8], box: Box, inside: NDArray[np.bool_]) -> int:
    """The commonest code in a lesion, or around it where most of the lesion has none; the lowest of equals, 0 if none is near.

    Parameters
    ----------
    codes : ndarray of uint8, shape (x, y, z)
        0 is no code.
    box : tuple of slice
    inside : ndarray of bool
        The lesion over ``box``.
    """
    counts = np.bincount(codes[box][inside], minlength=2)
    if 2 * counts[1:].sum() >= counts.sum():
        return int(counts[1:].argmax()) + 1
    for margin in SEARCH_VOX:
        wide = widen(box, margin, codes.shape)
        counts = np.bincount(codes[wide][grow(place(inside, box, wide), margin)], minlength=2)
        if 2 * counts[1:].sum() >= counts[0] or (margin == SEARCH_VOX[-1] and counts[1:].any()):
            return int(counts[1:].argmax()) + 1
    return 0


def side_of(right: NDArray[np.bool_], box: Box, inside: NDArray[np.bool_]) -> str:
    """Hemisphere of a lesion: left, right or midline (:data:`SIDE_SHARE`)."""
    share = float(right[box][inside].mean())
    return "right" if share >= SIDE_SHARE else "left" if share <= 1 - SIDE_SHARE else "midline"


@dataclass(frozen=True)
class Division:
    """How one WMH counts: its class, and its voxels per zone."""

    region: str
    zone_voxels: Mapping[str, int]


def wmh_zones(rule: PeriventricularRule) -> tuple[str, ...]:
    """The zones that divide the volume of WMH."""
    bands = ("juxtaventricular",) if rule is PeriventricularRule.BANDS_3_13 else ()
    return (*bands, "periventricular", "deep", "infratentorial")


def wmh_classes(rule: PeriventricularRule) -> tuple[str, ...]:
    """What a single WMH can be called: a zone, or with the continuity rule "confluent"."""
    return (*wmh_zones(rule), CONFLUENT) if rule is PeriventricularRule.CONTINUITY_3_10 else wmh_zones(rule)


def divide_wmh(ventricle_mm: NDArray[np.float32], infratentorial: bool, settings: MeasureSettings, ventricles: bool = True) -> Division:
    """Call one WMH periventricular, deep, ... by the chosen rule.

    Parameters
    ----------
    ventricle_mm : ndarray, shape (n,)
        Distance of each of its voxels from the lateral ventricles.
    infratentorial : bool
        Whether it lies in brainstem or cerebellum, to which the rules do not apply.
    settings : MeasureSettings
    ventricles : bool
        Whether there are lateral ventricles in the images; without them nothing but the former is known.

    Returns
    -------
    Division
        With the continuity rule, a confluent lesion's voxels are periventricular within the reach and deep beyond it, any
        other lesion belongs to one zone as a whole. With the voxel-wise rules each voxel has its zone, and the lesion is called after the
        zone that holds most of it (the inner one of equals).
    """
    rule, voxels = settings.periventricular_rule, ventricle_mm.size
    if infratentorial:
        return Division("infratentorial", {"infratentorial": voxels})
    if not ventricles:
        return Division("unknown", {"unknown": voxels})
    within_reach = int(np.count_nonzero(ventricle_mm <= settings.reach_mm))
    touches = bool(ventricle_mm.min() <= settings.rim_mm)
    if rule is PeriventricularRule.CONTINUITY_3_10 and touches and within_reach < voxels:
        return Division(CONFLUENT, {"periventricular": within_reach, "deep": voxels - within_reach})
    if rule in (PeriventricularRule.CONTINUITY_3_10, PeriventricularRule.TOUCHING):
        region = "periventricular" if touches else "deep"
        return Division(region, {region: voxels})
    if rule is PeriventricularRule.VOXELWISE_10:
        zones = {"periventricular": within_reach, "deep": voxels - within_reach}
    else:
        inner = int(np.count_nonzero(ventricle_mm <= settings.rim_mm))
        outer = int(np.count_nonzero(ventricle_mm <= settings.outer_band_mm))
        zones = {"juxtaventricular": inner, "periventricular": outer - inner, "deep": voxels - outer}
    return Division(max(zones, key=lambda zone: zones[zone]), zones)


def region_names(marker: Marker) -> tuple[str, ...]:
    """Regions of lacunes, CMB and EPVS."""
    return EPVS_REGIONS if marker is Marker.EPVS else ("lobar", "deep", "infratentorial")


def regions_in_images(marker: Marker, maps: RegionMaps, rule: PeriventricularRule) -> tuple[str, ...]:
    """What a marker's lesions can be counted under here: a region that the images do not reach has no number, which is not 0.

    Without lateral ventricles WMH of the hemispheres are neither periventricular nor deep.
    """
    if marker is Marker.EPVS:
        held = np.bincount(maps.epvs.ravel(), minlength=1 + len(EPVS_REGIONS))
        return tuple(region for code, region in enumerate(EPVS_REGIONS, 1) if held[code] or region == "other")
    held = np.bincount(maps.mars.ravel(), minlength=len(NAMES))
    groups = {group for code, group in enumerate(MARS_REGIONS.values(), 1) if held[code]}
    if marker is not Marker.WMH:
        return tuple(region for region in region_names(marker) if region in groups)
    return tuple(name for name in wmh_classes(rule) if (name in groups if name == "infratentorial" else maps.ventricles))


def region_of(marker: Marker, maps: RegionMaps, box: Box, inside: NDArray[np.bool_]) -> tuple[str, str | None]:
    """Region and MARS region of a lacune, CMB or EPVS ("unknown" and None where the anatomy names nothing within 16 voxels)."""
    if marker is Marker.EPVS:
        code = vote(maps.epvs, box, inside)
        return (EPVS_REGIONS[code - 1] if code else "other"), None
    name = NAMES[vote(maps.mars, box, inside)]
    groups = LACUNE_GROUPS if marker is Marker.LACUNE else MARS_REGIONS
    return groups.get(name, name), (name if name in MARS_REGIONS else None)
