"""Bias field correction: N4 (Tustison et al. 2010, 10.1109/TMI.2010.2046908) on a coarse copy, applied at full resolution."""

from __future__ import annotations

import numpy as np

from ..volume import Mask, Volume, to_sitk
from .register import one_thread

COARSE_SPACING_MM = 8.0
ITERATIONS = (30, 30, 30)
MIN_COARSE_VOXELS = 4
"""An axis keeps at least this many voxels, which the B-spline needs."""
MIN_BRAIN_SHARE = 0.5
"""A coarse voxel counts if at least this share of it is brain."""


def correct_bias(image: Volume, brain: Mask) -> tuple[Volume, float]:
    """Divide an image by its smooth intensity field, estimated inside the brain.

    Parameters
    ----------
    image : Volume
        Native grid.
    brain : Mask
        Same grid.

    Returns
    -------
    corrected : Volume
        Same grid; the field has the geometric mean 1 over the brain, and outside the brain stays within its range there.
    field_sd : float
        Standard deviation of the field's logarithm over the brain: how uneven the image was.
    """
    import SimpleITK as sitk

    most = np.maximum(np.array(image.grid.shape) // MIN_COARSE_VOXELS, 1)
    shrink = np.clip(np.rint(COARSE_SPACING_MM / image.grid.spacing_mm).astype(int), 1, most).tolist()
    with one_thread():
        full = to_sitk(image)
        coarse = sitk.BinShrink(full, shrink)
        coarse_brain = sitk.BinShrink(sitk.Cast(to_sitk(brain), sitk.sitkFloat32), shrink) >= MIN_BRAIN_SHARE
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations(ITERATIONS)
        n4.Execute(sitk.Maximum(coarse, 0.0), coarse_brain)
        log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full)).transpose(2, 1, 0)
    inside = log_field[brain.data]
    middle = float(inside.mean(dtype=np.float64))
    log_field = np.clip(log_field, inside.min(), inside.max()) - np.float32(middle)
    return Volume(image.data * np.exp(-log_field), image.grid), float(inside.std(dtype=np.float64))
