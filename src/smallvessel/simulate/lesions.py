"""The four markers and their mimics, drawn onto a brain: where they occur in patients, from none to severe.

Every lesion is drawn as a fraction per 1 mm voxel (0 to 1), rendered at 0.5 mm and averaged where it is small. The same
functions fill a whole brain or a patch of one: numbers follow from densities per volume of eligible tissue.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtr, ndtri

from ..markers import Marker, Sequence
from ..structures import Structure
from .anatomy import BrainMaps, Tissue, find_narrow_sulci, near_midline
from .burden import Burden
from .forms import (
    FloatMap,
    bent_path,
    draw_count,
    ellipsoid,
    paint,
    pick_voxels,
    random_axes,
    sigmoid,
    smooth_noise,
    stamp_tube,
    unit_vector,
)
from .lesion_maps import LesionMaps, is_fluid
from .normal import draw_faint, draw_pockets
from .pathology import draw_old_lesions

LACUNE_MM = (3.0, 15.0)
"""Diameter of lacunes (STRIVE-2, 10.1016/S1474-4422(23)00131-X)."""
LACUNE_MEDIAN_MM, LACUNE_LOG_SD = 5.5, 0.5
"""Of the lognormal from which diameters are drawn: one in nine above 10 mm. Own choice; with 5.2 and .4, of which room left hardly any
above 10 mm, a network found lacunes of 12 mm in real images less often than those of 8 mm."""
LACUNE_WIDTH_MM = 2.5
"""Least width of a lacune: small ones are round. Own choice; with cavities of 2 by 4 mm, and perivascular spaces up to 3.5 mm wide, chance
told the two apart: four of six lacunes that a network invented in simulated sessions were such spaces (round 15)."""
LACUNE_SITES = 12
"""Places among which a lacune takes the first that has room for it."""
LACUNE_WALL_MM = 2.0
"""Least distance of a lacune's ellipsoid from the voxels of a ventricle or sulcus: a cavity that opens into them is no lacune to a rater,
since nobody could tell it from them. Own choice; rough walls and half a voxel's shift leave about 1 mm of tissue."""

EPVS_WIDTH_MM = (0.8, 2.8)
"""Range of the width of perivascular spaces: below 3 mm (STRIVE-2)."""

CMB_MM = (2.0, 10.0)
"""Diameter of CMB (STRIVE-2)."""
CMB_MEDIAN_MM, CMB_LOG_SD = 4.0, 0.45
"""Of the lognormal from which diameters are drawn: one in twenty-two above 8 mm. Own choice."""

TURNED_ABOUT = {Sequence.FLAIR: (0,), Sequence.T1W: (0, 1, 2), Sequence.T2W: (2,), Sequence.SWI: (1,)}
"""Axes along which the unevenness is turned to serve as a sequence's own: elsewhere the same field is as good as another one."""
LINING_SHARE = 0.6
"""Share of brains with WMH whose ventricles have, in places, a thin bright lining, which counts as WMH (grade 1 of Fazekas 1987,
10.2214/ajr.149.2.351)."""
VEIN_TAPER = np.array([0.3, 0.8, 1.0, 0.6])
"""Radius along a vein, relative: veins begin thin and leave the picture into larger ones. Short tubes with blunt ends, of which the
simulator's veins once were, cannot be told from microbleeds."""
SULCUS_TISSUE = (0.2, 0.95)
"""Range of the share of cortex in voxels of sulci not wider than two. A label map knows CSF or cortex; on real scans pial surfaces touch,
and with whole voxels of CSF between them the cortex of simulated FLAIRs had .80 to 1.03 of white matter's signal where real ones have 1.02
to 1.14 (T2w 1.18 to 1.84 and 1.19 to 1.33; ten and nine sessions)."""
LARGEST_DEEP_WMH_MM = 9.0
"""Largest mean radius of one deep WMH; larger ones come from several that meet."""
LARGEST_OTHER_WMH_MM = 5.0
"""The same in thalamus, putamen, brainstem and cerebellum."""
PONTINE_RADIUS_MM = (2.5, 8.0)
"""Range, log-uniform, of the mean radius of a hyperintensity in the middle of the brainstem. Own choice: up to most of the pons. A network
that had seen few there, of 4 mm at most, missed a plain one on a real scan (round 15)."""


