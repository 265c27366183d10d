"""One file: what is read, and every refusal with its message."""

import hashlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import ball, head_image, make_grid, nifti_bytes, write_bytes, write_image
from smallvessel.errors import GeometryError, InputError, SmallvesselError
from smallvessel.intake.nifti import read_nifti
from smallvessel.volume import Grid, Volume

GRID = make_grid((48, 56, 44), (4.0, 4.0, 4.0), "LPS", (8.0, -5.0, 3.0), (5.0, -20.0, 30.0))
HEAD = head_image(GRID)
STORED = HEAD.data.astype(np.int16)


def _file(folder: Path, data: NDArray[Any] = STORED, grid: Grid = GRID, name: str = "image.nii.gz", **header: Any) -> Path:
    return write_bytes(folder / name, nifti_bytes(data, grid.affine, **header))


def _refusal(path: Path, kind: type[SmallvesselError], trust_header: bool = False) -> str:
    with pytest.raises(kind) as refused:
        read_nifti(path, trust_header)
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", ">i2", "int64"])
def test_every_version_and_type_is_read(tmp_path: Path, version: int, name: str, dtype: str) -> None:
    stored = (HEAD.data / 4).astype(dtype)
    path = _file(tmp_path, stored, name=name, version=version)
    volume, sha256, notes = read_nifti(path)
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, stored.astype(np.float32))
    assert volume.grid.same_as(GRID)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert notes == ()


def test_scaling_is_applied(tmp_path: Path) -> None:
    volume, _, _ = read_nifti(_file(tmp_path, slope=0.25, intercept=3.0))
    np.testing.assert_allclose(volume.data, STORED * 0.25 + 3.0, rtol=1e-6)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 2), (4, 1)])
def test_either_orientation_will_do(tmp_path: Path, codes: tuple[int, int]) -> None:
    volume, _, notes = read_nifti(_file(tmp_path, sform_code=codes[0], qform_code=codes[1]))
    assert volume.grid.same_as(GRID, tolerance_mm=0.01)
    assert notes == ()


@pytest.mark.parametrize("extra", [(1,), (1, 1), (1, 1, 1, 1)])
def test_a_single_volume_is_squeezed(tmp_path: Path, extra: tuple[int, ...]) -> None:
    volume, _, notes = read_nifti(_file(tmp_path, STORED.reshape(*STORED.shape, *extra)))
    np.testing.assert_array_equal(volume.data, STORED)
    assert "squeezed" in notes[0]


@pytest.mark.parametrize(
    ("orientation", "thickness_mm"), [("RAS", 1.0), ("LPS", 3.3), ("LIA", 8.0), ("ASR", 3.3), ("PIR", 8.0), ("SLA", 3.3)]
)
def test_any_orientation_and_slices_of_1_to_8_mm(tmp_path: Path, orientation: str, thickness_mm: float) -> None:
    grid = make_grid((24, 22, int(160 / thickness_mm)), (8.0, 8.0, thickness_mm), orientation)
    volume, _, notes = read_nifti(write_image(tmp_path / "i.nii", head_image(grid)))
    assert volume.grid.same_as(grid)
    assert notes == ()


def test_what_is_outside_the_field_of_view_may_be_nan(tmp_path: Path) -> None:
    data = np.where(HEAD.data > 100, HEAD.data, 1.0).astype(np.float32)
    data[:, :5] = np.nan
    data[3:, 5, 0] = np.inf
    volume, _, notes = read_nifti(_file(tmp_path, data))
    assert np.isfinite(volume.data).all()
    np.testing.assert_array_equal(volume.data[:, 6:], data[:, 6:])
    assert not volume.data[:, :5].any()
    assert notes == (f"{48 * 5 * 44 + 45} voxels outside the field of view that were not finite were set to 0.",)


def test_brain_extracted_with_nan_around_it_is_read(tmp_path: Path) -> None:
    bare = head_image(GRID, skull=False)
    volume, _, _ = read_nifti(_file(tmp_path, np.where(bare.data == 0, np.float32(np.nan), bare.data)))
    np.testing.assert_array_equal(volume.data, bare.data)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("raw", [b"", b"not an image", b"\0" * 4000, b"\0" * 128 + b"DICM" + b"\0" * 4000])
