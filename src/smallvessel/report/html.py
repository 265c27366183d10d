"""One self-contained HTML page per session: no script, no external resource, every text escaped."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..derivatives import write_text
from ..markers import MARKERS, Marker, MarkerInfo, Sequence
from ..records import Burden, Check, Lesion, MarkerMap, MarkerMeasures, NotAssessed, Score, SessionResult, Status
from ..scales import SCALES
from ..tables import worst_status
from . import figures
from .figures import Picture

N_SLICES = {Marker.WMH: 6, Marker.LACUNE: 2, Marker.EPVS: 4, Marker.CMB: 2}
N_CROPS = {Marker.WMH: 0, Marker.LACUNE: 6, Marker.EPVS: 4, Marker.CMB: 6}
"""Of the most confident lesions."""
CROP_MM = 32.0
RING_MM = {Marker.LACUNE: 8.0, Marker.CMB: 7.0}
N_LESION_ROWS = 60
LIKELY = 0.05
"""Other grades of a score are named from this probability on."""
STATUS_RANK: dict[Status, int] = {"pass": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True)
class RegionRow:
    """One region of one marker; ``share`` is its part of the marker's volume, 0 to 1."""

    region: str
    volume: str
    count: int
    left: int
    right: int
    share: float


@dataclass(frozen=True)
class Crop:
    """One lesion, close up."""

    lesion: Lesion
    place: str
    pictures: list[Picture]


@dataclass(frozen=True)
class MarkerSection:
    """Everything the page shows about one marker; ``why_not`` is empty when it was assessed."""

    info: MarkerInfo
    sign: str
    why_not: str
    volume: str = "n/a"
    count: str = "n/a"
    volume_range: str = ""
    count_range: str = ""
    largest: str = "–"
    confidence: str = "–"
    rated_on: str = ""
    plane: str = ""
    regions: tuple[RegionRow, ...] = ()
    mars: tuple[tuple[str, int], ...] = ()
    slices: tuple[Picture, ...] = ()
    crops: tuple[Crop, ...] = ()


def write_report(result: SessionResult, path: Path) -> None:
    """Write a session's report, atomically.

    Parameters
    ----------
    result : SessionResult
    path : Path
        The HTML file; its folder is made.
    """
    write_text(path, render_report(result))


