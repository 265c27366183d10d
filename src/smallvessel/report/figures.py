"""Pictures for the report: slices as small images, outlines as SVG paths over them.

Everything is drawn on the analysis grid (RAS+ axes), in mm, in radiological convention: the patient's right is on the
left of the picture; in sagittal pictures anterior is on the left. Nothing here knows HTML.
"""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..markers import MARKERS, Marker, Sequence
from ..records import Lesion, MarkerMap, Prepared
from ..structures import VENTRICLES, Structure
from ..volume import Grid
from .contours import trace_contours

BRAIN_COLOUR = "#F0E442"
VENTRICLE_COLOUR = "#CC79A7"
DEEP_GREY_COLOUR = "#9AD0F5"
DEEP_GREY = (Structure.THALAMUS, Structure.CAUDATE, Structure.PUTAMEN, Structure.PALLIDUM)
MARGIN_MM = 8.0
"""Kept around the brain in every picture."""
BLACK_PERCENTILE = 0.5
WHITE_PERCENTILE = {Sequence.FLAIR: 99.8, Sequence.T1W: 99.8, Sequence.T2W: 98.5, Sequence.SWI: 99.5}
"""Of the intensities of brain tissue, without ventricles and CSF: the display window. On T2w CSF would else make all tissue dark."""
THICK_SLICES = 2.0
"""Slices at least this many times thicker than the in-plane voxel size are shown in the plane they were acquired in."""
HEADROOM = 1.1
"""White lies this much above the upper percentile, so that bright tissue keeps its contrast."""
JPEG_QUALITY = 88
CROP_ENLARGEMENT = 4
"""Crops are interpolated to this many pixels per voxel, since browsers enlarge small images poorly."""


class Plane(Enum):
    """A plane of the analysis grid: the axis across it, its name and the letters at the picture's left and right edge."""

    SAGITTAL = (0, "sagittal", "A", "P")
    CORONAL = (1, "coronal", "R", "L")
    AXIAL = (2, "axial", "R", "L")

    def __init__(self, axis: int, title: str, left: str, right: str) -> None:
        self.axis = axis
        self.title = title
        self.left = left
        self.right = right


@dataclass(frozen=True)
class Outline:
    """A contour: an SVG path in mm, with the class that the page styles it by."""

    path: str
    colour: str
    style: str = "contour"


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


@dataclass(frozen=True)
class Window:
    """Rectangle of a plane that is shown: first voxel and number of voxels along the plane's two axes; may leave the grid."""

    start: tuple[int, int]
    shape: tuple[int, int]


def display(prepared: Prepared, sequence: Sequence) -> NDArray[np.uint8]:
    """A sequence's intensities as grey values, the window taken from brain tissue, shape (x, y, z)."""
    image = prepared.images[sequence].data
    fluid = np.isin(prepared.anatomy.structures.data, (Structure.CSF, *VENTRICLES))
    tissue = image[prepared.anatomy.brain.data & ~fluid]
    low, high = np.percentile(tissue if tissue.size else image, [BLACK_PERCENTILE, WHITE_PERCENTILE[sequence]])
    scaled = (image - low) / (HEADROOM * (high - low)) if high > low else np.zeros_like(image)
    return np.asarray(np.clip(255 * scaled, 0, 255), np.uint8)


