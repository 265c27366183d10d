"""Training samples of the anatomy network: one image of any contrast, slices and field of view, with or without skull."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ..intensity import normalise_head
from ..markers import Sequence
from ..simulate.acquisition import (
    AcquisitionSettings,
    add_noise,
    apply_axes,
    draw_protocol,
    draw_sampling,
    smooth_field,
)
from ..simulate.anatomy import RIGHT_BIT, Tissue, brain_structure_mask, flip_head
from ..simulate.sequences import ContrastSettings, draw_contrast
from ..structures import Structure
from .heads import StoredHead

SPACING_MM = 2.0
STRUCTURE_CHANNELS = len(Structure)
SEQUENCES = tuple(Sequence)
SEQUENCE_SHARES = (0.35, 0.25, 0.25, 0.15)

REPLAY_DISTANCES = ((0, 8), (3, 13), (6, 18))
"""How many rendered heads ago the crops of a batch come from, for each batch that follows a new head. A head is cropped six times,
never twice in a batch: crops of one head have one contrast, and batch statistics of one contrast are no one else's."""

_STRUCTURE_OF_TISSUE = np.zeros(RIGHT_BIT, np.uint8)
_STRUCTURE_OF_TISSUE[:STRUCTURE_CHANNELS] = np.arange(STRUCTURE_CHANNELS)
_STRUCTURE_OF_TISSUE[Tissue.CHOROID_PLEXUS] = Structure.LATERAL_VENTRICLE
_STRUCTURE_OF_TISSUE[Tissue.VEIN] = Structure.BACKGROUND


@dataclass(frozen=True)
class AnatomySamples:
    """Batches by number; the same number and seed give the same batch, so training resumes anywhere.

    The crops of a batch come from different rendered heads, and each rendered head gives several crops: rendering costs more than
    a training step.

    Attributes
    ----------
    heads : tuple of StoredHead
    patch : tuple of int
        Crop of the 2 mm image, multiples of 16.
    seed : int
    """

    heads: tuple[StoredHead, ...]
    patch: tuple[int, int, int]
    seed: int
    contrast: ContrastSettings = ContrastSettings(brain_jitter=0.09, free_share=0.35)
    acquisition: AcquisitionSettings = AcquisitionSettings(bias_sd=(0.0, 0.35), noise=(0.008, 0.12), texture=(0.0, 0.08))

    _rendered: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One batch: images (2, 1, x, y, z) float32 and targets (2, x, y, z) uint8 (structure code plus 64 on the right)."""
        newest, use = divmod(number, len(REPLAY_DISTANCES))
        rng = np.random.default_rng((self.seed, number, 1))
        rendered = [self._render(abs(newest - distance)) for distance in REPLAY_DISTANCES[use]]
        images, targets = zip(*(_crop(image, target, self.patch, rng) for image, target in rendered), strict=True)
        return torch.stack(images), torch.stack(targets)

    def _render(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number not in self._rendered:
            while len(self._rendered) > max(max(distances) for distances in REPLAY_DISTANCES):
                del self._rendered[min(self._rendered)]
            self._rendered[number] = self.draw(np.random.default_rng((self.seed, number)))
        return self._rendered[number]

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A rendered head, image and target."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        codes = np.asarray(self.heads[int(rng.integers(len(self.heads)))].codes())
        if rng.random() < 0.5:
            codes = flip_head(codes)
        return render_head(_cut_neck(codes, rng), rng, generator, self.contrast, self.acquisition)


def _cut_neck(codes: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Fields of view end anywhere between the lower jaw and just below (or above) the lowest slice of the brain."""
    brain = np.flatnonzero(brain_structure_mask(codes[::2, ::2] & np.uint8(RIGHT_BIT - 1)).any((0, 1)))
    bottom, top = int(brain[0]), int(brain[-1])
    low = int(max(bottom - rng.uniform(-8, 80), 0)) if rng.random() < 0.8 else 0
    high = int(min(top + rng.uniform(-3, 30), codes.shape[2]))
    return codes[:, :, low:high]


