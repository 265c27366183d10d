"""The benchmarks' own computations, on phantoms with known answers."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import accuracy
import implanted
import real_scans
import report
import simulated
import speed
from browser import needs_browser
from painted import paint_result, write_painted
from phantoms import ball, head_image, make_grid, write_bids
from scenes import scene, scene_anatomy, scene_grid
from smallvessel.derivatives import read_record, session_files
from smallvessel.errors import InputError
from smallvessel.evaluate import Estimate
from smallvessel.markers import Marker, Sequence
from smallvessel.models import WEIGHTS, load_card
from smallvessel.records import NotAssessed, SessionId
from smallvessel.simulate.truth import record_path, truth_path
from smallvessel.volume import Grid, Mask, Transform, write_volume

ANALYSIS = make_grid((40, 44, 36), (1.0, 1.0, 1.0), centre_mm=(0.3, -0.2, 0.4))
TRUTH = make_grid((44, 44, 40), (1.0, 1.0, 1.0))
NO_SWI = "needs SWI or T2*, which this session does not have"
MOVED = np.eye(4)
MOVED[:3, 3] = (6.0, -5.0, 4.0)
IDS = tuple(SessionId(f"0{n}") for n in range(1, 5))


def balls(grid: Grid, *centres_mm: tuple[float, float, float], radius_mm: float = 3.0) -> Mask:
    data = np.zeros(grid.shape, bool)
    for centre_mm in centres_mm:
        data |= ball(grid, centre_mm, radius_mm)
    return Mask(data, grid)


@pytest.fixture
def simulated_folder(tmp_path: Path) -> tuple[Path, Path]:
    """Four sessions: found, missed and false, lesion-free with a false one, and failed."""
    folder, out = tmp_path / "simulated", tmp_path / "out"
    image = head_image(make_grid((12, 14, 12), (16.0, 16.0, 16.0)))
    write_bids(folder, {id: {Sequence.FLAIR: image} for id in IDS})
    places: dict[str, tuple[list[tuple[float, float, float]], list[tuple[float, float, float]]]] = {
        "01": ([(0, 0, 0), (10, 10, 0)], [(0, 0, 0), (10, 10, 0)]),
        "02": ([(0, 0, 0)], [(-10, -10, -10)]),
        "03": ([], [(5, 5, 5)]),
    }
    for id in IDS[:3]:
        true, predicted = places[id.subject]
        write_volume(truth_path(folder, id.subject, Marker.WMH), balls(TRUTH, *true))
        write_volume(truth_path(folder, id.subject, Marker.CMB), balls(TRUTH))
        write_volume(out / session_files(id).image(Sequence.FLAIR, "label-WMH_mask", "1mm"), balls(ANALYSIS, *predicted))
        record = {
            "reference": "FLAIR",
            "sequences": ["FLAIR"],
            "markers": {"WMH": {"count": len(predicted)}, "CMB": {"not_assessed": NO_SWI}},
        }
        (out / session_files(id).measures).write_text(json.dumps(record), encoding="utf-8")
        movements = {"FLAIR": np.eye(4).tolist(), "T1w": MOVED.tolist()}
        record_path(folder, id.subject).write_text(json.dumps({"ReferenceFromSequence": movements}), encoding="utf-8")
    return folder, out


def test_simulated_sessions_are_scored_in_the_truths_world(simulated_folder: tuple[Path, Path]) -> None:
    scores, missing = simulated.score_folder(*simulated_folder)
    assert [score.session for score in scores] == ["sub-01", "sub-02", "sub-03"]
    assert scores[0].dice > 0.85  # same balls, voxels shifted by a fraction
    assert scores[0].by_distance.n_true == 2
    assert (scores[1].dice, scores[2].dice) == (0.0, 0.0)
    assert f"sub-01, CMB: {NO_SWI}" in missing
    assert any(line.startswith("sub-04: the session failed") for line in missing)


def test_results_in_the_world_of_another_image_are_brought_back(simulated_folder: tuple[Path, Path]) -> None:
    folder, out = simulated_folder
    files = session_files(IDS[0])
    there = [tuple(np.array(centre) - MOVED[:3, 3]) for centre in ((0, 0, 0), (10, 10, 0))]
    write_volume(out / files.image(Sequence.T1W, "label-WMH_mask", "1mm"), balls(ANALYSIS, *there))
    record = {"reference": "T1w", "sequences": ["T1w"], "markers": {"WMH": {"count": 2}, "CMB": {"not_assessed": NO_SWI}}}
    (out / files.measures).write_text(json.dumps(record), encoding="utf-8")
    scores, _ = simulated.score_folder(folder, out)
    assert scores[0].dice > 0.85
    assert scores[0].by_overlap.n_found == 2


def test_lesions_are_counted_by_size(simulated_folder: tuple[Path, Path]) -> None:
    scores, _ = simulated.score_folder(*simulated_folder)
    table = simulated.sizes_markdown(scores)
    assert "| WMH, 5 to below 10 mm | 0.67 (3) | 0.50 (4) |" in table
    assert "| WMH, 0 to below 3 mm | n/a (0) | n/a (0) |" in table


def test_summary_counts_what_it_says(simulated_folder: tuple[Path, Path]) -> None:
    scores, missing = simulated.score_folder(*simulated_folder)
    (summary,) = simulated.summarise(scores)
    assert (summary.n, summary.n_with_lesions, summary.n_lesions) == (3, 2, 3)
    assert isinstance(summary.dice_mean, Estimate)
    assert summary.dice_mean.value == pytest.approx((scores[0].dice + 0.0) / 2)
    assert isinstance(summary.dice_pooled, Estimate)
    common, total = scores[0].common_ml, sum(score.reference_ml + score.prediction_ml for score in scores)
    assert summary.dice_pooled.value == pytest.approx(2 * common / total)
    assert summary.recall == pytest.approx(2 / 3)
    assert summary.precision == pytest.approx(2 / 4)
    assert isinstance(summary.f1_overlap, Estimate)
    assert summary.f1_overlap.value == pytest.approx(4 / 7)
    assert summary.false_per_session == pytest.approx(2 / 3)
    assert summary.positivity == pytest.approx(1.0)
    markdown = simulated.to_markdown([summary], missing, "three phantoms")
    assert "SIMULATED" in markdown.splitlines()[0]
    assert "three phantoms" in markdown
    assert NO_SWI in markdown
    json.dumps(simulated.to_record(summary), allow_nan=False)
    json.dumps([simulated.score_record(score) for score in scores], allow_nan=False)


def test_a_marker_without_any_lesion_is_not_assessed_rather_than_perfect() -> None:
    empty = simulated.score_mask("sub-01", Marker.LACUNE, balls(ANALYSIS), balls(TRUTH))
    summary = simulated.summarise_marker([empty, empty])
    assert isinstance(summary.dice_mean, NotAssessed)
    assert isinstance(summary.f1_overlap, NotAssessed)
    assert (summary.false_per_session, summary.positivity) == (0.0, 0.0)


def test_single_voxel_lesions_survive_the_change_of_grid() -> None:
    one = np.zeros(ANALYSIS.shape, bool)
    one[20, 20, 20] = True
    truth = balls(TRUTH, tuple(ANALYSIS.world(np.array([[20, 20, 20]]))[0]), radius_mm=1.2)
    assert simulated.score_mask("sub-01", Marker.CMB, Mask(one, ANALYSIS), truth).by_overlap.n_found == 1


def test_itk_transform_maps_points_as_itk_does(tmp_path: Path) -> None:
    transform = sitk.Euler3DTransform((10.0, -5.0, 3.0), 0.1, -0.2, 0.3, (4.0, 5.0, 6.0))
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(transform.GetMatrix())
    affine.SetTranslation(transform.GetTranslation())
    affine.SetCenter(transform.GetCenter())
    sitk.WriteTransform(affine, str(tmp_path / "x.txt"))
    point = np.array([[12.0, -7.0, 30.0]])
    lps = np.array(transform.TransformPoint((-12.0, 7.0, 30.0)))
    np.testing.assert_allclose(real_scans.read_itk_transform(tmp_path / "x.txt")(point)[0], lps * [-1, -1, 1], atol=1e-6)


def test_registration_error_is_the_mean_displacement(tmp_path: Path) -> None:
    moved = np.eye(4)
    moved[:3, 3] = [3.0, 4.0, 0.0]
    path = tmp_path / "xfm.txt"
    np.savetxt(path, moved)
    points = np.random.default_rng(0).normal(0, 50, (100, 3))
    assert real_scans.mean_displacement_mm(path, Transform.identity(), points) == pytest.approx(5.0)
    assert real_scans.mean_displacement_mm(path, Transform(moved).inverse(), points) == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(real_scans.mean_displacement_mm(tmp_path / "none.txt", Transform.identity(), points))


def test_brain_dice_follows_the_reference_into_the_native_world(tmp_path: Path) -> None:
    common = balls(TRUTH, (0, 0, 0), radius_mm=12.0)
    shift = np.eye(4)
    shift[:3, 3] = [6.0, 0.0, 0.0]
    write_volume(tmp_path / "brain.nii.gz", balls(ANALYSIS, (6.0, 0, 0), radius_mm=12.0))
    assert real_scans.brain_dice(tmp_path / "brain.nii.gz", common, Transform(shift)) > 0.95
    assert real_scans.brain_dice(tmp_path / "brain.nii.gz", common, Transform.identity()) < 0.75


def test_missing_real_results_are_not_counted_as_zero() -> None:
    brains = [
        {"session": "sub-01", "sequence": "FLAIR", "dice": 0.9, "counted": True},
        {"session": "sub-01", "sequence": "T1w", "dice": float("nan"), "counted": True},
        {"session": "sub-03", "sequence": "FLAIR", "dice": 0.5, "counted": False},
    ]
    registrations = [{"session": "sub-01", "sequence": "T1w", "error_mm": float("nan")}]
    markdown = real_scans.to_markdown(brains, registrations, {"sub-om07": {}, "sub-sv1": {"smallvessel": 0.6, "LPA": 0.5}})
    assert "| **worst** | 0.900 |" in markdown
    assert "n = 1 of 2." in markdown
    assert "| **median** | n/a |" in markdown
    assert "| **mean (n)** | 0.600 (1) | 0.500 (1) |" in markdown


def test_speed_takes_medians_without_the_warm_up() -> None:
    def timing(name: str, prepare_s: float, total_s: float) -> speed.Timing:
        record = {"provenance": {"timings_s": {"intake": 1.0, "prepare": prepare_s}, "peak_memory_mb": 1000 + prepare_s}}
        return speed.read_timing(name, record, total_s)

    timings = [timing("sub-warmup", 50, 60), timing("sub-01", 4, 6), timing("sub-02", 5, 8), timing("sub-03", 9, 11)]
    machine = {"date": "2025-01-01", "processor": "p", "cores_used": 2, "memory_free_gb": 8, "load_before": 0, "system": "s"}
    markdown, record = speed.summarise(timings, {**machine, "smallvessel": "0", "models": {}, "packages": {}})
    assert record["median_s"] == {"intake": 1.0, "prepare": 5.0, "rest": 1.0, "total": 8.0}
    assert record["peak_memory_mb"] == 1050
    assert "| total | 8.0 | 6.0 | 11.0 | 60.0 |" in markdown


@needs_browser
def test_reports_are_made_opened_and_listed_in_many_rows(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed (pip install smallvessel[dev])")
    result = write_painted(tmp_path / "out", paint_result())
    with report.start_browser() as browser:
        one = report.time_report(result, result.prepared.images, tmp_path / "made", browser, 2)
        files = session_files(result.id)
        record = read_record(tmp_path / "out" / files.measures)
        index = report.time_index(record, tmp_path / "made" / files.thumbnail, tmp_path / "all", browser, 40, 1)
    assert (tmp_path / "made" / files.report).read_bytes() == (tmp_path / "out" / files.report).read_bytes()
    assert one.megabytes == pytest.approx((tmp_path / "out" / files.report).stat().st_size / 1e6)
    assert len(one.make_s) == len(one.ready_s) == 2
    assert all(0 < paint < ready for paint, ready in zip(one.paint_s, one.ready_s, strict=True))
    assert (tmp_path / "all/index.html").read_text(encoding="utf-8").count("<img") == 40
    assert min(*index.paint_s, *index.load_s, *index.sort_s, *index.filter_s) > 0
    machine = {"date": "2025-01-01", "processor": "p", "cores_used": 2, "memory_free_gb": 8, "load_before": 0, "system": "s"}
    fixed = replace(one, make_s=(1.0, 9.0, 2.0), pdf_s=())
    markdown, summary = report.summarise([fixed], index, {**machine, "smallvessel": "0", "models": {}, "packages": {}})
    assert "| 2.00 (1.00 to 9.00) |" in markdown
    assert "| n/a |" in markdown
    assert summary["median_s"][str(result.id)]["made"] == 2.0
    assert "pdf" not in summary["median_s"][str(result.id)]
    assert summary["index"]["rows"] == 40


def test_implants_keep_their_distance_and_are_mixed_with_the_ventricles_fluid() -> None:
    prepared = scene(anatomy=scene_anatomy(scene_grid()))
    structures = prepared.anatomy.structures.data
    taken = np.zeros(structures.shape, bool)
    taken[structures.shape[0] // 2 :] = True
    implants = implanted.draw_implants(prepared, taken, np.random.default_rng(0))
    assert implants
    middles = [np.array([(part.start + part.stop - 1) / 2 for part in each.box]) for each in implants if _is_whole(each)]
    assert all(np.linalg.norm(a - b) > 2 * implanted.APART_MM for a, b in itertools.combinations(middles, 2))
    changed = implanted.implant(prepared, implants)
    for sequence, image in changed.images.items():
        difference = np.abs(image.data - prepared.images[sequence].data) > 1e-3
        assert difference.any()
        assert not difference[structures.shape[0] // 2 :].any()
    each = replace(implants[0], visibility=1.0)
    core = np.unravel_index(int(each.share.argmax()), each.share.shape)
    assert each.share[core] == pytest.approx(1.0, abs=0.1)
    filled = implanted.implant(prepared, [each]).images[Sequence.T1W].data[each.box][core]
    assert filled == pytest.approx(20.0, abs=9.0)


def _is_whole(each: implanted.Implant) -> bool:
    return all(part.stop - part.start == 2 * int(2 * implanted.APART_MM) + 1 for part in each.box)


def test_an_implant_is_found_by_its_marker_or_taken_for_the_other() -> None:
    grid = scene_grid()
    each = implanted.draw_implant(Marker.LACUNE, np.array([20, 30, 30]), grid.shape, np.random.default_rng(1))
    there, nowhere = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    there[20, 30, 30] = True
    cases = (({Marker.LACUNE: there, Marker.EPVS: nowhere}, (True, False)), ({Marker.LACUNE: nowhere, Marker.EPVS: there}, (False, True)))
    for found, expected in cases:
        outcome = implanted.judge("sub-1", [each], found)[0]
        assert (outcome.found, outcome.as_other) == expected
    low, high = implanted.wilson(8, 10)
    assert (low, high) == pytest.approx((0.490, 0.943), abs=1e-3)  # Brown, Cai & DasGupta 2001


def test_results_go_into_the_card_of_the_network_that_made_them(simulated_folder: tuple[Path, Path], tmp_path: Path) -> None:
    scores, _ = simulated.score_folder(*simulated_folder)
    weights = tmp_path / "weights"
    weights.mkdir()
    shutil.copy(WEIGHTS / "markers.card.json", weights)
    strata = simulated.summarise_parts([(Marker.WMH, "first", scores[:1])])
    summary = simulated.summarise_marker(scores)
    machine = {"models": {"markers": load_card("markers").identity}}
    told: dict[str, Any] = {
        "note": "three phantoms",
        "markers": {"WMH": simulated.to_record(summary)},
        "strata": [{"marker": "WMH", "part": name, **simulated.to_record(one)} for name, one in strata],
        "machine": machine,
    }
    (tmp_path / "accuracy_simulated.json").write_text(json.dumps(told), encoding="utf-8")
    real = {"wmh_dice": {"sub-01": {"smallvessel": 0.6, "another": 0.5}}, "machine": machine}
    (tmp_path / "accuracy_real.json").write_text(json.dumps(real), encoding="utf-8")
    accuracy.put_in_card(tmp_path, weights)
    card = load_card("markers", weights)
    parts = card.results["test"]["parts"]
    assert list(parts) == ["WMH, all", "WMH, first"]
    assert parts["WMH, all"].startswith("3 sessions, 2 with lesions: Dice ")
    assert "false lesions per session 0.67, lesion-free sessions with one 1.00" in parts["WMH, all"]
    assert "lesion-free sessions with one n/a" in parts["WMH, first"]
    assert card.results["real"]["wmh_dice"] == {"sub-01": 0.6}
    assert card.identity == load_card("markers").identity
    told["machine"] = {"models": {"markers": "0.0.1 sha256:other"}}
    (tmp_path / "accuracy_simulated.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(InputError, match="sha256:other"):
        accuracy.put_in_card(tmp_path, weights)