def brain_window(prepared: Prepared, plane: Plane) -> Window:
    """The brain's bounding box with a margin, the same for every slice of a plane."""
    brain, spacing = prepared.anatomy.brain.data, prepared.grid.spacing_mm
    starts, sizes = [], []
    for axis in _in_plane(plane):
        hit = np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))
        first, last = (int(hit[0]), int(hit[-1])) if hit.size else (0, brain.shape[axis] - 1)
        margin = round(MARGIN_MM / spacing[axis])
        first, last = max(first - margin, 0), min(last + margin, brain.shape[axis] - 1)
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
    enlarge: int = 1,
) -> Picture:
    """One slice of grey values as a picture."""
    pixels = _oriented(_cut(_slice(grey, plane, index), window))
    u, v = _in_plane(plane)
    return Picture(
        uri=_image_uri(pixels, enlarge),
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
    return Outline(" ".join(_circle(x, y, radius_mm) for x, y in _picture_mm(centres_vox, grid, plane, window)), colour, "ring")


def viewing_plane(prepared: Prepared, sequence: Sequence) -> Plane:
    """Axial, or the plane of acquisition where the slices are thick."""
    native = prepared.native[sequence]
    spacing = native.grid.spacing_mm
    if spacing.max() < THICK_SLICES * spacing.min():
        return Plane.AXIAL
    across = native.reference_from_native.matrix[:3, :3] @ native.grid.affine[:3, native.grid.slice_axis]
    along_axes = np.abs(np.linalg.inv(prepared.grid.affine[:3, :3] / prepared.grid.spacing_mm) @ across)
    return next(plane for plane in Plane if plane.axis == int(np.argmax(along_axes)))


def slice_title(grid: Grid, plane: Plane, index: int) -> str:
    """Where a slice lies: the world coordinate of its centre along the plane's axis."""
    middle = [(n - 1) / 2 for n in grid.shape]
    middle[plane.axis] = index
    world = grid.world(np.array([middle]))[0]
    return f"{plane.title} {'xyz'[plane.axis]} = {round(float(world[plane.axis]))} mm".replace("-", "−")


def fullest_slices(mask: NDArray[np.bool_], plane: Plane, n: int, gap: int) -> list[int]:
    """Up to ``n`` slices with most of the mask, at least ``gap`` apart, in ascending order; the lower index wins a tie."""
    area = mask.sum(axis=_in_plane(plane))
    chosen: list[int] = []
    for index in np.argsort(-area, kind="stable"):
        if len(chosen) == n or area[index] == 0:
            break
        if all(abs(int(index) - other) >= gap for other in chosen):
            chosen.append(int(index))
    return sorted(chosen)


def spread_slices(brain: NDArray[np.bool_], plane: Plane, fractions: tuple[float, ...]) -> list[int]:
    """Slices at fractions of the brain's extent across a plane."""
    hit = np.flatnonzero(brain.any(axis=_in_plane(plane)))
    first, last = (int(hit[0]), int(hit[-1])) if hit.size else (0, brain.shape[plane.axis] - 1)
    return sorted({round(first + fraction * (last - first)) for fraction in fractions})


def anatomy_pictures(prepared: Prepared, sequence: Sequence, grey: NDArray[np.uint8]) -> list[Picture]:
    """One axial, coronal and sagittal slice of a sequence with the outlines of brain, ventricles and deep grey structures.

    The outlines come from the reference image: where they do not fit another sequence, its registration is wrong.
    """
    structures = prepared.anatomy.structures.data
    drawn = (
        (prepared.anatomy.brain.data, BRAIN_COLOUR),
        (np.isin(structures, VENTRICLES), VENTRICLE_COLOUR),
        (np.isin(structures, DEEP_GREY), DEEP_GREY_COLOUR),
    )
    pictures = []
    for plane, fraction in ((Plane.AXIAL, 0.55), (Plane.CORONAL, 0.5), (Plane.SAGITTAL, 0.47)):
        ventricles = fullest_slices(np.isin(structures, (Structure.LATERAL_VENTRICLE,)), plane, 1, 1)
        index = ventricles[0] if ventricles and plane is Plane.AXIAL else spread_slices(prepared.anatomy.brain.data, plane, (fraction,))[0]
        window = brain_window(prepared, plane)
        outlines = tuple(outline(mask, prepared.grid, plane, index, window, colour) for mask, colour in drawn)
        title = slice_title(prepared.grid, plane, index)
        pictures.append(draw(grey, prepared.grid, plane, index, window, f"{sequence} · {title}", outlines))
    return pictures


def marker_pictures(prepared: Prepared, found: MarkerMap, grey: NDArray[np.uint8], n: int, ring_mm: float | None) -> list[Picture]:
    """The slices with most of a marker, outlined, with rings of ``ring_mm`` around each lesion's place if given.

    Without any lesion: three slices over the brain, so that the finding can be checked.
    """
    plane = viewing_plane(prepared, found.native_sequence)
    window = brain_window(prepared, plane)
    colour = MARKERS[found.marker].colour
    mask = found.labels.data > 0
    gap = max(1, round(4.0 / prepared.grid.spacing_mm[plane.axis]))
    pictures = []
    for index in fullest_slices(mask, plane, n, gap) or spread_slices(prepared.anatomy.brain.data, plane, (0.4, 0.55, 0.7)):
        outlines = [outline(mask, prepared.grid, plane, index, window, colour)] if mask.any() else []
        if outlines and ring_mm:
            outlines.append(rings(_centres_in_slice(found.labels.data, plane, index), prepared.grid, plane, window, ring_mm, colour))
        title = f"{found.native_sequence} · {slice_title(prepared.grid, plane, index)}"
        pictures.append(draw(grey, prepared.grid, plane, index, window, title, tuple(outlines)))
    return pictures


def lesion_pictures(
    prepared: Prepared, found: MarkerMap, label: int, greys: dict[Sequence, NDArray[np.uint8]], field_of_view_mm: float
) -> list[Picture]:
    """Crops around one lesion in its largest slice: where it is rated without and with its contour, then the other sequences."""
    lesion = found.labels.data == label
    plane = viewing_plane(prepared, found.native_sequence)
    index = fullest_slices(lesion, plane, 1, 1)[0]
    centre = _centres_in_slice(np.where(lesion, 1, 0), plane, index)[0]
    starts, sizes = [], []
    for axis in _in_plane(plane):
        size = max(round(field_of_view_mm / prepared.grid.spacing_mm[axis]), 8)
        starts.append(round(centre[axis]) - size // 2)
        sizes.append(size)
    window = Window((starts[0], starts[1]), (sizes[0], sizes[1]))
    contour = outline(found.labels.data > 0, prepared.grid, plane, index, window, MARKERS[found.marker].colour)
    others = [sequence for sequence in greys if sequence is not found.native_sequence]
    shown = [(found.native_sequence, ()), (found.native_sequence, (contour,)), *((sequence, ()) for sequence in others)]
    return [
        draw(greys[sequence], prepared.grid, plane, index, window, str(sequence), outlines, CROP_ENLARGEMENT)
        for sequence, outlines in shown
    ]


def map_pictures(prepared: Prepared, maps: dict[Marker, MarkerMap], lesions: tuple[Lesion, ...]) -> list[Picture]:
    """All markers projected through the brain in three planes: WMH as an area, every other lesion as a sign at its centroid."""
    pictures = []
    for plane in (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL):
        window = brain_window(prepared, plane)
        drawn = [_trace(_project(prepared.anatomy.brain.data, plane), prepared.grid, plane, window, "", "silhouette")]
        ventricles = _project(np.isin(prepared.anatomy.structures.data, VENTRICLES), plane)
        drawn.append(_trace(ventricles, prepared.grid, plane, window, "", "ventricle"))
        for marker, found in maps.items():
            colour = MARKERS[marker].colour
            if marker is Marker.WMH:
                drawn.append(_trace(_project(found.labels.data > 0, plane), prepared.grid, plane, window, colour, "area"))
                continue
            places = [lesion.centroid_mm for lesion in lesions if lesion.marker is marker]
            if places:
                centres = _picture_mm(prepared.grid.voxels(np.array(places)), prepared.grid, plane, window)
                drawn.append(Outline(" ".join(sign(marker, x, y) for x, y in centres), colour, "sign"))
        u, v = _in_plane(plane)
        width, height = (round(float(n * prepared.grid.spacing_mm[axis]), 2) for n, axis in zip(window.shape, (u, v), strict=True))
        pictures.append(Picture("", width, height, f"{plane.title} projection", plane.left, plane.right, tuple(drawn)))
    return pictures


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


def _in_plane(plane: Plane) -> tuple[int, int]:
    u, v = (axis for axis in range(3) if axis != plane.axis)
    return u, v


def _slice(data: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
    return np.asarray(np.take(data, index, axis=plane.axis))


def _project(mask: NDArray[np.bool_], plane: Plane) -> NDArray[np.bool_]:
    return np.asarray(mask.any(axis=plane.axis))


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
    u, v = _in_plane(plane)
    loops = trace_contours(_oriented(_cut(section, window)))
    paths = ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in loop * grid.spacing_mm[[u, v]]) + "Z" for loop in loops]
    return Outline("".join(paths), colour, style)


def _picture_mm(voxels: NDArray[np.float64], grid: Grid, plane: Plane, window: Window) -> NDArray[np.float64]:
    """Voxel positions, shape (n, 3), as positions in the picture, mm from its top left corner, shape (n, 2)."""
    columns = []
    for axis, start, size in zip(_in_plane(plane), window.start, window.shape, strict=True):
        columns.append((start + size - 0.5 - voxels[:, axis]) * grid.spacing_mm[axis])
    return np.stack(columns, axis=1)


def _centres_in_slice(labels: NDArray[Any], plane: Plane, index: int) -> NDArray[np.float64]:
    """Centre of each label that a slice cuts, as voxel positions, shape (n, 3)."""
    section = _slice(labels, plane, index)
    centres = []
    for label in np.unique(section[section > 0]):
        centre = np.argwhere(section == label).mean(axis=0)
        centres.append(np.insert(centre, plane.axis, index))
    return np.array(centres).reshape(-1, 3)


def _circle(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0z"
