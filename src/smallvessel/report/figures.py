"""What is shown: slices with most of a marker, lesions close up, all lesions at a glance, and whether the anatomy fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..markers import MARKERS, Marker, Sequence
from ..records import Lesion, MarkerMap, Prepared
from ..structures import VENTRICLES, Structure
from ..volume import Grid, resample
from .drawing import (
    Outline,
    Picture,
    Plane,
    Window,
    centres_in_slice,
    draw,
    fullest_slices,
    in_plane,
    mask_window,
    outline,
    picture_mm,
    project,
    rings,
    sign,
    slice_title,
    spread_slices,
)
from .images import MARGIN_MM, GreyImage

BRAIN_COLOUR = "#F0E442"
VENTRICLE_COLOUR = "#CC79A7"
DEEP_GREY_COLOUR = "#9AD0F5"
DEEP_GREY = (Structure.THALAMUS, Structure.CAUDATE, Structure.PUTAMEN, Structure.PALLIDUM)
SLICE_GAP_MM = 4.0
"""Between the slices that are shown of a marker, at least."""
CHECKER_MM = 24.0
"""Side of a field of the checkerboard."""
PLOT_WIDTH, PLOT_HEIGHT = 200.0, 46.0


@dataclass(frozen=True, eq=False)
class Canvas:
    """A sequence ready to be drawn on: grey values in its display window, the brain, and the plane of its slices."""

    sequence: Sequence
    grey: NDArray[np.uint8]
    grid: Grid
    brain: NDArray[np.bool_]
    plane: Plane

    def window(self, plane: Plane | None = None) -> Window:
        return mask_window(self.brain, self.grid, plane or self.plane, MARGIN_MM)


@dataclass(frozen=True)
class SignalPlot:
    """Mean signal of the brain slice by slice: an SVG path in a box of ``PLOT_WIDTH`` by ``PLOT_HEIGHT``, 1 = the median at half height."""

    sequence: str
    path: str
    slices: int
    lowest: float
    highest: float


def prepare_canvas(image: GreyImage, prepared: Prepared) -> Canvas:
    """A sequence on its own grid."""
    brain = resample(prepared.anatomy.brain, image.grid).data
    return Canvas(image.sequence, image.windowed(), image.grid, brain, next(p for p in Plane if p.axis == image.slice_axis))


def _sample(canvas: Canvas, target: Grid) -> NDArray[np.uint8]:
    """Grey values on a small grid elsewhere, interpolated once, linearly."""
    places = canvas.grid.voxels(target.world(np.indices(target.shape).reshape(3, -1).T))
    return np.asarray(ndimage.map_coordinates(canvas.grey, places.T, order=1, mode="constant").reshape(target.shape))


def marker_pictures(canvas: Canvas, found: MarkerMap, mask: NDArray[np.bool_], n: int, ring_mm: float | None) -> list[Picture]:
    """The slices with most of a marker, outlined, with rings of ``ring_mm`` around each lesion's place if given.

    Without any lesion: three slices over the brain, so that the finding can be checked. ``mask`` is the marker's on the canvas.
    """
    plane, window, colour = canvas.plane, canvas.window(), MARKERS[found.marker].colour
    gap = max(1, round(SLICE_GAP_MM / canvas.grid.spacing_mm[plane.axis]))
    numbered = resample(found.labels, canvas.grid).data if ring_mm else np.zeros(0, np.int32)
    pictures = []
    for index in fullest_slices(mask, plane, n, gap) or spread_slices(canvas.brain, plane, (0.4, 0.55, 0.7)):
        outlines = [outline(mask, canvas.grid, plane, index, window, colour)] if mask.any() else []
        if outlines and ring_mm:
            outlines.append(rings(centres_in_slice(numbered, plane, index), canvas.grid, plane, window, ring_mm, colour))
        title = f"{canvas.sequence} · {slice_title(canvas.grid, plane, index)}"
        pictures.append(draw(canvas.grey, canvas.grid, plane, index, window, title, tuple(outlines)))
    return pictures


def native_mask_on(canvas: Canvas, found: MarkerMap, prepared: Prepared) -> NDArray[np.bool_]:
    """A marker's mask, as drawn on its sequence's own grid, on the canvas of that sequence."""
    return resample(found.native_mask, canvas.grid, prepared.native[found.native_sequence].reference_from_native).data


def lesion_pictures(
    canvas: Canvas,
    mask: NDArray[np.bool_],
    lesion: NDArray[np.bool_],
    colour: str,
    others: Iterable[Canvas],
    field_of_view_mm: float,
) -> list[Picture]:
    """Crops around one lesion in its largest slice: where it is rated without and with its contour, then the other sequences.

    ``mask`` holds all lesions of the marker, ``lesion`` only this one, both on the canvas; the others are interpolated in its slice.
    """
    grid, plane = canvas.grid, canvas.plane
    index = fullest_slices(lesion, plane, 1, 1)[0]
    centre = centres_in_slice(np.where(lesion, 1, 0), plane, index)[0]
    starts, sizes = [], []
    for axis in in_plane(plane):
        size = max(round(field_of_view_mm / grid.spacing_mm[axis]), 8)
        starts.append(round(centre[axis]) - size // 2)
        sizes.append(size)
    window = Window((starts[0], starts[1]), (sizes[0], sizes[1]))
    contour = outline(mask, grid, plane, index, window, colour)
    pictures = [draw(canvas.grey, grid, plane, index, window, str(canvas.sequence), outlines, smooth=True) for outlines in ((), (contour,))]
    slab, flat = _slab(grid, plane, index, window)
    pictures += [draw(_sample(other, slab), slab, plane, 0, flat, str(other.sequence), smooth=True) for other in others]
    return pictures


def _slab(grid: Grid, plane: Plane, index: int, window: Window) -> tuple[Grid, Window]:
    """The grid of one slice's window, one voxel thick, and the window that shows all of it."""
    start, shape = [0, 0, 0], [1, 1, 1]
    start[plane.axis] = index
    for axis, first, size in zip(in_plane(plane), window.start, window.shape, strict=True):
        start[axis], shape[axis] = first, size
    return grid.crop((start[0], start[1], start[2]), (shape[0], shape[1], shape[2])), Window((0, 0), window.shape)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Slices of the analysis grid that tell most, and the outlines found on the reference image in each."""

    grid: Grid
    slices: tuple[tuple[Plane, int, Window, tuple[Outline, ...]], ...]


def find_landmarks(prepared: Prepared) -> Landmarks:
    """One axial, coronal and sagittal slice with the outlines of brain, ventricles and deep grey structures."""
    structures, brain, grid = prepared.anatomy.structures.data, prepared.anatomy.brain.data, prepared.grid
    drawn = (
        (brain, BRAIN_COLOUR),
        (np.isin(structures, VENTRICLES), VENTRICLE_COLOUR),
        (np.isin(structures, DEEP_GREY), DEEP_GREY_COLOUR),
    )
    slices = []
    for plane in (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL):
        index, window = _telling_slice(prepared, plane), mask_window(brain, grid, plane, MARGIN_MM)
        slices.append((plane, index, window, tuple(outline(mask, grid, plane, index, window, colour) for mask, colour in drawn)))
    return Landmarks(grid, tuple(slices))


def anatomy_pictures(canvas: Canvas, landmarks: Landmarks) -> list[Picture]:
    """A sequence brought to the landmarks: where the outlines do not fit, its registration is wrong."""
    pictures = []
    for plane, index, window, outlines in landmarks.slices:
        slab, flat = _slab(landmarks.grid, plane, index, window)
        title = f"{canvas.sequence} · {slice_title(landmarks.grid, plane, index)}"
        pictures.append(draw(_sample(canvas, slab), slab, plane, 0, flat, title, outlines))
    return pictures


def checkerboard(reference: Canvas, moving: Canvas, landmarks: Landmarks) -> Picture:
    """An axial slice with fields of the reference and of another sequence in turn: edges run on where registration is right."""
    plane, index, window, _ = landmarks.slices[0]
    slab, flat = _slab(landmarks.grid, plane, index, window)
    field_vox = max(1, round(CHECKER_MM / float(slab.spacing_mm.min())))
    x, y, _ = np.indices(slab.shape)
    mixed = np.where((x // field_vox + y // field_vox) % 2 == 0, _sample(reference, slab), _sample(moving, slab))
    title = f"{reference.sequence} and {moving.sequence} · {slice_title(landmarks.grid, plane, index)}"
    return draw(mixed, slab, plane, 0, flat, title)


def _telling_slice(prepared: Prepared, plane: Plane) -> int:
    ventricles = prepared.anatomy.structures.data == Structure.LATERAL_VENTRICLE
    fullest = fullest_slices(ventricles, plane, 1, 1) if plane is Plane.AXIAL else []
    fraction = 0.47 if plane is Plane.SAGITTAL else 0.5
    return fullest[0] if fullest else spread_slices(prepared.anatomy.brain.data, plane, (fraction,))[0]


def plot_signal(image: GreyImage, canvas: Canvas) -> SignalPlot:
    """The brain's mean signal in every slice relative to the median slice; a jump is a lost or a brighter slice."""
    axis = canvas.plane.axis
    across = in_plane(canvas.plane)
    n = canvas.brain.sum(axis=across)
    used = np.flatnonzero(n >= max(n.max() / 10, 1)) if n.max(initial=0) else np.zeros(0, int)
    if used.size < 2:
        return SignalPlot(str(canvas.sequence), "", int(used.size), 1.0, 1.0)
    total = np.where(np.take(canvas.brain, used, axis), np.take(image.data, used, axis), 0).sum(axis=across, dtype=np.float64)
    mean = total / n[used]
    relative = mean / max(float(np.median(mean)), 1e-6)
    x = np.linspace(0, PLOT_WIDTH, used.size)
    y = PLOT_HEIGHT * (1 - np.clip(relative, 0, 2) / 2)
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    return SignalPlot(str(canvas.sequence), path, int(used.size), float(relative.min()), float(relative.max()))


