"""Rim thickness, deep lesions and crowded slabs, on phantoms with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import make_grid
from smallvessel.config import MeasureSettings
from smallvessel.markers import Marker
from smallvessel.measure.extent import WmhExtent, find_worst_slab, measure_extent
from smallvessel.records import Lesion, NotAssessed
from smallvessel.shapes import label_components
from smallvessel.structures import Structure
from smallvessel.volume import LabelMap

SHAPE = (60, 40, 40)


def extent(wmh: NDArray[np.bool_], spacing_mm: float = 1.0, below: NDArray[np.bool_] | None = None) -> WmhExtent:
    """Extent beside a ventricle that fills x < 10."""
    structures = np.full(SHAPE, Structure.WHITE_MATTER, np.int32)
    structures[:10] = Structure.LATERAL_VENTRICLE
    grid = make_grid(SHAPE, (spacing_mm,) * 3)
    nowhere = np.zeros(SHAPE, bool)
    found = measure_extent(LabelMap(label_components(wmh)[0], grid), structures, nowhere if below is None else below, MeasureSettings())
    assert isinstance(found, WmhExtent)
    return found


def block(x: tuple[int, int], y: tuple[int, int] = (5, 35), z: tuple[int, int] = (5, 35)) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*x), slice(*y), slice(*z)] = True
    return mask


@pytest.mark.parametrize(("voxels", "spacing_mm", "rim_mm"), [(7, 0.7, 4.9), (6, 0.85, 5.1), (1, 1.0, 1.0), (9, 1.0, 9.0)])
def test_a_rim_is_as_thick_as_its_voxels(voxels: int, spacing_mm: float, rim_mm: float) -> None:
    found = extent(block((10, 10 + voxels)), spacing_mm)
    assert found.rim_mm == pytest.approx(rim_mm)
    assert found.deep_mm == 0
    assert 0.1 < found.covered < 0.9


def test_a_cap_does_not_make_the_rim_thick() -> None:
    cap = block((10, 18), (5, 8), (5, 8))
    assert extent(block((10, 12)) | cap).rim_mm == pytest.approx(2.0, abs=0.5)


def test_what_does_not_touch_is_deep_and_so_is_what_leaves_the_reach() -> None:
    apart = extent(block((30, 36), (10, 11), (10, 11)))
    assert (apart.rim_mm, apart.covered, apart.deep_mm) == pytest.approx((0.0, 0.0, 6.0))
    confluent = extent(block((10, 30), (10, 11), (10, 11)))
    assert confluent.rim_mm > 10
    assert confluent.deep_mm == pytest.approx(10.0)


def test_lesions_of_brainstem_and_cerebellum_take_no_part() -> None:
    lesion = block((30, 36), (10, 12), (10, 12))
    assert extent(lesion, below=lesion) == extent(np.zeros(SHAPE, bool)) == WmhExtent(0.0, 0.0, 0.0)


def test_without_ventricles_there_is_no_rim() -> None:
    grid = make_grid(SHAPE, (1.0, 1.0, 1.0))
    labels = LabelMap(block((30, 36)).astype(np.int32), grid)
    found = measure_extent(labels, np.zeros(SHAPE, np.int32), np.zeros(SHAPE, bool), MeasureSettings())
    assert isinstance(found, NotAssessed)


def test_spaces_are_counted_in_the_slab_and_hemisphere_with_most() -> None:
    labels = np.zeros(SHAPE, np.int32)
    lesions = []
    for label, (x, z, side, region) in enumerate(
        [
            *((2 * i, 10 + i % 5, "left", "basal ganglia") for i in range(6)),  # all within one slab of 5 mm
            *((20 + 2 * i, 30, "right", "basal ganglia") for i in range(4)),
            (40, 12, "left", "centrum semiovale"),
            (44, 15, "left", "basal ganglia"),  # one slice above that slab
            (48, 10, "midline", "basal ganglia"),
        ],
        start=1,
    ):
        labels[x, 5, z] = label
        lesions.append(Lesion(Marker.EPVS, label, 1.0, 1.0, (0.0, 0.0, 0.0), region, None, side, 0.9))
    spaces = LabelMap(labels, make_grid(SHAPE, (1.0, 1.0, 1.0)))
    assert find_worst_slab(spaces, lesions, "basal ganglia") == (1, 2, 3, 4, 5, 6)
    assert find_worst_slab(spaces, lesions, "centrum semiovale") == (11,)
    assert find_worst_slab(spaces, lesions, "midbrain") == ()
