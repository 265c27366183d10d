#!/usr/bin/env python3
"""How long a session's report takes to make and to open, and the page of all sessions to open, sort and filter.

Sessions of an output folder are read back and their reports made again from the scans, in a temporary folder: OUT stays as it is.

    smallvessel demo demo-output && python benchmarks/report.py demo-output
    python benchmarks/report.py OUT --data BIDS [--sessions sub-01_ses-1 ...] [--pdf]

Needs playwright and a chromium on the path, which draws without a graphics card. Of each time the median of several is told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from machine import describe_machine, machine_markdown, markdown_table, write_result
from smallvessel.demo import SUBJECT, demo_source
from smallvessel.derivatives import read_record, session_files
from smallvessel.intake.bids import find_sessions
from smallvessel.intake.sequences import load_session
from smallvessel.markers import Marker
from smallvessel.markers import Sequence as Contrast
from smallvessel.records import SessionId, SessionResult
from smallvessel.redraw import measure_again
from smallvessel.report import take_images, write_index, write_pdf, write_report, write_thumbnail
from smallvessel.restore import list_sessions, parse_session, read_session
from smallvessel.volume import Volume

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPEATS = 5
SETTLE_S = 3.0
"""Before a page is opened. A browser takes more than a second to give back what the viewer of the page before held, and draws nothing
meanwhile: opened at once, the same report took 1.3 to 2.8 s instead of 1.3 to 1.8 s."""
N_ROWS = 2000
PATIENCE_MS = 120_000
GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PAINTED = """() => new Promise((done) => new PerformanceObserver((list) => {
  const [paint] = list.getEntriesByName("first-contentful-paint");
  if (paint) done(paint.startTime);
}).observe({ type: "paint", buffered: true }))"""
NEXT_PAINT = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"
"""What was changed before is on the screen when it is done."""


@dataclass(frozen=True)
class ReportTiming:
    """One session's report: seconds, each as often as it was repeated, and its size; ``pdf_s`` is empty where none was asked for."""

    session: str
    voxels: int
    megabytes: float
    make_s: tuple[float, ...]
    pdf_s: tuple[float, ...]
    paint_s: tuple[float, ...]
    ready_s: tuple[float, ...]


@dataclass(frozen=True)
class IndexTiming:
    """The page of all sessions: seconds to its first paint, until it is loaded, to sort and to filter."""

    rows: int
    megabytes: float
    paint_s: tuple[float, ...]
    load_s: tuple[float, ...]
    sort_s: tuple[float, ...]
    filter_s: tuple[float, ...]


def repeat(action: Callable[[], object], times: int) -> tuple[float, ...]:
    """Seconds of each repetition; one before them is not counted."""
    action()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return tuple(seconds)


def time_report(
    result: SessionResult, acquired: Mapping[Contrast, Volume], folder: Path, browser: Browser, times: int, pdf: bool = False
) -> ReportTiming:
    """Make a session's report and small picture from its scans as acquired, as a run does, and open it."""
    files = session_files(result.id)

    def make() -> None:
        images = take_images(acquired, result.prepared)
        write_report(result, images, folder / files.report)
        write_thumbnail(result, images, folder / files.thumbnail)

    made = repeat(make, times)
    images = take_images(acquired, result.prepared)
    printed = repeat(lambda: write_pdf(result, images, folder / files.pdf), times) if pdf else ()
    paint, ready = [], []
    for _ in range(times):
        with fresh_page(browser) as page:
            start = time.perf_counter()
            page.goto((folder / files.report).as_uri())
            page.wait_for_selector("body[data-viewer]")
            ready.append(time.perf_counter() - start)
            if page.evaluate("document.body.dataset.viewer") != "ready":
                sys.exit(f"the viewer of {result.id} does not start in this browser")
            paint.append(_first_paint_s(page))
    megabytes = (folder / files.report).stat().st_size / 1e6
    voxels = sum(image.data.size for image in images.values())
    return ReportTiming(str(result.id), voxels, megabytes, made, printed, tuple(paint), tuple(ready))


def time_index(record: Mapping[str, Any], thumbnail: Path, folder: Path, browser: Browser, rows: int, times: int) -> IndexTiming:
    """Open, sort and filter the page of many sessions, made of one session's record with other numbers."""
    write_index(folder, vary_record(record, thumbnail, folder, rows))
    page_file = folder / "index.html"
    paint, load, sort, choose = [], [], [], []
    for _ in range(times):
        with fresh_page(browser) as page:
            start = time.perf_counter()
            page.goto(page_file.as_uri())
            load.append(time.perf_counter() - start)
            paint.append(_first_paint_s(page))
            sort.append(_time_change(page, "document.querySelectorAll('#sessions th button')[2].click()"))
            change = "const chosen = document.querySelector('select[data-filter=quality]'); chosen.value = 'fail';"
            choose.append(_time_change(page, f"{change} chosen.dispatchEvent(new Event('input', {{ bubbles: true }}))"))
            if not 0 < int(page.locator("#shown").inner_text().split()[0]) < rows:
                sys.exit("the filter of the page of all sessions does nothing")
    return IndexTiming(rows, page_file.stat().st_size / 1e6, tuple(paint), tuple(load), tuple(sort), tuple(choose))


