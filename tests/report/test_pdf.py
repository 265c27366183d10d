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