def map_pictures(prepared: Prepared, maps: Mapping[Marker, MarkerMap], lesions: tuple[Lesion, ...]) -> list[Picture]:
    """All markers projected through the brain in three planes: WMH as an area, every other lesion as a sign at its centroid."""
    grid, structures = prepared.grid, prepared.anatomy.structures.data
    pictures = []
    for plane in (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL):
        window = mask_window(prepared.anatomy.brain.data, grid, plane, MARGIN_MM)
        drawn = [project(prepared.anatomy.brain.data, grid, plane, window, "", "silhouette")]
        drawn.append(project(np.isin(structures, VENTRICLES), grid, plane, window, "", "ventricle"))
        if Marker.WMH in maps:
            drawn.append(project(maps[Marker.WMH].labels.data > 0, grid, plane, window, MARKERS[Marker.WMH].colour, "area"))
        shown = [lesion for lesion in lesions if lesion.marker in maps and lesion.marker is not Marker.WMH]
        places = picture_mm(grid.voxels(np.array([lesion.centroid_mm for lesion in shown]).reshape(-1, 3)), grid, plane, window)
        for lesion, (x, y) in zip(shown, places, strict=True):
            drawn.append(Outline(sign(lesion.marker, x, y), MARKERS[lesion.marker].colour, "sign", f"{lesion.marker}-{lesion.label}"))
        width, height = (round(float(n * grid.spacing_mm[axis]), 2) for n, axis in zip(window.shape, in_plane(plane), strict=True))
        pictures.append(Picture("", width, height, f"{plane.title} projection", plane.left, plane.right, tuple(drawn)))
    return pictures
