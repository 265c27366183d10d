"""Lesions from probability maps: each rule with a case that it must keep and one that it must drop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import ball, ellipsoid, make_grid, voxel_centres_mm
from scenes import scene, scene_anatomy, scene_grid, scene_image
from smallvessel.markers import Marker, Sequence
from smallvessel.records import Native, Prepared
from smallvessel.segment.plausibility import slices_of
from smallvessel.segment.refine import Refined, Threshold, refine_markers
from smallvessel.structures import Structure
from smallvessel.volume import LabelMap, Mask, Transform

Point = tuple[float, float, float]

GRID = scene_grid()
ANATOMY = scene_anatomy(GRID)
LIMITS = {marker: Threshold(0.5, 3.0, 0.5) for marker in Marker}
DEEP_WHITE = (-11.0, -8.0, 8.0)
"""White matter of the left hemisphere, far from cortex, grey matter and ventricle."""


BRIGHT = 140.0
"""FLAIR signal of WMH; white matter has 100."""


def probabilities(inside: float = 0.9, **masks: NDArray[np.bool_]) -> dict[Marker, NDArray[np.float32]]:
    """Maps of all markers: ``inside`` where the mask of that name is, 0.02 elsewhere."""
    return {
        marker: np.where(masks[marker.name] if marker.name in masks else np.zeros(GRID.shape, bool), inside, 0.02).astype(np.float32)
        for marker in Marker
    }


def with_signal(sequence: Sequence, mask: NDArray[np.bool_], value: float) -> dict[Sequence, NDArray[np.float32]]:
    image = scene_image(ANATOMY, sequence)
    image[mask] = value
    return {sequence: image}


def refine(
    prepared: Prepared | None = None, limits: Mapping[Marker, Threshold] = LIMITS, inside: float = 0.9, **masks: NDArray[np.bool_]
) -> Refined:
    seen = with_signal(Sequence.FLAIR, masks.get("WMH", np.zeros(GRID.shape, bool)), BRIGHT)
    return refine_markers(prepared or scene(images=seen), probabilities(inside, **masks), limits)


def dark_lacune(centre_mm: Point = DEEP_WHITE, radius_mm: float = 2.6) -> tuple[NDArray[np.bool_], Prepared]:
    mask = ball(GRID, centre_mm, radius_mm)
    return mask, scene(images=with_signal(Sequence.FLAIR, mask, 40.0))


def tube(start_mm: Point, direction: Point, length_mm: float, radius_mm: float) -> NDArray[np.bool_]:
    along = np.asarray(direction, float) / np.linalg.norm(direction)
    offset = voxel_centres_mm(GRID) - np.asarray(start_mm, float)
    position = offset @ along
    across = np.linalg.norm(offset - position[..., None] * along, axis=-1)
    return np.asarray((position >= 0) & (position <= length_mm) & (across <= radius_mm))


@pytest.mark.parametrize("marker", list(Marker))
def test_no_probability_no_lesion(marker: Marker) -> None:
    refined = refine()
    assert not refined.labels[marker].any()
    assert refined.confidence[marker] == ()


def test_two_balls_are_two_lesions_with_their_own_confidence() -> None:
    first, second = ball(GRID, DEEP_WHITE, 2.5), ball(GRID, (11.0, -8.0, 8.0), 2.0)
    maps = probabilities(WMH=first | second)
    maps[Marker.WMH][second] = 0.6
    refined = refine_markers(scene(images=with_signal(Sequence.FLAIR, first | second, BRIGHT)), maps, LIMITS)
    labels = refined.labels[Marker.WMH]
    assert np.array_equal(labels > 0, first | second)
    assert sorted(refined.confidence[Marker.WMH]) == pytest.approx([0.6, 0.9])
    assert refined.confidence[Marker.WMH][labels[second].max() - 1] == pytest.approx(0.6)


def test_minimum_volume_and_seed() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[20, 25, 36:38] = True
    assert not refine(WMH=mask).labels[Marker.WMH].any()
    mask[20, 25, 38] = True
    assert refine(WMH=mask).labels[Marker.WMH].sum() == 3
    demanding = {**LIMITS, Marker.WMH: Threshold(0.5, 3.0, 0.95)}
    assert not refine(limits=demanding, WMH=mask).labels[Marker.WMH].any()


def test_nothing_outside_the_brain() -> None:
    mask = ball(GRID, (-26.0, 0.0, 0.0), 3.0)
    inside_brain = refine(CMB=mask).labels[Marker.CMB] > 0
    assert inside_brain.any()
    assert not (inside_brain & ~ANATOMY.brain.data).any()


def test_wmh_deep_in_a_ventricle_or_in_the_septum_is_cut() -> None:
    cap = ball(GRID, (4.0, 12.5, 4.0), 3.5)
    refined = refine(WMH=cap).labels[Marker.WMH] > 0
    assert refined.sum() > 0.8 * cap.sum()
    wide = ANATOMY.structures.data.copy()
    wide[ball(GRID, DEEP_WHITE, 7.0)] = Structure.LATERAL_VENTRICLE
    anatomy = type(ANATOMY)(**{**vars(ANATOMY), "structures": LabelMap(wide, GRID)})
    plexus = ball(GRID, DEEP_WHITE, 3.0)
    assert not refine(scene(images=with_signal(Sequence.FLAIR, plexus, BRIGHT), anatomy=anatomy), WMH=plexus).labels[Marker.WMH].any()
    assert np.array_equal(refine(WMH=plexus).labels[Marker.WMH] > 0, plexus)
    septum = np.abs(voxel_centres_mm(GRID)[..., 0]) <= 1.0
    septum &= ellipsoid(GRID, (0.0, 2.0, 4.0), (4.0, 3.0, 1.5))
    assert not refine(WMH=septum).labels[Marker.WMH].any()


def test_wmh_in_the_cortex_is_dropped_but_not_one_that_the_anatomy_calls_cortex() -> None:
    x, y, z = (voxel_centres_mm(GRID)[..., axis] for axis in range(3))
    ribbon = (ANATOMY.structures.data == Structure.CORTEX) & (x < -20) & (np.abs(y) < 6) & (np.abs(z) < 6)
    assert not refine(WMH=ribbon).labels[Marker.WMH].any()
    lesion = ball(GRID, DEEP_WHITE, 4.0)
    misnamed = ANATOMY.structures.data.copy()
    misnamed[lesion] = Structure.CORTEX
    anatomy = scene_anatomy(GRID)
    anatomy = type(anatomy)(**{**vars(anatomy), "structures": LabelMap(misnamed, GRID)})
    bright = scene(images=with_signal(Sequence.FLAIR, lesion, BRIGHT), anatomy=anatomy)
    assert np.array_equal(refine(bright, WMH=lesion).labels[Marker.WMH] > 0, lesion)


def test_wmh_are_as_far_as_flair_is_bright() -> None:
    lesion, core = ball(GRID, DEEP_WHITE, 5.0), ball(GRID, DEEP_WHITE, 3.0)
    noise = np.random.default_rng(0).normal(1, 0.06, GRID.shape).astype(np.float32)
    drift = np.linspace(0.9, 1.1, GRID.shape[0], dtype=np.float32)[:, None, None]
    image = scene_image(ANATOMY, Sequence.FLAIR) * noise
    image[lesion], image[core] = 104.0, BRIGHT
    for flair in (image, image * drift):
        assert np.array_equal(refine(scene(images={Sequence.FLAIR: flair}), WMH=lesion).labels[Marker.WMH] > 0, core)
    image[lesion & ~core] = 120.0
    assert np.array_equal(refine(scene(images={Sequence.FLAIR: image}), WMH=lesion).labels[Marker.WMH] > 0, lesion)


def test_lacune_is_kept_when_dark_on_flair_and_dropped_when_bright() -> None:
    mask, dark = dark_lacune()
    assert np.array_equal(refine(dark, LACUNE=mask).labels[Marker.LACUNE] > 0, mask)
    bright = scene(images=with_signal(Sequence.FLAIR, mask, 135.0))
    refined = refine(bright, LACUNE=mask)
    assert not refined.labels[Marker.LACUNE].any()
    assert refined.dropped == {(Marker.LACUNE, "bright on FLAIR"): 1}


def test_lacune_with_a_bright_rim_is_kept() -> None:
    mask = ball(GRID, DEEP_WHITE, 3.2)
    image = with_signal(Sequence.FLAIR, mask, 150.0)
    image[Sequence.FLAIR][ball(GRID, DEEP_WHITE, 2.3)] = 40.0
    assert refine(scene(images=image), LACUNE=mask).labels[Marker.LACUNE].any()


@pytest.mark.parametrize("called", [Structure.CSF, Structure.LATERAL_VENTRICLE, Structure.CORTEX])
def test_lacune_that_the_anatomy_misnames_is_kept(called: Structure) -> None:
    mask, prepared = dark_lacune()
    misnamed = ANATOMY.structures.data.copy()
    misnamed[ball(GRID, DEEP_WHITE, 3.6)] = called
    anatomy = type(ANATOMY)(**{**vars(ANATOMY), "structures": LabelMap(misnamed, GRID)})
    prepared = scene(images={Sequence.FLAIR: prepared.images[Sequence.FLAIR].data}, anatomy=anatomy)
    assert np.array_equal(refine(prepared, LACUNE=mask).labels[Marker.LACUNE] > 0, mask)


@pytest.mark.parametrize("centre_mm", [(4.0, 2.0, 4.0), (-25.5, 0.0, 0.0), (15.0, -8.0, -10.0)], ids=["ventricle", "cortex", "hippocampus"])
def test_lacune_in_ventricle_cortex_or_hippocampus_is_dropped(centre_mm: tuple[float, float, float]) -> None:
    mask, prepared = dark_lacune(centre_mm, 2.0)
    assert not refine(prepared, LACUNE=mask).labels[Marker.LACUNE].any()


def test_lacune_size_limits() -> None:
    for radius_mm, kept in ((0.8, False), (1.6, True), (6.5, True), (8.6, False)):
        mask, prepared = dark_lacune((-11.0, -9.0, 6.0), radius_mm)
        assert refine(prepared, LACUNE=mask).labels[Marker.LACUNE].any() == kept, radius_mm


def test_wide_ovoid_perivascular_space_becomes_a_lacune_only_with_support() -> None:
    mask, prepared = dark_lacune()
    unsupported = refine(prepared, EPVS=mask)
    assert np.array_equal(unsupported.labels[Marker.EPVS] > 0, mask)
    maps = probabilities(EPVS=mask)
    maps[Marker.LACUNE][mask] = 0.3
    refined = refine_markers(prepared, maps, LIMITS)
    assert np.array_equal(refined.labels[Marker.LACUNE] > 0, mask)
    assert not refined.labels[Marker.EPVS].any()
    assert refined.confidence[Marker.LACUNE] == pytest.approx((0.9,))


@pytest.mark.parametrize(("support", "moved"), [(0.3, False), (0.5, True)])
def test_support_is_measured_by_the_peak_that_a_lesion_needs_not_by_its_outline(support: float, moved: bool) -> None:
    mask, prepared = dark_lacune()
    maps = probabilities(EPVS=mask)
    maps[Marker.LACUNE][mask] = support
    refined = refine_markers(prepared, maps, {**LIMITS, Marker.LACUNE: Threshold(0.07, 3.0, 0.9)})
    assert refined.labels[Marker.LACUNE].any() == moved
    assert refined.labels[Marker.EPVS].any() != moved


def test_thin_elongated_lacune_becomes_a_perivascular_space_or_is_dropped() -> None:
    mask = tube((-11.0, -12.0, 8.0), (0, 1, 0), 10.0, 1.0)
    prepared = scene(images=with_signal(Sequence.FLAIR, mask, 40.0))
    maps = probabilities(LACUNE=mask)
    maps[Marker.EPVS][mask] = 0.3
    moved = refine_markers(prepared, maps, LIMITS)
    assert np.array_equal(moved.labels[Marker.EPVS] > 0, mask)
    for limits in (LIMITS, {marker: LIMITS[marker] for marker in (Marker.WMH, Marker.LACUNE)}):
        dropped = refine(prepared, limits, LACUNE=mask)
        assert dropped.dropped == {(Marker.LACUNE, "shaped like a perivascular space"): 1}
        assert not dropped.labels[Marker.LACUNE].any()


def test_shared_voxels_go_to_one_cavity_by_shape() -> None:
    mask, prepared = dark_lacune()
    round_one = refine(prepared, LACUNE=mask, EPVS=mask)
    assert np.array_equal(round_one.labels[Marker.LACUNE] > 0, mask)
    assert not round_one.labels[Marker.EPVS].any()
    long_one = tube((-11.0, -12.0, 8.0), (0, 1, 0), 10.0, 1.0)
    part = long_one & (voxel_centres_mm(GRID)[..., 1] < -8.0)
    refined = refine(scene(images=with_signal(Sequence.FLAIR, long_one, 40.0)), LACUNE=part, EPVS=long_one)
    assert np.array_equal(refined.labels[Marker.EPVS] > 0, long_one)
    assert not refined.labels[Marker.LACUNE].any()


def test_wmh_keeps_its_rim_and_leaves_the_cavity_to_the_lacune() -> None:
    mask, rim = ball(GRID, DEEP_WHITE, 2.6), ball(GRID, DEEP_WHITE, 5.0)
    image = with_signal(Sequence.FLAIR, rim, BRIGHT)
    image[Sequence.FLAIR][mask] = 40.0
    refined = refine(scene(images=image), LACUNE=mask, WMH=rim)
    assert np.array_equal(refined.labels[Marker.LACUNE] > 0, mask)
    assert np.array_equal(refined.labels[Marker.WMH] > 0, rim & ~mask)


def test_bright_spot_in_wmh_is_no_perivascular_space_but_one_beside_it_is() -> None:
    lesion, spot = ball(GRID, DEEP_WHITE, 5.0), tube((-11.0, -11.0, 8.0), (0, 1, 0), 6.0, 1.0)
    prepared = scene(images=with_signal(Sequence.FLAIR, lesion, BRIGHT))
    assert not refine(prepared, WMH=lesion, EPVS=spot).labels[Marker.EPVS].any()
    beside = tube((11.0, -11.0, 8.0), (0, 1, 0), 6.0, 1.0)
    assert np.array_equal(refine(prepared, WMH=lesion, EPVS=beside).labels[Marker.EPVS] > 0, beside)


def test_microbleed_is_kept_as_a_ball_and_dropped_as_a_tube() -> None:
    dot, vessel = ball(GRID, (11.0, -8.0, 8.0), 2.0), tube((-11.0, -14.0, 8.0), (0, 1, 0), 10.0, 1.2)
    refined = refine(CMB=dot | vessel)
    assert np.array_equal(refined.labels[Marker.CMB] > 0, dot)
    assert refined.dropped == {(Marker.CMB, "shaped like a vessel"): 1}


def test_microbleed_that_continues_as_a_dark_vein_is_dropped_but_a_bulge_beside_it_is_kept() -> None:
    vein = tube((-11.0, -14.0, 8.0), (0, 1, 0), 18.0, 1.2)
    dot = vein & ball(GRID, (-11.0, -5.0, 8.0), 1.8)
    assert refine(CMB=dot).labels[Marker.CMB].any()
    assert not refine(scene(images=with_signal(Sequence.SWI, vein, 40.0)), CMB=dot).labels[Marker.CMB].any()
    bulge = ball(GRID, (-11.0, -5.0, 8.0), 3.2)
    dark = with_signal(Sequence.SWI, vein | bulge, 40.0)
    assert refine(scene(images=dark), CMB=bulge).labels[Marker.CMB].any()


@pytest.mark.parametrize(("height_mm", "kept"), [(6.0, True), (12.0, True), (18.0, False)])
def test_microbleed_drawn_over_two_thick_slices_is_kept_but_a_vessel_through_three_is_not(height_mm: float, kept: bool) -> None:
    thick = make_grid((60, 64, 9), (1.0, 1.0, 6.0))
    native = {Sequence.SWI: Native(thick, Mask(np.ones(thick.shape, bool), thick), Transform.identity())}
    column = tube((-11.0, -8.0, -6.0), (0, 0, 1), height_mm, 1.6)
    assert refine(scene(native=native), CMB=column).labels[Marker.CMB].any() == kept
    assert not refine(CMB=tube((-11.0, -8.0, -6.0), (0, 0, 1), 12.0, 1.6)).labels[Marker.CMB].any()


def test_shapes_are_judged_on_the_thinnest_slices_that_show_the_marker() -> None:
    thick = make_grid((60, 64, 9), (1.0, 1.0, 6.0))
    on_thick = Native(thick, Mask(np.ones(thick.shape, bool), thick), Transform.identity())
    native = {Sequence.T2W: on_thick, Sequence.FLAIR: on_thick}
    for marker in (Marker.LACUNE, Marker.EPVS):
        assert slices_of(scene(native=native), marker).spacing_mm == pytest.approx(1.0), "T1w"
        without_t1w = scene(sequences=(Sequence.FLAIR, Sequence.T2W), native=native)
        assert slices_of(without_t1w, marker).spacing_mm == pytest.approx(6.0)
    assert slices_of(scene(native=native), Marker.WMH).spacing_mm == pytest.approx(6.0), "FLAIR alone shows WMH"


def test_microbleed_size_and_place() -> None:
    assert refine(CMB=ball(GRID, (-24.0, 0.0, 0.0), 2.0)).labels[Marker.CMB].any()
    assert not refine(CMB=ball(GRID, (4.0, 2.0, 4.0), 1.8)).labels[Marker.CMB].any()
    assert not refine(CMB=ball(GRID, (-11.0, -8.0, 6.0), 6.0)).labels[Marker.CMB].any()


def test_microbleed_and_wmh_may_overlap() -> None:
    dot, lesion = ball(GRID, DEEP_WHITE, 2.0), ball(GRID, DEEP_WHITE, 5.0)
    refined = refine(CMB=dot, WMH=lesion)
    assert np.array_equal(refined.labels[Marker.CMB] > 0, dot)
    assert np.array_equal(refined.labels[Marker.WMH] > 0, lesion)


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "SAL"])
def test_order_and_direction_of_axes_change_nothing(orientation: str) -> None:
    shape = {"LPS": (60, 64, 56), "PIR": (64, 56, 60), "SAL": (56, 64, 60)}[orientation]
    other = scene_grid(shape=shape, orientation=orientation)
    counts = []
    for grid in (GRID, other):
        anatomy = scene_anatomy(grid)
        image = scene_image(anatomy, Sequence.FLAIR)
        lacune, wmh = ball(grid, (11.0, -8.0, 8.0), 2.6), ball(grid, (4.0, 12.5, 4.0), 3.5)
        image[wmh | ball(grid, (11.0, -8.0, 8.0), 4.5)] = BRIGHT
        image[lacune] = 40.0
        maps = {marker: np.full(grid.shape, 0.02, np.float32) for marker in Marker}
        maps[Marker.LACUNE][lacune] = maps[Marker.CMB][ball(grid, (-24.0, 0.0, 0.0), 2.0)] = 0.9
        maps[Marker.WMH][wmh | ball(grid, (11.0, -8.0, 8.0), 4.5)] = 0.8
        refined = refine_markers(scene(grid, images={Sequence.FLAIR: image}, anatomy=anatomy), maps, LIMITS)
        counts.append({marker: sorted(np.bincount(labels.ravel())[1:]) for marker, labels in refined.labels.items()})
    assert counts[0] == counts[1]
    assert [len(counts[0][marker]) for marker in Marker] == [2, 1, 0, 1]
