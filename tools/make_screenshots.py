#!/usr/bin/env python3
"""Take the pictures of docs/report.md: report, viewer and a page of the PDF of the bundled simulated patient, and the page of all sessions.

    smallvessel demo demo-output && python tools/make_screenshots.py demo-output [--cohort OUT]

The page of all sessions is that of OUT, the results of many simulated sessions; without it, it has 24 sessions with made-up numbers, the
demo's picture in each row. Needs playwright and a chromium on the path, and pdftoppm (poppler-utils) for the page of the PDF.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from smallvessel.demo import SUBJECT
from smallvessel.derivatives import read_record, session_files
from smallvessel.markers import Marker
from smallvessel.records import SessionId
from smallvessel.report import write_index
from smallvessel.scales import SCALES, Scale

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images"
GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE_MS = 120_000
N_SESSIONS = 24
PDF_DPI = 90


def shoot(page: Page, name: str, target: Path) -> None:
    """Save what is in view, as JPEG."""
    page.wait_for_timeout(1500)
    page.screenshot(path=target / name, type="jpeg", quality=82)


def shoot_pdf(page: Page, target: Path) -> None:
    """Save the first page of the report as the browser prints it."""
    with tempfile.TemporaryDirectory() as folder:
        page.pdf(path=Path(folder) / "report.pdf", prefer_css_page_size=True, print_background=True)
        command = ["pdftoppm", "-f", "1", "-l", "1", "-r", str(PDF_DPI), "-jpeg", "-singlefile"]
        subprocess.run([*command, Path(folder) / "report.pdf", target / "printed"], check=True)
    (target / "printed.jpg").chmod(0o644)


def make_cohort(demo: Path, folder: Path) -> None:
    """A page of sessions whose numbers and grades rise with a severity drawn for each; one of them failed."""
    random = np.random.default_rng(7)
    files = session_files(SessionId(SUBJECT))
    record, thumbnail = read_record(demo / files.measures), demo / files.thumbnail
    records = []
    for number in range(1, N_SESSIONS + 1):
        severity = float(random.beta(1.5, 2.5))
        id = SessionId(f"{number:02d}")
        own = session_files(id)
        (folder / own.folder).mkdir(parents=True)
        shutil.copyfile(thumbnail, folder / own.thumbnail)
        (folder / own.report).touch()
        own_values = {"participant_id": str(id), "session_id": None, "files": [own.report.as_posix(), own.thumbnail.as_posix()]}
        records.append({**record, **own_values, **_draw_numbers(record, severity, random)})
    log = folder / session_files(SessionId(f"{N_SESSIONS + 1:02d}")).log
    log.parent.mkdir()
    log.write_text("[intake] FAILED. Found: a FLAIR of 3 slices. Expected: at least 10. To do: check the scan.\n", encoding="utf-8")
    write_index(folder, records)


def _draw_numbers(record: dict[str, Any], severity: float, random: np.random.Generator) -> dict[str, Any]:
    markers = {name: dict(found) for name, found in record["markers"].items()}
    markers[Marker.WMH]["volume_ml"] = float(60 * severity**2 * random.lognormal(0, 0.3))
    for marker, most in ((Marker.LACUNE, 5), (Marker.EPVS, 50), (Marker.CMB, 8)):
        markers[marker]["count"] = int(random.poisson(most * severity))
    scores = dict(record["scores"])
    for scale in (Scale.FAZEKAS_PERIVENTRICULAR, Scale.FAZEKAS_DEEP, Scale.SVD_TOTAL):
        scores[scale] = {"value": int(np.clip(round(severity * SCALES[scale].highest * 1.4), 0, SCALES[scale].highest))}
    status = str(random.choice(["pass", "warn", "fail"], p=[0.75, 0.17, 0.08]))
    return {"markers": markers, "scores": scores, "qc": {"status": status, "checks": []}}


def main() -> None:
    """Take the pictures from a folder that ``smallvessel demo`` wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cohort", type=Path, help="output folder of a run over many simulated sessions")
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args()
    folder, target = options.folder.resolve(), options.target
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as temporary:
        browser = driver.chromium.launch(executable_path=chromium, args=GL)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(PATIENCE_MS)
        page.goto((folder / f"sub-{SUBJECT}.html").as_uri())
        page.wait_for_selector("body[data-viewer=ready]")
        shoot(page, "report.jpg", target)
        page.locator("#viewer").scroll_into_view_if_needed()
        page.evaluate("document.getElementById('viewer').scrollIntoView()")
        page.locator('tr[data-lesion^="lacune"] button').first.click()
        shoot(page, "viewer.jpg", target)
        page.evaluate("document.getElementById('lacune').scrollIntoView()")
        shoot(page, "lesions.jpg", target)
        page.evaluate("document.getElementById('anatomy').scrollIntoView()")
        shoot(page, "alignment.jpg", target)
        shoot_pdf(page, target)
        cohort = options.cohort
        if cohort is None:
            cohort = Path(temporary) / "cohort"
            cohort.mkdir()
            make_cohort(folder, cohort)
        page.goto((cohort.resolve() / "index.html").as_uri())
        shoot(page, "sessions.jpg", target)
        browser.close()


if __name__ == "__main__":
    main()
