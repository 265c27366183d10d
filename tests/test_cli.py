from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phantoms import ball, head_image, make_grid, write_bids
from smallvessel import __version__
from smallvessel.cli import main, repeat_option_names
from smallvessel.config import PeriventricularRule, Settings
from smallvessel.markers import MARKERS, Marker, Sequence
from smallvessel.models import describe_networks, load_card
from smallvessel.provenance import model_versions
from smallvessel.records import RunSummary, SessionFailure, SessionId, SessionSource
from smallvessel.run import Outcome
from smallvessel.scales import SCALES
from smallvessel.volume import Mask, write_volume

GRID = make_grid((24, 28, 22), (8.0, 8.0, 8.0))


@dataclass
class Call:
    """What the command line asked of the scheduler; sessions of a subject called bad fail."""

    sources: tuple[SessionSource, ...] = ()
    out: Path = Path()
    settings: Settings = field(default_factory=Settings)
    jobs: int | None = None
    force: bool = False

    def run_sessions(
        self,
        sources: Iterable[SessionSource],
        out: Path,
        settings: Settings,
        jobs: int | None,
        force: bool,
        notify: Callable[[Outcome], None],
        tell: Callable[[str], None],
    ) -> RunSummary:
        self.sources, self.out, self.settings, self.jobs, self.force = tuple(sources), out, settings, jobs, force
        failed = tuple(SessionFailure(s.id, "intake", "not a [head]") for s in self.sources if s.id.subject == "bad")
        tell("sub-old is left out of the table.")
        for failure in failed:
            notify(Outcome(failure.id, "failed", 1.0, failure))
        done = tuple(source.id for source in self.sources if source.id.subject != "bad")
        for id in done:
            notify(Outcome(id, "completed", 1.0))
        return RunSummary(done, (), failed)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    call = Call()
    monkeypatch.setattr("smallvessel.run.run_sessions", call.run_sessions)
    return call


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    image = {Sequence.FLAIR: head_image(GRID)}
    return write_bids(tmp_path / "bids", {SessionId("01", "a"): image, SessionId("01", "b"): image, SessionId("02", "a"): image})


