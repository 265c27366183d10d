"""What the report says about each marker, from a session's result: numbers as text, regions, slices and close-ups."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..markers import MARKERS, Marker, MarkerInfo, Sequence
from ..records import Burden, Lesion, MarkerMap, MarkerMeasures, NotAssessed, Score, SessionResult
from ..scales import SCALES, Scale
from ..volume import resample
from .drawing import Picture, fullest_slices, sign
from .figures import Canvas, lesion_pictures, marker_pictures, native_mask_on

N_SLICES = {Marker.WMH: 6, Marker.LACUNE: 3, Marker.EPVS: 3, Marker.CMB: 3}
N_CROPS = {Marker.WMH: 0, Marker.LACUNE: 6, Marker.EPVS: 4, Marker.CMB: 6}
"""Of the most confident lesions."""
CROP_MM = 32.0
RING_MM = {Marker.LACUNE: 8.0, Marker.CMB: 7.0}
VISUAL_SCORES = {
    Marker.WMH: ((Scale.FAZEKAS_PERIVENTRICULAR, "Fazekas periventricular"), (Scale.FAZEKAS_DEEP, "Fazekas deep")),
    Marker.LACUNE: (),
    Marker.EPVS: (
        (Scale.EPVS_BASAL_GANGLIA, "basal ganglia"),
        (Scale.EPVS_CENTRUM_SEMIOVALE, "centrum semiovale"),
        (Scale.EPVS_MIDBRAIN, "midbrain"),
    ),
    Marker.CMB: ((Scale.CMB_BAND, "by number"),),
}
"""The scores that stand beside a marker's volume and count."""
SUMMARY_SCORES = {Scale.FAZEKAS_PERIVENTRICULAR: "Fazekas PV", Scale.FAZEKAS_DEEP: "Fazekas deep", Scale.SVD_TOTAL: "SVD burden"}
SHORT_NAMES = {Marker.WMH: "WMH", Marker.LACUNE: "lacunes", Marker.EPVS: "EPVS", Marker.CMB: "microbleeds"}


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
class VisualScore:
    """A visual score beside its marker, and what decided it."""

    name: str
    value: str
    evidence: str


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
    z: str = "n/a"
    visual: tuple[VisualScore, ...] = ()
    largest: str = "–"
    confidence: str = "–"
    rated_on: str = ""
    plane: str = ""
    regions: tuple[RegionRow, ...] = ()
    mars: tuple[tuple[str, int], ...] = ()
    slices: tuple[Picture, ...] = ()
    crops: tuple[Crop, ...] = ()


def describe_marker(result: SessionResult, marker: Marker, canvases: Mapping[Sequence, Canvas]) -> MarkerSection:
    """Everything the page shows about one marker.

    ``canvases`` hold the sequences that can be drawn on; without that of the marker there are no pictures of it.
    """
    info, own_sign = MARKERS[marker], sign(marker, 6, 6, 4.5)
    found, measured = result.segmentation.markers[marker], result.measurements.markers[marker]
    for outcome in (found, measured):
        if isinstance(outcome, NotAssessed):
            return MarkerSection(info, own_sign, outcome.reason)
    if not isinstance(found, MarkerMap) or not isinstance(measured, MarkerMeasures):  # for the type checker: handled above
        return MarkerSection(info, own_sign, "no result")
    lesions = by_confidence(lesion for lesion in result.measurements.lesions if lesion.marker is marker)
    slices, crops, plane = _draw_marker(result, found, lesions, canvases)
    return MarkerSection(
        info=info,
        sign=own_sign,
        why_not="",
        volume=format_ml(measured.volume_ml),
        count=str(measured.count),
        volume_range=" to ".join(map(format_ml, measured.volume_range_ml or ())),
        count_range=" to ".join(map(str, measured.count_range or ())),
        z=_z_of(result.measurements.burden, marker),
        visual=_visual_scores(result.measurements.scores, marker),
        largest=f"{max(lesion.diameter_mm for lesion in lesions):.1f}" if lesions else "–",
        confidence=f"{statistics.median(lesion.confidence for lesion in lesions):.2f}" if lesions else "–",
        rated_on=str(found.native_sequence),
        plane=plane,
        regions=_regions(measured, lesions),
        mars=_mars(lesions),
        slices=slices,
        crops=crops,
    )


