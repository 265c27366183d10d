"""The report is one safe, complete, self-contained page for every outcome of a session."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from painted import paint_images, paint_result
from smallvessel.config import Settings
from smallvessel.markers import MARKERS, Marker, Sequence
from smallvessel.participants import Traits
from smallvessel.records import Burden, Check, MarkerMeasures, NotAssessed, Review, Score, SessionResult, Status
from smallvessel.report import html, write_report
from smallvessel.report.html import NIIVUE, render_report
from smallvessel.report.sections import format_ml
from smallvessel.scales import SCALES, Scale
from smallvessel.tables import lesions_digest

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> \"quoted\" & 'single' {{ 7*7 }}"
VOID = {"meta", "input", "br", "image"}


def render(result: SessionResult) -> str:
    return render_report(result, paint_images(result))


class Page(HTMLParser):
    """Tags and text of a page; remembers tags that do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.text = ""
        self.feed(html)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def ids(self) -> set[str | None]:
        return {attrs["id"] for _, attrs in self.tags if "id" in attrs}


def test_everything_found_is_on_the_page() -> None:
    result = paint_result()
    page = Page(render(result))
    assert page.unbalanced == []
    assert page.open == []
    assert {"found", "wmh", "lacune", "epvs", "cmb", "regions", "quality", "anatomy", "how", "origin"} <= page.ids()
    assert re.findall(r"Z scores ?no reference cohort was given", page.text)
    for marker, measured in result.measurements.markers.items():
        assert not isinstance(measured, NotAssessed)
        assert f"{format_ml(measured.volume_ml)} mL in {measured.count} lesion" in page.text, marker
    for expected in (
        "Research use only, not for diagnosis",
        "radiological convention",
        "1432 mL",
        "d" * 64,
        "a" * 64,
    ):
        assert expected in page.text
    assert "Not looked for at all: recent small subcortical infarcts" in page.text
    assert "microbleeds: deep 0, lobar 2, infratentorial 0" in page.text
    assert "warn above 15 %, fail above 40 %" in page.text
    assert "FLAIR is noisy" in page.text
    assert "T1w: run 2 was taken" in page.text


def test_a_review_can_tell_on_what_it_was_made() -> None:
    review = Review("A. Reader", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "r.json, SHA-256 f00", ())
    result = replace(paint_result(), reviews=(review,))

    def carried(page: str) -> dict[str, object]:
        found = re.search(r'id="session">(.*?)</script>', page, re.DOTALL)
        assert found
        content: dict[str, object] = json.loads(found[1])
        return {name: content[name] for name in ("session", "digest", "lesions_sha256", "earlier_reviews")}

    expected = {"session": "sub-01_ses-a", "digest": "d" * 64, "earlier_reviews": ["r.json, SHA-256 f00"]}
    assert carried(render(result)) == expected | {"lesions_sha256": lesions_digest(result.measurements.lesions)}
    again = render_report(result, paint_images(result), lesions_sha256="1" * 64)
    assert carried(again) == expected | {"lesions_sha256": "1" * 64}


def test_the_summary_tells_what_is_read_first() -> None:
    result = paint_result()
    scores = {scale: Score(1, "what decided it", "") for scale in Scale}
    scored = replace(result, measurements=replace(result.measurements, scores=scores))
    scored = replace(scored, provenance=replace(result.provenance, traits=Traits(71.0, False)))
    page = Page(render(scored))
    wmh = result.measurements.markers[Marker.WMH]
    assert not isinstance(wmh, NotAssessed)
    assert f"{format_ml(wmh.volume_ml)} mLWMH, {100 * wmh.volume_ml / 1432:.2g} % of ICV" in page.text
    assert "BG 1 · CSO 1EPVS grades, of 4" in page.text
    assert "Participant 71 years, female" in page.text
    assert "FLAIR 4 × 4 × 4 mm, T1w 4 × 4 × 4 mm" in page.text
    assert "deep 0, lobar 2, infratentorial 0; largest " in page.text
    scores[Scale.EPVS_CENTRUM_SEMIOVALE] = NotAssessed("no white matter")  # type: ignore[assignment]
    scored = replace(result, measurements=replace(result.measurements, scores=scores, icv_ml=NotAssessed("no skull")))
    text = Page(render(scored)).text
    assert "BG 1 · CSO n/a" in text
    assert "of ICV" not in text
    assert "Participant" not in text


def test_what_is_likely_is_not_taken_for_what_was_found() -> None:
    result = paint_result()
    found = result.measurements.markers[Marker.CMB]
    assert not isinstance(found, NotAssessed)
    markers = {**result.measurements.markers, Marker.CMB: replace(found, count_range=(3, 7))}
    text = Page(render(replace(result, measurements=replace(result.measurements, markers=markers)))).text
    assert "23 to 7 likely" in text  # 2, and below it the interval
    assert "Number found" in text


