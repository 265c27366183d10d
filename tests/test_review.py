"""A person's review changes what it says and nothing else, is recorded, and can be taken back."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from painted import paint_result, write_painted
from phantoms import ball, make_grid
from results import read_rows
from smallvessel.cli import main
from smallvessel.config import MeasureSettings
from smallvessel.derivatives import finish_session, is_finished, session_files, start_dataset, write_session
from smallvessel.errors import GeometryError, InputError
from smallvessel.markers import Marker, Sequence
from smallvessel.measure import measure_session
from smallvessel.records import MarkerMap, Native, NotAssessed, Segmentation, SessionId
from smallvessel.restore import list_sessions, parse_session, read_session
from smallvessel.review import FORMAT, apply_mask, apply_reviews, revert_review
from smallvessel.segment.native import bring_to_native
from smallvessel.tables import lesions_digest, session_record
from smallvessel.volume import Grid, Mask, Transform, read_mask, write_volume

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
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_review_is_refused_and_nothing_changes(out: Path, name: str) -> None:
    path = WRONG[name](out)
    before = snapshot(out)
    with pytest.raises(InputError, match=r"Found: .*Expected: .*To do: "):
        apply_reviews(out, [path])
    assert snapshot(out) == before


def test_markers_that_were_not_assessed_cannot_be_reviewed(tmp_path: Path) -> None:
    write_painted(tmp_path, paint_result(sequences=(Sequence.FLAIR,)))
    decision = {"marker": "lacune", "label": 1, "verdict": "relabel", "as": "CMB"}
    with pytest.raises(InputError, match="CMB, which was not assessed"):
        apply_reviews(tmp_path, [save_review(tmp_path, decision)])