def test_refuses_what_is_not_a_nifti(tmp_path: Path, name: str, raw: bytes) -> None:
    message = _refusal(write_bytes(tmp_path / name, raw), InputError)
    assert "which is not a NIfTI file" in message
    assert "dcm2niix" in message


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    assert "cannot be opened (No such file" in _refusal(tmp_path / "none.nii.gz", InputError)


def test_refuses_a_broken_link(tmp_path: Path) -> None:
    link = tmp_path / "annexed.nii.gz"
    link.symlink_to(tmp_path / "not-fetched")
    assert "fetch what it links to" in _refusal(link, InputError)


@pytest.mark.parametrize("cut", [0.05, 0.5, 0.999])
def test_refuses_a_truncated_gzip(tmp_path: Path, cut: float) -> None:
    whole = _file(tmp_path).read_bytes()
    path = tmp_path / "cut.nii.gz"
    path.write_bytes(whole[: int(len(whole) * cut)])
    message = _refusal(path, InputError)
    assert "truncated or damaged gzip stream" in message
    assert "copy it again" in message


def test_refuses_a_damaged_gzip(tmp_path: Path) -> None:
    whole = bytearray(_file(tmp_path).read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path = tmp_path / "damaged.nii.gz"
    path.write_bytes(whole)
    assert "truncated or damaged gzip stream" in _refusal(path, InputError)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_refuses_a_file_that_ends_before_its_voxels_do(tmp_path: Path, name: str) -> None:
    raw = nifti_bytes(STORED, GRID.affine)
    message = _refusal(write_bytes(tmp_path / name, raw[:-1000]), InputError)
    assert f"of {len(raw) - 1000} bytes" in message
    assert f"Expected: {len(raw)} bytes" in message


def test_refuses_the_header_of_a_pair(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(STORED, GRID.affine), tmp_path / "pair.img")
    assert "a .hdr/.img pair" in _refusal(tmp_path / "pair.hdr", InputError)


def test_refuses_an_unknown_data_type(tmp_path: Path) -> None:
    raw = bytearray(nifti_bytes(STORED, GRID.affine))
    raw[70:72] = (9999).to_bytes(2, "little")
    assert "damaged NIfTI header" in _refusal(write_bytes(tmp_path / "i.nii", bytes(raw)), InputError)


def test_refuses_colour(tmp_path: Path) -> None:
    colour = np.zeros(GRID.shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    assert "with colour voxels" in _refusal(_file(tmp_path, colour), InputError)


def test_refuses_complex_voxels(tmp_path: Path) -> None:
    assert "with complex voxels" in _refusal(_file(tmp_path, HEAD.data.astype(np.complex64)), InputError)


def test_refuses_several_volumes(tmp_path: Path) -> None:
    message = _refusal(_file(tmp_path, np.stack([STORED] * 3, axis=-1)), InputError)
    assert "with 3 volumes, shape (48, 56, 44, 3)" in message
    assert "split it" in message


def test_refuses_a_single_slice(tmp_path: Path) -> None:
    assert "three-dimensional" in _refusal(_file(tmp_path, STORED[:, :, 0]), InputError)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_refuses_fewer_than_10_slices_along_any_axis(tmp_path: Path, axis: int) -> None:
    message = _refusal(_file(tmp_path, np.take(STORED, np.arange(9), axis)), GeometryError)
    assert "with 9 slices" in message
    assert "at least 10 slices" in message


def test_refuses_no_orientation_unless_trusted(tmp_path: Path) -> None:
    path = _file(tmp_path, sform_code=0, qform_code=0)
    message = _refusal(path, GeometryError)
    assert "without an orientation" in message
    assert "--trust-header" in message
    volume, _, notes = read_nifti(path, trust_header=True)
    assert nib.orientations.aff2axcodes(volume.grid.affine) == ("L", "A", "S")
    np.testing.assert_allclose(volume.grid.spacing_mm, 4.0, rtol=1e-6)
    assert "Left and right may be swapped" in notes[0]


def test_refuses_an_orientation_that_is_declared_but_empty(tmp_path: Path) -> None:
    raw = bytearray(nifti_bytes(STORED, GRID.affine, qform_code=0))
    raw[280:328] = bytes(48)
    assert "without an orientation" in _refusal(write_bytes(tmp_path / "i.nii", bytes(raw)), GeometryError)


def test_an_empty_sform_beside_a_good_qform_is_passed_over(tmp_path: Path) -> None:
    raw = bytearray(nifti_bytes(STORED, GRID.affine))
    raw[280:328] = bytes(48)
    volume, _, _ = read_nifti(write_bytes(tmp_path / "i.nii", bytes(raw)))
    assert volume.grid.same_as(GRID, tolerance_mm=0.01)


def test_refuses_a_sheared_affine(tmp_path: Path) -> None:
    sheared = GRID.affine.copy()
    sheared[:3, 1] += 0.05 * sheared[:3, 0]
    message = _refusal(_file(tmp_path, sform=sheared, qform_code=0), GeometryError)
    assert "sheared affine (axes 87.1 degrees apart)" in message


@pytest.mark.parametrize(
    "turn",
    [np.diag([-1.0, 1, 1, 1]), np.diag([-1.0, -1, 1, 1]), np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])],
    ids=["mirrored", "half turn", "axes swapped"],
)
def test_refuses_orientations_that_contradict_each_other_unless_trusted(tmp_path: Path, turn: NDArray[np.float64]) -> None:
    path = _file(tmp_path, sform=turn @ GRID.affine)
    message = _refusal(path, GeometryError)
    assert "qform (LPS) and sform (" in message
    volume, _, notes = read_nifti(path, trust_header=True)
    assert volume.grid.same_as(Grid(GRID.shape, turn @ GRID.affine))
    assert "the sform was trusted by request" in notes[0]


