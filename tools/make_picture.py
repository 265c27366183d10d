#!/usr/bin/env python3
"""Draw docs/images/demo.png: the four markers found in the bundled simulated patient.

    smallvessel demo demo-output && python tools/make_picture.py demo-output

Needs matplotlib.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from smallvessel.demo import SUBJECT, demo_source
from smallvessel.markers import MARKERS, Marker, Sequence

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "demo.png"
SHOWN_ON = {Marker.WMH: Sequence.FLAIR, Marker.LACUNE: Sequence.FLAIR, Marker.EPVS: Sequence.T2W, Marker.CMB: Sequence.SWI}
HALF_WIDTH_MM = {Marker.WMH: 90.0, Marker.LACUNE: 45.0, Marker.EPVS: 45.0, Marker.CMB: 45.0}


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Voxels in RAS+ order and their size in mm."""
    image = nib.as_closest_canonical(nib.Nifti1Image.from_filename(path))
    return np.asarray(image.dataobj, np.float32), np.asarray(image.header.get_zooms()[:3], np.float64)


def main() -> None:
    """Draw the picture from a folder that ``smallvessel demo`` wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    figure, panels = plt.subplots(1, 4, figsize=(16, 4.5), facecolor="black")
    for panel, marker in zip(panels, Marker, strict=True):
        sequence = SHOWN_ON[marker]
        image, size_mm = read(demo_source().files[sequence])
        mask, _ = read(next(folder.rglob(f"sub-{SUBJECT}_space-{sequence}_label-{marker}_mask.nii.gz")))
        axis = int(np.argmax(size_mm))
        level = int(np.argmax(mask.sum(axis=tuple({0, 1, 2} - {axis}))))
        section, found = np.take(image, level, axis), np.take(mask, level, axis)
        across_mm, up_mm = np.delete(size_mm, axis)
        # radiological convention: the patient's right is on the left of the picture
        extent = (0, section.shape[0] * across_mm, 0, section.shape[1] * up_mm)
        panel.imshow(section.T, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=np.percentile(section, 99.7))
        across = (np.arange(section.shape[0]) + 0.5) * across_mm
        up = (np.arange(section.shape[1]) + 0.5) * up_mm
        panel.contour(across, up, found.T, levels=[0.5], colors=[MARKERS[marker].colour], linewidths=1.4)
        centre = (np.argwhere(found > 0).mean(axis=0) + 0.5) * (across_mm, up_mm)
        half = HALF_WIDTH_MM[marker]
        panel.set_xlim(centre[0] + half, centre[0] - half)
        panel.set_ylim(centre[1] - half, centre[1] + half)
        panel.set_title(f"{marker} on {sequence}", color="white")
        panel.axis("off")
    figure.tight_layout()
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(TARGET, dpi=80, facecolor="black")


if __name__ == "__main__":
    main()
