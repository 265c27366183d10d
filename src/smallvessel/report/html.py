"""One self-contained HTML page per session: no external resource, every text escaped, only its own scripts may run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..derivatives import write_text
from ..markers import Marker, Sequence
from ..participants import Traits
from ..records import Burden, Check, Lesion, MarkerMap, Native, NotAssessed, Score, SessionResult, Status
from ..scales import SCALES
from ..tables import NOT_AVAILABLE, lesions_digest, worst_status
from . import figures
from .images import GreyImage, encode_image, encode_labels
from .sections import MarkerSection, describe_marker, format_ml, likeliest_first, missing_z, summarise, z_text

TEMPLATES = Path(__file__).parent / "template"
NIIVUE = Path(__file__).parent / "vendor" / "niivue.umd.js"
LIKELY = 0.05
"""Other grades of a score are named from this probability on."""
STATUS_RANK: dict[Status, int] = {"pass": 0, "warn": 1, "fail": 2}


def write_report(result: SessionResult, images: Mapping[Sequence, GreyImage], path: Path) -> None:
    """Write a session's report, atomically.

    Parameters
    ----------
    result : SessionResult
    images : mapping of Sequence to GreyImage
        What is shown, see :func:`smallvessel.report.images.take_images`.
    path : Path
        The HTML file; its folder is made.
    """
    write_text(path, render_report(result, images))


def render_report(
    result: SessionResult, images: Mapping[Sequence, GreyImage], printed: bool = False, lesions_sha256: str | None = None
) -> str:
    """The report as HTML.

    Parameters
    ----------
    result : SessionResult
    images : mapping of Sequence to GreyImage
    printed : bool
        Without the viewer, its scripts and its images.
    lesions_sha256 : str, optional
        Of the table of lesions on disk, where the result was read back and measured again: on an oblique grid the last digits may
        differ, and a review would not fit. By default that of the result's own lesions.
    """
    content = _page(result, images, lesions_sha256)
    if printed:
        return render_page("report.html", (), {**content, "printed": True, "images": [], "masks": []})
    return render_page("report.html", ("niivue", "tables.js", "viewer.js", "review.js"), {**content, "printed": False})


def render_page(template: str, scripts: tuple[str, ...], content: Mapping[str, Any]) -> str:
    """A page of its template with styles and scripts inside; a policy in its head lets no other script run."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    texts = {name: script_text(name) for name in scripts}
    hashes = " ".join(f"'sha256-{_sha256(text)}'" for text in texts.values())
    policy = f"default-src 'none'; img-src data: blob: 'self' file:; style-src 'unsafe-inline'; script-src {hashes}"
    styles = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(
        **content, policy=policy, styles=styles, scripts=[Markup(text) for text in texts.values()]
    )


@cache
def script_text(name: str) -> str:
    """A script as it can stand in a page: nothing in it ends its element."""
    text = _niivue_with_licences() if name == "niivue" else (TEMPLATES / name).read_text(encoding="utf-8")
    return "\n" + text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _niivue_with_licences() -> str:
    """NiiVue and its licences, which have to go wherever it goes: reports are passed on."""
    licences = [NIIVUE.with_name(name).read_text(encoding="utf-8") for name in ("niivue-LICENSE.txt", "bundled-licences.txt")]
    return "/*! NiiVue " + "\n\n".join(licences).replace("*/", "* /") + "*/\n" + NIIVUE.read_text(encoding="utf-8")


@cache
def viewer_version() -> str:
    """The viewer that a page carries, and its hash."""
    about = json.loads(NIIVUE.with_name("niivue.json").read_text(encoding="utf-8"))
    return f"NiiVue {about['version']} sha256:{about['sha256']}"


