"""What the report says about each marker, from a session's result: numbers as text, regions, slices and close-ups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..markers import MARKERS, Marker, MarkerInfo, Sequence
from ..records import Burden, Lesion, MarkerMap, MarkerMeasures, NotAssessed, Score, SessionResult
from ..scales import SCALES, WMH_VOLUME_LIMITS_ML, Scale
from .drawing import Picture, busiest_slice, fullest_slices, sign
from .figures import Canvas, lesion_pictures, marker_pictures, native_mask_on, number_lesions, place_of

N_SLICES = {Marker.WMH: 6, Marker.LACUNE: 3, Marker.EPVS: 3, Marker.CMB: 3}
N_CROPS = {Marker.WMH: 0, Marker.LACUNE: 6, Marker.EPVS: 4, Marker.CMB: 6}
"""Of the most confident lesions."""
GRADED_REGIONS = {Marker.EPVS: ("basal ganglia", "centrum semiovale")}
"""The slice with most lesions of one side of each is shown, since that is what is graded."""
CROP_MM = 32.0
RING_MM = {Marker.LACUNE: 8.0, Marker.CMB: 7.0}
VISUAL_SCORES = {
    Marker.WMH: (Scale.FAZEKAS_PERIVENTRICULAR, Scale.FAZEKAS_DEEP),
    Marker.LACUNE: (),
    Marker.EPVS: (Scale.EPVS_BASAL_GANGLIA, Scale.EPVS_CENTRUM_SEMIOVALE, Scale.EPVS_MIDBRAIN),
    Marker.CMB: (Scale.CMB_BAND,),
}
"""The scores that stand beside a marker's volume and count."""
VOLUME_GRADES = ("below mild", "mild", "moderate", "severe")
EPVS_GRADES = {"BG": Scale.EPVS_BASAL_GANGLIA, "CSO": Scale.EPVS_CENTRUM_SEMIOVALE}
"""Perivascular spaces are read by their grades; their number says little."""
PLACED = (Marker.LACUNE, Marker.CMB)
"""Markers whose meaning hangs on where the lesions lie: the numbers by region stand beside their count."""
SUMMARY_SCORES = {Scale.FAZEKAS_PERIVENTRICULAR: "Fazekas PV", Scale.FAZEKAS_DEEP: "Fazekas deep", Scale.SVD_TOTAL: "SVD burden"}


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
    """One lesion, close up, in the slice that ``where`` tells."""

    lesion: Lesion
    place: str
    where: str
    pictures: list[Picture]


