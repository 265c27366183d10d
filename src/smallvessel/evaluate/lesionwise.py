"""Agreement lesion by lesion: which lesions were found, which findings are true.

Lesions are 26-connected. Three ways to pair them, each named in its result:

- *any overlap* (WMH challenge): a reference lesion is found when any predicted voxel touches it, a predicted lesion is
  true when it touches any reference voxel. Not one-to-one: one large prediction may find several lesions.
- *centres within d mm* (usual for microbleeds and lacunes): one-to-one, as many pairs as possible, then the shortest.
- *IoU above a threshold* (panoptic quality): one-to-one, best overlap first.

Without reference lesions the recall, and without predictions the precision, is not assessed (the WMH challenge says 1);
F1 is 0 when only one of the masks is empty and not assessed when both are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from ..errors import InputError
from ..records import NotAssessed
from ..volume import LabelMap, Mask, require_same_grid
from .voxel import BOTH_EMPTY, NO_PREDICTION, NO_REFERENCE, without

CENTRE_DISTANCE_MM = 3.0
"""Usual tolerance between the centres of a predicted and a reference lesion, for microbleeds and lacunes."""

PANOPTIC_IOU = 0.5
"""A pair counts above this intersection over union; then it is unique (Kirillov et al. 2019, 10.1109/CVPR.2019.00963)."""

FULL_NEIGHBOURHOOD = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class LesionMetrics:
    """Lesions found and lesions claimed, on one scan or pooled over several.

    Attributes
    ----------
    rule : str
        How lesions were paired.
    n_reference, n_prediction : int
        Lesions in each mask.
    n_found : int
        Reference lesions that were found.
    n_true : int
        Predicted lesions that are true. Equal to ``n_found`` when pairs are one-to-one.
    """

    rule: str
    n_reference: int
    n_prediction: int
    n_found: int
    n_true: int

    @property
    def n_missed(self) -> int:
        return self.n_reference - self.n_found

    @property
    def n_false(self) -> int:
        """False positives: predicted lesions that are not in the reference."""
        return self.n_prediction - self.n_true

    @property
    def recall(self) -> float | NotAssessed:
        return self.n_found / self.n_reference if self.n_reference else NO_REFERENCE

    @property
    def precision(self) -> float | NotAssessed:
        return self.n_true / self.n_prediction if self.n_prediction else NO_PREDICTION

    @property
    def f1(self) -> float | NotAssessed:
        """Harmonic mean of recall and precision."""
        if not self.n_reference and not self.n_prediction:
            return BOTH_EMPTY
        recall, precision = self.recall, self.precision
        if isinstance(recall, NotAssessed) or isinstance(precision, NotAssessed) or recall + precision == 0:
            return 0.0
        return 2.0 * recall * precision / (recall + precision)


@dataclass(frozen=True)
class PanopticMetrics:
    """Detection and delineation in one number: quality = recognition x segmentation.

    ``sum_iou`` is over the ``n_matched`` pairs.
    """

    rule: str
    n_reference: int
    n_prediction: int
    n_matched: int
    sum_iou: float

    @property
    def recognition(self) -> float | NotAssessed:
        """F1 of the one-to-one pairs."""
        total = self.n_reference + self.n_prediction
        return 2.0 * self.n_matched / total if total else BOTH_EMPTY

    @property
    def segmentation(self) -> float | NotAssessed:
        """Mean IoU of the pairs; not assessed without a pair."""
        return self.sum_iou / self.n_matched if self.n_matched else NotAssessed("no lesion was matched")

    @property
    def quality(self) -> float | NotAssessed:
        """Sum of IoU over (pairs + half of the unpaired)."""
        total = self.n_reference + self.n_prediction
        return 2.0 * self.sum_iou / total if total else BOTH_EMPTY


def find_instances(mask: Mask) -> LabelMap:
    """The 26-connected components, labelled 1..n in order of their first voxel."""
    labels, _ = ndimage.label(mask.data, FULL_NEIGHBOURHOOD)
    return LabelMap(np.asarray(labels, np.int32), mask.grid)


def match_by_overlap(prediction: Mask, reference: Mask, exclude: Mask | None = None) -> LesionMetrics:
    """Pair lesions by any voxel of overlap.

    Parameters
    ----------
    prediction, reference : Mask
        On the same grid.
    exclude : Mask, optional
        Voxels removed from both masks before lesions are told apart.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    predicted, referred = _both_instances(prediction, reference, exclude)
    overlap = _overlap_vox(predicted, referred)[1:, 1:]
    return LesionMetrics(
        rule="any overlap",
        n_reference=overlap.shape[0],
        n_prediction=overlap.shape[1],
        n_found=int(overlap.any(axis=1).sum()),
        n_true=int(overlap.any(axis=0).sum()),
    )


