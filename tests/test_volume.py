"""Images in world space: grids, transforms, resampling and files, against nibabel, SimpleITK and known answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from phantoms import ball, make_grid, voxel_centres_mm
from smallvessel.errors import GeometryError
from smallvessel.volume import (
    Grid,
    LabelMap,
    Mask,
    Transform,
    Volume,
    canonical_grid,
    isotropic_grid,
    reorder_axes,
    require_same_grid,
    resample,
    to_sitk,
    transform_from_sitk,
    transform_to_sitk,
    write_volume,
)
from strategies import ORIENTATIONS, grids, label_maps, masks, orientations, transforms, volumes


def _corners_vox(grid: Grid) -> NDArray[np.float64]:
    return np.array([[i, j, k] for i in (0, grid.shape[0] - 1) for j in (0, grid.shape[1] - 1) for k in (0, grid.shape[2] - 1)], np.float64)


def _linear_ramp(grid: Grid) -> Volume:
    """Intensity that is linear in world position: linear interpolation must give it back exactly."""
    return Volume((voxel_centres_mm(grid) @ np.array([1.0, -2.0, 0.5]) + 700.0).astype(np.float32), grid)


# ---------------------------------------------------------------------------------------------------------------- grids


@given(grids())
def test_world_and_voxels_are_inverse(grid: Grid) -> None:
    corners = _corners_vox(grid)
    np.testing.assert_allclose(grid.voxels(grid.world(corners)), corners, atol=1e-6)
    np.testing.assert_allclose(grid.world(corners), nib.affines.apply_affine(grid.affine, corners), atol=1e-9)


@given(grids())
def test_sizes_follow_from_the_affine(grid: Grid) -> None:
    np.testing.assert_allclose(grid.spacing_mm, nib.affines.voxel_sizes(grid.affine))
    assert grid.voxel_volume_mm3 == pytest.approx(np.prod(grid.spacing_mm), rel=1e-6)
    np.testing.assert_allclose(grid.extent_mm, grid.spacing_mm * grid.shape)


@pytest.mark.parametrize(("spacing_mm", "axis"), [((1, 1, 5), 2), ((5, 1, 1), 0), ((1, 4, 1), 1), ((1, 1, 1), 2), ((3, 3, 1), 1)])
def test_slice_axis_is_the_coarsest_and_the_last_of_equals(spacing_mm: tuple[float, float, float], axis: int) -> None:
    assert make_grid((4, 4, 4), spacing_mm, "PIR", (10, 20, 30)).slice_axis == axis


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.eye(3), "shape"),
        (np.diag([1.0, np.nan, 1.0, 1.0]), "non-finite"),
        (np.diag([1.0, 0.0, 1.0, 1.0]), "cannot be inverted"),
        (np.diag([1.0, 1.0, 1.0, 2.0]), "last row"),
    ],
)
def test_impossible_affines_are_refused(affine: NDArray[np.float64], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Grid((2, 2, 2), affine)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(GeometryError, match="grid of shape"):
        Grid((2, 0, 2), np.eye(4))
    with pytest.raises(GeometryError, match="array of shape"):
        Volume(np.zeros((2, 2, 3), np.float32), Grid((2, 2, 2), np.eye(4)))


def test_grids_and_images_cannot_be_changed_in_place() -> None:
    affine = np.eye(4)
    grid = Grid((2, 2, 2), affine)
    affine[0, 3] = 5.0
    assert grid.affine[0, 3] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        Volume(np.zeros((2, 2, 2), np.float32), grid).data[0, 0, 0] = 1.0


@given(grids(), st.tuples(*[st.integers(-3, 3)] * 3))
def test_a_crop_keeps_every_voxel_where_it_was(grid: Grid, start: tuple[int, int, int]) -> None:
    cropped = grid.crop(start, (3, 4, 5))
    assert cropped.shape == (3, 4, 5)
    np.testing.assert_allclose(cropped.world(_corners_vox(cropped)), grid.world(_corners_vox(cropped) + start), atol=1e-9)


def test_same_grid_means_same_shape_and_place() -> None:
    grid = make_grid((4, 5, 6))
    moved = grid.affine.copy()
    moved[0, 3] += 0.002
    assert grid == make_grid((4, 5, 6))
    assert grid != Grid(grid.shape, moved)
    assert grid.same_as(Grid(grid.shape, moved), tolerance_mm=0.01)
    assert grid != make_grid((4, 5, 7))
    image = Mask(np.zeros(grid.shape, bool), grid)
    require_same_grid(image, image)
    with pytest.raises(GeometryError, match="different grids"):
        require_same_grid(image, Mask(np.zeros(grid.shape, bool), Grid(grid.shape, moved)))


# ------------------------------------------------------------------------------------------- canonical and isotropic grids


@given(volumes())
def test_canonical_grid_is_nibabels(volume: Volume) -> None:
    canonical = canonical_grid(volume.grid)
    expected = nib.as_closest_canonical(nib.Nifti1Image(volume.data, volume.grid.affine))
    assert canonical.same_as(Grid(expected.shape, expected.affine))
    assert nib.aff2axcodes(canonical.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(resample(volume, canonical).data.round(1), np.asarray(expected.dataobj).round(1))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_canonical_grid_of_every_orientation_holds_the_same_voxels(orientation: str) -> None:
    grid = make_grid((3, 4, 5), (1.0, 2.0, 3.0), orientation, (12.0, -7.0, 20.0), (3.0, 2.0, 1.0))
    canonical = canonical_grid(grid)
    assert sorted(canonical.shape) == [3, 4, 5]
    theirs = np.sort(grid.world(np.indices(grid.shape).reshape(3, -1).T).round(6), axis=0)
    ours = np.sort(canonical.world(np.indices(canonical.shape).reshape(3, -1).T).round(6), axis=0)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@given(volumes(), orientations())
def test_reordered_axes_hold_the_same_voxels_and_come_back(volume: Volume, orientation: str) -> None:
    change = nib.orientations.ornt_transform(nib.io_orientation(volume.grid.affine), nib.orientations.axcodes2ornt(orientation))
    expected = nib.Nifti1Image(volume.data, volume.grid.affine).as_reoriented(change)
    grid = Grid(expected.shape, expected.affine)
    moved = reorder_axes(volume, grid)
    np.testing.assert_array_equal(moved.data, np.asarray(expected.dataobj))
    np.testing.assert_array_equal(reorder_axes(moved, volume.grid).data, volume.data)


def test_axes_are_not_reordered_onto_another_grid() -> None:
    image = Mask(np.zeros((3, 4, 5), bool), make_grid((3, 4, 5), (1.0, 2.0, 3.0)))
    with pytest.raises(GeometryError, match="more than its axes"):
        reorder_axes(image, make_grid((3, 4, 6), (1.0, 2.0, 3.0)))


@given(grids(), st.floats(0.5, 3.0))
def test_isotropic_grid_covers_the_field_of_view(grid: Grid, spacing_mm: float) -> None:
    iso = isotropic_grid(grid, spacing_mm)
    source = canonical_grid(grid)
    np.testing.assert_allclose(iso.spacing_mm, spacing_mm, rtol=1e-9)
    axes = iso.affine[:3, :3] / spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(axes, source.affine[:3, :3] / source.spacing_mm, atol=1e-6)
    middle_mm, source_middle_mm = (part.world((np.array([part.shape]) - 1) / 2) for part in (iso, source))
    np.testing.assert_allclose(middle_mm, source_middle_mm, atol=1e-6)
    surplus_mm = iso.extent_mm - source.extent_mm
    assert (surplus_mm > -1e-3).all()
    assert (surplus_mm < spacing_mm + 1e-6).all()


@given(grids(), orientations(), st.floats(0.5, 3.0))
def test_isotropic_grid_does_not_depend_on_how_axes_are_stored(grid: Grid, orientation: str, spacing_mm: float) -> None:
    ornt = nib.orientations.ornt_transform(nib.io_orientation(grid.affine), nib.orientations.axcodes2ornt(orientation))
    stored = nib.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine).as_reoriented(ornt)
    assert isotropic_grid(Grid(stored.shape, stored.affine), spacing_mm).same_as(isotropic_grid(grid, spacing_mm))


# ----------------------------------------------------------------------------------------------------------- transforms


@given(transforms(rigid=False), transforms(rigid=False))
def test_transforms_compose_and_invert_as_maps(a_from_b: Transform, b_from_c: Transform) -> None:
    points = np.array([[0.0, 0.0, 0.0], [10.0, -20.0, 30.0], [-80.0, 5.0, 60.0]])
    np.testing.assert_allclose((a_from_b @ b_from_c)(points), a_from_b(b_from_c(points)), atol=1e-8)
    np.testing.assert_allclose(a_from_b.inverse()(a_from_b(points)), points, atol=1e-7)
    np.testing.assert_array_equal(Transform.identity()(points), points)


@given(transforms(rigid=False), st.tuples(*[st.floats(-100, 100)] * 3))
def test_a_transform_maps_the_same_points_in_simpleitk(transform: Transform, point: tuple[float, float, float]) -> None:
    theirs_lps = transform_to_sitk(transform).TransformPoint((-point[0], -point[1], point[2]))
    np.testing.assert_allclose(transform(np.array([point]))[0], np.array(theirs_lps) * [-1, -1, 1], atol=1e-7)
    np.testing.assert_allclose(transform_from_sitk(transform_to_sitk(transform)).matrix, transform.matrix, atol=1e-9)


@given(transforms())
def test_a_centred_rigid_transform_of_simpleitk_is_read_right(transform: Transform) -> None:
    euler = sitk.Euler3DTransform()
    euler.SetCenter((10.0, 20.0, 30.0))
    euler.SetRotation(0.1, -0.2, 0.3)
    euler.SetTranslation(tuple(transform.matrix[:3, 3]))
    point = np.array([5.0, -7.0, 11.0])
    theirs_lps = np.array(euler.TransformPoint((-point[0], -point[1], point[2])))
    np.testing.assert_allclose(transform_from_sitk(euler)(point[None])[0], theirs_lps * [-1, -1, 1], atol=1e-8)


@pytest.mark.parametrize("matrix", [np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_impossible_transforms_are_refused(matrix: NDArray[np.float64]) -> None:
    with pytest.raises(GeometryError, match="finite, invertible 4x4"):
        Transform(matrix)


# ----------------------------------------------------------------------------------------------------------- resampling


@given(volumes())
def test_simpleitk_sees_every_voxel_at_the_same_place(volume: Volume) -> None:
    image = to_sitk(volume)
    for corner in _corners_vox(volume.grid).astype(int):
        world_lps = np.array(image.TransformIndexToPhysicalPoint([int(n) for n in corner]))
        np.testing.assert_allclose(world_lps * [-1, -1, 1], volume.grid.world(corner[None])[0], atol=1e-4)
        assert image.GetPixel([int(n) for n in corner]) == volume.data[tuple(corner)]


@given(grids(min_side=4), grids(min_side=4))
def test_linear_interpolation_reproduces_a_linear_ramp(source: Grid, target: Grid) -> None:
    moved = resample(_linear_ramp(source), target)
    place_vox = source.voxels(target.world(np.indices(target.shape).reshape(3, -1).T))
    inside = ((place_vox > 0.01) & (place_vox < np.array(source.shape) - 1.01)).all(axis=1).reshape(target.shape)
    np.testing.assert_allclose(moved.data[inside], _linear_ramp(target).data[inside], atol=0.02)
    outside = ((place_vox < -0.51) | (place_vox > np.array(source.shape) - 0.49)).any(axis=1).reshape(target.shape)
    assert not moved.data[outside].any()


@given(volumes(), transforms())
def test_a_grid_that_moves_with_the_image_gets_the_same_voxels(volume: Volume, target_from_source: Transform) -> None:
    moved_grid = Grid(volume.grid.shape, target_from_source.matrix @ volume.grid.affine)
    np.testing.assert_allclose(resample(volume, moved_grid, target_from_source).data, volume.data, atol=0.5)


@given(volumes(), transforms(rigid=False))
def test_a_map_and_its_inverse_leave_the_image_as_it_was(volume: Volume, target_from_source: Transform) -> None:
    there_and_back = target_from_source.inverse() @ target_from_source
    np.testing.assert_allclose(resample(volume, volume.grid, there_and_back).data, volume.data, atol=0.5)


def test_a_transform_moves_the_image_in_its_own_direction() -> None:
    grid = make_grid((32, 32, 32), (2.0, 2.0, 2.0))
    source = Mask(ball(grid, (-8.0, 0.0, 4.0), 9.0), grid)
    shift = np.eye(4)
    shift[:3, 3] = (12.0, -6.0, 2.0)
    moved = resample(source, grid, Transform(shift))
    np.testing.assert_array_equal(moved.data, ball(grid, (4.0, -6.0, 6.0), 9.0))


@given(label_maps(grids(min_side=3)), grids(min_side=3))
def test_labels_are_never_blurred(labels: LabelMap, target: Grid) -> None:
    moved = resample(LabelMap(labels.data, labels.grid, {7: "seven"}), target)
    assert set(np.unique(moved.data)) <= set(np.unique(labels.data)) | {0}
    assert moved.names == {7: "seven"}


@given(st.data())
@settings(max_examples=20)
def test_reordering_axes_changes_nothing_but_the_order(data: st.DataObject) -> None:
    labels = data.draw(label_maps())
    canonical = canonical_grid(labels.grid)
    there = resample(labels, canonical)
    assert np.array_equal(np.sort(there.data, axis=None), np.sort(labels.data, axis=None))
    back = resample(there, labels.grid)
    np.testing.assert_array_equal(back.data, labels.data)


@given(masks())
@settings(max_examples=30)
def test_masks_survive_reordering_and_keep_their_volume(mask: Mask) -> None:
    there = resample(mask, canonical_grid(mask.grid))
    assert there.volume_ml == pytest.approx(mask.volume_ml)
    np.testing.assert_array_equal(resample(there, mask.grid).data, mask.data)
    assert mask.volume_ml == pytest.approx(mask.data.sum() * np.prod(mask.grid.spacing_mm) / 1000, rel=1e-6)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR"])
def test_a_balls_volume_survives_resampling(orientation: str) -> None:
    native = make_grid((40, 40, 14), (1.0, 1.0, 3.0), orientation, (10.0, 5.0, -8.0))
    mask = Mask(ball(native, (1.0, 2.0, 0.0), 12.0), native)
    expected_ml = 4 / 3 * np.pi * 12.0**3 / 1000
    assert mask.volume_ml == pytest.approx(expected_ml, rel=0.03)
    assert resample(mask, isotropic_grid(native, 1.0)).volume_ml == pytest.approx(expected_ml, rel=0.03)


def test_resampling_onto_the_same_grid_is_no_interpolation() -> None:
    grid = make_grid((4, 4, 4))
    volume = Volume(np.arange(64, dtype=np.float32).reshape(4, 4, 4), grid)
    assert resample(volume, make_grid((4, 4, 4))) is volume


# ---------------------------------------------------------------------------------------------------------------- files


@given(st.one_of(volumes(), masks(), label_maps()))
@settings(max_examples=25)
def test_files_hold_what_was_written_for_nibabel_and_simpleitk(
    tmp_path_factory: pytest.TempPathFactory, image: Volume | Mask | LabelMap
) -> None:
    path = tmp_path_factory.mktemp("files") / "sub" / "image.nii.gz"
    write_volume(path, image)
    nifti = nib.Nifti1Image.from_filename(path)
    np.testing.assert_array_equal(np.asarray(nifti.dataobj), image.data)
    np.testing.assert_allclose(nifti.affine, image.grid.affine, atol=1e-4)
    # nibabel takes a single-precision quaternion's real part below 6e-4 for 0: up to 1.2e-3 rad near half turns
    np.testing.assert_allclose(nifti.get_qform(), image.grid.affine, atol=1.3e-3 * max(1.0, float(image.grid.spacing_mm.max())))
    assert (int(nifti.header["qform_code"]), int(nifti.header["sform_code"])) == (1, 1)
    expected = {Mask: "uint8", Volume: "float32"}.get(type(image)) or ("uint8" if image.data.max() < 256 else "uint16")
    assert nifti.get_data_dtype() == np.dtype(expected)
    theirs = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(theirs).transpose(2, 1, 0), image.data)
    np.testing.assert_allclose(np.array(theirs.GetOrigin()) * [-1, -1, 1], image.grid.affine[:3, 3], atol=1e-3)


@pytest.mark.parametrize(("label", "dtype"), [(255, "uint8"), (256, "uint16"), (65536, "uint32")])
def test_no_label_is_too_large_for_its_file(tmp_path: Path, label: int, dtype: str) -> None:
    write_volume(tmp_path / "l.nii.gz", LabelMap(np.full((2, 2, 2), label, np.int32), make_grid((2, 2, 2))))
    nifti = nib.Nifti1Image.from_filename(tmp_path / "l.nii.gz")
    assert nifti.get_data_dtype() == np.dtype(dtype)
    assert np.asarray(nifti.dataobj).min() == label


def test_same_voxels_give_the_same_bytes_and_no_rubbish_is_left(tmp_path: Path) -> None:
    image = Volume(np.random.default_rng(0).random((5, 6, 7), np.float32), make_grid((5, 6, 7)))
    write_volume(tmp_path / "a.nii.gz", image)
    write_volume(tmp_path / "b.nii.gz", image)
    a, b = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.nii.gz", "b.nii.gz"))
    assert a == b
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii.gz"
    image = Mask(np.ones((2, 2, 2), bool), make_grid((2, 2, 2)))
    write_volume(path, image)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("smallvessel.volume.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_volume(path, Mask(np.zeros((2, 2, 2), bool), make_grid((2, 2, 2))))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.nii.gz"]
