"""Rigid registration of a sequence to the reference image, in two stages, and whether to believe it.

Stage one (SimpleITK, Mattes mutual information, 2 mm) catches large offsets; stage two (normalised mutual information at
points between the voxels, Powell's method) is accurate. Both see the brain only: neck and scalp move on their own. Both run on
one thread, since the order in which threads add up their sums would otherwise change the last digits from run to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import GeometryError
from ..volume import Grid, Mask, Transform, Volume, isotropic_grid, point_to_sitk, resample, to_sitk, transform_from_sitk

Stage = Literal["nmi", "mattes", "start"]

FAST_SPACING_MM = 2.0
MARGIN_MM = 16.0
OUTLINE_MM = 10.0
SEED = 1
HISTOGRAM_BINS = 32
SCORED_POINTS = 40_000
"""The metric that judges the stages is computed at about this many points of the brain."""
TURN_RADIUS_MM = 60.0
"""A turn is counted by how far it moves a point at this distance from the brain's centre, so that it compares with a shift."""
MAX_REFINEMENT_MM = 4.0
"""Stage two corrects stage one by less than 1 mm on real scans; more than this is a wrong turn. Own choice."""
FINE_GAIN = 0.97
"""Stage two, the more accurate, keeps at least this much of stage one's information, which is counted on a sample. Own choice."""
PEAK_STEP_MM = 3.0
"""A solution is believed to be a peak if no copy moved this far scores better. Own choice."""
CENTRE_GAIN = 0.05
"""Brain masks must overlap this much better before their centres replace the headers as the start. Own choice."""


@dataclass(frozen=True)
class Registration:
    """A rigid registration and the evidence for it.

    Attributes
    ----------
    reference_from_native : Transform
        Maps world points of the sequence to the reference image's world.
    stage : "nmi", "mattes" or "start"
        The last stage that was believed.
    nmi_start, nmi : float
        Normalised mutual information in the brain at the start and at the end (1 unrelated, 2 identical).
    overlap : float
        Dice of the two brain masks where both fields of view reach.
    is_peak : bool
        No copy displaced by 3 mm along any axis scores better.
    from_centres : bool
        The start came from the brains' centres since the headers disagreed.
    displacement_mm : float
        Mean displacement of the brain against what the headers say.
    """

    reference_from_native: Transform
    stage: Stage
    nmi_start: float
    nmi: float
    overlap: float
    is_peak: bool
    from_centres: bool
    displacement_mm: float


