"""A person's review changes what it says and nothing else, is recorded, and can be taken back."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from painted import paint_result, prepare_phantom, write_painted
from phantoms import ball, make_grid
from results import read_rows
from smallvessel import derivatives
from smallvessel.cli import main
from smallvessel.config import MeasureSettings, Settings
from smallvessel.dataset import start_dataset
from smallvessel.derivatives import finish_session, is_finished, session_files, write_session
from smallvessel.errors import GeometryError, InputError
from smallvessel.markers import Marker, Sequence
from smallvessel.measure import measure_session
from smallvessel.records import ImageFile, MarkerMap, Native, NotAssessed, Segmentation, Session, SessionId, SessionSource
from smallvessel.redraw import add_reports, hash_file, measure_again
from smallvessel.restore import list_sessions, parse_session, read_session
from smallvessel.review import FORMAT, apply_mask, apply_reviews, revert_review
from smallvessel.segment.native import bring_to_native
from smallvessel.shapes import label_components
from smallvessel.tables import lesions_digest, session_record
from smallvessel.volume import Grid, LabelMap, Mask, Transform, Volume, read_mask, write_volume

ID = SessionId("01", "a")
FILES = session_files(ID)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write_painted(tmp_path / "out", paint_result())
    return tmp_path / "out"


def record(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / FILES.measures).read_text(encoding="utf-8"))
    return content


def snapshot(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def session_files_kept(out: Path) -> list[Path]:
    return [path for path in (out / FILES.original).rglob("*") if path.is_file()]


def save_review(out: Path, *decisions: dict[str, Any], **changes: Any) -> Path:
    review = {
        "format": FORMAT,
        "session": str(ID),
        "lesions_sha256": hashlib.sha256((out / FILES.lesions).read_bytes()).hexdigest(),
        "reviewer": "A. Reader",
        "saved_at": "2026-01-02T03:04:05.000Z",
        "note": "",
        "decisions": list(decisions),
    }
    path = out / f"{ID}_review.json"
    path.write_text(json.dumps({**review, **changes}))
    return path


def test_a_session_read_back_gives_the_numbers_that_were_written(tmp_path: Path) -> None:
    result = write_painted(tmp_path, paint_result())
    again = read_session(tmp_path, ID)
    measured = measure_session(again.prepared, again.segmentation, MeasureSettings())
    fresh, old = session_record(result), record(tmp_path)
    assert [lesion.label for lesion in measured.lesions] == [lesion.label for lesion in result.measurements.lesions]
    assert lesions_digest(measured.lesions) == lesions_digest(result.measurements.lesions)
    for key in ("icv_ml", "brain_ml", "structure_ml", "markers", "scores", "qc"):
        assert session_record(result)[key] == fresh[key] == old[key]
    assert again.provenance == result.provenance
    assert list_sessions(tmp_path) == (ID,)
    assert parse_session(str(ID)) == ID


def test_a_lesion_called_wrong_is_gone_everywhere(out: Path) -> None:
    before, lesions = record(out), read_rows(out / FILES.lesions)
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong", "note": "a vessel"})])
    after = record(out)
    assert after["markers"]["CMB"]["count"] == before["markers"]["CMB"]["count"] - 1
    gone = next(row for row in lesions if (row["marker"], row["label"]) == ("CMB", "1"))
    assert [row for row in read_rows(out / FILES.lesions) if row["marker"] == "CMB"] == [
        {**row, "label": "1"} for row in lesions if row["marker"] == "CMB" and row is not gone
    ]
    for marker in ("WMH", "lacune", "EPVS"):
        assert after["markers"][marker] == before["markers"][marker]
    (table,) = read_rows(out / "measures.tsv")
    assert table["cmb_count"] == "1"
    assert table["reviewed_by"] == "A. Reader"
    for space, resolution in ((Sequence.FLAIR, "1mm"), (Sequence.SWI, None)):
        mask = read_mask(out / FILES.image(space, "label-CMB_mask", resolution))
        place = [float(gone[f"{axis}_mm"]) for axis in "xyz"]
        assert not mask.data[tuple(np.rint(mask.grid.voxels(np.array([place])))[0].astype(int))]
        assert mask.data.any()
    (review,) = after["reviews"]
    assert review["reviewer"] == "A. Reader"
    assert review["saved_at"] == "2026-01-02T03:04:05.000Z"
    assert review["applied_at"] > review["saved_at"]
    assert review["changes"] == ["CMB 1 was removed: a vessel."]
    assert "Reviewed by A. Reader" in (out / FILES.report).read_text(encoding="utf-8")
    assert is_finished(out, ID, before["provenance"]["digest"])


def test_reviews_of_several_sessions_are_applied_together(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_painted(out, paint_result(subject="02"))
    other = SessionId("02", "a")
    first = save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})
    digest = hashlib.sha256((out / session_files(other).lesions).read_bytes()).hexdigest()
    content = json.loads(first.read_text()) | {"session": str(other), "lesions_sha256": digest}
    second = out / f"{other}_review.json"
    second.write_text(json.dumps(content | {"lesions_sha256": "0" * 64}))
    before = (out / session_files(other).measures).read_bytes()
    with pytest.raises(InputError, match="several reviews of sub-01_ses-a"):
        apply_reviews(out, [first, second, first])
    assert "reviews" not in record(out)
    with pytest.raises(InputError, match="other lesions than sub-02_ses-a"):
        apply_reviews(out, [first, second])
    assert [row["cmb_count"] for row in read_rows(out / "measures.tsv")] == ["1", "2"]  # the first was applied
    assert (out / session_files(other).measures).read_bytes() == before
    first.unlink()
    revert_review(out, ID)
    second.write_text(json.dumps(content))
    first = save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})
    with pytest.raises(SystemExit) as done:
        main(["review", "apply", str(out), str(first), str(second)])
    assert done.value.code in (0, None)
    assert capsys.readouterr().out.count("was measured again") == 2
    assert [row["cmb_count"] for row in read_rows(out / "measures.tsv")] == ["1", "1"]


def test_a_relabelled_lesion_moves_to_the_other_marker_with_its_volume(out: Path) -> None:
    before = record(out)["markers"]
    apply_reviews(out, [save_review(out, {"marker": "EPVS", "label": 2, "verdict": "relabel", "as": "lacune"})])
    after = record(out)["markers"]
    assert (after["EPVS"]["count"], after["lacune"]["count"]) == (before["EPVS"]["count"] - 1, before["lacune"]["count"] + 1)
    moved = before["EPVS"]["volume_ml"] - after["EPVS"]["volume_ml"]
    assert moved > 0
    assert after["lacune"]["volume_ml"] - before["lacune"]["volume_ml"] == pytest.approx(moved, abs=1e-4)


def test_what_was_measured_at_first_can_be_brought_back(out: Path) -> None:
    before = snapshot(out)
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
    assert record(out)["markers"]["CMB"]["count"] == 0
    assert len(record(out)["reviews"]) == 2
    revert_review(out, None)
    after = snapshot(out)
    assert {name for name in after if not name.endswith("_review.json")} == set(before)
    for name, content in before.items():
        assert name.endswith(".html") or after[name] == content, name
    assert "Reviewed by" not in (out / FILES.report).read_text(encoding="utf-8")
    with pytest.raises(InputError, match="never reviewed"):
        revert_review(out, ID)


def test_a_session_can_be_reviewed_again_after_it_was_brought_back(out: Path) -> None:
    before = (out / FILES.lesions).read_bytes()
    for _ in range(2):
        apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
        assert session_files_kept(out)
        revert_review(out, ID)
        assert (out / FILES.lesions).read_bytes() == before
        assert not (out / FILES.original).exists()


def test_what_is_left_in_an_emptied_folder_original_is_not_taken_for_an_original(out: Path) -> None:
    (out / FILES.original).mkdir()
    (out / FILES.original / ".DS_Store").write_text("")
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
    write_painted(out, paint_result())  # as run --force does
    assert [path.name for path in session_files_kept(out)] == [".DS_Store"]
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
    revert_review(out, ID)
    assert record(out)["markers"]["CMB"]["count"] == 2


def test_a_review_that_is_killed_can_be_taken_back(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (out / FILES.lesions).read_bytes()
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
    killed, left = tmp_path / "killed", [5]

    def kill(path: Path, image: Volume | Mask | LabelMap) -> None:
        left[0] -= 1
        if left[0] == 0:
            shutil.copytree(out, killed)  # what there is at that moment
        write_volume(path, image)

    monkeypatch.setattr(derivatives, "write_volume", kill)
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
    assert not (killed / FILES.measures).exists()
    revert_review(killed, ID)
    assert (killed / FILES.lesions).read_bytes() == before
    assert "reviews" not in record(killed)
    assert session_files_kept(killed) == []
    assert read_rows(killed / "measures.tsv")[0]["cmb_count"] == "2"


def test_a_reviewed_session_whose_originals_are_gone_says_so(out: Path) -> None:
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
    shutil.rmtree(out / FILES.original)
    apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})])
    with pytest.raises(InputError, match="whose folder original is gone"):
        revert_review(out, ID)


def test_a_probability_of_an_earlier_run_is_not_read(out: Path) -> None:
    path = FILES.image(Sequence.SWI, "label-CMB_probseg")
    content = record(out)
    content["files"].remove(path.as_posix())
    (out / FILES.measures).write_text(json.dumps(content))
    write_volume(out / path, Volume(np.full(read_mask(out / path).grid.shape, 0.3, np.float32), read_mask(out / path).grid))
    found = read_session(out, ID).segmentation.markers[Marker.CMB]
    assert isinstance(found, MarkerMap)
    assert np.array_equal(found.native_probability.data, found.native_mask.data)


@pytest.mark.parametrize("writes", range(0, 40, 3))
def test_a_full_disk_leaves_a_session_as_it_was(out: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    path = save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})
    before, left, rename = snapshot(out), [writes], os.replace

    def fill(source: Path, target: Path) -> None:
        if left[0] == 0:
            left[0] = -1  # what is brought back has the room that it had before
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        rename(source, target)

    monkeypatch.setattr(os, "replace", fill)
    with pytest.raises(OSError, match="No space left"):
        apply_reviews(out, [path])
    assert snapshot(out) == before
    left[0] = -1
    apply_reviews(out, [path])
    reviewed = snapshot(out)
    left[0] = min(writes, len(session_files_kept(out)))
    with pytest.raises(OSError, match="No space left"):
        revert_review(out, ID)
    assert snapshot(out) == reviewed


@pytest.mark.parametrize("on_native", [True, False])
def test_a_mask_drawn_elsewhere_becomes_the_marker(out: Path, tmp_path: Path, on_native: bool) -> None:
    found = read_session(out, ID).segmentation.markers[Marker.LACUNE]
    assert isinstance(found, MarkerMap)
    grid = found.native_mask.grid if on_native else found.labels.grid
    drawn = Mask(found.mask.data | ball(grid, (30.0, 20.0, 0.0), 6.0), grid)
    flipped = Grid(grid.shape, grid.affine @ np.array([[-1, 0, 0, grid.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    write_volume(tmp_path / "drawn.nii.gz", Mask(drawn.data[::-1], flipped))
    with pytest.raises(SystemExit) as end:
        main(["review", "apply", str(out), "--mask", str(tmp_path / "drawn.nii.gz"), "--marker", "LACUNE", "--reviewer", "B. Reader"])
    assert not end.value.code
    after = record(out)
    assert after["markers"]["lacune"]["count"] == 2
    new = next(row for row in read_rows(out / FILES.lesions) if row["marker"] == "lacune" and float(row["x_mm"]) > 0)
    np.testing.assert_allclose([float(new[f"{axis}_mm"]) for axis in "xyz"], (30.0, 20.0, 0.0), atol=2.0)
    assert (new["side"], new["confidence"]) == ("right", "1.000")
    assert after["reviews"][0]["changes"] == ["lacune: 2 lesions of a corrected mask in place of 1."]


def write_on_fine_grid(out: Path) -> Grid:
    """A session with three lacunes whose native grid is finer than that on which they are measured; returns the native grid."""
    balls = (((-22.0, 4.0, -10.0), 7.0), ((34.0, -30.0, 10.0), 7.0), ((-34.0, 30.0, 20.0), 7.0))
    result = paint_result(sequences=(Sequence.FLAIR,), lesions={Marker.LACUNE: balls})
    fine = make_grid((82, 100, 82), (2.0, 2.0, 2.0))
    native = Native(fine, Mask(ball(fine, (0.0, 0.0, 0.0), 60.0), fine), Transform.identity())
    markers: dict[Marker, MarkerMap | NotAssessed] = {}
    for marker, found in result.segmentation.markers.items():
        markers[marker] = found
        if isinstance(found, MarkerMap):
            mask, chance = bring_to_native(found.labels, found.probability, 0.5, native)
            markers[marker] = replace(found, native_mask=mask, native_probability=chance)
    prepared = replace(result.prepared, native={Sequence.FLAIR: native})
    result = replace(result, prepared=prepared, segmentation=Segmentation(markers))
    result = replace(result, measurements=measure_session(prepared, result.segmentation, MeasureSettings()))
    start_dataset(out, "0.1.0", result.provenance.models)
    finish_session(result, out, write_session(result, out))
    return fine


def test_a_later_review_leaves_what_was_drawn_on_the_native_grid(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fine = write_on_fine_grid(out)
    path = out / FILES.image(Sequence.FLAIR, "label-lacune_mask")
    first = read_mask(path).data
    added = ball(fine, (30.0, 22.0, 1.0), 5.0)
    write_volume(tmp_path / "drawn.nii.gz", Mask(first | added, fine))
    apply_mask(out, tmp_path / "drawn.nii.gz", Marker.LACUNE, ID, "A. Reader")
    wrong = next(row for row in read_rows(out / FILES.lesions) if float(row["y_mm"]) < -20)
    apply_reviews(out, [save_review(out, {"marker": "lacune", "label": int(wrong["label"]), "verdict": "wrong"})])
    gone = ball(fine, (34.0, -30.0, 10.0), 12.0)
    assert first[gone].any()
    assert np.array_equal(read_mask(path).data, (first | added) & ~gone)
    assert record(out)["markers"]["lacune"]["count"] == 3


def test_a_lesion_drawn_on_the_analysis_grid_keeps_its_size_on_the_native_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fine = write_on_fine_grid(out)
    path = out / FILES.image(Sequence.FLAIR, "label-lacune_mask")
    first, coarse = read_mask(path).data, read_mask(out / FILES.image(Sequence.FLAIR, "label-lacune_mask", "1mm"))
    added = ball(coarse.grid, (30.0, 22.0, 2.0), 6.0)
    write_volume(tmp_path / "drawn.nii.gz", Mask(coarse.data | added, coarse.grid))
    apply_mask(out, tmp_path / "drawn.nii.gz", Marker.LACUNE, ID, "A. Reader")
    new = read_mask(path).data & ~first
    assert (read_mask(path).data & first).sum() == first.sum()
    assert new.sum() * fine.voxel_volume_mm3 == pytest.approx(added.sum() * coarse.grid.voxel_volume_mm3, rel=0.15)


def write_on_thick_slices(out: Path, spacing_mm: tuple[float, float, float] = (0.9, 0.9, 5.0)) -> Grid:
    """A session with six microbleeds on an oblique SWI of thick slices, measured at 1 mm; returns the SWI's grid."""
    centres = ((-30.0, 0.0, 10.0), (-20.0, 12.0, -8.0), (0.0, -22.0, 3.0), (14.0, 20.0, 16.0), (25.0, -8.0, -15.0), (30.0, 10.0, 7.0))
    sequences, grid = (Sequence.FLAIR, Sequence.SWI), make_grid((90, 80, 70), (1.0, 1.0, 1.0))
    base, prepared = paint_result(sequences, {}), prepare_phantom(grid, sequences, ())
    x, y, z = (round(extent / mm) for extent, mm in zip((90, 80, 70), spacing_mm, strict=True))
    own = make_grid((x, y, z), spacing_mm, rotation_deg=(4.0, 3.0, 2.0))
    native = Native(own, Mask(ball(own, (0.0, 0.0, 0.0), 60.0), own), Transform.identity())
    labels, n = label_components(np.logical_or.reduce([ball(grid, centre, 2.5) for centre in centres]))
    certain = Volume((labels > 0).astype(np.float32), grid)
    mask, chance = bring_to_native(LabelMap(labels, grid), certain, 0.5, native)
    found = MarkerMap(Marker.CMB, certain, LabelMap(labels, grid), (0.9,) * n, Sequence.SWI, mask, chance)
    markers: dict[Marker, MarkerMap | NotAssessed] = {marker: NotAssessed("not asked for") for marker in Marker}
    markers[Marker.CMB] = found
    prepared = replace(prepared, native={**prepared.native, Sequence.SWI: native})
    result = replace(base, prepared=prepared, segmentation=Segmentation(markers))
    result = replace(result, measurements=measure_session(prepared, result.segmentation, MeasureSettings()))
    start_dataset(out, "0.1.0", result.provenance.models)
    finish_session(result, out, write_session(result, out))
    return own


