"""What the visual scales look at: how thick the periventricular rim is, how large deep lesions are, how many spaces a slice has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..config import MeasureSettings
from ..records import Lesion, NotAssessed
from ..shapes import component_boxes, diameter_mm, label_components
from ..structures import Structure
from ..volume import Grid, LabelMap

RIM_PERCENTILE = 90.0
"""Of the rim's thickness over the wall that it covers: a cap at one horn is not the rim, a thin stretch is not either. Own choice."""
SLAB_MM = 5.0
"""Clinical T2w slices, on which the grades of perivascular spaces were defined, are about this thick. Own choice."""


@dataclass(frozen=True)
class WmhExtent:
    """Geometry of the WMH of the hemispheres.

    Attributes
    ----------
    rim_mm : float
        Thickness of the WMH that touch the lateral ventricles; 0 without any.
    covered : float
        Share of the ventricles' wall that they cover, 0 to 1.
    deep_mm : float
        Largest diameter of a deep WMH, counting as deep what the settings' reach leaves of those that touch; 0 without any.
    """

    rim_mm: float
    covered: float
    deep_mm: float


def measure_extent(
    wmh: LabelMap, structures: NDArray[np.int32], infratentorial: NDArray[np.bool_], settings: MeasureSettings
) -> WmhExtent | NotAssessed:
    """Measure rim and deep lesions.

    The rim's thickness at a voxel of the ventricles' wall is the largest distance, centre to centre, of a voxel of touching
    WMH to which it is the nearest: n voxels of WMH on a flat wall are n voxels thick.

    Parameters
    ----------
    wmh : LabelMap
        Lesions 1..n.
    structures, infratentorial : ndarray, shape (x, y, z)
        On the same grid; lesions mostly in the latter take no part.
    settings : MeasureSettings
        ``rim_mm``: what touches the ventricles; ``reach_mm``: where deep begins.
    """
    grid = wmh.grid
    ventricles = structures == Structure.LATERAL_VENTRICLE
    wall = np.argwhere(ventricles & ~ndimage.binary_erosion(ventricles))
    if not len(wall):
        return NotAssessed("no lateral ventricles were found")
    voxels = np.argwhere(wmh.data > 0)
    if not len(voxels):
        return WmhExtent(0.0, 0.0, 0.0)
    label = wmh.data[tuple(voxels.T)]
    is_below: NDArray[np.bool_] = np.asarray(np.bincount(label, infratentorial[tuple(voxels.T)]) > 0.5 * np.bincount(label))
    above = ~is_below[label]
    voxels, label = voxels[above], label[above]
    if not len(voxels):
        return WmhExtent(0.0, 0.0, 0.0)
    to_wall_mm, nearest = (np.asarray(part) for part in cKDTree(grid.world(wall)).query(grid.world(voxels)))
    distance_mm = np.where(ventricles[tuple(voxels.T)], 0.0, to_wall_mm)
    closest_mm = np.full(int(label.max()) + 1, np.inf)
    np.minimum.at(closest_mm, label, distance_mm)
    touching = (closest_mm <= settings.rim_mm)[label]
    thickness_mm = np.zeros(len(wall))
    np.maximum.at(thickness_mm, nearest[touching], distance_mm[touching])
    covered = thickness_mm > 0
    deep = np.zeros(grid.shape, bool)
    deep[tuple(voxels[~touching | (distance_mm > settings.reach_mm)].T)] = True
    return WmhExtent(
        rim_mm=float(np.percentile(thickness_mm[covered], RIM_PERCENTILE)) if covered.any() else 0.0,
        covered=float(covered.mean()),
        deep_mm=_largest_mm(deep, grid),
    )


def _largest_mm(mask: NDArray[np.bool_], grid: Grid) -> float:
    labels, _ = label_components(mask)
    largest = 0.0
    for label, box in component_boxes(labels, 0):
        largest = max(largest, diameter_mm(np.argwhere(labels[box] == label), grid))
    return largest


def find_worst_slab(spaces: LabelMap, lesions: Iterable[Lesion], region: str) -> tuple[int, ...]:
    """Labels of the lesions of a region in one hemisphere that one axial slab of ``SLAB_MM`` cuts, where those are most.

    Parameters
    ----------
    spaces : LabelMap
        On the analysis grid, whose third axis points up.
    lesions : iterable of Lesion
        Those of the same label map.
    region : str
    """
    heights = {label: (box[2].start, box[2].stop) for label, box in component_boxes(spaces.data, 0)}
    slab_vox = max(int(np.rint(SLAB_MM / spaces.grid.spacing_mm[2])), 1)
    most: tuple[int, ...] = ()
    for side in ("left", "right"):
        mine = [lesion.label for lesion in lesions if lesion.region == region and lesion.side == side and lesion.label in heights]
        count = np.zeros(spaces.grid.shape[2] + slab_vox, np.int64)
        for label in mine:
            low, high = heights[label]
            count[low : high + slab_vox - 1] += 1  # by the slab's highest slice
        if count.max() > len(most):
            top = int(np.argmax(count))
            most = tuple(label for label in mine if heights[label][0] <= top < heights[label][1] + slab_vox - 1)
    return most