def test_a_failed_check_is_the_first_word() -> None:
    failed = Page(render(paint_result(checks=(Check("noise", 1.0, "", "", "fail", "noisy"),)))).text
    assert failed.index("A quality check failed") < failed.index("✕ fail") < failed.index(" mL")
    fine = Page(render(paint_result())).text
    assert "A quality check failed" not in fine
    assert fine.index(" mL") < fine.index("! warn")


def test_names_and_scales_are_those_of_the_catalogues() -> None:
    result = paint_result()
    scores = {scale: Score(1, "what decided it", "") for scale in Scale}
    text = Page(render(replace(result, measurements=replace(result.measurements, scores=scores)))).text
    for scale in (Scale.FAZEKAS_DEEP, Scale.EPVS_BASAL_GANGLIA, Scale.EPVS_MIDBRAIN, Scale.CMB_BAND):
        assert f"{SCALES[scale].name} 1 of {SCALES[scale].highest} what decided it" in text
    for info in MARKERS.values():
        assert f" {info.short}: deep " in text


def test_the_page_needs_nothing_from_outside() -> None:
    html = render(paint_result())
    page = Page(html)
    addresses = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("href", "src", "xlink:href")]
    assert any(address and address.startswith("data:image/jpeg") for address in addresses)
    assert all(address and address.startswith(("data:image/", "#")) for address in addresses)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not any("src" in attrs for tag, attrs in page.tags if tag == "script")
    assert len(html) < 4e6


def test_only_the_scripts_of_the_package_may_run() -> None:
    html = render(paint_result())
    (policy,) = re.findall(r"default-src 'none';.*script-src ([^\"]*)\"", html.replace("&#39;", "'"))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == 4
    assert policy == " ".join(f"'sha256-{name}'" for name in hashes)


def test_hostile_texts_are_shown_and_never_run() -> None:
    check = Check(HOSTILE, 1.0, HOSTILE, HOSTILE, "fail", HOSTILE)
    result = paint_result(log=(HOSTILE,), subject=HOSTILE, checks=(check,), methods=HOSTILE, icv_ml=NotAssessed(HOSTILE))
    html = render(result)
    page = Page(html)
    assert page.unbalanced == []
    assert "img" not in {tag for tag, _ in page.tags}
    assert "alert(1)" not in "".join(re.findall(r"<script>(.*?)</script>", html, re.DOTALL))
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert page.text.count("<script>alert(1)</script>") >= 6
    assert "{{ 7*7 }}" in page.text


def test_nothing_assessed_says_so_and_shows_no_zero() -> None:
    page = Page(render(paint_result(why_not="the FLAIR <has> no contrast", icv_ml=NotAssessed("the skull is missing"))))
    assert page.text.count("not assessed: the FLAIR <has> no contrast") == 4
    assert "No marker was assessed" in page.text
    assert "Intracranial n/a" in page.text
    assert "the skull is missing" in page.text
    assert not {"wmh", "lacune", "epvs", "cmb"} & page.ids()
    assert not re.search(r"\b0(\.0+)? mL", page.text)


def test_every_missing_z_says_why() -> None:
    result = paint_result()
    no_icv, no_age = NotAssessed("needs the intracranial volume"), NotAssessed("is adjusted for age and sex")
    volume: dict[str, float | NotAssessed] = {**dict.fromkeys(map(str, Marker), no_icv), "total": no_icv}
    count: dict[str, float | NotAssessed] = {**dict.fromkeys(map(str, Marker), 1.25), "CMB": no_age, "lacune": no_icv, "total": 0.5}
    burden = Burden("elders", volume, count)
    page = Page(render(replace(result, measurements=replace(result.measurements, burden=burden))))
    assert re.search(r"Z of white matter hyperintensities, by volume ?needs the intracranial volume", page.text)
    assert re.search(r"Z of cerebral microbleeds, by count ?is adjusted for age and sex", page.text)
    assert re.search(r"Z of lacunes ?needs the intracranial volume", page.text)
    assert re.search(r"Z of all markers, by volume ?needs", page.text)
    assert "+0.50 (of WMH, EPVS only)" in page.text
    assert "against the reference cohort elders" in page.text
    assert sum(attrs.get("href") == "#not-assessed" for tag, attrs in page.tags if tag == "a") == 4


def test_confluency_sizes_of_microbleeds_and_the_rule_in_use_are_told() -> None:
    result = paint_result()
    wmh, cmb = (result.measurements.markers[marker] for marker in (Marker.WMH, Marker.CMB))
    assert isinstance(wmh, MarkerMeasures)
    assert isinstance(cmb, MarkerMeasures)
    sizes = {
        f"cmb_{region}_{size}_5mm_count": at for at, region in enumerate(("lobar", "deep", "infratentorial")) for size in ("below", "from")
    }
    markers = {
        **result.measurements.markers,
        Marker.WMH: replace(wmh, details={"wmh_confluency": 1.234, "wmh_largest_confluency": 0.5, "wmh_volume_grade": 2}),
        Marker.CMB: replace(cmb, details={**sizes, "cmb_definite_count": 7, "cmb_possible_count": 3}),
    }
    made = replace(result.provenance, settings=Settings().as_dict())
    told = replace(result, measurements=replace(result.measurements, markers=markers), provenance=made)
    text = Page(render(told)).text
    assert "By volume alone moderate (limits 3.4, 9.6, 17.1 mL). Confluency 1.23, of the largest lesion 0.50" in text
    assert "Definite 7, possible 3" in text
    assert "of 5 mm or more: lobar 0 and 0, deep 1 and 1, infratentorial 2 and 2." in text
    assert "told apart by the rule continuity_3_10; the Fazekas grades always go by continuity" in text
    assert "told apart by the rule" not in Page(render(result)).text


