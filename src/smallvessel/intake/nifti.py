"""Reads one NIfTI file, or refuses it with the reason: bytes, header, orientation, size, intensities."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import GeometryError, InputError
from ..volume import Grid, Volume

MIN_SLICES = 10
MIN_EXTENT_MM = 100.0
MIN_SLAB_MM = 50.0
"""Shortest allowed of the three extents: a slab of part of the head is measured where it is."""
MAX_EXTENT_MM = 400.0
MAX_SLICE_MM = 8.5
"""Slices of up to 8 mm are supported; the half covers rounding and small gaps. Lesions are not told apart in thicker ones."""
MAX_SHEAR = 0.005
"""Largest cosine between two axes that should be orthogonal: 0.5 mm at the edge of a head."""
SIZE_TOLERANCE = 0.01
MAX_TURN_DEG = 45.0
MIN_VALUES = 16
"""An image with fewer distinct values is a mask or a label map."""
MAX_NEGATIVE = 0.1
"""Share of the summed absolute intensity. Interpolation and noise leave some; more means phase or standardised images."""

GZIP = b"\x1f\x8b"
UNITS = {1: "meter", 2: "mm", 3: "micron"}
"""Of the lowest three bits of ``xyzt_units``; the others are of time."""
_DAMAGED = (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError)
_KINDS: dict[int, Any] = {1: nib.Nifti1Image, 2: nib.Nifti2Image}
_HEADER_BYTES = {1: 348, 2: 540}
_MAGIC = {1: (344, b"n+1\0"), 2: (4, b"n+2\0")}
_PAIR_MAGIC = {1: b"ni1\0", 2: b"ni2\0"}
_MADE_BY_CONVERTER = "convert the series again, for example with dcm2niix"


def read_nifti(path: Path, trust_header: bool = False) -> tuple[Volume, str, tuple[str, ...]]:
    """Read an image of a head.

    Parameters
    ----------
    path : Path
        NIfTI-1 or NIfTI-2, gzipped or not, of any real type and scaling.
    trust_header : bool
        Accept a file without a declared orientation, or whose qform and sform contradict each other.

    Returns
    -------
    volume : Volume
        Finite, on the file's own grid; voxels outside the field of view that were not finite are 0.
    sha256 : str
        Of the file's bytes.
    notes : tuple of str
        Sentences about what was done to accept the file.

    Raises
    ------
    InputError
        When the file or its intensities cannot be used.
    GeometryError
        When its orientation or size cannot be right.
    """
    raw = _read_bytes(path)
    nifti = _parse(path, _inflate(path, raw))
    shape = _spatial_shape(path, nifti)
    affine, notes = _choose_affine(path, nifti.header, trust_header)
    grid = _checked_grid(path, shape, affine, UNITS.get(int(nifti.header["xyzt_units"]) & 7, "unknown"))
    if shape != nifti.shape:
        notes.append(f"A single volume of shape {nifti.shape} was squeezed to three axes.")
    if grid.extent_mm.min() < MIN_EXTENT_MM:
        notes.append(f"The image covers only {grid.extent_mm.min():.0f} mm along one axis; nothing outside is measured.")
    try:
        data = nifti.get_fdata(dtype=np.float32, caching="unchanged").reshape(shape, order="A")
    except _DAMAGED as error:
        raise InputError(f"{path} whose voxels cannot be read ({error})", "a complete NIfTI file", "copy or convert it again") from None
    data, filled = _checked_intensities(path, data)
    if filled:
        notes.append(f"{filled} voxels outside the field of view that were not finite were set to 0.")
    return Volume(data, grid), hashlib.sha256(raw).hexdigest(), tuple(notes)


def read_header(path: Path) -> Any | None:
    """The header of an image without its voxels, compressed or not whatever its name; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            raw = file.read(max(_HEADER_BYTES.values()))
        version = next(version for version, (start, magic) in _MAGIC.items() if raw[start : start + 4] == magic)
        return _KINDS[version].header_class(raw[: _HEADER_BYTES[version]])
    except (*_DAMAGED, StopIteration, nib.wrapstruct.WrapStructError):
        return None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} that cannot be opened ({reason})", "a NIfTI file", "check the path, or fetch what it links to") from None


def _inflate(path: Path, raw: bytes) -> bytes:
    if not raw.startswith(GZIP):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} with a truncated or damaged gzip stream ({error})", "a complete .nii.gz", "copy it again") from None


