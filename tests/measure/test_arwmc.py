"""Extent of WMH by region and side, on a block of white matter with known regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import make_grid
from smallvessel.measure.arwmc import ARWMC_REGIONS, SIDES, RegionExtent, measure_regions
from smallvessel.measure.regions import CODES, RegionMaps
from smallvessel.prepare.atlas import LOBE_NAMES
from smallvessel.records import NotAssessed
from smallvessel.shapes import label_components
from smallvessel.structures import Structure
from smallvessel.volume import LabelMap

SHAPE = (80, 40, 40)
GRID = make_grid(SHAPE, (1.0, 1.0, 1.0))
LOBES = {name: code for code, name in LOBE_NAMES.items()}


def measure(
    wmh: NDArray[np.bool_],
    near_ventricle: NDArray[np.bool_] | None = None,
    beyond_mm: float = np.inf,
    grey: NDArray[np.bool_] | None = None,
    temporal: int = 3,
) -> dict[tuple[str, str], RegionExtent] | NotAssessed:
    """Left x < 40; frontal y >= 20, temporal y < 3, occipital between; lowest 5 slices cerebellum, highest 5 internal capsule."""
    x, y, z = np.indices(SHAPE)
    lobes = np.select([y >= 20, y < temporal], [LOBES["frontal"], LOBES["temporal"]], LOBES["occipital"]).astype(np.int32)
    mars = np.full(SHAPE, CODES["deep and periventricular white matter"], np.uint8)
    mars[z < 5], mars[z >= 35] = CODES["cerebellum"], CODES["internal capsule"]
    if grey is not None:
        mars[grey] = CODES["basal ganglia"]
    ventricle_mm = np.where(np.zeros(SHAPE, bool) if near_ventricle is None else near_ventricle, 5.0, beyond_mm).astype(np.float32)
    maps = RegionMaps(mars, np.zeros(SHAPE, np.uint8), ventricle_mm, x >= 40)
    structures = np.full(SHAPE, Structure.WHITE_MATTER, np.int32)
    structures[0, 39, 39] = Structure.LATERAL_VENTRICLE
    found = measure_regions(LabelMap(label_components(wmh)[0], GRID), maps, LabelMap(lobes, GRID, LOBE_NAMES), structures)
    return found if isinstance(found, NotAssessed) else dict(found)


def block(x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*x), slice(*y), slice(*z)] = True
    return mask


def extents(*arguments: Any, **named: Any) -> dict[tuple[str, str], RegionExtent]:
    """The same where everything is there."""
    found = measure(*arguments, **named)
    assert not isinstance(found, NotAssessed)
    return found


def test_nothing_is_nothing_everywhere() -> None:
    assert extents(np.zeros(SHAPE, bool)) == {(region, side): RegionExtent(0, 0.0, 0.0) for region in ARWMC_REGIONS for side in SIDES}


def test_a_lesion_is_rated_whole_where_most_of_it_is_and_by_its_part_elsewhere() -> None:
    found = extents(block((10, 14), (14, 30), (10, 12)))
    assert found["frontal", "left"].largest_mm == pytest.approx(np.linalg.norm((3, 15, 1)) + 1, abs=0.3)
    assert found["parieto-occipital", "left"].largest_mm == pytest.approx(np.linalg.norm((3, 5, 1)) + 1, abs=0.3)
    assert found["frontal", "left"].focal == found["parieto-occipital", "left"].focal == 1
    assert found["frontal", "left"].share == pytest.approx(4 * 10 * 2 / (40 * 20 * 30))
    assert all(extent.focal == 0 for (_, side), extent in found.items() if side == "right")


@pytest.mark.parametrize("behind", range(1, 8))
def test_a_border_through_a_lesion_does_not_hide_it(behind: int) -> None:
    found = extents(block((10, 12), (20 - behind, 28 - behind), (10, 12)))
    assert sum(extent.focal for extent in found.values()) >= 1
    assert max(extent.largest_mm for extent in found.values()) == pytest.approx(np.linalg.norm((1, 7, 1)) + 1, abs=0.3)


def test_deep_grey_matter_has_no_band() -> None:
    lesion = block((10, 16), (25, 31), (20, 26))
    assert extents(lesion, near_ventricle=lesion)["frontal", "left"].focal == 0
    assert extents(lesion, near_ventricle=lesion, grey=lesion)["basal ganglia", "left"].focal == 1


def test_a_region_that_is_not_in_the_images_is_no_region_without_lesions() -> None:
    found = measure(np.zeros(SHAPE, bool), temporal=0)
    assert isinstance(found, NotAssessed)
    assert "temporal left, temporal right" in found.reason


def test_small_ones_are_not_focal_and_bands_do_not_count() -> None:
    small = block((50, 53), (25, 28), (20, 22))
    band = block((60, 70), (25, 35), (20, 30))
    found = extents(small | band, near_ventricle=band)["frontal", "right"]
    assert found.focal == 0
    assert 3 < found.largest_mm < 5


def test_the_outermost_layer_of_a_band_is_no_large_lesion() -> None:
    halo = block((60, 70), (25, 35), (20, 30))
    inner = block((60, 68), (25, 35), (20, 30))
    found = extents(halo, near_ventricle=inner, beyond_mm=6.5)["frontal", "right"]
    assert (found.focal, found.largest_mm) == (0, 3.0)


def test_deep_and_infratentorial_lesions_have_their_own_regions() -> None:
    found = extents(block((10, 18), (10, 18), (0, 4)) | block((10, 18), (10, 18), (36, 39)))
    assert found["infratentorial", "left"].focal == found["basal ganglia", "left"].focal == 1
    assert found["parieto-occipital", "left"].focal == 0