def _draw_wmh(maps: LesionMaps, brain: BrainMaps, burden: Burden, rng: np.random.Generator) -> None:
    tissues = brain.tissues
    shape = tissues.shape
    white = tissues == Structure.WHITE_MATTER
    ventricle = brain.ventricle_mm.astype(np.float32)
    surface = brain.surface_mm.astype(np.float32)
    fraction = maps.fraction[Marker.WMH]
    if burden.rim_mm > 0:
        # thick at the horns and where small arteries end, thin or absent elsewhere
        patchy = smooth_noise(shape, float(rng.uniform(9, 22)), rng) + 0.4 * smooth_noise(shape, 6.0, rng)
        thickness = burden.rim_mm * np.exp(np.clip(np.float32(rng.uniform(0.6, 1.2)) * patchy, -2.2, 1.1))
        thickness *= _favour_horns(brain, float(rng.uniform(0.2, 0.9)))
        thickness = np.minimum(thickness, 0.9 * (ventricle + surface) * rng.uniform(0.7, 1.1))
        rim = sigmoid((thickness - ventricle + 0.5) / np.float32(rng.uniform(0.35, 0.9))) * white
        thin = (thickness < rng.uniform(1.0, 2.0)) & (ventricle <= 45)
        maps.faint[:] = np.maximum(maps.faint, rim * thin * np.float32(rng.uniform(0.2, 0.6)))
        rim[thin | (ventricle > 45)] = 0
        fraction[:] = np.maximum(fraction, rim)
        maps.strength[:] = np.maximum(maps.strength, rim * np.float32(rng.uniform(0.6, 1.0)) * np.clip(1 + 0.15 * patchy, 0.6, 1.2))
        if rng.random() < LINING_SHARE:  # as thin as a pencil's line, but bright: raters draw it
            lining = sigmoid((np.float32(rng.uniform(1.0, 2.2)) - ventricle) / np.float32(0.3)) * white
            lining *= sigmoid(4 * (smooth_noise(shape, 18.0, rng) + np.float32(rng.uniform(-1.2, 0.8))))
            lining *= ~near_midline(brain)
            fraction[:] = np.maximum(fraction, lining)
            maps.strength[:] = np.maximum(maps.strength, lining * np.float32(rng.uniform(0.5, 1.0)))
    if burden.deep_wmh_per_l > 0:
        weight = (white & (surface > 1)).astype(np.float32) * (
            0.25 + np.exp(-(((ventricle - 9) / 9.0) ** 2)) + 0.5 * np.exp(-(((surface - 4) / 3.0) ** 2))
        )
        weight *= np.exp(0.8 * smooth_noise(shape, 20.0, rng))
        number = draw_count(burden.deep_wmh_per_l, weight, rng)
        largest_mm = float(np.exp(rng.uniform(np.log(3.0), np.log(5.0 + 0.04 * burden.deep_wmh_per_l))))
        for at in pick_voxels(weight, number, rng):
            _deep_wmh(maps, at, rng, white, _draw_radius_mm(min(largest_mm, LARGEST_DEEP_WMH_MM), rng))
        maps.counts[Marker.WMH] = number
        other = np.isin(tissues, (Structure.BRAINSTEM, Structure.THALAMUS, Structure.CEREBELLAR_WHITE, Structure.PUTAMEN))
        weight = other.astype(np.float32)
        for at in pick_voxels(weight, draw_count(0.25 * burden.deep_wmh_per_l, weight, rng), rng):
            _deep_wmh(maps, at, rng, other, _draw_radius_mm(min(largest_mm, LARGEST_OTHER_WMH_MM), rng))
        if rng.random() < burden.pontine:
            stem = tissues == Structure.BRAINSTEM
            for at in pick_voxels((stem & (surface > 3)).astype(np.float32), 1, rng):
                _deep_wmh(maps, at, rng, stem, float(np.exp(rng.uniform(*np.log(PONTINE_RADIUS_MM)))))
    _draw_penumbra(maps, white, rng)


