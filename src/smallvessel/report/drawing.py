"""Pictures as plain data: slices as small images, outlines as SVG paths over them.

Everything is drawn on grids with RAS+ axes, in mm, in radiological convention: the patient's right is on the left of the
picture; in sagittal pictures anterior is on the left. Nothing here knows HTML.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..markers import Marker
from ..volume import Grid
from .contours import trace_contours

JPEG_QUALITY = 88
SMOOTH_PIXELS = 320
"""Close-ups are interpolated up to about this many pixels, since browsers enlarge small images poorly."""
LONG_SCALE_MM, SHORT_SCALE_MM = 50, 10
"""Scale bars of whole slices and of close-ups."""


class Plane(Enum):
    """A plane of the analysis grid: the axis across it, its name and the letters at the picture's left and right edge.

    ``first`` tells from where its slices are counted: along RAS+ axes, whatever order the series has.
    """

    SAGITTAL = (0, "sagittal", "A", "P", "from the left")
    CORONAL = (1, "coronal", "R", "L", "from the back")
    AXIAL = (2, "axial", "R", "L", "from below")

    def __init__(self, axis: int, title: str, left: str, right: str, first: str) -> None:
        self.axis = axis
        self.title = title
        self.left = left
        self.right = right
        self.first = first


@dataclass(frozen=True)
class Outline:
    """A contour: an SVG path in mm, with the class that the page styles it by.

    ``lesion`` is such as ``CMB-2`` if it is one lesion's; ``title`` is shown when a pointer rests on it.
    """

    path: str
    colour: str
    style: str = "contour"
    lesion: str = ""
    title: str = ""


@dataclass(frozen=True)
class Picture:
    """One slice. ``uri`` is the image as a data URI; the size is in mm."""

    uri: str
    width_mm: float
    height_mm: float
    title: str
    left: str
    right: str
    outlines: tuple[Outline, ...] = ()

    @property
    def scale_mm(self) -> int:
        return LONG_SCALE_MM if self.width_mm > 2 * LONG_SCALE_MM else SHORT_SCALE_MM


@dataclass(frozen=True)
class Window:
    """Rectangle of a plane that is shown: first voxel and number of voxels along the plane's two axes; may leave the grid."""

    start: tuple[int, int]
    shape: tuple[int, int]


def mask_window(mask: NDArray[np.bool_], grid: Grid, plane: Plane, margin_mm: float) -> Window:
    """A mask's bounding box with a margin, the same for every slice of a plane; all of the plane for an empty mask."""
    starts, sizes = [], []
    for axis in in_plane(plane):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        first, last = (int(hit[0]), int(hit[-1])) if hit.size else (0, mask.shape[axis] - 1)
        margin = round(margin_mm / grid.spacing_mm[axis])
        first, last = max(first - margin, 0), min(last + margin, mask.shape[axis] - 1)
        starts.append(first)
        sizes.append(last - first + 1)
    return Window((starts[0], starts[1]), (sizes[0], sizes[1]))


def draw(
    grey: NDArray[np.uint8],
    grid: Grid,
    plane: Plane,
    index: int,
    window: Window,
    title: str,
    outlines: tuple[Outline, ...] = (),
    smooth: bool = False,
) -> Picture:
    """One slice of grey values as a picture; with ``smooth`` a small one is interpolated to more pixels."""
    pixels = _oriented(_cut(_slice(grey, plane, index), window))
    u, v = in_plane(plane)
    return Picture(
        uri=_image_uri(pixels, SMOOTH_PIXELS // max(pixels.shape) if smooth else 1),
        width_mm=round(float(window.shape[0] * grid.spacing_mm[u]), 2),
        height_mm=round(float(window.shape[1] * grid.spacing_mm[v]), 2),
        title=title,
        left=plane.left,
        right=plane.right,
        outlines=outlines,
    )


def outline(mask: NDArray[np.bool_], grid: Grid, plane: Plane, index: int, window: Window, colour: str, style: str = "contour") -> Outline:
    """The contour of a mask in one slice; an empty path where the mask is not."""
    return _trace(_slice(mask, plane, index), grid, plane, window, colour, style)


def rings(centres_vox: NDArray[np.float64], grid: Grid, plane: Plane, window: Window, radius_mm: float, colour: str) -> Outline:
    """Circles around small lesions, so that they are found at a glance. ``centres_vox`` has shape (n, 3)."""
    return Outline(" ".join(_circle(x, y, radius_mm) for x, y in picture_mm(centres_vox, grid, plane, window)), colour, "ring")


def slice_title(grid: Grid, plane: Plane, index: int) -> str:
    """Where a slice lies: the world coordinate of its centre along the plane's axis."""
    middle = [(n - 1) / 2 for n in grid.shape]
    middle[plane.axis] = index
    world = grid.world(np.array([middle]))[0]
    return f"{plane.title} {'xyz'[plane.axis]} = {round(float(world[plane.axis]))} mm".replace("-", "−")


def fullest_slices(mask: NDArray[np.bool_], plane: Plane, n: int, gap: int, given: Iterable[int] = ()) -> list[int]:
    """Up to ``n`` slices with most of the mask, at least ``gap`` apart, in ascending order; the lower index wins a tie.

    ``given`` slices are among them in any case.
    """
    area = mask.sum(axis=in_plane(plane))
    chosen = list(given)
    for index in np.argsort(-area, kind="stable"):
        if len(chosen) >= n or area[index] == 0:
            break
        if all(abs(int(index) - other) >= gap for other in chosen):
            chosen.append(int(index))
    return sorted(chosen)


def busiest_slice(numbered: NDArray[np.int32], plane: Plane, groups: Iterable[Collection[int]]) -> int | None:
    """The slice that cuts most lesions of one group, the lower of equals; None where no slice cuts any."""
    best, most = None, 0
    for group in groups:
        ours = np.where(np.isin(numbered, list(group)), numbered, 0)
        for index in range(numbered.shape[plane.axis]):
            cut = np.unique(_slice(ours, plane, index))
            if (count := np.count_nonzero(cut)) > most:
                best, most = index, count
    return best


def spread_slices(brain: NDArray[np.bool_], plane: Plane, fractions: tuple[float, ...]) -> list[int]:
    """Slices at fractions of the brain's extent across a plane."""
    hit = np.flatnonzero(brain.any(axis=in_plane(plane)))
    first, last = (int(hit[0]), int(hit[-1])) if hit.size else (0, brain.shape[plane.axis] - 1)
    return sorted({round(first + fraction * (last - first)) for fraction in fractions})


def sign(marker: Marker, x: float, y: float, radius: float = 2.2) -> str:
    """A marker's sign as an SVG path: its shape tells it apart without colour."""
    r = radius
    if marker is Marker.EPVS:
        r = 0.75 * radius
        return f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}z"
    if marker is Marker.CMB:
        return f"M{x:.1f} {y - r:.1f}l{r:.1f} {r:.1f}l{-r:.1f} {r:.1f}l{-r:.1f} {-r:.1f}z"
    if marker is Marker.LACUNE:
        return f"M{x:.1f} {y - r:.1f}l{r:.1f} {1.8 * r:.1f}h{-2 * r:.1f}z"
    return _circle(x, y, r)


