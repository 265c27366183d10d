"""Temperatures, thresholds and least volumes of the markers network, from simulated patches of heads that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize

from ..markers import Marker
from .marker_samples import EASY_PATCHES, MarkerSamples
from .network import UNet

THRESHOLDS = np.round(np.arange(0.1, 0.86, 0.05), 2)
LEAST_VOLUMES_MM3 = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
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
    probability, min_volume_mm3 : float
        The operating point: Dice times lesion-wise F1 is largest there.
    dice, f1 : float
        At that point, pooled over the validation patches (simulated).
    """

    offset: float
    temperature: float
    probability: float
    min_volume_mm3: float
    dice: float
    f1: float


@torch.no_grad()
def predict_patches(model: UNet, samples: MarkerSamples, count: int) -> list[Patch]:
    """Logits, labels and known voxels, each (4, x, y, z), of ``count`` batches that are not easy."""
    out: list[Patch] = []
    for number in range(EASY_PATCHES, EASY_PATCHES + count):
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
        found[marker] = _choose_point(known, offset, temperature)
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


def _choose_point(known: list[Patch], offset: float, temperature: float) -> Calibration:
    points = [(float(p), v) for p in THRESHOLDS for v in LEAST_VOLUMES_MM3]
    counts = {point: np.zeros(7) for point in points}
    for logit, label, weight in known:
        probability = 1 / (1 + np.exp(-np.clip((logit - offset) / temperature, -30, 30)))
        truth, true_count = ndimage.label(label, CUBE)
        for threshold in THRESHOLDS:
            mask = (probability > threshold) & weight
            parts, n = ndimage.label(mask, CUBE)
            sizes = np.bincount(parts.ravel(), minlength=n + 1)
            for volume in LEAST_VOLUMES_MM3:
                keep = sizes >= volume
                keep[0] = False
                kept = keep[parts]
                hit_lesions = np.unique(truth[kept & label]).size
                good = np.unique(parts[kept & label]).size
                counts[float(threshold), volume] += (
                    2 * np.count_nonzero(kept & label),
                    np.count_nonzero(kept),
                    np.count_nonzero(label),
                    hit_lesions,
                    true_count,
                    good,
                    int(keep.sum()),
                )

    def scores(point: tuple[float, float]) -> tuple[float, float]:
        overlap, predicted, true, found, lesions, good, all_found = counts[point]
        dice = overlap / max(predicted + true, 1)
        recall, precision = found / max(lesions, 1), good / max(all_found, 1)
        return dice, 2 * recall * precision / max(recall + precision, 1e-9)

    best = max(points, key=lambda point: np.prod(scores(point)))
    dice, f1 = scores(best)
    return Calibration(round(offset, 4), round(temperature, 3), best[0], best[1], round(dice, 3), round(f1, 3))
