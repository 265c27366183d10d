#!/usr/bin/env python3
"""Take the pictures of docs/report.md: report, viewer and page of all sessions, of the bundled simulated patient.

    smallvessel demo demo-output && python tools/make_screenshots.py demo-output

Needs playwright and a chromium on the path.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from smallvessel.demo import SUBJECT

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images"
GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE_MS = 120_000


def shoot(page: Page, name: str) -> None:
    """Save what is in view, as JPEG."""
    page.wait_for_timeout(1500)
    page.screenshot(path=TARGET / name, type="jpeg", quality=82)


def main() -> None:
    """Take the pictures from a folder that ``smallvessel demo`` wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=GL)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(PATIENCE_MS)
        page.goto((folder / f"sub-{SUBJECT}.html").as_uri())
        page.wait_for_selector("body[data-viewer=ready]")
        shoot(page, "report.jpg")
        page.locator("#viewer").scroll_into_view_if_needed()
        page.evaluate("document.getElementById('viewer').scrollIntoView()")
        page.locator('tr[data-lesion^="lacune"] button').first.click()
        shoot(page, "viewer.jpg")
        page.evaluate("document.getElementById('lacune').scrollIntoView()")
        shoot(page, "lesions.jpg")
        page.evaluate("document.getElementById('anatomy').scrollIntoView()")
        shoot(page, "alignment.jpg")
        page.set_viewport_size({"width": 1280, "height": 560})
        page.goto((folder / "index.html").as_uri())
        shoot(page, "sessions.jpg")
        browser.close()


if __name__ == "__main__":
    main()