def test_an_sform_with_two_axes_nearly_alike_is_told_with_a_question_mark(tmp_path: Path) -> None:
    flat = np.array([[1e20, 1e20, 0, 0], [0, 4, 0, 0], [0, 0, -4, 0], [0, 0, 0, 1]])
    assert "qform (LPS) and sform (R?I)" in _refusal(_file(tmp_path, sform=flat), GeometryError)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_scaling_that_is_not_set_is_none(tmp_path: Path, slope: float) -> None:
    raw = bytearray(nifti_bytes(STORED, GRID.affine))
    raw[112:120] = np.array([slope, slope], "<f4").tobytes()
    volume, _, _ = read_nifti(write_bytes(tmp_path / "i.nii", bytes(raw)))
    np.testing.assert_array_equal(volume.data, STORED)


def test_refuses_voxels_inside_the_header(tmp_path: Path) -> None:
    raw = bytearray(nifti_bytes(STORED, GRID.affine))
    raw[108:112] = bytes(4)
    assert "whose voxels begin at byte 0, inside the header" in _refusal(write_bytes(tmp_path / "i.nii", bytes(raw)), InputError)


def test_blank_slices_are_read(tmp_path: Path) -> None:
    data = STORED.copy()
    data[:, :, :4] = 0
    volume, _, notes = read_nifti(_file(tmp_path, data))
    np.testing.assert_array_equal(volume.data, data)
    assert notes == ()


def test_refuses_a_number_of_voxels_that_overflows(tmp_path: Path) -> None:
    raw = bytearray(nifti_bytes(STORED, GRID.affine, version=2))
    raw[24:48] = np.array([1 << 22] * 3, "<i8").tobytes()
    assert "bytes by its header" in _refusal(write_bytes(tmp_path / "i.nii", bytes(raw)), InputError)


def test_the_sform_is_used_where_it_moves_the_head(tmp_path: Path) -> None:
    moved = make_grid((48, 56, 44), (4.0, 4.0, 4.0), "LPS", (0.0, 0.0, 20.0))
    volume, _, notes = read_nifti(_file(tmp_path, sform=moved.affine))
    assert volume.grid.same_as(moved)
    assert "the sform is used" in notes[0]


def test_the_qform_is_used_where_the_sform_stretches_the_head(tmp_path: Path) -> None:
    volume, _, notes = read_nifti(_file(tmp_path, sform=np.diag([1.1, 1.0, 1.2, 1.0]) @ GRID.affine))
    assert volume.grid.same_as(GRID, tolerance_mm=0.01)
    assert "the qform is used" in notes[0]


