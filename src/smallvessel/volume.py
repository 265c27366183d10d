"""Images in world space. The only file that computes with affines.

World is RAS+ in mm. Arrays are (x, y, z) in the order of the grid's own axes. SimpleITK's LPS world and (z, y, x) order
live in :func:`to_sitk` and :func:`transform_from_sitk` alone.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError, InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_GRID_TOLERANCE_MM = 1e-3


def _freeze(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in world space.

    Parameters
    ----------
    shape : tuple of int
        (nx, ny, nz).
    affine : ndarray, shape (4, 4)
        ``world_from_voxel``: maps voxel indices to world RAS mm.

    Raises
    ------
    GeometryError
        When the affine is not a finite, invertible 4x4 with the last row 0 0 0 1.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"an affine of shape {affine.shape} or with non-finite values", "a finite 4x4 matrix", "mend the header")
        if not np.allclose(affine[3], [0, 0, 0, 1]):
            raise GeometryError(f"an affine whose last row is {affine[3]}", "0 0 0 1", "mend the header")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise GeometryError("an affine that cannot be inverted", "three independent axes", "mend the header")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"a grid of shape {self.shape}", "three axes of at least one voxel", "give a 3D image")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", _freeze(affine))

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Distance between neighbouring voxel centres along each axis, shape (3,)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def extent_mm(self) -> NDArray[np.float64]:
        """Size of the field of view along each axis, shape (3,)."""
        return np.asarray(self.spacing_mm * np.array(self.shape), np.float64)

    @property
    def slice_axis(self) -> int:
        """Axis with the largest spacing; the last one of equals."""
        spacing = np.round(self.spacing_mm, 3)
        return int(2 - np.argmax(spacing[::-1]))

    def same_as(self, other: Grid, tolerance_mm: float = SAME_GRID_TOLERANCE_MM) -> bool:
        """Whether both grids have the same voxels at the same places."""
        if self.shape != other.shape:
            return False
        corners = np.array([[i, j, k] for i in (0, self.shape[0]) for j in (0, self.shape[1]) for k in (0, self.shape[2])], float)
        return bool(np.abs(apply_affine(self.affine, corners) - apply_affine(other.affine, corners)).max() < tolerance_mm)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.same_as(other)

    def world(self, voxels: NDArray[Any]) -> NDArray[np.float64]:
        """World RAS mm of voxel indices, shape (n, 3)."""
        return apply_affine(self.affine, np.asarray(voxels, float))

    def voxels(self, world_mm: NDArray[Any]) -> NDArray[np.float64]:
        """Fractional voxel indices of world points, shape (n, 3)."""
        return apply_affine(np.asarray(np.linalg.inv(self.affine), np.float64), np.asarray(world_mm, float))

    def crop(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Grid:
        """The grid of ``shape`` voxels that begins at voxel ``start`` (which may lie outside: the grid is then padded)."""
        affine = self.affine.copy()
        affine[:3, 3] = apply_affine(self.affine, np.array([start], float))[0]
        return Grid(shape, affine)


def apply_affine(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of shape (n, 3) through a 4x4 matrix."""
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


@dataclass(frozen=True, eq=False)
class Transform:
    """An affine map of world points, RAS mm: ``target_from_source``.

    Raises
    ------
    GeometryError
        When the matrix is not a finite, invertible 4x4.
    """

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-9:
            raise GeometryError("a transform that is not a finite, invertible 4x4", "a 4x4 matrix", "register again")
        object.__setattr__(self, "matrix", _freeze(matrix))

    @staticmethod
    def identity() -> Transform:
        return Transform(np.eye(4))

    def __call__(self, points_mm: NDArray[Any]) -> NDArray[np.float64]:
        return apply_affine(self.matrix, np.asarray(points_mm, float))

    def __matmul__(self, other: Transform) -> Transform:
        """``a_from_b @ b_from_c`` is ``a_from_c``."""
        return Transform(self.matrix @ other.matrix)

    def inverse(self) -> Transform:
        return Transform(np.asarray(np.linalg.inv(self.matrix), np.float64))

    def move(self, grid: Grid) -> Grid:
        """The same voxels in the target's world."""
        return Grid(grid.shape, self.matrix @ grid.affine)


ArrayT = TypeVar("ArrayT", bound=np.generic)


@dataclass(frozen=True, eq=False)
class _OnGrid(Generic[ArrayT]):
    data: NDArray[ArrayT]
    grid: Grid

    def __post_init__(self) -> None:
        if self.data.shape != self.grid.shape:
            raise GeometryError(f"an array of shape {self.data.shape}", f"the grid's shape {self.grid.shape}", "use the array's own grid")
        object.__setattr__(self, "data", _freeze(np.asarray(self.data)))


