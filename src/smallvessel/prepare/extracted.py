"""Images that come without a skull: recognised by what they are, and used for what they say about the brain's outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..structures import Structure
from ..volume import Grid, Volume, resample
from .anatomy import AnatomyProbability, largest_piece

CONSTANT_SHARE = 0.3
"""At least this share of the voxels has one and the same value, that of the image's border. Own choice."""
SIGNAL_FLOOR = 0.01
"""Signal differs from the border's value by more than this share of the bright voxels. Own choice."""
BRAIN_ML = (500.0, 2100.0)
"""Volume of what is left; a head with its scalp has 3 L and more. Own choice."""
STRAY_SHARE = 0.02
BORDER_SHARE = 0.25
"""A brain ends inside the field of view, a head goes on into the neck: the largest cross-section at a border, as a share of the
largest one on that axis. Own choice."""
BLUR_MM = 8.0


def find_extracted_brain(image: Volume, grid: Grid) -> NDArray[np.float32] | None:
    """Where a brain-extracted image has signal.

    Parameters
    ----------
    image : Volume
        As acquired, native grid.
    grid : Grid
        The network's 2 mm grid of the same image.

    Returns
    -------
    ndarray, shape of ``grid``, float32, or None
        Share of every voxel that belongs to the brain, holes filled; None for an image with a skull, also one whose air was set
        to zero.
    """
    data = image.data
    border = float(np.median(np.concatenate([np.take(data, (0, -1), axis).ravel() for axis in range(3)])))
    if np.count_nonzero(data == border) < CONSTANT_SHARE * data.size:
        return None
    floor = SIGNAL_FLOOR * abs(float(np.percentile(data, 99.5)) - border)
    share = resample(Volume((np.abs(data - border) > floor).astype(np.float32), image.grid), grid).data
    signal = share > 0.5
    piece = largest_piece(signal)
    volume_ml = np.count_nonzero(piece) * grid.voxel_volume_mm3 / 1000.0
    stray = np.count_nonzero(signal) - np.count_nonzero(piece)
    if not BRAIN_ML[0] <= volume_ml <= BRAIN_ML[1] or stray > STRAY_SHARE * np.count_nonzero(piece) or _reaches_border(piece):
        return None
    filled = ndimage.binary_fill_holes(piece)
    inner, near = ndimage.binary_erosion(filled), ndimage.binary_dilation(filled)
    return np.asarray(np.where(inner, 1.0, share * near), np.float32)


def trust_outline(probability: AnatomyProbability, brain: NDArray[np.float32]) -> AnatomyProbability:
    """Believe an extracted brain's outline more than the network, which looks for a skull and may take the brain's rim for one.

    Parameters
    ----------
    probability : AnatomyProbability
    brain : ndarray, shape (x, y, z), float32
        From :func:`find_extracted_brain`.

    Returns
    -------
    AnatomyProbability
        What was background inside the outline is cortex, of the cerebrum or the cerebellum, whichever is nearer; everything outside
        is background.
    """
    structures = probability.structures.copy()
    sigma = BLUR_MM / float(probability.grid.spacing_mm[0])
    pairs = (Structure.WHITE_MATTER, Structure.CORTEX), (Structure.CEREBELLAR_WHITE, Structure.CEREBELLAR_CORTEX)
    cerebral, cerebellar = (ndimage.gaussian_filter(structures[list(pair)].sum(axis=0), sigma) for pair in pairs)
    rim = structures[Structure.BACKGROUND].copy()
    structures[Structure.CORTEX] += np.where(cerebral >= cerebellar, rim, 0.0)
    structures[Structure.CEREBELLAR_CORTEX] += np.where(cerebral >= cerebellar, 0.0, rim)
    structures[Structure.BACKGROUND] = 0.0
    structures *= brain
    structures[Structure.BACKGROUND] = 1.0 - brain
    return AnatomyProbability(probability.grid, structures, probability.right)


def _reaches_border(piece: NDArray[np.bool_]) -> bool:
    for axis in range(3):
        area = np.count_nonzero(piece, axis=tuple({0, 1, 2} - {axis}))
        if max(area[0], area[-1]) > BORDER_SHARE * area.max():
            return True
    return False
