"""A report opened in a real, headless browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from smallvessel.markers import Marker

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)")
GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE_MS = 120_000
"""Software rendering on a busy machine is slow."""


@contextmanager
def open_page(report: Path, complaints: list[str]) -> Iterator[Page]:
    """A report with its viewer ready; what the browser complains of, now and later, goes to ``complaints``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=GL)
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        show_report(page, report, complaints)
        yield page
        browser.close()


def show_report(page: Page, report: Path, complaints: list[str]) -> None:
    """Open a report in an empty page and wait for its viewer; complaints as in :func:`open_page`."""
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri())
    page.wait_for_selector("body[data-viewer]")


def picture(page: Page) -> NDArray[np.int16]:
    """What the viewer shows, shape (height, width, 3)."""
    return np.asarray(Image.open(BytesIO(page.locator("#canvas").screenshot())).convert("RGB"), np.int16)


def go_to(page: Page, marker: Marker, label: int) -> dict[str, Any]:
    """Click a lesion's row; returns the lesion as the page knows it."""
    page.locator(f'tr[data-lesion="{marker}-{label}"] button').click()
    page.wait_for_timeout(500)  # a sequence that is shown for the first time is unpacked
    lesion: dict[str, Any] = page.evaluate(f'lesionByKey.get("{marker}-{label}")')
    return lesion


def assert_layer_toggles(page: Page, marker: Marker) -> None:
    """A layer's box takes its colour away and brings it back; lesions of the marker have to be in view."""
    box = page.locator(f'input[name=layer][value="{marker}"]')
    shown = picture(page)
    box.uncheck()
    assert (np.abs(shown - picture(page)).max(axis=2) > 20).sum() > 50
    box.check()
    assert np.abs(shown - picture(page)).max() <= 2


def assert_lesions_sort(page: Page) -> None:
    """A click on the heading of the volumes sorts the lesions by them, a second one the other way."""
    heading = page.locator("#lesions thead th button", has_text="Volume, mm³")
    column = "#lesions tbody tr > :nth-child(4)"
    heading.click()
    rising = [float(text) for text in page.locator(column).all_inner_texts()]
    heading.click()
    falling = [float(text) for text in page.locator(column).all_inner_texts()]
    assert rising == sorted(rising)
    assert falling == sorted(rising, reverse=True)
    assert len(set(rising)) > 2
    assert page.locator("#lesions th[aria-sort=descending]").inner_text().startswith("Volume, mm³")


def save_review(page: Page, target: Path) -> str:
    """Press the button that saves the review, and keep the file; returns the name that the page gave it."""
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(target)
    return download.value.suggested_filename


def assert_viewer_draws(page: Page) -> None:
    """The viewer is ready and its canvas shows more than one grey."""
    assert page.evaluate("document.body.dataset.viewer") == "ready"
    drawn = picture(page)
    assert drawn.std() > 20
    assert 0.2 < (drawn.max(axis=2) > 40).mean() < 0.95
