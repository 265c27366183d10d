"""The report in a real browser: it opens from a file, the viewer draws, goes to lesions, and a review made in it can be applied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from browser import assert_viewer_draws, go_to, needs_browser, open_page, picture
from painted import paint_result, write_painted
from results import read_rows
from smallvessel.derivatives import session_files
from smallvessel.markers import MARKERS, Marker
from smallvessel.records import SessionId
from smallvessel.review import apply_review

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("playwright", reason="playwright is not installed (pip install smallvessel[dev])")
pytestmark = needs_browser

ID = SessionId("01", "a")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    write_painted(folder, paint_result())
    return folder


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(out: Path, complaints: list[str]) -> Iterator[Page]:
    with open_page(out / session_files(ID).report, complaints) as page:
        yield page


def test_the_viewer_opens_without_complaint_and_draws(page: Page, complaints: list[str]) -> None:
    assert_viewer_draws(page)
    assert complaints == []


@pytest.mark.parametrize(("marker", "label"), [(Marker.CMB, 1), (Marker.CMB, 2), (Marker.LACUNE, 1), (Marker.WMH, 3)])
def test_a_click_on_a_lesion_moves_the_crosshair_to_its_centroid(page: Page, out: Path, marker: Marker, label: int) -> None:
    go_to(page, marker, label)
    row = next(r for r in read_rows(out / session_files(ID).lesions) if (r["marker"], r["label"]) == (marker, str(label)))
    np.testing.assert_allclose(page.evaluate("crosshairMm()"), [float(row[f"{axis}_mm"]) for axis in "xyz"], atol=1.0)
    assert f"{marker} #{label}" in page.locator("#where").inner_text()
    assert page.evaluate("viewer.shown") == MARKERS[marker].rated_on[0]


def test_a_click_on_the_map_goes_to_the_lesion(page: Page) -> None:
    go_to(page, Marker.CMB, 1)
    page.locator('path[data-lesion="CMB-2"]').first.click(force=True)
    page.wait_for_timeout(500)
    np.testing.assert_allclose(page.evaluate("crosshairMm()"), page.evaluate('lesionByKey.get("CMB-2").mm'), atol=1.0)


def coloured(page: Page, marker: Marker) -> NDArray[np.int64]:
    """Columns of the axial picture in which a marker's layer is drawn, from 0 at its left edge to 1 at its right."""
    page.evaluate("viewer.opacity = 1; showLayers()")
    left, top, width, height = page.evaluate("Array.from(viewer.nv.screenSlices[0].leftTopWidthHeight)")
    shown = picture(page)[round(top) : round(top + height), round(left) : round(left + width)]
    colour = [int(MARKERS[marker].colour[start : start + 2], 16) for start in (1, 3, 5)]
    columns = np.nonzero(np.abs(shown - colour).max(axis=2) < 40)[1]
    page.evaluate("viewer.opacity = 0.5; showLayers()")
    return np.asarray(columns / width)


@pytest.mark.parametrize(("label", "side"), [(1, "right"), (2, "left")])
def test_left_is_left_in_the_viewer(page: Page, label: int, side: str) -> None:
    lesion = go_to(page, Marker.CMB, label)
    assert (lesion["mm"][0] > 0) == (side == "right")
    assert side in page.locator(f'tr[data-lesion="CMB-{label}"]').inner_text()
    assert page.evaluate("viewer.nv.opts.isRadiologicalConvention")
    place = coloured(page, Marker.CMB)
    assert place.size > 0
    assert (place.mean() < 0.5) == (side == "right")  # radiological: the patient's right is on the left of the picture


def test_a_layer_can_be_switched_off_and_on(page: Page) -> None:
    go_to(page, Marker.WMH, 1)
    box = page.locator('input[name=layer][value="WMH"]')
    shown = picture(page)
    box.uncheck()
    hidden = picture(page)
    assert (np.abs(shown - hidden).max(axis=2) > 20).sum() > 50
    box.check()
    assert np.abs(shown - picture(page)).max() <= 2
    page.locator("#plain").check()
    assert (np.abs(shown - picture(page)).max(axis=2) > 20).sum() > 50
    page.locator("#plain").uncheck()


def test_the_window_changes_what_is_shown_and_comes_back(page: Page) -> None:
    before = picture(page)
    page.locator("#level").fill("40")
    assert np.abs(picture(page) - before).mean() > 5
    page.locator("#reset").click()
    assert np.abs(picture(page) - before).max() <= 2


def test_lesions_are_sorted_by_what_is_clicked(page: Page) -> None:
    heading = page.locator("#lesions th button", has_text="mm³")
    column = "#lesions tbody tr td:nth-child(4)"
    heading.click()
    rising = [float(text) for text in page.locator(column).all_inner_texts()]
    heading.click()
    falling = [float(text) for text in page.locator(column).all_inner_texts()]
    assert rising == sorted(rising)
    assert falling == sorted(rising, reverse=True)
    assert len(set(rising)) > 2
    assert page.locator("#lesions th[aria-sort=descending]").inner_text().startswith("mm³")


def test_a_review_is_saved_and_applied(page: Page, out: Path, tmp_path: Path) -> None:
    page.locator("#save").click()
    assert page.locator("#saved").inner_text() == "Your name is missing."
    page.locator('tr[data-lesion="CMB-2"] select').select_option("wrong")
    page.locator('tr[data-lesion="CMB-2"] input').fill("a <b>vessel</b>")
    page.locator('tr[data-lesion="EPVS-1"] select').select_option("as:lacune")
    page.locator("#reviewer").fill("A. Reader")
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == f"{ID}_review.json"
    assert "2 of 8 lesions" in page.locator("#saved").inner_text()
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    assert apply_review(copy, saved) == ID
    record = json.loads((copy / session_files(ID).measures).read_text(encoding="utf-8"))
    assert [record["markers"][marker]["count"] for marker in Marker] == [3, 2, 1, 1]
    assert sorted(record["reviews"][0]["changes"]) == ["CMB 2 was removed: a <b>vessel</b>.", "EPVS 1 became lacune."]


def test_the_page_of_all_sessions_filters_and_links(page: Page, out: Path, complaints: list[str]) -> None:
    other = page.context.new_page()
    other.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    other.goto((out / "index.html").as_uri())
    assert other.evaluate("document.querySelector('#sessions img').decode().then(() => true)")
    other.locator('select[data-filter="quality"]').select_option("fail")
    assert other.locator("#shown").inner_text() == "0 shown"
    other.locator("button[type=reset]").click()
    other.locator("#shown", has_text="1 shown").wait_for()
    other.locator("#sessions a").click()
    other.wait_for_selector("#viewer")
    assert str(ID) in other.title()
    other.close()
    assert complaints == []
