#!/usr/bin/env python3
"""Draw docs/images/failures.jpg: lesions that were missed and things that were taken for lesions, drawn by chance from simulated sessions.

    smallvessel simulate SIMULATED ... && python benchmarks/accuracy.py simulated SIMULATED
    python tools/make_failures_picture.py SIMULATED runs/accuracy/simulated-SIMULATED

Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from smallvessel.derivatives import session_files  # noqa: E402
from smallvessel.intake.bids import find_sessions  # noqa: E402
from smallvessel.intake.nifti import read_nifti  # noqa: E402
from smallvessel.markers import MARKERS, Marker, Sequence  # noqa: E402
from smallvessel.simulate.truth import record_path, truth_path  # noqa: E402
from smallvessel.volume import LabelMap, Transform, read_mask, resample  # noqa: E402

TARGET = ROOT / "docs" / "images" / "failures.jpg"
SHOWN_ON = {Marker.WMH: Sequence.FLAIR, Marker.LACUNE: Sequence.T1W, Marker.EPVS: Sequence.T2W, Marker.CMB: Sequence.SWI}
HALF_MM = 17
EACH = 6
SEED = 1
CUBE = np.ones((3, 3, 3))


@dataclass(frozen=True)
class Failure:
    """One missed or false lesion: the slice with most of it, and its outline there."""

    marker: Marker
    missed: bool
    title: str
    section: NDArray[np.float32]
    outline: NDArray[np.bool_]
    brightest: float


def failures_of(folder: Path, out: Path) -> Iterator[Failure]:
    """Every missed and every false lesion of a simulated folder, on the truth's 1 mm grid."""
    for source in find_sessions(folder):
        record = json.loads(record_path(folder, source.id.subject).read_text())
        for marker in Marker:
            truth_file = truth_path(folder, source.id.subject, marker)
            mask_file = out / session_files(source.id).image(Sequence.FLAIR, f"label-{marker}_mask", "1mm")
            if not (truth_file.exists() and mask_file.exists()):
                continue
            truth, predicted = read_mask(truth_file), read_mask(mask_file)
            found = resample(LabelMap(predicted.data.astype(np.int32), predicted.grid), truth.grid).data > 0
            sequence = SHOWN_ON[marker]
            moved = Transform(np.array(record["ReferenceFromSequence"][sequence]))
            image = resample(read_nifti(source.files[sequence])[0], truth.grid, moved).data
            brightest = float(np.percentile(image[image > 0], 99))
            for missed, mine, other in ((True, truth.data, found), (False, found, truth.data)):
                labels, count = ndimage.label(mine, CUBE)
                hit = np.unique(labels[other])
                for number in np.setdiff1d(np.arange(1, count + 1), hit):
                    yield cut(marker, missed, str(source.id), image, labels == number, brightest)


def cut(marker: Marker, missed: bool, session: str, image: NDArray[np.float32], lesion: NDArray[np.bool_], brightest: float) -> Failure:
    """The slice that holds most of a lesion, with its surroundings; beyond the image there is nothing."""
    level = int(lesion.sum((0, 1)).argmax())
    x, y = (round(float(v.mean())) for v in np.nonzero(lesion[:, :, level]))
    parts = [np.pad(part[:, :, level], HALF_MM)[x : x + 2 * HALF_MM + 1, y : y + 2 * HALF_MM + 1] for part in (image, lesion)]
    return Failure(marker, missed, f"{session}, {int(lesion.sum())} mm³", parts[0], parts[1] > 0, brightest)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="simulated sessions")
    parser.add_argument("out", type=Path, help="what benchmarks/accuracy.py made of them")
    options = parser.parse_args()
    failures = list(failures_of(options.folder, options.out))
    rng = np.random.default_rng(SEED)
    figure, panels = plt.subplots(2 * len(Marker), 2 * EACH, figsize=(2 * EACH * 1.3, 2 * len(Marker) * 1.6), facecolor="black")
    for panel in panels.ravel():
        panel.axis("off")
    figure.subplots_adjust(0.002, 0.0, 0.998, 0.95, 0.03, 0.36)
    for row, marker in enumerate(Marker):
        for missed in (True, False):
            these = [failure for failure in failures if failure.marker is marker and failure.missed is missed]
            shown = [these[i] for i in rng.permutation(len(these))[:EACH]]
            first = 0 if missed else EACH
            for column, failure in enumerate(shown, first):
                for panel, outlined in ((panels[2 * row, column], False), (panels[2 * row + 1, column], True)):
                    panel.imshow(failure.section.T, cmap="gray", origin="lower", vmin=0, vmax=failure.brightest)
                    panel.invert_xaxis()
                    if outlined:
                        panel.contour(failure.outline.T, [0.5], colors=[MARKERS[marker].colour], linewidths=1)
                panels[2 * row, column].set_title(failure.title, color="white", fontsize=6)
            middle = (first + EACH / 2) / (2 * EACH)
            what = "missed" if missed else "taken for it"
            height = panels[2 * row, first].get_position().y1 + 0.018
            text = f"{marker} on {SHOWN_ON[marker]}: {what}, {len(shown)} of {len(these)}"
            figure.text(middle, height, text, color="white", fontsize=8, ha="center", va="bottom")
    figure.savefig(TARGET, dpi=90, facecolor="black", pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
