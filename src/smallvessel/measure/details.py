"""Numbers beside volume and count: how confluent WMH are, where lacunes and microbleeds are (the table of them is in ``scales.py``)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence

from ..markers import Marker
from ..records import Lesion
from ..scales import BOMBS_LIMIT_MM, DETAILS, MARS_REGIONS, WMH_VOLUME_LIMITS_ML, mars_column
from ..shapes import component_boxes, surface_mm2
from ..volume import LabelMap

DEFINITE = 0.5
"""Expected chance from which a microbleed is called definite. Own choice."""


def measure_details(
    labels: LabelMap, lesions: Iterable[Lesion], marker: Marker, groups: Collection[str] = frozenset(MARS_REGIONS.values())
) -> dict[str, float | int]:
    """The details of one marker by column; empty for markers without any.

    Parameters
    ----------
    labels : LabelMap
        Lesions 1..n on a grid of cubic voxels.
    lesions : iterable of Lesion
        Those of the same label map.
    groups : collection of str
        Of MARS that are in the images; the others have no numbers.
    """
    lesions = tuple(lesions)
    if marker is Marker.WMH:
        confluency = measure_confluency(labels)
        largest = max(lesions, key=lambda lesion: lesion.volume_mm3, default=None)
        return {
            "wmh_confluency": sum(confluency.values(), 0.0),
            "wmh_largest_confluency": 0.0 if largest is None else confluency[largest.label],
            "wmh_volume_grade": bisect_right(WMH_VOLUME_LIMITS_ML, sum(lesion.volume_mm3 for lesion in lesions) / 1000.0),
        }
    if marker is Marker.EPVS:
        return {}
    regions = [region for region, group in MARS_REGIONS.items() if group in groups]
    counts = {mars_column(marker, region): sum(lesion.mars_region == region for lesion in lesions) for region in regions}
    if marker is Marker.CMB:
        counts |= {name: 0 for name in DETAILS if name.endswith("5mm_count") and name.split("_")[1] in groups}
        for lesion in lesions:
            name = f"cmb_{lesion.region}_{'below' if lesion.diameter_mm < BOMBS_LIMIT_MM else 'from'}_5mm_count"
            if name in counts:
                counts[name] += 1
    return dict(counts)


def count_definite(chances: Sequence[float]) -> dict[str, float | int]:
    """Microbleeds that are probably ones, and those that are not, by column."""
    definite = sum(chance >= DEFINITE for chance in chances)
    return {"cmb_definite_count": definite, "cmb_possible_count": len(chances) - definite}


def measure_confluency(labels: LabelMap) -> dict[int, float]:
    """Of each lesion (S^3 / (36 pi V^2))^(1/3) - 1, none below 0; the sum over lesions is the confluency sum score, PMC5843991."""
    voxel_mm = float(labels.grid.spacing_mm.mean())
    found = {}
    for label, box in component_boxes(labels.data, 0):
        inside = labels.data[box] == label
        volume_mm3 = float(inside.sum()) * voxel_mm**3
        found[label] = max(surface_mm2(inside, voxel_mm) / (36 * math.pi * volume_mm3**2) ** (1 / 3) - 1, 0.0)
    return found
