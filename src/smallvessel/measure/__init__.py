"""Turn masks into numbers: a row per lesion, volumes and counts per region, structure volumes, intracranial volume, scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import MeasureSettings
from ..expected import ExpectedErrors, lesion_log_odds
from ..markers import Marker
from ..participants import UNKNOWN, Traits
from ..records import (
    NO_REFERENCE,
    Lesion,
    MarkerMap,
    MarkerMeasures,
    Measurements,
    Native,
    NotAssessed,
    Prepared,
    Segmentation,
)
from ..reference import Reference
from ..scales import MARS_REGIONS
from ..volume import Grid
from .arwmc import RegionExtent, measure_regions
from .burden import score_burden
from .details import count_definite, measure_details
from .extent import Slab, WmhExtent, find_worst_slab, measure_extent
from .lesions import measure_lesions, structure_volumes_ml, sum_marker
from .regions import CODES, EPVS_REGIONS, RegionMaps, map_regions, region_names
from .scores import DEEP, RIM, Evidence, score_session
from .uncertainty import count_chances, count_range, volume_range_ml

__all__ = ["measure_session"]

SLAB_REGIONS = ("basal ganglia", "centrum semiovale")
"""Those whose perivascular spaces are graded by the slab with most."""
DEEP_GREY = ("basal ganglia", "thalamus")
"""WMH there are no deep white matter lesions, and do not count for Fazekas (STRIVE reports them apart)."""


def measure_session(
    prepared: Prepared,
    segmentation: Segmentation,
    settings: MeasureSettings,
    reference: Reference | None = None,
    z_over_assessed: bool = False,
    traits: Traits = UNKNOWN,
) -> Measurements:
    """Measure one session.

    Parameters
    ----------
    prepared : Prepared
    segmentation : Segmentation
        On the analysis grid of ``prepared``.
    settings : MeasureSettings
        The rule that divides white matter hyperintensities, and its distances.
    reference : Reference, optional
        For Z scores; without one there are none.
    z_over_assessed : bool
        Make the total Z score from the markers that were assessed.
    traits : Traits
        Age and sex, for a reference that is adjusted for them.

    Returns
    -------
    Measurements
        A marker that was not assessed keeps its reason.
    """
    anatomy = prepared.anatomy
    maps = map_regions(anatomy, settings)
    lesions: list[Lesion] = []
    markers: dict[Marker, MarkerMeasures | NotAssessed] = {}
    for marker, result in segmentation.markers.items():
        if isinstance(result, NotAssessed):
            markers[marker] = result
            continue
        found = measure_lesions(result, maps, settings)
        mine = [one.lesion for one in found]
        total = sum_marker(marker, found, maps, settings)
        details = measure_details(result.labels, mine, marker, total.region_count)
        if marker is Marker.CMB and result.errors is not None:
            details |= count_definite([one.chance for one in mine if one.chance is not None])
        markers[marker] = replace(total, details=details, **_ranges(result, total.volume_ml, mine))
        lesions.extend(mine)
    icv: float | NotAssessed = anatomy.intracranial.volume_ml
    if prepared.brain_extracted:
        icv = NotAssessed("the input is brain-extracted: the space between brain and skull is not in the image")
    evidence = _gather_evidence(prepared, segmentation, maps, markers, lesions, settings)
    return Measurements(
        icv_ml=icv,
        brain_ml=anatomy.brain.volume_ml,
        structure_ml=structure_volumes_ml(anatomy.structures.data, anatomy.right.data, prepared.grid),
        markers={marker: _with_geometry(found, evidence) for marker, found in markers.items()},
        lesions=tuple(lesions),
        scores=score_session(evidence),
        burden=score_burden(markers, icv, reference, z_over_assessed, traits) if reference else NotAssessed(NO_REFERENCE),
    )


def _with_geometry(found: MarkerMeasures | NotAssessed, evidence: Evidence) -> MarkerMeasures | NotAssessed:
    """The numbers that scores rest on, beside a marker's others."""
    if isinstance(found, NotAssessed):
        return found
    geometry: dict[str, float | int] = {}
    if found.marker is Marker.WMH and isinstance(evidence.wmh, WmhExtent):
        extent = evidence.wmh
        geometry = {"wmh_rim_mm": extent.rim_mm, "wmh_rim_covered": extent.covered, "wmh_deep_diameter_mm": extent.deep_mm}
    if found.marker is Marker.EPVS:
        reached = [region for region in SLAB_REGIONS if region in found.region_count]
        geometry = {f"epvs_{region.replace(' ', '_')}_slab_count": len(evidence.worst_slab[region].labels) for region in reached}
    return replace(found, details={**found.details, **geometry})


