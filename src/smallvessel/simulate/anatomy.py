"""Heads: from a label map of a real head to many deformed ones, older or younger, with maps that say where lesions go."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from ..structures import STRUCTURES, Structure

SPACING_MM = 1.0
RIGHT_BIT = 64
"""Added to a tissue code on the right side, so that one uint8 array carries tissue and side."""
DISTANCE_CAP_MM = 60


class Tissue(IntEnum):
    """What gives signal beside the structures of the brain, whose codes are those of :class:`Structure`; air is 0."""

    CHOROID_PLEXUS = 17
    SOFT_TISSUE = 18
    SKIN = 19
    COMPACT_BONE = 20
    MARROW = 21
    MUCOSA = 22
    EYE = 23
    ARTERY = 24
    VEIN = 25
    SPINAL_CORD = 26
    OPTIC_NERVE = 27
    FAT = 28


TISSUE_COUNT = 29
FREESURFER_TISSUES: dict[Tissue, tuple[int, ...]] = {
    Tissue.CHOROID_PLEXUS: (136, 137, 163, 164),
    Tissue.SOFT_TISSUE: (507,),
    Tissue.SKIN: (511,),
    Tissue.COMPACT_BONE: (515,),
    Tissue.MARROW: (516,),
    Tissue.MUCOSA: (509,),
    Tissue.EYE: (506,),
    Tissue.ARTERY: (502,),
    Tissue.VEIN: (508, 514),
    Tissue.SPINAL_CORD: (512,),
    Tissue.OPTIC_NERVE: (530,),
}


@dataclass(frozen=True)
class DeformSettings:
    """How strongly heads are deformed. Half-widths of uniform or standard deviations of normal draws."""

    rotation_deg: float = 12.0
    """Half-width of the rotation about each axis (SynthSeg: 15)."""
    scaling: float = 0.12
    """Half-width of the relative size along each axis (SynthSeg: .2; adult heads vary by about .08)."""
    shear: float = 0.015
    """Half-width of the shears (SynthSeg: .012)."""
    elastic_sd_mm: float = 3.0
    """SD of the displacements at control points (SynthSeg: 4)."""
    elastic_spacing_mm: float = 32.0
    """Distance of the control points."""
    ventricle_mm: tuple[float, float] = (-0.8, 6.5)
    """Range by which the ventricles' walls move outwards: ageing."""
    sulcus_mm: tuple[float, float] = (-0.2, 0.9)
    """Range by which sulci widen at the cost of cortex."""
    fat_mm: tuple[float, float] = (0.0, 7.0)
    """Range of the thickness of fat below the skin."""


@dataclass(frozen=True)
class Head:
    """A head at 1 mm, axes RAS+.

    Attributes
    ----------
    codes : ndarray of uint8, shape (x, y, z)
        Structure or Tissue code, plus RIGHT_BIT on the right.
    """

    codes: NDArray[np.uint8]

    @property
    def tissues(self) -> NDArray[np.uint8]:
        return self.codes & np.uint8(RIGHT_BIT - 1)

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.codes >= RIGHT_BIT


def load_head(path: Path) -> Head:
    """Read a label map with FreeSurfer codes and the 5xx codes outside the brain, 1 mm.

    Raises
    ------
    InputError
        When the voxels are not 1 mm or a code is unknown.
    """
    image = nib.as_closest_canonical(nib.load(path))
    if not np.allclose(image.header.get_zooms()[:3], SPACING_MM, atol=0.02):
        raise InputError(f"{path.name} with voxels of {image.header.get_zooms()[:3]} mm", "1 mm", "resample the label map")
    raw = np.rint(np.asarray(image.dataobj)).astype(np.int32)
    table = np.full(max(1024, int(raw.max()) + 1), 255, np.uint8)
    sided = np.zeros(table.size, np.int8)
    for structure, info in STRUCTURES.items():
        table[list(info.freesurfer_left + info.freesurfer_right)] = structure
        if info.freesurfer_right:
            sided[list(info.freesurfer_left)] = 1
            sided[list(info.freesurfer_right)] = 2
    for tissue, numbers in FREESURFER_TISSUES.items():
        table[list(numbers)] = tissue
    tissues = table[raw]
    if (tissues == 255).any():
        raise InputError(
            f"{path.name} with unknown codes {np.unique(raw[tissues == 255]).tolist()}", "FreeSurfer codes", "map the codes first"
        )
    box = ndimage.find_objects(ndimage.binary_opening(tissues > 0, iterations=2).astype(np.int8))[0]
    tissues, sides = tissues[box], sided[raw[box]]
    # every voxel takes the side of the nearest sided one: a coarse grid is enough
    nearest = ndimage.distance_transform_edt(sides[::3, ::3, ::3] == 0, return_distances=False, return_indices=True)
    coarse = sides[::3, ::3, ::3][tuple(nearest)]
    right = np.repeat(np.repeat(np.repeat(coarse, 3, 0), 3, 1), 3, 2)[tuple(slice(n) for n in tissues.shape)] == 2
    right = np.where(sides > 0, sides == 2, right)
    return Head((tissues + RIGHT_BIT * right).astype(np.uint8))