def sizes(out: Path) -> list[tuple[str, str]]:
    """Place and volume of each microbleed."""
    rows = [row for row in read_rows(out / FILES.lesions) if row["marker"] == "CMB"]
    return sorted((" ".join(row[f"{axis}_mm"] for axis in "xyz"), row["volume_mm3"]) for row in rows)


@pytest.mark.parametrize("spacing_mm", [(0.9, 0.9, 2.0), (0.9, 0.9, 5.0), (0.5, 0.5, 6.5)])
def test_a_mask_that_nobody_changed_changes_nothing(tmp_path: Path, spacing_mm: tuple[float, float, float]) -> None:
    out = tmp_path / "out"
    write_on_thick_slices(out, spacing_mm)
    before = record(out)
    for space, resolution in ((Sequence.SWI, None), (Sequence.FLAIR, "1mm")):
        shutil.copy(out / FILES.image(space, "label-CMB_mask", resolution), tmp_path / "drawn.nii.gz")
        apply_mask(out, tmp_path / "drawn.nii.gz", Marker.CMB, ID, "A. Reader")
    after = record(out)
    assert [review["changes"] for review in after["reviews"]] == 2 * [["CMB: the mask was left as it is."]]
    assert {name: after[name] for name in ("markers", "scores", "expected_errors")} == {
        name: before[name] for name in ("markers", "scores", "expected_errors")
    }