def plain_json(value: Any) -> Markup:
    """JSON that can stand in a script element."""
    return Markup(json.dumps(value, ensure_ascii=False, default=str).replace("<", "\\u003c").replace("&", "\\u0026"))


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _page(result: SessionResult, images: Mapping[Sequence, GreyImage], lesions_sha256: str | None) -> dict[str, Any]:
    prepared, measurements, provenance = result.prepared, result.measurements, result.provenance
    canvases = {sequence: figures.prepare_canvas(image, prepared) for sequence, image in images.items()}
    landmarks = figures.find_landmarks(prepared)
    maps = {marker: found for marker in Marker if isinstance(found := result.segmentation.markers[marker], MarkerMap)}
    sections = [describe_marker(result, marker, canvases) for marker in Marker]
    icv = measurements.icv_ml
    reference = canvases.get(prepared.reference)
    return {
        "id": str(result.id),
        "subject": result.id.subject,
        "session": result.id.session,
        "reference": str(prepared.reference),
        "sequences": [(str(sequence), _voxels(prepared.native.get(sequence))) for sequence in Sequence],
        "traits": _traits(provenance.traits),
        "brain_extracted": prepared.brain_extracted,
        "summary": summarise(sections, measurements.scores, icv),
        "markers": sections,
        "ranges": any(section.volume_range for section in sections),
        "assessed": [section for section in sections if not section.why_not],
        "not_assessed": [(section.info.name.capitalize(), section.why_not) for section in sections if section.why_not]
        + ([("Intracranial volume", icv.reason)] if isinstance(icv, NotAssessed) else [])
        + [(SCALES[scale].name, score.reason) for scale, score in measurements.scores.items() if isinstance(score, NotAssessed)]
        + missing_z(measurements.burden, (section.info.marker for section in sections if not section.why_not)),
        "icv": "n/a" if isinstance(icv, NotAssessed) else f"{icv:.0f} mL",
        "brain": f"{measurements.brain_ml:.0f} mL",
        "scores": [(SCALES[scale], score, isinstance(score, Score), _chances(score)) for scale, score in measurements.scores.items()],
        "z_rows": _z_rows(measurements.burden),
        "z_reference": measurements.burden.reference if isinstance(measurements.burden, Burden) else "",
        "map": figures.map_pictures(prepared, maps, measurements.lesions) if maps else [],
        "viewer": plain_json(_viewer(result, images, sections, lesions_sha256)),
        "images": [(str(sequence), encode_image(image)) for sequence, image in images.items()],
        "masks": [(str(marker), encode_labels(found.labels)) for marker, found in maps.items()],
        "anatomy": [(str(sequence), figures.anatomy_pictures(canvas, landmarks)) for sequence, canvas in canvases.items()],
        "boards": [
            board
            for canvas in canvases.values()
            if reference is not None and canvas is not reference
            for board in figures.checkerboards(reference, canvas, landmarks)
        ],
        "signals": [figures.plot_signal(images[sequence], canvas) for sequence, canvas in canvases.items()],
        "plot_size": (figures.PLOT_WIDTH, figures.PLOT_HEIGHT),
        "anatomy_legend": (
            ("brain", figures.BRAIN_COLOUR),
            ("ventricles", figures.VENTRICLE_COLOUR),
            ("thalamus, caudate, putamen, pallidum", figures.DEEP_GREY_COLOUR),
        ),
        "checks": prepared.checks,
        "check_value": _check_value,
        "concerns": sorted((check for check in prepared.checks if check.status != "pass"), key=lambda check: -STATUS_RANK[check.status]),
        "status": worst_status(prepared.checks) if prepared.checks else None,
        "structures": [(name, f"{volume:.1f}") for name, volume in measurements.structure_ml.items()],
        "lesions": [(lesion, figures.place_of(lesion)) for lesion in likeliest_first(measurements.lesions)],
        "provenance": provenance,
        "viewer_version": viewer_version(),
        "reviews": result.reviews,
        "periventricular_rule": _periventricular_rule(provenance.settings),
        "settings": json.dumps(provenance.settings, indent=2, ensure_ascii=False, default=str),
        "total_s": sum(provenance.timings_s.values()),
        "format_ml": format_ml,
        "whole": _whole,
        "chance_text": _chance_text,
    }


def _periventricular_rule(settings: Mapping[str, object]) -> str:
    measure = settings.get("measure")
    return str(measure.get("periventricular_rule", "")) if isinstance(measure, Mapping) else ""


def _viewer(
    result: SessionResult, images: Mapping[Sequence, GreyImage], sections: list[MarkerSection], lesions_sha256: str | None
) -> dict[str, Any]:
    """What the page's scripts read; by the first four a saved review tells on what it was made."""
    lesions = result.measurements.lesions
    return {
        "session": str(result.id),
        "digest": result.provenance.digest,
        "lesions_sha256": lesions_sha256 or lesions_digest(lesions),
        "earlier_reviews": [review.source for review in result.reviews],
        "reference": str(result.prepared.reference),
        "images": [{"name": str(image.sequence), "black": image.black, "white": image.white} for image in images.values()],
        "markers": [
            {
                "name": str(section.info.marker),
                "title": section.info.name,
                "colour": section.info.colour,
                "assessed": not section.why_not,
                "rated_on": section.rated_on,
            }
            for section in sections
        ],
        "lesions": [
            {"marker": str(lesion.marker), "label": lesion.label, "mm": [round(float(value), 3) for value in lesion.centroid_mm]}
            for lesion in lesions
        ],
    }


def _voxels(native: Native | None) -> str:
    """Voxel size as acquired, the slice thickness last; empty for a sequence that is not there."""
    return "" if native is None else " × ".join(f"{mm:.2g}" for mm in sorted(native.grid.spacing_mm)) + " mm"


def _traits(traits: Traits) -> str:
    """Age and sex, as far as they are known."""
    age = [] if traits.age is None else [f"{traits.age:g} years"]
    return ", ".join(age + ([] if traits.male is None else ["male" if traits.male else "female"]))


def _chance_text(lesion: Lesion) -> str:
    return NOT_AVAILABLE if lesion.chance is None else f"{lesion.chance:.2f}"


def _whole(mm: tuple[float, float, float]) -> tuple[float, ...]:
    """Coordinates in whole mm, without a sign before 0."""
    return tuple(round(value) + 0.0 for value in mm)


def _chances(score: Score | NotAssessed) -> str:
    """The other grades that are at least 5 % likely."""
    if isinstance(score, NotAssessed):
        return ""
    others = [(grade, chance) for grade, chance in score.chances.items() if grade != score.value and chance >= LIKELY]
    return ", ".join(f"{grade}: {chance:.0%}" for grade, chance in others)


def _z_rows(burden: Burden | NotAssessed) -> list[tuple[str, str, str]]:
    if isinstance(burden, NotAssessed):
        return []
    rows = [(str(marker), z_text(burden.volume[marker]), z_text(burden.count[marker])) for marker in Marker]
    return [*rows, ("All markers", _total_text(burden.volume), _total_text(burden.count))]


def _total_text(zs: Mapping[str, float | NotAssessed]) -> str:
    """The total Z, with the markers that it is made of where these are not all."""
    of = [str(marker) for marker in Marker if not isinstance(zs[marker], NotAssessed)]
    fewer = len(of) < len(Marker) and not isinstance(zs["total"], NotAssessed)
    return z_text(zs["total"]) + (f" (of {', '.join(of)} only)" if fewer else "")


def _check_value(check: Check) -> str:
    if check.value is None:
        return "n/a"
    return f"{check.value:.0f} {check.unit}".strip() if abs(check.value) >= 100 else f"{check.value:.3g} {check.unit}".strip()
