"""The page of all sessions holds every session, tells n/a from 0, and stays small."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from painted import paint_images, paint_result
from smallvessel.config import MeasureSettings
from smallvessel.errors import InputError
from smallvessel.measure import measure_session
from smallvessel.provenance import Journal
from smallvessel.records import Check, SessionId, SessionResult
from smallvessel.report import render_thumbnail, write_index
from smallvessel.report.index import _histogram
from smallvessel.tables import session_record


def record(**changes: Any) -> dict[str, Any]:
    result = paint_result(**changes)
    measurements = measure_session(result.prepared, result.segmentation, MeasureSettings())
    return session_record(SessionResult(result.id, result.prepared, result.segmentation, measurements, result.provenance))


def rows_of(out: Path, records: list[dict[str, Any]]) -> list[str]:
    write_index(out, records)
    return re.findall(r"<tr data-name.*?</tr>", (out / "index.html").read_text(encoding="utf-8"), re.DOTALL)


def test_none_found_and_not_assessed_are_told_apart(tmp_path: Path) -> None:
    failed = Check("noise", 1.0, "", "", "fail", "noisy")
    records = [record(lesions={}, subject="01"), record(why_not="no contrast", subject="02", checks=(failed,))]
    none, unknown = rows_of(tmp_path, records)
    assert re.findall(r'<td class="n">([^<]*)</td>', none)[:4] == ["0", "0", "0", "0"]
    assert set(re.findall(r'<td class="n">([^<]*)</td>', unknown)) == {"n/a"}
    assert 'data-quality="fail"' in unknown
    assert 'title="noisy"' in unknown
    assert 'data-reviewed="no"' in unknown
    assert "<a " not in none  # there is no report to link


def test_two_thousand_sessions_make_a_page_of_a_megabyte_and_inline_no_picture(tmp_path: Path) -> None:
    one = record()
    (tmp_path / "sub-7/ses-a").mkdir(parents=True)
    (tmp_path / "sub-7/ses-a/sub-7_ses-a_thumbnail.svg").touch()
    (tmp_path / "sub-8/ses-a").mkdir(parents=True)
    (tmp_path / "sub-8/ses-a/sub-8_ses-a_thumbnail.svg").touch()  # of an earlier run, for no record names it
    files = ["sub-7/ses-a/sub-7_ses-a_thumbnail.svg", "sub-7_ses-a.html"]
    rows = rows_of(tmp_path, [{**one, "participant_id": f"sub-{i}", "files": files} for i in range(2000)])
    assert len(rows) == 2000
    assert [row for row in rows if "<img" in row] == [rows[7]]
    assert 'src="sub-7/ses-a/sub-7_ses-a_thumbnail.svg" loading="lazy"' in rows[7]
    assert "<a " not in rows[7]  # its report was moved away
    assert (tmp_path / "index.html").stat().st_size < 2e6
    assert "data:image" not in "".join(rows)


def test_sessions_that_failed_are_listed_with_what_their_log_says(tmp_path: Path) -> None:
    one = record(subject="01")
    for name, stage, reason in (("01_ses-a", "prepare", "an old failure"), ("02_ses-a", "prepare", "the <b>FLAIR</b> is empty")):
        journal = Journal(tmp_path / f"logs/sub-{name}.log", SessionId(name.split("_")[0], "a"))
        with suppress(InputError), journal.stage(stage):
            raise InputError(reason, "a brain", "look at it")
        journal.failure(InputError(reason, "a brain", "look at it"))
    Journal(tmp_path / "logs/sub-03.log", SessionId("03"))
    rows_of(tmp_path, [one])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    listed = re.findall(r"<tr><th scope=\"row\">(sub-.*?)</th><td>(.*?)</td><td>(.*?)</td><td><a href=\"(.*?)\"", page)
    assert [(name, stage, log) for name, stage, _, log in listed] == [
        ("sub-02_ses-a", "prepare", "logs/sub-02_ses-a.log"),
        ("sub-03", "", "logs/sub-03.log"),
    ]
    assert "Found: the &lt;b&gt;FLAIR&lt;/b&gt; is empty" in listed[0][2]
    assert "ended without a word" in listed[1][2]
    assert ">2 more</a> were not measured" in page
    write_index(tmp_path, [one, {**one, "participant_id": "sub-02"}, {**one, "participant_id": "sub-03", "session_id": None}])
    assert "not measured" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_small_picture_marks_right_and_left() -> None:
    result = paint_result()
    picture = render_thumbnail(result, paint_images(result))
    letters = re.findall(r'<text x="([\d.]+)".*?>(\w)</text>', picture)
    assert [letter for _, letter in letters] == ["R", "L"]
    assert float(letters[0][0]) < float(letters[1][0])


def test_histograms_count_every_value_once() -> None:
    assert [(bar.label, bar.count) for bar in _histogram([0.0, 1.0, 1.0, 2.0])] == [("0", 1), ("1", 2), ("2 and more", 1)]
    bars = _histogram([0.3] * 98 + [1.2, 700.0])
    assert sum(bar.count for bar in bars) == 100
    assert bars[-1].label.endswith("and more")
    assert max(bar.height for bar in bars) == 1.0
    assert [bar.count for bar in _histogram([])] == [0]
