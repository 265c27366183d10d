"""Lobes through an affine map with a known answer, and on real heads."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from phantoms import make_grid
from smallvessel.prepare.atlas import LOBE_NAMES, find_lobes, load_atlas_brain, load_lobe_atlas, register_to_mni, render_brain
from smallvessel.structures import STRUCTURES, Structure
from smallvessel.volume import Grid, LabelMap, Mask, Transform, isotropic_grid, resample

HEADS = Path(__file__).resolve().parents[2].parent / "shared/data/labelmaps"


Triple = tuple[float, float, float]


def template_head(shift_mm: Triple, scale: Triple, angle_deg: float) -> tuple[LabelMap, Mask, Transform]:
    """The atlas's own brain as a subject: its tissues, its mask and the true map to MNI."""
    brain = load_atlas_brain()
    classes = (Structure.BACKGROUND, Structure.CSF, Structure.CORTEX, Structure.WHITE_MATTER)
    labels = np.array(classes, np.int32)[np.digitize(brain.data, [8, 45, 85])]
    turn = np.deg2rad(angle_deg)
    subject_from_mni = np.eye(4)
    subject_from_mni[:3, :3] = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]) @ np.diag(scale)
    subject_from_mni[:3, 3] = shift_mm
    x, y, z = shift_mm
    grid = make_grid((96, 120, 96), (2.2, 2.2, 2.2), centre_mm=(x, y - 10.0, z + 10.0))
    structures = resample(LabelMap(labels, brain.grid), grid, Transform(subject_from_mni))
    return structures, Mask(structures.data > 0, grid), Transform(subject_from_mni).inverse()


def test_the_atlas_is_small_complete_and_symmetric() -> None:
    lobes = load_lobe_atlas()
    assert set(np.unique(lobes.data)) == set(LOBE_NAMES)
    points = lobes.grid.world(np.argwhere(load_atlas_brain().data[: lobes.grid.shape[0]] > 40))
    voxels = np.rint(lobes.grid.voxels(points * [-1, 1, 1])).astype(int)
    keep = ((voxels >= 0) & (voxels < lobes.grid.shape)).all(axis=1)
    own = np.rint(lobes.grid.voxels(points[keep])).astype(int)
    assert (lobes.data[tuple(voxels[keep].T)] == lobes.data[tuple(own.T)]).mean() > 0.85


def test_known_places_have_the_right_lobe() -> None:
    lobes = load_lobe_atlas()
    places = {"frontal": (-8, 60, 5), "occipital": (10, -95, 0), "temporal": (-60, -20, -20), "parietal": (30, -60, 55)}
    for name, place in {**places, "insula": (38, 4, 0)}.items():
        voxel = np.rint(lobes.grid.voxels(np.array([place], float)))[0].astype(int)
        assert LOBE_NAMES[int(lobes.data[tuple(voxel)])] == name


def test_a_known_affine_is_found() -> None:
    structures, brain, truth = template_head((30.0, -60.0, 110.0), (0.93, 1.05, 0.96), 9.0)
    found = register_to_mni(structures, brain)
    points = structures.grid.world(np.argwhere(brain.data)[::31])
    error_mm = np.linalg.norm(found(points) - truth(points), axis=1)
    assert error_mm.mean() < 1.0
    assert error_mm.max() < 3.0
    again = register_to_mni(structures, brain)
    assert found.matrix.tobytes() == again.matrix.tobytes()


def test_infratentorial_voxels_have_no_lobe_and_all_others_do() -> None:
    structures, brain, truth = template_head((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0)
    labels = structures.data.copy()
    low = structures.grid.world(np.indices(structures.grid.shape).reshape(3, -1).T)[:, 2].reshape(structures.grid.shape) < -30
    labels[low & (labels > 0)] = Structure.CEREBELLAR_CORTEX
    lobes = find_lobes(LabelMap(labels, structures.grid), brain, truth).data
    assert not lobes[labels == Structure.CEREBELLAR_CORTEX].any()
    assert lobes[brain.data & (labels != Structure.CEREBELLAR_CORTEX)].all()
    assert not lobes[~brain.data].any()


def test_what_the_box_does_not_reach_takes_the_nearest_lobe() -> None:
    structures, brain, truth = template_head((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0)
    up = np.eye(4)
    up[2, 3] = 40.0
    lobes = find_lobes(structures, brain, Transform(up) @ truth).data
    assert lobes[brain.data].all()


def test_the_rendered_brain_has_three_tissues() -> None:
    grid = Grid((3, 1, 1), np.eye(4))
    labels = LabelMap(np.array([Structure.WHITE_MATTER, Structure.CORTEX, Structure.LATERAL_VENTRICLE], np.int32).reshape(3, 1, 1), grid)
    rendered = render_brain(labels, Mask(np.ones((3, 1, 1), bool), grid)).data
    assert rendered.ravel() == pytest.approx([100.0, 70.0, 20.0])


@pytest.mark.skipif(not HEADS.exists(), reason="the real label maps are not beside the checkout")
def test_lobes_of_a_real_head_lie_where_they_should() -> None:
    image = nib.Nifti1Image.from_filename(HEADS / "head-03.nii.gz")
    codes, x, y, z = np.asarray(image.dataobj).astype(int), *image.shape
    table = np.zeros(codes.max() + 1, np.int32)
    for structure, info in STRUCTURES.items():
        table[[code for code in (*info.freesurfer_left, *info.freesurfer_right) if code <= codes.max()]] = structure
    native = LabelMap(table[codes], Grid((x, y, z), image.affine))
    structures = resample(native, isotropic_grid(native.grid, 2.5))
    brain = Mask(ndimage.binary_closing(structures.data > Structure.CSF, iterations=2), structures.grid)
    lobes = find_lobes(structures, brain, register_to_mni(structures, brain))
    cortex = structures.data == Structure.CORTEX
    centres = {n: structures.grid.world(np.argwhere(cortex & (lobes.data == code))).mean(axis=0) for code, n in LOBE_NAMES.items()}
    share = {n: np.count_nonzero(cortex & (lobes.data == code)) / np.count_nonzero(cortex) for code, n in LOBE_NAMES.items()}
    assert centres["frontal"][1] > centres["insula"][1] > centres["parietal"][1] > centres["occipital"][1]
    assert centres["temporal"][2] < min(centres["frontal"][2], centres["parietal"][2], centres["insula"][2])
    assert 0.25 < share["frontal"] < 0.5
    assert 0.15 < share["parietal"] < 0.35
    assert 0.12 < share["temporal"] < 0.32
    assert 0.06 < share["occipital"] < 0.2
    assert 0.01 < share["insula"] < 0.08
    assert (structures.data[lobes.data > 0] != Structure.CEREBELLAR_CORTEX).all()
