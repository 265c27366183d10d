"""Small synthetic heads with known geometry, NIfTI files with any header, and BIDS folders made of them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from smallvessel.markers import Sequence
from smallvessel.records import SessionId
from smallvessel.structures import Structure
from smallvessel.volume import Grid, LabelMap, Volume

HEAD_MM = (80.0, 98.0, 80.0)
"""Semi-axes (left-right, posterior-anterior, inferior-superior) of the scalp's surface."""
SKULL_MM = (75.0, 93.0, 75.0)
INTRACRANIAL_MM = (69.0, 87.0, 69.0)
BRAIN_MM = (65.0, 83.0, 65.0)
WHITE_MATTER_MM = (57.0, 75.0, 57.0)
VENTRICLE_MM = (7.0, 28.0, 10.0)
VENTRICLE_CENTRES_MM = ((-11.0, 0.0, 5.0), (11.0, 0.0, 5.0))
SCALP = -1
SKULL = -2

TISSUES = (SCALP, SKULL, Structure.CSF, Structure.CORTEX, Structure.WHITE_MATTER, Structure.LATERAL_VENTRICLE)
SIGNAL: dict[Sequence, tuple[float, ...]] = {
    Sequence.FLAIR: (600, 60, 80, 420, 330, 70),
    Sequence.T1W: (800, 60, 120, 400, 600, 110),
    Sequence.T2W: (500, 50, 900, 450, 300, 950),
    Sequence.SWI: (300, 30, 500, 400, 350, 520),
}
"""Mean signal of each of ``TISSUES``."""


