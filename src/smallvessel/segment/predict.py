"""The markers network: which markers it can assess, and their probability maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from ..intensity import network_input, visible_region
from ..markers import MARKERS, Marker, Sequence
from ..records import NotAssessed, Prepared

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Channels (8, x, y, z) to logits (4, x, y, z)."""


def assessable(present: Iterable[Sequence]) -> dict[Marker, NotAssessed | None]:
    """For each marker None, or why these sequences do not allow it."""
    present = set(present)
    return {marker: None if present & set(info.needs_one_of) else _lacking(info.needs_one_of, present) for marker, info in MARKERS.items()}


def _lacking(needs_one_of: tuple[Sequence, ...], present: set[Sequence]) -> NotAssessed:
    has = [str(sequence) for sequence in Sequence if sequence in present]
    listed = " and ".join(filter(None, [", ".join(has[:-1]), *has[-1:]]))
    return NotAssessed(f"needs {' or '.join(needs_one_of)}; this session has {listed} only")


def with_mirror_image(forward: Forward) -> Forward:
    """A network that is asked about the images and about their mirror image, left for right, and gives the mean of its logits."""

    def both(channels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(0.5 * (forward(channels) + forward(channels[:, ::-1])[:, ::-1]), np.float32)

    return both


def predict_probabilities(prepared: Prepared, forward: Forward, temperature: Mapping[str, float]) -> dict[Marker, NDArray[np.float32]]:
    """Calibrated probability maps of all four markers.

    Parameters
    ----------
    prepared : Prepared
    forward : callable
        The markers network.
    temperature : mapping
        Per marker the divisor of its logit that calibrates the probability (Guo et al. 2017, arXiv:1706.04599).

    Returns
    -------
    dict of Marker to ndarray, shape (x, y, z), float32
        On the analysis grid; 0 where the network's input is blank (more than 3 voxels outside the brain).
    """
    brain = prepared.anatomy.brain.data
    visible = visible_region(brain)
    found = ndimage.find_objects(visible.astype(np.uint8))
    box = found[0] if found else (slice(None),) * 3
    # what lies farther out is blank: without it the network is done sooner
    logits = forward(network_input({sequence: image.data for sequence, image in prepared.images.items()}, brain)[(slice(None), *box)])
    probability = {marker: np.zeros(brain.shape, np.float32) for marker in Marker}
    for channel, marker in enumerate(Marker):
        probability[marker][box] = np.where(visible[box], expit(logits[channel] / temperature[marker]), 0.0)
    return probability