def test_one_drawn_ball_adds_one_lesion_and_leaves_the_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    own = write_on_thick_slices(out)
    before, path = sizes(out), out / FILES.image(Sequence.SWI, "label-CMB_mask")
    added = ball(own, (0.0, 5.0, -3.0), 4.0)
    drawn = read_mask(path).data | added
    write_volume(tmp_path / "drawn.nii.gz", Mask(drawn, own))
    apply_mask(out, tmp_path / "drawn.nii.gz", Marker.CMB, ID, "A. Reader")
    (new,) = set(sizes(out)) - set(before)
    assert len(sizes(out)) == len(before) + 1
    assert set(before) < set(sizes(out))
    assert float(new[1]) == pytest.approx(added.sum() * own.voxel_volume_mm3, rel=0.1)
    assert np.array_equal(read_mask(path).data, drawn)
    assert record(out)["reviews"][0]["changes"] == ["CMB: 7 lesions of a corrected mask in place of 6."]


def test_a_lesion_that_is_rubbed_out_is_gone_whole_and_the_others_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    own = write_on_thick_slices(out)
    before, path = sizes(out), out / FILES.image(Sequence.SWI, "label-CMB_mask")
    write_volume(tmp_path / "drawn.nii.gz", Mask(read_mask(path).data & ~ball(own, (25.0, -8.0, -15.0), 9.0), own))
    apply_mask(out, tmp_path / "drawn.nii.gz", Marker.CMB, ID, "A. Reader")
    ((place, _),) = set(before) - set(sizes(out))
    np.testing.assert_allclose([float(mm) for mm in place.split()], (25.0, -8.0, -15.0), atol=0.5)
    assert set(sizes(out)) < set(before)


