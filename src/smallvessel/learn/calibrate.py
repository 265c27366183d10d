"""Temperatures and operating points of the markers network, from simulated heads that were not trained on.

Temperatures come from patches, of which many can be made. Operating points come from whole sessions that went through the
pipeline, with its registration, its anatomy and its rules of plausibility: what a threshold lets through is what is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize

from ..errors import InputError
from ..markers import MARKERS, Marker
from ..records import Prepared
from ..segment.predict import Forward, assessable, predict_probabilities
from ..segment.refine import Refined, Threshold, refine_markers
from ..shapes import component_boxes, label_components
from ..volume import Grid, LabelMap, Mask, resample
from .marker_samples import MarkerSamples
from .network import UNet

THRESHOLDS = (0.07, 0.15, 0.25, 0.35, 0.5, 0.7)
SEEDS = (0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
"""A lesion's outline is drawn at a low probability, whether it is one is decided by its peak: with a single threshold small
lesions are either drawn too small or found too often."""
BY_VOLUME = (Marker.WMH,)
"""Reported by volume first: the operating point has the largest Dice. Times F1, as for the counted markers, it would sit where
lesions run into each other."""
AS_GOOD = 0.01
"""Mean Dice that differ by less are equal, on so few sessions: among these points the one with the best F1 is taken, or a gain in the third
decimal would be paid with dozens of false lesions. Own choice."""
F1_AS_GOOD = 0.02
"""And among these, points whose F1 differ by less are equal too: the one that paints least in brains without any is taken. Without this the
outline lay anywhere on a curve that is flat from .15 to .5, and twice as much was painted in brains without WMH. Own choice, made after
the point without this rule had been seen on real scans (docs/models/history.md, round 13)."""
WORTH_AS_GOOD = 0.03
"""Products of Dice and F1 that differ by less than this share are equal on so few sessions: the point with the fewest false lesions is
taken. Own choice: of the perivascular spaces below 8 mm3 that the best point adds on real scans half are nothing (round 13)."""
MUST_NOT_ALARM = (Marker.LACUNE, Marker.CMB)
"""One of them counts in the burden scores: a brain without any should have none. Dice and F1 are therefore multiplied with the share of
brains that would get no false lesion, if these fell at random (Poisson), each brain at its own rate. Counted on brains without lesions
alone, of which there are four in sixteen, that share was chance: it led to a point (round 11) at which half of the lacunes were missed.
With one rate for all, few sessions with many false ones decided: no microbleed below 12 mm3 was reported any more (round 16)."""
LEAST_VOLUMES_MM3 = (3.0, 5.0, 8.0, 12.0)
Patch = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]
"""Logits, labels and known voxels of one patch."""


@dataclass(frozen=True)
class Scale:
    """What makes a marker's logits calibrated.

    Attributes
    ----------
    offset : float
        Taken from the logit before anything else: the balanced loss makes rare markers look frequent.
    temperature : float
        Divides the logit, so that probabilities are frequencies.
    """

    offset: float
    temperature: float


@dataclass(frozen=True)
class OperatingPoint:
    """When voxels make a lesion, and what that reached on the sessions it was chosen on (simulated).

    Attributes
    ----------
    threshold : Threshold
        The mean Dice over sessions with lesions times the pooled lesion-wise F1 is largest there, for lacunes and CMB times the share of
        brains without a false one; for EPVS nearly the largest, with the fewest false lesions. For WMH the mean Dice, then the F1, then the
        volume in brains without any, each among points as good.
    dice, f1, false_per_session : float
    alarms : float
        Share of lesion-free sessions with a false lesion; 0 where every session has lesions.
    false_ml : float
        Mean volume that is found in lesion-free sessions.
    spared : float
        Share of sessions that would get no false lesion, if these fell at random at each session's own rate.
    """

    threshold: Threshold
    dice: float
    f1: float
    false_per_session: float
    alarms: float
    false_ml: float
    spared: float


@dataclass(frozen=True)
class KnownSession:
    """A prepared session and its true masks, each on its own grid in the reference image's world."""

    prepared: Prepared
    truth: Mapping[Marker, Mask]


@dataclass(frozen=True, eq=False)
class Observed:
    """What one threshold makes of one marker of a session: every predicted lesion, and which true ones it overlaps.

    Attributes
    ----------
    peak, volume_mm3, confidence : ndarray, shape (n,)
        Of the predicted lesions.
    voxels, shared : ndarray, shape (n,)
        Voxels of each on the truth's grid, and those that are true.
    pairs : ndarray, shape (2, k)
        True and predicted lesion (from 1) that overlap.
    true_lesions, true_voxels : int
    voxel_ml : float
        On the truth's grid.
    """

    peak: NDArray[np.float64]
    volume_mm3: NDArray[np.float64]
    confidence: NDArray[np.float64]
    voxels: NDArray[np.float64]
    shared: NDArray[np.float64]
    pairs: NDArray[np.int64]
    true_lesions: int
    true_voxels: int
    voxel_ml: float


