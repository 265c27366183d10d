"""Lesion metrics on hand-made lesions, on anisotropic voxels, and against panoptica."""

import numpy as np
import panoptica
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from smallvessel.errors import GeometryError, InputError
from smallvessel.evaluate import (
    LesionMetrics,
    compare_masks,
    false_positives_per_scan,
    match_by_distance,
    match_by_overlap,
    match_panoptic,
    pool_lesions,
    positivity_without_lesions,
)
from smallvessel.evaluate.lesionwise import centres_mm, find_instances
from smallvessel.records import NotAssessed
from smallvessel.volume import Grid, Mask

SHAPE = (16, 14, 10)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 4.0, 1.0]))
masks = arrays(np.bool_, (7, 6, 5), elements=st.booleans(), fill=st.just(False))
SMALL = Grid((7, 6, 5), np.diag([0.8, 1.2, 3.0, 1.0]))

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def lesions(*boxes: Box, grid: Grid = GRID) -> Mask:
    data = np.zeros(grid.shape, bool)
    for box in boxes:
        data[tuple(slice(*side) for side in box)] = True
    return Mask(data, grid)


def test_voxels_that_share_a_corner_are_one_lesion() -> None:
    corner = lesions(((1, 2), (1, 2), (1, 2)), ((2, 3), (2, 3), (2, 3)))
    apart = lesions(((1, 2), (1, 2), (1, 2)), ((3, 4), (1, 2), (1, 2)))
    assert find_instances(corner).data.max() == 1
    assert find_instances(apart).data.max() == 2


def test_centres_are_in_world_mm() -> None:
    found = centres_mm(find_instances(lesions(((1, 3), (4, 5), (2, 4)), ((8, 9), (8, 9), (8, 9)))))
    np.testing.assert_allclose(found, [[1.5, 4.0, 10.0], [8.0, 8.0, 32.0]])


def test_any_overlap_counts_both_sides_by_themselves() -> None:
    # One large prediction covers two of three lesions; a second prediction is false.
    reference = lesions(((1, 3), (1, 3), (1, 2)), ((5, 7), (1, 3), (1, 2)), ((1, 3), (10, 12), (5, 6)))
    prediction = lesions(((1, 7), (2, 3), (1, 2)), ((12, 14), (10, 12), (8, 9)))
    metrics = match_by_overlap(prediction, reference)
    assert (metrics.n_reference, metrics.n_prediction, metrics.n_found, metrics.n_true) == (3, 2, 2, 1)
    assert (metrics.n_missed, metrics.n_false) == (1, 1)
    assert metrics.recall == pytest.approx(2 / 3)
    assert metrics.precision == pytest.approx(1 / 2)
    assert metrics.f1 == pytest.approx(4 / 7)


def test_centre_distance_is_in_mm_and_one_to_one() -> None:
    reference = lesions(((4, 5), (4, 5), (4, 5)))
    in_plane, next_slice = lesions(((7, 8), (4, 5), (4, 5))), lesions(((4, 5), (4, 5), (5, 6)))
    assert match_by_distance(in_plane, reference).n_true == 1  # 3 mm away
    assert match_by_distance(next_slice, reference).n_true == 0  # one voxel, but 4 mm away
    assert match_by_distance(next_slice, reference, max_distance_mm=4.0).n_true == 1
    two_near_one = lesions(((3, 4), (4, 5), (4, 5)), ((5, 6), (4, 5), (4, 5)))
    assert match_by_distance(two_near_one, reference).n_true == 1


def test_as_many_pairs_as_possible_come_before_short_distances() -> None:
    # Reference at x = 2 and 5, prediction at 4 and 7: the closest pair (5, 4) would leave 2 and 7 unpaired.
    reference = lesions(((2, 3), (2, 3), (2, 3)), ((5, 6), (2, 3), (2, 3)))
    prediction = lesions(((4, 5), (2, 3), (2, 3)), ((7, 8), (2, 3), (2, 3)))
    assert match_by_distance(prediction, reference).n_found == 2


def test_panoptic_quality_of_known_overlaps() -> None:
    reference = lesions(((0, 4), (0, 4), (0, 1)), ((8, 12), (0, 4), (0, 1)), ((0, 2), (8, 10), (5, 6)))
    prediction = lesions(((0, 4), (0, 3), (0, 1)), ((8, 12), (3, 6), (0, 1)))
    metrics = match_panoptic(prediction, reference)
    # IoU 12/16 is a pair, 4/24 is none
    assert metrics.n_matched == 1
    assert metrics.sum_iou == pytest.approx(0.75)
    assert metrics.segmentation == pytest.approx(0.75)
    assert metrics.recognition == pytest.approx(2 / 5)
    assert metrics.quality == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(4))
