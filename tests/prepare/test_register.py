"""Rigid registration of a textured phantom with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from phantoms import ellipsoid, make_grid
from smallvessel.errors import GeometryError
from smallvessel.markers import Sequence
from smallvessel.prepare import register
from smallvessel.prepare.checks import check_registration
from smallvessel.prepare.register import mask_overlap, normalised_mutual_information, one_thread, register_rigid
from smallvessel.volume import Grid, Mask, Transform, Volume, resample

WORLD = make_grid((72, 84, 64), (2.5, 2.5, 2.5))
REFERENCE = make_grid((56, 66, 40), (3.2, 3.2, 4.0))
NATIVE = make_grid((60, 50, 52), (3.0, 4.5, 3.0), "LPS")
SEMI_AXES_MM = (62.0, 78.0, 56.0)
SIGNALS = {"reference": (500.0, 300.0, 80.0), "native": (200.0, 450.0, 900.0)}


def tissues() -> NDArray[np.int32]:
    """Three classes in random blobs inside an ellipsoid, and 0 outside; nothing about them is symmetric."""
    blobs = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=WORLD.shape), 3.0)
    inside = ellipsoid(WORLD, (0, 0, 0), SEMI_AXES_MM)
    low, high = np.percentile(blobs[inside], [40, 85])
    return np.asarray(np.where(inside, 1 + (blobs > low) + (blobs > high), 0), np.int32)


def seen_on(grid: Grid, contrast: str, grid_from_world: Transform) -> tuple[Volume, Mask]:
    """The phantom in one contrast, on a grid in whose world it has been moved."""
    classes = tissues()
    signal = np.concatenate([[20.0], SIGNALS[contrast]])[classes].astype(np.float32)
    image = resample(Volume(signal, WORLD), grid, grid_from_world)
    noise = np.random.default_rng(len(contrast)).normal(0, 10, grid.shape)
    return Volume((image.data + noise).astype(np.float32), grid), resample(Mask(classes > 0, WORLD), grid, grid_from_world)


def moved_by(angle_deg: float, axis: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> Transform:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(angle_deg) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, 3] = shift_mm
    return Transform(matrix)


def headers_lie(image: Volume, brain: Mask, lie: Transform) -> tuple[Volume, Mask]:
    grid = Grid(image.grid.shape, lie.matrix @ image.grid.affine)
    return Volume(image.data, grid), Mask(brain.data, grid)


def error_mm(reference_from_native: Transform, native_from_reference: Transform) -> float:
    """Mean distance, over the phantom, between a point and where it lands after the true way there and the found way back."""
    points = WORLD.world(np.argwhere(tissues() > 0)[::53])
    return float(np.linalg.norm(reference_from_native(native_from_reference(points)) - points, axis=1).mean())


@pytest.fixture(scope="module")
def reference() -> tuple[Volume, Mask]:
    return seen_on(REFERENCE, "reference", Transform.identity())


@pytest.mark.parametrize(
    ("motion", "lie", "from_centres"),
    [
        (moved_by(3, (1, 2, 0), (1.5, -2.0, 1.0)), Transform.identity(), False),
        (Transform.identity(), moved_by(12, (1, -1, 2), (11.0, -12.0, 11.5)), True),
        (Transform.identity(), moved_by(5, (0, 0, 1), (300.0, -150.0, 40.0)), True),
    ],
    ids=["head moved", "header off by 12 degrees and 20 mm", "another world"],
)
def test_a_known_motion_is_found(reference: tuple[Volume, Mask], motion: Transform, lie: Transform, from_centres: bool) -> None:
    image, brain = headers_lie(*seen_on(NATIVE, "native", motion), lie)
    found = register_rigid(*reference, image, brain)
    assert error_mm(found.reference_from_native, lie @ motion) < 0.5
    assert found.stage == "nmi"
    assert found.is_peak
    assert found.from_centres is from_centres
    assert found.overlap > 0.95
    assert found.nmi > found.nmi_start
    assert check_registration(Sequence.T1W, Sequence.FLAIR, found).status == "pass"


def test_two_runs_agree_bit_by_bit(reference: tuple[Volume, Mask]) -> None:
    other = seen_on(NATIVE, "native", moved_by(4, (1, 0, 1), (2.0, 0.0, -3.0)))
    first, second = (register_rigid(*reference, *other).reference_from_native.matrix for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_the_result_is_rigid(reference: tuple[Volume, Mask]) -> None:
    other = seen_on(NATIVE, "native", moved_by(4, (1, 0, 1), (2.0, 0.0, -3.0)))
    rotation = register_rigid(*reference, *other).reference_from_native.matrix[:3, :3]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_a_wrong_turn_of_the_fine_stage_falls_back(reference: tuple[Volume, Mask], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "_register_fine", lambda *args: moved_by(0, (1, 0, 0), (9.0, 0.0, 0.0)) @ args[-1])
    motion = moved_by(3, (1, 2, 0), (1.5, -2.0, 1.0))
    found = register_rigid(*reference, *seen_on(NATIVE, "native", motion))
    assert found.stage == "mattes"
    assert error_mm(found.reference_from_native, motion) < 2.0
    check = check_registration(Sequence.T1W, Sequence.FLAIR, found)
    assert check.status == "warn"
    assert "fine stage" in check.message


def test_a_failed_registration_is_loud(reference: tuple[Volume, Mask], monkeypatch: pytest.MonkeyPatch) -> None:
    lost = moved_by(0, (1, 0, 0), (0.0, 12.0, 0.0))
    monkeypatch.setattr(register, "_choose_start", lambda *_: (lost, False))
    monkeypatch.setattr(register, "_register_fast", lambda *_: lost)
    monkeypatch.setattr(register, "_register_fine", lambda *_: lost)
    found = register_rigid(*reference, *seen_on(NATIVE, "native", Transform.identity()))
    assert not found.is_peak
    check = check_registration(Sequence.T1W, Sequence.FLAIR, found)
    assert check.status == "fail"
    assert "registration failed" in check.message


def test_an_empty_mask_is_refused(reference: tuple[Volume, Mask]) -> None:
    image, _ = seen_on(NATIVE, "native", Transform.identity())
    with pytest.raises(GeometryError, match="empty brain mask"):
        register_rigid(*reference, image, Mask(np.zeros(NATIVE.shape, bool), NATIVE))


def test_mutual_information_knows_its_ends() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=40_000).astype(np.float32)
    assert normalised_mutual_information(a, 3.0 * a + 1.0) == pytest.approx(2.0, abs=1e-6)
    assert normalised_mutual_information(a, -a) == pytest.approx(2.0, abs=1e-6)
    assert normalised_mutual_information(a, rng.permutation(a)) == pytest.approx(1.0, abs=0.01)


def test_overlap_counts_only_where_both_reach() -> None:
    whole = ellipsoid(WORLD, (0, 0, 0), SEMI_AXES_MM)
    slab = WORLD.crop((0, 0, 20), (72, 84, 20))
    assert mask_overlap(Mask(whole, WORLD), Mask(whole[:, :, 20:40], slab), Transform.identity()) > 0.99


def test_one_thread_is_given_back() -> None:
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    with one_thread():
        assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 1
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before
