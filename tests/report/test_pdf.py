"""The PDF is the report's text on A4, and is promised only where it can be made."""

from pathlib import Path

import pytest

from painted import paint_images, paint_result
from smallvessel.errors import InputError
from smallvessel.report import pdf
from smallvessel.report.html import render_report


def test_the_printed_page_has_lesions_but_no_viewer_and_no_scripts() -> None:
    result = paint_result()
    page = render_report(result, paint_images(result), printed=True)
    assert "<canvas" not in page
    assert "<script>" not in page
    assert page.count("<td>CMB</td>") == 2
    assert "skip" not in page.split("<body>")[1]
    assert "<summary>" not in page  # settings, log and volumes of structures are not for paper


def test_a_browser_prints_the_lesions_too() -> None:
    result = paint_result()
    page = render_report(result, paint_images(result))
    listed = page[page.index('<section class="print-only">') :]
    assert listed.count("<td>CMB</td>") == 2


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'smallvessel\[pdf\]'"):
        pdf.require_pdf()


def test_a_pdf_of_a4_pages_is_written(tmp_path: Path) -> None:
    pytest.importorskip("weasyprint", reason="the extra [pdf] is not installed")
    result = paint_result()
    pdf.write_pdf(result, paint_images(result), tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert content.rstrip().endswith(b"%%EOF")
    assert len(content) > 50_000  # with its pictures


def test_letters_on_printed_pictures_stand_on_dark_ground() -> None:
    weasyprint = pytest.importorskip("weasyprint", reason="the extra [pdf] is not installed")
    result = paint_result()
    document = weasyprint.HTML(string=render_report(result, paint_images(result), printed=True)).render()
    assert len(document.pages) <= 10
    assert {(round(page.width), round(page.height)) for page in document.pages} == {(794, 1123)}
    boxes = [box for page in document.pages for box in page._page_box.descendants()]
    letters = [box for box in boxes if box.element is not None and box.element.get("class") in ("edge l", "edge r", "scale", "title")]
    on_map = [box for box in letters if box.style["background_color"].alpha == 0]
    assert len(letters) > 100
    assert len({id(box.element) for box in on_map}) <= 6
