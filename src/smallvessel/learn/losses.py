"""Losses of the two networks."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..simulate.anatomy import RIGHT_BIT
from ..structures import Structure

SIDED = tuple(
    s
    for s in Structure
    if s
    not in (
        Structure.BACKGROUND,
        Structure.CSF,
        Structure.THIRD_VENTRICLE,
        Structure.FOURTH_VENTRICLE,
    )
)


def anatomy_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice over the structures, and binary cross-entropy of the side inside the brain.

    Parameters
    ----------
    logits : tensor, shape (batch, structures + 1, x, y, z)
    target : tensor of uint8, shape (batch, x, y, z)
        Structure code, plus 64 on the right.
    """
    codes = (target & (RIGHT_BIT - 1)).long()
    right = target >= RIGHT_BIT
    structures, side = logits[:, :-1], logits[:, -1]
    weight = torch.ones(structures.shape[1], device=logits.device)
    weight[Structure.BACKGROUND] = 0.5
    cross = functional.cross_entropy(structures, codes, weight=weight)
    # every second voxel is enough for the overlap and costs an eighth
    probability = torch.softmax(structures[:, :, ::2, ::2, ::2], 1)
    truth = functional.one_hot(codes[:, ::2, ::2, ::2], structures.shape[1]).movedim(-1, 1).to(probability.dtype)
    overlap = (probability * truth).sum((0, 2, 3, 4))
    total = (probability + truth).sum((0, 2, 3, 4))
    present = truth.sum((0, 2, 3, 4)) > 4
    dice = 1 - (2 * overlap + 1) / (total + 1)
    inside = torch.isin(codes, torch.tensor(SIDED, device=codes.device))
    sides = functional.binary_cross_entropy_with_logits(side[inside], right[inside].to(side.dtype)) if inside.any() else side.sum() * 0
    return cross + dice[present].mean() + 0.3 * sides


HARD_SHARE = 0.02
"""Share of the negatives that counts as hard."""


def marker_loss(logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Per marker: balanced binary cross-entropy, the hardest negatives once more, and a Dice loss.

    Dice alone never finds the first lacune, and plain cross-entropy drowns in the background. The hard negatives are a fixed
    share of all: as many as the positives (tried) cancel the positives' gradient before anything is learnt.

    Parameters
    ----------
    logits, truth, weight : tensor, shape (batch, markers, x, y, z)
        ``weight`` is 0 where the label is to be ignored: lesions too faint to see, markers whose sequence is missing.
    """
    over = (0, 2, 3, 4)
    false = functional.softplus(logits)
    positive, negative = truth * weight, (1 - truth) * weight
    positives, negatives = positive.sum(over), negative.sum(over)
    missed = ((false - logits) * positive).sum(over) / positives.clamp(min=1)
    false = false * negative
    # the worst of each 2x2x2, since taking every second voxel would only teach one of the eight that the network unfolds together
    worst = functional.max_pool3d(false, 2).transpose(0, 1).flatten(1)
    hardest = worst.topk(max(int(HARD_SHARE * worst.shape[1]), 1)).values.mean(1)
    probability = torch.sigmoid(logits) * weight
    dice = (2 * (probability * positive).sum(over) + 1) / (probability.sum(over) + positives + 1)
    each = false.sum(over) / negatives.clamp(min=1) + hardest + missed + (positives > 0) * (1 - dice)
    known = (positives + negatives) > 0
    return (each * known).sum() / known.sum().clamp(min=1)
