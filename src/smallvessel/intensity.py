"""Intensity normalisation: the one place, used alike in training and in use.

A network that was trained on one scale and used on another is wrong in silence, so both call these functions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .markers import Sequence

HEAD_FLOOR = 0.1
CLIP = 6.0
BRAIN_MARGIN_VOX = 3
"""The markers network sees this many voxels beyond the brain mask, in every direction, and 0 farther out."""


def head_scale(intensity: NDArray[np.float32]) -> float:
    """Scale of a whole image for the anatomy network: the mean of the voxels that are not air.

    Parameters
    ----------
    intensity : ndarray, any shape
        A whole image, with or without skull; not a crop.

    Returns
    -------
    float
        Mean of the voxels above a tenth of the 99.5th percentile; 1 for an image without any.
    """
    high = float(np.percentile(intensity, 99.5))
    head = intensity[intensity > HEAD_FLOOR * high] if high > 0 else intensity[:0]
    return float(head.mean()) if head.size else 1.0


def normalise_head(intensity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide a whole image by :func:`head_scale`, clipped to 0..6. The anatomy network's input."""
    return np.asarray(np.clip(intensity / head_scale(intensity), 0.0, CLIP), np.float32)


def normalise_brain(intensity: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Divide by the mean inside the brain mask, clipped to 0..6. The markers network's input.

    The mean, not a percentile, because it is linear in the tissues: the simulator computes it for a patch from the whole
    head's tissue fractions without rendering the head.

    Parameters
    ----------
    intensity : ndarray, shape (x, y, z)
    brain : ndarray of bool, shape (x, y, z)
        Brain with ventricles; voxels without signal (outside the field of view) do not count.
    """
    inside = intensity[brain & (intensity > 0)]
    scale = float(inside.mean()) if inside.size else 1.0
    return np.asarray(np.clip(intensity / scale, 0.0, CLIP), np.float32)


def visible_region(brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What the markers network sees: the brain, wider by 3 voxels (a cube of 7), since masks end too early as often as too late."""
    return np.asarray(ndimage.maximum_filter(brain.astype(np.uint8), 2 * BRAIN_MARGIN_VOX + 1), np.bool_)


def network_input(images: Mapping[Sequence, NDArray[Any]], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The markers network's input: what it is trained on and what it is given in use.

    Parameters
    ----------
    images : mapping of Sequence to ndarray, shape (x, y, z)
        The sequences that are present, whole brains on the 1 mm analysis grid, any scale.
    brain : ndarray of bool, shape (x, y, z)

    Returns
    -------
    ndarray, shape (8, x, y, z), float32
        FLAIR, T1w, T2w, SWI by :func:`normalise_brain`, 0 outside :func:`visible_region` and where the sequence is missing;
        then for each of the four a constant channel: 1 present, 0 missing.
    """
    sequences = tuple(Sequence)
    channels = np.zeros((2 * len(sequences), *brain.shape), np.float32)
    visible = visible_region(brain)
    for channel, sequence in enumerate(sequences):
        if sequence in images:
            np.multiply(normalise_brain(np.asarray(images[sequence], np.float32), brain), visible, out=channels[channel])
            channels[len(sequences) + channel] = 1.0
    return channels
