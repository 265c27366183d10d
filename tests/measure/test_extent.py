"""Rim thickness, deep lesions and crowded slabs, on phantoms with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from phantoms import make_grid
from smallvessel.config import MeasureSettings
from smallvessel.markers import Marker
from smallvessel.measure.extent import NO_SLAB, NOWHERE, WmhExtent, find_worst_slab, measure_extent
from smallvessel.records import Lesion, NotAssessed
from smallvessel.shapes import label_components
from smallvessel.structures import Structure
from smallvessel.volume import LabelMap

SHAPE = (60, 40, 40)
Point = tuple[float, float, float]


def extent(
    wmh: NDArray[np.bool_], spacing_mm: float = 1.0, below: NDArray[np.bool_] | None = None, rotation_deg: Point = (0.0, 0.0, 0.0)
) -> WmhExtent:
    """Extent beside a ventricle that fills x < 10."""
    structures = np.full(SHAPE, Structure.WHITE_MATTER, np.int32)
    structures[:10] = Structure.LATERAL_VENTRICLE
    grid = make_grid(SHAPE, (spacing_mm,) * 3, rotation_deg=rotation_deg)
    nowhere = np.zeros(SHAPE, bool)
    found = measure_extent(LabelMap(label_components(wmh)[0], grid), structures, nowhere if below is None else below, MeasureSettings())
    assert isinstance(found, WmhExtent)
    return found


def block(x: tuple[int, int], y: tuple[int, int] = (5, 35), z: tuple[int, int] = (5, 35)) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*x), slice(*y), slice(*z)] = True
    return mask


@st.composite
def boxes(draw: st.DrawFn) -> NDArray[np.bool_]:
    """A block of WMH somewhere in the white matter, often at the ventricle."""
    low = draw(st.integers(10, 16)), draw(st.integers(0, 30)), draw(st.integers(0, 30))
    x, y, z = ((start, start + draw(st.integers(1, 14))) for start in low)
    return block(x, y, z)


@pytest.mark.parametrize(("voxels", "spacing_mm", "rim_mm"), [(7, 0.7, 4.9), (6, 0.85, 5.1), (1, 1.0, 1.0), (9, 1.0, 9.0)])
def test_a_rim_is_as_thick_as_its_voxels(voxels: int, spacing_mm: float, rim_mm: float) -> None:
    found = extent(block((10, 10 + voxels)), spacing_mm)
    assert found.rim_mm == pytest.approx(rim_mm)
    assert found.deep_mm == 0
    assert 0.1 < found.covered < 0.9


def test_a_cap_does_not_make_the_rim_thick_alone_or_with_a_lining() -> None:
    cap = block((10, 18), (5, 8), (5, 8))
    assert (extent(cap).touches, extent(cap).rim_mm) == (True, 0.0)
    assert extent(block((10, 12)) | cap).rim_mm == pytest.approx(2.0, abs=0.5)


@given(boxes(), boxes())
@settings(max_examples=40, deadline=None)
def test_more_disease_never_makes_the_rim_thinner(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> None:
    before, after = extent(first), extent(first | second)
    assert after.rim_mm >= before.rim_mm
    assert after.touches >= before.touches
    assert after.covered >= before.covered


@given(st.tuples(*[st.floats(-30, 30)] * 3))
@settings(max_examples=20, deadline=None)
def test_sizes_at_a_limit_do_not_hang_on_how_the_grid_is_turned(rotation_deg: Point) -> None:
    rim = extent(block((10, 20)), rotation_deg=rotation_deg)
    assert (rim.rim_mm, rim.deep_mm) == (10.0, 0.0)
    assert extent(block((10, 15)), rotation_deg=rotation_deg).rim_mm == 5.0
    for length in (10, 25):
        assert extent(block((30, 30 + length), (10, 11), (10, 11)), rotation_deg=rotation_deg).deep_mm == length


def test_what_does_not_touch_is_deep_and_so_is_what_leaves_the_reach() -> None:
    apart = extent(block((30, 36), (10, 11), (10, 11)))
    assert (apart.touches, apart.rim_mm, apart.covered, apart.deep_mm) == (False, 0.0, 0.0, 6.0)
    confluent = extent(block((10, 30), (10, 11), (10, 11)))
    assert confluent.touches
    assert confluent.deep_mm == pytest.approx(10.0)


@pytest.mark.parametrize(("thickness", "deep_mm"), [(9, 0.0), (10, 0.0), (11, 2.0), (15, 10.0)])
def test_the_outermost_layer_of_a_halo_is_no_large_deep_lesion(thickness: int, deep_mm: float) -> None:
    assert extent(block((10, 10 + thickness))).deep_mm == pytest.approx(deep_mm)


def test_a_bridge_to_the_ventricles_does_not_make_a_deep_lesion_small() -> None:
    sheet = block((15, 23), (5, 36), (18, 21))
    bridged = sheet | block((10, 15), (20, 21), (19, 20))
    assert extent(bridged).touches
    assert extent(bridged).deep_mm == pytest.approx(extent(sheet).deep_mm, abs=0.5)
    assert extent(bridged).deep_mm > 25


def test_what_hangs_on_a_stalk_is_no_rim() -> None:
    plate = block((23, 25), (2, 38), (2, 38)) | block((10, 23), (20, 21), (20, 21))
    found = extent(plate)
    assert (found.touches, found.rim_mm) == (True, 0.0)
    assert found.covered < 0.01
    assert found.deep_mm > 25


def test_caps_do_not_add_up_to_a_rim() -> None:
    caps = block((10, 21), (2, 9), (2, 10)) | block((10, 21), (31, 38), (30, 38))
    found = extent(caps)
    assert (found.rim_mm, found.thickest_mm) == (0.0, 11.0)
    assert extent(block((10, 21), (2, 16), (2, 10))).rim_mm == pytest.approx(11.0)


def test_deep_grey_matter_is_left_out_voxel_by_voxel() -> None:
    halo, thalamus = block((10, 22)), block((22, 40))
    for size in (1, 18):
        joined = halo | block((22, 22 + size))
        found = extent(joined, below=thalamus)
        assert (found.rim_mm, found.deep_mm) == (extent(halo).rim_mm, extent(halo).deep_mm)


def test_a_curved_wall_has_a_rim_all_around() -> None:
    x, y, z = np.indices(SHAPE)
    from_axis = np.hypot(x - 30, y - 20)
    structures = np.full(SHAPE, Structure.WHITE_MATTER, np.int32)
    structures[(from_axis <= 6) & (abs(z - 20) <= 15)] = Structure.LATERAL_VENTRICLE
    halo = (from_axis > 6) & (from_axis <= 13) & (abs(z - 20) <= 12)
    labels = LabelMap(label_components(halo)[0], make_grid(SHAPE, (1.0, 1.0, 1.0)))
    found = measure_extent(labels, structures, np.zeros(SHAPE, bool), MeasureSettings())
    assert isinstance(found, WmhExtent)
    assert found.rim_mm == pytest.approx(7.0, abs=1.0)
    assert (found.deep_mm, found.rim_lesion) == (0.0, 1)


def test_lesions_of_brainstem_and_cerebellum_take_no_part() -> None:
    lesion = block((30, 36), (10, 12), (10, 12))
    assert extent(lesion, below=lesion) == extent(np.zeros(SHAPE, bool)) == NOWHERE


def test_the_lesions_at_the_ventricles_and_the_largest_deep_one_are_named() -> None:
    rim, far, small = block((10, 13)), block((30, 42), (6, 9), (6, 9)), block((30, 33), (25, 27), (25, 27))
    labels, _ = label_components(rim | far | small)
    found = extent(rim | far | small)
    assert found.touching == (labels[11, 20, 20],)
    assert list(found.deep) == [labels[35, 7, 7], labels[31, 25, 25]]
    assert found.rim_lesion == labels[11, 20, 20]
    alone = extent(block((10, 30), (10, 11), (10, 11)))
    assert alone.touching == tuple(alone.deep) == (1,)


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
    middle_mm = spaces.grid.world(np.array([[29.5, 19.5, 12.0]]))[0, 2]
    slab = find_worst_slab(spaces, lesions, "basal ganglia")
    assert (slab.labels, slab.side) == ((1, 2, 3, 4, 5, 6), "left")
    assert slab.z_mm == pytest.approx(middle_mm)
    assert find_worst_slab(spaces, lesions, "centrum semiovale").labels == (11,)
    assert find_worst_slab(spaces, lesions, "midbrain") == NO_SLAB


def test_a_slab_never_holds_two_thick_slices() -> None:
    labels = np.zeros(SHAPE, np.int32)
    lesions = []
    for label, start in enumerate([10] * 8 + [15] * 8, start=1):  # two slices of 5 mm with eight spaces each
        labels[3 * label, 5, start : start + 5] = label
        lesions.append(Lesion(Marker.EPVS, label, 5.0, 5.0, (0.0, 0.0, 0.0), "basal ganglia", None, "left", 0.9))
    spaces = LabelMap(labels, make_grid(SHAPE, (1.0, 1.0, 1.0)))
    assert len(find_worst_slab(spaces, lesions, "basal ganglia", slice_mm=5.0).labels) == 8
    assert len(find_worst_slab(spaces, lesions, "basal ganglia").labels) == 16