def _draw_marker(
    result: SessionResult, found: MarkerMap, lesions: list[Lesion], canvases: Mapping[Sequence, Canvas]
) -> tuple[tuple[Picture, ...], tuple[Crop, ...], str]:
    canvas = canvases.get(found.native_sequence)
    if canvas is None:
        return (), (), "axial"
    mask = native_mask_on(canvas, found, result.prepared)
    slices = marker_pictures(canvas, found, mask, N_SLICES[found.marker], RING_MM.get(found.marker))
    others = [other for other in canvases.values() if other is not canvas]
    numbered = resample(found.labels, canvas.grid).data if N_CROPS[found.marker] and lesions else None
    crops: list[Crop] = []
    for lesion in lesions:
        if numbered is None or len(crops) == N_CROPS[found.marker]:
            break
        voxels = numbered == lesion.label
        if fullest_slices(voxels, canvas.plane, 1, 1):
            pictures = lesion_pictures(canvas, mask, voxels, MARKERS[found.marker].colour, others, CROP_MM)
            crops.append(Crop(lesion, place_of(lesion), pictures))
    return tuple(slices), tuple(crops), canvas.plane.title


def summarise(sections: Iterable[MarkerSection], scores: Mapping[Scale, Score | NotAssessed]) -> tuple[tuple[str, str], ...]:
    """The finding in a handful of (value, what) pairs, to be read in five seconds."""
    told = []
    for section in sections:
        name = SHORT_NAMES[section.info.marker]
        if section.why_not:
            told.append(("n/a", name))
        elif section.info.marker is Marker.WMH:
            told.append((f"{section.volume} mL", name))
        else:
            told.append((section.count, name.rstrip("s") if section.count == "1" and name != "EPVS" else name))
    for scale, name in SUMMARY_SCORES.items():
        if scale in scores:
            score = scores[scale]
            told.append((f"{score.value} of {SCALES[scale].highest}" if isinstance(score, Score) else "n/a", name))
    return tuple(told)


def _visual_scores(scores: Mapping[Scale, Score | NotAssessed], marker: Marker) -> tuple[VisualScore, ...]:
    shown = []
    for scale, name in VISUAL_SCORES[marker]:
        score = scores.get(scale)
        if isinstance(score, Score):
            shown.append(VisualScore(name, str(score.value), score.evidence))
        elif score is not None:
            shown.append(VisualScore(name, "n/a", score.reason))
    return tuple(shown)


def _z_of(burden: Burden | NotAssessed, marker: Marker) -> str:
    return "n/a" if isinstance(burden, NotAssessed) else z_text(burden.volume[marker])


def z_text(z: float | NotAssessed) -> str:
    """A Z score with its sign."""
    return "n/a" if isinstance(z, NotAssessed) else f"{z:+.2f}"


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


def by_confidence(lesions: Iterable[Lesion]) -> list[Lesion]:
    """Lesions, the most confident first."""
    return sorted(lesions, key=lambda lesion: (-lesion.confidence, -lesion.volume_mm3, lesion.marker, lesion.label))


def place_of(lesion: Lesion) -> str:
    """Region and side."""
    return f"{lesion.mars_region or lesion.region}, {lesion.side}"


def format_ml(volume_ml: float) -> str:
    """A volume in mL with as many digits as small lesions need; a volume above 0 is never shown as 0."""
    if volume_ml == 0:
        return "0"
    return f"{volume_ml:.1f}" if volume_ml >= 10 else f"{volume_ml:.2f}" if volume_ml >= 0.1 else f"{max(volume_ml, 0.001):.3f}"