def smallvessel(*arguments: object) -> int:
    """Exit code of a command line."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def ids(call: Call) -> list[str]:
    return [str(source.id) for source in call.sources]


def test_a_bids_folder_and_an_output_folder(call: Call, bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smallvessel("run", bids, tmp_path / "out") == 0
    assert ids(call) == ["sub-01_ses-a", "sub-01_ses-b", "sub-02_ses-a"]
    assert (call.out, call.jobs, call.force, call.settings) == (tmp_path / "out", None, False, Settings())
    assert "3 measured" in capsys.readouterr().out


def test_options_take_several_words(call: Call, bids: Path, tmp_path: Path) -> None:
    options = ["--participant-label", "01", "sub-02", "--session-label", "a", "--markers", "wmh", "cmb", "--jobs", "3", "--force"]
    options.append("--trust-header")
    assert smallvessel("run", bids, tmp_path / "out", *options) == 0
    assert ids(call) == ["sub-01_ses-a", "sub-02_ses-a"]
    assert (call.jobs, call.force) == (3, True)
    assert call.settings == Settings(markers=(Marker.WMH, Marker.CMB), trust_header=True)


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("B O --participant-label 01 02", "B O --participant-label 01 --participant-label 02"),
        ("--markers wmh cmb B O", "--markers wmh --markers cmb B O"),
        ("--markers B O", "--markers B O"),
        ("--participant-label 01 --jobs 2 B O", "--participant-label 01 --jobs 2 B O"),
        ("--session-label a b --force O", "--session-label a --session-label b --force O"),
        ("B O --participant-label=01", "B O --participant-label=01"),
    ],
)
def test_words_after_an_option(given: str, understood: str) -> None:
    assert repeat_option_names(given.split()) == understood.split()


def test_plain_files_and_an_output_folder(call: Call, bids: Path, tmp_path: Path) -> None:
    flair = next(bids.rglob("*FLAIR.nii.gz"))
    assert smallvessel("run", "--flair", flair, "--swi", flair, tmp_path / "out") == 0
    assert call.sources[0].files == {Sequence.FLAIR: flair, Sequence.SWI: flair}
    assert str(call.sources[0].id) == "sub-01"
    assert smallvessel("run", tmp_path / "out", "--t1w", flair, "--participant-label", "sub-x7") == 0
    assert str(call.sources[0].id) == "sub-x7"


def test_settings_come_from_a_file_and_options_go_before_it(call: Call, bids: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('markers = ["EPVS"]\n[measure]\nperiventricular_rule = "touching"\n')
    assert smallvessel("run", bids, tmp_path / "out", "--settings", tmp_path / "s.toml") == 0
    assert call.settings.markers == (Marker.EPVS,)
    assert not call.settings.z_over_assessed
    assert smallvessel("run", bids, tmp_path / "out", "--settings", tmp_path / "s.toml", "--markers", "WMH", "--z-over-assessed") == 0
    assert call.settings.markers == (Marker.WMH,)
    assert call.settings.z_over_assessed
    assert call.settings.measure.periventricular_rule is PeriventricularRule.TOUCHING


def test_a_failed_session_gives_exit_code_1_and_is_named(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = {Sequence.FLAIR: head_image(GRID)}
    bids = write_bids(tmp_path / "bids", {SessionId("01"): image, SessionId("bad"): image})
    assert smallvessel("run", bids, tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert "failed sub-bad in intake: not a [head]" in shown.err
    assert "sub-old is left out of the table" in shown.err
    assert "1 measured, 1 failed" in shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run", "Missing argument"),
        ("run OUT", "a BIDS folder and an output folder"),
        ("run BIDS OUT more", "3 folders"),
        ("run BIDS BIDS", "which is the BIDS folder"),
        ("run nowhere OUT", "nothing at"),
        ("run BIDS OUT --markers tumour", "markers = 'tumour'"),
        ("run BIDS OUT --participant-label 77", "unknown participant label"),
        ("run BIDS OUT --jobs 0", "--jobs"),
        ("run OUT --flair nowhere.nii.gz", "does not exist"),
        ("run BIDS OUT --flair FLAIR", "one output folder"),
        ("run BIDS OUT --settings SETTINGS", "unknown settings speed"),
        ("run BIDS OUT --colour", "No such option"),
        ("dance", "No such command"),
        ("evaluate FLAIR BIDS", "two files or two folders"),
        ("evaluate EMPTY BIDS", "no mask of"),
    ],
)
def test_a_wrong_call_gives_exit_code_2_and_says_why(
    arguments: str, said: str, call: Call, bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.toml").write_text("speed = 3\n")
    (tmp_path / "empty").mkdir()
    named = {"BIDS": bids, "OUT": tmp_path / "out", "FLAIR": next(bids.rglob("*FLAIR.nii.gz")), "SETTINGS": tmp_path / "s.toml"}
    named["EMPTY"] = tmp_path / "empty"
    assert smallvessel(*(named.get(word, word) for word in arguments.split())) == 2
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in shown
    assert "Traceback" not in shown
    assert call.sources == ()


def test_a_defect_is_one_line_and_a_file_with_the_traceback(
    bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr("smallvessel.run.run_sessions", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert smallvessel("run", bids, tmp_path / "out") == 2
    shown = capsys.readouterr().err
    assert "Unexpected ZeroDivisionError: by chance" in shown
    assert "Traceback" not in shown
    assert "Traceback" in next(tmp_path.glob("smallvessel-error-*.log")).read_text()


def test_a_full_disk_is_no_defect(bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out/measures.tsv")

    monkeypatch.setattr("smallvessel.run.run_sessions", fail)
    assert smallvessel("run", bids, tmp_path / "out") == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "No space left on device" in shown
    assert "Make room" in shown
    assert "report it" not in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert smallvessel("--version") == 0
    assert capsys.readouterr().out == f"smallvessel {__version__}\n"


def write_masks(folder: Path, radius_mm: float) -> Path:
    grid = make_grid((20, 20, 20), (2.0, 2.0, 2.0))
    write_volume(folder / "sub-01/a_mask.nii.gz", Mask(ball(grid, (0, 0, 0), radius_mm), grid))
    return folder


def evaluate(*arguments: object, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert smallvessel("evaluate", *arguments, "--json") == 0
    records: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return records


def test_evaluate_pairs_masks_by_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, theirs = write_masks(tmp_path / "mine", 8.0), write_masks(tmp_path / "theirs", 8.0)
    (record,) = evaluate(mine, theirs, capsys=capsys)
    assert record["mask"] == "sub-01/a_mask.nii.gz"
    assert (record["dice"], record["lesion_f1"], record["false_lesions"]) == (1.0, 1.0, 0)
    assert smallvessel("evaluate", mine, theirs) == 0
    assert "1.000" in capsys.readouterr().out


def test_evaluate_says_what_cannot_be_assessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = make_grid((20, 20, 20), (2.0, 2.0, 2.0))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, Mask(np.zeros(grid.shape, bool), grid))
    (record,) = evaluate(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", capsys=capsys)
    assert record["dice"] == {"not_assessed": "the reference and the prediction are both empty"}


def test_doctor_and_info_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert smallvessel("doctor") == 0
    shown = capsys.readouterr().out
    assert "network anatomy: version" in shown
    assert "network markers: version" in shown
    assert smallvessel("info") == 0
    shown = capsys.readouterr().out
    assert all(f"\u2502 {marker} " in shown for marker in Marker)
    assert smallvessel("info", "scores") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0 to 7" in shown
    assert all(" ".join(text.split()) in shown for info in SCALES.values() for text in (info.name, info.rule, info.citation))
    assert "1 above 0, 2 from 5, 3 from 10 mm" in shown
    assert smallvessel("info", "weather") == 2


def test_a_reference_is_fitted_and_one_of_other_weights_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = [
        "icv_ml",
        *(f"{info.column}_{kind}" for info in MARKERS.values() for kind in ("volume_ml", "count")),
        "qc_status",
        "networks",
    ]
    networks = describe_networks({**model_versions(), "markers": "0.0.9 sha256:older"})
    rows = [["1400", *["1.5", str(i)] * len(MARKERS), "pass", networks] for i in range(12)]
    table, target = tmp_path / "measures.tsv", tmp_path / "controls.json"
    table.write_text("".join("\t".join(row) + "\n" for row in (columns, *rows)))
    assert smallvessel("reference", "fit", table, target, "--name", "controls") == 0
    assert "controls" in capsys.readouterr().out
    assert smallvessel("reference", "fit", table, target, "--name", "controls", "--transform", "sqrt") == 2
    assert json.loads(target.read_text())["models"]["markers"] == "0.0.9 sha256:older"
    write_bids(tmp_path / "raw", {SessionId("01"): {Sequence.FLAIR: head_image(GRID)}})
    assert smallvessel("run", tmp_path / "raw", tmp_path / "out", "--reference", target) == 2
    assert "measured with another network (markers)" in capsys.readouterr().err
    table.write_text("".join("\t".join(row[:-1]) + "\n" for row in (columns, *rows)))
    assert smallvessel("reference", "fit", table, target, "--name", "controls") == 2
    assert "does not say which networks" in capsys.readouterr().err
    assert smallvessel("reference", "fit", table, target, "--name", "controls", "--allow-model-mismatch") == 0
    assert json.loads(target.read_text())["models"] == {}


def test_doctor_fails_on_damaged_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallvessel.doctor.load_card", lambda name: load_card(name, tmp_path))
    assert smallvessel("doctor") == 1
    assert "FAIL network anatomy" in capsys.readouterr().out


def test_help_keeps_what_stands_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    assert smallvessel("run", "--help") == 0
    assert "extra [pdf]" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_the_installed_command_answers() -> None:
    command = Path(sys.executable).with_name("smallvessel")
    answer = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout == f"smallvessel {__version__}\n"


def test_a_folder_whose_name_is_not_utf8_can_be_told(call: Call, bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smallvessel("run", bids, tmp_path / b"m\xfcller".decode(errors="surrogateescape")) == 0
    assert r"m\udcfcller" in capsys.readouterr().out
