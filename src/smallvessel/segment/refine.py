"""From probability maps to lesions: thresholds, components, plausibility, and which marker a voxel belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..expected import CONFIDENCE_DECIMALS
from ..markers import Marker
from ..records import Prepared
from ..shapes import component_boxes, label_components
from .plausibility import SURROUND_VOX, Candidate, Surroundings, is_elongated, is_ovoid_cavity, observe_surroundings, why_implausible

CONFIDENCE_PERCENTILE = 90.0
"""A lesion's confidence is this percentile of the calibrated probability inside: the probability of its core. The mean would be lower
for small lesions only because more of them is edge; the maximum is one voxel's noise."""
SUPPORT = 0.5
"""A cavity changes its marker by its shape only if the other marker's probability reaches in it this share of the peak that makes a lesion
(``seed_probability``). Outlines are drawn at much lower ones, which support nothing."""


@dataclass(frozen=True)
class Threshold:
    """When voxels make a lesion.

    Attributes
    ----------
    probability : float
        Least probability of each voxel.
    min_volume_mm3 : float
        Least volume of a lesion.
    seed_probability : float
        At least one voxel must reach it (hysteresis); the same as ``probability`` where the card names none.
    """

    probability: float
    min_volume_mm3: float
    seed_probability: float

    @staticmethod
    def from_card(entry: Mapping[str, float]) -> Threshold:
        return Threshold(entry["probability"], entry["min_volume_mm3"], entry.get("seed_probability", entry["probability"]))


@dataclass(frozen=True)
class Refined:
    """The lesions of every assessable marker: label maps, confidences in label order, and how many candidates each rule dropped."""

    labels: Mapping[Marker, NDArray[np.int32]]
    confidence: Mapping[Marker, tuple[float, ...]]
    dropped: Mapping[tuple[Marker, str], int] = field(default_factory=dict)


def refine_markers(
    prepared: Prepared, probability: Mapping[Marker, NDArray[np.float32]], thresholds: Mapping[Marker, Threshold]
) -> Refined:
    """Find the lesions of the markers in ``thresholds``.

    1. Voxels of the brain at or above the threshold form 26-connected candidates of at least the minimum volume.
    2. Implausible candidates are dropped (:mod:`smallvessel.segment.plausibility`).
    3. Lacune or perivascular space: where the two overlap, the voxels go to the lacune if the joint shape is ovoid and at least
       3 mm wide, to the perivascular space if it is elongated and thinner, else to the more probable one relative to its threshold.
       Then a perivascular space of a lacune's shape becomes a lacune and the reverse, if the other map supports it; a
       lacune of a perivascular space's shape without that support is dropped.
    4. Voxels of a lacune or perivascular space are not WMH (a WMH has no cavity). CMB may overlap with the others: they are another
       property, seen on another sequence.

    Parameters
    ----------
    prepared : Prepared
    probability : mapping of Marker to ndarray, shape (x, y, z)
    thresholds : mapping of Marker to Threshold
        The assessable markers; the others take no part.
    """
    above = {marker: (probability[marker] >= limit.probability) & prepared.anatomy.brain.data for marker, limit in thresholds.items()}
    around = observe_surroundings(prepared, above)
    if Marker.WMH in above:
        above[Marker.WMH] = above[Marker.WMH] & ~around.never_wmh
    dropped: Counter[tuple[Marker, str]] = Counter()
    kept: dict[Marker, list[Candidate]] = {}
    for marker, mask in above.items():
        kept[marker] = []
        for candidate in _candidates(marker, mask, probability[marker], thresholds[marker], around):
            reason = why_implausible(candidate, around)
            if reason is None:
                kept[marker].append(candidate)
            else:
                dropped[marker, reason] += 1
    evidence = dict(probability)
    if Marker.LACUNE in kept and Marker.EPVS in kept:
        _divide_shared_voxels(kept, probability, thresholds, around)
        evidence |= _exchange_by_shape(kept, probability, thresholds, around, dropped)
    elif Marker.LACUNE in kept:
        _drop_elongated(kept, around, dropped)
    masks = {marker: _paint(candidates, prepared.grid.shape) for marker, candidates in kept.items()}
    for cavity in (Marker.LACUNE, Marker.EPVS):
        if Marker.WMH in masks and cavity in masks:
            masks[Marker.WMH] &= ~masks[cavity]
    labels: dict[Marker, NDArray[np.int32]] = {}
    confidence: dict[Marker, tuple[float, ...]] = {}
    for marker, mask in masks.items():
        labels[marker], confidence[marker] = _number_lesions(mask, evidence[marker], _min_voxels(thresholds[marker], around))
    return Refined(labels, confidence, dict(sorted(dropped.items())))


def _min_voxels(limit: Threshold, around: Surroundings) -> float:
    return limit.min_volume_mm3 / around.grid.voxel_volume_mm3 - 1e-6


