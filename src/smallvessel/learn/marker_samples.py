"""Training samples of the markers network: patches of sessions with any subset of sequences, each with its own acquisition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ..intensity import CLIP
from ..markers import Marker, Sequence
from ..simulate.acquisition import (
    AcquisitionSettings,
    acquire_signal,
    apply_axes,
    draw_protocol,
    draw_sampling,
)
from ..simulate.anatomy import RIGHT_BIT, TISSUE_COUNT, BrainMaps, brain_structure_mask
from ..simulate.burden import BurdenSettings, draw_burden
from ..simulate.images import Appearance, draw_appearance, render_signal
from ..simulate.lesions import draw_lesions
from ..simulate.rating import Acquired, rate_lesions
from ..simulate.sequences import ContrastSettings, draw_contrast
from ..structures import Structure
from .heads import StoredHead

Patch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Image, label, weight."""

REPLAY_DISTANCES = tuple(range(0, 3 * 17, 17))
"""A patch is used again when so many others have been made: making one costs as much as learning from it."""
EASY_PATCHES = 800
"""Of a training from nothing, see ``MarkerSamples.easy``. Easy: four quiet sequences with thin slices."""
EASY_ACQUISITION = AcquisitionSettings(volumetric_share=1.0, noise=(0.005, 0.02), texture=(0.0, 0.01), bias_sd=(0.0, 0.03), shift_mm=0.2)
EASY_CONTRAST = ContrastSettings(brain_jitter=0.03, free_share=0.0)
MARGIN_MM = 8
"""Around a patch, so that slice profiles and interpolation see what lies beside it."""
SCALE_JITTER = 0.05


@dataclass(frozen=True)
class PresenceSettings:
    """How often a sequence is there: all four, any of the fifteen subsets with equal chances, or each on its own.

    FLAIR alone, and with T1w, are one session in thirteen and in twelve. Without the equal chances FLAIR was missing in one session in
    seventeen, and what was found without it was much worse than with it (round 13: microbleeds on SWI alone, perivascular spaces on T1w
    alone).
    """

    all_share: float = 0.35
    any_share: float = 0.25
    shares: dict[Sequence, float] = field(
        default_factory=lambda: {Sequence.FLAIR: 0.9, Sequence.T1W: 0.55, Sequence.T2W: 0.5, Sequence.SWI: 0.35}
    )


def draw_presence(rng: np.random.Generator, settings: PresenceSettings) -> tuple[Sequence, ...]:
    """The sequences of a session, at least one."""
    drawn = rng.random()
    if drawn < settings.all_share:
        return tuple(Sequence)
    if drawn < settings.all_share + settings.any_share:
        chosen = int(rng.integers(1, 2 ** len(Sequence)))
        return tuple(sequence for place, sequence in enumerate(Sequence) if chosen >> place & 1)
    present = tuple(sequence for sequence in Sequence if rng.random() < settings.shares[sequence])
    return present or (Sequence.FLAIR,)


