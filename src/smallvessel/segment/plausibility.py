"""What a marker cannot be: rules on where a candidate lies, how large it is, what shape and what signal it has.

The anatomy's borders may be off by 1-2 mm, and it may call the lesion itself something else (a dark lacune CSF, a bright WMH cortex).
So the rules look at what surrounds a candidate, ask for no more than a share of home tissue, and leave out of the count a
misnamed island that the candidate fills. Limits without a citation are our own choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..markers import MARKERS, Marker, Sequence
from ..records import Prepared
from ..shapes import (
    Box,
    component_boxes,
    diameter_mm,
    distance_mm,
    grow,
    label_components,
    midline_plane_mm,
    place,
    plane_distance_mm,
    principal_diameters_mm,
    small_components,
    widen,
)
from ..structures import VENTRICLES, Structure
from ..volume import Grid

SURROUND_VOX = 2
"""A candidate's surroundings: this many voxels (of 1 mm) around it."""

FLUID = (Structure.BACKGROUND, Structure.CSF, *VENTRICLES)
DEEP_TISSUE = (
    Structure.WHITE_MATTER,
    Structure.THALAMUS,
    Structure.CAUDATE,
    Structure.PUTAMEN,
    Structure.PALLIDUM,
    Structure.BRAINSTEM,
    Structure.VENTRAL_DC,
    Structure.CEREBELLAR_WHITE,
)
HOMES: dict[Marker, tuple[Structure, ...]] = {
    Marker.WMH: DEEP_TISSUE,
    Marker.LACUNE: DEEP_TISSUE,
    Marker.EPVS: (*DEEP_TISSUE, Structure.HIPPOCAMPUS, Structure.AMYGDALA),
    Marker.CMB: tuple(structure for structure in Structure if structure not in FLUID),
}
"""Where a marker occurs (STRIVE). A lacune is subcortical, and cysts of the hippocampal sulcus are not lacunes; a CMB may be cortical."""
MIN_HOME_FRACTION = {Marker.WMH: 0.35, Marker.LACUNE: 0.5, Marker.EPVS: 0.25, Marker.CMB: 0.4}
"""Least share of the surroundings (for WMH: of the lesion and its surroundings) that must be home. Low for what lies in thin
gyri or against ventricles by nature, one half for lacunes, whose commonest mimic is a pocket of CSF in a sulcus."""
MIN_OWN_HOME_FRACTION = {Marker.WMH: 0.2, Marker.LACUNE: 0.3, Marker.EPVS: 0.3, Marker.CMB: 0.3}
"""Least share of the candidate itself that must be home: horns of the ventricles are so narrow that their surroundings are white matter.
WMH must miss both shares to be dropped: the anatomy may call a bright lesion cortex, and thin gyri are mostly cortex."""

CAVITY_LIMIT_MM3 = 2000.0
"""Fluid islands up to the volume of a 15 mm ball (1767 mm3) may be a lesion that the anatomy misnamed."""
CORTEX_LIMIT_MM3 = 20000.0
"""Islands of cortex up to this size may be WMH; the cortex of a hemisphere is ten times larger."""
ISLAND_COVERED = 1 / 3
"""Share of a misnamed island that the candidate must fill for the island to be taken as part of the candidate."""

FLUID_DEPTH_VOX = 2
"""WMH voxels deeper than this in ventricles or CSF are cut: choroid plexus, flow artefacts. Borders may be off by as much."""
SEPTUM_REACH_MM = 2.0
"""The septum: what closing the lateral ventricles by this radius fills, within 3 mm of the midline. Bright on FLAIR, never WMH."""
SEPTUM_MIDLINE_MM = 3.0