def vary_record(record: Mapping[str, Any], thumbnail: Path, folder: Path, rows: int) -> list[dict[str, Any]]:
    """Records of as many sessions, with an (empty) report and a small picture each."""
    random = np.random.default_rng(0)
    records = []
    for number in range(rows):
        markers = {name: dict(found) for name, found in record["markers"].items()}
        for name, found in markers.items():
            if "count" in found:
                found["count"] = int(random.poisson(4))
                found["volume_ml"] = float(random.gamma(1.0, 8.0 if name == Marker.WMH else 0.1))
        status = str(random.choice(["pass", "warn", "fail"], p=[0.8, 0.15, 0.05])) if number else "fail"
        id = SessionId(f"{number:05d}")
        files = session_files(id)
        (folder / files.folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(thumbnail, folder / files.thumbnail)
        (folder / files.report).touch()
        changed = {"participant_id": str(id), "session_id": None, "markers": markers, "qc": {**record["qc"], "status": status}}
        listed = {"files": [files.report.as_posix(), files.thumbnail.as_posix()]}
        records.append({**record, **changed, **listed})
    return records


def _first_paint_s(page: Page) -> float:
    """Seconds from the start of the navigation until something was drawn, by the browser's own clock."""
    return float(page.evaluate(PAINTED)) / 1000


def _time_change(page: Page, script: str) -> float:
    """Seconds from a change of the page until it is drawn."""
    timed = f"async () => {{ const start = performance.now(); {script}; return (await ({NEXT_PAINT})()) - start; }}"
    return float(page.evaluate(timed)) / 1000


@contextmanager
def fresh_page(browser: Browser) -> Iterator[Page]:
    """A page of a browser that remembers nothing and is at rest."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    time.sleep(SETTLE_S)
    yield context.new_page()
    context.close()


@contextmanager
def start_browser() -> Iterator[Browser]:
    """A headless chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=GL)
        yield browser
        browser.close()


def summarise(reports: Sequence[ReportTiming], index: IndexTiming, machine: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The result as Markdown and as a record."""
    rows = [
        (
            one.session,
            f"{one.voxels / 1e6:.1f}",
            f"{one.megabytes:.1f}",
            *(_tell(seconds) for seconds in (one.make_s, one.paint_s, one.ready_s, one.pdf_s)),
        )
        for one in reports
    ]
    of_index = [
        (name, _tell(seconds))
        for name, seconds in (
            ("first paint", index.paint_s),
            ("loaded", index.load_s),
            ("sort by quality", index.sort_s),
            ("filter by quality", index.filter_s),
        )
    ]
    repeats = len(index.paint_s)
    markdown = (
        "# Making and opening reports\n\n"
        f"Seconds, median of {repeats} (fastest to slowest). Made: images quantised and cropped from the scans, all figures, the page and "
        "the small picture, after one that is not counted; what is wanted is at most 3 s. Opened: headless Chromium without a "
        "graphics card, from asking for the file to the first paint, when it can be read, and "
        "until the viewer is drawn, wanted in at most 2 s.\n\n"
        + markdown_table(("session", "million voxels", "MB", "made", "first paint", "viewer ready", "PDF"), rows)
        + f"\nThe page of {index.rows} sessions ({index.megabytes:.1f} MB), made of one session's record with other numbers:\n\n"
        + markdown_table(("what", "s"), of_index)
        + f"\n{machine_markdown(machine)}\nMade by `python benchmarks/report.py`.\n"
    )
    record = {
        "repeats": repeats,
        "median_s": {
            one.session: {
                name: round(statistics.median(seconds), 3)
                for name, seconds in (("made", one.make_s), ("paint", one.paint_s), ("ready", one.ready_s), ("pdf", one.pdf_s))
                if seconds
            }
            for one in reports
        },
        "megabytes": {one.session: round(one.megabytes, 2) for one in reports},
        "index": {
            "rows": index.rows,
            "megabytes": round(index.megabytes, 2),
            "median_s": {
                name: round(statistics.median(seconds), 3)
                for name, seconds in zip(
                    ("paint", "load", "sort", "filter"), (index.paint_s, index.load_s, index.sort_s, index.filter_s), strict=True
                )
            },
        },
        "machine": dict(machine),
    }
    return markdown, record


def _tell(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})" if seconds else "n/a"


def read_scans(data: Path | None, id: SessionId) -> dict[Contrast, Volume]:
    """A session's scans as acquired: the demo's own, or those of a BIDS folder."""
    sources = (demo_source(),) if id.subject == SUBJECT else find_sessions(data) if data else ()
    source = next((source for source in sources if source.id == id), None)
    if source is None:
        sys.exit(f"no scans of {id}: name their BIDS folder with --data")
    return {sequence: image.volume for sequence, image in load_session(source).images.items()}


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="output folder of a run or of the demo")
    parser.add_argument("--data", type=Path, help="BIDS folder with the scans; the demo brings its own")
    parser.add_argument("--sessions", nargs="*", help="such as sub-01_ses-1; all by default")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--rows", type=int, default=N_ROWS, help="sessions on the page of all sessions")
    parser.add_argument("--pdf", action="store_true", help="time the PDF too")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--results", type=Path, help="write the result here instead of benchmarks/results")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    machine = describe_machine()
    ids = [parse_session(name) for name in options.sessions or ()] or list_sessions(options.out)
    reports = []
    with tempfile.TemporaryDirectory() as temporary, start_browser() as browser:
        folder = Path(temporary)
        for id in ids:
            result = read_session(options.out, id)
            result = replace(result, measurements=measure_again(result))
            timing = time_report(result, read_scans(options.data, id), folder, browser, options.repeats, options.pdf)
            print(f"{id}: made in {_tell(timing.make_s)} s, ready after {_tell(timing.ready_s)} s", flush=True)
            reports.append(timing)
        files = session_files(ids[0])
        record = read_record(options.out / files.measures)
        index = time_index(record, folder / files.thumbnail, folder / "all", browser, options.rows, options.repeats)
    markdown, summary = summarise(reports, index, machine)
    write_result("report", markdown, summary, **({"folder": options.results} if options.results else {}))
    print(markdown)


if __name__ == "__main__":
    main()