def test_no_lesions_is_told_apart_from_not_assessed() -> None:
    page = Page(render(paint_result(lesions={}, checks=())))
    assert page.text.count("None found on") == 4
    assert page.text.count("3 slices for checking") == 4
    assert "not assessed:" not in page.text
    assert "not checked" in page.text


@pytest.mark.parametrize("sequence", list(Sequence))
def test_a_single_sequence_names_what_it_cannot_show(sequence: Sequence) -> None:
    result = paint_result(sequences=(sequence,))
    page = Page(render(result))
    missing = [marker for marker, found in result.measurements.markers.items() if isinstance(found, NotAssessed)]
    assert 0 < len(missing) < len(Marker)
    assert page.text.count("not assessed:") == len(missing)
    assert sum(attrs.get("class") == "absent" for tag, attrs in page.tags if tag == "b") == 3


def test_the_worst_check_decides_and_stands_on_top() -> None:
    told: dict[Status, str] = {"warn": "second", "fail": "first", "pass": "third"}
    checks = tuple(Check(status, 1.0, "", "limit", status, message) for status, message in told.items())
    text = Page(render(paint_result(checks=checks))).text
    assert re.search(r"✕ fail ?quality", text)
    assert text.index("first") < text.index("second") < text.index("third")


def test_lesions_that_span_regions_are_counted_and_their_volume_is_explained() -> None:
    result = paint_result()
    wmh = result.measurements.markers[Marker.WMH]
    assert not isinstance(wmh, NotAssessed)
    assert "Divided:" not in render(result)
    spanning = replace(wmh, region_count={**wmh.region_count, "confluent": 2})
    measurements = replace(result.measurements, markers={**result.measurements.markers, Marker.WMH: spanning})
    text = Page(render(replace(result, measurements=measurements))).text
    assert re.search(r"confluent ?divided ?2", text)
    assert "Divided: these lesions are counted" in text
    none = replace(wmh, region_count={**wmh.region_count, "confluent": 0})
    measurements = replace(result.measurements, markers={**result.measurements.markers, Marker.WMH: none})
    assert "Divided:" not in render(replace(result, measurements=measurements))


def test_same_result_same_page_written_whole(tmp_path: Path) -> None:
    result = paint_result()
    path = tmp_path / "new" / "sub-01.html"
    write_report(result, paint_images(result), path)
    assert path.read_text(encoding="utf-8") == render(result)
    assert [entry.name for entry in path.parent.iterdir()] == ["sub-01.html"]


@pytest.mark.parametrize(("volume_ml", "shown"), [(0.0, "0"), (0.0002, "0.001"), (0.0123, "0.012"), (0.5, "0.50"), (13.27, "13.3")])
def test_small_volumes_are_never_shown_as_zero(volume_ml: float, shown: str) -> None:
    assert format_ml(volume_ml) == shown


def test_coordinates_have_no_sign_before_zero() -> None:
    assert "{:.0f}, {:.0f}, {:.0f}".format(*html._whole((-24.2, -0.4, 18.4))) == "-24, 0, 18"


def test_the_vendored_viewer_is_the_one_that_was_fetched() -> None:
    vendor = NIIVUE.parent
    about = json.loads((vendor / "niivue.json").read_text(encoding="utf-8"))
    assert hashlib.sha256(NIIVUE.read_bytes()).hexdigest() == about["sha256"]
    assert "BSD 2-Clause" in (vendor / "niivue-LICENSE.txt").read_text(encoding="utf-8")


def test_the_licences_of_the_viewer_go_with_every_page() -> None:
    page = render(paint_result())
    assert "Redistribution and use in source and binary forms" in page
    about = json.loads((NIIVUE.parent / "niivue.json").read_text(encoding="utf-8"))
    assert f"NiiVue {about['version']} sha256:{about['sha256']}" in Page(page).text


def test_a_script_cannot_end_its_element(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "evil.js").write_text('const a = "</script><!--";')
    monkeypatch.setattr(html, "TEMPLATES", tmp_path)
    text = html.script_text("evil.js")
    assert "</script" not in text
    assert "<!--" not in text
    assert str(html.plain_json({"a": "</script>&"})) == '{"a": "\\u003c/script>\\u0026"}'