HYPERINTENSE_SD = 2.0
"""A hyperintensity stands out on FLAIR: by so many standard deviations of the session's own white matter from the mean of the white matter
around. Two, as is usual where white matter lesions are found by threshold. Since the simulator's raters draw no voxel that does not
stand out, the rule hardly changes anything (round 17: nothing on simulated sessions, up to .01 of Dice on real ones); before, it did."""
MAD_TO_SD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation, which lesions that were overlooked hardly change."""
AROUND_MM = 20.0
"""White matter is averaged over cubes that reach so far: wider than lesions, narrower than what is left of the bias field."""

FLAIR_BRIGHT = 1.15
"""A cavity is dark on FLAIR (STRIVE). Above this multiple of the white matter around, a candidate is a T1 black hole or WMH
(real lesions have 1.3-1.4). Compared is the 25th percentile inside, since a small cavity shares its voxels with its bright rim."""
EPVS_IN_WMH = 0.75
"""Share of an EPVS candidate within WMH from which its signal on FLAIR decides; elsewhere thick slices hide it."""

WIDE_MM = 3.0
"""Width that divides lacunes from perivascular spaces (STRIVE: usually < 3 mm); our width is the smallest principal diameter."""
ELONGATED = 2.0
"""Longest over middle principal diameter from which an object is elongated."""
OVOID = 2.0
"""Longest over smallest principal diameter below which an object is ovoid."""
TUBE = 2.5
"""Longest over middle diameter from which a CMB candidate of 5 mm or more is a vessel: MARS counts round or ovoid lesions
only (Gregoire et al. 2009, Neurology 73:1759)."""
TUBE_MIN_MM = 5.0
VEIN_SEARCH_VOX = 8
VEIN = 3.0
VEIN_MIN_MM = 10.0
"""A candidate is part of a vein if the dark structure it belongs to, followed at half its depth, is 10 mm long, 3 times as long as
wide, and the candidate itself at most 1.5 times as wide (a bleed beside a vein bulges out of it)."""
VEIN_BULGE = 1.5
ISOTROPIC_MM = 1.5
"""Slices up to this thickness need no correction of sizes."""
LOWER_TOLERANCE_MM = 0.5
UPPER_TOLERANCE_MM = 1.0
"""Diameters must miss their limits by more than this: on the 1 mm grid a ball of 3.2 mm can measure 2.7 mm, and large objects measure
up to 1 mm too much."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A connected group of voxels that may be a lesion.

    ``box`` reaches at least :data:`SURROUND_VOX` beyond it (unless the array ends); ``inside`` is its mask over the box.
    """

    marker: Marker
    box: Box
    inside: NDArray[np.bool_]

    @property
    def voxels(self) -> NDArray[np.int64]:
        """Indices in the whole array, shape (n, 3)."""
        return np.asarray(np.argwhere(self.inside) + np.array([side.start for side in self.box]))


@dataclass(frozen=True, eq=False)
class Slices:
    """The slices of the sequence on which a marker is drawn: their unit normal in the reference's world, and their spacing.

    A small lesion is drawn one slice thick, or two if it straddles them, whatever its true height: thick slices turn balls into tubes.
    Sizes and shapes are judged without the height that two slices can add.
    """

    normal: NDArray[np.float64]
    spacing_mm: float

    def diameter_mm(self, voxels: NDArray[np.int64], grid: Grid) -> float:
        """Largest diameter within the slices, or the height less what two slices add, if that is more; in 3D for slices up to 1.5 mm."""
        if self.spacing_mm <= ISOTROPIC_MM:
            return diameter_mm(voxels, grid)
        points = grid.world(voxels)
        height = points @ self.normal
        flat = grid.voxels(points - height[:, None] * self.normal)
        voxel_mm = float(grid.spacing_mm.mean())
        return max(diameter_mm(flat, grid), float(np.ptp(height)) + 3 * voxel_mm - 2 * self.spacing_mm)

    def principal_diameters_mm(self, voxels: NDArray[np.int64], grid: Grid) -> NDArray[np.float64]:
        """Diameters of the ellipsoid with the same moments, longest first, the variance that two slices add taken off."""
        voxel_mm = float(grid.spacing_mm.mean())
        added_mm2 = max((2 * self.spacing_mm - voxel_mm) ** 2 - voxel_mm**2, 0.0) / 12.0
        return principal_diameters_mm(voxels, grid, np.asarray(added_mm2 * np.outer(self.normal, self.normal), np.float64))


def slices_of(prepared: Prepared, marker: Marker) -> Slices:
    """The slices of the sequence on which a marker is drawn: of those that show it, the one with the thinnest."""
    steps_mm = []
    for sequence in MARKERS[marker].seen_on:
        if sequence in prepared.images:
            native = prepared.native[sequence]
            steps_mm.append(native.reference_from_native.matrix[:3, :3] @ native.grid.affine[:3, native.grid.slice_axis])
    step_mm = min(steps_mm, key=lambda step: float(np.linalg.norm(step)))
    spacing_mm = float(np.linalg.norm(step_mm))
    return Slices(step_mm / spacing_mm, spacing_mm)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What the rules look at, computed once per session.

    Attributes
    ----------
    structures : ndarray, shape (x, y, z)
    islands : ndarray of int32, shape (x, y, z)
        Small isolated pieces of fluid or cortex, each with its own label.
    island_voxels : ndarray of int, shape (islands + 1,)
    never_wmh : ndarray of bool, shape (x, y, z)
        Deep in fluid, septum, or not bright on FLAIR.
    lesions : ndarray of bool, shape (x, y, z)
        Voxels above any marker's threshold: not a reference for normal signal.
    wmh : ndarray of bool, shape (x, y, z)
        Voxels above the threshold of WMH.
    flair, swi : ndarray or None
    flair_white : float
        Median FLAIR signal of white matter without lesions.
    slices : mapping of Marker to Slices
    """

    grid: Grid
    brain: NDArray[np.bool_]
    structures: NDArray[np.int32]
    islands: NDArray[np.int32]
    island_voxels: NDArray[np.int64]
    never_wmh: NDArray[np.bool_]
    lesions: NDArray[np.bool_]
    wmh: NDArray[np.bool_]
    flair: NDArray[np.float32] | None
    swi: NDArray[np.float32] | None
    flair_white: float
    slices: Mapping[Marker, Slices]