def test_panoptic_quality_equals_panoptica(seed: int) -> None:
    random = np.random.default_rng(seed)
    grid = Grid((24, 24, 12), np.diag([1.0, 1.0, 3.0, 1.0]))
    reference, prediction = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    for _ in range(9):
        x, y, z = random.integers(0, (20, 20, 10))
        reference[x : x + 3, y : y + 3, z : z + 2] = True
        dx = random.integers(0, 2)
        if random.random() < 0.8:
            prediction[x + dx : x + dx + 3, y : y + 3, z : z + 2] = True
    judge = panoptica.Panoptica_Evaluator(
        expected_input=panoptica.InputType.SEMANTIC,
        instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(),
        instance_matcher=panoptica.NaiveThresholdMatching(matching_threshold=0.5, strict_threshold=True),
        instance_metrics=[panoptica.Metric.IOU],
        global_metrics=[panoptica.Metric.DSC],
        verbose=False,
    )
    expected = judge.evaluate(prediction.astype(np.uint8), reference.astype(np.uint8))["ungrouped"]
    mine = compare_masks(Mask(prediction, grid), Mask(reference, grid))
    assert (mine.panoptic.n_reference, mine.panoptic.n_prediction) == (expected.n_ref_instances, expected.n_pred_instances)
    assert mine.panoptic.n_matched == expected.tp > 0
    assert mine.panoptic.recognition == pytest.approx(expected.rq)
    assert mine.panoptic.segmentation == pytest.approx(expected.sq)
    assert mine.panoptic.quality == pytest.approx(expected.pq)
    assert mine.voxels.dice == pytest.approx(expected.global_bin_dsc)


def test_empty_masks_are_undefined_where_they_are() -> None:
    one, none = lesions(((1, 3), (1, 3), (1, 2))), lesions()
    for match in (match_by_overlap, match_by_distance):
        assert isinstance(match(none, none).f1, NotAssessed)
        assert isinstance(match(one, none).recall, NotAssessed)
        assert (match(one, none).precision, match(one, none).f1, match(one, none).n_false) == (0.0, 0.0, 1)
        assert isinstance(match(none, one).precision, NotAssessed)
        assert (match(none, one).recall, match(none, one).f1) == (0.0, 0.0)
    assert isinstance(match_panoptic(none, none).quality, NotAssessed)
    assert isinstance(match_panoptic(none, one).segmentation, NotAssessed)
    assert match_panoptic(none, one).quality == 0.0


def test_several_scans_are_pooled_and_lesion_free_scans_counted() -> None:
    scans = [
        LesionMetrics("any overlap", n_reference=4, n_prediction=3, n_found=2, n_true=2),
        LesionMetrics("any overlap", n_reference=0, n_prediction=5, n_found=0, n_true=0),
        LesionMetrics("any overlap", n_reference=0, n_prediction=0, n_found=0, n_true=0),
    ]
    pooled = pool_lesions(scans)
    assert pooled.recall == pytest.approx(0.5)
    assert pooled.precision == pytest.approx(0.25)
    assert false_positives_per_scan(scans) == pytest.approx(2.0)
    assert positivity_without_lesions(scans) == pytest.approx(0.5)
    assert isinstance(positivity_without_lesions(scans[:1]), NotAssessed)
    assert isinstance(false_positives_per_scan([]), NotAssessed)


def test_what_cannot_be_compared_is_refused() -> None:
    one = lesions(((1, 3), (1, 3), (1, 2)))
    with pytest.raises(GeometryError, match="different grids"):
        match_by_overlap(one, Mask(np.zeros((7, 6, 5), bool), SMALL))
    with pytest.raises(InputError, match="positive"):
        match_by_distance(one, one, max_distance_mm=0)
    with pytest.raises(InputError, match="one rule"):
        pool_lesions([match_by_overlap(one, one), match_by_distance(one, one)])


@settings(max_examples=40, deadline=None)
@given(masks, masks)
def test_swapping_the_masks_swaps_recall_and_precision(a_data: NDArray[np.bool_], b_data: NDArray[np.bool_]) -> None:
    a, b = Mask(a_data, SMALL), Mask(b_data, SMALL)
    forth, back = compare_masks(a, b), compare_masks(b, a)
    for x, y in ((forth.by_overlap, back.by_overlap), (forth.by_distance, back.by_distance)):
        assert (x.n_found, x.n_true) == (y.n_true, y.n_found)
        assert 0 <= x.n_found <= x.n_reference
        assert 0 <= x.n_true <= x.n_prediction
    assert forth.by_distance.n_true <= min(forth.by_distance.n_prediction, forth.by_distance.n_reference)
    assert forth.panoptic.quality == pytest.approx(back.panoptic.quality) or isinstance(forth.panoptic.quality, NotAssessed)
    assert forth.panoptic.n_matched == back.panoptic.n_matched
    assert forth.panoptic.sum_iou == pytest.approx(back.panoptic.sum_iou)


@settings(max_examples=25, deadline=None)
@given(masks)
def test_a_mask_agrees_with_itself(data: NDArray[np.bool_]) -> None:
    data[3, 3, 3] = True
    same = compare_masks(Mask(data, SMALL), Mask(data, SMALL))
    assert (same.by_overlap.f1, same.by_distance.f1) == (1.0, 1.0)
    assert same.panoptic.quality == pytest.approx(1.0)