Table = dict[tuple[Marker, float], Observed]
"""A session by marker and threshold."""


@torch.no_grad()
def predict_patches(model: UNet, samples: MarkerSamples, count: int) -> list[Patch]:
    """Logits as in use, with the mirror image's, labels and known voxels, each (4, x, y, z), of ``count`` batches."""
    out: list[Patch] = []
    for number in range(count):
        image, label, weight = samples[number]
        logits = 0.5 * (model(image) + model(image.flip(2)).flip(2))
        out += list(zip(logits.numpy(), label.numpy() > 0.5, weight.numpy() > 0, strict=True))
    return out


def calibrate(patches: list[Patch]) -> Mapping[Marker, Scale]:
    """Fit each marker's offset and temperature."""
    return {
        marker: _fit_logits([(logits[index], label[index], weight[index]) for logits, label, weight in patches if weight[index].any()])
        for index, marker in enumerate(Marker)
    }


def shift_logits(model: UNet, found: Mapping[Marker, Scale]) -> None:
    """Take each marker's offset from the network's last bias, so that it need not be known in use."""
    if model.head.bias is not None:
        with torch.no_grad():
            model.head.bias -= torch.tensor([found[marker].offset for marker in Marker])


def _fit_logits(known: list[Patch]) -> Scale:
    """By maximum likelihood (Platt scaling)."""
    logits = np.concatenate([values[weight] for values, _, weight in known]).astype(np.float64)
    labels = np.concatenate([label[weight] for _, label, weight in known])
    # an eighth of the negatives, each counted eight times, gives the same answer sooner
    thin = np.ones(logits.size, bool) if logits.size < 400_000 else labels | (np.arange(logits.size) % 8 == 0)
    weights = np.where(labels[thin], 1.0, 1.0 if thin.all() else 8.0)
    z, t = logits[thin], labels[thin]

    def loss(parameters: NDArray[np.float64]) -> float:
        scaled = (z - parameters[0]) / np.exp(parameters[1])
        return float(np.sum(weights * (np.logaddexp(0, scaled) - t * scaled)) / weights.sum())

    best = optimize.minimize(loss, np.array([1.0, 0.1]), method="L-BFGS-B", options={"ftol": 1e-12})
    return Scale(round(float(best.x[0]), 4), round(float(np.exp(best.x[1])), 3))


def tabulate(session: KnownSession, forward: Forward, temperature: Mapping[str, float]) -> Table:
    """What every operating point would make of a session.

    All markers' lesions are found at the same threshold, the lowest seed and the least volume; higher seeds and larger volumes then
    leave lesions out.

    Parameters
    ----------
    session : KnownSession
    forward : callable
        The exported network.
    temperature : mapping
        From its card.
    """
    table: Table = {}
    probability = predict_probabilities(session.prepared, forward, temperature)
    true = {marker: LabelMap(label_components(session.truth[marker].data)[0], session.truth[marker].grid) for marker in _judged(session)}
    for threshold in THRESHOLDS:
        limits = {marker: Threshold(threshold, LEAST_VOLUMES_MM3[0], max(threshold, SEEDS[0])) for marker in true}
        refined = refine_markers(session.prepared, probability, limits)
        for marker, lesions in true.items():
            table[marker, threshold] = _observe(refined, marker, probability[marker], lesions, session.prepared.grid)
    return table


def choose_points(tables: Iterable[Table]) -> dict[Marker, OperatingPoint]:
    """Choose each marker's operating point among ``THRESHOLDS``, ``SEEDS`` and ``LEAST_VOLUMES_MM3``."""
    together = gather(tables)
    return {marker: _choose_point(marker, together) for marker in Marker if (marker, THRESHOLDS[0]) in together}


def gather(tables: Iterable[Table]) -> dict[tuple[Marker, float], list[Observed]]:
    """All sessions by marker and threshold."""
    together: dict[tuple[Marker, float], list[Observed]] = {}
    for table in tables:
        for key, observed in table.items():
            together.setdefault(key, []).append(observed)
    return together


def _judged(session: KnownSession) -> list[Marker]:
    """The markers that can be assessed on the session's images and were rated on one of them."""
    able = assessable(session.prepared.images)
    return [marker for marker in session.truth if able[marker] is None and set(MARKERS[marker].rated_on) & set(session.prepared.images)]