@dataclass(frozen=True, eq=False)
class Volume(_OnGrid[np.float32]):
    """Intensities or probabilities, float32, shape (x, y, z). Interpolated linearly."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", np.asarray(self.data, np.float32))
        super().__post_init__()


@dataclass(frozen=True, eq=False)
class Mask(_OnGrid[np.bool_]):
    """A binary mask, bool, shape (x, y, z). Interpolated as a fraction that is cut at one half."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", np.asarray(self.data, np.bool_))
        super().__post_init__()

    @property
    def volume_ml(self) -> float:
        return float(np.count_nonzero(self.data)) * self.grid.voxel_volume_mm3 / 1000.0


@dataclass(frozen=True, eq=False)
class LabelMap(_OnGrid[np.int32]):
    """Integer labels, int32, shape (x, y, z). Takes the nearest voxel; never blurred."""

    names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", np.asarray(self.data, np.int32))
        super().__post_init__()


ImageT = TypeVar("ImageT", Volume, Mask, LabelMap)


def require_same_grid(a: Volume | Mask | LabelMap, b: Volume | Mask | LabelMap) -> None:
    """Refuse two images on different grids, with both grids named."""
    if not a.grid.same_as(b.grid):
        one, other = (f"{image.grid.shape} at {np.round(image.grid.spacing_mm, 3)} mm" for image in (a, b))
        raise GeometryError(f"two images on different grids, {one} and {other}", "the same grid", "resample one onto the other's grid")


def canonical_grid(grid: Grid) -> Grid:
    """The same voxels with axes permuted and flipped to the closest RAS+ order."""
    orientation = nib.io_orientation(grid.affine)
    inverse = nib.orientations.inv_ornt_aff(orientation, grid.shape)
    x, y, z = (int(grid.shape[int(np.flatnonzero(orientation[:, 0] == axis)[0])]) for axis in range(3))
    return Grid((x, y, z), grid.affine @ inverse)


def reorder_axes(image: ImageT, grid: Grid) -> ImageT:
    """The same voxels with their axes in the order and direction of a grid that differs in nothing else.

    Raises
    ------
    GeometryError
        When the grids differ in more than the order and direction of their axes.
    """
    change = nib.orientations.ornt_transform(nib.io_orientation(image.grid.affine), nib.io_orientation(grid.affine))
    data = np.ascontiguousarray(nib.orientations.apply_orientation(image.data, change))
    x, y, z = data.shape
    moved = Grid((x, y, z), image.grid.affine @ nib.orientations.inv_ornt_aff(change, image.grid.shape))
    if not moved.same_as(grid):
        raise GeometryError(
            f"a grid of {grid.shape} voxels of {np.round(grid.spacing_mm, 3)} mm that differs in more than its axes",
            f"the voxels of {image.grid.shape} at {np.round(image.grid.spacing_mm, 3)} mm in another order",
            "resample instead",
        )
    return replace(image, data=data, grid=grid)


def isotropic_grid(grid: Grid, spacing_mm: float | NDArray[np.float64]) -> Grid:
    """The grid of cubic voxels (or of a size per RAS axis) over ``grid``'s view, axes in RAS+ order, parallel to ``grid``'s, orthogonal.

    Both fields of view have the same centre; this one is larger by less than a voxel along each axis.
    """
    source = canonical_grid(grid)
    u, _, vt = np.linalg.svd(source.affine[:3, :3] / source.spacing_mm)
    axes = u @ vt
    shape = np.maximum(np.ceil(source.extent_mm / spacing_mm - 1e-6).astype(int), 1)
    centre = source.world(np.array([[(n - 1) / 2 for n in source.shape]]))[0]
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing_mm
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def resample(image: ImageT, grid: Grid, target_from_source: Transform | None = None) -> ImageT:
    """Bring an image onto another grid in one interpolation.

    Parameters
    ----------
    image : Volume, Mask or LabelMap
        A Volume is interpolated linearly, a Mask as a fraction cut at 0.5, a LabelMap by its nearest voxel.
    grid : Grid
        Where the result lives, in the target's world.
    target_from_source : Transform, optional
        Maps the image's world to the grid's world; identity when absent.

    Returns
    -------
    Same type as ``image``, on ``grid``; 0 outside the image's field of view.
    """
    import SimpleITK as sitk

    if target_from_source is None and image.grid.same_as(grid):
        return image
    data = image.data.astype(np.float32) if not isinstance(image, LabelMap) else image.data
    resampler = sitk.ResampleImageFilter()
    _set_reference(resampler, grid)
    resampler.SetInterpolator(sitk.sitkNearestNeighbor if isinstance(image, LabelMap) else sitk.sitkLinear)
    resampler.SetDefaultPixelValue(0.0)
    if target_from_source is not None:
        resampler.SetTransform(transform_to_sitk(target_from_source.inverse()))
    moved = sitk.GetArrayFromImage(resampler.Execute(_array_to_sitk(data, image.grid))).transpose(2, 1, 0)
    if isinstance(image, Mask):
        return Mask(moved >= 0.5, grid)
    if isinstance(image, LabelMap):
        return LabelMap(moved, grid, image.names)
    return Volume(moved, grid)


