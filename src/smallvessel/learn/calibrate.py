"""Temperatures, thresholds and least volumes of the markers network, from simulated patches of heads that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize

from ..markers import Marker
from .marker_samples import MarkerSamples
from .network import UNet

THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
SEEDS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""A lesion's outline is drawn at a low probability, whether it is one is decided by its peak: with a single threshold small
lesions are either drawn too small or found too often."""
BY_VOLUME = (Marker.WMH,)
"""Reported by volume first: the operating point has the largest Dice alone. Times F1, as for the counted markers, it would sit where
lesions run into each other."""
LEAST_VOLUMES_MM3 = (2.0, 3.0, 5.0, 8.0, 12.0)
CUBE = np.ones((3, 3, 3))

Patch = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]
"""Logits, labels and known voxels of one patch."""


@dataclass(frozen=True)
class Calibration:
    """What the card needs of one marker.

    Attributes
    ----------
    offset : float
        Taken from the logit before anything else: the balanced loss makes rare markers look frequent.
    temperature : float
        Divides the logit, so that probabilities are frequencies.
    probability, seed_probability, min_volume_mm3 : float
        The operating point: Dice times lesion-wise F1 is largest there, for WMH the Dice alone.
    dice, f1 : float
        At that point, pooled over the validation patches (simulated).
    """

    offset: float
    temperature: float
    probability: float
    seed_probability: float
    min_volume_mm3: float
    dice: float
    f1: float


@torch.no_grad()
def predict_patches(model: UNet, samples: MarkerSamples, count: int) -> list[Patch]:
    """Logits, labels and known voxels, each (4, x, y, z), of ``count`` batches."""
    out: list[Patch] = []
    for number in range(count):
        image, label, weight = samples[number]
        logits = model(image)
        out += list(zip(logits.numpy(), label.numpy() > 0.5, weight.numpy() > 0, strict=True))
    return out


def calibrate(patches: list[Patch]) -> Mapping[Marker, Calibration]:
    """Fit each marker's temperature and choose its operating point."""
    found = {}
    for index, marker in enumerate(Marker):
        known = [(logit[index], label[index], weight[index]) for logit, label, weight in patches if weight[index].any()]
        offset, temperature = _fit_logits(known)
        found[marker] = _choose_point(known, offset, temperature, by_volume=marker in BY_VOLUME)
    return found


def shift_logits(model: UNet, found: Mapping[Marker, Calibration]) -> None:
    """Take each marker's offset from the network's last bias, so that it need not be known in use."""
    if model.head.bias is not None:
        with torch.no_grad():
            model.head.bias -= torch.tensor([found[marker].offset for marker in Marker])


def _fit_logits(known: list[Patch]) -> tuple[float, float]:
    """Offset and temperature by maximum likelihood (Platt scaling)."""
    logits = np.concatenate([logit[weight] for logit, _, weight in known]).astype(np.float64)
    labels = np.concatenate([label[weight] for _, label, weight in known])
    # an eighth of the negatives, each counted eight times, gives the same answer sooner
    thin = np.ones(logits.size, bool) if logits.size < 400_000 else labels | (np.arange(logits.size) % 8 == 0)
    weights = np.where(labels[thin], 1.0, 1.0 if thin.all() else 8.0)
    z, t = logits[thin], labels[thin]

    def loss(parameters: NDArray[np.float64]) -> float:
        scaled = (z - parameters[0]) / np.exp(parameters[1])
        return float(np.sum(weights * (np.logaddexp(0, scaled) - t * scaled)) / weights.sum())

    best = optimize.minimize(loss, np.array([1.0, 0.1]), method="L-BFGS-B", options={"ftol": 1e-12})
    return float(best.x[0]), float(np.exp(best.x[1]))


def _choose_point(known: list[Patch], offset: float, temperature: float, by_volume: bool) -> Calibration:
    seeds, volumes = (grid.ravel() for grid in np.meshgrid(SEEDS, LEAST_VOLUMES_MM3))
    best = [-1.0] * 6
    for threshold in THRESHOLDS:
        counts = sum(_count(patch, offset, temperature, threshold, seeds, volumes) for patch in known)
        overlap, predicted, true, found, lesions, good, all_found = np.asarray(counts)
        dice = 2 * overlap / np.maximum(predicted + true, 1)
        recall, precision = found / np.maximum(lesions, 1), good / np.maximum(all_found, 1)
        f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-9)
        score = dice if by_volume else dice * f1
        top = int(np.argmax(score))
        if score[top] > best[0]:
            best = [score[top], threshold, max(seeds[top], threshold), volumes[top], dice[top], f1[top]]
    _, probability, seed, volume, dice_there, f1_there = (round(float(value), 3) for value in best)
    return Calibration(round(offset, 4), round(temperature, 3), probability, seed, volume, dice_there, f1_there)


def _count(
    patch: Patch, offset: float, temperature: float, threshold: float, seeds: NDArray[np.float64], volumes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Voxels and lesions of a patch, in common and in all, a column for each pair of seed and volume."""
    logit, label, weight = patch
    probability = 1 / (1 + np.exp(-np.clip((logit - offset) / temperature, -30, 30)))
    truth, true_count = ndimage.label(label & weight, CUBE)
    parts, n = ndimage.label((probability > threshold) & weight, CUBE)
    everything = np.ones(len(seeds))
    sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:].astype(np.float64)
    peaks = np.asarray(ndimage.maximum(probability, parts, np.arange(1, n + 1)))
    both = (parts > 0) & (truth > 0)
    shared = np.bincount(parts[both], minlength=n + 1)[1:].astype(np.float64)
    kept = ((sizes[:, None] >= volumes) & (peaks[:, None] >= seeds)).astype(np.float64)
    hit = np.zeros((true_count + 1, len(seeds)))
    pairs = np.unique(np.stack([truth[both], parts[both]]), axis=1)
    np.maximum.at(hit, pairs[0], kept[pairs[1] - 1])
    return np.stack(
        [
            shared @ kept,
            sizes @ kept,
            np.count_nonzero(truth) * everything,
            hit.sum(axis=0),
            true_count * everything,
            (shared > 0).astype(np.float64) @ kept,
            kept.sum(axis=0),
        ]
    )