def test_a_drawn_lesion_smaller_than_a_voxel_of_the_analysis_grid_counts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    own = write_on_thick_slices(out, (0.4, 0.4, 2.0))
    drawn = read_mask(out / FILES.image(Sequence.SWI, "label-CMB_mask")).data.copy()
    for corner in np.ndindex(3, 3):  # among neighbours some hold no centre of a 1 mm voxel
        one = drawn.copy()
        one[100 + corner[0], 100 + corner[1], 20] = True
        assert not drawn[98:106, 98:106, 18:23].any()
        write_volume(tmp_path / "drawn.nii.gz", Mask(one, own))
        apply_mask(out, tmp_path / "drawn.nii.gz", Marker.CMB, ID, "A. Reader")
        assert len(sizes(out)) == 7
        revert_review(out, ID)


def test_a_report_that_is_added_or_brought_back_fits_the_lesions_on_an_oblique_grid(tmp_path: Path) -> None:
    def shift(step: int) -> tuple[Grid, Grid]:
        grid = make_grid((41, 50, 41), (4.0, 4.0, 4.0), rotation_deg=(3.1, -5.3, 7.7), centre_mm=(0.000037 * step, 0.0, 0.0))
        return grid, Grid(grid.shape, grid.affine.astype(np.float32).astype(float))  # as NIfTI keeps it

    voxel = np.array([[20, 25, 24]])
    grid = next(grid for grid, kept in map(shift, range(100_000)) if texts_mm(grid, voxel) != texts_mm(kept, voxel))
    sequences = (Sequence.FLAIR,)
    base, prepared = paint_result(sequences, {}), prepare_phantom(grid, sequences, ())
    labels = np.zeros(grid.shape, np.int32)
    labels[tuple(voxel.T)] = 1
    mask, certain = Mask(labels > 0, grid), Volume(labels.astype(np.float32), grid)
    markers: dict[Marker, MarkerMap | NotAssessed] = {marker: NotAssessed("not asked for") for marker in Marker}
    markers[Marker.LACUNE] = MarkerMap(Marker.LACUNE, certain, LabelMap(labels, grid), (0.9,), Sequence.FLAIR, mask, certain)
    result = write_painted(tmp_path, replace(base, prepared=prepared, segmentation=Segmentation(markers)))
    again = read_session(tmp_path, ID)
    assert lesions_digest(measure_again(again).lesions) != lesions_digest(result.measurements.lesions)

    def shown() -> str:
        found = re.search(r'"lesions_sha256": "(\w+)"', (tmp_path / FILES.report).read_text(encoding="utf-8"))
        assert found
        return found[1]

    before = shown()
    assert before == hash_file(tmp_path / FILES.lesions)
    apply_reviews(tmp_path, [save_review(tmp_path, {"marker": "lacune", "label": 1, "verdict": "right"}, lesions_sha256=before)])
    assert shown() == hash_file(tmp_path / FILES.lesions)
    revert_review(tmp_path, ID)
    assert shown() == hash_file(tmp_path / FILES.lesions) == before
    scans = {name: ImageFile(tmp_path / "x", name, image, "a" * 64) for name, image in result.prepared.images.items()}
    (tmp_path / FILES.report).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smallvessel.redraw.load_session", lambda *_: Session(ID, scans))
        assert add_reports(SessionSource(ID, {}), tmp_path, Settings()) == (FILES.report,)
    assert shown() == before


