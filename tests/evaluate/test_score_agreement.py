"""The table of scores from predicted against true masks, on sessions whose agreement is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import agreement
from results import make_result
from smallvessel.derivatives import finish_session, write_session
from smallvessel.evaluate import Estimate
from smallvessel.markers import Marker
from smallvessel.records import MarkerMap, MarkerMeasures, Measurements, NotAssessed, Score, SessionId
from smallvessel.scales import SCALES, Scale
from smallvessel.simulate.truth import truth_path
from smallvessel.volume import Mask, write_volume


def measurements(severity: int, missing: tuple[Marker, ...] = ()) -> Measurements:
    """Volumes, counts and grades that rise with a severity."""
    markers = {
        m: NotAssessed("needs SWI")
        if m in missing
        else MarkerMeasures(m, 0.5 * severity * (1 + at), severity + at, {}, {}, count_range=(severity, severity + at + 1))
        for at, m in enumerate(Marker)
    }
    scores = {scale: Score(min(severity, info.highest), "", "") for scale, info in SCALES.items()}
    return Measurements(1400.0, 1300.0, {}, markers, (), scores)


def sessions(n: int, shift: int = 0) -> list[agreement.Both]:
    return [agreement.Both(SessionId(f"{at:02d}"), "markers 1 sha256:a", measurements(at), measurements(at + shift)) for at in range(n)]


def rows_of(found: list[agreement.Both]) -> dict[str, agreement.Row]:
    return {row.name: row for row in agreement.compare(found)}


def value(found: Estimate | NotAssessed) -> float:
    assert isinstance(found, Estimate)
    return found.value


def test_equal_masks_agree_perfectly_and_meet_what_is_asked_for() -> None:
    rows = rows_of(sessions(12))
    assert set(agreement.ASKED) <= set(rows)
    assert all(value(row.found) == pytest.approx(1.0) and value(row.error) == 0 for row in rows.values())
    assert {row.met for row in rows.values()} == {"yes", ""}
    assert rows["Z of all markers, by volume"].n == 12


def test_shifted_masks_are_told_by_their_mean_error_and_do_not_meet_it() -> None:
    rows = rows_of(sessions(12, shift=6))
    lacunes = rows["lacunes, number"]
    assert value(lacunes.error) == pytest.approx(6.0)
    assert (lacunes.equal, lacunes.met) == (0.0, "no")
    assert value(rows["Z of all markers, by volume"].error) > 0.5


def test_z_is_the_packages_own() -> None:
    both = sessions(12, shift=1)
    reference = agreement.reference_of([one.true for one in both])
    shares = [1000 * 0.5 * at / 1400 for at in range(12)]
    assert reference.volume[Marker.WMH].mean == pytest.approx(np.mean(np.log1p(shares)))
    assert reference.count[Marker.WMH].sd == pytest.approx(np.std(np.log1p(np.arange(12)), ddof=1))
    assert reference.models == {}


def test_what_is_too_few_or_does_not_vary_is_not_known_rather_than_perfect() -> None:
    few = sessions(3)
    rows = rows_of(few)
    assert rows["Z of all markers, by volume"].met == "not known"
    same = rows_of([replace(few[0], id=SessionId(name)) for name in ("a", "b", "c")])
    assert same[SCALES[Scale.SVD_TOTAL].name].met == "not known"
    markdown = agreement.to_markdown(few, list(rows.values()), "three made up")
    assert "SIMULATED" in markdown.splitlines()[0]
    assert "fewer than 10 sessions" in markdown
    assert "| Total SVD burden | 0: 1, 1: 1, 2: 1 | 0: 1, 1: 1, 2: 1 |" in markdown
    assert "measured with the networks markers 1 sha256:a" in markdown


def test_a_marker_that_was_not_assessed_leaves_its_session_out() -> None:
    both = [replace(one, predicted=measurements(at, (Marker.CMB,))) if at == 0 else one for at, one in enumerate(sessions(12))]
    rows = rows_of(both)
    assert rows["cerebral microbleeds, number"].n == 11
    assert rows["Z of all markers, by count"].n == 11
    assert rows["lacunes, number"].n == 12


def test_intervals_are_counted_with_both_ends() -> None:
    inside = dict((name, told) for name, told, _ in agreement.cover(sessions(4)))
    assert inside["white matter hyperintensities, count"] == "4 of 4"
    beyond = [replace(one, true=measurements(at + 9)) for at, one in enumerate(sessions(4))]
    assert dict((name, told) for name, told, _ in agreement.cover(beyond))["lacunes, count"] == "0 of 4"


def test_finished_results_are_read_and_nothing_is_run(tmp_path: Path) -> None:
    result = make_result()
    out, folder = tmp_path / "out", tmp_path / "sim"
    finish_session(result, out, write_session(result, out))
    for marker, found in result.segmentation.markers.items():
        if isinstance(found, MarkerMap):
            empty = marker is Marker.WMH
            write_volume(truth_path(folder, result.id.subject, marker), Mask(found.mask.data & (not empty), found.mask.grid))
    (both,) = agreement.measure_folder(folder, out)
    assert both.networks == "anatomy 1.0 sha256:a; markers 1.0 sha256:b"
    predicted, true = (agreement.values_of(one) for one in (both.predicted, both.true))
    assert (predicted["WMH count"], true["WMH count"]) == (2.0, 0.0)
    assert predicted["lacune count"] == true["lacune count"]
    assert predicted["CMB count"] is None
    assert "WMH volume low" not in predicted, "these weights are not the installed ones, whose errors are known"
    assert agreement.measure_folder(folder, out, limit=0) == []
