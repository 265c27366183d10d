"""What the visual scales look at: how thick the periventricular rim is, how large deep lesions are, how many spaces a slice has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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
"""The rim is as thick as it is over at least so much of the ventricles' wall: a cap, or a thin stretch, is grade 1 of Fazekas however far
it reaches. Own choice."""
SLAB_MM = 5.0
"""Clinical T2w slices, on which the grades of perivascular spaces were defined, are about this thick. Own choice."""


@dataclass(frozen=True)
class WmhExtent:
    """Geometry of the WMH of the hemispheres.

    Attributes
    ----------
    touches : bool
        Whether there are WMH at the lateral ventricles.
    rim_mm : float
        Thickness that they reach over ``RIM_AREA_MM2`` of the wall; 0 where they cover less.
    covered : float
        Share of the ventricles' wall that they cover, 0 to 1.
    deep_mm : float
        Largest diameter of a deep WMH, 0 without any. Of those that touch the ventricles, what the settings' reach leaves counts as deep,
        with at most twice the distance by which it leaves the reach: the outermost layer of a thick halo is no large lesion. Own choice.
    touching, largest_deep : tuple of int
        Labels of the lesions at the ventricles, and of the one that ``deep_mm`` is of.
    """

    touches: bool
    rim_mm: float
    covered: float
    deep_mm: float
    touching: tuple[int, ...] = ()
    largest_deep: tuple[int, ...] = ()


NOWHERE = WmhExtent(False, 0.0, 0.0, 0.0)


def measure_extent(
    wmh: LabelMap, structures: NDArray[np.int32], elsewhere: NDArray[np.bool_], settings: MeasureSettings
) -> WmhExtent | NotAssessed:
    """Measure rim and deep lesions.

    The rim's thickness at a voxel of the ventricles' wall is the largest distance, centre to centre, of a voxel of touching
    WMH to which it is the nearest: n voxels of WMH on a flat wall are n voxels thick. More WMH never make a rim thinner.

    Parameters
    ----------
    wmh : LabelMap
        Lesions 1..n.
    structures, elsewhere : ndarray, shape (x, y, z)
        On the same grid; lesions mostly in the latter (brainstem, cerebellum, deep grey matter) take no part.
    settings : MeasureSettings
        ``rim_mm``: what touches the ventricles; ``reach_mm``: where deep begins.
    """
    grid = wmh.grid
    ventricles = structures == Structure.LATERAL_VENTRICLE
    wall = np.argwhere(ventricles & ~ndimage.binary_erosion(ventricles))
    if not len(wall):
        return NotAssessed("no lateral ventricles were found")
    voxels = np.argwhere(wmh.data > 0)
    label = wmh.data[tuple(voxels.T)]
    is_elsewhere: NDArray[np.bool_] = np.asarray(np.bincount(label, elsewhere[tuple(voxels.T)]) > 0.5 * np.bincount(label))
    kept = ~is_elsewhere[label]
    voxels, label = voxels[kept], label[kept]
    if not len(voxels):
        return NOWHERE
    step_mm = settled_spacing_mm(grid)
    to_wall_mm, nearest = (np.asarray(part) for part in cKDTree(wall * step_mm).query(voxels * step_mm))
    distance_mm = np.where(ventricles[tuple(voxels.T)], 0.0, np.round(to_wall_mm, 6))
    closest_mm = np.full(int(label.max()) + 1, np.inf)
    np.minimum.at(closest_mm, label, distance_mm)
    touching = (closest_mm <= settings.rim_mm)[label]
    thickness_mm = np.zeros(len(wall))
    np.maximum.at(thickness_mm, nearest[touching], distance_mm[touching])
    beyond_mm = np.zeros(grid.shape)
    beyond_mm[tuple(voxels.T)] = np.maximum(distance_mm - settings.reach_mm, 0.0) * touching
    apart = np.zeros(grid.shape, bool)
    apart[tuple(voxels[~touching].T)] = True
    deep = [*_parts(apart, grid), *((part, min(size, 2 * float(beyond_mm[part].max()))) for part, size in _parts(beyond_mm > 0, grid))]
    largest, deep_mm = max(deep, key=lambda found: found[1], default=(None, 0.0))
    return WmhExtent(
        touches=bool(touching.any()),
        rim_mm=_thickness_over_mm(thickness_mm, float(np.prod(step_mm)) ** (2 / 3)),
        covered=float((thickness_mm > 0).mean()),
        deep_mm=deep_mm,
        touching=tuple(int(one) for one in np.unique(label[touching])),
        largest_deep=() if largest is None else (int(wmh.data[largest][0]),),
    )


def _thickness_over_mm(thickness_mm: NDArray[np.float64], face_mm2: float) -> float:
    """The thickness that is reached over ``RIM_AREA_MM2``, given that of every voxel of the wall."""
    number = max(round(RIM_AREA_MM2 / face_mm2), 1)
    return float(np.sort(thickness_mm)[-number]) if number <= len(thickness_mm) else 0.0


def _parts(mask: NDArray[np.bool_], grid: Grid) -> Iterator[tuple[tuple[NDArray[np.int64], ...], float]]:
    """Index and diameter in mm of every component."""
    labels, _ = label_components(mask)
    for label, box in component_boxes(labels, 0):
        voxels = np.argwhere(labels[box] == label) + [side.start for side in box]
        yield tuple(voxels.T), diameter_mm(voxels, grid)


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
