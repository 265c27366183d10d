"""Brain-extracted images are told from heads, and their outline is kept."""

from __future__ import annotations

import numpy as np
import pytest

from phantoms import INTRACRANIAL_MM, ellipsoid, head_image, head_structures, make_grid
from smallvessel.markers import Sequence
from smallvessel.prepare.anatomy import AnatomyProbability, find_brain
from smallvessel.prepare.extracted import find_extracted_brain, trust_outline
from smallvessel.structures import Structure
from smallvessel.volume import Grid, Volume, isotropic_grid

GRIDS = {"isotropic": make_grid((72, 84, 72), (2.6, 2.6, 2.6)), "thick slices": make_grid((90, 100, 30), (2.2, 2.2, 6.5), "LPS")}


def coarse(grid: Grid) -> Grid:
    return isotropic_grid(grid, 2.0)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("background", [0.0, -50.0])
def test_a_brain_without_skull_is_recognised_with_its_outline(grid: Grid, background: float) -> None:
    image = head_image(grid, Sequence.FLAIR, skull=False)
    outline = find_extracted_brain(Volume(np.where(image.data == 0, np.float32(background), image.data), grid), coarse(grid))
    assert outline is not None
    truth = ellipsoid(coarse(grid), (0, 0, 0), INTRACRANIAL_MM)
    assert 2 * np.count_nonzero((outline > 0.5) & truth) / (np.count_nonzero(outline > 0.5) + truth.sum()) > 0.97


def test_holes_belong_to_the_brain() -> None:
    grid = GRIDS["isotropic"]
    image = head_image(grid, Sequence.FLAIR, skull=False)
    hole = ellipsoid(grid, (0, 0, 5), (12.0, 25.0, 12.0))
    outline = find_extracted_brain(Volume(np.where(hole, np.float32(0), image.data), grid), coarse(grid))
    assert outline is not None
    assert (outline[ellipsoid(coarse(grid), (0, 0, 5), (12.0, 25.0, 12.0))] == 1.0).all()


@pytest.mark.parametrize("noise", [0.0, 8.0], ids=["air set to zero", "noisy air"])
def test_a_head_with_its_skull_is_not_taken_for_a_brain(noise: float) -> None:
    image = head_image(GRIDS["isotropic"], Sequence.T1W, noise=noise)
    assert find_extracted_brain(image, coarse(image.grid)) is None


def test_a_slab_of_a_head_is_not_taken_for_a_brain() -> None:
    slab = make_grid((72, 84, 20), (2.6, 2.6, 3.5))
    assert find_extracted_brain(head_image(slab, Sequence.T1W, noise=0.0), coarse(slab)) is None


def test_two_pieces_are_not_taken_for_a_brain() -> None:
    grid = GRIDS["isotropic"]
    image = head_image(grid, Sequence.FLAIR, skull=False)
    data = image.data.copy()
    data[2:18, 2:18, 2:18] = 300.0
    assert find_extracted_brain(Volume(data, grid), coarse(grid)) is None


def test_the_rim_that_the_network_lost_is_cortex() -> None:
    grid = coarse(GRIDS["isotropic"])
    truth = head_structures(grid).data
    low = grid.world(np.indices(grid.shape).reshape(3, -1).T)[:, 2].reshape(grid.shape) < -25
    seen = np.where(ellipsoid(grid, (0, 0, 0), (52.0, 70.0, 52.0)), truth, Structure.BACKGROUND)
    seen[(seen > 0) & low] = Structure.CEREBELLAR_WHITE
    structures = (seen[None] == np.arange(len(Structure))[:, None, None, None]).astype(np.float32)
    brain = ellipsoid(grid, (0, 0, 0), INTRACRANIAL_MM).astype(np.float32)
    found = trust_outline(AnatomyProbability(grid, structures, np.zeros(grid.shape, np.float32)), brain)
    assert np.allclose(found.structures.sum(axis=0), 1.0)
    labels = found.structures.argmax(axis=0)
    rim = (brain > 0) & (seen == Structure.BACKGROUND)
    far_up, far_down = rim & ~low & (np.roll(low, 20, axis=2) == 0), rim & low & np.roll(low, -8, axis=2)
    assert (labels[far_up] == Structure.CORTEX).all()
    assert (labels[far_down] == Structure.CEREBELLAR_CORTEX).all()
    assert not labels[brain == 0].any()
    assert (find_brain(found.head, grid).data == (brain > 0)).mean() > 0.999
