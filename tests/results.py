"""A small made-up session result with known numbers, for tests of what comes after the measurement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from phantoms import ball, ellipsoid, head_structures, make_grid
from smallvessel.markers import Marker, Sequence
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
from smallvessel.volume import LabelMap, Mask, Transform, Volume

GRID = make_grid((40, 44, 36), (4.0, 4.0, 4.0))
T1W_GRID = make_grid((24, 40, 44), (6.0, 4.0, 4.0), "RSA")
SUB_01 = SessionId("01")
SHIFT_MM = 2.5
NO_SWI = "needs SWI or T2*, which this session does not have"


def make_result(id: SessionId = SUB_01, digest: str = "d" * 64) -> SessionResult:
    """A session with FLAIR and T1w: two WMH lesions, no lacunes, EPVS not asked for, CMB not assessed."""
    structures = head_structures(GRID)
    brain = Mask(ellipsoid(GRID, (0, 0, 0), (65, 83, 65)), GRID)
    right = Mask(GRID.world(np.indices(GRID.shape).reshape(3, -1).T)[:, 0].reshape(GRID.shape) > 0, GRID)
    anatomy = Anatomy(structures, right, brain, brain, LabelMap(np.zeros(GRID.shape, np.int32), GRID), Transform.identity())
    shift = np.eye(4)
    shift[0, 3] = SHIFT_MM
    native = {
        Sequence.FLAIR: Native(GRID, brain, Transform.identity()),
        Sequence.T1W: Native(T1W_GRID, Mask(ellipsoid(T1W_GRID, (0, 0, 0), (65, 83, 65)), T1W_GRID), Transform(shift)),
    }
    checks = (
        Check("brain volume", 1.4, "L", "warn outside 0.9 to 1.8 L", "pass", "The brain's volume is plausible."),
        Check("contrast", None, "", "warn below 2", "warn", "The contrast could not be computed."),
    )
    image = Volume(np.where(brain.data, 100.0, 0.0), GRID)
    prepared = Prepared(
        id,
        Sequence.FLAIR,
        GRID,
        {Sequence.FLAIR: image, Sequence.T1W: image},
        native,
        anatomy,
        False,
        checks,
        ("T1w was registered to FLAIR",),
    )
    wmh = LabelMap(ball(GRID, (30, 0, 20), 8).astype(int) + 2 * ball(GRID, (-30, 0, 20), 6), GRID)
    found: dict[Marker, MarkerMap | NotAssessed] = {
        Marker.WMH: _marker_map(Marker.WMH, wmh, (0.91234, 0.5)),
        Marker.LACUNE: _marker_map(Marker.LACUNE, LabelMap(np.zeros(GRID.shape, np.int32), GRID), ()),
        Marker.EPVS: NotAssessed("not requested"),
        Marker.CMB: NotAssessed(NO_SWI),
    }
    regions = {"periventricular": 1.23456, "deep": 0.0}
    measured: dict[Marker, MarkerMeasures | NotAssessed] = {
        Marker.WMH: MarkerMeasures(Marker.WMH, 1.23456, 2, regions, {"periventricular": 2, "deep": 0}),
        Marker.LACUNE: MarkerMeasures(Marker.LACUNE, 0.0, 0, {"lobar": 0.0}, {"lobar": 0}),
        Marker.EPVS: NotAssessed("not requested"),
        Marker.CMB: NotAssessed(NO_SWI),
    }
    lesions = (
        Lesion(Marker.WMH, 1, 2144.661, 16.0, (30.0, -0.001, 20.0), "periventricular", None, "right", 0.91234),
        Lesion(Marker.WMH, 2, 904.0, 12.0, (-30.0, 0.0, 20.0), "periventricular", None, "left", 0.5),
    )
    made = Provenance(
        version="0.1.0",
        digest=digest,
        inputs={"FLAIR": "f" * 64, "T1w": "1" * 64},
        models={"anatomy": "1.0 sha256:a", "markers": "1.0 sha256:b"},
        settings={"markers": ["WMH"]},
        packages={"numpy": "2.0"},
        timings_s={"prepare": 1.23456},
        peak_memory_mb=512.3,
        methods="Images were processed.",
        log=("FLAIR: the only one.",),
        sources={str(sequence): f"bids:raw:sub-{id.subject}/anat/{id}_{sequence}.nii.gz" for sequence in (Sequence.FLAIR, Sequence.T1W)},
    )
    return SessionResult(id, prepared, Segmentation(found), Measurements(1500.0, 1400.12345, {"pallidum": 3.0}, measured, lesions), made)


def without_marker(result: SessionResult, marker: Marker) -> SessionResult:
    """The same session with a marker that was not assessed."""
    reason = NotAssessed("not requested")
    segmentation = replace(result.segmentation, markers={**result.segmentation.markers, marker: reason})
    measurements = replace(result.measurements, markers={**result.measurements.markers, marker: reason})
    return replace(result, segmentation=segmentation, measurements=measurements)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a TSV file."""
    header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def _marker_map(marker: Marker, labels: LabelMap, confidence: tuple[float, ...]) -> MarkerMap:
    probability = Volume(np.where(labels.data > 0, 0.87654321, 0.00001234), GRID)
    return MarkerMap(marker, probability, labels, confidence, Sequence.FLAIR, Mask(labels.data > 0, GRID), probability)