def texts_mm(grid: Grid, voxel: NDArray[np.int_]) -> list[str]:
    return [f"{value:.2f}" for value in grid.world(voxel)[0]]


def test_a_mask_of_several_structures_is_refused_and_nothing_changes(out: Path, tmp_path: Path) -> None:
    before = snapshot(out)
    found = read_session(out, ID).segmentation.markers[Marker.CMB]
    assert isinstance(found, MarkerMap)
    write_volume(tmp_path / "drawn.nii.gz", found.labels)
    with pytest.raises(InputError, match=r"the labels 1, 2.*Expected: one label.*export the label"):
        apply_mask(out, tmp_path / "drawn.nii.gz", Marker.CMB, None, "A. Reader")
    assert snapshot(out) == before
    write_volume(tmp_path / "drawn_dseg.nii.gz", found.labels)
    apply_mask(out, tmp_path / "drawn_dseg.nii.gz", Marker.CMB, None, "A. Reader")
    assert record(out)["markers"]["CMB"]["count"] == 2


def test_a_mask_on_another_grid_is_refused_and_nothing_changes(out: Path, tmp_path: Path) -> None:
    before = snapshot(out)
    grid = Grid((10, 10, 10), np.diag([4.0, 4.0, 4.0, 1.0]))
    write_volume(tmp_path / "drawn.nii.gz", Mask(np.ones(grid.shape, bool), grid))
    with pytest.raises(GeometryError, match=r"10 x 10 x 10 voxels of 4.00.*Expected: the grid of SWI"):
        apply_mask(out, tmp_path / "drawn.nii.gz", Marker.CMB, None, "A. Reader")
    assert snapshot(out) == before