def observe_surroundings(prepared: Prepared, above: Mapping[Marker, NDArray[np.bool_]]) -> Surroundings:
    """Compute what the rules look at; ``above`` are the voxels above the threshold, for the assessable markers."""
    nowhere = np.zeros(prepared.grid.shape, bool)
    lesions = np.logical_or.reduce([nowhere, *above.values()])
    structures = prepared.anatomy.structures.data
    voxel_mm3 = prepared.grid.voxel_volume_mm3
    islands = small_components(np.isin(structures, FLUID), CAVITY_LIMIT_MM3 / voxel_mm3)
    # the third and fourth ventricle are small in health
    islands[np.isin(structures, (Structure.THIRD_VENTRICLE, Structure.FOURTH_VENTRICLE))] = 0
    cortex = small_components(structures == Structure.CORTEX, CORTEX_LIMIT_MM3 / voxel_mm3)
    islands = np.where(cortex > 0, cortex + islands.max(), islands)
    flair = prepared.images[Sequence.FLAIR].data if Sequence.FLAIR in prepared.images else None
    white = (structures == Structure.WHITE_MATTER) & ~lesions
    return Surroundings(
        grid=prepared.grid,
        brain=prepared.anatomy.brain.data,
        structures=structures,
        islands=islands,
        island_voxels=np.bincount(islands.ravel()),
        never_wmh=_never_wmh(prepared) | (_not_bright(flair, white, prepared.grid) if flair is not None else False),
        lesions=lesions,
        wmh=above.get(Marker.WMH, nowhere),
        flair=flair,
        swi=prepared.images[Sequence.SWI].data if Sequence.SWI in prepared.images else None,
        flair_white=float(np.median(flair[white])) if flair is not None and white.any() else 0.0,
        slices={marker: slices_of(prepared, marker) for marker in above},
    )


def _never_wmh(prepared: Prepared) -> NDArray[np.bool_]:
    structures, grid = prepared.anatomy.structures.data, prepared.grid
    fluid = np.isin(structures, (Structure.CSF, *VENTRICLES))
    deep = ~grow(~fluid, FLUID_DEPTH_VOX)
    plane = midline_plane_mm(prepared.anatomy.right.data, prepared.anatomy.brain.data, grid)
    if plane is None:
        return deep
    return deep | (_between_ventricles(structures, grid) & (np.abs(plane_distance_mm(*plane, grid)) <= SEPTUM_MIDLINE_MM))


