"""Session results made of a phantom head, with lesions wherever a test wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from phantoms import BRAIN_MM, INTRACRANIAL_MM, ball, ellipsoid, head_image, head_structures, make_grid
from smallvessel import __version__
from smallvessel.config import MeasureSettings
from smallvessel.dataset import start_dataset
from smallvessel.derivatives import finish_session, rebuild_tables, session_files, write_session
from smallvessel.markers import MARKERS, Marker, Sequence
from smallvessel.measure import measure_session
from smallvessel.records import (
    Anatomy,
    Check,
    Lesion,
    MarkerMap,
    MarkerMeasures,
    Measurements,
    Native,
    NotAssessed,
    Prepared,
    Provenance,
    Segmentation,
    SessionId,
    SessionResult,
)
from smallvessel.report import take_images, write_index, write_report, write_thumbnail
from smallvessel.report.images import GreyImage
from smallvessel.volume import Grid, LabelMap, Mask, Transform, Volume

Ball = tuple[tuple[float, float, float], float]

LESIONS: Mapping[Marker, tuple[Ball, ...]] = {
    Marker.WMH: (((-25.0, 20.0, 20.0), 10.0), ((25.0, -20.0, 20.0), 8.0), ((30.0, 30.0, 5.0), 6.0)),
    Marker.LACUNE: (((-22.0, 5.0, -10.0), 6.0),),
    Marker.EPVS: (((20.0, 0.0, -12.0), 5.0), ((24.0, 10.0, -12.0), 5.0)),
    Marker.CMB: (((40.0, 10.0, 25.0), 5.0), ((-40.0, -30.0, -5.0), 5.0)),
}
BRIGHTNESS = {Marker.WMH: 1.6, Marker.LACUNE: 0.3, Marker.EPVS: 1.8, Marker.CMB: 0.1}


def prepare_phantom(grid: Grid, sequences: tuple[Sequence, ...], checks: tuple[Check, ...]) -> Prepared:
    brain = Mask(ellipsoid(grid, (0, 0, 0), BRAIN_MM), grid)
    right = Mask(ndimage.binary_dilation(brain.data) & (np.indices(grid.shape)[0] > grid.shape[0] / 2), grid)
    anatomy = Anatomy(
        structures=head_structures(grid),
        right=right,
        brain=brain,
        intracranial=Mask(ellipsoid(grid, (0, 0, 0), INTRACRANIAL_MM), grid),
        lobes=LabelMap(np.zeros(grid.shape, np.int32), grid),
        mni_from_reference=Transform.identity(),
    )
    return Prepared(
        id=SessionId("01", "a"),
        reference=sequences[0],
        grid=grid,
        images={sequence: head_image(grid, sequence) for sequence in sequences},
        native={sequence: Native(grid, brain, Transform.identity()) for sequence in sequences},
        anatomy=anatomy,
        brain_extracted=False,
        checks=checks,
    )


def segment_phantom(prepared: Prepared, marker: Marker, balls: tuple[Ball, ...]) -> MarkerMap | NotAssessed:
    rated_on = next((sequence for sequence in MARKERS[marker].rated_on if sequence in prepared.images), None)
    if rated_on is None:
        return NotAssessed(f"{marker} needs {' or '.join(MARKERS[marker].needs_one_of)}, which this session lacks")
    grid = prepared.grid
    labels = np.zeros(grid.shape, np.int32)
    for label, (centre_mm, radius_mm) in enumerate(balls, start=1):
        labels[ball(grid, centre_mm, radius_mm)] = label
    probability = Volume((labels > 0).astype(np.float32), grid)
    confidence = tuple(0.95 - 0.1 * i for i in range(len(balls)))
    return MarkerMap(marker, probability, LabelMap(labels, grid), confidence, rated_on, Mask(labels > 0, grid), probability)


def measure_phantom(prepared: Prepared, segmentation: Segmentation, icv_ml: float | NotAssessed) -> Measurements:
    lesions: list[Lesion] = []
    measures: dict[Marker, MarkerMeasures | NotAssessed] = {}
    for marker, found in segmentation.markers.items():
        if isinstance(found, NotAssessed):
            measures[marker] = found
            continue
        mine = []
        for label, confidence in enumerate(found.confidence, start=1):
            voxels = np.argwhere(found.labels.data == label)
            x, y, z = prepared.grid.world(voxels).mean(axis=0)
            volume_mm3 = len(voxels) * prepared.grid.voxel_volume_mm3
            side = "right" if x > 0 else "left"
            region = "deep" if abs(x) < 35 else "lobar"
            mars = "frontal" if marker is Marker.CMB else None
            mine.append(
                Lesion(marker, label, volume_mm3, 2 * (3 * volume_mm3 / 12.57) ** (1 / 3), (x, y, z), region, mars, side, confidence)
            )
        lesions += mine
        regions = ("deep", "lobar", "infratentorial")
        measures[marker] = MarkerMeasures(
            marker,
            sum(lesion.volume_mm3 for lesion in mine) / 1000,
            len(mine),
            {region: sum(lesion.volume_mm3 for lesion in mine if lesion.region == region) / 1000 for region in regions},
            {region: sum(lesion.region == region for lesion in mine) for region in regions},
        )
    return Measurements(icv_ml, prepared.anatomy.brain.volume_ml, {"lateral ventricle": 31.4}, measures, tuple(lesions))


CHECKS = (
    Check("registration of T1w", 0.93, "", "warn below 0.5, fail below 0.3", "pass", "T1w fits the reference"),
    Check("noise of FLAIR", 21.0, "%", "warn above 15 %, fail above 40 %", "warn", "FLAIR is noisy"),
    Check("ghosting of SWI", None, "", "warn above 0.1", "pass", "could not be computed: no background"),
)


def paint_result(
    sequences: tuple[Sequence, ...] = tuple(Sequence),
    lesions: Mapping[Marker, tuple[Ball, ...]] = LESIONS,
    checks: tuple[Check, ...] = CHECKS,
    log: tuple[str, ...] = ("T1w: run 2 was taken, the last one.",),
    subject: str = "01",
    why_not: str | None = None,
    spacing_mm: float = 4.0,
    methods: str = "Images were processed with smallvessel.",
    icv_ml: float | NotAssessed = 1432.0,
) -> SessionResult:
    """A session whose images show its lesions: any sequences, lesions, checks and texts."""
    nx, ny, nz = (round(extent / spacing_mm) for extent in (164.0, 200.0, 164.0))
    grid = make_grid((nx, ny, nz), (spacing_mm, spacing_mm, spacing_mm))
    prepared = prepare_phantom(grid, sequences, checks)
    markers = {marker: NotAssessed(why_not) if why_not else segment_phantom(prepared, marker, lesions.get(marker, ())) for marker in Marker}
    images = {sequence: image.data.copy() for sequence, image in prepared.images.items()}
    for marker, found in markers.items():
        if isinstance(found, MarkerMap):
            images[found.native_sequence][found.mask.data] *= BRIGHTNESS[marker]
    prepared = Prepared(**{**vars(prepared), "images": {sequence: Volume(data, grid) for sequence, data in images.items()}})
    segmentation = Segmentation(markers)
    provenance = Provenance(
        version="0.1.0",
        digest="d" * 64,
        inputs={str(sequence): "a" * 64 for sequence in sequences},
        models={"anatomy": "1 sha256:" + "b" * 64},
        settings={"markers": ["WMH"], "trust_header": False},
        packages={"numpy": "2.2.6"},
        timings_s={"intake": 0.4, "prepare": 8.1},
        peak_memory_mb=2100.0,
        methods=methods,
        log=log,
        sources={str(sequence): f"bids:raw:sub-01/anat/sub-01_{sequence}.nii.gz" for sequence in sequences},
    )
    return SessionResult(SessionId(subject, "a"), prepared, segmentation, measure_phantom(prepared, segmentation, icv_ml), provenance)


def paint_images(result: SessionResult) -> dict[Sequence, GreyImage]:
    """The images that the report of a painted session carries."""
    return take_images(result.prepared.images, result.prepared)


def write_painted(out: Path, result: SessionResult) -> SessionResult:
    """Measure a painted session, and write its files, its report and the table as a run does; returns it measured."""
    start_dataset(out, __version__, result.provenance.models)
    result = replace(result, measurements=measure_session(result.prepared, result.segmentation, MeasureSettings()))
    written = write_session(result, out)
    files, images = session_files(result.id), paint_images(result)
    write_report(result, images, out / files.report)
    write_thumbnail(result, images, out / files.thumbnail)
    finish_session(result, out, (*written, files.report, files.thumbnail))
    write_index(out, rebuild_tables(out))
    return result