def _lps_geometry(grid: Grid) -> tuple[list[float], list[float], list[float]]:
    lps = LPS_FROM_RAS @ grid.affine
    u, _, vt = np.linalg.svd(lps[:3, :3] / grid.spacing_mm)
    direction = u @ vt  # ITK wants exactly orthogonal axes; sheared headers are refused at intake
    return lps[:3, 3].tolist(), grid.spacing_mm.tolist(), direction.ravel().tolist()


def _set_reference(resampler: sitk.ResampleImageFilter, grid: Grid) -> None:
    origin, spacing, direction = _lps_geometry(grid)
    resampler.SetSize(list(grid.shape))
    resampler.SetOutputOrigin(origin)
    resampler.SetOutputSpacing(spacing)
    resampler.SetOutputDirection(direction)


def _array_to_sitk(data: NDArray[Any], grid: Grid) -> sitk.Image:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    origin, spacing, direction = _lps_geometry(grid)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def to_sitk(image: Volume | Mask | LabelMap) -> sitk.Image:
    """The image in SimpleITK's conventions (LPS world); a mask becomes uint8."""
    data = image.data.astype(np.uint8) if isinstance(image, Mask) else image.data
    return _array_to_sitk(data, image.grid)


def point_to_sitk(point_mm: NDArray[Any]) -> tuple[float, float, float]:
    """A world point, RAS mm, in SimpleITK's LPS mm: a translation or a centre of rotation."""
    x, y, z = (float(value) for value in point_mm)
    return -x, -y, z


def transform_to_sitk(transform: Transform) -> sitk.AffineTransform:
    """The same point map in LPS mm."""
    import SimpleITK as sitk

    lps = LPS_FROM_RAS @ transform.matrix @ LPS_FROM_RAS
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(lps[:3, :3].ravel().tolist())
    affine.SetTranslation(lps[:3, 3].tolist())
    return affine


def transform_from_sitk(transform: sitk.Transform) -> Transform:
    """An affine or rigid SimpleITK transform as a map of RAS points, in the same direction."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    lps = np.eye(4)
    for axis in range(3):
        unit = [0.0, 0.0, 0.0]
        unit[axis] = 1.0
        lps[:3, axis] = np.array(transform.TransformPoint(unit)) - origin
    lps[:3, 3] = origin
    return Transform(LPS_FROM_RAS @ lps @ LPS_FROM_RAS)


def read_mask(path: Path) -> Mask:
    """Read a NIfTI mask: every voxel above one half.

    Raises
    ------
    InputError
        When the file is missing, damaged or not a 3D NIfTI.
    """
    values = read_values(path)
    return Mask(values.data > 0.5, values.grid)


def read_values(path: Path) -> Volume:
    """Read a NIfTI mask, probability map or label map with its values; errors as :func:`read_mask`."""
    try:
        image: Any = nib.load(path)
        return Volume(np.asarray(image.dataobj, np.float32), Grid(image.shape, np.asarray(image.affine, np.float64)))
    except (OSError, EOFError, ValueError, zlib.error, GeometryError, nib.filebasedimages.ImageFileError) as error:
        raise InputError(f"a mask that cannot be read, {path} ({error})", "a 3D NIfTI image", "check the file") from None


def write_volume(path: Path, image: Volume | Mask | LabelMap) -> None:
    """Write a gzipped NIfTI-1 atomically: the file is whole or absent. Same voxels give the same bytes.

    Masks are uint8, label maps the smallest fitting unsigned type, volumes float32.
    """
    if isinstance(image, Mask):
        data: NDArray[Any] = image.data.astype(np.uint8)
    elif isinstance(image, LabelMap):
        data = image.data.astype(np.min_scalar_type(int(image.data.max(initial=0))))
    else:
        data = image.data
    nifti = nib.Nifti1Image(np.asarray(data), image.grid.affine, dtype=data.dtype)
    nifti.set_sform(image.grid.affine, code=1)
    nifti.set_qform(image.grid.affine, code=1)
    nifti.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as raw:
            raw.write(gzip.compress(nifti.to_bytes(), compresslevel=3, mtime=0))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