def _favour_horns(brain: BrainMaps, amount: float) -> FloatMap:
    """Factor of the rim's thickness, about 1: more around the ventricles' ends, less on flat walls, little in septum and callosum and
    along the temporal horns.

    Distance from a wall spreads around convex ends: its Laplacian is 2/r at distance r from a tip, 1/r from a tube, 0 from a plane.
    """
    spread = ndimage.gaussian_laplace(brain.ventricle_mm.astype(np.float32), 2.0)
    midline = near_midline(brain)
    temporal = ndimage.uniform_filter(np.isin(brain.tissues, (Structure.HIPPOCAMPUS, Structure.AMYGDALA)).astype(np.float32), 21) > 0.01
    return np.asarray(np.exp(amount * np.clip((spread - 0.12) / 0.08, -1, 1)) * np.where(midline | temporal, 0.35, 1), np.float32)


def _draw_penumbra(maps: LesionMaps, white: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """The faint surroundings of WMH, which raters leave out."""
    around = ndimage.gaussian_filter(maps.strength, float(rng.uniform(1.5, 4.0))) * np.float32(rng.uniform(0.0, 0.9))
    maps.faint[:] = np.maximum(maps.faint, np.minimum(around, 0.5) * white * (1 - maps.fraction[Marker.WMH]))


def _draw_radius_mm(largest_mm: float, rng: np.random.Generator) -> float:
    """Most deep WMH are small, whatever the largest."""
    most = largest_mm if rng.random() < 0.35 else min(3.4, largest_mm)
    return float(np.exp(rng.uniform(np.log(1.2), np.log(most))))


def _deep_wmh(maps: LesionMaps, at: NDArray[np.int64], rng: np.random.Generator, allowed: NDArray[np.bool_], radius_mm: float) -> None:
    radii = radius_mm * np.exp(rng.normal(0, 0.25, 3))
    before = maps.fraction[Marker.WMH]
    reach = float(radii.max()) * 1.5 + 2
    low = np.maximum(np.floor(at - reach).astype(int), 0)
    high = np.minimum(np.ceil(at + reach).astype(int) + 1, before.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    local = np.zeros(tuple(high - low), np.float32)
    paint(
        local,
        at - low.astype(float) + rng.uniform(-0.5, 0.5, 3),
        reach,
        ellipsoid(radii, random_axes(rng), 0.45, rng, float(rng.uniform(0.4, 0.9))),
    )
    local *= ndimage.binary_dilation(allowed[box]) if radius_mm < 3 else allowed[box]
    before[box] = np.maximum(before[box], local)
    maps.strength[box] = np.maximum(maps.strength[box], local * np.float32(rng.uniform(0.6, 1.0)))
    if radius_mm > 2 and rng.random() < 0.3:
        maps.black_hole[box] = np.maximum(maps.black_hole[box], local**2 * np.float32(rng.uniform(0.4, 1.0)))


def _draw_lacunes(maps: LesionMaps, brain: BrainMaps, burden: Burden, rng: np.random.Generator) -> None:
    tissues, surface = brain.tissues, brain.surface_mm
    near = np.exp(-brain.nuclei_mm.astype(np.float32) / 8)
    weight = ((tissues == Structure.WHITE_MATTER) & (surface > 3) & (brain.ventricle_mm > 1)) * (0.25 + near)
    weight += 1.6 * np.isin(tissues, (Structure.PUTAMEN, Structure.CAUDATE, Structure.THALAMUS, Structure.PALLIDUM))
    weight += 0.7 * ((tissues == Structure.BRAINSTEM) & (surface > 2)) + 0.3 * (tissues == Structure.CEREBELLAR_WHITE)
    weight = weight.astype(np.float32)
    fluid = is_fluid(tissues)
    number = draw_count(burden.lacunes_per_l, weight, rng)
    for sites in pick_voxels(weight, number * LACUNE_SITES, rng).reshape(-1, LACUNE_SITES, 3):
        drawn_mm = draw_diameter_mm(LACUNE_MEDIAN_MM, LACUNE_LOG_SD, LACUNE_MM, rng)
        at, diameter = _find_room(fluid, sites, drawn_mm)
        if diameter < LACUNE_MM[0]:
            continue
        radii = np.maximum(diameter * np.array([1.0, rng.uniform(0.65, 1), rng.uniform(0.5, 0.95)]), LACUNE_WIDTH_MM) / 2
        axes = random_axes(rng)
        centre = at + rng.uniform(-0.5, 0.5, 3)
        rough = rng.uniform(0, 0.25)
        paint(maps.fraction[Marker.LACUNE], centre, diameter * 0.75 + 2, ellipsoid(radii, axes, rough, rng, 0.35), 2)
        if rng.random() < 0.75:
            width = rng.uniform(0.8, 2.5)
            paint(maps.rim, centre, diameter * 0.75 + 2 + width, ellipsoid(radii + width, axes, 0.25, rng, 0.7))
        maps.counts[Marker.LACUNE] = maps.counts.get(Marker.LACUNE, 0) + 1


def _find_room(fluid: NDArray[np.bool_], sites: NDArray[np.int64], drawn_mm: float) -> tuple[NDArray[np.int64], float]:
    """The first of the places where a lacune of that diameter keeps its wall, or the roomiest; and the diameter that fits there."""
    best, most_mm = np.zeros(3, np.int64), 0.0
    for at in sites:
        room_mm = 2 * (_distance_to_mm(fluid, at, drawn_mm / 2 + LACUNE_WALL_MM) - LACUNE_WALL_MM)
        if room_mm > most_mm:
            best, most_mm = at, room_mm
        if room_mm >= drawn_mm:
            break
    return best, most_mm


def _distance_to_mm(mask: NDArray[np.bool_], at: NDArray[np.int64], limit_mm: float) -> float:
    """Distance from a voxel's centre to the nearest voxel of a mask; the limit if that is farther away."""
    reach = int(np.ceil(limit_mm))
    low = np.maximum(at - reach, 0)
    found = np.argwhere(mask[tuple(slice(a, b) for a, b in zip(low, at + reach + 1, strict=True))])
    return min(limit_mm, float(np.sqrt(((found + low - at) ** 2).sum(1).min()))) if found.size else limit_mm


def _draw_epvs(maps: LesionMaps, brain: BrainMaps, burden: Burden, rng: np.random.Generator) -> None:
    tissues, surface = brain.tissues, brain.surface_mm
    target = maps.fraction[Marker.EPVS]
    wide = rng.uniform(0.8, 1.25)
    total = 0
    if burden.epvs_nuclei_per_l > 0:
        weight = np.isin(tissues, (Structure.PUTAMEN, Structure.PALLIDUM, Structure.CAUDATE)).astype(np.float32)
        weight += 0.6 * ((tissues == Structure.WHITE_MATTER) & (brain.nuclei_mm <= 3) & (surface > 1)) + 0.2 * (
            tissues == Structure.THALAMUS
        )
        weight *= np.linspace(1.6, 0.7, weight.shape[2], dtype=np.float32)
        number = draw_count(burden.epvs_nuclei_per_l, weight, rng)
        for at in pick_voxels(weight, number, rng):
            # lenticulostriate arteries climb from the base, fanning out to the side
            direction = unit_vector(np.array([rng.normal(0, 0.35), rng.normal(-0.1, 0.35), 1.0]))
            _one_space(target, at, direction, float(np.exp(rng.normal(np.log(5), 0.45))), wide, rng)
        total += number
    if burden.epvs_white_per_l > 0:
        weight = ((tissues == Structure.WHITE_MATTER) & (surface > 1) & (brain.ventricle_mm > 3)).astype(np.float32)
        weight *= np.clip(surface, 0, 8) * np.exp(0.7 * smooth_noise(weight.shape, 25.0, rng))
        number = draw_count(burden.epvs_white_per_l, weight, rng)
        for at in pick_voxels(weight, number, rng):
            direction = _radial(brain, at) + rng.normal(0, 0.25, 3)
            _one_space(target, at, unit_vector(direction), float(np.exp(rng.normal(np.log(7), 0.5))), wide, rng)
        total += number
        weight = np.isin(tissues, (Structure.HIPPOCAMPUS, Structure.VENTRAL_DC, Structure.BRAINSTEM)).astype(np.float32)
        weight[tissues == Structure.BRAINSTEM] = 0.15
        number = draw_count(0.5 * burden.epvs_white_per_l, weight, rng)
        for at in pick_voxels(weight, number, rng):
            _one_space(target, at, unit_vector(rng.normal(size=3)), float(rng.uniform(1.5, 4)), wide, rng)
        total += number
    maps.counts[Marker.EPVS] = total


def _one_space(
    target: FloatMap, at: NDArray[np.int64], direction: NDArray[np.float64], length_mm: float, wide: float, rng: np.random.Generator
) -> None:
    width = float(np.clip(np.exp(rng.normal(np.log(1.45 * wide), 0.32)), *EPVS_WIDTH_MM))
    length = float(np.clip(length_mm, width, 20))
    radii = np.minimum(width / 2 * np.array([0.75, 1.0, 1.0, 0.7]) * np.exp(rng.normal(0, 0.1, 4)), EPVS_WIDTH_MM[1] / 2)
    stamp_tube(target, at + rng.uniform(-0.5, 0.5, 3) + bent_path(direction, length, rng), radii)


def _radial(brain: BrainMaps, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """From the ventricles to the cortex at a voxel: the way medullary vessels run."""
    gradient = np.zeros(3)
    for axis in range(3):
        low, high = at.copy(), at.copy()
        low[axis], high[axis] = max(at[axis] - 3, 0), min(at[axis] + 3, brain.codes.shape[axis] - 1)
        gradient[axis] = float(brain.ventricle_mm[tuple(high)]) - float(brain.ventricle_mm[tuple(low)])
    return unit_vector(gradient + 1e-3)


def draw_diameter_mm(median_mm: float, log_sd: float, bounds_mm: tuple[float, float], rng: np.random.Generator) -> float:
    """From the part of a lognormal within the bounds: cut off, so that none gather at a bound."""
    low, high = ndtr(np.log(np.array(bounds_mm) / median_mm) / log_sd)
    return float(median_mm * np.exp(log_sd * ndtri(rng.uniform(low, high))))


def _draw_cmb(maps: LesionMaps, brain: BrainMaps, burden: Burden, rng: np.random.Generator) -> None:
    tissues, surface = brain.tissues, brain.surface_mm
    lobar = rng.beta(0.8, 0.8)
    deep = np.isin(tissues, (Structure.PUTAMEN, Structure.CAUDATE, Structure.THALAMUS, Structure.PALLIDUM, Structure.BRAINSTEM))
    outer = (tissues == Structure.CORTEX) | ((tissues == Structure.WHITE_MATTER) & (surface <= 6))
    cerebellum = np.isin(tissues, (Structure.CEREBELLAR_WHITE, Structure.CEREBELLAR_CORTEX))
    weight = ((1 - lobar) * 4 * deep + lobar * outer + 0.3 * (tissues == Structure.WHITE_MATTER) + 0.7 * cerebellum).astype(np.float32)
    number = draw_count(burden.cmb_per_l, weight, rng)
    for at in pick_voxels(weight, number, rng):
        diameter = draw_diameter_mm(CMB_MEDIAN_MM, CMB_LOG_SD, CMB_MM, rng)
        radii = np.minimum(diameter / 2 * np.exp(rng.normal(0, 0.1, 3)), CMB_MM[1] / 2)
        centre = at + rng.uniform(-0.5, 0.5, 3)
        paint(maps.fraction[Marker.CMB], centre, diameter * 0.7 + 2, ellipsoid(radii, np.eye(3), 0.15, rng, 0.5), 2)
        if rng.random() < 0.4:  # the dipole's bright lobes above and below
            for sign in (-1, 1):
                shifted = centre + np.array([0, 0, sign * diameter * 0.62])
                paint(maps.halo, shifted, diameter * 0.5 + 1, ellipsoid(radii * 0.5, np.eye(3), 0.0, rng, 0.8))
    maps.counts[Marker.CMB] = number


def _draw_dark_mimics(maps: LesionMaps, brain: BrainMaps, rng: np.random.Generator) -> None:
    """Veins, mineral and calcification: everything that is dark on SWI and no microbleed."""
    tissues, surface = brain.tissues, brain.surface_mm
    dark = maps.dark
    veins = rng.uniform(0.2, 1.0)
    weight = ((tissues == Structure.WHITE_MATTER) & (brain.ventricle_mm < 25)).astype(np.float32)
    for at in pick_voxels(weight, draw_count(260 * veins, weight, rng), rng):
        path = bent_path(unit_vector(_radial(brain, at) + rng.normal(0, 0.3, 3)), float(rng.uniform(12, 30)), rng)
        stamp_tube(dark, at + path, VEIN_TAPER * rng.uniform(0.25, 0.8))
    weight = (((tissues == Structure.CSF) | (tissues == Structure.CORTEX)) & (surface == 0)).astype(np.float32)
    for at in pick_voxels(weight, draw_count(130 * veins, weight, rng), rng):
        radius_mm = float(rng.uniform(0.5, 1.4))
        path = bent_path(unit_vector(rng.normal(size=3)), float(rng.uniform(8, 30)) + 8 * radius_mm, rng)
        stamp_tube(dark, at + path, VEIN_TAPER[::-1] * radius_mm)
    mineral = sigmoid(3 * (smooth_noise(tissues.shape, 6.0, rng) - np.float32(rng.uniform(-0.3, 1.5))))
    share = rng.uniform(0, 0.7)
    dark[:] = np.maximum(dark, share * mineral * np.isin(tissues, (Structure.PALLIDUM,)))
    dark[:] = np.maximum(dark, 0.5 * share * mineral * np.isin(tissues, (Structure.VENTRAL_DC, Structure.PUTAMEN)))
    if rng.random() < 0.5:
        plexus = (tissues == Tissue.CHOROID_PLEXUS).astype(np.float32)
        for at in pick_voxels(plexus, 3 + int(rng.integers(0, 8)) if plexus.any() else 0, rng):
            paint(dark, at.astype(float), 5, ellipsoid(rng.uniform(0.8, 2.6, 3), np.eye(3), 0.2, rng, 0.6))


def draw_lesions(brain: BrainMaps, burden: Burden, rng: np.random.Generator) -> LesionMaps:
    """Draw all lesions and mimics of a brain, or of a patch of one.

    Returns
    -------
    LesionMaps
        Arrays of the brain's shape. Cavities and spaces replace WMH where they meet; nothing grows into ventricles or CSF. Old infarcts
        and haemorrhages replace all of them.
    """
    shape = brain.codes.shape
    empty = [np.zeros(shape, np.float32) for _ in range(11)]
    uneven = 0.9 * smooth_noise(shape, 28.0, rng) + 0.5 * smooth_noise(shape, 9.0, rng)
    strength, black_hole, rim, faint, dark, halo, pocket = empty[4:]
    alone: dict[Sequence, FloatMap] = {sequence: np.flip(uneven, axes) for sequence, axes in TURNED_ABOUT.items()}
    touching = np.float32(rng.uniform(*SULCUS_TISSUE)) * find_narrow_sulci(brain.tissues)
    maps = LesionMaps(
        dict(zip(Marker, empty[:4], strict=True)), strength, black_hole, rim, faint, dark, halo, uneven, alone, touching, pocket
    )
    draw_pockets(maps, brain, rng)
    draw_faint(maps, brain, rng)
    _draw_wmh(maps, brain, burden, rng)
    if burden.lacunes_per_l > 0:
        _draw_lacunes(maps, brain, burden, rng)
    _draw_epvs(maps, brain, burden, rng)
    if burden.cmb_per_l > 0:
        _draw_cmb(maps, brain, burden, rng)
    _draw_dark_mimics(maps, brain, rng)
    tissues = brain.tissues
    fluid = is_fluid(tissues)
    for marker in (Marker.WMH, Marker.LACUNE, Marker.EPVS):
        maps.fraction[marker][fluid] = 0
    maps.fraction[Marker.LACUNE][ndimage.binary_dilation(fluid)] = 0
    maps.rim[fluid] = 0
    maps.fraction[Marker.EPVS] *= 1 - maps.fraction[Marker.LACUNE]
    maps.rim *= 1 - maps.fraction[Marker.LACUNE]
    maps.fraction[Marker.WMH] *= 1 - maps.fraction[Marker.LACUNE]
    draw_old_lesions(maps, brain, burden.old_lesions, rng)
    return maps
