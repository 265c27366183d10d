from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import fake_sessions
from painted import paint_result, write_painted
from results import make_result
from smallvessel import run as scheduler
from smallvessel.config import Settings
from smallvessel.dataset import start_dataset
from smallvessel.derivatives import finish_session, is_finished, session_files, write_session
from smallvessel.errors import InputError
from smallvessel.markers import Marker, Sequence
from smallvessel.provenance import hash_inputs, run_digest
from smallvessel.records import ImageFile, Review, RunSummary, Session, SessionFailure, SessionId, SessionResult, SessionSource
from smallvessel.run import Outcome, count_cores, default_jobs, measure_or_skip, run_sessions

NO_REPORT = Settings(write_report=False)
MODELS = {"anatomy": "1.0 sha256:a", "markers": "1.0 sha256:b"}


@pytest.fixture(autouse=True)
def model_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallvessel.provenance.model_versions", lambda: MODELS)


def run(names: str, out: Path, jobs: int = 2) -> tuple[RunSummary, list[Outcome]]:
    seen: list[Outcome] = []
    sources = tuple(SessionSource(SessionId(name), {}) for name in names.split())
    summary = run_sessions(sources, out, Settings(), jobs, notify=seen.append, process=fake_sessions.act_by_name)
    return summary, seen


def names(ids: tuple[SessionId, ...]) -> list[str]:
    return [id.subject for id in ids]


def test_every_way_to_fail_costs_only_its_own_session(tmp_path: Path) -> None:
    summary, seen = run("slow1 killed1 good1 raises1 exits1 fails1 skipped1 good2", tmp_path)
    assert names(summary.completed) == ["slow1", "good1", "good2"]
    assert names(summary.skipped) == ["skipped1"]
    failures = {failure.id.subject: failure for failure in summary.failed}
    assert list(failures) == ["killed1", "raises1", "exits1", "fails1"]
    assert "killed (signal 9)" in failures["killed1"].message
    assert "--jobs" in failures["killed1"].message
    assert "exit code 3" in failures["exits1"].message
    assert "RuntimeError: out of luck" in failures["raises1"].message
    assert failures["fails1"].message == "not a head"
    assert len(seen) == 8
    assert (tmp_path / "measures.tsv").exists()


def test_a_killed_session_leaves_no_results_behind(tmp_path: Path) -> None:
    result = make_result(SessionId("killed1"))
    finish_session(result, tmp_path / "out", write_session(result, tmp_path / "out"))
    (tmp_path / "out/dataset_description.json").write_text('{"GeneratedBy": [{"Name": "smallvessel"}]}')
    assert is_finished(tmp_path / "out", result.id, result.provenance.digest)
    run("killed1", tmp_path / "out")
    assert not (tmp_path / "out" / session_files(result.id).measures).exists()


def test_a_worker_that_dies_before_it_measures_leaves_the_session_as_it_was(tmp_path: Path) -> None:
    result = make_result(SessionId("unmeasured1"))
    files = session_files(result.id)
    finish_session(result, tmp_path / "out", write_session(result, tmp_path / "out"))
    (tmp_path / "out/dataset_description.json").write_text('{"GeneratedBy": [{"Name": "smallvessel"}]}')
    (tmp_path / "out" / files.log).parent.mkdir()
    (tmp_path / "out" / files.log).write_text("of the earlier run")
    summary, _ = run("unmeasured1", tmp_path / "out")
    assert "killed (signal 9)" in summary.failed[0].message
    assert is_finished(tmp_path / "out", result.id, result.provenance.digest)


def test_a_page_of_all_sessions_that_is_there_is_kept_up_to_date(tmp_path: Path) -> None:
    out, source = tmp_path / "out", SessionSource(SessionId("skipped1"), {})

    def finish() -> None:
        result = make_result(source.id)
        finish_session(result, out, write_session(result, out))
        run_sessions((source,), out, NO_REPORT, 1, process=fake_sessions.act_by_name)

    start_dataset(out, "0.1.0", MODELS)
    finish()
    assert not (out / "index.html").exists()
    (out / "index.html").write_text("an old page")
    finish()
    assert "sub-skipped1" in (out / "index.html").read_text(encoding="utf-8")


def test_the_damaged_record_of_a_session_of_an_earlier_run_is_told(tmp_path: Path) -> None:
    path = tmp_path / "out" / session_files(SessionId("old")).measures
    path.parent.mkdir(parents=True)
    path.write_text("")
    said: list[str] = []
    source = SessionSource(SessionId("good1"), {})
    run_sessions((source,), tmp_path / "out", NO_REPORT, 1, process=fake_sessions.act_by_name, tell=said.append)
    assert [sentence.split(".")[0] for sentence in said] == ["sub-old is left out of the table"]


