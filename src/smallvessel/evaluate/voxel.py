"""Voxel-wise agreement of two masks on one grid: Dice, H95, volume difference.

Undefined is never a number. Every case with an empty mask has its rule:

=================  ==================  ====================  ===================
measure            both empty          reference empty       prediction empty
=================  ==================  ====================  ===================
Dice               not assessed        0 (all of it wrong)   0 (all of it missed)
H95                not assessed        not assessed          not assessed
AVD                not assessed        not assessed          100 %
volume bias        0 mL                the predicted volume  minus the reference
=================  ==================  ====================  ===================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from ..records import NotAssessed
from ..volume import Mask, require_same_grid

NO_REFERENCE = NotAssessed("the reference is empty")
NO_PREDICTION = NotAssessed("the prediction is empty")
BOTH_EMPTY = NotAssessed("the reference and the prediction are both empty")


@dataclass(frozen=True)
class VoxelMetrics:
    """Agreement of a prediction with a reference, voxel by voxel.

    Attributes
    ----------
    reference_ml, prediction_ml : float
    dice : float or NotAssessed
        2 |A and B| / (|A| + |B|), 0 to 1.
    h95_mm : float or NotAssessed
        The larger of the two directed 95th percentiles of the distances between boundary voxels, world mm.
    avd_percent : float or NotAssessed
        Absolute volume difference in percent of the reference's volume.
    volume_bias_ml : float
        Prediction minus reference.
    """

    reference_ml: float
    prediction_ml: float
    dice: float | NotAssessed
    h95_mm: float | NotAssessed
    avd_percent: float | NotAssessed
    volume_bias_ml: float


def compare_voxels(prediction: Mask, reference: Mask, exclude: Mask | None = None) -> VoxelMetrics:
    """All voxel-wise measures at once.

    Parameters
    ----------
    prediction, reference : Mask
        On the same grid.
    exclude : Mask, optional
        Voxels that count in neither mask ("other pathology" in the WMH challenge), on the same grid.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    require_same_grid(prediction, reference)
    prediction, reference = without(prediction, exclude), without(reference, exclude)
    return VoxelMetrics(
        reference_ml=reference.volume_ml,
        prediction_ml=prediction.volume_ml,
        dice=dice(prediction, reference),
        h95_mm=h95_mm(prediction, reference),
        avd_percent=avd_percent(prediction, reference),
        volume_bias_ml=prediction.volume_ml - reference.volume_ml,
    )


def without(mask: Mask, exclude: Mask | None) -> Mask:
    """The mask with the voxels of ``exclude`` removed."""
    if exclude is None:
        return mask
    require_same_grid(mask, exclude)
    return Mask(mask.data & ~exclude.data, mask.grid)


def dice(prediction: Mask, reference: Mask) -> float | NotAssessed:
    """Dice coefficient, 0 to 1; not assessed when both masks are empty."""
    require_same_grid(prediction, reference)
    total = np.count_nonzero(prediction.data) + np.count_nonzero(reference.data)
    if total == 0:
        return BOTH_EMPTY
    return 2.0 * np.count_nonzero(prediction.data & reference.data) / total


def avd_percent(prediction: Mask, reference: Mask) -> float | NotAssessed:
    """Absolute volume difference in percent of the reference's volume; not assessed without a reference."""
    require_same_grid(prediction, reference)
    n_reference = np.count_nonzero(reference.data)
    if n_reference == 0:
        return NO_REFERENCE if prediction.data.any() else BOTH_EMPTY
    return 100.0 * abs(np.count_nonzero(prediction.data) - n_reference) / n_reference


def h95_mm(prediction: Mask, reference: Mask, slice_axis: int | None = None) -> float | NotAssessed:
    """Robust Hausdorff distance as in the WMH segmentation challenge (Kuijf et al. 2019, 10.1109/TMI.2019.2905770).

    The boundary is what an erosion within the slice (3x3, across ``slice_axis``, else the axis of the largest spacing) takes away; voxels
    beyond the field of view count as inside. Distances are between voxel centres in world mm, so voxels may be
    anisotropic and axes oblique.
    """
    require_same_grid(prediction, reference)
    if not prediction.data.any() and not reference.data.any():
        return BOTH_EMPTY
    if not reference.data.any():
        return NO_REFERENCE
    if not prediction.data.any():
        return NO_PREDICTION
    here, there = (_boundary_mm(mask, mask.grid.slice_axis if slice_axis is None else slice_axis) for mask in (prediction, reference))
    to_reference, _ = KDTree(there).query(here)
    to_prediction, _ = KDTree(here).query(there)
    return float(max(np.percentile(to_reference, 95), np.percentile(to_prediction, 95)))


def _boundary_mm(mask: Mask, slice_axis: int) -> NDArray[np.float64]:
    in_plane = np.ones([1 if axis == slice_axis else 3 for axis in range(3)], bool)
    inside = ndimage.binary_erosion(mask.data, in_plane, border_value=1)
    boundary = np.argwhere(mask.data & ~inside)
    # A slice that the mask fills to the edges of the field of view has no boundary by this rule: then every voxel counts.
    return mask.grid.world(boundary if len(boundary) else np.argwhere(mask.data))
