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

from browser import (
    assert_layer_toggles,
    assert_lesions_sort,
    assert_viewer_draws,
    go_to,
    needs_browser,
    open_page,
    picture,
    save_review,
    show_report,
)
from painted import paint_result, write_painted
from results import read_rows
from smallvessel.derivatives import session_files
from smallvessel.markers import MARKERS, Marker, Sequence
from smallvessel.records import SessionId
from smallvessel.report import write_index
from smallvessel.review import apply_reviews
from smallvessel.tables import session_record

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

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
    first = page.evaluate('lesionByKey.get(document.querySelector(".lesion").dataset.lesion)')
    assert page.evaluate("viewer.shown") == MARKERS[Marker(first["marker"])].rated_on[0]
    np.testing.assert_allclose(page.evaluate("crosshairMm()"), first["mm"], atol=1.0)


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


def test_a_click_on_a_close_up_goes_to_the_lesion(page: Page) -> None:
    go_to(page, Marker.CMB, 1)
    page.locator('figcaption [data-lesion="CMB-2"]').click()
    page.wait_for_timeout(500)
    np.testing.assert_allclose(page.evaluate("crosshairMm()"), page.evaluate('lesionByKey.get("CMB-2").mm'), atol=1.0)


def test_the_viewer_is_worked_by_keys(page: Page) -> None:
    go_to(page, Marker.CMB, 1)
    page.locator("#canvas").focus()
    before = page.evaluate("crosshairMm()")
    for key in ("ArrowLeft", "ArrowUp", "PageUp"):
        page.keyboard.press(key)
    step = page.evaluate("Array.from(viewer.nv.volumes[0].pixDimsRAS.slice(1, 4))")
    np.testing.assert_allclose(np.array(page.evaluate("crosshairMm()")) - before, step, atol=0.6 * max(step))
    page.keyboard.press("2")
    page.wait_for_timeout(500)
    assert page.evaluate("viewer.shown") == page.evaluate("session.images[1].name")
    go_to(page, Marker.CMB, 1)
    page.locator("#canvas").focus()
    rows = page.evaluate('Array.from(document.querySelectorAll(".lesion"), (row) => row.dataset.lesion)')
    page.keyboard.press("n")
    page.wait_for_timeout(500)
    following = rows[(rows.index("CMB-1") + 1) % len(rows)]
    np.testing.assert_allclose(page.evaluate("crosshairMm()"), page.evaluate(f'lesionByKey.get("{following}").mm'), atol=1.0)
    page.keyboard.press("p")
    page.wait_for_timeout(500)
    np.testing.assert_allclose(page.evaluate("crosshairMm()"), page.evaluate('lesionByKey.get("CMB-1").mm'), atol=1.0)
    for key in ("v", "c"):
        page.keyboard.press(key)
    assert page.evaluate("viewer.nv.opts.sliceType === viewer.nv.sliceTypeMultiplanar")


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


def test_a_ruler_of_ten_centimetres_is_drawn_in_the_axial_picture(page: Page) -> None:
    left, top, width, height = page.evaluate("Array.from(viewer.nv.screenSlices[0].leftTopWidthHeight)")
    expected = 100 / abs(page.evaluate("viewer.nv.screenSlices[0].fovMM[0]")) * width
    lower = picture(page)[round(top + 0.75 * height) : round(top + height), round(left) : round(left + width)]
    rows = (lower.min(axis=2) > 180).sum(axis=1)
    assert rows.max() == pytest.approx(expected, abs=6)


def test_a_layer_can_be_switched_off_and_on(page: Page) -> None:
    go_to(page, Marker.WMH, 1)
    assert_layer_toggles(page, Marker.WMH)
    shown = picture(page)
    page.locator("#plain").check()
    assert (np.abs(shown - picture(page)).max(axis=2) > 20).sum() > 50
    page.locator("#plain").uncheck()


def test_the_window_changes_what_is_shown_and_comes_back(page: Page) -> None:
    before = picture(page)
    page.locator("#level").fill("40")
    assert np.abs(picture(page) - before).mean() > 5
    page.locator("#reset").click()
    assert np.abs(picture(page) - before).max() <= 2


