#!/usr/bin/env python3
"""Draw docs/images/scores.png: the geometry behind Fazekas and perivascular-space grades, on the simulated patient's true masks.

    python tools/make_scores_picture.py

Needs matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import ndimage

from smallvessel.config import MeasureSettings
from smallvessel.demo import DATA, SUBJECT, demo_source
from smallvessel.intake.sequences import load_session
from smallvessel.markers import MARKERS, Marker, Sequence
from smallvessel.measure.extent import SLAB_MM, find_worst_slab
from smallvessel.measure.lesions import measure_lesions
from smallvessel.measure.regions import map_regions
from smallvessel.prepare import prepare_session
from smallvessel.records import MarkerMap, Prepared
from smallvessel.shapes import label_components
from smallvessel.structures import Structure
from smallvessel.volume import LabelMap, Mask, read_mask, resample

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "scores.png"
SETTINGS = MeasureSettings()


def true_labels(prepared: Prepared, marker: Marker) -> NDArray[np.int32]:
    """The simulated patient's true lesions on the analysis grid."""
    mask = resample(read_mask(DATA / f"sub-{SUBJECT}_label-{marker}_mask.nii.gz"), prepared.grid)
    return label_components(mask.data)[0]


def show(panel: Axes, prepared: Prepared, sequence: Sequence, level: int) -> None:
    """An axial section in radiological convention: the patient's right is on the left."""
    image = prepared.images[sequence].data
    panel.imshow(image[:, :, level].T, cmap="gray", origin="lower", vmin=0, vmax=np.percentile(image[prepared.anatomy.brain.data], 99.7))
    inside = np.argwhere(prepared.anatomy.brain.data[:, :, level])
    (x0, y0), (x1, y1) = inside.min(axis=0), inside.max(axis=0)
    panel.set_xlim(x1 + 6, x0 - 6)
    panel.set_ylim(y0 - 6, y1 + 6)
    panel.axis("off")
    for side, x in (("R", x1 + 2), ("L", x0 - 2)):
        panel.text(x, y1, side, color="white", ha="center")


def draw_rim(panel: Axes, prepared: Prepared, labels: NDArray[np.int32]) -> None:
    """How far each voxel of touching WMH lies from the ventricles' wall, and where deep begins."""
    ventricles = prepared.anatomy.structures.data == Structure.LATERAL_VENTRICLE
    distance_mm = ndimage.distance_transform_edt(~ventricles, prepared.grid.spacing_mm)
    closest_mm = ndimage.minimum(distance_mm, labels, np.arange(labels.max() + 1))
    touching = (labels > 0) & (closest_mm[labels] <= SETTINGS.rim_mm)
    level = int(np.argmax(touching.sum(axis=(0, 1))))
    show(panel, prepared, Sequence.FLAIR, level)
    painted = panel.imshow(
        np.ma.masked_where(~touching, distance_mm)[:, :, level].T, cmap="viridis", origin="lower", vmin=0, vmax=SETTINGS.reach_mm
    )
    panel.contour(ventricles[:, :, level].T, [0.5], colors="white", linewidths=0.8)
    panel.contour(distance_mm[:, :, level].T, [SETTINGS.reach_mm], colors="white", linewidths=0.8, linestyles="dotted")
    bar = plt.colorbar(painted, ax=panel, orientation="horizontal", shrink=0.8)
    bar.set_label("mm from the ventricles' wall", color="white")
    bar.ax.tick_params(colors="white")
    panel.set_title(f"Periventricular: thickness of the rim\n(dotted: deep beyond {SETTINGS.reach_mm:g} mm)", color="white")


def draw_deep(panel: Axes, prepared: Prepared, labels: NDArray[np.int32]) -> None:
    """The deep WMH with the largest diameter in its section."""
    ventricles = prepared.anatomy.structures.data == Structure.LATERAL_VENTRICLE
    distance_mm = ndimage.distance_transform_edt(~ventricles, prepared.grid.spacing_mm)
    closest_mm = ndimage.minimum(distance_mm, labels, np.arange(labels.max() + 1))
    deep, count = label_components((labels > 0) & ((closest_mm[labels] > SETTINGS.rim_mm) | (distance_mm > SETTINGS.reach_mm)))
    largest = 1 + int(np.argmax([np.count_nonzero(deep == label) for label in range(1, count + 1)]))
    level = int(np.argmax((deep == largest).sum(axis=(0, 1))))
    show(panel, prepared, Sequence.FLAIR, level)
    panel.contour(deep[:, :, level].T > 0, [0.5], colors=[MARKERS[Marker.WMH].colour], linewidths=1.0)
    points = np.argwhere(deep[:, :, level] == largest)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    first, second = (points[i] for i in np.unravel_index(np.argmax(apart), apart.shape))
    panel.plot(*zip(first, second, strict=True), color="yellow", linewidth=1.5)
    panel.set_title("Deep: largest diameter\n(measured in three dimensions)", color="white")


def draw_slab(panel: Axes, prepared: Prepared, labels: NDArray[np.int32]) -> None:
    """The slab and hemisphere with most spaces of the centrum semiovale."""
    t2w = prepared.images[Sequence.T2W]
    found = MarkerMap(
        Marker.EPVS, t2w, LabelMap(labels, prepared.grid), (1.0,) * int(labels.max()), Sequence.T2W, Mask(labels > 0, prepared.grid), t2w
    )
    lesions = [one.lesion for one in measure_lesions(found, map_regions(prepared.anatomy, SETTINGS), SETTINGS)]
    cut = find_worst_slab(found.labels, lesions, "centrum semiovale").labels
    inside = np.isin(labels, cut)
    heights = np.flatnonzero(inside.any(axis=(0, 1)))
    level = int(heights[np.argmax(inside.sum(axis=(0, 1))[heights])])
    show(panel, prepared, Sequence.T2W, level)
    low, high = max(level - int(SLAB_MM // 2), 0), level + int(SLAB_MM // 2) + 1
    panel.contour(inside[:, :, low:high].any(axis=2).T, [0.5], colors=[MARKERS[Marker.EPVS].colour], linewidths=1.0)
    panel.set_title(f"EPVS: {len(cut)} in the worst slab of {SLAB_MM:g} mm\nand its fuller hemisphere", color="white")


def main() -> None:
    """Draw the three panels."""
    prepared = prepare_session(load_session(demo_source()))
    figure, panels = plt.subplots(1, 3, figsize=(15, 7.2), facecolor="black", layout="constrained")
    draw_rim(panels[0], prepared, true_labels(prepared, Marker.WMH))
    draw_deep(panels[1], prepared, true_labels(prepared, Marker.WMH))
    draw_slab(panels[2], prepared, true_labels(prepared, Marker.EPVS))
    figure.savefig(TARGET, dpi=80, facecolor="black")


if __name__ == "__main__":
    main()