@lru_cache(maxsize=200)
def tissue_shares(head: StoredHead) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Share of each tissue in the brain mask (closed, as in use), and that mask at 2 mm."""
    tissues = head.brain().codes & np.uint8(RIGHT_BIT - 1)
    coarse = np.asarray(tissues[::2, ::2, ::2])
    mask = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(brain_structure_mask(coarse), 4), iterations=3))[4:-4, 4:-4, 4:-4]
    share = np.bincount(coarse[mask].ravel(), minlength=TISSUE_COUNT).astype(np.float64)
    return share / share.sum(), mask


@dataclass(frozen=True)
class MarkerSamples:
    """Batches by number; the same number and seed give the same batch.

    Attributes
    ----------
    heads : tuple of StoredHead
    patch : int
        Edge in voxels of 1 mm, a multiple of 16.
    seed : int
    batch : int
        Patches per batch.
    uses : int
        How often a patch is used: as it is, then rescaled, every other time mirrored.
    easy : int
        Over so many patches the share of easy ones falls from all to none.
    appear : callable
        Draws how a session's lesions and healthy tissue look.
    """

    heads: tuple[StoredHead, ...]
    patch: int
    seed: int
    batch: int = 2
    uses: int = len(REPLAY_DISTANCES)
    easy: int = EASY_PATCHES
    contrast: ContrastSettings = ContrastSettings(free_share=0.03)
    acquisition: AcquisitionSettings = AcquisitionSettings()
    burden: BurdenSettings = BurdenSettings()
    presence: PresenceSettings = field(default_factory=PresenceSettings)
    appear: Callable[[np.random.Generator], Appearance] = draw_appearance

    _made: dict[int, Patch] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, number: int) -> Patch:
        """Images (batch, 8, x, y, z), labels and what is known of them (batch, 4, x, y, z)."""
        slots = range(number * self.batch, (number + 1) * self.batch)
        parts = [self._use(slot // self.uses, slot % self.uses) for slot in slots]
        images, labels, weights = zip(*parts, strict=True)
        return torch.stack(images), torch.stack(labels), torch.stack(weights)

    def _use(self, newest: int, use: int) -> Patch:
        number = abs(newest - REPLAY_DISTANCES[use])
        image, label, weight = self._patch(number)
        if use == 0:
            return image, label, weight
        scale = torch.ones(2 * len(Sequence), 1, 1, 1)
        jitter = np.random.default_rng((self.seed, number, use)).normal(0, SCALE_JITTER, (len(Sequence), 1, 1, 1))
        scale[: len(Sequence)] = torch.from_numpy(np.exp(jitter))
        axes = [1] if use % 2 == 1 else []
        return image.flip(axes) * scale, label.flip(axes), weight.flip(axes)

    def _patch(self, number: int) -> Patch:
        if number not in self._made:
            while len(self._made) > REPLAY_DISTANCES[-1] + self.batch:
                del self._made[min(self._made)]
            rng = np.random.default_rng((self.seed, number))
            easy = rng.random() * self.easy > number
            simpler = replace(self, contrast=EASY_CONTRAST, acquisition=EASY_ACQUISITION, presence=PresenceSettings(all_share=1.0))
            self._made[number] = (simpler if easy else self).draw(rng)
        return self._made[number]

    def draw(self, rng: np.random.Generator) -> Patch:
        """One patch: image (8, x, y, z), float32; label and weight (4, x, y, z), bool."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        head = self.heads[int(rng.integers(len(self.heads)))]
        shares, coarse_mask = tissue_shares(head)
        patch, mask = _cut_patch(head.brain(), coarse_mask, self.patch + 2 * MARGIN_MM, rng)
        burden = draw_burden(rng, self.burden)
        maps = draw_lesions(patch, burden, rng)
        appearance = self.appear(rng)
        present = draw_presence(rng, self.presence)
        at = np.arange(MARGIN_MM, MARGIN_MM + self.patch, dtype=np.float64)
        inner = slice(MARGIN_MM, MARGIN_MM + self.patch)
        mask_inside = torch.from_numpy(mask[inner, inner, inner])
        image = torch.zeros((2 * len(Sequence), self.patch, self.patch, self.patch))
        taken: dict[Sequence, Acquired] = {}
        for channel, sequence in enumerate(Sequence):
            if sequence not in present:
                continue
            contrast = draw_contrast(sequence, rng, self.contrast)
            protocol = draw_protocol(sequence, rng, self.acquisition, is_reference=sequence == present[0])
            sampling = draw_sampling(protocol, patch.codes.shape, (at, at, at), rng, self.acquisition.label_blur_mm)  # type: ignore[arg-type]
            signal = render_signal(patch.tissues, maps, contrast, appearance)
            acquired = apply_axes(sampling.target_from_native, acquire_signal(signal, protocol, sampling, generator))
            mean = float((shares * contrast.signal).sum()) * float(np.exp(rng.normal(0, SCALE_JITTER)))
            image[channel] = torch.clamp(acquired / mean, 0, CLIP) * mask_inside
            image[len(Sequence) + channel] = 1.0
            taken[sequence] = Acquired(contrast, protocol, sampling, signal)
        label = torch.zeros((len(Marker), self.patch, self.patch, self.patch), dtype=torch.bool)
        weight = torch.zeros_like(label)
        for index, marker in enumerate(Marker):
            rating = rate_lesions(maps, marker, appearance, taken)
            if rating is not None:
                label[index], weight[index] = rating[0] & mask_inside, ~rating[1]
        return image, label, weight


def _cut_patch(
    brain: BrainMaps, coarse_mask: NDArray[np.bool_], size: int, rng: np.random.Generator
) -> tuple[BrainMaps, NDArray[np.bool_]]:
    """A cube around a voxel of the brain, mostly of deep tissue, mirrored or not; beyond the head there is air."""
    tissues = brain.codes[::4, ::4, ::4] & np.uint8(RIGHT_BIT - 1)
    inside = brain_structure_mask(tissues)
    if rng.random() < 0.7:
        inside &= (tissues == Structure.WHITE_MATTER) | ((tissues >= Structure.THALAMUS) & (tissues <= Structure.VENTRAL_DC))
    seeds = np.argwhere(inside)
    centre = seeds[int(rng.integers(len(seeds)))] * 4 + rng.integers(-12, 13, 3)
    start = (centre - size // 2) // 2 * 2

    def cut(array: NDArray[Any], fill: int, step: int = 1) -> NDArray[Any]:
        begin, edge = start // step, size // step
        out = np.full((edge,) * 3, fill, array.dtype)
        low, high = np.maximum(begin, 0), np.minimum(begin + edge, array.shape)
        if (high > low).all():
            out[tuple(slice(a, b) for a, b in zip(low - begin, high - begin, strict=True))] = array[
                tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            ]
        return out

    parts = [cut(part, fill) for part, fill in ((brain.codes, 0), (brain.ventricle_mm, 60), (brain.surface_mm, 0), (brain.nuclei_mm, 60))]
    mask = ndimage.binary_dilation(cut(coarse_mask, 0, 2), np.ones((3, 3, 3), np.bool_), iterations=int(rng.integers(1, 3)))
    inside_mask = np.repeat(np.repeat(np.repeat(mask, 2, 0), 2, 1), 2, 2)
    if rng.random() < 0.5:
        parts = [np.ascontiguousarray(part[::-1]) for part in parts]
        parts[0] = parts[0] ^ np.uint8(RIGHT_BIT)
        inside_mask = inside_mask[::-1].copy()
    return BrainMaps(*parts), inside_mask