@contextmanager
def one_thread() -> Iterator[None]:
    """Run SimpleITK on a single thread, for results that are the same bit by bit; the previous setting comes back."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def register_rigid(reference: Volume, reference_brain: Mask, native: Volume, native_brain: Mask) -> Registration:
    """Register a sequence to the reference image.

    Parameters
    ----------
    reference, native : Volume
        Bias-corrected, each on its own grid.
    reference_brain, native_brain : Mask
        On the same two grids.

    Returns
    -------
    Registration
        Deterministic. A later stage is kept only if it agrees with the image and with the stage before.
    """
    reference, reference_brain = _crop_to_brain(reference, reference_brain)
    native, native_brain = _crop_to_brain(native, native_brain)
    coarse = isotropic_grid(reference.grid, FAST_SPACING_MM)
    brain = resample(reference_brain, coarse)
    voxels = np.argwhere(brain.data)
    voxels = voxels[:: max(len(voxels) // SCORED_POINTS, 1)]
    points_mm = coarse.world(voxels)
    values = resample(reference, coarse).data[tuple(voxels.T)]

    def score(native_from_reference: Transform) -> float:
        return _nmi_at(values, native, native_from_reference(points_mm))

    start, from_centres = _choose_start(reference_brain, native_brain)
    stage: Stage = "start"
    chosen, nmi_start = start, score(start)
    nmi = nmi_start
    fast = _register_fast(reference, reference_brain, native, native_brain, start)
    if (fast_nmi := score(fast)) > nmi:
        chosen, stage, nmi = fast, "mattes", fast_nmi
    fine = _register_fine(reference, reference_brain, native, chosen)
    refinement_mm = _mean_displacement_mm(chosen, fine, points_mm)
    if (fine_nmi := score(fine)) - 1.0 >= FINE_GAIN * (nmi - 1.0) and refinement_mm < MAX_REFINEMENT_MM:
        chosen, stage, nmi = fine, "nmi", fine_nmi
    displaced = [score(_shift(offset) @ chosen) for offset in PEAK_STEP_MM * np.vstack([np.eye(3), -np.eye(3)])]
    return Registration(
        reference_from_native=chosen.inverse(),
        stage=stage,
        nmi_start=nmi_start,
        nmi=nmi,
        overlap=mask_overlap(reference_brain, native_brain, chosen),
        is_peak=nmi > max(displaced),
        from_centres=from_centres,
        displacement_mm=_mean_displacement_mm(Transform.identity(), chosen, points_mm),
    )


def normalised_mutual_information(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """(H(a) + H(b)) / H(a, b) of paired samples, 32 bins between their 0.5th and 99.5th percentiles.

    Studholme et al. 1999, 10.1016/S0031-3203(98)00091-0. 1 when unrelated, 2 when one gives the other.
    """
    return _nmi_of(np.bincount(_bins(a) * HISTOGRAM_BINS + _bins(b), minlength=HISTOGRAM_BINS**2))


def _nmi_of(joint: NDArray[Any]) -> float:
    """Of a joint histogram, flat."""
    square = joint.reshape(HISTOGRAM_BINS, HISTOGRAM_BINS)
    joint_entropy = _entropy(joint)
    return (_entropy(square.sum(axis=0)) + _entropy(square.sum(axis=1))) / joint_entropy if joint_entropy > 0 else 1.0


def mask_overlap(reference_brain: Mask, native_brain: Mask, native_from_reference: Transform) -> float:
    """Dice of two brain masks after registration, counted at 2 mm where both fields of view reach."""
    coarse = isotropic_grid(reference_brain.grid, FAST_SPACING_MM)
    field = Mask(np.ones(native_brain.grid.shape, bool), native_brain.grid)
    seen = resample(field, coarse, native_from_reference.inverse()).data
    fixed = resample(reference_brain, coarse).data & seen
    moved = resample(native_brain, coarse, native_from_reference.inverse()).data
    total = np.count_nonzero(fixed) + np.count_nonzero(moved)
    return 2.0 * np.count_nonzero(fixed & moved) / total if total else 0.0


def _bins(values: NDArray[np.float32]) -> NDArray[np.intp]:
    low, high = np.percentile(values, [0.5, 99.5])
    return np.asarray(np.digitize(values, np.linspace(float(low), float(high), HISTOGRAM_BINS - 1)))


def _entropy(counts: NDArray[Any]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _nmi_at(values: NDArray[np.float32], native: Volume, native_points_mm: NDArray[np.float64]) -> float:
    """NMI of reference values with the native image at the same points; points outside its field of view do not count."""
    voxels = native.grid.voxels(native_points_mm)
    inside = ((voxels >= 0) & (voxels <= np.array(native.grid.shape) - 1)).all(axis=1)
    if np.count_nonzero(inside) < HISTOGRAM_BINS**2:
        return 0.0
    sampled = ndimage.map_coordinates(native.data, voxels[inside].T, order=1)
    return normalised_mutual_information(values[inside], sampled)


def _choose_start(reference_brain: Mask, native_brain: Mask) -> tuple[Transform, bool]:
    """The headers' own alignment, or a shift between the brains' centres where that overlaps clearly better."""
    by_centres = _shift(_centre_mm(native_brain) - _centre_mm(reference_brain))
    header = _covered_share(reference_brain, native_brain, Transform.identity())
    if _covered_share(reference_brain, native_brain, by_centres) > header + CENTRE_GAIN:
        return by_centres, True
    return Transform.identity(), False


def _covered_share(a: Mask, b: Mask, b_from_a: Transform) -> float:
    """Overlap divided by the smaller of the two masks: 1 for a slab that lies inside the other brain."""
    coarse = isotropic_grid(a.grid, 2 * FAST_SPACING_MM)
    first, second = resample(a, coarse).data, resample(b, coarse, b_from_a.inverse()).data
    smaller_ml = min(a.volume_ml, b.volume_ml)
    return float(np.count_nonzero(first & second)) * coarse.voxel_volume_mm3 / 1000.0 / smaller_ml


def _register_fast(reference: Volume, reference_brain: Mask, native: Volume, native_brain: Mask, start: Transform) -> Transform:
    """Stage one: ``native_from_reference`` at 2 mm by Mattes mutual information, two levels.

    Both images are cut out along their brain masks and compared a little beyond them: the outlines catch a large offset, where
    the inside alone settles in a wrong place.
    """
    import SimpleITK as sitk

    fixed, fixed_brain = _cut_out(reference, reference_brain)
    moving, _ = _cut_out(native, native_brain)
    beyond = ndimage.distance_transform_edt(~fixed_brain.data) * FAST_SPACING_MM <= OUTLINE_MM
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    registration.SetMetricSamplingStrategy(registration.RANDOM)
    registration.SetMetricSamplingPercentage(0.2, seed=SEED)
    registration.SetMetricFixedMask(to_sitk(Mask(beyond, fixed.grid)))
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100, 0.5)
    registration.SetOptimizerScalesFromPhysicalShift()
    registration.SetShrinkFactorsPerLevel([2, 1])
    registration.SetSmoothingSigmasPerLevel([2.0, 1.0])
    registration.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(point_to_sitk(_centre_mm(fixed_brain)))
    registration.SetInitialTransform(rigid, inPlace=False)
    with one_thread():
        found = registration.Execute(to_sitk(fixed), to_sitk(_moved(moving, start.inverse())))
    return start @ transform_from_sitk(found)


def _cut_out(image: Volume, brain: Mask) -> tuple[Volume, Mask]:
    """Image and brain at 2 mm, with nothing outside the brain."""
    coarse = isotropic_grid(image.grid, FAST_SPACING_MM)
    inside = resample(brain, coarse)
    return Volume(np.where(inside.data, resample(image, coarse).data, np.float32(0.0)), coarse), inside


def _register_fine(reference: Volume, reference_brain: Mask, native: Volume, start: Transform) -> Transform:
    """Stage two: the most normalised mutual information at random points of the brain, which lie between voxels.

    On voxel centres the interpolation's blur would favour motions by whole voxels. A native value counts in the two bins that it
    lies between, by its distance to each, so that the score changes smoothly with the motion.
    """
    from scipy.optimize import minimize
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(SEED)
    inside_brain = np.argwhere(reference_brain.data)
    voxels = inside_brain[rng.integers(0, len(inside_brain), SCORED_POINTS)] + rng.uniform(-0.5, 0.5, (SCORED_POINTS, 3))
    rows = _bins(ndimage.map_coordinates(reference.data, voxels.T, order=1, mode="nearest")) * HISTOGRAM_BINS
    points_mm = reference.grid.world(voxels)
    centre_mm = points_mm.mean(axis=0)
    low, high = np.percentile(ndimage.map_coordinates(native.data, native.grid.voxels(start(points_mm)).T, order=1), [0.5, 99.5])
    in_bins = np.clip((native.data - low) / max(high - low, 1e-6) * (HISTOGRAM_BINS - 1), 0, HISTOGRAM_BINS - 1).astype(np.float32)
    last = np.array(native.grid.shape) - 1

    def motion(parameters: NDArray[np.float64]) -> Transform:
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(parameters[3:] / TURN_RADIUS_MM).as_matrix()
        matrix[:3, 3] = centre_mm + parameters[:3] - matrix[:3, :3] @ centre_mm
        return start @ Transform(matrix)

    def loss(parameters: NDArray[np.float64]) -> float:
        at = native.grid.voxels(motion(parameters)(points_mm))
        inside = ((at >= 0) & (at <= last)).all(axis=1)
        if np.count_nonzero(inside) < HISTOGRAM_BINS**2:
            return 0.0
        column = ndimage.map_coordinates(in_bins, at[inside].T, order=1)
        lower = np.minimum(column.astype(np.intp), HISTOGRAM_BINS - 2)
        share, cells = column - lower, rows[inside] + lower
        joint = np.bincount(cells, 1 - share, HISTOGRAM_BINS**2) + np.bincount(cells + 1, share, HISTOGRAM_BINS**2)
        return -_nmi_of(joint)

    limits = [(-MAX_REFINEMENT_MM, MAX_REFINEMENT_MM)] * 6
    found = minimize(loss, np.zeros(6), method="Powell", bounds=limits, options={"xtol": 0.02, "ftol": 1e-5, "maxiter": 3})
    return motion(np.asarray(found.x))


def _moved(image: Volume, target_from_image: Transform) -> Volume:
    """The same voxels at another place in the world."""
    return Volume(image.data, Grid(image.grid.shape, target_from_image.matrix @ image.grid.affine))


def _shift(offset_mm: NDArray[np.float64]) -> Transform:
    matrix = np.eye(4)
    matrix[:3, 3] = offset_mm
    return Transform(matrix)


def _centre_mm(brain: Mask) -> NDArray[np.float64]:
    """Centre of mass in world mm, shape (3,)."""
    return np.asarray(brain.grid.world(np.argwhere(brain.data).mean(axis=0, keepdims=True))[0])


def _mean_displacement_mm(a: Transform, b: Transform, points_mm: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(a(points_mm) - b(points_mm), axis=1).mean())


def _crop_to_brain(image: Volume, brain: Mask) -> tuple[Volume, Mask]:
    """Both images cut to the brain's box with a margin of 16 mm, within the field of view."""
    if not brain.data.any():
        raise GeometryError("an empty brain mask", "a brain to register", "check that the image shows a head")
    margin = np.ceil(MARGIN_MM / brain.grid.spacing_mm).astype(int)
    inside = np.argwhere(brain.data)
    low = np.maximum(inside.min(axis=0) - margin, 0)
    high = np.minimum(inside.max(axis=0) + margin + 1, brain.grid.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    shape = high - low
    grid = brain.grid.crop((int(low[0]), int(low[1]), int(low[2])), (int(shape[0]), int(shape[1]), int(shape[2])))
    return Volume(image.data[box], grid), Mask(brain.data[box], grid)
