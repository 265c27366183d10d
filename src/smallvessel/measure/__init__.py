"""Turn masks into numbers: a row per lesion, volumes and counts per region, structure volumes, intracranial volume, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import MeasureSettings
from ..markers import Marker
from ..participants import UNKNOWN, Traits
from ..records import NO_REFERENCE, Lesion, MarkerMap, MarkerMeasures, Measurements, NotAssessed, Prepared, Segmentation
from ..reference import Reference
from .arwmc import RegionExtent, measure_regions
from .burden import score_burden
from .details import measure_details
from .extent import WmhExtent, find_worst_slab, measure_extent
from .lesions import measure_lesions, structure_volumes_ml, sum_marker
from .regions import CODES, EPVS_REGIONS, MARS_REGIONS, RegionMaps, map_regions
from .scores import Evidence, score_session
from .uncertainty import count_chances, count_range, volume_range_ml

__all__ = ["measure_session"]


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
        total = sum_marker(marker, found, settings)
        markers[marker] = replace(total, details=measure_details(result.labels, mine, marker), **_ranges(result, total.volume_ml))
        lesions.extend(mine)
    icv: float | NotAssessed = anatomy.intracranial.volume_ml
    if prepared.brain_extracted:
        icv = NotAssessed("the input is brain-extracted: the space between brain and skull is not in the image")
    scores = score_session(_gather_evidence(prepared, segmentation, maps, markers, lesions, settings))
    return Measurements(
        icv_ml=icv,
        brain_ml=anatomy.brain.volume_ml,
        structure_ml=structure_volumes_ml(anatomy.structures.data, anatomy.right.data, prepared.grid),
        markers=markers,
        lesions=tuple(lesions),
        scores=scores,
        burden=score_burden(markers, icv, reference, z_over_assessed, traits) if reference else NotAssessed(NO_REFERENCE),
    )


def _ranges(found: MarkerMap, volume_ml: float) -> dict[str, Any]:
    """Intervals of volume and number; the number of confluent WMH says little, and has none."""
    if found.errors is None:
        return {}
    volume = {"volume_range_ml": volume_range_ml(volume_ml, found.errors)}
    if found.marker is Marker.WMH:
        return volume
    return volume | {"count_range": count_range(count_chances(found.confidence, found.errors))}


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
    wmh_regions: Mapping[tuple[str, str], RegionExtent] = {}
    if isinstance(wmh, NotAssessed):
        extent = wmh
    else:
        infratentorial = np.isin(maps.mars, [CODES[name] for name, group in MARS_REGIONS.items() if group == "infratentorial"])
        structures = prepared.anatomy.structures.data
        extent = measure_extent(wmh.labels, structures, infratentorial, settings)
        wmh_regions = measure_regions(wmh.labels, maps, prepared.anatomy.lobes, structures)
    worst_slab: dict[str, int] = {}
    slab_chances: dict[str, NDArray[np.float64]] = {}
    if not isinstance(spaces, NotAssessed):
        mine = [lesion for lesion in lesions if lesion.marker is Marker.EPVS]
        for region in EPVS_REGIONS:
            slab = find_worst_slab(spaces.labels, mine, region)
            worst_slab[region] = len(slab)
            if spaces.errors is not None:
                slab_chances[region] = count_chances([spaces.confidence[label - 1] for label in slab], spaces.errors)
    bleeds = segmentation.markers[Marker.CMB]
    cmb_chances = None
    if isinstance(bleeds, MarkerMap) and bleeds.errors is not None:
        cmb_chances = count_chances(bleeds.confidence, bleeds.errors)
    return Evidence(markers, extent, wmh_regions, worst_slab, slab_chances, cmb_chances)
