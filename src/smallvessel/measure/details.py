"""Numbers beside volume and count: how confluent WMH are, how large microbleeds are (the table of them is in ``scales.py``)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..markers import Marker
from ..records import Lesion
from ..scales import BOMBS_LIMIT_MM, DETAILS
from ..shapes import component_boxes, surface_mm2
from ..volume import LabelMap


def measure_details(labels: LabelMap, lesions: Iterable[Lesion], marker: Marker) -> dict[str, float | int]:
    """The details of one marker by column; empty for markers without any.

    Parameters
    ----------
    labels : LabelMap
        Lesions 1..n on a grid of cubic voxels.
    lesions : iterable of Lesion
        Those of the same label map.
    """
    if marker is Marker.WMH:
        return {"wmh_confluency": sum_confluency(labels)}
    if marker is not Marker.CMB:
        return {}
    counts = dict.fromkeys((name for name, info in DETAILS.items() if info.marker is Marker.CMB), 0)
    for lesion in lesions:
        name = f"cmb_{lesion.region}_{'below' if lesion.diameter_mm < BOMBS_LIMIT_MM else 'from'}_5mm_count"
        if name in counts:
            counts[name] += 1
    return dict(counts)


def sum_confluency(labels: LabelMap) -> float:
    """Sum over lesions of (S^3 / (36 pi V^2))^(1/3) - 1, none below 0; PMC5843991."""
    voxel_mm = float(labels.grid.spacing_mm.mean())
    total = 0.0
    for label, box in component_boxes(labels.data, 0):
        inside = labels.data[box] == label
        volume_mm3 = float(inside.sum()) * voxel_mm**3
        total += max(surface_mm2(inside, voxel_mm) / (36 * math.pi * volume_mm3**2) ** (1 / 3) - 1, 0.0)
    return total