WRONG: dict[str, Callable[[Path], Path]] = {
    "format": lambda out: save_review(out, format="another"),
    "no reviewer": lambda out: save_review(out, reviewer=" "),
    "lesion twice": lambda out: save_review(out, *2 * [{"marker": "CMB", "label": 1, "verdict": "wrong"}]),
    "unknown verdict": lambda out: save_review(out, {"marker": "CMB", "label": 1, "verdict": "perhaps"}),
    "unknown marker": lambda out: save_review(out, {"marker": "tumour", "label": 1, "verdict": "wrong"}),
    "no such lesion": lambda out: save_review(out, {"marker": "CMB", "label": 9, "verdict": "wrong"}),
    "other lesions": lambda out: save_review(out, lesions_sha256="0" * 64),
    "other session": lambda out: save_review(out, session="sub-99"),
    "no session": lambda out: save_review(out, session="../x"),
    "no decisions": lambda out: save_review(out, decisions=None),
    "label of the background": lambda out: save_review(out, {"marker": "CMB", "label": 0, "verdict": "relabel", "as": "lacune"}),
    "label without end": lambda out: save_review(out, {"marker": "CMB", "label": float("inf"), "verdict": "wrong"}),
    "label that is no number": lambda out: save_review(out, {"marker": "CMB", "label": True, "verdict": "wrong"}),
    "hash that is no text": lambda out: save_review(out, lesions_sha256=5),
    "another run": lambda out: save_review(out, digest="e" * 64, earlier_reviews=[]),
    "other reviews before": lambda out: save_review(out, digest="d" * 64, earlier_reviews=["r.json, SHA-256 f00"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_review_is_refused_and_nothing_changes(out: Path, name: str) -> None:
    path = WRONG[name](out)
    before = snapshot(out)
    with pytest.raises(InputError, match=r"Found: .*Expected: .*To do: "):
        apply_reviews(out, [path])
    assert snapshot(out) == before


def test_a_review_of_no_lesions_has_to_tell_which_scans(tmp_path: Path) -> None:
    write_painted(tmp_path, paint_result(lesions={}))
    with pytest.raises(InputError, match=r"nothing tells the scans.*To do: move sub-01_ses-a.html away"):
        apply_reviews(tmp_path, [save_review(tmp_path, note="none, indeed")])
    apply_reviews(tmp_path, [save_review(tmp_path, note="none, indeed", digest="d" * 64, earlier_reviews=[])])
    assert record(tmp_path)["reviews"][0]["changes"] == ["Remark: none, indeed"]


def test_a_review_that_was_applied_is_skipped_until_it_is_taken_back(out: Path) -> None:
    said: list[str] = []
    path = save_review(out, {"marker": "CMB", "label": 1, "verdict": "right"}, digest="d" * 64, earlier_reviews=[])
    apply_reviews(out, [path], said.append)
    before = snapshot(out)
    apply_reviews(out, [path], said.append)
    assert snapshot(out) == before
    assert said[1:] == [f"{ID}: {path.name} was applied before and is skipped."]
    revert_review(out, ID)
    apply_reviews(out, [path], said.append)
    assert "was measured again" in said[2]


def test_reviews_after_one_that_is_refused_are_applied(out: Path) -> None:
    write_painted(out, paint_result(subject="02"))
    damaged, other = out / "sub-00_review.json", out / "sub-02_review.json"
    damaged.write_text("{")
    good = save_review(out, {"marker": "CMB", "label": 1, "verdict": "wrong"})
    other.write_text(json.dumps(json.loads(good.read_text()) | {"session": "sub-02_ses-a", "lesions_sha256": "0" * 64}))
    with pytest.raises(InputError, match=r"2 of 3 reviews that were refused.*sub-00_review.json.*other lesions than sub-02_ses-a"):
        apply_reviews(out, sorted(out.glob("*_review.json")))
    assert [row["cmb_count"] for row in read_rows(out / "measures.tsv")] == ["1", "2"]


@pytest.mark.parametrize("by", ["review", "mask"])
def test_a_reviewers_name_stands_on_one_line(out: Path, tmp_path: Path, by: str) -> None:
    name = " J.\tSmith \n jr. "
    if by == "review":
        apply_reviews(out, [save_review(out, {"marker": "CMB", "label": 1, "verdict": "right"}, reviewer=name)])
    else:
        shutil.copy(out / FILES.image(Sequence.SWI, "label-CMB_mask"), tmp_path / "drawn.nii.gz")
        with pytest.raises(SystemExit):
            main(["review", "apply", str(out), "--mask", str(tmp_path / "drawn.nii.gz"), "--marker", "CMB", "--reviewer", name])
    (row,) = read_rows(out / "measures.tsv")
    assert row["reviewed_by"] == "J. Smith jr."


def test_markers_that_were_not_assessed_cannot_be_reviewed(tmp_path: Path) -> None:
    write_painted(tmp_path, paint_result(sequences=(Sequence.FLAIR,)))
    decision = {"marker": "lacune", "label": 1, "verdict": "relabel", "as": "CMB"}
    with pytest.raises(InputError, match="CMB, which was not assessed"):
        apply_reviews(tmp_path, [save_review(tmp_path, decision)])