def _not_bright(flair: NDArray[np.float32], white: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Where FLAIR does not stand out from the white matter around; nowhere, if there is none."""
    width = [2 * round(AROUND_MM / spacing_mm) + 1 for spacing_mm in grid.spacing_mm]
    share = ndimage.uniform_filter(white.astype(np.float32), width, mode="constant")
    total = ndimage.uniform_filter(np.where(white, flair, np.float32(0)), width, mode="constant")
    relative = flair * share / np.maximum(total, np.float32(1e-6))
    usual = relative[white]
    if not usual.size:
        return np.zeros(flair.shape, bool)
    spread = MAD_TO_SD * float(np.median(np.abs(usual - np.median(usual))))
    return np.asarray(relative < 1 + HYPERINTENSE_SD * spread)


def _between_ventricles(structures: NDArray[np.int32], grid: Grid) -> NDArray[np.bool_]:
    found = np.zeros(structures.shape, bool)
    ventricles = (structures == Structure.LATERAL_VENTRICLE).astype(np.int32)
    for _, near in component_boxes(ventricles, int(2 * np.ceil(SEPTUM_REACH_MM / grid.spacing_mm.min()))):
        inside = ventricles[near] > 0
        wider = distance_mm(inside, grid.spacing_mm, SEPTUM_REACH_MM) <= SEPTUM_REACH_MM
        found[near] = (distance_mm(~wider, grid.spacing_mm, SEPTUM_REACH_MM) > SEPTUM_REACH_MM) & ~inside
    return found


def why_implausible(candidate: Candidate, around: Surroundings) -> str | None:
    """The first rule that a candidate breaks, or None."""
    info = MARKERS[candidate.marker]
    slices = around.slices[candidate.marker]
    across_mm = slices.diameter_mm(candidate.voxels, around.grid)
    if info.min_diameter_mm is not None and across_mm < info.min_diameter_mm - LOWER_TOLERANCE_MM:
        return f"less than {info.min_diameter_mm:g} mm across"
    if info.max_diameter_mm is not None and across_mm > info.max_diameter_mm + UPPER_TOLERANCE_MM:
        return f"more than {info.max_diameter_mm:g} mm across"
    around_it, itself = home_fractions(candidate, around)
    misses = (around_it < MIN_HOME_FRACTION[candidate.marker], itself < MIN_OWN_HOME_FRACTION[candidate.marker])
    if all(misses) if candidate.marker is Marker.WMH else any(misses):
        return "in tissue or fluid where the marker does not occur"
    if candidate.marker is Marker.LACUNE and flair_ratio(candidate, around) > FLAIR_BRIGHT:
        return "bright on FLAIR"
    if candidate.marker is Marker.EPVS and _is_spot_in_wmh(candidate, around):
        return "bright on FLAIR"
    if candidate.marker is Marker.CMB and (is_tube(candidate.voxels, around.grid, slices) or continues_as_vein(candidate, around)):
        return "shaped like a vessel"
    return None


def home_fractions(candidate: Candidate, around: Surroundings) -> tuple[float, float]:
    """Shares of a candidate's surroundings, and of itself, that are tissue in which the marker occurs; 1 where nothing is left to judge."""
    islands = around.islands[candidate.box]
    filled = np.bincount(islands[candidate.inside], minlength=around.island_voxels.size) >= ISLAND_COVERED * around.island_voxels
    filled[0] = False
    judged = ~filled[islands]
    home = np.isin(around.structures[candidate.box], HOMES[candidate.marker])
    surroundings = grow(candidate.inside, SURROUND_VOX) & judged
    if candidate.marker is not Marker.WMH:
        surroundings &= ~candidate.inside
    around_it, itself = home[surroundings], home[candidate.inside & judged]
    return float(around_it.mean()) if around_it.size else 1.0, float(itself.mean()) if itself.size else 1.0


def flair_ratio(candidate: Candidate, around: Surroundings) -> float:
    """25th percentile of FLAIR inside, divided by the median of the white matter within 8 mm (of all, if that is too little)."""
    if around.flair is None or around.flair_white <= 0:
        return 0.0
    box = widen(candidate.box, 6, around.structures.shape)
    white = around.flair[box][(around.structures[box] == Structure.WHITE_MATTER) & ~around.lesions[box]]
    reference = float(np.median(white)) if white.size >= 100 else around.flair_white
    return float(np.percentile(around.flair[candidate.box][candidate.inside], 25)) / max(reference, 1e-6)


def is_elongated(voxels: NDArray[np.int64], grid: Grid, slices: Slices) -> bool:
    """Long and thinner than 3 mm: the shape of a perivascular space."""
    longest, middle, smallest = slices.principal_diameters_mm(voxels, grid)
    return bool(smallest < WIDE_MM and longest >= ELONGATED * middle)


def is_ovoid_cavity(voxels: NDArray[np.int64], grid: Grid, slices: Slices) -> bool:
    """At least 3 mm wide and round or ovoid: the shape of a lacune."""
    longest, _, smallest = slices.principal_diameters_mm(voxels, grid)
    return bool(smallest >= WIDE_MM and longest < OVOID * smallest)


def is_tube(voxels: NDArray[np.int64], grid: Grid, slices: Slices) -> bool:
    """Long beyond what a microbleed is."""
    longest, middle, _ = slices.principal_diameters_mm(voxels, grid)
    return bool(longest >= TUBE_MIN_MM and longest >= TUBE * middle)


def continues_as_vein(candidate: Candidate, around: Surroundings) -> bool:
    """Whether the dark structure that a candidate belongs to goes on as a tube."""
    if around.swi is None:
        return False
    box = widen(candidate.box, VEIN_SEARCH_VOX - SURROUND_VOX, around.structures.shape)
    inside = place(candidate.inside, candidate.box, box)
    swi, brain = around.swi[box], around.brain[box]
    core, background = float(swi[inside].min()), float(np.median(swi[brain & ~inside])) if (brain & ~inside).any() else 0.0
    if background <= core:
        return False
    labels, _ = label_components((brain & (swi < (core + background) / 2)) | inside)
    structure, slices = np.argwhere(labels == labels[inside][0]), around.slices[candidate.marker]
    longest, middle, _ = slices.principal_diameters_mm(structure, around.grid)
    own_width = slices.principal_diameters_mm(np.argwhere(inside), around.grid)[1]
    return bool(longest >= VEIN_MIN_MM and longest >= VEIN * middle and own_width <= VEIN_BULGE * middle)


def _is_spot_in_wmh(candidate: Candidate, around: Surroundings) -> bool:
    in_wmh = around.wmh[candidate.box][candidate.inside].mean()
    return bool(in_wmh >= EPVS_IN_WMH) and flair_ratio(candidate, around) > FLAIR_BRIGHT