def test_workers_share_the_cores_and_do_several_sessions_each(tmp_path: Path) -> None:
    run("slow1 slow2 slow3 slow4", tmp_path, jobs=2)
    words = [(tmp_path / f"slow{n}.txt").read_text().split() for n in (1, 2, 3, 4)]
    given = os.environ.get("OMP_NUM_THREADS", str(max(1, count_cores() // 2)))
    assert {word[0] for word in words} == {given}
    assert len({word[-1] for word in words}) == 2


def test_the_environment_is_as_before(tmp_path: Path) -> None:
    before = dict(os.environ)
    run("good1", tmp_path)
    assert dict(os.environ) == before


def test_jobs_fit_cores_memory_and_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "count_cores", lambda: 8)
    monkeypatch.setattr(scheduler, "memory_gb", lambda: 14.0)
    assert default_jobs(100) == 3
    assert default_jobs(2) == 2
    monkeypatch.setattr(scheduler, "memory_gb", lambda: 2.0)
    assert default_jobs(100) == 1
    monkeypatch.setattr(scheduler, "memory_gb", lambda: 1000.0)
    assert default_jobs(100) == 8


def test_no_jobs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 or more"):
        run("good1", tmp_path, jobs=0)


def test_a_review_that_was_cut_off_is_told_and_not_measured_over(
    finished: SessionSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smallvessel.pipeline.process_session", lambda source, *_: source.id)
    out, files = tmp_path / "out", session_files(finished.id)
    (out / files.original).mkdir()
    (out / files.measures).rename(out / files.kept(files.measures))
    outcome = measure_or_skip(finished, out, NO_REPORT, False)
    assert outcome.failure is not None
    assert "smallvessel review revert OUT --session sub-01" in outcome.failure.message
    assert measure_or_skip(finished, out, NO_REPORT, True).status == "completed"


@pytest.fixture
def finished(tmp_path: Path) -> SessionSource:
    """A session that an earlier run finished in the folder out."""
    path = tmp_path / "flair.nii.gz"
    path.write_bytes(b"an image")
    source = SessionSource(SessionId("01"), {Sequence.FLAIR: path})
    result = make_result(source.id, run_digest(hash_inputs(source), Settings(), MODELS))
    finish_session(result, tmp_path / "out", write_session(result, tmp_path / "out"))
    return source


def test_only_what_is_finished_with_the_same_inputs_and_settings_is_skipped(
    finished: SessionSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smallvessel.pipeline.process_session", lambda source, *_: source.id)
    out = tmp_path / "out"
    assert measure_or_skip(finished, out, NO_REPORT, False).status == "skipped"
    assert measure_or_skip(finished, out, Settings(), True).status == "completed"
    assert measure_or_skip(finished, out, Settings(markers=(Marker.WMH,)), False).status == "completed"
    assert measure_or_skip(finished, tmp_path / "elsewhere", Settings(), False).status == "completed"
    finished.files[Sequence.FLAIR].write_bytes(b"another image")
    assert measure_or_skip(finished, out, NO_REPORT, False).status == "completed"


@pytest.mark.parametrize("change", ["settings", "scan", "file"])
def test_a_reviewed_session_is_measured_anew_only_by_force(
    finished: SessionSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr("smallvessel.pipeline.process_session", lambda source, *_: source.id)
    out, settings = tmp_path / "out", NO_REPORT
    path = out / session_files(finished.id).measures
    review = {"reviewer": "A. Reader", "saved_at": "", "applied_at": "", "source": "", "changes": []}
    path.write_text(json.dumps({**json.loads(path.read_text()), "reviews": [review]}))
    assert measure_or_skip(finished, out, settings, False).note == ""
    if change == "settings":
        settings = Settings(markers=(Marker.WMH,))
    elif change == "scan":
        finished.files[Sequence.FLAIR].write_bytes(b"another image")
    else:
        (out / session_files(finished.id).lesions).unlink()
    outcome = measure_or_skip(finished, out, settings, False)
    assert outcome.status == "skipped"
    assert "reviewed by A. Reader" in outcome.note
    assert "--force" in outcome.note
    assert measure_or_skip(finished, out, settings, True).status == "completed"


def scans_of(result: SessionResult) -> Session:
    images = result.prepared.images
    return Session(result.id, {name: ImageFile(Path(f"{name}.nii.gz"), name, image, "a" * 64) for name, image in images.items()})


def test_a_report_that_a_finished_session_lacks_is_added_without_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = paint_result()
    source = SessionSource(result.id, {})
    provenance = replace(result.provenance, digest=run_digest({}, Settings(), MODELS), settings=NO_REPORT.as_dict())
    write_painted(tmp_path, replace(result, provenance=provenance))
    files = session_files(source.id)
    record = json.loads((tmp_path / files.measures).read_text())
    record["files"].remove(files.thumbnail.as_posix())
    (tmp_path / files.measures).write_text(json.dumps(record))
    picture = (tmp_path / files.thumbnail).read_bytes()
    (tmp_path / files.thumbnail).unlink()
    monkeypatch.setattr("smallvessel.pipeline.process_session", lambda *_: pytest.fail("it was measured anew"))
    monkeypatch.setattr("smallvessel.redraw.load_session", lambda *_: pytest.fail("the scans were read"))
    outcome = measure_or_skip(source, tmp_path, Settings(), False)
    assert (outcome.status, outcome.note) == ("skipped", f"{files.thumbnail.name} added; nothing was measured anew")
    assert (tmp_path / files.thumbnail).read_bytes() == picture
    assert files.thumbnail.as_posix() in json.loads((tmp_path / files.measures).read_text())["files"]
    assert measure_or_skip(source, tmp_path, Settings(), False).note == ""


def write_unlisted(out: Path, result: SessionResult, *unlisted: Path) -> str:
    """Write a finished session whose record does not list some of its files; returns its report."""
    files = session_files(result.id)
    provenance = replace(result.provenance, digest=run_digest({}, Settings(), MODELS), settings=NO_REPORT.as_dict())
    write_painted(out, replace(result, provenance=provenance))
    record = json.loads((out / files.measures).read_text())
    record["files"] = [name for name in record["files"] if Path(name) not in unlisted]
    (out / files.measures).write_text(json.dumps(record))
    return (out / files.report).read_text(encoding="utf-8")


def test_a_report_that_no_record_names_is_of_an_earlier_run_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = paint_result()
    source, files = SessionSource(result.id, {}), session_files(result.id)
    before = write_unlisted(tmp_path, result, files.report)
    (tmp_path / files.report).write_text("the page of other scans")
    monkeypatch.setattr("smallvessel.redraw.load_session", lambda *_: scans_of(result))
    assert measure_or_skip(source, tmp_path, Settings(), False).note.startswith(f"{files.report.name} added")
    assert (tmp_path / files.report).read_text(encoding="utf-8") == before


def test_a_reviewed_session_whose_report_was_moved_away_gets_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = paint_result()
    source, files = SessionSource(result.id, {}), session_files(result.id)
    review = Review("A. Reader", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "r.json", ())
    provenance = replace(result.provenance, digest=run_digest({}, Settings(), MODELS), settings=Settings().as_dict())
    write_painted(tmp_path, replace(result, provenance=provenance, reviews=(review,)))
    (tmp_path / files.report).unlink()
    monkeypatch.setattr("smallvessel.redraw.load_session", lambda *_: scans_of(result))
    outcome = measure_or_skip(source, tmp_path, Settings(), False)
    assert (outcome.status, outcome.note) == ("skipped", f"{files.report.name} added; nothing was measured anew")
    assert "Reviewed by A. Reader" in (tmp_path / files.report).read_text(encoding="utf-8")


def test_a_report_that_was_not_asked_for_before_is_made_from_the_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = paint_result()
    source, files = SessionSource(result.id, {}), session_files(result.id)
    before = write_unlisted(tmp_path, result, files.report, files.thumbnail)
    (tmp_path / files.report).unlink()
    (tmp_path / files.thumbnail).unlink()
    monkeypatch.setattr("smallvessel.redraw.load_session", lambda *_: scans_of(result))
    assert measure_or_skip(source, tmp_path, NO_REPORT, False).note == ""
    assert measure_or_skip(source, tmp_path, Settings(), False).note.startswith(f"{files.report.name}, {files.thumbnail.name} added")
    assert (tmp_path / files.report).read_text(encoding="utf-8") == before


def test_a_finished_session_whose_input_is_gone_is_not_called_finished(
    finished: SessionSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = SessionFailure(finished.id, "intake", "no file")
    monkeypatch.setattr("smallvessel.pipeline.process_session", lambda *_: failure)
    finished.files[Sequence.FLAIR].unlink()
    outcome = measure_or_skip(finished, tmp_path / "out", Settings(), False)
    assert (outcome.status, outcome.failure) == ("failed", failure)