def _height_mm(native: Native, grid: Grid) -> float:
    """Height of a sequence's voxels along the third axis of the analysis grid."""
    up = grid.affine[:3, 2] / np.linalg.norm(grid.affine[:3, 2])
    return float(np.abs(up @ native.reference_from_native.matrix[:3, :3] @ native.grid.affine[:3, :3]).max())


def _log_odds(lesions: Iterable[Lesion], errors: ExpectedErrors) -> list[float]:
    return [lesion_log_odds(lesion.confidence, lesion.volume_mm3, errors) for lesion in lesions]


def _ranges(found: MarkerMap, volume_ml: float, lesions: Iterable[Lesion]) -> dict[str, Any]:
    """Intervals of volume and number; the number of confluent WMH says little, and has none."""
    if found.errors is None:
        return {}
    volume = {"volume_range_ml": volume_range_ml(volume_ml, found.errors)}
    if found.marker is Marker.WMH:
        return volume
    return volume | {"count_range": count_range(count_chances(_log_odds(lesions, found.errors), found.errors))}


def _gather_evidence(
    prepared: Prepared,
    segmentation: Segmentation,
    maps: RegionMaps,
    markers: Mapping[Marker, MarkerMeasures | NotAssessed],
    lesions: Sequence[Lesion],
    settings: MeasureSettings,
) -> Evidence:
    wmh, spaces = segmentation.markers[Marker.WMH], segmentation.markers[Marker.EPVS]
    extent: WmhExtent | NotAssessed
    wmh_regions: Mapping[tuple[str, str], RegionExtent] | NotAssessed
    chances: dict[tuple[Marker, str], NDArray[np.float64]] = {}
    if isinstance(wmh, NotAssessed):
        extent = wmh_regions = wmh
    else:
        names = [name for name, group in MARS_REGIONS.items() if group == "infratentorial" or name in DEEP_GREY]
        elsewhere = np.isin(maps.mars, [CODES[name] for name in names])
        structures = prepared.anatomy.structures.data
        extent = measure_extent(wmh.labels, structures, elsewhere, settings)
        wmh_regions = measure_regions(wmh.labels, maps, prepared.anatomy.lobes, structures)
        if wmh.errors is not None and isinstance(extent, WmhExtent):
            mine = [one for one in lesions if one.marker is Marker.WMH]
            of_each = _log_odds(mine, wmh.errors)
            for part, labels in ((RIM, extent.touching), (DEEP, tuple(extent.deep))):
                chances[Marker.WMH, part] = count_chances(of_each, wmh.errors, [one.label in labels for one in mine], 2)
    worst_slab: dict[str, Slab] = {}
    slab_chances: dict[str, NDArray[np.float64]] = {}
    if not isinstance(spaces, NotAssessed):
        mine = [lesion for lesion in lesions if lesion.marker is Marker.EPVS]
        slice_mm = _height_mm(prepared.native[spaces.native_sequence], prepared.grid)
        for region in SLAB_REGIONS:
            slab = worst_slab[region] = find_worst_slab(spaces.labels, mine, region, slice_mm)
            if spaces.errors is not None:
                inside = [one.label in slab.labels for one in mine]
                slab_chances[region] = count_chances(_log_odds(mine, spaces.errors), spaces.errors, inside, len(EPVS_REGIONS))
        if spaces.errors is not None:
            inside = [one.region == "midbrain" for one in mine]
            chances[Marker.EPVS, "midbrain"] = count_chances(_log_odds(mine, spaces.errors), spaces.errors, inside, len(EPVS_REGIONS))
    for marker in (Marker.LACUNE, Marker.CMB):
        found = segmentation.markers[marker]
        if isinstance(found, MarkerMap) and found.errors is not None:
            mine = [one for one in lesions if one.marker is marker]
            of_each, regions = _log_odds(mine, found.errors), region_names(marker)
            chances[marker, ""] = count_chances(of_each, found.errors)
            for region in regions:
                inside = [one.region == region for one in mine]
                chances[marker, region] = count_chances(of_each, found.errors, inside, len(regions))
    rule = settings.periventricular_rule
    return Evidence(markers, extent, wmh_regions, worst_slab, rule, slab_chances, chances, tuple(lesions))
