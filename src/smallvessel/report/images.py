"""The images that a report carries: 8 bits, cropped to the brain, at the resolution of acquisition, in the reference's world.

Figures and viewer show these and nothing else, so that a report can be made anew from an old one, without the scans.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..markers import Sequence
from ..records import Native, Prepared
from ..structures import VENTRICLES, Structure
from ..volume import Grid, LabelMap, Mask, Volume, canonical_grid, isotropic_grid, reorder_axes, resample

MARGIN_MM = 8.0
"""Kept around the brain."""
BLACK_PERCENTILE = 0.5
WHITE_PERCENTILE = {Sequence.FLAIR: 99.8, Sequence.T1W: 99.8, Sequence.T2W: 95.0, Sequence.SWI: 98.0}
"""Of the intensities of brain tissue, without ventricles and CSF: the display window. On T2w CSF would else make all tissue dark."""
BLACK_SHARE = 0.5
"""Black lies no higher than this share of the tissue's median, so that dark tissue is grey and voids are black."""
HEADROOM = 1.1
"""White lies this much above the upper percentile, so that bright tissue keeps its contrast."""
BEYOND_WINDOW = 0.8
"""Intensities are kept up to this many window widths above white, so that a reader can window them."""
MAX_VOXELS = 14_000_000
"""An image with more is brought onto larger voxels, as small as this allows."""
MAX_VOXELS_TOGETHER = 24_000_000
"""Of all images: the largest are reduced until they fit, so that a report stays below 25 MB (up to 0.9 bytes per voxel, and 3 MB)."""
THICK_SLICES = 2.0
"""Slices at least this many times thicker than the in-plane voxel size are shown in the plane they were acquired in."""
COMPRESSION = 4


@dataclass(frozen=True, eq=False)
class GreyImage:
    """A sequence as it is shown.

    Attributes
    ----------
    sequence : Sequence
    data : ndarray of uint8, shape (x, y, z)
        Axes in the closest RAS+ order.
    grid : Grid
        In the reference image's world, mm.
    black, white : int
        Display window in grey values of ``data``.
    """

    sequence: Sequence
    data: NDArray[np.uint8]
    grid: Grid
    black: int
    white: int

    @property
    def slice_axis(self) -> int:
        """Across the slices: that of acquisition where they are thick, else 2, so that slices are axial."""
        spacing = self.grid.spacing_mm
        return int(np.argmax(spacing)) if spacing.max() >= THICK_SLICES * spacing.min() else 2

    def windowed(self) -> NDArray[np.uint8]:
        """Grey values stretched over the display window, shape (x, y, z)."""
        steps = (np.arange(256) - self.black) * (255 / max(self.white - self.black, 1))
        return np.clip(steps, 0, 255).astype(np.uint8)[self.data]


def take_images(acquired: Mapping[Sequence, Volume], prepared: Prepared) -> dict[Sequence, GreyImage]:
    """Make the images of a report from the images as acquired.

    Parameters
    ----------
    acquired : mapping of Sequence to Volume
        Each on the grid of ``prepared.native``.
    prepared : Prepared
    """
    fluid = np.isin(prepared.anatomy.structures.data, (Structure.CSF, *VENTRICLES))
    tissue = Mask(prepared.anatomy.brain.data & ~fluid, prepared.grid)
    shown = {sequence: _crop_to_brain(acquired[sequence], native) for sequence, native in prepared.native.items()}
    limit = _fair_limit([image.data.size for image in shown.values()])
    return {sequence: _quantise(sequence, _reduce(image, limit), tissue) for sequence, image in shown.items()}


def _fair_limit(sizes: list[int]) -> float:
    """Voxels that an image may have, so that all together have as many as they may; small images leave theirs to the large ones."""
    left = float(MAX_VOXELS_TOGETHER)
    for i, size in enumerate(sorted(sizes)):
        share = left / (len(sizes) - i)
        if size > share:
            return min(share, MAX_VOXELS)
        left -= size
    return MAX_VOXELS


def _crop_to_brain(image: Volume, native: Native) -> Volume:
    ordered = canonical_grid(image.grid)
    data, brain = reorder_axes(image, ordered).data, reorder_axes(native.brain, ordered).data
    box = _brain_box(brain, ordered)
    start = (box[0].start, box[1].start, box[2].start)
    x, y, z = data[box].shape
    return Volume(np.ascontiguousarray(data[box]), native.reference_from_native.move(ordered.crop(start, (x, y, z))))