def render_report(result: SessionResult) -> str:
    """The report as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html").render(**_page(result))


def _page(result: SessionResult) -> dict[str, Any]:
    prepared, measurements, provenance = result.prepared, result.measurements, result.provenance
    greys = {sequence: figures.display(prepared, sequence) for sequence in Sequence if sequence in prepared.images}
    maps = {marker: found for marker in Marker if isinstance(found := result.segmentation.markers[marker], MarkerMap)}
    sections = [_marker_section(result, marker, greys) for marker in Marker]
    icv = measurements.icv_ml
    return {
        "id": str(result.id),
        "subject": result.id.subject,
        "session": result.id.session,
        "reference": str(prepared.reference),
        "sequences": [(str(sequence), sequence in prepared.images) for sequence in Sequence],
        "brain_extracted": prepared.brain_extracted,
        "markers": sections,
        "ranges": any(section.volume_range for section in sections),
        "assessed": [section for section in sections if not section.why_not],
        "not_assessed": [(section.info.name.capitalize(), section.why_not) for section in sections if section.why_not]
        + ([("Intracranial volume", icv.reason)] if isinstance(icv, NotAssessed) else []),
        "icv": "n/a" if isinstance(icv, NotAssessed) else f"{icv:.0f} mL",
        "brain": f"{measurements.brain_ml:.0f} mL",
        "scores": [(SCALES[scale], score, isinstance(score, Score), _chances(score)) for scale, score in measurements.scores.items()],
        "z_rows": _z_rows(measurements.burden),
        "z_reference": measurements.burden.reference if isinstance(measurements.burden, Burden) else "",
        "map": figures.map_pictures(prepared, maps, measurements.lesions) if maps else [],
        "anatomy": [(str(sequence), figures.anatomy_pictures(prepared, sequence, grey)) for sequence, grey in greys.items()],
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
        "lesions": [(MARKERS[lesion.marker], lesion, _place(lesion)) for lesion in _by_confidence(measurements.lesions)[:N_LESION_ROWS]],
        "n_lesions": len(measurements.lesions),
        "provenance": provenance,
        "settings": json.dumps(provenance.settings, indent=2, ensure_ascii=False, default=str),
        "total_s": sum(provenance.timings_s.values()),
    }


def _chances(score: Score | NotAssessed) -> str:
    """The other grades that are at least 5 % likely."""
    if isinstance(score, NotAssessed):
        return ""
    others = [(grade, chance) for grade, chance in score.chances.items() if grade != score.value and chance >= LIKELY]
    return ", ".join(f"{grade}: {chance:.0%}" for grade, chance in others)


def _z_rows(burden: Burden | NotAssessed) -> list[tuple[str, str, str]]:
    if isinstance(burden, NotAssessed):
        return []
    names = {**{str(marker): MARKERS[marker].name.capitalize() for marker in Marker}, "total": "All markers"}
    return [(name, _z_text(burden.volume[part]), _z_text(burden.count[part])) for part, name in names.items()]


def _z_text(z: float | NotAssessed) -> str:
    return "n/a" if isinstance(z, NotAssessed) else f"{z:+.2f}"


def _marker_section(result: SessionResult, marker: Marker, greys: dict[Sequence, Any]) -> MarkerSection:
    info, sign = MARKERS[marker], figures.sign(marker, 6, 6, 4.5)
    found, measured = result.segmentation.markers[marker], result.measurements.markers[marker]
    for outcome in (found, measured):
        if isinstance(outcome, NotAssessed):
            return MarkerSection(info, sign, outcome.reason)
    if not isinstance(found, MarkerMap) or not isinstance(measured, MarkerMeasures):  # for the type checker: handled above
        return MarkerSection(info, sign, "no result")
    lesions = _by_confidence(lesion for lesion in result.measurements.lesions if lesion.marker is marker)
    present = set(found.labels.data[found.labels.data > 0].tolist())
    shown = [lesion for lesion in lesions if lesion.label in present][: N_CROPS[marker]]
    grey = greys[found.native_sequence]
    return MarkerSection(
        info=info,
        sign=sign,
        why_not="",
        volume=format_ml(measured.volume_ml),
        count=str(measured.count),
        volume_range=" to ".join(map(format_ml, measured.volume_range_ml or ())),
        count_range=" to ".join(map(str, measured.count_range or ())),
        largest=f"{max(lesion.diameter_mm for lesion in lesions):.1f}" if lesions else "–",
        confidence=f"{statistics.median(lesion.confidence for lesion in lesions):.2f}" if lesions else "–",
        rated_on=str(found.native_sequence),
        plane=figures.viewing_plane(result.prepared, found.native_sequence).title,
        regions=_regions(measured, lesions),
        mars=_mars(lesions),
        slices=tuple(figures.marker_pictures(result.prepared, found, grey, N_SLICES[marker], RING_MM.get(marker))),
        crops=tuple(
            Crop(lesion, _place(lesion), figures.lesion_pictures(result.prepared, found, lesion.label, greys, CROP_MM)) for lesion in shown
        ),
    )


def _regions(measured: MarkerMeasures, lesions: list[Lesion]) -> tuple[RegionRow, ...]:
    return tuple(
        RegionRow(
            region=region,
            volume=_region_volume(measured, region, count),
            count=count,
            left=sum(lesion.region == region and lesion.side == "left" for lesion in lesions),
            right=sum(lesion.region == region and lesion.side == "right" for lesion in lesions),
            share=measured.region_volume_ml.get(region, 0.0) / measured.volume_ml if measured.volume_ml > 0 else 0.0,
        )
        for region, count in measured.region_count.items()
    )


def _region_volume(measured: MarkerMeasures, region: str, count: int) -> str:
    if region in measured.region_volume_ml:
        return format_ml(measured.region_volume_ml[region])
    return "divided" if count else "–"


def _mars(lesions: list[Lesion]) -> tuple[tuple[str, int], ...]:
    """Lesions per MARS region, most first."""
    names = [lesion.mars_region for lesion in lesions if lesion.mars_region]
    return tuple(sorted(((name, names.count(name)) for name in set(names)), key=lambda row: (-row[1], row[0])))


def _by_confidence(lesions: Iterable[Lesion]) -> list[Lesion]:
    return sorted(lesions, key=lambda lesion: (-lesion.confidence, -lesion.volume_mm3, lesion.marker, lesion.label))


def _place(lesion: Lesion) -> str:
    region = lesion.mars_region or lesion.region
    return f"{region}, {lesion.side}"


def _check_value(check: Check) -> str:
    if check.value is None:
        return "n/a"
    return f"{check.value:.0f} {check.unit}".strip() if abs(check.value) >= 100 else f"{check.value:.3g} {check.unit}".strip()


def format_ml(volume_ml: float) -> str:
    """A volume in mL with as many digits as small lesions need; a volume above 0 is never shown as 0."""
    if volume_ml == 0:
        return "0"
    return f"{volume_ml:.1f}" if volume_ml >= 10 else f"{volume_ml:.2f}" if volume_ml >= 0.1 else f"{max(volume_ml, 0.001):.3f}"