def _candidates(
    marker: Marker, mask: NDArray[np.bool_], probability: NDArray[np.float32], limit: Threshold, around: Surroundings
) -> list[Candidate]:
    labels, _ = label_components(mask)
    candidates = []
    for label, box in component_boxes(labels, SURROUND_VOX):
        inside = labels[box] == label
        if np.count_nonzero(inside) >= _min_voxels(limit, around) and probability[box][inside].max() >= limit.seed_probability:
            candidates.append(Candidate(marker, box, inside))
    return candidates


def _paint(candidates: list[Candidate], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    for candidate in candidates:
        mask[candidate.box] |= candidate.inside
    return mask


def _divide_shared_voxels(
    kept: dict[Marker, list[Candidate]],
    probability: Mapping[Marker, NDArray[np.float32]],
    thresholds: Mapping[Marker, Threshold],
    around: Surroundings,
) -> None:
    """Give the voxels that a lacune and a perivascular space share to one of them; both lists are made anew."""
    masks = {marker: _paint(kept[marker], around.structures.shape) for marker in (Marker.LACUNE, Marker.EPVS)}
    if not (masks[Marker.LACUNE] & masks[Marker.EPVS]).any():
        return
    lacunes, spaces = (label_components(mask)[0] for mask in masks.values())
    shared = masks[Marker.LACUNE] & masks[Marker.EPVS]
    for lacune, space in np.unique(np.stack([lacunes[shared], spaces[shared]], axis=1), axis=0):
        both = np.argwhere((lacunes == lacune) | (spaces == space))
        overlap = shared & (lacunes == lacune) & (spaces == space)
        if is_ovoid_cavity(both, around.grid, around.slices[Marker.LACUNE]):
            loser = Marker.EPVS
        elif is_elongated(both, around.grid, around.slices[Marker.LACUNE]):
            loser = Marker.LACUNE
        else:
            strength = {m: float(probability[m][overlap].mean()) / thresholds[m].probability for m in masks}
            loser = Marker.EPVS if strength[Marker.LACUNE] >= strength[Marker.EPVS] else Marker.LACUNE
        masks[loser] &= ~overlap
    for marker, mask in masks.items():
        kept[marker] = _candidates(marker, mask, probability[marker], thresholds[marker], around)


def _exchange_by_shape(
    kept: dict[Marker, list[Candidate]],
    probability: Mapping[Marker, NDArray[np.float32]],
    thresholds: Mapping[Marker, Threshold],
    around: Surroundings,
    dropped: Counter[tuple[Marker, str]],
) -> dict[Marker, NDArray[np.float32]]:
    """Move cavities to the marker whose shape they have; returns the maps from which confidences of the two are read."""
    evidence = {marker: probability[marker].copy() for marker in (Marker.LACUNE, Marker.EPVS)}
    settled: dict[Marker, list[Candidate]] = {Marker.LACUNE: [], Marker.EPVS: []}
    shapes = {Marker.LACUNE: is_elongated, Marker.EPVS: is_ovoid_cavity}
    for marker, other in ((Marker.LACUNE, Marker.EPVS), (Marker.EPVS, Marker.LACUNE)):
        for candidate in kept[marker]:
            moved = Candidate(other, candidate.box, candidate.inside)
            support = probability[other][candidate.box][candidate.inside].max() >= SUPPORT * thresholds[other].seed_probability
            if not shapes[marker](candidate.voxels, around.grid, around.slices[marker]):
                settled[marker].append(candidate)
            elif support and why_implausible(moved, around) is None:
                settled[other].append(moved)
                here = evidence[other][candidate.box]
                here[candidate.inside] = np.maximum(here, probability[marker][candidate.box])[candidate.inside]
            elif marker is Marker.EPVS:
                settled[marker].append(candidate)
            else:
                dropped[marker, "shaped like a perivascular space"] += 1
    kept.update(settled)
    return evidence


def _drop_elongated(kept: dict[Marker, list[Candidate]], around: Surroundings, dropped: Counter[tuple[Marker, str]]) -> None:
    elongated = [is_elongated(candidate.voxels, around.grid, around.slices[Marker.LACUNE]) for candidate in kept[Marker.LACUNE]]
    kept[Marker.LACUNE] = [candidate for candidate, long in zip(kept[Marker.LACUNE], elongated, strict=True) if not long]
    if any(elongated):
        dropped[Marker.LACUNE, "shaped like a perivascular space"] += sum(elongated)


def _number_lesions(
    mask: NDArray[np.bool_], probability: NDArray[np.float32], min_voxels: float
) -> tuple[NDArray[np.int32], tuple[float, ...]]:
    """Label the lesions 1..n once more: cutting voxels away may have split one or left it too small."""
    labels, count = label_components(mask)
    new_label = np.zeros(count + 1, np.int32)
    confidence = []
    for label, box in component_boxes(labels, 0):
        inside = labels[box] == label
        if np.count_nonzero(inside) >= min_voxels:
            core = float(np.percentile(probability[box][inside], CONFIDENCE_PERCENTILE))
            confidence.append(round(core, CONFIDENCE_DECIMALS))
            new_label[label] = len(confidence)
    return new_label[labels], tuple(confidence)
