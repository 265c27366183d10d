"""The page of all sessions holds every session, tells n/a from 0, and stays small."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from painted import paint_result
from smallvessel.config import MeasureSettings
from smallvessel.measure import measure_session
from smallvessel.records import Check, SessionResult
from smallvessel.report import write_index
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
    assert "<a " not in none  # there is no report to link


def test_two_thousand_sessions_make_a_page_of_a_megabyte_and_inline_no_picture(tmp_path: Path) -> None:
    one = record()
    (tmp_path / "sub-7/ses-a").mkdir(parents=True)
    (tmp_path / "sub-7/ses-a/sub-7_ses-a_thumbnail.svg").touch()
    rows = rows_of(tmp_path, [{**one, "participant_id": f"sub-{i}"} for i in range(2000)])
    assert len(rows) == 2000
    assert [row for row in rows if "<img" in row] == [rows[7]]
    assert 'src="sub-7/ses-a/sub-7_ses-a_thumbnail.svg" loading="lazy"' in rows[7]
    assert (tmp_path / "index.html").stat().st_size < 2e6
    assert "data:image" not in "".join(rows)


def test_histograms_count_every_value_once() -> None:
    assert [(bar.label, bar.count) for bar in _histogram([0.0, 1.0, 1.0, 2.0])] == [("0", 1), ("1", 2), ("2 and more", 1)]
    bars = _histogram([0.3] * 98 + [1.2, 700.0])
    assert sum(bar.count for bar in bars) == 100
    assert bars[-1].label.endswith("and more")
    assert max(bar.height for bar in bars) == 1.0
    assert [bar.count for bar in _histogram([])] == [0]