def _reduce(image: Volume, limit_vox: float) -> Volume:
    """The image with larger voxels when it has too many: along the axes with the smallest, so that thick slices stay as they are."""
    grid, least_mm = image.grid, float(image.grid.spacing_mm.min())
    while np.prod(grid.shape) > limit_vox:
        least_mm *= 1.005
        grid = isotropic_grid(image.grid, np.maximum(image.grid.spacing_mm, least_mm))
    return resample(image, grid)


def _quantise(sequence: Sequence, shown: Volume, tissue: Mask) -> GreyImage:
    """Grey values from 0 to 255, with the display window by the brain's tissue."""
    inside = shown.data[resample(tissue, shown.grid).data]
    levels = np.percentile(inside if inside.size else shown.data, [BLACK_PERCENTILE, 50, WHITE_PERCENTILE[sequence]])
    low, high = min(float(levels[0]), BLACK_SHARE * float(levels[1])), float(levels[2])
    width = max(HEADROOM * (high - low), 1e-6)
    floor = min(float(shown.data.min()), low)
    floor = max(floor, low - BEYOND_WINDOW * width)
    ceiling = min(max(float(shown.data.max()), low + width), low + (1 + BEYOND_WINDOW) * width)
    scale = 255 / (ceiling - floor)
    grey = np.rint(np.clip((shown.data - floor) * scale, 0, 255)).astype(np.uint8)
    return GreyImage(sequence, grey, shown.grid, round((low - floor) * scale), round((low + width - floor) * scale))


def _brain_box(brain: NDArray[np.bool_], grid: Grid) -> tuple[slice, slice, slice]:
    """The brain's bounding box with a margin; the whole image where no brain is."""
    sides = []
    for axis, n in enumerate(brain.shape):
        hit = np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = round(MARGIN_MM / grid.spacing_mm[axis])
        sides.append(slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + margin + 1, n)) if hit.size else slice(0, n))
    return sides[0], sides[1], sides[2]


def encode_image(image: GreyImage) -> str:
    """The image as gzipped NIfTI in base64, its display window in the header."""
    nifti = nib.Nifti1Image(image.data, image.grid.affine, dtype=np.uint8)
    nifti.header["cal_min"], nifti.header["cal_max"] = image.black, image.white
    return _pack(nifti)


def encode_labels(labels: LabelMap) -> str:
    """A label map as gzipped NIfTI in base64, cropped to its labels."""
    hit = np.argwhere(labels.data > 0)
    first, last = (hit.min(axis=0), hit.max(axis=0) + 1) if hit.size else (np.zeros(3, int), np.ones(3, int))
    first, last = np.maximum(first - 1, 0), np.minimum(last + 1, labels.data.shape)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    data = labels.data[x, y, z].astype(np.uint8 if labels.data.max(initial=0) < 256 else np.uint16)
    grid = labels.grid.crop((x.start, y.start, z.start), (data.shape[0], data.shape[1], data.shape[2]))
    nifti = nib.Nifti1Image(data, grid.affine, dtype=data.dtype)
    # the viewer looks for a window of its own, at every voxel, where the header has none
    nifti.header["cal_min"], nifti.header["cal_max"] = 0, max(int(data.max(initial=0)), 1)
    return _pack(nifti)


def _pack(nifti: nib.Nifti1Image) -> str:
    nifti.header.set_xyzt_units("mm", "sec")
    return base64.b64encode(gzip.compress(nifti.to_bytes(), COMPRESSION, mtime=0)).decode("ascii")


def read_images(report: Path) -> dict[Sequence, GreyImage]:
    """The images that a report carries.

    Raises
    ------
    InputError
        When the file cannot be read or is no report of this version.
    """
    try:
        page = report.read_text(encoding="utf-8")
        found = dict(re.findall(r'<script type="text/plain" id="image-(\w+)">([A-Za-z0-9+/=]+)</script>', page))
        images = {Sequence(name): _decode_image(Sequence(name), text) for name, text in found.items()}
        if not images:
            raise ValueError("it carries no images")
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise InputError(
            f"a report that cannot be read, {report} ({error})", "a report with its images", "measure the session again with run --force"
        ) from None
    return images


def _decode_image(sequence: Sequence, text: str) -> GreyImage:
    nifti = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))
    data = np.asarray(nifti.dataobj, np.uint8)
    grid = Grid((data.shape[0], data.shape[1], data.shape[2]), np.asarray(nifti.affine, np.float64))
    return GreyImage(sequence, data, grid, int(nifti.header["cal_min"]), int(nifti.header["cal_max"]))
