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
    centre to centre, of a voxel of it to which that is the nearest: n voxels of WMH on a flat wall are n voxels thick. More WMH never
    make a rim thinner. What hangs on a rim without being reached straight (a lesion of the deep white matter that a narrow
    bridge joins to the ventricles) is a lesion of its own.

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
    rim = touching.copy()
    rim[touching] = _reached_straight(wmh.data > 0, voxels[touching], wall[nearest[touching]], distance_mm[touching], settings.rim_mm)
    thickness_mm = np.zeros(len(wall))
    np.maximum.at(thickness_mm, nearest[rim], distance_mm[rim])
    rim_mm, stretch = _thickness_over(wall, thickness_mm, float(np.prod(step_mm)) ** (2 / 3))
    of_stretch = label[rim & stretch[nearest]]
    return WmhExtent(
        touches=bool(touching.any()),
        rim_mm=rim_mm,
        covered=float((thickness_mm > 0).mean()),
        thickest_mm=float(thickness_mm.max()),
        touching=tuple(int(one) for one in np.unique(label[touching])),
        rim_lesion=int(np.bincount(of_stretch).argmax()) if len(of_stretch) else 0,
        deep=_deep_parts(voxels, label, distance_mm, touching, rim, grid, settings),
    )


def _reached_straight(
    wmh: NDArray[np.bool_], voxels: NDArray[np.int64], feet: NDArray[np.int64], distance_mm: NDArray[np.float64], gap_mm: float
) -> NDArray[np.bool_]:
    """Which voxels of WMH are joined to their nearest voxel of the wall by WMH all along the straight line, from ``gap_mm`` off it.

    The line may pass one voxel beside WMH, since their border is a staircase.
    """
    near = ndimage.binary_dilation(wmh)
    straight = np.ones(len(voxels), bool)
    for at_mm in np.arange(gap_mm, distance_mm.max(initial=0.0), 1.0):
        on = np.flatnonzero(straight & (distance_mm > at_mm))
        between = feet[on] + (voxels[on] - feet[on]) * (at_mm / distance_mm[on])[:, None]
        straight[on] = near[tuple(np.rint(between).astype(np.int64).T)]
    return straight


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


def _deep_parts(
    voxels: NDArray[np.int64],
    label: NDArray[np.int32],
    distance_mm: NDArray[np.float64],
    touching: NDArray[np.bool_],
    rim: NDArray[np.bool_],
    grid: Grid,
    settings: MeasureSettings,
) -> dict[int, float]:
    """Lesion to the largest diameter of a deep part, the largest first.

    What hangs on a rim is a part of its own if it goes further than ``rim_mm`` from it, with what of the rim is as near to it, so that a
    narrow bridge does not cut it in two; a fringe that does not is rim.
    """
    step_mm = settled_spacing_mm(grid)
    number = np.zeros(grid.shape, np.int32)
    number[tuple(voxels.T)] = np.arange(1, len(voxels) + 1)

    def parts(which: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], float]]:
        mask = np.zeros(grid.shape, bool)
        mask[tuple(voxels[which].T)] = True
        for index, diameter in _parts(mask, grid):
            yield number[index] - 1, diameter

    found: dict[int, float] = {}

    def note(part: NDArray[np.int64], diameter: float) -> None:
        of = int(np.bincount(label[part]).argmax())
        found[of] = max(found.get(of, 0.0), diameter)

    fringe, hanging = rim.copy(), np.zeros_like(rim)
    to_rim_mm = _distance_to_mm(voxels, rim, step_mm)
    for part, _ in parts(~rim):
        within = touching[part].any() and to_rim_mm[part].max() <= settings.rim_mm
        (fringe if within else hanging)[part] = True
    bridges = rim & (distance_mm > settings.rim_mm) & (_distance_to_mm(voxels, hanging & touching, step_mm) <= settings.rim_mm)
    for part, diameter in parts(hanging | bridges):
        note(part, diameter)
    for part, diameter in parts(fringe & (distance_mm > settings.reach_mm)):
        note(part, min(diameter, 2 * float(distance_mm[part].max() - settings.reach_mm)))
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _parts(mask: NDArray[np.bool_], grid: Grid) -> Iterator[tuple[tuple[NDArray[np.int64], ...], float]]:
    """Index and diameter in mm of every component."""
    labels, _ = label_components(mask)
    for label, box in component_boxes(labels, 0):
        voxels = np.argwhere(labels[box] == label) + [side.start for side in box]
        yield tuple(voxels.T), diameter_mm(voxels, grid)


def _distance_to_mm(voxels: NDArray[np.int64], some: NDArray[np.bool_], step_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every voxel from the nearest of some of them; infinite without any."""
    if not some.any():
        return np.full(len(voxels), np.inf)
    return np.asarray(cKDTree(voxels[some] * step_mm).query(voxels * step_mm)[0])


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
