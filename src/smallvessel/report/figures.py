"""What is shown: slices with most of a marker, lesions close up, all lesions at a glance, and whether the anatomy fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..markers import MARKERS, Marker, Sequence
from ..records import Lesion, MarkerMap, Prepared
from ..shapes import nearest_labels
from ..structures import VENTRICLES, Structure
from ..volume import Grid, canonical_grid, resample
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
INFRATENTORIAL = (Structure.BRAINSTEM, Structure.CEREBELLAR_WHITE, Structure.CEREBELLAR_CORTEX)
SLICE_GAP_MM = {Marker.WMH: 10.0, Marker.LACUNE: 4.0, Marker.EPVS: 4.0, Marker.CMB: 4.0}
"""Between the slices that are shown of a marker, at least; those of WMH are to show all levels that are graded."""
CHECKER_MM = 24.0
"""Side of a field of the checkerboard."""
PLOT_WIDTH, PLOT_HEIGHT, PLOT_LEFT = 200.0, 46.0, 12.0
"""Left of ``PLOT_LEFT`` stand the levels."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """A sequence ready to be drawn on: grey values in its display window, the brain, and the plane of its slices.

    ``acquired`` is the sequence's own grid, with RAS+ axes, uncropped and unreduced, in the reference's world.
    """

    sequence: Sequence
    grey: NDArray[np.uint8]
    grid: Grid
    brain: NDArray[np.bool_]
    plane: Plane
    acquired: Grid

    def slice_number(self, index: int) -> int:
        """Which of the acquired slices it is, from 1, counted from the plane's first side (see ``Plane.first``)."""
        middle = [(n - 1) / 2 for n in self.grid.shape]
        middle[self.plane.axis] = index
        at = self.acquired.voxels(self.grid.world(np.array([middle])))[0]
        return round(float(at[self.plane.axis])) + 1

    def tell_slice(self, index: int) -> str:
        """Where a slice lies, in the reference's world and in the series as acquired."""
        number = f"slice {self.slice_number(index)} of {self.acquired.shape[self.plane.axis]} {self.plane.first}"
        return f"{slice_title(self.grid, self.plane, index)}, {number}"

    def window(self, plane: Plane | None = None) -> Window:
        return mask_window(self.brain, self.grid, plane or self.plane, MARGIN_MM)


@dataclass(frozen=True)
class SignalPlot:
    """Mean signal of the brain slice by slice: an SVG path in a box of ``PLOT_WIDTH`` by ``PLOT_HEIGHT``, 1 = the median at half height.

    ``oddest`` is the number of the slice that is most unlike its neighbours, ``jump`` by how much of their mean, ``place`` where it is
    in the plot; None where there are too few slices.
    """

    sequence: str
    path: str
    slices: int
    lowest: float
    highest: float
    oddest: str = ""
    jump: float = 0.0
    place: tuple[float, float] | None = None


def prepare_canvas(image: GreyImage, prepared: Prepared) -> Canvas:
    """A sequence on its own grid."""
    brain = resample(prepared.anatomy.brain, image.grid).data
    native = prepared.native[image.sequence]
    acquired = native.reference_from_native.move(canonical_grid(native.grid))
    return Canvas(image.sequence, image.windowed(), image.grid, brain, next(p for p in Plane if p.axis == image.slice_axis), acquired)


def _sample(canvas: Canvas, target: Grid) -> NDArray[np.uint8]:
    """Grey values on a small grid elsewhere, interpolated once, linearly."""
    places = canvas.grid.voxels(target.world(np.indices(target.shape).reshape(3, -1).T))
    return np.asarray(ndimage.map_coordinates(canvas.grey, places.T, order=1, mode="constant").reshape(target.shape))


def marker_pictures(
    canvas: Canvas,
    marker: Marker,
    mask: NDArray[np.bool_],
    n: int,
    numbered: NDArray[np.int32] | None = None,
    ring_mm: float = 0.0,
    remarks: Mapping[int, str] | None = None,
) -> list[Picture]:
    """The slices with most of a marker, outlined, with rings of ``ring_mm`` around each lesion if their numbers are given.

    Slices with ``remarks`` are among them in any case. Without any lesion: three slices over the brain, so that the finding can be
    checked. ``mask`` is the marker's on the canvas.
    """
    plane, window, colour = canvas.plane, canvas.window(), MARKERS[marker].colour
    gap = max(1, math.ceil(SLICE_GAP_MM[marker] / canvas.grid.spacing_mm[plane.axis] - 1e-6))
    remarks = remarks or {}
    pictures = []
    for index in fullest_slices(mask, plane, n, gap, remarks) or spread_slices(canvas.brain, plane, (0.4, 0.55, 0.7)):
        outlines = [outline(mask, canvas.grid, plane, index, window, colour)] if mask.any() else []
        if outlines and numbered is not None:
            outlines.append(rings(centres_in_slice(numbered, plane, index), canvas.grid, plane, window, ring_mm, colour))
        title = " · ".join((str(canvas.sequence), canvas.tell_slice(index), *([remarks[index]] if index in remarks else [])))
        pictures.append(draw(canvas.grey, canvas.grid, plane, index, window, title, tuple(outlines)))
    return pictures


