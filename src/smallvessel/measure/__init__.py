"""Turn masks into numbers: a row per lesion, volumes and counts per region, structure volumes, intracranial volume."""

from __future__ import annotations

from ..config import MeasureSettings
from ..markers import Marker
from ..records import Lesion, MarkerMeasures, Measurements, NotAssessed, Prepared, Segmentation
from .lesions import measure_lesions, structure_volumes_ml, sum_marker
from .regions import map_regions

__all__ = ["measure_session"]


def measure_session(prepared: Prepared, segmentation: Segmentation, settings: MeasureSettings) -> Measurements:
    """Measure one session.

    Parameters
    ----------
    prepared : Prepared
    segmentation : Segmentation
        On the analysis grid of ``prepared``.
    settings : MeasureSettings
        The rule that divides white matter hyperintensities, and its distances.

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
        markers[marker] = sum_marker(marker, found, settings)
        lesions.extend(one.lesion for one in found)
    icv: float | NotAssessed = anatomy.intracranial.volume_ml
    if prepared.brain_extracted:
        icv = NotAssessed("the input is brain-extracted: the space between brain and skull is not in the image")
    return Measurements(
        icv_ml=icv,
        brain_ml=anatomy.brain.volume_ml,
        structure_ml=structure_volumes_ml(anatomy.structures.data, anatomy.right.data, prepared.grid),
        markers=markers,
        lesions=tuple(lesions),
    )
