"""A row per lesion, and sums per marker and region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import MeasureSettings
from ..expected import lesion_chance
from ..markers import Marker
from ..records import Lesion, MarkerMap, MarkerMeasures
from ..scales import MARS_REGIONS
from ..shapes import Box, component_boxes, diameter_mm
from ..volume import Grid
from .regions import CONFLUENT, NAMES, RegionMaps, divide_wmh, region_of, regions_in_images, side_of, vote


@dataclass(frozen=True, eq=False)
class Found:
    """One lesion and its volume per region (more than one only for a divided WMH)."""

    lesion: Lesion
    region_mm3: Mapping[str, float]


def measure_lesions(found: MarkerMap, maps: RegionMaps, settings: MeasureSettings) -> tuple[Found, ...]:
    """Measure each lesion of one marker, in label order.

    Volume and diameter are those of the mask on the analysis grid (:func:`smallvessel.shapes.diameter_mm` states how a diameter is
    taken); the centroid is the mean of the voxel centres, in world mm of the reference image.
    """
    return tuple(_measure_one(found, label, box, maps, settings) for label, box in component_boxes(found.labels.data, 0))


def _measure_one(found: MarkerMap, label: int, box: Box, maps: RegionMaps, settings: MeasureSettings) -> Found:
    grid = found.labels.grid
    inside = found.labels.data[box] == label
    voxels = np.argwhere(inside) + np.array([side.start for side in box])
    x_mm, y_mm, z_mm = grid.world(voxels).mean(axis=0)
    volume_mm3 = len(voxels) * grid.voxel_volume_mm3
    mars_region: str | None = None
    if found.marker is Marker.WMH:
        infratentorial = MARS_REGIONS.get(NAMES[vote(maps.mars, box, inside)]) == "infratentorial"
        division = divide_wmh(maps.ventricle_mm[box][inside], infratentorial, settings, maps.ventricles)
        region = division.region
        region_mm3 = {zone: count * grid.voxel_volume_mm3 for zone, count in division.zone_voxels.items()}
    else:
        region, mars_region = region_of(found.marker, maps, box, inside)
        region_mm3 = {region: volume_mm3}
    lesion = Lesion(
        marker=found.marker,
        label=label,
        volume_mm3=volume_mm3,
        diameter_mm=diameter_mm(voxels, grid),
        centroid_mm=(float(x_mm), float(y_mm), float(z_mm)),
        region=region,
        mars_region=mars_region,
        side=side_of(maps.right, box, inside),
        confidence=found.confidence[label - 1],
        chance=None if found.errors is None else lesion_chance(found.confidence[label - 1], volume_mm3, found.errors),
    )
    return Found(lesion, region_mm3)


def sum_marker(marker: Marker, found: Iterable[Found], maps: RegionMaps, settings: MeasureSettings) -> MarkerMeasures:
    """Volume and count of one marker, total and per region that is in the images.

    Each region's lesions are counted once, under the region of their row; volumes per region add up to the total volume. With the
    continuity rule WMH have a count of confluent lesions, whose volume is divided between periventricular and deep.
    """
    found = tuple(found)
    count = dict.fromkeys(regions_in_images(marker, maps, settings.periventricular_rule), 0)
    volume = {region: 0.0 for region in count if region != CONFLUENT}
    for one in found:
        count[one.lesion.region] = count.get(one.lesion.region, 0) + 1
        for region, region_mm3 in one.region_mm3.items():
            volume[region] = volume.get(region, 0.0) + region_mm3 / 1000.0
    return MarkerMeasures(marker, sum(one.lesion.volume_mm3 for one in found) / 1000.0, len(found), volume, count)


def structure_volumes_ml(structures: NDArray[np.int32], right: NDArray[np.bool_], grid: Grid) -> dict[str, float]:
    """Volume of each structure: "left NAME" and "right NAME", or "NAME" for those of the midline and around the brain."""
    from ..structures import STRUCTURES, Structure

    per_side = np.bincount((2 * structures + right).ravel(), minlength=2 * len(Structure)).reshape(-1, 2) * grid.voxel_volume_mm3 / 1000.0
    volumes: dict[str, float] = {}
    for structure, info in STRUCTURES.items():
        if structure is Structure.BACKGROUND:
            continue
        if info.freesurfer_right:
            volumes[f"left {info.name}"], volumes[f"right {info.name}"] = (float(ml) for ml in per_side[structure])
        else:
            volumes[info.name] = float(per_side[structure].sum())
    return volumes
