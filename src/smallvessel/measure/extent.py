"""What the visual scales look at: how thick the periventricular rim is, how large deep lesions are, how many spaces a slice has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..config import MeasureSettings
from ..records import Lesion, NotAssessed
from ..shapes import component_boxes, diameter_mm, label_components, settled_spacing_mm
from ..structures import Structure
from ..volume import Grid, LabelMap

RIM_AREA_MM2 = 100.0
"""The rim is as thick as it is over at least so much of the ventricles' wall in one piece: a cap, or a thin stretch, is grade 1 of Fazekas
however far it reaches, and caps at several horns do not add up. Own choice."""
STRAIGHT_SHARE = 0.75
"""A voxel belongs to the rim if so much of the way to the wall is WMH. Own choice."""
GAP_VOX = 2.0
"""How near voxels of the wall are neighbours, of which one between thick ones is thick. Own choice."""
NARROW = 0.1
"""WMH that leave the rim's width through an area of less than this share of their size there (the square of the side of a cube of their
volume) hang on the ventricles by a bridge. Own choice."""
SLAB_MM = 5.0
"""Clinical T2w slices, on which the grades of perivascular spaces were defined, are about this thick. Own choice."""


@dataclass(frozen=True)
class WmhExtent:
    """Geometry of the WMH of the hemispheres' white matter.

    Attributes
    ----------
    touches : bool
        Whether there are WMH at the lateral ventricles.
    rim_mm : float
        Thickness that they reach over ``RIM_AREA_MM2`` of the wall in one piece; 0 where they cover less.
    covered : float
        Share of the ventricles' wall that they cover, 0 to 1.
    thickest_mm : float
        Thickness of the rim where it is thickest, over however little of the wall.
    touching : tuple of int
        Labels of the lesions at the ventricles.
    rim_lesion : int
        The one that makes most of the stretch which ``rim_mm`` is of; 0 without one.
    deep : mapping of int to float
        Lesion to the largest diameter of a deep part of it in mm, the largest first. Of a rim what leaves the settings' reach counts as
        deep, with at most twice the distance by which it leaves it: the outermost layer of a thick halo is no large lesion. Own choice.
    """

    touches: bool
    rim_mm: float
    covered: float
    thickest_mm: float = 0.0
    touching: tuple[int, ...] = ()
    rim_lesion: int = 0
    deep: Mapping[int, float] = field(default_factory=dict)

    @property
    def deep_mm(self) -> float:
        """Largest diameter of a deep WMH, 0 without any."""
        return max(self.deep.values(), default=0.0)


NOWHERE = WmhExtent(False, 0.0, 0.0)


def measure_extent(
    wmh: LabelMap, structures: NDArray[np.int32], elsewhere: NDArray[np.bool_], settings: MeasureSettings
) -> WmhExtent | NotAssessed:
    """Measure rim and deep lesions.

    The rim is what WMH at the ventricles reach straight from the wall. Its thickness at a voxel of the wall is the largest distance,
    centre to centre, of a voxel of it to which that is the nearest: n voxels of WMH on a flat wall are n voxels thick. More WMH do
    not make a rim thinner. What leaves the reach but hangs on the ventricles by a narrow bridge only is deep as a whole; the one
    exception is WMH so large that the rim itself becomes their bridge (a rim of 1 cm2 from 32 mL in one piece on).

    Parameters
    ----------
    wmh : LabelMap
        Lesions 1..n.
    structures, elsewhere : ndarray, shape (x, y, z)
        On the same grid; voxels in the latter (brainstem, cerebellum, deep grey matter) take no part.
    settings : MeasureSettings
        ``rim_mm``: what touches the ventricles; ``reach_mm``: where deep begins.
    """
    grid = wmh.grid
    ventricles = structures == Structure.LATERAL_VENTRICLE
    wall = np.argwhere(ventricles & ~ndimage.binary_erosion(ventricles))
    if not len(wall):
        return NotAssessed("no lateral ventricles were found")
    voxels = np.argwhere((wmh.data > 0) & ~elsewhere)
    if not len(voxels):
        return NOWHERE
    label = wmh.data[tuple(voxels.T)]
    step_mm = settled_spacing_mm(grid)
    to_wall_mm, nearest = (np.asarray(part) for part in cKDTree(wall * step_mm).query(voxels * step_mm))
    distance_mm = np.where(ventricles[tuple(voxels.T)], 0.0, np.round(to_wall_mm, 6))
    closest_mm = np.full(int(label.max()) + 1, np.inf)
    np.minimum.at(closest_mm, label, distance_mm)
    touching = (closest_mm <= settings.rim_mm)[label]
    bridged = _on_a_bridge(voxels, touching, distance_mm, grid, settings)
    rim = touching & ~bridged
    rim[rim] = _reached_straight(wmh.data > 0, voxels[rim], wall[nearest[rim]], distance_mm[rim], settings.rim_mm)
    thickness_mm = np.zeros(len(wall))
    np.maximum.at(thickness_mm, nearest[rim], distance_mm[rim])
    thickness_mm = _close_gaps(thickness_mm, wall)
    rim_mm, stretch = _thickness_over(wall, thickness_mm, float(np.prod(step_mm)) ** (2 / 3))
    of_stretch = label[rim & stretch[nearest]]
    return WmhExtent(
        touches=bool(touching.any()),
        rim_mm=rim_mm,
        covered=float((thickness_mm > 0).mean()),
        thickest_mm=float(thickness_mm.max()),
        touching=tuple(int(one) for one in np.unique(label[touching])),
        rim_lesion=int(np.bincount(of_stretch).argmax()) if len(of_stretch) else 0,
        deep=_deep_parts(voxels, label, distance_mm - settings.reach_mm, touching & ~bridged, grid),
    )


def _reached_straight(
    wmh: NDArray[np.bool_], voxels: NDArray[np.int64], feet: NDArray[np.int64], distance_mm: NDArray[np.float64], gap_mm: float
) -> NDArray[np.bool_]:
    """Which voxels of WMH have WMH on at least ``STRAIGHT_SHARE`` of the straight line to their nearest voxel of the wall.

    The line is followed from ``gap_mm`` off the wall, and may pass one voxel beside WMH, since their border is a staircase.
    """
    near = ndimage.binary_dilation(wmh)
    steps, hits = np.zeros(len(voxels)), np.zeros(len(voxels))
    for at_mm in np.arange(gap_mm, distance_mm.max(initial=0.0), 1.0):
        on = np.flatnonzero(distance_mm > at_mm)
        between = feet[on] + (voxels[on] - feet[on]) * (at_mm / distance_mm[on])[:, None]
        steps[on] += 1
        hits[on] += near[tuple(np.rint(between).astype(np.int64).T)]
    return hits >= STRAIGHT_SHARE * steps


def _close_gaps(thickness_mm: NDArray[np.float64], wall: NDArray[np.int64]) -> NDArray[np.float64]:
    """A closing along the wall: its voxels are a staircase, and what is far off has only their edges for its nearest."""
    one, other = cKDTree(wall).query_pairs(GAP_VOX, output_type="ndarray").T
    wide = thickness_mm.copy()
    np.maximum.at(wide, one, thickness_mm[other])
    np.maximum.at(wide, other, thickness_mm[one])
    closed = wide.copy()
    np.minimum.at(closed, one, wide[other])
    np.minimum.at(closed, other, wide[one])
    return closed


def _thickness_over(wall: NDArray[np.int64], thickness_mm: NDArray[np.float64], face_mm2: float) -> tuple[float, NDArray[np.bool_]]:
    """The thickness that is reached over ``RIM_AREA_MM2`` of the wall in one piece, and which of its voxels that is.

    Voxels of the wall with another one or two between them are of one piece, since on a curved wall not each is the nearest of something.
    """
    number = max(round(RIM_AREA_MM2 / face_mm2), 1)
    low = wall.min(axis=0) - 1
    shape = tuple(wall.max(axis=0) + 2 - low)
    steps_mm = np.unique(thickness_mm[thickness_mm > 0])
    nothing = np.zeros(len(wall), bool)
    found_mm, found, first, last = 0.0, nothing, 0, len(steps_mm) - 1
    while first <= last:
        middle = (first + last) // 2
        thick = thickness_mm >= steps_mm[middle]
        mask = np.zeros(shape, bool)
        mask[tuple((wall[thick] - low).T)] = True
        pieces, _ = label_components(ndimage.binary_dilation(mask, np.ones((3, 3, 3), bool)))
        piece = np.where(thick, pieces[tuple((wall - low).T)], 0)
        sizes = np.bincount(piece)
        sizes[0] = 0
        if sizes.max() >= number:
            found_mm, found, first = float(steps_mm[middle]), piece == sizes.argmax(), middle + 1
        else:
            last = middle - 1
    return found_mm, found


def _on_a_bridge(
    voxels: NDArray[np.int64], touching: NDArray[np.bool_], distance_mm: NDArray[np.float64], grid: Grid, settings: MeasureSettings
) -> NDArray[np.bool_]:
    """Which voxels of WMH that touch the ventricles and leave their reach hang on them by a narrow bridge only."""
    voxel_mm = float(np.prod(settled_spacing_mm(grid))) ** (1 / 3)
    bridged = np.zeros_like(touching)
    for part in _pieces(voxels, touching & (distance_mm > settings.rim_mm), grid):
        neck_mm2 = np.count_nonzero(distance_mm[part] <= settings.rim_mm + voxel_mm) * voxel_mm**2
        narrow = neck_mm2 < NARROW * (len(part) * voxel_mm**3) ** (2 / 3)
        bridged[part] = narrow and distance_mm[part].max() > settings.reach_mm
    return bridged


def _deep_parts(
    voxels: NDArray[np.int64], label: NDArray[np.int32], beyond_mm: NDArray[np.float64], around: NDArray[np.bool_], grid: Grid
) -> dict[int, float]:
    """Lesion to the largest diameter of a deep part, the largest first.

    Parameters
    ----------
    voxels, label : ndarray
        Voxels of WMH and their lesions.
    beyond_mm : ndarray
        How far they lie beyond the reach of the ventricles.
    around : ndarray of bool
        Those of WMH around the ventricles; all others are deep wherever they lie.
    """
    found: dict[int, float] = {}
    for which in (~around, around & (beyond_mm > 0)):
        for part in _pieces(voxels, which, grid):
            size_mm = diameter_mm(voxels[part], grid)
            if around[part[0]]:
                size_mm = min(size_mm, 2 * float(beyond_mm[part].max()))
            of = int(label[part[0]])
            found[of] = max(found.get(of, 0.0), size_mm)
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _pieces(voxels: NDArray[np.int64], which: NDArray[np.bool_], grid: Grid) -> Iterator[NDArray[np.int64]]:
    """Components of some of the voxels, as places in their list."""
    place = np.zeros(grid.shape, np.int32)
    place[tuple(voxels[which].T)] = np.flatnonzero(which) + 1
    labels, _ = label_components(place > 0)
    for label, box in component_boxes(labels, 0):
        yield place[box][labels[box] == label] - 1


@dataclass(frozen=True)
class Slab:
    """An axial slab in one hemisphere.

    Attributes
    ----------
    labels : tuple of int
        Of the lesions that it cuts.
    side : str
        "left" or "right"; empty where no slab cuts any.
    z_mm : float
        Height of its middle in the reference image's world, in the middle of the image.
    """

    labels: tuple[int, ...]
    side: str
    z_mm: float


NO_SLAB = Slab((), "", 0.0)


def find_worst_slab(spaces: LabelMap, lesions: Iterable[Lesion], region: str, slice_mm: float = 1.0) -> Slab:
    """The axial slab of ``SLAB_MM`` and the hemisphere in which it cuts most lesions of a region.

    Parameters
    ----------
    spaces : LabelMap
        On the analysis grid, whose third axis points up.
    lesions : iterable of Lesion
        Those of the same label map.
    region : str
    slice_mm : float
        Height of the acquired voxels. What a thick slice holds is on every analysis voxel of its height already, and a slab that
        cut two of them would count both.
    """
    heights = {label: (box[2].start, box[2].stop) for label, box in component_boxes(spaces.data, 0)}
    voxel_mm = float(spaces.grid.spacing_mm[2])
    slab_vox = max(round((SLAB_MM - max(slice_mm - voxel_mm, 0.0)) / voxel_mm), 1)
    middle = [(n - 1) / 2 for n in spaces.grid.shape[:2]]
    most = NO_SLAB
    for side in ("left", "right"):
        mine = [lesion.label for lesion in lesions if lesion.region == region and lesion.side == side and lesion.label in heights]
        count = np.zeros(spaces.grid.shape[2] + slab_vox, np.int64)
        for label in mine:
            low, high = heights[label]
            count[low : high + slab_vox - 1] += 1  # by the slab's highest slice
        if count.max() > len(most.labels):
            top = int(np.argmax(count))
            cut = tuple(label for label in mine if heights[label][0] <= top < heights[label][1] + slab_vox - 1)
            most = Slab(cut, side, float(spaces.grid.world(np.array([[*middle, top - (slab_vox - 1) / 2]]))[0, 2]))
    return most
