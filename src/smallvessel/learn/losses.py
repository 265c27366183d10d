"""Losses of the two networks."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..markers import Marker
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


def anatomy_loss(logits: torch.Tensor, target: torch.Tensor, progress: float) -> torch.Tensor:
    """Cross-entropy plus soft Dice over the structures, and binary cross-entropy of the side inside the brain.

    Parameters
    ----------
    logits : tensor, shape (batch, structures + 1, x, y, z)
    target : tensor of uint8, shape (batch, x, y, z)
        Structure code, plus 64 on the right.
    progress : float
        Share of the training that is done; it changes nothing here.
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


POSITIVE_WEIGHT = {Marker.WMH: (4.0, 1.5), Marker.LACUNE: (100.0, 5.0), Marker.EPVS: (60.0, 3.0), Marker.CMB: (60.0, 4.0)}
"""Of a lesion's voxel in the cross-entropy, at the start and when it no longer falls. With plain weights the rare markers stay
at nothing for thousands of steps, since WMH, a hundred times as large, move every weight; with lasting ones they are painted
too large. Own choice."""
WEIGHT_FALL = 0.6
"""Share of the training over which the weights of the positives fall, geometrically."""
CROSS_ENTROPY_WEIGHT = 2.0
"""Of the cross-entropy against the Dice loss: a mean over all voxels is small where positives are rare. Own choice."""


def marker_loss(logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor, progress: float) -> torch.Tensor:
    """Per marker: binary cross-entropy over all known voxels, and a Dice loss over the batch where there are lesions.

    Parameters
    ----------
    logits, truth, weight : tensor, shape (batch, markers, x, y, z)
        Numbers or bool. ``weight`` is 0 where the label is to be ignored: lesions too faint to see, markers whose sequence is missing.
    progress : float
        Share of the training that is done, 0 to 1.
    """
    # one memory layout for all: a product of tensors of two layouts costs as much as the network's last convolutions
    logits, truth, weight = logits.contiguous(), truth.to(logits.dtype).contiguous(), weight.to(logits.dtype).contiguous()
    over = (0, 2, 3, 4)
    known = weight.sum(over)
    positive = truth * weight
    left = max(1 - progress / WEIGHT_FALL, 0.0)
    of_positives = torch.tensor([last * (first / last) ** left for first, last in POSITIVE_WEIGHT.values()], device=logits.device)
    cross = (functional.softplus(logits) - logits * truth) * (weight + (of_positives.view(1, -1, 1, 1, 1) - 1) * positive)
    probability = torch.sigmoid(logits) * weight
    dice = (2 * (probability * positive).sum(over) + 1) / (probability.sum(over) + positive.sum(over) + 1)
    each = CROSS_ENTROPY_WEIGHT * cross.sum(over) / known.clamp(min=1) + (0.4 + 0.6 * (1 - left)) * (positive.sum(over) > 0) * (1 - dice)
    return each.sum() / (known > 0).sum().clamp(min=1)


def late_marker_loss(logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor, progress: float) -> torch.Tensor:
    """:func:`marker_loss` for a network that finds the rare markers already: their weights have fallen from the start."""
    return marker_loss(logits, truth, weight, max(progress, WEIGHT_FALL))