def test_the_window_is_told_in_numbers_and_may_leave_the_grey_values(page: Page) -> None:
    page.locator("#level").fill("40")
    assert page.locator("#level-now").inner_text() == "40"
    page.evaluate("{ const image = viewer.images.get(viewer.shown); image.cal_min = -200; image.cal_max = 400; showWindow(); }")
    assert page.locator("#width").input_value() == page.locator("#width-now").inner_text() == "600"
    page.locator("#level").fill("90")  # the width stays
    assert page.evaluate("(({ cal_min, cal_max }) => [cal_min, cal_max])(viewer.images.get(viewer.shown))") == [-210, 390]
    page.locator("#reset").click()
    assert page.evaluate("viewer.images.get(viewer.shown).cal_max") < 300


def test_jumps_are_announced_and_movements_are_not(page: Page) -> None:
    go_to(page, Marker.CMB, 1)
    told = page.locator("[role=status]#jumped")
    assert told.inner_text() == "At CMB #1 on SWI"
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowLeft")
    assert told.inner_text() == "At CMB #1 on SWI"
    assert page.locator("[aria-live]").count() == 0


def test_rows_are_named_and_the_contents_can_be_skipped(page: Page) -> None:
    assert page.locator('tr[data-lesion="CMB-1"] th[scope=row]').inner_text() == "CMB"
    assert page.locator("#found tbody th[scope=row]").count() == 4
    page.evaluate("document.querySelector('a.skip').focus()")
    box = page.locator("a.skip").bounding_box()
    assert box is not None
    assert box["x"] >= 0


def test_lesions_are_sorted_by_what_is_clicked(page: Page) -> None:
    assert_lesions_sort(page)


def test_the_page_prints_its_lesions_in_place_of_the_viewer(page: Page, out: Path) -> None:
    assert page.context.browser
    still = page.context.browser.new_context(java_script_enabled=False).new_page()
    still.goto((out / session_files(ID).report).as_uri())
    printed = still.locator("section.print-only")
    assert not printed.is_visible()
    assert still.locator("#viewer").is_visible()
    still.emulate_media(media="print")
    assert printed.is_visible()
    assert printed.get_by_role("cell", name="CMB", exact=True).count() == 2
    assert not still.locator("#viewer").is_visible()
    still.context.close()


def test_outlines_have_a_dark_halo_that_is_hidden_with_them(page: Page) -> None:
    halo = page.locator("#cmb .slices .halo").first
    assert halo.get_attribute("d") == page.locator("#cmb .slices .contour").first.get_attribute("d")
    assert page.locator(".halo").count() == page.locator(".contour, .ring").count()
    page.locator("#plain").check()
    assert halo.evaluate("(path) => getComputedStyle(path).display") == "none"
    page.locator("#plain").uncheck()


def test_a_review_in_progress_outlives_the_page(page: Page, out: Path) -> None:
    address = (out / session_files(ID).report).as_uri()
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    other = page.context.new_page()
    other.on("dialog", leave)
    other.goto(address)
    other.locator('tr[data-lesion="CMB-1"] select').select_option("wrong")
    other.locator('tr[data-lesion="CMB-1"] input').fill("a vessel")
    other.locator('tr[data-lesion="EPVS-1"] select').select_option("as:lacune")
    other.locator("#reviewer").fill("A. Reader")
    other.reload()
    assert asked == ["beforeunload"]
    assert other.locator('tr[data-lesion="CMB-1"] select').input_value() == "wrong"
    assert other.locator('tr[data-lesion="CMB-1"] input').input_value() == "a vessel"
    assert other.locator('tr[data-lesion="EPVS-1"] select').input_value() == "as:lacune"
    assert "rejected" in str(other.locator('tr[data-lesion="CMB-1"]').get_attribute("class"))
    assert other.locator("#reviewer").input_value() == "A. Reader"
    other.evaluate("localStorage.clear()")
    other.close()