def make_grid(
    shape: tuple[int, int, int] = (48, 56, 44),
    spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0),
    orientation: str = "RAS",
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Grid:
    """A grid whose field of view is centred on ``centre_mm``.

    Parameters
    ----------
    shape, spacing_mm
        Along the grid's own axes, in the order of ``orientation``.
    orientation : str
        Axis codes such as "LPS"; the axes are then turned about the world's x, y and z by ``rotation_deg``.
    """
    signed = nib.orientations.axcodes2ornt(orientation)
    axes = np.zeros((3, 3))
    for voxel_axis, (world_axis, sign) in enumerate(signed):
        axes[int(world_axis), voxel_axis] = sign * spacing_mm[voxel_axis]
    a, b, c = np.deg2rad(rotation_deg)
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn_z @ turn_y @ turn_x @ axes
    affine[:3, 3] = np.array(centre_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def voxel_centres_mm(grid: Grid) -> NDArray[np.float64]:
    """World RAS mm of every voxel centre, shape (x, y, z, 3)."""
    x, y, z = (np.arange(n)[:, None] * grid.affine[:3, axis] for axis, n in enumerate(grid.shape))
    return np.asarray(x[:, None, None] + y[:, None] + z + grid.affine[:3, 3], np.float64)


def ellipsoid(grid: Grid, centre_mm: tuple[float, float, float], semi_axes_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Voxels whose centre lies inside an ellipsoid with axes along the world's, shape (x, y, z)."""
    return _inside(voxel_centres_mm(grid), centre_mm, semi_axes_mm)


def _inside(
    points_mm: NDArray[np.float64], centre_mm: tuple[float, float, float], semi_axes_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    x, y, z = (((points_mm[..., axis] - centre_mm[axis]) / semi_axes_mm[axis]) ** 2 for axis in range(3))
    return np.asarray(x + y + z <= 1.0)


def ball(grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float) -> NDArray[np.bool_]:
    """Voxels whose centre lies inside a ball, shape (x, y, z)."""
    return ellipsoid(grid, centre_mm, (radius_mm, radius_mm, radius_mm))


def _tissues(grid: Grid, centre_mm: tuple[float, float, float]) -> NDArray[np.int32]:
    points_mm = voxel_centres_mm(grid) - np.array(centre_mm)
    tissues = np.zeros(grid.shape, np.int32)
    shells = ((HEAD_MM, SCALP), (SKULL_MM, SKULL), (INTRACRANIAL_MM, Structure.CSF), (BRAIN_MM, Structure.CORTEX))
    for semi_axes_mm, label in (*shells, (WHITE_MATTER_MM, Structure.WHITE_MATTER)):
        tissues[_inside(points_mm, (0.0, 0.0, 0.0), semi_axes_mm)] = label
    for ventricle_mm in VENTRICLE_CENTRES_MM:
        tissues[_inside(points_mm, ventricle_mm, VENTRICLE_MM)] = Structure.LATERAL_VENTRICLE
    return tissues


def head_structures(grid: Grid, centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> LabelMap:
    """The head's structures (CSF, cortex, white matter, lateral ventricles), values of ``Structure``."""
    return LabelMap(np.maximum(_tissues(grid, centre_mm), 0), grid)


def head_image(
    grid: Grid,
    sequence: Sequence = Sequence.FLAIR,
    skull: bool = True,
    noise: float = 8.0,
    seed: int = 0,
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Volume:
    """A head's image: piecewise constant signal with Rician noise; without a skull, 0 outside the intracranial space."""
    tissues = _tissues(grid, centre_mm)
    signal: NDArray[np.float32] = np.zeros(grid.shape, np.float32)
    for label, value in zip(TISSUES, SIGNAL[sequence], strict=True):
        signal[tissues == label] = value
    if noise:
        rng = np.random.default_rng(seed)
        signal = np.hypot(signal + rng.normal(0, noise, grid.shape), rng.normal(0, noise, grid.shape)).astype(np.float32)
    if not skull:
        signal[tissues <= 0] = 0.0
    return Volume(signal, grid)


def nifti_bytes(
    data: NDArray[Any],
    affine: NDArray[np.float64],
    *,
    version: int = 1,
    sform_code: int = 1,
    qform_code: int = 1,
    sform: NDArray[np.float64] | None = None,
    units: str = "mm",
    slope: float | None = None,
    intercept: float = 0.0,
) -> bytes:
    """A NIfTI file as bytes.

    Parameters
    ----------
    data : ndarray
        Stored values, of any type NIfTI knows.
    affine : ndarray, shape (4, 4)
        Of the qform, and of the sform unless ``sform`` is given. A code of 0 declares it absent.
    slope, intercept
        Scaling that a reader applies to the stored values.
    """
    nifti = nib.Nifti1Image(data, affine, dtype=data.dtype) if version == 1 else nib.Nifti2Image(data, affine, dtype=data.dtype)
    nifti.set_qform(affine, code=qform_code, strip_shears=True)
    nifti.set_sform(affine if sform is None else sform, code=sform_code)
    nifti.header.set_xyzt_units(units, "sec")
    if slope is not None:
        nifti.header.set_slope_inter(slope, intercept)
    return bytes(nifti.to_bytes())


def write_bytes(path: Path, raw: bytes) -> Path:
    """Write bytes, gzipped where the name ends on .gz; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw, 1, mtime=0) if path.name.endswith(".gz") else raw)
    return path


def write_image(path: Path, image: Volume, dtype: str = "int16") -> Path:
    """Write an ordinary NIfTI-1 file."""
    return write_bytes(path, nifti_bytes(image.data.astype(dtype), image.grid.affine))


SUFFIX = {Sequence.FLAIR: "FLAIR", Sequence.T1W: "T1w", Sequence.T2W: "T2w", Sequence.SWI: "swi"}


def bids_path(root: Path, session: SessionId, sequence: Sequence, entities: str = "", extension: str = ".nii.gz") -> Path:
    """Path of an image in a BIDS folder; ``entities`` such as "run-2_"."""
    folder = root / f"sub-{session.subject}"
    folder = folder / f"ses-{session.session}" if session.session else folder
    datatype = "swi" if sequence is Sequence.SWI else "anat"
    return folder / datatype / f"{session}_{entities}{SUFFIX[sequence]}{extension}"


def write_bids(root: Path, sessions: Mapping[SessionId, Mapping[Sequence, Volume]]) -> Path:
    """Write a BIDS folder of ordinary images."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "phantom", "BIDSVersion": "1.10.0"}', encoding="utf-8")
    for session, images in sessions.items():
        for sequence, image in images.items():
            write_image(bids_path(root, session, sequence), image)
    return root