def _parse(path: Path, raw: bytes) -> Any:
    for version, (start, magic) in _MAGIC.items():
        found = raw[start : start + 4]
        if found == _PAIR_MAGIC[version]:
            raise InputError(f"{path}, the header of a .hdr/.img pair", "a single .nii or .nii.gz", "convert it, for example with dcm2niix")
        if found != magic or len(raw) < _HEADER_BYTES[version]:
            continue
        try:
            nifti: Any = _KINDS[version].from_bytes(raw)
        except _DAMAGED as error:
            raise InputError(f"{path} with a damaged NIfTI header ({error})", "a valid header", _MADE_BY_CONVERTER) from None
        if nifti.dataobj.offset < _HEADER_BYTES[version]:
            where = f"{path} whose voxels begin at byte {nifti.dataobj.offset}, inside the header"
            raise InputError(where, f"byte {_HEADER_BYTES[version]} or later", _MADE_BY_CONVERTER)
        dtype = nifti.get_data_dtype()
        if dtype.fields or dtype.kind not in "iuf":
            kind = "colour" if dtype.fields else "complex" if dtype.kind == "c" else str(dtype)
            raise InputError(f"{path} with {kind} voxels", "one real number per voxel", "give the magnitude image as a scanner writes it")
        needed = int(nifti.dataobj.offset) + math.prod(map(int, nifti.shape)) * dtype.itemsize
        if len(raw) < needed:
            raise InputError(f"{path} of {len(raw)} bytes", f"{needed} bytes by its header", "copy it again: the file was cut off")
        return nifti
    raise InputError(f"{path}, which is not a NIfTI file", "NIfTI-1 or NIfTI-2 (.nii or .nii.gz)", "convert it, for example with dcm2niix")


def _spatial_shape(path: Path, nifti: Any) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in nifti.shape)
    volumes = math.prod(shape[3:])
    if len(shape) < 3 or min(shape, default=0) < 1:
        raise InputError(f"{path} of shape {shape}", "a three-dimensional image", "give the whole series, not one slice")
    if volumes > 1:
        raise InputError(f"{path} with {volumes} volumes, shape {shape}", "one volume", "split it and give one (of echoes, a late one)")
    slices = min(shape[:3])
    if slices < MIN_SLICES:
        raise GeometryError(f"{path} with {slices} slices, shape {shape}", f"at least {MIN_SLICES} slices", "give a whole series")
    return shape[0], shape[1], shape[2]


def _choose_affine(path: Path, header: Any, trust_header: bool) -> tuple[NDArray[np.float64], list[str]]:
    """The affine to use and why: sform, unless only the qform is declared or the sform changes the voxels' size."""
    pixdim_mm = np.array(header.get_zooms()[:3], np.float64)
    sform = _declared(header, "sform")
    qform = _declared(header, "qform")
    if sform is None and qform is None:
        if not trust_header:
            raise GeometryError(
                f"{path} without an orientation (qform and sform codes 0, or unusable)",
                "a header that says where left, front and top are",
                f"{_MADE_BY_CONVERTER}; or use --trust-header, after which sides may be swapped",
            )
        return np.asarray(header.get_base_affine(), np.float64), [
            "The header declares no orientation; it was trusted by request: first axis to the left, second to the front, third up. "
            "Left and right may be swapped."
        ]
    if sform is None or qform is None:
        affine = np.asarray(qform if sform is None else sform)
        if _size_change(affine, pixdim_mm):
            return affine, [f"The affine's voxel size {_sizes(affine)} mm differs from the header's {pixdim_mm} mm; the affine is used."]
        return affine, []
    if _contradict(sform, qform):
        codes = f"qform ({_codes(qform)}) and sform ({_codes(sform)})"
        if not trust_header:
            raise GeometryError(
                f"{path} whose {codes} are mirrored or turned by more than {MAX_TURN_DEG:g} degrees",
                "two orientations that agree on left, front and top",
                "correct the wrong one; or use --trust-header to use the sform",
            )
        return sform, [f"{codes} contradict each other; the sform was trusted by request."]
    if _size_change(sform, pixdim_mm):
        return qform, [f"The sform changes the voxels' size to {_sizes(sform)} mm, as one to a template does; the qform is used."]
    corners = np.array(np.meshgrid(*[(0, n) for n in header.get_data_shape()[:3]])).reshape(3, -1)
    apart_mm = float(np.linalg.norm((sform - qform)[:3, :3] @ corners + (sform - qform)[:3, 3:], axis=0).max())
    return sform, [f"qform and sform differ by up to {apart_mm:.1f} mm; the sform is used."] if apart_mm > 1.0 else []


