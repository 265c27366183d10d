"""Quality checks against images whose noise, ghosts and borders are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import BRAIN_MM, INTRACRANIAL_MM, ellipsoid, head_image, head_structures, make_grid
from smallvessel.markers import Sequence
from smallvessel.prepare.checks import (
    BRAIN_ML,
    SNR,
    Limits,
    Range,
    check_brain,
    check_image,
    cut_off_percent,
    ghosting_percent,
    noise_sd,
)
from smallvessel.records import Check
from smallvessel.structures import Structure
from smallvessel.volume import Grid, LabelMap, Mask, Volume

GRID = make_grid((72, 80, 40), (2.8, 2.8, 4.6))


def named(checks: tuple[Check, ...], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def checks_of(image: Volume, sequence: Sequence = Sequence.FLAIR) -> tuple[Check, ...]:
    return check_image(sequence, image, Mask(ellipsoid(image.grid, (0, 0, 0), BRAIN_MM), image.grid), head_structures(image.grid))


def with_ghost(image: Volume, axis: int, strength: float) -> Volume:
    """The head again, faint and displaced by half the field of view along one axis."""
    return Volume(image.data + np.float32(strength) * np.roll(image.data, image.grid.shape[axis] // 2, axis), image.grid)


def test_a_limit_belongs_to_the_better_side() -> None:
    high = Limits(warn=2.0, fail=5.0)
    assert [high.judge(v) for v in (1.9, 2.0, 2.1, 5.0, 5.1)] == ["pass", "pass", "warn", "warn", "fail"]
    low = Limits(warn=5.0, fail=2.0, high_is_bad=False)
    assert [low.judge(v) for v in (5.1, 5.0, 4.9, 2.0, 1.9)] == ["pass", "pass", "warn", "warn", "fail"]
    both = Range(warn=(2.0, 4.0), fail=(1.0, 5.0))
    assert [both.judge(v) for v in (0.9, 1.0, 2.0, 4.0, 4.1, 5.1)] == ["fail", "warn", "pass", "pass", "warn", "fail"]
    assert str(high) == "warn above 2, fail above 5"
    assert str(low) == "warn below 5, fail below 2"
    assert str(both) == "warn outside 2 to 4, fail outside 1 to 5"


@pytest.mark.parametrize("slice_axis", [0, 2])
def test_noise_is_measured_within_slices(slice_axis: int) -> None:
    rng = np.random.default_rng(3)
    trend = np.linspace(0, 80, 40)[:, None, None] + np.zeros((40, 40, 40))
    banding = np.moveaxis(np.resize([0.0, 90.0], 40)[:, None, None] + np.zeros((40, 40, 40)), 0, slice_axis)
    image = (500 + trend + banding + rng.normal(0, 7.0, (40, 40, 40))).astype(np.float32)
    inside = np.zeros((40, 40, 40), bool)
    inside[4:-4, 4:-4, 4:-4] = True
    assert noise_sd(image, inside, slice_axis) == pytest.approx(7.0, rel=0.05)


def test_noise_of_too_few_voxels_is_not_made_up() -> None:
    inside = np.zeros((20, 20, 20), bool)
    inside[9:12, 9:12, 9:12] = True
    assert noise_sd(np.ones((20, 20, 20), np.float32), inside, 2) is None


def test_signal_and_contrast_are_in_units_of_the_noise() -> None:
    checks = checks_of(head_image(GRID, Sequence.T1W, noise=12.0), Sequence.T1W)
    assert named(checks, "snr_T1w").value == pytest.approx(600 / 12, rel=0.1)
    assert named(checks, "contrast_T1w").value == pytest.approx(200 / 12, rel=0.1)
    assert named(checks, "snr_T1w").status == named(checks, "contrast_T1w").status == "pass"


def test_a_noisy_image_without_contrast_fails() -> None:
    rng = np.random.default_rng(1)
    flat = Volume((300 + rng.normal(0, 100, GRID.shape)).astype(np.float32), GRID)
    checks = checks_of(flat)
    assert named(checks, "snr_FLAIR").status == "fail"
    assert named(checks, "contrast_FLAIR").status == "fail"
    assert str(SNR) == named(checks, "snr_FLAIR").limit


def test_without_tissue_there_is_no_value_and_a_reason() -> None:
    image = head_image(GRID)
    nothing = LabelMap(np.zeros(GRID.shape, np.int32), GRID)
    checks = check_image(Sequence.FLAIR, image, Mask(ellipsoid(GRID, (0, 0, 0), BRAIN_MM), GRID), nothing)
    assert named(checks, "snr_FLAIR").value is None
    assert "too little tissue" in named(checks, "snr_FLAIR").message


@pytest.mark.parametrize("axis", [0, 1])
def test_ghosts_along_one_axis_are_seen(axis: int) -> None:
    clean = head_image(GRID, noise=5.0)
    value = named(checks_of(clean), "ghosting_FLAIR").value
    assert value is not None
    assert value < 0.5
    ghosted = named(checks_of(with_ghost(clean, axis, 0.06)), "ghosting_FLAIR")
    assert ghosted.value is not None
    assert ghosted.value > 4 * max(value, 0.25)


def test_the_ghost_ratio_has_its_analytic_value() -> None:
    head = np.zeros((60, 60, 10), bool)
    head[20:40, 15:45] = True
    image = np.where(head, np.float32(100.0), np.float32(4.0))
    image[20:40, :15] = image[20:40, 45:] = 10.0
    image = np.asarray(image, np.float32)
    assert ghosting_percent(image, head, (0, 1)) == pytest.approx(100 * (10 - 4) / 200)


def test_a_background_of_zeros_cannot_be_judged() -> None:
    check = named(checks_of(head_image(GRID, skull=False)), "ghosting_FLAIR")
    assert check.value is None
    assert check.status == "pass"
    assert "cannot be judged" in check.message


def block(start: int, stop: int) -> NDArray[np.bool_]:
    mask = np.zeros((20, 20, 20), bool)
    mask[5:15, 5:15, start:stop] = True
    return mask


def test_a_cut_off_brain_is_measured() -> None:
    assert cut_off_percent(block(3, 17)) == 0.0
    assert cut_off_percent(block(0, 17)) == pytest.approx(100.0)
    tapered = block(3, 20)
    tapered[:, :, 19] = False
    tapered[5:10, 5:7, 19] = True
    assert cut_off_percent(tapered) == pytest.approx(10.0)


def test_a_missing_vertex_and_thick_slices_are_flagged() -> None:
    thick = make_grid((72, 80, 10), (2.8, 2.8, 9.0))
    checks = checks_of(head_image(thick))
    assert named(checks, "field_of_view_FLAIR").status == "fail"
    assert named(checks, "slice_distance_FLAIR").status == "fail"
    assert named(checks_of(head_image(GRID)), "field_of_view_FLAIR").status == "pass"


@pytest.mark.parametrize(
    ("spacing_mm", "status"), [((1.2, 6.0, 1.2), "pass"), ((0.5, 1.21, 6.0), "warn"), ((1.0, 1.0, 1.0), "pass"), ((3.1, 3.1, 3.1), "fail")]
)
def test_voxels_wider_than_in_training_are_told_whatever_the_slices_axis(spacing_mm: tuple[float, float, float], status: str) -> None:
    shape = tuple(round(230 / size_mm) for size_mm in spacing_mm)
    check = named(checks_of(head_image(make_grid((shape[0], shape[1], shape[2]), spacing_mm))), "in_plane_FLAIR")
    assert check.status == status
    assert ("invented" in check.message) == (status != "pass")


def brain_checks(grid: Grid, labels: NDArray[np.int32], scale: float = 1.0) -> tuple[Check, ...]:
    x = grid.world(np.indices(grid.shape).reshape(3, -1).T)[:, 0].reshape(grid.shape)
    semi_axes = [tuple(scale * s for s in axes) for axes in (BRAIN_MM, INTRACRANIAL_MM)]
    brain, intracranial = (Mask(ellipsoid(grid, (0, 0, 0), (a, b, c)), grid) for a, b, c in semi_axes)
    return check_brain(LabelMap(labels, grid), brain, intracranial, Mask(x > 0, grid))


def test_volumes_and_symmetry_of_a_normal_head() -> None:
    checks = brain_checks(GRID, head_structures(GRID).data)
    expected_ml = 4 / 3 * np.pi * np.prod(BRAIN_MM) / 1000
    assert named(checks, "brain_volume").value == pytest.approx(expected_ml, rel=0.02)
    assert named(checks, "hemisphere_asymmetry").value == pytest.approx(0.0, abs=1e-9)
    assert {check.status for check in checks} == {"pass"}
    assert named(checks, "brain_volume").limit == str(BRAIN_ML)


def test_a_small_brain_and_a_missing_side_are_flagged() -> None:
    labels = head_structures(GRID).data.copy()
    labels[: GRID.shape[0] // 2 - 8] = Structure.BACKGROUND
    checks = brain_checks(GRID, labels, scale=0.7)
    assert [check.status for check in checks] == ["fail", "fail", "fail"]