def test_a_review_is_saved_and_applied(page: Page, out: Path, tmp_path: Path) -> None:
    page.locator("#save").click()
    assert page.locator("#saved").inner_text() == "Your name is missing."
    page.locator('tr[data-lesion="CMB-2"] select').select_option("wrong")
    page.locator('tr[data-lesion="CMB-2"] input').fill("a <b>vessel</b>")
    page.locator('tr[data-lesion="EPVS-1"] select').select_option("as:lacune")
    page.locator("#reviewer").fill("A. Reader")
    saved = tmp_path / "saved.json"
    assert save_review(page, saved) == f"{ID}_review.json"
    assert "2 of 8 lesions" in page.locator("#saved").inner_text()
    content = json.loads(saved.read_text(encoding="utf-8"))
    assert (content["session"], content["digest"], content["earlier_reviews"]) == (str(ID), "d" * 64, [])
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    apply_reviews(copy, [saved])
    record = json.loads((copy / session_files(ID).measures).read_text(encoding="utf-8"))
    assert [record["markers"][marker]["count"] for marker in Marker] == [3, 2, 1, 1]
    assert sorted(record["reviews"][0]["changes"]) == ["CMB 2 was removed: a <b>vessel</b>.", "EPVS 1 became lacune."]


def test_what_is_not_assessed_comes_last_in_either_direction(page: Page, tmp_path: Path) -> None:
    names = ("1", "2", "10", "20")
    records = [session_record(paint_result(subject=name, why_not="no contrast" if name == "2" else None)) for name in names]
    for record, count in zip(records, (3, None, 12, 5), strict=True):
        if count is not None:
            record["markers"]["CMB"]["count"] = count
    records[0]["reviews"], records[2]["reviews"] = [{"reviewer": "3rd reader"}], [{"reviewer": "2nd reader"}]
    write_index(tmp_path, records)
    other = page.context.new_page()
    other.goto((tmp_path / "index.html").as_uri())

    def order(heading: str) -> list[str]:
        other.locator("#sessions th button", has_text=heading).click()
        return [name.removeprefix("sub-").removesuffix("_ses-a") for name in other.locator("#sessions tbody th").all_inner_texts()]

    assert order("microbleeds") == ["1", "20", "10", "2"]
    assert order("microbleeds") == ["10", "20", "1", "2"]
    assert order("Session") == ["1", "2", "10", "20"]
    assert order("Reviewed by")[:2] == ["10", "1"]
    assert order("Reviewed by")[:2] == ["1", "10"]
    other.locator('select[data-filter="reviewed"]').select_option("yes")
    assert other.locator("#shown").inner_text() == "2 shown"
    other.close()


def test_the_page_of_all_sessions_prints_its_distributions_side_by_side(page: Page, out: Path) -> None:
    other = page.context.new_page()
    other.goto((out / "index.html").as_uri())
    other.emulate_media(media="print")
    first, second = (other.locator(".histograms figure").nth(i).bounding_box() for i in range(2))
    assert first is not None
    assert second is not None
    assert first["y"] == second["y"]
    assert first["height"] < 200
    other.close()


@pytest.mark.parametrize("why_not", [None, "the contrast is too low"])
def test_a_report_without_lesions_opens_and_can_be_signed_off(page: Page, tmp_path: Path, why_not: str | None) -> None:
    write_painted(tmp_path, paint_result(sequences=(Sequence.FLAIR,), lesions={}, why_not=why_not))
    said: list[str] = []
    clean = page.context.new_page()
    show_report(clean, tmp_path / session_files(ID).report, said)
    assert clean.evaluate("document.body.dataset.viewer") == "ready"
    clean.locator("#reviewer").fill("A. Reader")
    clean.locator("#remark").fill("none, indeed")
    save_review(clean, tmp_path / "saved.json")
    clean.close()
    assert said == []
    apply_reviews(tmp_path, [tmp_path / "saved.json"])
    record = json.loads((tmp_path / session_files(ID).measures).read_text(encoding="utf-8"))
    assert record["reviews"][0]["changes"] == ["Remark: none, indeed"]


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