def _outliers(codes: NDArray[np.uint8], rng: np.random.Generator, generator: torch.Generator) -> torch.Tensor:
    """Factors, 1 mm, by which pathology of any kind changes the signal in blobs of white matter; anatomy is labelled as if healthy."""
    shape = codes.shape
    knots = tuple(int(n / rng.uniform(10, 30)) + 2 for n in shape)
    field = smooth_field(shape, knots, generator)  # type: ignore[arg-type]
    white = torch.from_numpy((codes & (RIGHT_BIT - 1)) == Structure.WHITE_MATTER)
    return 1 + float(rng.uniform(-0.5, 0.9)) * ((field > float(rng.uniform(1.0, 1.9))) & white)


def render_head(
    codes: NDArray[np.uint8],
    rng: np.random.Generator,
    generator: torch.Generator,
    contrast_settings: ContrastSettings,
    acquisition_settings: AcquisitionSettings,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A whole head as the anatomy network sees it: 2 mm, normalised.

    Returns
    -------
    image : tensor of float32, shape (x, y, z)
    target : tensor of uint8, same shape
        Structure code, plus 64 on the right.
    """
    sequence = SEQUENCES[int(rng.choice(len(SEQUENCES), p=SEQUENCE_SHARES))]
    contrast = draw_contrast(sequence, rng, contrast_settings)
    protocol = draw_protocol(sequence, rng, acquisition_settings)
    tissues = codes & np.uint8(RIGHT_BIT - 1)
    signal = torch.from_numpy(contrast.signal)[torch.from_numpy(tissues.astype(np.int32))]
    if rng.random() < 0.4:
        signal *= _outliers(codes, rng, generator)
    extracted = _extraction_mask(tissues, rng) if rng.random() < 0.25 else None
    shape = codes.shape
    if rng.random() < 0.5:
        signal = signal * (1 + protocol.texture * smooth_field(shape, tuple(n // 4 + 2 for n in shape), generator))  # type: ignore[arg-type]
    phase = rng.uniform(0, SPACING_MM, 3)
    targets = tuple(np.arange(phase[i], shape[i] - 1, SPACING_MM) for i in range(3))
    sampling = draw_sampling(protocol, shape, targets, rng, acquisition_settings.label_blur_mm)  # type: ignore[arg-type]
    native = add_noise(apply_axes(sampling.native_from_fine, signal), protocol, sampling, generator)
    if protocol.bias_sd > 0:
        native = native * torch.exp(protocol.bias_sd * smooth_field(native.shape, (4, 4, 4), generator))  # type: ignore[arg-type]
    if rng.random() < 0.3:
        native = torch.clamp(native, min=0) ** float(rng.uniform(0.75, 1.35))
    image = apply_axes(sampling.target_from_native, native)
    nearest = np.ix_(*(np.rint(t).astype(int) for t in targets))
    at = codes[nearest]
    if extracted is not None:
        image = image * torch.from_numpy(extracted[nearest])
    target = _STRUCTURE_OF_TISSUE[at & (RIGHT_BIT - 1)] + (at & RIGHT_BIT)
    normalised = normalise_head(image.numpy()) * np.float32(np.exp(rng.normal(0, 0.08)))
    return torch.from_numpy(normalised), torch.from_numpy(target)


def _extraction_mask(tissues: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """What a brain extraction leaves: a little too much or too little."""
    coarse = brain_structure_mask(tissues[::2, ::2, ::2])
    coarse = ndimage.binary_closing(coarse, iterations=3)
    reach = int(rng.integers(-1, 3))
    if reach > 0:
        coarse = ndimage.binary_dilation(coarse, iterations=reach)
    elif reach < 0:
        coarse = ndimage.binary_erosion(coarse, iterations=-reach)
    fine = np.repeat(np.repeat(np.repeat(coarse, 2, 0), 2, 1), 2, 2)
    return fine[tuple(slice(n) for n in tissues.shape)].astype(np.float32)


def _crop(
    image: torch.Tensor, target: torch.Tensor, patch: tuple[int, int, int], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random crop; where the image is smaller than the patch it is padded with zeros as in use."""
    pads: list[int] = []
    for n, p in zip(reversed(image.shape), reversed(patch), strict=True):
        pads += [0, max(p - n, 0)]
    image, target = torch.nn.functional.pad(image, pads), torch.nn.functional.pad(target, pads)
    start = [int(rng.integers(0, n - p + 1)) for n, p in zip(image.shape, patch, strict=True)]
    box = tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))
    return image[box][None].contiguous(), target[box].contiguous()
