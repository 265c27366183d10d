"""Lobes from an atlas in MNI152 space, through an affine map that needs no contrast.

Both sides of the registration are rendered from tissue classes, so the sequence that was scanned plays no part.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..structures import VENTRICLES, Structure
from ..volume import Grid, LabelMap, Mask, Transform, Volume, isotropic_grid, point_to_sitk, resample, to_sitk, transform_from_sitk
from .register import one_thread

ATLAS_DATA = Path(__file__).parent / "atlas_data"

LOBE_NAMES = {1: "frontal", 2: "parietal", 3: "temporal", 4: "occipital", 5: "insula"}

PSEUDO_INTENSITY: dict[Literal["white", "grey", "fluid"], float] = {"white": 1.0, "grey": 0.7, "fluid": 0.2}
"""Brightness of the tissues in the rendered brain, in the order of a T1-weighted image."""

_WHITE = (Structure.WHITE_MATTER, Structure.CEREBELLAR_WHITE, Structure.BRAINSTEM, Structure.VENTRAL_DC)
_FLUID = (Structure.CSF, *VENTRICLES)
_WITHOUT_LOBE = (Structure.CEREBELLAR_WHITE, Structure.CEREBELLAR_CORTEX, Structure.BRAINSTEM, Structure.FOURTH_VENTRICLE)
_ITERATIONS = 100
_SAMPLED_SHARE = 0.1


def render_brain(structures: LabelMap, brain: Mask) -> Volume:
    """A brain without contrast of its own: white matter 100, grey 70, fluid 20, outside 0.

    Parameters
    ----------
    structures : LabelMap
        Values of Structure.
    brain : Mask
        Same grid; with ventricles and sulci.
    """
    table = np.full(len(Structure), PSEUDO_INTENSITY["grey"], np.float32)
    table[list(_WHITE)] = PSEUDO_INTENSITY["white"]
    table[[*_FLUID, Structure.BACKGROUND]] = PSEUDO_INTENSITY["fluid"]
    return Volume(np.where(brain.data, 100.0 * table[structures.data], 0.0).astype(np.float32), structures.grid)


@cache
def load_lobe_atlas() -> LabelMap:
    """Lobes in MNI152 space, 2 mm: every voxel of the box has the lobe of its nearest cortex."""
    data, grid = _read("lobes.nii.gz")
    return LabelMap(data, grid, LOBE_NAMES)


@cache
def load_atlas_brain() -> Volume:
    """The template's brain as :func:`render_brain` would draw it, 2 mm, MNI152 space."""
    data, grid = _read("brain.nii.gz")
    return Volume(data.astype(np.float32), grid)


def register_to_mni(structures: LabelMap, brain: Mask) -> Transform:
    """Affine map of world points from the image to MNI152, by the squared difference of the two rendered brains.

    Parameters
    ----------
    structures, brain : LabelMap, Mask
        On the same grid.

    Returns
    -------
    Transform
        ``mni_from_reference``. Deterministic.
    """
    import SimpleITK as sitk

    atlas, rendered = load_atlas_brain(), render_brain(structures, brain)
    subject = resample(rendered, isotropic_grid(rendered.grid, float(atlas.grid.spacing_mm.max())))
    (atlas_mm, atlas_size_mm), (subject_mm, subject_size_mm) = _centre_and_size_mm(atlas), _centre_and_size_mm(subject)
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsMeanSquares()
    registration.SetMetricSamplingStrategy(registration.REGULAR)
    registration.SetMetricSamplingPercentage(_SAMPLED_SHARE, seed=1)
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetOptimizerAsRegularStepGradientDescent(4.0, 0.02, _ITERATIONS, 0.6)
    registration.SetOptimizerScalesFromPhysicalShift()
    registration.SetShrinkFactorsPerLevel([2, 1])
    registration.SetSmoothingSigmasPerLevel([4.0, 2.0])
    registration.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    start = sitk.AffineTransform(3)
    start.SetCenter(point_to_sitk(atlas_mm))
    start.SetTranslation(point_to_sitk(subject_mm - atlas_mm))
    start.Scale(subject_size_mm / atlas_size_mm)
    registration.SetInitialTransform(start, inPlace=False)
    with one_thread():
        reference_from_mni = transform_from_sitk(registration.Execute(to_sitk(atlas), to_sitk(subject)))
    return reference_from_mni.inverse()


def find_lobes(structures: LabelMap, brain: Mask, mni_from_reference: Transform) -> LabelMap:
    """Lobes of the cerebrum on the structures' grid.

    Cerebellum, brainstem and fourth ventricle have none (0). What lies outside the atlas's box takes the nearest lobe.
    """
    lobes = resample(load_lobe_atlas(), structures.grid, mni_from_reference.inverse()).data
    has_lobe = np.ones(len(Structure), bool)
    has_lobe[list(_WITHOUT_LOBE)] = False
    with_lobe = brain.data & has_lobe[structures.data]
    if not lobes[with_lobe].all() and lobes.any():
        lobes = lobes[tuple(ndimage.distance_transform_edt(lobes == 0, return_distances=False, return_indices=True))]
    return LabelMap(np.where(with_lobe, lobes, 0), structures.grid, LOBE_NAMES)


def _centre_and_size_mm(image: Volume) -> tuple[NDArray[np.float64], float]:
    """Centre of the brain in world mm, and the cube root of its volume."""
    inside = np.argwhere(image.data > 0)
    centre = image.grid.world(inside.mean(axis=0, keepdims=True))[0]
    return centre, float(len(inside) * image.grid.voxel_volume_mm3) ** (1 / 3)


def _read(name: str) -> tuple[NDArray[np.int32], Grid]:
    image = nib.Nifti1Image.from_filename(ATLAS_DATA / name)
    x, y, z = image.shape
    return np.asarray(image.dataobj).astype(np.int32), Grid((x, y, z), image.affine)