SEED_OF, VOLUME_OF = (grid.ravel() for grid in np.meshgrid(SEEDS, LEAST_VOLUMES_MM3))


def _choose_point(marker: Marker, tables: Mapping[tuple[Marker, float], Sequence[Observed]]) -> OperatingPoint:
    points = [point for threshold in THRESHOLDS for point in _judge_points(threshold, tables[marker, threshold])]
    if not points:
        raise InputError(f"no session with a lesion of {marker}", "sessions with every marker", "simulate more sessions")
    if marker in MUST_NOT_ALARM:
        return max(points, key=lambda point: point.dice * point.f1 * point.spared)
    if marker not in BY_VOLUME:
        most = max(point.dice * point.f1 for point in points)
        near = [point for point in points if point.dice * point.f1 >= (1 - WORTH_AS_GOOD) * most]
        return min(near, key=lambda point: (point.false_per_session, -point.f1))
    best = max(point.dice for point in points)
    good = [point for point in points if point.dice > best - AS_GOOD]
    best_f1 = max(point.f1 for point in good)
    return min((point for point in good if point.f1 > best_f1 - F1_AS_GOOD), key=lambda point: (point.false_ml, -point.f1))


def _judge_points(threshold: float, sessions: Sequence[Observed]) -> list[OperatingPoint]:
    """Every pair of seed and least volume at one threshold; none without a session that has lesions."""
    overlap, predicted, true, found, lesions, good, drawn = np.moveaxis(np.stack([_count(observed) for observed in sessions]), 1, 0)
    ill = true[:, 0] > 0
    if not ill.any():
        return []
    dice = (2 * overlap[ill] / (predicted + true)[ill]).mean(0)
    recall = found.sum(0) / np.maximum(lesions.sum(0), 1)
    precision = good.sum(0) / np.maximum(drawn.sum(0), 1)
    f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-9)
    false = (drawn - good).mean(0)
    spared = np.exp(good - drawn).mean(0)
    alarms, false_ml = np.zeros((2, SEED_OF.size))
    if not ill.all():
        alarms = (drawn[~ill] > 0).mean(0)
        voxels_ml = np.array([observed.voxel_ml for observed in sessions])[:, None]
        false_ml = (predicted * voxels_ml)[~ill].mean(0)
    return [
        OperatingPoint(
            Threshold(threshold, float(VOLUME_OF[at]), max(float(SEED_OF[at]), threshold)),
            *(float(values[at]) for values in (dice, f1, false, alarms, false_ml, spared)),
        )
        for at in range(SEED_OF.size)
    ]


def _observe(refined: Refined, marker: Marker, probability: NDArray[np.float32], true: LabelMap, grid: Grid) -> Observed:
    labels = refined.labels[marker]
    inside = [(box, labels[box] == label) for label, box in component_boxes(labels, 0)]
    parts = resample(LabelMap(labels, grid), true.grid).data
    predicted, found = parts[parts > 0], true.data[parts > 0]
    n = len(inside)
    return Observed(
        peak=np.array([probability[box][mask].max() for box, mask in inside], np.float64),
        volume_mm3=np.array([np.count_nonzero(mask) * grid.voxel_volume_mm3 for _, mask in inside], np.float64),
        confidence=np.asarray(refined.confidence[marker], np.float64),
        voxels=np.bincount(predicted, minlength=n + 1)[1:].astype(np.float64),
        shared=np.bincount(predicted[found > 0], minlength=n + 1)[1:].astype(np.float64),
        pairs=np.unique(np.stack([found, predicted])[:, found > 0].astype(np.int64), axis=1),
        true_lesions=int(true.data.max(initial=0)),
        true_voxels=int(np.count_nonzero(true.data)),
        voxel_ml=true.grid.voxel_volume_mm3 / 1000.0,
    )


def _count(observed: Observed) -> NDArray[np.float64]:
    """Voxels and lesions in common and in all, a column for each pair of seed and least volume."""
    kept = ((observed.volume_mm3[:, None] >= VOLUME_OF - 1e-6) & (observed.peak[:, None] >= SEED_OF)).astype(np.float64)
    hit = np.zeros((observed.true_lesions + 1, SEED_OF.size))
    np.maximum.at(hit, observed.pairs[0], kept[observed.pairs[1] - 1])
    everything = np.ones(SEED_OF.size)
    return np.stack(
        [
            observed.shared @ kept,
            observed.voxels @ kept,
            observed.true_voxels * everything,
            hit.sum(axis=0),
            observed.true_lesions * everything,
            (observed.shared > 0).astype(np.float64) @ kept,
            kept.sum(axis=0),
        ]
    )
