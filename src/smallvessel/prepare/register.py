"""Rigid registration of a sequence to the reference image, in two stages, and whether to believe it.

Stage one (SimpleITK, Mattes mutual information, 2 mm) catches large offsets; stage two (greedy, normalised mutual
information) is accurate. Both see the brain only: neck and scalp move on their own. Both run on one thread,
since the order in which threads add up their sums would otherwise change the last digits from run to run.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import GeometryError
from ..volume import Grid, Mask, Transform, Volume, coarser_grid, isotropic_grid, point_to_sitk, resample, to_sitk, transform_from_sitk

Stage = Literal["nmi", "mattes", "start"]

FAST_SPACING_MM = 2.0
FINE_SPACING_MM = 1.0
MARGIN_MM = 16.0
OUTLINE_MM = 10.0
GREEDY_ITERATIONS = "40x20"
SEED = 1
HISTOGRAM_BINS = 32
SCORED_POINTS = 40_000
"""The metric that judges the stages is computed at about this many points of the brain."""
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
    joint = np.bincount(_bins(a) * HISTOGRAM_BINS + _bins(b), minlength=HISTOGRAM_BINS**2).reshape(HISTOGRAM_BINS, HISTOGRAM_BINS)
    joint_entropy = _entropy(joint.ravel())
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / joint_entropy if joint_entropy > 0 else 1.0


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


def _entropy(counts: NDArray[np.int64]) -> float:
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
    """Stage two: greedy, on the reference's own voxels unless they are finer than 1 mm, which doubles the time for 0.03 mm.

    The start goes into the moving image's header, so that image is not resampled.
    """
    from picsl_greedy import Greedy3D

    grid = coarser_grid(reference.grid, FINE_SPACING_MM)
    greedy, silence = Greedy3D(), io.StringIO()
    with _quiet_native_code():
        greedy.execute(
            f"-a -dof 6 -m NMI -n {GREEDY_ITERATIONS} -i fixed moving -gm brain -ia-identity -o rigid -threads 1 -seed {SEED} -V 0",
            out=silence,
            err=silence,
            fixed=to_sitk(resample(reference, grid)),
            moving=to_sitk(_moved(native, start.inverse())),
            brain=to_sitk(resample(reference_brain, grid)),
            rigid=None,
        )
    matrix = np.asarray(greedy["rigid"], np.float64)
    return start @ Transform(_nearest_rigid(matrix))


@contextmanager
def _quiet_native_code() -> Iterator[None]:
    """Nothing reaches the process's error stream: greedy's optimiser writes there when a line search ends early.

    That is no error, and how good the result is gets judged afterwards.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _nearest_rigid(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Greedy computes in single precision: make the rotation orthogonal to the last digit."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    rigid = matrix.copy()
    rigid[:3, :3] = u @ vt
    rigid[3] = [0, 0, 0, 1]
    return rigid


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
