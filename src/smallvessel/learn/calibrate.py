"""Temperatures, thresholds and least volumes of the markers network, from simulated patches of heads that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize

from ..markers import Marker
from .marker_samples import EASY_BATCHES, MarkerSamples
from .network import UNet

THRESHOLDS = np.round(np.arange(0.2, 0.86, 0.05), 2)
LEAST_VOLUMES_MM3 = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
CUBE = np.ones((3, 3, 3))

Patch = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]
"""Logits, labels and known voxels of one patch."""


@dataclass(frozen=True)
class Calibration:
    """What the card needs of one marker.

    Attributes
    ----------
    temperature : float
        Divides the logit, so that probabilities are frequencies.
    probability, min_volume_mm3 : float
        The operating point: Dice times lesion-wise F1 is largest there.
    dice, f1 : float
        At that point, pooled over the validation patches (simulated).
    """

    temperature: float
    probability: float
    min_volume_mm3: float
    dice: float
    f1: float


@torch.no_grad()
def predict_patches(model: UNet, samples: MarkerSamples, count: int) -> list[Patch]:
    """Logits, labels and known voxels, each (4, x, y, z), of ``count`` batches that are not easy."""
    out: list[Patch] = []
    for number in range(EASY_BATCHES, EASY_BATCHES + count):
        image, label, weight = samples[number]
        logits = model(image)
        out += list(zip(logits.numpy(), label.numpy() > 0.5, weight.numpy() > 0, strict=True))
    return out


def calibrate(patches: list[Patch]) -> Mapping[Marker, Calibration]:
    """Fit each marker's temperature and choose its operating point."""
    found = {}
    for index, marker in enumerate(Marker):
        known = [(logit[index], label[index], weight[index]) for logit, label, weight in patches if weight[index].any()]
        temperature = _fit_temperature(known)
        found[marker] = _choose_point(known, temperature)
    return found


def _fit_temperature(known: list[Patch]) -> float:
    logits = np.concatenate([logit[weight] for logit, _, weight in known]).astype(np.float64)
    labels = np.concatenate([label[weight] for _, label, weight in known])

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - labels * scaled))

    best = optimize.minimize_scalar(loss, bounds=(np.log(0.3), np.log(5)), method="bounded", options={"xatol": 0.01})
    return float(np.exp(best.x))


def _choose_point(known: list[Patch], temperature: float) -> Calibration:
    points = [(float(p), v) for p in THRESHOLDS for v in LEAST_VOLUMES_MM3]
    counts = {point: np.zeros(7) for point in points}
    for logit, label, weight in known:
        probability = 1 / (1 + np.exp(-np.clip(logit / temperature, -30, 30)))
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
    return Calibration(round(temperature, 3), best[0], best[1], round(dice, 3), round(f1, 3))