def match_by_distance(
    prediction: Mask, reference: Mask, max_distance_mm: float = CENTRE_DISTANCE_MM, exclude: Mask | None = None
) -> LesionMetrics:
    """Pair lesions one-to-one whose centres of mass lie within ``max_distance_mm`` in world space.

    Among all pairings the one with most pairs is taken, and of these the one with the smallest sum of distances.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    if not max_distance_mm > 0:
        raise InputError(f"a centre distance of {max_distance_mm} mm", "a positive distance", "give for example 3")
    predicted, referred = _both_instances(prediction, reference, exclude)
    here, there = centres_mm(predicted), centres_mm(referred)
    n_pairs = 0
    if len(here) and len(there):
        distance = cdist(there, here)
        near = distance <= max_distance_mm
        # One pair outweighs every sum of distances, so the number of pairs is maximised first.
        gain = np.where(near, (min(distance.shape) + 1) * max_distance_mm - distance, 0.0)
        rows, columns = linear_sum_assignment(gain, maximize=True)
        n_pairs = int(near[rows, columns].sum())
    return LesionMetrics(f"centres within {max_distance_mm:g} mm", len(there), len(here), n_pairs, n_pairs)


def match_panoptic(prediction: Mask, reference: Mask, min_iou: float = PANOPTIC_IOU, exclude: Mask | None = None) -> PanopticMetrics:
    """Panoptic quality: pairs with an intersection over union above ``min_iou``, the best first, each lesion once.

    Ties go to the lower reference label, then to the lower predicted one.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    predicted, referred = _both_instances(prediction, reference, exclude)
    overlap = _overlap_vox(predicted, referred)
    union = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0, keepdims=True) - overlap
    iou = (overlap / np.maximum(union, 1))[1:, 1:]
    pairs = [(-iou[r, p], int(r), int(p)) for r, p in np.argwhere(iou > min_iou)]
    used_reference: set[int] = set()
    used_prediction: set[int] = set()
    sum_iou = 0.0
    for negative_iou, r, p in sorted(pairs):
        if r not in used_reference and p not in used_prediction:
            used_reference.add(r)
            used_prediction.add(p)
            sum_iou -= float(negative_iou)
    return PanopticMetrics(f"IoU above {min_iou:g}", iou.shape[0], iou.shape[1], len(used_reference), sum_iou)


def centres_mm(instances: LabelMap) -> NDArray[np.float64]:
    """Centre of mass of each label 1..n, world RAS mm, shape (n, 3)."""
    n = int(instances.data.max(initial=0))
    if n == 0:
        return np.zeros((0, 3))
    voxels = np.argwhere(instances.data > 0)
    label = instances.data[instances.data > 0]
    count = np.bincount(label, minlength=n + 1)[1:]
    sums = np.stack([np.bincount(label, weights=voxels[:, axis], minlength=n + 1)[1:] for axis in range(3)], axis=1)
    return instances.grid.world(sums / count[:, None])


def pool_lesions(scans: Sequence[LesionMetrics]) -> LesionMetrics:
    """The counts of several scans added up, for pooled recall, precision and F1.

    Raises
    ------
    InputError
        When the scans were paired by different rules, or there are none.
    """
    rules = {scan.rule for scan in scans}
    if len(rules) != 1:
        raise InputError(f"lesion counts by {len(rules)} rules {sorted(rules)}", "one rule for all scans", "pool each rule by itself")
    return LesionMetrics(
        rule=rules.pop(),
        n_reference=sum(scan.n_reference for scan in scans),
        n_prediction=sum(scan.n_prediction for scan in scans),
        n_found=sum(scan.n_found for scan in scans),
        n_true=sum(scan.n_true for scan in scans),
    )


def false_positives_per_scan(scans: Sequence[LesionMetrics]) -> float | NotAssessed:
    """Mean number of false lesions over all scans, with and without lesions."""
    return sum(scan.n_false for scan in scans) / len(scans) if scans else NotAssessed("no scan")


def positivity_without_lesions(scans: Sequence[LesionMetrics]) -> float | NotAssessed:
    """Fraction of the scans without any reference lesion on which at least one is predicted."""
    free = [scan for scan in scans if scan.n_reference == 0]
    return sum(scan.n_prediction > 0 for scan in free) / len(free) if free else NotAssessed("no scan is free of lesions")


def _both_instances(prediction: Mask, reference: Mask, exclude: Mask | None) -> tuple[LabelMap, LabelMap]:
    require_same_grid(prediction, reference)
    return find_instances(without(prediction, exclude)), find_instances(without(reference, exclude))


def _overlap_vox(predicted: LabelMap, referred: LabelMap) -> NDArray[np.int64]:
    """Voxels shared by each pair of labels, shape (1 + n_reference, 1 + n_prediction); row and column 0 are background."""
    shape = (int(referred.data.max(initial=0)) + 1, int(predicted.data.max(initial=0)) + 1)
    joint = referred.data.astype(np.int64) * shape[1] + predicted.data
    return np.asarray(np.bincount(joint.ravel(), minlength=shape[0] * shape[1]), np.int64).reshape(shape)