def flip_head(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirror left and right: the array is reversed along x and the sides swap."""
    return np.ascontiguousarray(codes[::-1] ^ np.uint8(RIGHT_BIT))


def _rotation(angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles_rad):
        c, s = np.cos(angle), np.sin(angle)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        matrix = turn @ matrix
    return matrix


def _elastic(shape: tuple[int, ...], spacing_mm: float, sd_mm: float, rng: np.random.Generator) -> NDArray[np.float32]:
    control = tuple(int(np.ceil(n / spacing_mm)) + 2 for n in shape)
    field = np.empty((3, *shape), np.float32)
    for axis in range(3):
        knots = rng.normal(0, sd_mm, control).astype(np.float32)
        smooth = ndimage.zoom(knots, [8 / 1.0] * 3, order=3)
        ratio = [(smooth.shape[i] - 1) / (control[i] - 1) / spacing_mm for i in range(3)]
        with warnings.catch_warnings():  # of what a matrix of one dimension meant to SciPy before 2016
            warnings.simplefilter("ignore", UserWarning)
            ndimage.affine_transform(smooth, np.array(ratio), output_shape=shape, order=1, output=field[axis], mode="nearest")
    return field


def _wall_shift(target: NDArray[np.bool_], amount_mm: float, reach_mm: float, step: int) -> NDArray[np.float32]:
    """Displacement that moves the wall of ``target`` outwards by ``amount_mm``, fading with distance."""
    coarse = target[::step, ::step, ::step]
    signed = (ndimage.distance_transform_edt(~coarse) - ndimage.distance_transform_edt(coarse)) * step
    signed = ndimage.gaussian_filter(signed.astype(np.float32), 1.0)
    strength = amount_mm * np.exp(-np.maximum(signed, 0) / reach_mm) * np.exp(np.minimum(signed, 0) / (2 * reach_mm))
    gradient = np.stack(np.gradient(signed, step)).astype(np.float32)
    field = gradient * strength
    if step == 1:
        return field
    return np.stack([ndimage.zoom(part, step, order=1, grid_mode=True, mode="nearest") for part in field])[
        (slice(None), *(slice(n) for n in target.shape))
    ]


def deform_head(head: Head, rng: np.random.Generator, settings: DeformSettings = DeformSettings()) -> Head:
    """Draw another head from a head: pose, size, elastic shape, age, subcutaneous fat, mirror side.

    Labels are taken from the nearest voxel: no class is ever blended with another.
    """
    tissues = head.tissues
    shape = tissues.shape
    angles = np.deg2rad(rng.uniform(-settings.rotation_deg, settings.rotation_deg, 3))
    matrix = _rotation(angles) @ np.diag(
        1 / (1 + rng.uniform(-settings.scaling, settings.scaling) * 0.7 + rng.uniform(-1, 1, 3) * settings.scaling * 0.4)
    )
    matrix = matrix @ (np.eye(3) + rng.uniform(-settings.shear, settings.shear, (3, 3)) * (1 - np.eye(3)))
    padded = tuple(int(n * 1.12) for n in shape)
    centre_in, centre_out = (np.array(shape) - 1) / 2, (np.array(padded) - 1) / 2
    field = _elastic(padded, settings.elastic_spacing_mm, settings.elastic_sd_mm * rng.uniform(0.3, 1), rng)
    axes = [np.arange(n, dtype=np.float32) - c for n, c in zip(padded, centre_out, strict=True)]
    for axis in range(3):
        field[axis] += (
            matrix[axis, 0] * axes[0][:, None, None]
            + matrix[axis, 1] * axes[1][None, :, None]
            + matrix[axis, 2] * axes[2][None, None, :]
            + centre_in[axis]
        ).astype(np.float32)
    ventricles = np.isin(tissues, (Structure.LATERAL_VENTRICLE, Structure.THIRD_VENTRICLE, Tissue.CHOROID_PLEXUS))
    shift = _wall_shift(ventricles, rng.uniform(*settings.ventricle_mm), 14.0, 2)
    shift += _wall_shift(tissues == Structure.CSF, rng.uniform(*settings.sulcus_mm), 3.0, 1)
    source = np.rint(field).astype(np.int16)
    for axis in range(3):
        np.clip(source[axis], 0, shape[axis] - 1, out=source[axis])
    for axis in range(3):
        field[axis] -= shift[axis][source[0], source[1], source[2]]
    inside = np.ones(padded, bool)
    for axis in range(3):
        nearest = np.rint(field[axis]).astype(np.int16)
        inside &= (nearest >= 0) & (nearest < shape[axis])
        source[axis] = np.clip(nearest, 0, shape[axis] - 1)
    codes = np.where(inside, head.codes[source[0], source[1], source[2]], np.uint8(0))
    codes = _add_fat(codes, rng.uniform(*settings.fat_mm))
    if rng.random() < 0.5:
        codes = flip_head(codes)
    box = ndimage.find_objects(((codes & (RIGHT_BIT - 1)) > 0).astype(np.int8))[0]
    return Head(np.ascontiguousarray(codes[box]))


def _add_fat(codes: NDArray[np.uint8], thickness_mm: float) -> NDArray[np.uint8]:
    tissues = codes & np.uint8(RIGHT_BIT - 1)
    skin = (tissues == Tissue.SKIN)[::2, ::2, ::2]
    near = ndimage.distance_transform_edt(~skin) * 2 < thickness_mm
    near = np.repeat(np.repeat(np.repeat(near, 2, 0), 2, 1), 2, 2)[tuple(slice(n) for n in codes.shape)]
    fat = near & (tissues == Tissue.SOFT_TISSUE)
    return np.where(fat, (codes & RIGHT_BIT) + np.uint8(Tissue.FAT), codes)


@dataclass(frozen=True)
class BrainMaps:
    """A head cropped to the brain, with the distances by which lesions find their place. All shape (x, y, z), 1 mm.

    Attributes
    ----------
    codes : ndarray of uint8
        As in Head.
    ventricle_mm, surface_mm, nuclei_mm : ndarray of uint8
        Distance to the lateral ventricles; to the nearest cortex or CSF (0 inside them); to the basal ganglia or thalamus.
    """

    codes: NDArray[np.uint8]
    ventricle_mm: NDArray[np.uint8]
    surface_mm: NDArray[np.uint8]
    nuclei_mm: NDArray[np.uint8]

    @property
    def tissues(self) -> NDArray[np.uint8]:
        return self.codes & np.uint8(RIGHT_BIT - 1)


NUCLEI = (Structure.CAUDATE, Structure.PUTAMEN, Structure.PALLIDUM, Structure.THALAMUS)
MAPS_MARGIN_MM = 14


def brain_structure_mask(tissues: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Brain with ventricles: every structure but background and extracerebral CSF, and the choroid plexus."""
    return np.asarray((tissues >= Structure.WHITE_MATTER) & (tissues <= Tissue.CHOROID_PLEXUS))


def brain_box(tissues: NDArray[np.uint8], margin_mm: int = MAPS_MARGIN_MM) -> tuple[slice, slice, slice]:
    """The box around the brain with a margin, within the array."""
    box = ndimage.find_objects(brain_structure_mask(tissues).astype(np.int8))[0]
    x, y, z = (slice(max(s.start - margin_mm, 0), min(s.stop + margin_mm, n)) for s, n in zip(box, tissues.shape, strict=True))
    return x, y, z


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    if not mask.any():
        return np.full(mask.shape, DISTANCE_CAP_MM, np.uint8)
    return np.asarray(np.minimum(np.rint(ndimage.distance_transform_edt(~mask)), DISTANCE_CAP_MM), np.uint8)


def map_brain(head: Head) -> BrainMaps:
    """Crop a head to its brain and measure the distances."""
    codes = head.codes[brain_box(head.tissues)]
    tissues = codes & np.uint8(RIGHT_BIT - 1)
    return BrainMaps(
        codes=np.ascontiguousarray(codes),
        ventricle_mm=_distance((tissues == Structure.LATERAL_VENTRICLE) | (tissues == Tissue.CHOROID_PLEXUS)),
        surface_mm=_distance(np.isin(tissues, (Structure.CORTEX, Structure.CSF, Structure.CEREBELLAR_CORTEX, 0))),
        nuclei_mm=_distance(np.isin(tissues, NUCLEI)),
    )


def find_narrow_sulci(tissues: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """CSF at most two voxels wide beside cortex."""
    fluid = tissues == Structure.CSF
    # separable filters over a cube of 3: several times as fast as the same by binary morphology
    core = ndimage.minimum_filter(fluid.astype(np.uint8), 3, mode="constant")
    wide = ndimage.maximum_filter(core, 3, mode="constant")
    cortex = (tissues == Structure.CORTEX) | (tissues == Structure.CEREBELLAR_CORTEX)
    beside = ndimage.maximum_filter(cortex.astype(np.uint8), 3, mode="constant")
    return np.asarray(fluid & (wide == 0) & (beside > 0))


def near_midline(brain: BrainMaps) -> NDArray[np.bool_]:
    """Within 6 mm of the plane between the hemispheres, cortex and what is outside left out: septum, fornix, callosum."""
    right_share = ndimage.uniform_filter(((brain.codes & RIGHT_BIT) > 0).astype(np.float32), 13)
    return np.asarray((right_share > 0.02) & (right_share < 0.98) & (brain.surface_mm > 0))