@dataclass(frozen=True)
class MarkerSection:
    """Everything the page shows about one marker; ``why_not`` is empty when it was assessed."""

    info: MarkerInfo
    sign: str
    why_not: str
    volume: str = "n/a"
    volume_ml: float = 0.0
    count: str = "n/a"
    volume_range: str = ""
    count_range: str = ""
    z: str = "n/a"
    visual: tuple[VisualScore, ...] = ()
    evidence: str = ""
    rated_on: str = ""
    plane: str = ""
    regions: tuple[RegionRow, ...] = ()
    mars: tuple[tuple[str, int], ...] = ()
    remarks: tuple[str, ...] = ()
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
    lesions = likeliest_first(lesion for lesion in result.measurements.lesions if lesion.marker is marker)
    slices, crops, plane = _draw_marker(result, found, lesions, canvases)
    return MarkerSection(
        info=info,
        sign=own_sign,
        why_not="",
        volume=format_ml(measured.volume_ml),
        volume_ml=measured.volume_ml,
        count=str(measured.count),
        volume_range=" to ".join(map(format_ml, measured.volume_range_ml or ())),
        count_range=" to ".join(map(str, measured.count_range or ())),
        z=_z_of(result.measurements.burden, marker),
        visual=_visual_scores(result.measurements.scores, marker),
        evidence=_evidence(measured, lesions) if marker in PLACED else "",
        rated_on=str(found.native_sequence),
        plane=plane,
        regions=_regions(measured, lesions),
        mars=_mars(lesions),
        remarks=_remarks(measured.details),
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
    numbered = number_lesions(canvas, mask, found) if N_CROPS[found.marker] else mask.astype(np.int32)
    ring_mm = RING_MM.get(found.marker)
    remarks = _graded_slices(found.marker, numbered, lesions, canvas)
    slices = marker_pictures(canvas, found.marker, mask, N_SLICES[found.marker], numbered if ring_mm else None, ring_mm or 0.0, remarks)
    others = [other for other in canvases.values() if other is not canvas]
    crops: list[Crop] = []
    for lesion in lesions:
        if len(crops) == N_CROPS[found.marker]:
            break
        voxels = numbered == lesion.label
        if voxels.any():
            pictures = lesion_pictures(canvas, mask, voxels, MARKERS[found.marker].colour, others, CROP_MM)
            (index,) = fullest_slices(voxels, canvas.plane, 1, 1)
            crops.append(Crop(lesion, place_of(lesion), canvas.tell_slice(index), pictures))
    return tuple(slices), tuple(crops), canvas.plane.title


def _graded_slices(marker: Marker, numbered: NDArray[np.int32], lesions: list[Lesion], canvas: Canvas) -> dict[int, str]:
    """Per graded region the slice with most of its lesions on one side, and the region's name."""
    remarks: dict[int, str] = {}
    for region in GRADED_REGIONS.get(marker, ()):
        sides = [[lesion.label for lesion in lesions if (lesion.region, lesion.side) == (region, side)] for side in ("left", "right")]
        index = busiest_slice(numbered, canvas.plane, sides)
        if index is not None:
            remarks[index] = f"{remarks[index]} and {region}" if index in remarks else f"most of one side’s {region}"
    return remarks


def summarise(
    sections: Iterable[MarkerSection], scores: Mapping[Scale, Score | NotAssessed], icv_ml: float | NotAssessed
) -> tuple[tuple[str, str], ...]:
    """The finding in a handful of (value, what) pairs, to be read in five seconds."""
    told: list[tuple[str, str]] = []
    for section in sections:
        name = section.info.short
        if section.why_not:
            told.append(("n/a", name))
        elif section.info.marker is Marker.WMH:
            share = "" if isinstance(icv_ml, NotAssessed) else f", {100 * section.volume_ml / icv_ml:.2g} % of ICV"
            told.append((f"{section.volume} mL", f"{name}{share}"))
        elif section.info.marker is Marker.EPVS and all(scale in scores for scale in EPVS_GRADES.values()):
            grades = " · ".join(f"{region} {_grade(scores[scale])}" for region, scale in EPVS_GRADES.items())
            told.append((grades, f"{name} grades, of {SCALES[Scale.EPVS_BASAL_GANGLIA].highest}"))
        else:
            told.append((section.count, name.rstrip("s") if section.count == "1" and name != "EPVS" else name))
    for scale, name in SUMMARY_SCORES.items():
        if scale in scores:
            score = scores[scale]
            told.append((f"{score.value} of {SCALES[scale].highest}" if isinstance(score, Score) else "n/a", name))
    return tuple(told)


def _grade(score: Score | NotAssessed) -> str:
    return str(score.value) if isinstance(score, Score) else "n/a"


def _evidence(measured: MarkerMeasures, lesions: list[Lesion]) -> str:
    """Where the lesions lie, and the largest."""
    if not lesions:
        return "none found"
    places = ", ".join(f"{region} {count}" for region, count in measured.region_count.items())
    return f"{places}; largest {max(lesion.diameter_mm for lesion in lesions):.1f} mm"


def _visual_scores(scores: Mapping[Scale, Score | NotAssessed], marker: Marker) -> tuple[VisualScore, ...]:
    shown = []
    for scale in VISUAL_SCORES[marker]:
        score, info = scores.get(scale), SCALES[scale]
        if isinstance(score, Score):
            shown.append(VisualScore(info.name, f"{score.value} of {info.highest}", score.evidence))
        elif score is not None:
            shown.append(VisualScore(info.name, "n/a", score.reason))
    return tuple(shown)


def _z_of(burden: Burden | NotAssessed, marker: Marker) -> str:
    return "n/a" if isinstance(burden, NotAssessed) else z_text(burden.volume[marker])


def missing_z(burden: Burden | NotAssessed, assessed: Iterable[Marker]) -> list[tuple[str, str]]:
    """Which Z scores of assessed markers, or of all together, there are not, and why."""
    if isinstance(burden, NotAssessed):
        return [("Z scores", burden.reason)]
    told = []
    for part, name in [*((str(marker), MARKERS[marker].name) for marker in assessed), ("total", "all markers")]:
        whys = {
            kind: z.reason for kind, z in (("volume", burden.volume[part]), ("count", burden.count[part])) if isinstance(z, NotAssessed)
        }
        if len(whys) == 2 and len(set(whys.values())) == 1:
            told.append((f"Z of {name}", whys["volume"]))
        else:
            told += [(f"Z of {name}, by {kind}", why) for kind, why in whys.items()]
    return told


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


def _remarks(details: Mapping[str, float | int]) -> tuple[str, ...]:
    """A marker's details in sentences: confluency and grade by volume of WMH, sizes and certainty of microbleeds."""
    told = []
    if "wmh_confluency" in details:
        grade = VOLUME_GRADES[int(details["wmh_volume_grade"])]
        told.append(f"By volume alone {grade} (limits {', '.join(f'{limit:g}' for limit in WMH_VOLUME_LIMITS_ML)} mL).")
        largest = details["wmh_largest_confluency"]
        told.append(f"Confluency {details['wmh_confluency']:.2f}, of the largest lesion {largest:.2f} (0: a ball).")
    if "cmb_definite_count" in details:
        told.append(f"Definite {details['cmb_definite_count']}, possible {details['cmb_possible_count']}, by expected chance.")
    sizes = [
        f"{region} {details[f'cmb_{region}_below_5mm_count']} and {details[f'cmb_{region}_from_5mm_count']}"
        for region in ("lobar", "deep", "infratentorial")
        if f"cmb_{region}_below_5mm_count" in details
    ]
    if sizes:
        told.append(f"Below 5 mm, and of 5 mm or more: {', '.join(sizes)}.")
    return tuple(told)


def likeliest_first(lesions: Iterable[Lesion]) -> list[Lesion]:
    """Lesions by their chance, and where it is not known by the network's confidence."""

    def order(lesion: Lesion) -> tuple[float, float, Marker, int]:
        return -(lesion.confidence if lesion.chance is None else lesion.chance), -lesion.volume_mm3, lesion.marker, lesion.label

    return sorted(lesions, key=order)


def format_ml(volume_ml: float) -> str:
    """A volume in mL with as many digits as small lesions need; a volume above 0 is never shown as 0."""
    if volume_ml == 0:
        return "0"
    return f"{volume_ml:.1f}" if volume_ml >= 10 else f"{volume_ml:.2f}" if volume_ml >= 0.1 else f"{max(volume_ml, 0.001):.3f}"
