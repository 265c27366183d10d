"""Make the bundled simulated patient: ``python tools/make_demo.py LABEL_MAP`` (a head that no network was trained on).

The patient is simulated: a deformed head, drawn lesions, drawn acquisitions. No file of any data set is copied.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from smallvessel.markers import Marker, Sequence
from smallvessel.simulate.acquisition import Protocol
from smallvessel.simulate.anatomy import deform_head, load_head
from smallvessel.simulate.burden import Burden
from smallvessel.simulate.session import simulate_session
from smallvessel.volume import write_volume

SEED = 2026
OUT = Path(__file__).resolve().parent.parent / "src" / "smallvessel" / "demo" / "data"
LEVEL = 10.0
"""Intensities are rounded to this (white matter is 400), to keep the files small."""
BURDEN = Burden(rim_mm=0.9, deep_wmh_per_l=45, lacunes_per_l=80, epvs_nuclei_per_l=250, epvs_white_per_l=120, cmb_per_l=9)


def protocol(sequence: Sequence, slice_mm: float, in_plane_mm: float) -> Protocol:
    """A quiet axial 2D acquisition, as on a good clinical scanner: stored a little finer than acquired, lightly sharpened."""
    return Protocol(
        sequence=sequence,
        spacing_mm=(in_plane_mm, in_plane_mm, slice_mm),
        profile_mm=(in_plane_mm, in_plane_mm, slice_mm * 0.9),
        acquired=(1 / 1.1, 1 / 1.4, 1.0),
        sharpening=(0.3, 0.3, 0.0),
        noise=0.02,
        bias_sd=0.05,
        texture=0.01,
        ghost=0.0,
        shift_mm=(0.0, 0.0, 0.0),
    )


def main(label_map: Path) -> None:
    """Simulate the patient and write images, true masks and truth.json."""
    protocols = {
        Sequence.FLAIR: protocol(Sequence.FLAIR, 3.0, 0.9),
        Sequence.T1W: protocol(Sequence.T1W, 3.0, 0.9),
        Sequence.T2W: protocol(Sequence.T2W, 3.0, 0.8),
        Sequence.SWI: protocol(Sequence.SWI, 2.0, 0.9),
    }
    head = deform_head(load_head(label_map), np.random.default_rng(SEED))
    session = simulate_session(head, (SEED, 1), protocols=protocols, burden=BURDEN)
    OUT.mkdir(parents=True, exist_ok=True)
    for sequence, image in session.images.items():
        data = np.clip(np.rint(image.data / LEVEL), 0, 255).astype(np.uint8)
        nib.save(nib.Nifti1Image(data, image.grid.affine), OUT / f"sub-simulated_{sequence}.nii.gz")
    truth = {}
    for marker in Marker:
        mask = session.truth[marker]
        write_volume(OUT / f"sub-simulated_label-{marker}_mask.nii.gz", mask)
        count = int(ndimage.label(mask.data, np.ones((3, 3, 3)))[1])
        truth[str(marker)] = {"volume_ml": round(mask.volume_ml, 4), "count": count}
    record = {"simulated": True, "seed": SEED, "head": label_map.name.split(".")[0], "truth": truth}
    (OUT / "truth.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