def in_plane(plane: Plane) -> tuple[int, int]:
    """The two axes of a plane."""
    u, v = (axis for axis in range(3) if axis != plane.axis)
    return u, v


def _slice(data: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
    return np.asarray(data[(slice(None),) * plane.axis + (index,)])


def project(mask: NDArray[np.bool_], grid: Grid, plane: Plane, window: Window, colour: str, style: str) -> Outline:
    """The contour of a mask's shadow."""
    return _trace(np.asarray(mask.any(axis=plane.axis)), grid, plane, window, colour, style)


def _cut(section: NDArray[Any], window: Window) -> NDArray[Any]:
    """The window of a section, shape ``window.shape``; zeros beyond the grid."""
    out = np.zeros(window.shape, section.dtype)
    here, there = [], []
    for start, size, n in zip(window.start, window.shape, section.shape, strict=True):
        first, last = max(start, 0), min(start + size, n)
        here.append(slice(first, max(last, first)))
        there.append(slice(first - start, max(last, first) - start))
    out[there[0], there[1]] = section[here[0], here[1]]
    return out


def _oriented(section: NDArray[Any]) -> NDArray[Any]:
    """Rows from the top, columns from the left: both axes of a RAS+ section run the other way."""
    return np.asarray(section[::-1, ::-1].T)


def _image_uri(pixels: NDArray[Any], enlarge: int) -> str:
    import SimpleITK as sitk

    if enlarge > 1:
        pixels = np.clip(ndimage.zoom(pixels.astype(np.float32), enlarge, order=3, mode="nearest", grid_mode=True), 0, 255)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.jpg"
        sitk.WriteImage(sitk.GetImageFromArray(np.rint(pixels).astype(np.uint8)), str(path), True, JPEG_QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _trace(section: NDArray[Any], grid: Grid, plane: Plane, window: Window, colour: str, style: str) -> Outline:
    u, v = in_plane(plane)
    loops = trace_contours(_oriented(_cut(section, window)))
    paths = ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in loop * grid.spacing_mm[[u, v]]) + "Z" for loop in loops]
    return Outline("".join(paths), colour, style)


def picture_mm(voxels: NDArray[np.float64], grid: Grid, plane: Plane, window: Window) -> NDArray[np.float64]:
    """Voxel positions, shape (n, 3), as positions in the picture, mm from its top left corner, shape (n, 2)."""
    columns = []
    for axis, start, size in zip(in_plane(plane), window.start, window.shape, strict=True):
        columns.append((start + size - 0.5 - voxels[:, axis]) * grid.spacing_mm[axis])
    return np.stack(columns, axis=1)


def centres_in_slice(labels: NDArray[Any], plane: Plane, index: int) -> NDArray[np.float64]:
    """Centre of each label that a slice cuts, as voxel positions, shape (n, 3)."""
    section = _slice(labels, plane, index)
    centres = []
    for label in np.unique(section[section > 0]):
        centre = np.argwhere(section == label).mean(axis=0)
        centres.append(np.insert(centre, plane.axis, index))
    return np.array(centres).reshape(-1, 3)


def _circle(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0z"
