"""Bias correction of a head with a known field."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import BRAIN_MM, ellipsoid, head_image, make_grid, voxel_centres_mm
from smallvessel.markers import Sequence
from smallvessel.prepare.bias import correct_bias
from smallvessel.volume import Grid, Mask, Volume


def log_field(grid: Grid) -> NDArray[np.float64]:
    """A smooth field, SD about 0.14 in the brain."""
    x, y, z = np.moveaxis(voxel_centres_mm(grid), -1, 0)
    return np.asarray(0.3 * np.sin(x / 70.0 + 0.4) + 0.25 * (y / 90.0) * (z / 70.0) - 0.15 * (z / 70.0) ** 2)


def brain_of(grid: Grid) -> Mask:
    return Mask(ellipsoid(grid, (0, 0, 0), BRAIN_MM), grid)


@pytest.mark.parametrize(
    "grid",
    [make_grid((56, 64, 52), (3.2, 3.2, 3.4)), make_grid((64, 80, 24), (2.8, 2.8, 7.0)), make_grid((60, 22, 60), (3.0, 9.0, 3.0), "LSP")],
    ids=["isotropic", "thick slices", "thick coronal slices"],
)
def test_a_known_field_is_removed(grid: Grid) -> None:
    brain, truth = brain_of(grid), log_field(grid)
    flat = head_image(grid, Sequence.T1W)
    uneven = Volume(flat.data * np.exp(truth), grid)
    corrected, field_sd = correct_bias(uneven, brain)
    left = np.log(corrected.data / flat.data)[brain.data]
    assert truth[brain.data].std() > 0.1
    assert left.std() < 0.35 * truth[brain.data].std()
    assert field_sd == pytest.approx(truth[brain.data].std(), rel=0.3)


def test_an_even_image_stays_as_it_is() -> None:
    grid = make_grid((56, 64, 52), (3.2, 3.2, 3.4))
    image = head_image(grid, Sequence.FLAIR)
    corrected, field_sd = correct_bias(image, brain_of(grid))
    inside = brain_of(grid).data
    assert field_sd < 0.03
    assert corrected.data[inside].mean() == pytest.approx(image.data[inside].mean(), rel=0.02)
    assert corrected.grid.same_as(grid)


def test_the_field_stays_in_bounds_outside_the_brain() -> None:
    grid = make_grid((56, 64, 52), (3.2, 3.2, 3.4))
    brain = brain_of(grid)
    image = Volume(head_image(grid, Sequence.FLAIR, noise=0).data * np.exp(log_field(grid)), grid)
    corrected, _ = correct_bias(image, brain)
    signal = image.data > 0
    field = image.data[signal] / corrected.data[signal]
    inside = (image.data / np.maximum(corrected.data, 1e-6))[brain.data]
    assert field.min() >= inside.min() * 0.999
    assert field.max() <= inside.max() * 1.001


def test_two_runs_agree_bit_by_bit() -> None:
    grid = make_grid((48, 56, 30), (4.0, 4.0, 5.0))
    image = head_image(grid, Sequence.T2W)
    first, second = (correct_bias(image, brain_of(grid))[0].data for _ in range(2))
    assert first.tobytes() == second.tobytes()
