"""Pairs of files, bands of size, thresholds and calibration, on phantoms with known answers."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from rich.console import Console

from phantoms import ball, make_grid
from smallvessel.cli import main
from smallvessel.errors import GeometryError, InputError
from smallvessel.evaluate import (
    Estimate,
    LesionMetrics,
    MaskPair,
    bin_probabilities,
    bootstrap_mean,
    compare_masks,
    compare_voxels,
    expected_calibration_error,
    match_by_distance,
    match_by_overlap,
    match_by_size,
    match_panoptic,
    mean_over_scans,
    pair_masks,
    pool_bins,
    pool_points,
    pool_sizes,
    read_lesions,
    summarise_detection,
    trace_thresholds,
)
from smallvessel.records import NotAssessed
from smallvessel.volume import LabelMap, Mask, Volume, write_volume
from strategies import masks

GRID = make_grid((40, 40, 20), (1.0, 1.0, 2.5))


def smallvessel(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def boxes(*starts_and_sides: tuple[tuple[int, int, int], tuple[int, int, int]]) -> Mask:
    data = np.zeros(GRID.shape, bool)
    for (x, y, z), (a, b, c) in starts_and_sides:
        data[x : x + a, y : y + b, z : z + c] = True
    return Mask(data, GRID)


SMALL, LARGE = ((2, 2, 2), (1, 1, 1)), ((10, 10, 5), (8, 8, 4))
"""2.5 and 640 mm3: balls of 1.68 and 10.69 mm across."""


def test_bands_of_size_count_lesions_by_their_own_diameter() -> None:
    bands = {band.name: band for band in match_by_size(boxes(LARGE, ((30, 30, 10), (2, 2, 2))), boxes(SMALL, LARGE))}
    assert list(bands) == ["0 to below 3 mm", "3 to below 5 mm", "5 to below 10 mm", "10 mm or more"]
    below, some, _, above = bands.values()
    assert (below.n_reference, below.n_found, below.recall) == (1, 0, 0.0)
    assert isinstance(below.precision, NotAssessed)
    assert (some.n_prediction, some.n_true, some.precision) == (1, 0, 0.0)  # 20 mm3: 3.37 mm
    assert (above.recall, above.precision) == (1.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(masks(), masks())
def test_bands_add_up_to_the_lesions_by_overlap(a: Mask, b: Mask) -> None:
    b = Mask(np.resize(b.data, a.data.shape), a.grid)
    bands, whole = match_by_size(a, b), match_by_overlap(a, b)
    sums = tuple(sum(getattr(band, name) for band in bands) for name in ("n_reference", "n_prediction", "n_found", "n_true"))
    assert sums == (whole.n_reference, whole.n_prediction, whole.n_found, whole.n_true)
    assert pool_sizes([bands, bands])[0].n_reference == 2 * bands[0].n_reference


@settings(max_examples=40, deadline=None)
@given(masks(), masks())
def test_the_box_around_the_masks_changes_nothing(a: Mask, b: Mask) -> None:
    b = Mask(np.resize(b.data, a.data.shape), a.grid)
    found = compare_masks(a, b)
    assert found.by_overlap == match_by_overlap(a, b)
    assert found.by_distance == match_by_distance(a, b)
    assert found.panoptic.quality == match_panoptic(a, b).quality
    for name, value in vars(compare_voxels(a, b)).items():
        again = getattr(found.voxels, name)
        assert again == (value if isinstance(value, NotAssessed) else pytest.approx(value, abs=1e-6))


def test_thresholds_trade_found_for_false_lesions() -> None:
    values = np.zeros(GRID.shape, np.float32)
    values[boxes(LARGE).data] = 0.9
    values[boxes(SMALL).data] = 0.4
    values[30:32, 30:32, 10:12] = 0.3
    points = {p.threshold: p for p in trace_thresholds(Volume(values, GRID), boxes(SMALL, LARGE), (0.25, 0.35, 0.5, 0.95))}
    assert [(p.lesions.n_found, p.lesions.n_false) for p in points.values()] == [(2, 1), (2, 0), (1, 0), (0, 0)]
    assert points[0.35].dice == 1.0
    assert points[0.5].dice == pytest.approx(2 * 256 / (256 + 257))
    (pooled,) = pool_points([[points[0.25]], [points[0.25]]])
    assert (pooled.n_scans, pooled.false_per_scan, pooled.reference_vox) == (2, 1.0, 514)
    with pytest.raises(InputError, match="different thresholds"):
        pool_points([[points[0.25]], [points[0.5]]])


def test_calibration_of_known_shares() -> None:
    values, lesion = np.zeros(GRID.shape, np.float32), np.zeros(GRID.shape, bool)
    values.reshape(-1)[:1000], values.reshape(-1)[1000:1500] = 0.25, 0.85
    lesion.reshape(-1)[:250] = lesion.reshape(-1)[1000:1300] = True  # a quarter, and three fifths
    bins = bin_probabilities(Volume(values, GRID), Mask(lesion, GRID))
    assert [(b.n, b.lesion_share) for b in bins if b.n] == [(1000, 0.25), (500, 0.6)]
    assert expected_calibration_error(bins) == pytest.approx(500 / 1500 * 0.25, abs=1e-6)
    assert expected_calibration_error(pool_bins([bins, bins])) == pytest.approx(500 / 1500 * 0.25, abs=1e-6)
    assert isinstance(expected_calibration_error(bin_probabilities(Volume(0 * values, GRID), Mask(lesion & False, GRID))), NotAssessed)


def test_lesion_voxels_of_no_probability_count_in_the_calibration() -> None:
    bins = bin_probabilities(Volume(np.zeros(GRID.shape, np.float32), GRID), boxes(SMALL))
    assert (bins[0].n, expected_calibration_error(bins)) == (1, 1.0)


def test_images_are_read_by_what_they_hold(tmp_path: Path) -> None:
    labels = np.zeros(GRID.shape, np.int32)
    labels[2:4, 2:4, 2:4], labels[8:9, 8:9, 8:9] = 1, 4
    write_volume(tmp_path / "labels.nii.gz", LabelMap(labels, GRID))
    write_volume(tmp_path / "probability.nii.gz", Volume(np.where(labels == 1, 0.7, 0.2), GRID))
    write_volume(tmp_path / "mask.nii.gz", LabelMap(255 * (labels == 4), GRID))
    with pytest.raises(InputError, match=r"a label map.*--label"):
        read_lesions(tmp_path / "labels.nii.gz")
    by_marker = read_lesions(tmp_path / "labels.nii.gz", "markers").masks
    assert {name: int(mask.data.sum()) for name, mask in by_marker.items()} == {"WMH": 8, "lacune": 0, "EPVS": 0, "CMB": 1}
    assert read_lesions(tmp_path / "labels.nii.gz", "any").masks[""].data.sum() == 9
    assert read_lesions(tmp_path / "labels.nii.gz", "4").masks[""].data.sum() == 1
    assert read_lesions(tmp_path / "mask.nii.gz").masks[""].data.sum() == 1
    found = read_lesions(tmp_path / "probability.nii.gz", threshold=0.6)
    assert found.masks[""].data.sum() == 8
    assert found.probability is not None
    for label in ("0", "-1", "wmh"):
        with pytest.raises(InputError, match="--label"):
            read_lesions(tmp_path / "labels.nii.gz", label)
    write_volume(tmp_path / "signed.nii.gz", Volume(np.where(labels > 0, -1.0, 0.0), GRID))
    with pytest.raises(InputError, match="from -1 to 0"):
        read_lesions(tmp_path / "signed.nii.gz")


def write_kinds(folder: Path) -> None:
    """A label map of WMH and lacunes, and the lacunes again as a mask and as probabilities."""
    labels = np.zeros(GRID.shape, np.int32)
    labels[2:8, 2:8, 2:6], labels[20:23, 20:23, 8:10] = 1, 2
    write_volume(folder / "labels.nii.gz", LabelMap(labels, GRID))
    write_volume(folder / "mask.nii.gz", Mask(labels == 2, GRID))
    write_volume(folder / "wmh.nii.gz", LabelMap(np.where(labels == 1, 1, 0).astype(np.int32), GRID))
    write_volume(folder / "probability.nii.gz", Volume(np.where(labels == 2, 0.875, 0.125), GRID))


@pytest.mark.parametrize("label", ["2", "any"])
def test_a_label_says_nothing_about_probabilities(label: str, tmp_path: Path) -> None:
    write_kinds(tmp_path)
    found = read_lesions(tmp_path / "probability.nii.gz", label)
    assert found.masks[""].data.sum() == 18
    assert found.probability is not None
    with pytest.raises(InputError, match=r"--label markers with probabilities.*one marker at a time"):
        read_lesions(tmp_path / "probability.nii.gz", "markers")


def test_values_between_labels_are_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "blurred.nii.gz", Volume(np.where(ball(GRID, (0, 0, 0), 6), 1.5, 0.0), GRID))
    with pytest.raises(InputError, match="no whole numbers"):
        read_lesions(tmp_path / "blurred.nii.gz", "1")


def test_masks_and_probabilities_against_one_label_of_a_label_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_kinds(tmp_path)
    for prediction, options in (("probability", ()), ("mask", ("--prediction-label", "any"))):
        call = ("evaluate", tmp_path / f"{prediction}.nii.gz", tmp_path / "labels.nii.gz", "--label", "2", *options, "--json")
        assert smallvessel(*call) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out)[0]["dice"] == 1.0
        assert "note" not in shown.err
    call = ("evaluate", tmp_path / "wmh.nii.gz", tmp_path / "labels.nii.gz", "--label", "2", "--json", "--output", tmp_path / "out")
    assert smallvessel(*call) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["dice"] == 0.0
    assert "has no voxel of --label 2, but of 1" in shown.err
    (note,) = json.loads((tmp_path / "out" / "evaluate.json").read_text())["notes"]
    assert "--prediction-label any" in note
    mixed = ("evaluate", tmp_path / "mask.nii.gz", tmp_path / "labels.nii.gz", "--label", "markers", "--prediction-label", "any")
    assert smallvessel(*mixed) == 2


def test_folders_pair_by_entities_and_say_what_is_left(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "out", tmp_path / "manual"
    coarse = make_grid((20, 20, 10), (2.0, 2.0, 5.0))
    for subject in ("01", "02"):
        for space, grid in (("FLAIR", GRID), ("FLAIR_res-1mm", coarse)):
            for suffix in ("mask", "probseg"):
                name = f"sub-{subject}/anat/sub-{subject}_space-{space}_label-WMH_{suffix}.nii.gz"
                write_volume(mine / name, Mask(np.zeros(grid.shape, bool), grid))
    write_volume(theirs / "sub-01_label-wmh_mask.nii.gz", Mask(np.zeros(coarse.shape, bool), coarse))
    write_volume(theirs / "sub-02_space-FLAIR_label-WMH_mask.nii.gz", boxes(LARGE))
    write_volume(theirs / "sub-03_label-WMH_mask.nii.gz", boxes(LARGE))
    found = pair_masks(mine, theirs)
    assert [pair.prediction.name for pair in found.pairs] == [
        "sub-01_space-FLAIR_res-1mm_label-WMH_mask.nii.gz",
        "sub-02_space-FLAIR_label-WMH_mask.nii.gz",
    ]
    assert [path.name for path in found.unpaired] == ["sub-03_label-WMH_mask.nii.gz"]
    assert pair_masks(mine, theirs, probability=True).pairs[1].prediction.name == "sub-02_space-FLAIR_label-WMH_probseg.nii.gz"


def test_a_mask_is_taken_before_the_map_of_its_lesions(tmp_path: Path) -> None:
    for name in ("sub-01_space-FLAIR_label-WMH_dseg.nii.gz", "sub-01_space-FLAIR_label-WMH_mask.nii.gz"):
        write_volume(tmp_path / "out" / name, boxes(LARGE))
    write_volume(tmp_path / "manual" / "sub-01_label-WMH_mask.nii.gz", boxes(LARGE))
    (pair,) = pair_masks(tmp_path / "out", tmp_path / "manual").pairs
    assert pair.prediction.name == "sub-01_space-FLAIR_label-WMH_mask.nii.gz"


def test_the_command_writes_tables_and_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for at in range(3):
        truth = ball(GRID, (3.0 * at, 0, 0), 6)
        name = f"sub-0{at}_label-CMB"
        write_volume(tmp_path / "manual" / f"{name}_mask.nii.gz", Mask(truth, GRID))
        probability = np.clip(np.where(truth, 0.8, 0.1) + rng.normal(0, 0.15, GRID.shape), 0, 1).astype(np.float32)
        write_volume(tmp_path / "out" / f"sub-0{at}_space-SWI_label-CMB_probseg.nii.gz", Volume(probability, GRID))
    folders = (tmp_path / "out", tmp_path / "manual")
    assert smallvessel("evaluate", *folders, "--probability", "--threshold", "0.42", "--output", tmp_path / "result") == 0
    shown = capsys.readouterr().out
    assert "By size of lesion" in shown
    record = json.loads((tmp_path / "result" / "evaluate.json").read_text())
    assert len(record["masks"]) == 3
    assert record["options"]["threshold"] == 0.42
    band = next(band for band in record["sizes"] if band["reference_lesions"] and band["predicted_lesions"])
    assert [type(value) for value in band.values()] == [str, str, int, float, int, float]
    (marked,) = [row for row in record["thresholds"] if row["operating_point"] is True]
    assert (marked["threshold"], marked["scans"]) == (0.42, 3)
    assert all(isinstance(row["voxels"], int) for row in record["calibration"])
    positivity = next(row for row in record["summary"] if row["measure"] == "pooled_positivity")
    assert list(positivity["value"]) == ["not_assessed"]  # no scan without a lesion
    assert (positivity["low"], positivity["subjects"]) == (None, 0)
    with (tmp_path / "result" / "thresholds.tsv").open() as file:
        marked = [row for row in csv.DictReader(file, delimiter="\t") if row["operating_point"] == "yes"]
    assert [row["threshold"] for row in marked] == ["0.42"]
    assert {path.name for path in (tmp_path / "result").iterdir()} == {
        *(f"{name}.tsv" for name in ("masks", "summary", "sizes", "thresholds", "calibration")),
        "evaluate.json",
        "curves.svg",
        "curves.png",
    }
    with (tmp_path / "result" / "summary.tsv").open() as file:
        dice = next(row for row in csv.DictReader(file, delimiter="\t") if row["measure"] == "dice")
    values = [mask["dice"] for mask in record["masks"]]
    assert float(dice["value"]) == pytest.approx(np.mean(values), rel=1e-5)
    assert (dice["low"], dice["high"]) == ("n/a", "n/a")  # too few for an interval
    assert smallvessel("evaluate", *folders, "--probability", "--threshold", "0") == 2


def test_scans_without_any_probability_stay_in_the_curves(tmp_path: Path) -> None:
    truth = ball(GRID, (0, 0, 0), 6)
    for at, shown in enumerate((truth, np.zeros_like(truth))):
        write_volume(tmp_path / "manual" / f"sub-0{at}_label-CMB_mask.nii.gz", Mask(truth, GRID))
        write_volume(tmp_path / "out" / f"sub-0{at}_label-CMB_probseg.nii.gz", Volume(np.where(shown, 0.75, 0.0), GRID))
    assert smallvessel("evaluate", tmp_path / "out", tmp_path / "manual", "--probability", "--output", tmp_path / "result") == 0
    with (tmp_path / "result" / "thresholds.tsv").open() as file:
        (row,) = [row for row in csv.DictReader(file, delimiter="\t") if row["operating_point"] == "yes"]
    assert (row["scans"], row["recall"], row["precision"]) == ("2", "0.5", "1")
    assert float(row["dice_pooled"]) == pytest.approx(2 / 3, abs=1e-5)
    empty = tmp_path / "out" / "sub-01_label-CMB_probseg.nii.gz"
    assert smallvessel("evaluate", empty, tmp_path / "manual" / "sub-01_label-CMB_mask.nii.gz", "--output", tmp_path / "single") == 0
    assert (tmp_path / "single" / "thresholds.tsv").is_file()
    write_volume(tmp_path / "labels.nii.gz", LabelMap(2 * truth.astype(np.int32), GRID))
    with pytest.raises(InputError, match="probabilities from 0 to 1"):
        read_lesions(tmp_path / "labels.nii.gz", probability=True)


def test_other_grids_are_refused_or_resampled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fine = make_grid((80, 80, 50), (0.5, 0.5, 1.0))
    write_volume(tmp_path / "a.nii.gz", Mask(ball(fine, (0, 0, 0), 8), fine))
    write_volume(tmp_path / "b.nii.gz", Mask(ball(GRID, (0, 0, 0), 8), GRID))
    assert smallvessel("evaluate", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz") == 2
    assert "different grids" in capsys.readouterr().err
    assert smallvessel("evaluate", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", "--resample", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["dice"] > 0.9
    probability = Volume(np.where(ball(fine, (0, 0, 0), 8), 0.75, 0.125), fine)
    with pytest.raises(GeometryError):
        trace_thresholds(probability, Mask(ball(GRID, (0, 0, 0), 8), GRID))


def test_resampled_probabilities_give_the_masks_of_their_curves(tmp_path: Path) -> None:
    fine = make_grid((80, 80, 50), (0.7, 0.7, 1.3), centre_mm=(0.2, 0.1, 0.3))
    rng = np.random.default_rng(0)
    blurred = np.clip(np.where(ball(fine, (0, 0, 0), 8), 0.7, 0.2) + rng.normal(0, 0.2, fine.shape), 0, 1)
    write_volume(tmp_path / "a_probseg.nii.gz", Volume(blurred.astype(np.float32), fine))
    write_volume(tmp_path / "b.nii.gz", Mask(ball(GRID, (0, 0, 0), 8), GRID))
    command = ("evaluate", tmp_path / "a_probseg.nii.gz", tmp_path / "b.nii.gz", "--resample", "--output", tmp_path / "out")
    assert smallvessel(*command) == 0
    with (tmp_path / "out" / "thresholds.tsv").open() as file:
        (point,) = [row for row in csv.DictReader(file, delimiter="\t") if row["operating_point"] == "yes"]
    with (tmp_path / "out" / "masks.tsv").open() as file:
        (mask,) = csv.DictReader(file, delimiter="\t")
    assert (mask["dice"], mask["f1"]) == (point["dice_pooled"], point["f1"])


def test_numbers_are_whole_on_a_terminal_of_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(2):
        name = f"sub-0{at}_ses-baseline_space-FLAIR_label-WMH_mask.nii.gz"
        for side, radius_mm in (("manual", 8), ("out", 7.5)):
            write_volume(tmp_path / side / f"sub-0{at}" / "anat" / name, Mask(ball(GRID, (2.0 * at, 0, 0), radius_mm), GRID))
    monkeypatch.setattr("smallvessel.cli_statistics.out", Console(width=80))
    for options in ((), ("--rules", "wmh-challenge")):
        assert smallvessel("evaluate", tmp_path / "out", tmp_path / "manual", *options) == 0
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 80
        assert "…" not in shown
        found = compare_voxels(*(Mask(ball(GRID, (0, 0, 0), radius_mm), GRID) for radius_mm in (7.5, 8)))
        assert isinstance(found.dice, float)
        assert f"{found.dice:.3f}" in shown


def test_summaries_of_several_scans() -> None:
    scans = [LesionMetrics("any overlap", *counts) for counts in ((4, 3, 2, 2), (0, 1, 0, 0), (0, 0, 0, 0))]
    found = summarise_detection(scans, "abc")
    assert (found.n_scans, found.n_with_lesions, found.n_lesions) == (3, 1, 4)
    for value, expected in (
        (found.recall, 0.5),
        (found.precision, 0.5),
        (found.f1, 0.5),
        (found.false_per_scan, 2 / 3),
        (found.positivity, 0.5),
    ):
        assert isinstance(value, Estimate)
        assert value.value == pytest.approx(expected)
    assert summarise_detection(scans[1:], "bc").recall == NotAssessed("no reference lesion")
    mean = mean_over_scans([0.5, NotAssessed("empty"), 1.0], "abc")
    assert isinstance(mean, Estimate)
    assert (mean.value, mean.n) == (0.75, 2)
    assert math.isnan(mean_over_scans([0.5], "a").low)  # type: ignore[union-attr]
    assert isinstance(mean_over_scans([NotAssessed("empty")], "a"), NotAssessed)


def test_all_scans_of_a_subject_are_drawn_together() -> None:
    each = np.random.default_rng(0).uniform(0.3, 0.9, 12)
    values, subjects = np.repeat(each, 2).tolist(), [letter for letter in "abcdefghijkl" for _ in range(2)]
    clustered, single, of_subjects = mean_over_scans(values, subjects), bootstrap_mean(values), bootstrap_mean(each)
    assert isinstance(clustered, Estimate)
    assert isinstance(single, Estimate)
    assert isinstance(of_subjects, Estimate)
    assert vars(clustered) == pytest.approx(vars(of_subjects))
    assert clustered.high - clustered.low > single.high - single.low
    assert mean_over_scans(values, [str(at) for at in range(24)]) == single
    scans = [LesionMetrics("any overlap", *counts) for counts in ((4, 4, 4, 4), (4, 5, 4, 4), (4, 2, 0, 0), (0, 1, 0, 0))]
    found = summarise_detection(scans, "aabb")
    assert (found.n_subjects, found.n_scans, found.n_with_lesions) == (2, 4, 3)
    assert isinstance(found.recall, Estimate)
    assert found.recall.value == pytest.approx(8 / 12)
    assert math.isnan(found.recall.low)
    assert isinstance(found.positivity, Estimate)
    assert (found.positivity.value, found.positivity.n) == (1.0, 1)


def test_scans_that_are_all_negative_leave_room_for_a_positive_one() -> None:
    """Twenty lesion-free scans without a finding: of twenty subjects Wilson's interval, of ten with two scans each none."""
    free, some = (LesionMetrics("any overlap", *counts) for counts in ((0, 0, 0, 0), (3, 3, 3, 3)))
    scans, subjects = [free] * 20 + [some] * 10, [str(at) for at in range(30)]
    found = summarise_detection(scans, subjects)
    assert isinstance(found.positivity, Estimate)
    assert (found.positivity.value, found.positivity.low, found.positivity.high) == pytest.approx((0, 0, 0.1611), abs=5e-5)
    assert isinstance(found.recall, Estimate)
    assert math.isnan(found.recall.low)  # every resample says 1
    clustered = summarise_detection(scans, [str(at // 2) for at in range(20)] + subjects[20:]).positivity
    assert isinstance(clustered, Estimate)
    assert (clustered.value, clustered.n) == (0, 10)
    assert math.isnan(clustered.high)


def test_masks_of_two_sessions_are_one_subject(tmp_path: Path) -> None:
    for at, session in enumerate(("ses-a", "ses-b")):
        for side, radius_mm in (("manual", 8), ("out", 6 + at)):
            write_volume(tmp_path / side / f"sub-01_{session}_label-WMH_mask.nii.gz", Mask(ball(GRID, (0, 0, 0), radius_mm), GRID))
    assert smallvessel("evaluate", tmp_path / "out", tmp_path / "manual", "--output", tmp_path / "result") == 0
    with (tmp_path / "result" / "summary.tsv").open() as file:
        dice = next(row for row in csv.DictReader(file, delimiter="\t") if row["measure"] == "dice")
    assert (dice["subjects"], dice["scans"], dice["low"]) == ("1", "2", "n/a")
    assert MaskPair("sub-7/a.nii.gz", tmp_path, tmp_path).whose == "7"
    assert MaskPair("b/a.nii.gz", tmp_path, tmp_path).whose == "b/a.nii.gz"


def test_lesions_are_told_by_overlap_and_by_centres(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A long finding that touches a lesion with its end: true by overlap, but its centre is 8 mm away."""
    write_volume(tmp_path / "manual" / "sub-01_label-CMB_mask.nii.gz", boxes(((4, 4, 4), (3, 3, 1))))
    write_volume(tmp_path / "out" / "sub-01_label-CMB_mask.nii.gz", boxes(((5, 4, 4), (18, 3, 1))))
    assert smallvessel("evaluate", tmp_path / "out", tmp_path / "manual", "--json", "--output", tmp_path / "result") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert [record[f"lesion_{name}"] for name in ("recall", "precision", "f1")] == [1.0, 1.0, 1.0]
    assert [record[f"lesion_{name}_distance"] for name in ("recall", "precision", "f1")] == [0.0, 0.0, 0.0]
    assert (record["false_lesions"], record["false_lesions_distance"]) == (0, 1)
    with (tmp_path / "result" / "masks.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert [row[name] for name in ("false_lesions", "recall_distance", "precision_distance", "false_distance")] == ["0", "0", "0", "1"]
    with (tmp_path / "result" / "summary.tsv").open() as file:
        pooled = {row["measure"]: row["value"] for row in csv.DictReader(file, delimiter="\t")}
    assert (pooled["pooled_recall"], pooled["pooled_recall_distance"], pooled["pooled_false_per_scan_distance"]) == ("1", "0", "1")