@pytest.mark.parametrize(
    ("factor", "units"),
    [
        ((0.001, 0.001, 0.001), "meter"),
        ((1000.0, 1000.0, 1000.0), "micron"),
        ((1.0, 1.0, 0.25), "mm"),
        ((0.4, 0.4, 1.0), "mm"),
        ((1.0, 2.0, 1.0), "mm"),
    ],
)
def test_refuses_a_physically_impossible_head(tmp_path: Path, factor: tuple[float, float, float], units: str) -> None:
    grid = make_grid((48, 56, 44), (4.0 * factor[0], 4.0 * factor[1], 4.0 * factor[2]))
    message = _refusal(_file(tmp_path, grid=grid, units=units), GeometryError)
    assert "a head: 100 to 400 mm along two axes, 50 to 400 mm along the third" in message
    assert f"{176 * factor[2]:.4g} mm" in message
    assert ("its unit is" in message) == (units != "mm")


@pytest.mark.parametrize("code", [0, 4, 7, 34, 64, 104, 255])
def test_units_that_are_not_in_the_standard_are_no_reason_to_stop(tmp_path: Path, code: int) -> None:
    raw = bytearray(nifti_bytes(STORED, GRID.affine))
    raw[123] = code
    volume, _, _ = read_nifti(write_bytes(tmp_path / "i.nii", bytes(raw)))
    assert volume.grid.same_as(GRID)


def test_a_slab_of_the_head_is_read_and_noted(tmp_path: Path) -> None:
    _, _, notes = read_nifti(write_image(tmp_path / "i.nii", head_image(make_grid((48, 56, 15), (4.0, 4.0, 4.0)))))
    assert notes == ("The image covers only 60 mm along one axis; nothing outside is measured.",)


def test_refuses_slices_that_are_too_thick(tmp_path: Path) -> None:
    grid = make_grid((48, 56, 18), (4.0, 4.0, 9.0))
    assert "with slices 9.0 mm apart. Expected: at most 8.5 mm" in _refusal(
        write_image(tmp_path / "i.nii", head_image(grid)), GeometryError
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_what_is_not_finite_inside_the_head(tmp_path: Path, value: float) -> None:
    data = HEAD.data.copy()
    data[ball(GRID, (5.0, -20.0, 30.0), 5.0)] = value
    count = np.count_nonzero(~np.isfinite(data))
    assert count > 1
    assert f"with {count} voxels inside the head that are not finite" in _refusal(_file(tmp_path, data), InputError)


def test_refuses_nothing_but_nan(tmp_path: Path) -> None:
    message = _refusal(_file(tmp_path, np.full(GRID.shape, np.nan, np.float32)), InputError)
    assert "only voxels that are not finite (NaN or infinite)" in message


@pytest.mark.parametrize("value", [0, 7])
def test_refuses_a_constant_image(tmp_path: Path, value: int) -> None:
    assert f"a constant image (all voxels {value})" in _refusal(_file(tmp_path, np.full(GRID.shape, value, np.int16)), InputError)


def test_refuses_a_mask(tmp_path: Path) -> None:
    assert "with 2 distinct values, a mask or a label map" in _refusal(_file(tmp_path, (STORED > 300).astype(np.uint8)), InputError)


def test_refuses_phase_and_standardised_images(tmp_path: Path) -> None:
    phase = np.random.default_rng(0).uniform(-np.pi, np.pi, GRID.shape).astype(np.float32)
    assert "with 50 % of its intensity negative" in _refusal(_file(tmp_path, phase), InputError)


def test_a_few_negative_values_are_no_reason_to_refuse(tmp_path: Path) -> None:
    volume, _, _ = read_nifti(_file(tmp_path, STORED - np.int16(5)))
    assert volume.data.min() < 0


def test_reading_does_not_depend_on_how_the_axes_are_stored(tmp_path: Path) -> None:
    canonical = nib.as_closest_canonical(nib.Nifti1Image(STORED, GRID.affine))
    stored, _, _ = read_nifti(_file(tmp_path))
    turned, _, _ = read_nifti(write_bytes(tmp_path / "ras.nii", nifti_bytes(np.asarray(canonical.dataobj), canonical.affine)))
    point_vox = np.array([[10, 20, 30]])
    there_vox = np.round(turned.grid.voxels(stored.grid.world(point_vox))).astype(int)[0]
    assert isinstance(stored, Volume)
    assert turned.data[tuple(there_vox)] == stored.data[10, 20, 30]