def native_mask_on(canvas: Canvas, found: MarkerMap, prepared: Prepared) -> NDArray[np.bool_]:
    """A marker's mask, as drawn on its sequence's own grid, on the canvas of that sequence."""
    return resample(found.native_mask, canvas.grid, prepared.native[found.native_sequence].reference_from_native).data


def number_lesions(canvas: Canvas, mask: NDArray[np.bool_], found: MarkerMap) -> NDArray[np.int32]:
    """Each voxel of the mask with the number of the nearest lesion, shape as ``mask``.

    Lesions between the centres of thick slices have no voxel of their own number there, but are in the mask.
    """
    numbered = np.zeros(mask.shape, np.int32)
    numbered[mask] = nearest_labels(canvas.grid.world(np.argwhere(mask)), found.labels)
    return numbered


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


def checkerboards(reference: Canvas, moving: Canvas, landmarks: Landmarks) -> list[Picture]:
    """Slices with fields of the reference and of another sequence in turn: edges run on where registration is right.

    One axial, and one coronal that shows a tilt or a shift from below too.
    """
    pictures = []
    for plane, index, window, _ in landmarks.slices[:2]:
        slab, flat = _slab(landmarks.grid, plane, index, window)
        field_vox = max(1, round(CHECKER_MM / float(slab.spacing_mm.min())))
        fields = sum(np.indices(slab.shape)[axis] // field_vox for axis in in_plane(plane))
        mixed = np.where(fields % 2 == 0, _sample(reference, slab), _sample(moving, slab))
        title = f"{reference.sequence} and {moving.sequence} · {slice_title(landmarks.grid, plane, index)}"
        pictures.append(draw(mixed, slab, plane, 0, flat, title))
    return pictures


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
    x = np.linspace(PLOT_LEFT, PLOT_WIDTH, used.size)
    y = PLOT_HEIGHT * (1 - np.clip(relative, 0, 2) / 2)
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    shown = SignalPlot(str(canvas.sequence), path, int(used.size), float(relative.min()), float(relative.max()))
    if used.size < 3:
        return shown
    around = np.maximum((mean[:-2] + mean[2:]) / 2, 1e-6)
    jumps = mean[1:-1] / around - 1
    at = int(np.argmax(np.abs(jumps))) + 1
    where = f"slice {canvas.slice_number(int(used[at]))} of {canvas.acquired.shape[axis]} {canvas.plane.first}"
    return replace(shown, oddest=where, jump=float(jumps[at - 1]), place=(round(float(x[at]), 1), round(float(y[at]), 1)))


def place_of(lesion: Lesion) -> str:
    """Region and side."""
    return f"{lesion.mars_region or lesion.region}, {lesion.side}"


def map_pictures(prepared: Prepared, maps: Mapping[Marker, MarkerMap], lesions: tuple[Lesion, ...]) -> list[Picture]:
    """All markers projected through the brain in three planes: WMH as an area, every other lesion as a sign at its centroid.

    Deep grey matter, brainstem and cerebellum are outlined. The sagittal picture holds both sides.
    """
    grid, structures = prepared.grid, prepared.anatomy.structures.data
    pictures = []
    for plane in (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL):
        window = mask_window(prepared.anatomy.brain.data, grid, plane, MARGIN_MM)
        drawn = [project(prepared.anatomy.brain.data, grid, plane, window, "", "silhouette")]
        drawn.append(project(np.isin(structures, VENTRICLES), grid, plane, window, "", "ventricle"))
        for name, codes in (("deep grey matter", DEEP_GREY), ("infratentorial", INFRATENTORIAL)):
            drawn.append(replace(project(np.isin(structures, codes), grid, plane, window, "", "part"), title=name))
        if Marker.WMH in maps:
            drawn.append(project(maps[Marker.WMH].labels.data > 0, grid, plane, window, MARKERS[Marker.WMH].colour, "area"))
        shown = [lesion for lesion in lesions if lesion.marker in maps and lesion.marker is not Marker.WMH]
        places = picture_mm(grid.voxels(np.array([lesion.centroid_mm for lesion in shown]).reshape(-1, 3)), grid, plane, window)
        for lesion, (x, y) in zip(shown, places, strict=True):
            title = f"{lesion.marker} #{lesion.label}, {place_of(lesion)}, {lesion.diameter_mm:.1f} mm"
            colour = MARKERS[lesion.marker].colour
            drawn.append(Outline(sign(lesion.marker, x, y), colour, "sign", f"{lesion.marker}-{lesion.label}", title))
        width, height = (round(float(n * grid.spacing_mm[axis]), 2) for n, axis in zip(window.shape, in_plane(plane), strict=True))
        pictures.append(Picture("", width, height, f"{plane.title} projection", plane.left, plane.right, tuple(drawn)))
    return pictures