def _declared(header: Any, form: str) -> NDArray[np.float64] | None:
    if int(header[f"{form}_code"]) == 0:
        return None
    try:
        affine = np.asarray(getattr(header, f"get_{form}")(), np.float64)
    except (ValueError, nib.spatialimages.HeaderDataError):
        return None
    usable = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9
    return affine if usable else None


def _sizes(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.round(np.linalg.norm(affine[:3, :3], axis=0), 3), np.float64)


def _codes(affine: NDArray[np.float64]) -> str:
    return "".join(code or "?" for code in nib.orientations.aff2axcodes(affine))


def _size_change(affine: NDArray[np.float64], pixdim_mm: NDArray[np.float64]) -> bool:
    return bool(np.abs(np.linalg.norm(affine[:3, :3], axis=0) / pixdim_mm - 1).max() > SIZE_TOLERANCE)


def _contradict(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    axes_a, axes_b = (m[:3, :3] / np.linalg.norm(m[:3, :3], axis=0) for m in (a, b))
    turn = axes_a.T @ axes_b
    angle_deg = np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return bool(np.linalg.det(turn) < 0 or angle_deg > MAX_TURN_DEG)


def _checked_grid(path: Path, shape: tuple[int, int, int], affine: NDArray[np.float64], unit: str) -> Grid:
    try:
        grid = Grid(shape, affine)
    except GeometryError as error:
        raise GeometryError(f"{path} with {error.found}", error.expected, _MADE_BY_CONVERTER) from None
    axes = affine[:3, :3] / grid.spacing_mm
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if shear > MAX_SHEAR:
        raise GeometryError(
            f"{path} with a sheared affine (axes {90 - np.rad2deg(np.arcsin(shear)):.1f} degrees apart)",
            "orthogonal axes",
            "resample it onto an orthogonal grid (tilted gantry), or restore the scanner's affine",
        )
    extent_mm = np.sort(grid.extent_mm)
    if extent_mm[0] < MIN_SLAB_MM or extent_mm[1] < MIN_EXTENT_MM or extent_mm[2] > MAX_EXTENT_MM:
        told = f"; its unit is {unit}" if unit not in ("mm", "unknown") else ""
        raise GeometryError(
            f"{path} of {' x '.join(f'{n:.4g}' for n in grid.extent_mm)} mm{told}",
            f"a head: {MIN_EXTENT_MM:g} to {MAX_EXTENT_MM:g} mm along two axes, {MIN_SLAB_MM:g} to {MAX_EXTENT_MM:g} mm along the third",
            "correct the voxel size in the header, which must be in mm",
        )
    if grid.spacing_mm.max() > MAX_SLICE_MM:
        raise GeometryError(
            f"{path} with slices {grid.spacing_mm.max():.1f} mm apart", f"at most {MAX_SLICE_MM:g} mm", "use a series with thinner slices"
        )
    return grid


def _checked_intensities(path: Path, data: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Finite intensities, and how many voxels outside the field of view were filled to get them."""
    finite = np.isfinite(data)
    filled = int(data.size - np.count_nonzero(finite))
    if filled:
        inside = _count_enclosed(~finite)
        if filled == data.size or inside:
            found = "only voxels that are not finite" if filled == data.size else f"{inside} voxels inside the head that are not finite"
            raise InputError(f"{path} with {found} (NaN or infinite)", "finite intensities", _MADE_BY_CONVERTER)
        data = np.where(finite, data, np.float32(0))
    if data.min() == data.max():
        raise InputError(f"{path}, a constant image (all voxels {data.flat[0]:g})", "a scan", "export the series again")
    values = np.unique(data[::3, ::3, ::3])
    if len(values) < MIN_VALUES and len(values := np.unique(data)) < MIN_VALUES:
        raise InputError(f"{path} with {len(values)} distinct values, a mask or a label map", "a scan", "give the image itself")
    negative = -float(data.sum(where=data < 0)) / float(np.abs(data).sum())
    if negative > MAX_NEGATIVE:
        raise InputError(
            f"{path} with {100 * negative:.0f} % of its intensity negative, as in phase or standardised images",
            "magnitudes as acquired",
            "give the magnitude image, before any standardisation",
        )
    return data, filled


def _count_enclosed(holes: NDArray[np.bool_]) -> int:
    """Voxels of those ``holes`` that do not reach the edge of the image by faces."""
    labels, count = ndimage.label(holes)
    faces = [labels.take(edge, axis) for axis in range(3) for edge in (0, -1)]
    at_edge = np.zeros(count + 1, bool)
    at_edge[np.unique(np.concatenate([face.ravel() for face in faces]))] = True
    return int(np.count_nonzero(holes & ~at_edge[labels]))
