"""A small brain with every structure at a known place, prepared on a 1 mm grid, for the rooms that segment and measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from phantoms import ellipsoid, make_grid, voxel_centres_mm
from smallvessel.markers import Marker, Sequence
from smallvessel.records import Anatomy, MarkerMap, Native, Prepared, Segmentation, SessionId
from smallvessel.shapes import label_components
from smallvessel.structures import Structure
from smallvessel.volume import Grid, LabelMap, Mask, Transform, Volume

SHAPE = (60, 64, 56)
LOBES = {1: "frontal", 2: "parietal", 3: "temporal", 4: "occipital", 5: "insula"}
MNI_SCALE = 2.6
"""The brain is this much smaller than an adult's."""

SIGNAL = {
    Sequence.FLAIR: {"white": 100.0, "grey": 115.0, "fluid": 20.0},
    Sequence.T1W: {"white": 100.0, "grey": 70.0, "fluid": 20.0},
    Sequence.T2W: {"white": 100.0, "grey": 130.0, "fluid": 300.0},
    Sequence.SWI: {"white": 100.0, "grey": 105.0, "fluid": 110.0},
}
PAIRED = (
    (Structure.LATERAL_VENTRICLE, (4.0, 2.0, 4.0), (2.6, 9.0, 4.0)),
    (Structure.THALAMUS, (6.0, -4.0, -3.0), (3.0, 3.0, 3.0)),
    (Structure.CAUDATE, (9.0, 9.0, 4.0), (2.4, 2.4, 2.4)),
    (Structure.PALLIDUM, (13.5, 0.0, -2.0), (1.6, 4.0, 3.0)),
    (Structure.PUTAMEN, (17.0, 2.0, -1.0), (2.2, 6.0, 4.0)),
    (Structure.HIPPOCAMPUS, (15.0, -8.0, -10.0), (2.2, 5.0, 2.2)),
    (Structure.VENTRAL_DC, (3.0, -2.0, -6.0), (2.0, 2.0, 2.0)),
)
MIDLINE = (
    (Structure.CEREBELLAR_CORTEX, (0.0, -14.0, -14.0), (13.0, 7.0, 6.0)),
    (Structure.CEREBELLAR_WHITE, (0.0, -14.0, -14.0), (9.0, 5.0, 4.0)),
    (Structure.BRAINSTEM, (0.0, -3.0, -14.0), (4.0, 4.0, 7.0)),
)


def scene_grid(**kwargs: object) -> Grid:
    """The grid of the scene, 1 mm; keywords of :func:`phantoms.make_grid`."""
    return make_grid(**{"shape": SHAPE, "spacing_mm": (1.0, 1.0, 1.0), **kwargs})  # type: ignore[arg-type]


def scene_anatomy(grid: Grid) -> Anatomy:
    """Structures, sides and lobes in world space, whatever the grid's axes."""
    structures = np.zeros(grid.shape, np.int32)
    structures[ellipsoid(grid, (0, 0, 0), (29.0, 31.0, 27.0))] = Structure.CSF
    structures[ellipsoid(grid, (0, 0, 0), (27.0, 29.0, 25.0))] = Structure.CORTEX
    structures[ellipsoid(grid, (0, 0, 0), (24.0, 26.0, 22.0))] = Structure.WHITE_MATTER
    for structure, centre_mm, semi_axes_mm in MIDLINE:
        structures[ellipsoid(grid, centre_mm, semi_axes_mm)] = structure
    for structure, (lateral, anterior, superior), semi_axes_mm in PAIRED:
        for sign in (-1, 1):
            structures[ellipsoid(grid, (sign * lateral, anterior, superior), semi_axes_mm)] = structure
    centres = voxel_centres_mm(grid)
    x, y, z = centres[..., 0], centres[..., 1], centres[..., 2]
    lobes = np.where(y > 5, 1, np.where(y < -12, 4, np.where(z > 0, 2, 3)))
    lobes[(np.abs(x) > 20) & (np.abs(y) < 5) & (np.abs(z) < 4)] = 5
    return Anatomy(
        structures=LabelMap(structures, grid),
        right=Mask(x > 0, grid),
        brain=Mask(ellipsoid(grid, (0, 0, 0), (27.5, 29.5, 25.5)), grid),
        intracranial=Mask(ellipsoid(grid, (0, 0, 0), (29.0, 31.0, 27.0)), grid),
        lobes=LabelMap(np.where(structures > 0, lobes, 0), grid, LOBES),
        mni_from_reference=Transform(np.diag([MNI_SCALE, MNI_SCALE, MNI_SCALE, 1.0])),
    )


def scene_image(anatomy: Anatomy, sequence: Sequence) -> NDArray[np.float32]:
    """Piecewise constant signal, writable."""
    signal, structures = SIGNAL[sequence], anatomy.structures.data
    image = np.full(structures.shape, signal["grey"], np.float32)
    image[np.isin(structures, (Structure.WHITE_MATTER, Structure.CEREBELLAR_WHITE, Structure.BRAINSTEM))] = signal["white"]
    image[np.isin(structures, (Structure.CSF, Structure.LATERAL_VENTRICLE))] = signal["fluid"]
    image[structures == Structure.BACKGROUND] = 0.0
    return image


def scene(
    grid: Grid | None = None,
    sequences: Iterable[Sequence] = tuple(Sequence),
    images: Mapping[Sequence, NDArray[np.float32]] | None = None,
    native: Mapping[Sequence, Native] | None = None,
    anatomy: Anatomy | None = None,
    brain_extracted: bool = False,
) -> Prepared:
    """A prepared session; each sequence's native grid is the analysis grid unless ``native`` says otherwise."""
    grid = grid or scene_grid()
    anatomy = anatomy or scene_anatomy(grid)
    volumes = {sequence: Volume((images or {}).get(sequence, scene_image(anatomy, sequence)), grid) for sequence in sequences}
    own = {sequence: Native(grid, anatomy.brain, Transform.identity()) for sequence in volumes}
    return Prepared(
        id=SessionId("phantom"),
        reference=next(iter(volumes)),
        grid=grid,
        images=volumes,
        native={**own, **(native or {})},
        anatomy=anatomy,
        brain_extracted=brain_extracted,
        checks=(),
    )


def segmentation_of(prepared: Prepared, masks: Mapping[Marker, NDArray[np.bool_]]) -> Segmentation:
    """A segmentation with these masks, confidence 0.9 everywhere; the other markers are empty."""
    maps = {}
    for marker in Marker:
        mask = masks.get(marker, np.zeros(prepared.grid.shape, bool))
        labels, count = label_components(mask)
        probability = Volume(mask.astype(np.float32), prepared.grid)
        maps[marker] = MarkerMap(
            marker, probability, LabelMap(labels, prepared.grid), (0.9,) * count, Sequence.FLAIR, Mask(mask, prepared.grid), probability
        )
    return Segmentation(maps)
