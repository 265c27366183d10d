from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from results import make_result
from smallvessel import __version__
from smallvessel.config import MeasureSettings, PeriventricularRule, Settings
from smallvessel.errors import InputError
from smallvessel.markers import STRIVE, Marker, Sequence
from smallvessel.models import load_card
from smallvessel.provenance import Journal, hash_inputs, make_provenance, methods_paragraph, package_versions, peak_memory_mb, run_digest
from smallvessel.records import ImageFile, Session, SessionId, SessionSource

INPUTS = {Sequence.FLAIR: "f" * 64, Sequence.T1W: "1" * 64}
MODELS = {"anatomy": "1.0 sha256:a"}
DIGEST = run_digest(INPUTS, Settings(), MODELS)


def test_the_digest_ignores_the_order_of_the_inputs() -> None:
    assert run_digest(dict(reversed(INPUTS.items())), Settings(), MODELS) == DIGEST


@pytest.mark.parametrize(
    ("inputs", "settings", "models"),
    [
        ({Sequence.FLAIR: "f" * 64}, Settings(), MODELS),
        ({**INPUTS, Sequence.T1W: "2" * 64}, Settings(), MODELS),
        ({Sequence.FLAIR: "f" * 64, Sequence.T2W: "1" * 64}, Settings(), MODELS),
        (INPUTS, Settings(markers=(Marker.WMH,)), MODELS),
        (INPUTS, Settings(measure=MeasureSettings(periventricular_rule=PeriventricularRule.TOUCHING)), MODELS),
        (INPUTS, Settings(), {"anatomy": "1.1 sha256:a"}),
    ],
    ids=["a file less", "another file", "another sequence", "other markers", "another rule", "other weights"],
)
def test_whatever_decides_a_result_changes_the_digest(inputs: dict[Sequence, str], settings: Settings, models: dict[str, str]) -> None:
    assert run_digest(inputs, settings, models) != DIGEST


def test_another_version_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallvessel.provenance.__version__", "99.0")
    assert run_digest(INPUTS, Settings(), MODELS) != DIGEST


def test_inputs_are_hashed_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"abc")
    source = SessionSource(SessionId("01"), {Sequence.FLAIR: tmp_path / "a.nii"})
    assert hash_inputs(source) == {Sequence.FLAIR: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}


def test_the_journal_times_stages_and_appends_at_once(tmp_path: Path) -> None:
    log = tmp_path / "logs/sub-01.log"
    journal = Journal(log, SessionId("01"))
    with journal.stage("intake"):
        journal.say("FLAIR: the only one.")
        assert "[intake] FLAIR: the only one." in log.read_text()
        time.sleep(0.02)
    assert 0.02 <= journal.timings_s["intake"] < 5
    assert journal.sentences == ["FLAIR: the only one."]


def test_an_expected_failure_is_told_without_traceback(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "sub-01.log", SessionId("01"))
    with pytest.raises(InputError) as caught, journal.stage("prepare"):
        raise InputError("a stone", "a head", "scan again")
    failure = journal.failure(caught.value)
    assert (failure.stage, failure.message) == ("prepare", "Found: a stone. Expected: a head. To do: scan again.")
    assert "Traceback" not in (tmp_path / "sub-01.log").read_text()


def test_an_unexpected_failure_is_one_line_with_the_traceback_in_the_log(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "sub-01.log", SessionId("01"))
    with pytest.raises(ZeroDivisionError) as caught, journal.stage("measure"):
        _ = 1 // 0
    failure = journal.failure(caught.value)
    assert failure.message == "Unexpected ZeroDivisionError: integer division or modulo by zero (traceback in sub-01.log)"
    assert "Traceback" in (tmp_path / "sub-01.log").read_text()


LATIN_1 = b"schr\xe4g".decode(errors="surrogateescape")
"""A name as an old archive leaves it: its bytes are not UTF-8."""


def test_names_that_are_not_utf8_are_spelled_out_in_log_and_failure(tmp_path: Path) -> None:
    log = tmp_path / "sub-01.log"
    journal = Journal(log, SessionId("01"))
    journal.say(f"{LATIN_1} was left out.")
    assert journal.sentences == [r"schr\udce4g was left out."]
    expected = journal.failure(InputError(LATIN_1, "a head", f"rename {LATIN_1}"))
    assert expected.message == r"Found: schr\udce4g. Expected: a head. To do: rename schr\udce4g."
    unexpected = journal.failure(ValueError(LATIN_1))
    assert unexpected.message == r"Unexpected ValueError: schr\udce4g (traceback in sub-01.log)"
    assert log.read_text(encoding="utf-8").count(r"schr\udce4g") == 5


def test_the_source_of_an_image_can_be_written_whatever_its_name(tmp_path: Path) -> None:
    result = make_result()
    image = ImageFile(tmp_path / f"{LATIN_1}.nii", Sequence.FLAIR, next(iter(result.prepared.images.values())), "f" * 64)
    session = Session(result.id, {Sequence.FLAIR: image}, ())
    journal = Journal(tmp_path / "sub-01.log", result.id)
    made = make_provenance(session, result.prepared, result.segmentation, Settings(), journal)
    assert made.sources == {"FLAIR": r"schr\udce4g.nii"}


def test_the_methods_name_what_was_done_and_nothing_else() -> None:
    result = make_result()
    text = methods_paragraph(result.prepared, replace(result.segmentation, steps=("Two markers were segmented.",)))
    assert text.startswith(f"Images (FLAIR and T1w) were processed with smallvessel {__version__}")
    assert "T1w was registered to FLAIR. Two markers were segmented." in text
    assert "white matter hyperintensities and lacunes" in text
    assert STRIVE in text
    assert "microbleeds" not in text
    assert ".." not in text


def test_versions_and_memory_of_this_process() -> None:
    versions = package_versions()
    assert versions["python"].startswith("3.")
    assert versions["numpy"][0].isdigit()
    assert 20 < peak_memory_mb() < 100_000


def test_another_threshold_is_another_network_to_whoever_compares_results() -> None:
    card = load_card("markers")
    stricter = {**card.thresholds, "WMH": {**card.thresholds["WMH"], "probability": 0.99}}
    assert replace(card).identity == card.identity
    assert replace(card, thresholds=stricter).identity != card.identity
    assert load_card("anatomy").identity.endswith(load_card("anatomy").sha256)
