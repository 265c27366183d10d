"""Acquisition: from signal on the 1 mm anatomy to an image with its own slices, noise and artefacts, and back to a cubic grid.

Sampling is separable along the axes of the anatomy, so that an acquisition is three small matrix products per image. The
same matrices serve a patch in training and a whole head that is written to a file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..markers import Sequence


@dataclass(frozen=True)
class AcquisitionSettings:
    """Ranges from which a protocol is drawn. Own choices after clinical protocols, 1.5 and 3 T."""

    volumetric_share: float = 0.35
    """Share of 3D acquisitions, 0.8 to 1.3 mm in all axes."""
    slice_mm: tuple[float, float] = (2.0, 8.0)
    """Slice distance of 2D acquisitions (thickness plus gap)."""
    in_plane_mm: tuple[float, float] = (0.45, 1.15)
    """Voxel size within 2D slices."""
    gap_share: tuple[float, float] = (0.0, 0.3)
    """Gap as a share of the slice distance."""
    axial_share: float = 0.8
    """Share of 2D acquisitions that are axial; the rest sagittal or coronal."""
    noise: tuple[float, float] = (0.02, 0.1)
    """SD of the noise at one native voxel relative to white matter, log-uniform; times the sequence's ``NOISE_OF``."""
    phase_interpolation: tuple[float, float] = (1.2, 2.0)
    read_interpolation: tuple[float, float] = (1.0, 1.5)
    """How many times finer than acquired an image is stored along the two axes of 2D slices; 3D acquisitions take the second for all
    three. White noise interpolated so is correlated between neighbours, as on the 2D images of openms and sv: by .43 to .67 along one axis
    and .20 to .65 along the other, on most of them by nothing two voxels on. A 1 mm scan resampled by its makers (om07) has .07 to .54."""
    resampled_share: float = 0.2
    """Share of 3D images that were 2 to 4 mm slices before somebody resampled them to cubes."""
    sharpened_share: float = 0.6
    """Share of images that the scanner sharpened within slices: ventricles on real FLAIRs have a bright edge that is no lesion."""
    sharpening: tuple[float, float] = (0.05, 0.6)
    """How much of the difference from a blurred copy (``SHARPENING_MM``) is added along each axis."""
    bias_sd: tuple[float, float] = (0.0, 0.12)
    """SD of the log of the field left after correction."""
    texture: tuple[float, float] = (0.0, 0.03)
    """SD of the smooth variation within tissues, relative; times the sequence's ``NOISE_OF``."""
    shift_mm: float = 0.5
    """SD of what registration leaves over, per axis, for every sequence but the reference."""
    label_blur_mm: float = 0.55
    """Gaussian SD that turns hard labels into partial volumes."""


NOISE_OF = {Sequence.FLAIR: 1.0, Sequence.T1W: 0.36, Sequence.T2W: 1.6, Sequence.SWI: 0.8}
"""Noise and texture of a sequence in proportion. What is left in deep white matter without lesions after smoothing within slices has an SD
of .041 to .098 on FLAIR, .023 to .036 on T1w and .053 to .112 on T2w (nine real sessions); SWI is an own choice."""
SHARPENED_UP_TO = 1.5
"""Axes whose voxels are less than so many times as large as the smallest are sharpened: those within slices, all three of a 3D image."""
RESAMPLED_MM = (2.0, 4.0)
SHARPENING_MM = 1.0
"""SD of the blurred copy that a sharpening filter takes away. Own choice after pictures of openms' FLAIRs."""
LOBES = 4
"""Of the sinc that interpolates, under a Hann window: scanners taper the borders of k-space."""


@dataclass(frozen=True)
class Protocol:
    """How one image is acquired. Axes are those of the anatomy (x, y, z)."""

    sequence: Sequence
    spacing_mm: tuple[float, float, float]
    profile_mm: tuple[float, float, float]
    """Width of the slice profile or of the point spread along each axis."""
    acquired: tuple[float, float, float]
    """Share of the stored matrix that was acquired along each axis; the rest is interpolation."""
    sharpening: tuple[float, float, float]
    """What the scanner's filter adds along each axis of the difference from a blurred copy."""
    noise: float
    bias_sd: float
    texture: float
    ghost: float
    """Strength of a motion ghost along the phase axis, relative."""
    shift_mm: tuple[float, float, float]

    @property
    def slice_axis(self) -> int:
        return int(np.argmax(self.spacing_mm))


def draw_protocol(
    sequence: Sequence, rng: np.random.Generator, settings: AcquisitionSettings = AcquisitionSettings(), is_reference: bool = True
) -> Protocol:
    """Draw slices, noise and artefacts for one image."""
    if rng.random() < settings.volumetric_share:
        spacing = np.full(3, rng.uniform(0.8, 1.3)) * rng.uniform(0.9, 1.1, 3)
        finer = rng.uniform(*settings.read_interpolation, 3)
        if rng.random() < settings.resampled_share:
            axis = int(rng.integers(0, 3))
            finer[axis] = max(rng.uniform(*RESAMPLED_MM) / spacing[axis], 1.0)
        profile = spacing.copy()
    else:
        axis = 2 if rng.random() < settings.axial_share else int(rng.integers(0, 2))
        spacing = np.full(3, rng.uniform(*settings.in_plane_mm))
        profile = spacing.copy()
        finer = np.ones(3)
        phase, read = rng.permutation([other for other in range(3) if other != axis])
        finer[phase], finer[read] = rng.uniform(*settings.phase_interpolation), rng.uniform(*settings.read_interpolation)
        thick = (1.2, 3.0) if sequence is Sequence.SWI and rng.random() < 0.6 else settings.slice_mm
        spacing[axis] = rng.uniform(*thick)
        profile[axis] = spacing[axis] * (1 - rng.uniform(*settings.gap_share))
    amount = rng.uniform(*settings.sharpening) if rng.random() < settings.sharpened_share else 0.0
    sharpening = np.where(spacing < SHARPENED_UP_TO * spacing.min(), amount, 0.0)
    low, high = np.log(settings.noise)
    shift = np.zeros(3) if is_reference else rng.normal(0, settings.shift_mm, 3)
    return Protocol(
        sequence=sequence,
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        profile_mm=(float(profile[0]), float(profile[1]), float(profile[2])),
        acquired=(float(1 / finer[0]), float(1 / finer[1]), float(1 / finer[2])),
        sharpening=(float(sharpening[0]), float(sharpening[1]), float(sharpening[2])),
        noise=float(np.exp(rng.uniform(low, high))) * NOISE_OF[sequence],
        bias_sd=float(rng.uniform(*settings.bias_sd)),
        texture=float(rng.uniform(*settings.texture)) * NOISE_OF[sequence],
        ghost=float(rng.uniform(0.0, 0.06)) if rng.random() < 0.15 else 0.0,
        shift_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
    )


def sampling_matrix(n_fine: int, centres_mm: NDArray[np.float64], profile_mm: float, blur_mm: float) -> NDArray[np.float32]:
    """Weights of the fine voxels in each native voxel: a box of the profile's width, blurred by a Gaussian.

    Parameters
    ----------
    n_fine : int
        Fine voxels at 0, 1, 2, ... mm.
    centres_mm : ndarray, shape (n_native,)
    profile_mm : float
        Width of the box.
    blur_mm : float
        SD of the Gaussian.

    Returns
    -------
    ndarray, shape (n_native, n_fine)
        Rows sum to 1; a row whose centre lies far outside takes the nearest voxel.
    """
    from scipy.special import erf

    fine = np.arange(n_fine)[None, :]
    left = fine - 0.5 - centres_mm[:, None]
    half, scale = profile_mm / 2, np.sqrt(2) * max(blur_mm, 1e-3)

    # integral over a fine voxel of box * Gaussian, by the antiderivative of the error function at the voxel's ends
    def ramp(x: NDArray[np.float64]) -> NDArray[np.float64]:
        u = x / scale
        return np.asarray(scale * (u * erf(u) + np.exp(-(u**2)) / np.sqrt(np.pi)), np.float64)

    weights = ramp(left + 1 + half) - ramp(left + half) - ramp(left + 1 - half) + ramp(left - half)
    total = weights.sum(1, keepdims=True)
    nearest = np.zeros_like(weights)
    nearest[np.arange(len(centres_mm)), np.clip(np.rint(centres_mm), 0, n_fine - 1).astype(int)] = 1
    return np.where(total > 1e-6, weights / np.maximum(total, 1e-6), nearest).astype(np.float32)


def truncation_matrix(n: int, share: float) -> NDArray[np.float32]:
    """What is left of a row of voxels when only the inner share of k-space was acquired, and the rest is filled with zeros.

    A sinc under a Hann window, so nothing wraps around; it blurs, rings at edges as Gibbs found, and correlates noise.

    Returns
    -------
    ndarray, shape (n, n)
        Rows sum to 1; the identity for a share of 1.
    """
    offset = np.arange(n)[:, None] - np.arange(n)[None, :]
    reach = LOBES / share
    window = np.where(np.abs(offset) < reach, 0.5 + 0.5 * np.cos(np.pi * offset / reach), 0.0)
    weights = np.sinc(share * offset) * window
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def sharpening_matrix(n: int, amount: float, spacing_mm: float) -> NDArray[np.float32]:
    """An unsharp mask along one axis: what differs from a blurred copy is added once more, times ``amount``. Rows sum to 1."""
    offset_mm = (np.arange(n)[:, None] - np.arange(n)[None, :]) * spacing_mm
    blur = np.exp(-0.5 * (offset_mm / SHARPENING_MM) ** 2)
    return np.asarray((1 + amount) * np.eye(n) - amount * blur / blur.sum(1, keepdims=True), np.float32)


def interpolation_matrix(centres_mm: NDArray[np.float64], targets_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """Linear interpolation from native centres (increasing) to target positions, shape (n_target, n_native); edges are held."""
    matrix = np.zeros((targets_mm.size, centres_mm.size), np.float32)
    if centres_mm.size == 1:
        matrix[:] = 1
        return matrix
    step = centres_mm[1] - centres_mm[0]
    position = np.clip((targets_mm - centres_mm[0]) / step, 0, centres_mm.size - 1)
    low = np.minimum(position.astype(int), centres_mm.size - 2)
    fraction = (position - low).astype(np.float32)
    rows = np.arange(targets_mm.size)
    matrix[rows, low] = 1 - fraction
    matrix[rows, low + 1] = fraction
    return matrix


def apply_axes(matrices: tuple[torch.Tensor, torch.Tensor, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """One matrix along each axis of a tensor of shape (..., x, y, z)."""
    a, b, c = matrices
    image = torch.matmul(image, c.T)
    image = torch.matmul(b, image)
    shape = image.shape
    moved = torch.matmul(a, image.reshape(*shape[:-3], shape[-3], -1))
    return moved.reshape(*shape[:-3], a.shape[0], *shape[-2:])


@dataclass(frozen=True)
class Sampling:
    """The matrices of one acquisition.

    From the anatomy to native voxels, from white noise to native noise of the same SD, and from native voxels to a cubic target grid.
    """

    native_from_fine: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    native_from_white: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    target_from_native: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    centres_mm: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def draw_sampling(
    protocol: Protocol,
    shape: tuple[int, int, int],
    targets_mm: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    rng: np.random.Generator,
    label_blur_mm: float,
    device: torch.device | str = "cpu",
) -> Sampling:
    """Place the native voxels over the anatomy, with a random phase, and build the matrices.

    Parameters
    ----------
    shape : tuple of int
        Of the anatomy, 1 mm voxels at 0, 1, 2, ... mm.
    targets_mm : three arrays
        Positions of the target grid's voxels along each axis.
    """
    forward, mix, back, centres = [], [], [], []
    for axis in range(3):
        step = protocol.spacing_mm[axis]
        at = np.arange(rng.uniform(-0.5, 0.5) * step, shape[axis] - 1 + 0.5 * step, step, np.float64)
        stored = sharpening_matrix(at.size, protocol.sharpening[axis], step) @ truncation_matrix(at.size, protocol.acquired[axis])
        forward.append(torch.from_numpy(stored @ sampling_matrix(shape[axis], at, protocol.profile_mm[axis], label_blur_mm)).to(device))
        mix.append(torch.from_numpy(stored / np.linalg.norm(stored, axis=1, keepdims=True)).to(device))
        back.append(torch.from_numpy(interpolation_matrix(at, targets_mm[axis] + protocol.shift_mm[axis])).to(device))
        centres.append(at)
    return Sampling(tuple(forward), tuple(mix), tuple(back), tuple(centres))  # type: ignore[arg-type]


def aim_sampling(sampling: Sampling, protocol: Protocol, targets_mm: tuple[NDArray[np.float64], ...]) -> Sampling:
    """The same native voxels, interpolated to other positions of a cubic grid (in mm along each axis of the anatomy)."""
    device = sampling.native_from_fine[0].device
    back = [
        torch.from_numpy(interpolation_matrix(centres, targets + shift)).to(device)
        for centres, targets, shift in zip(sampling.centres_mm, targets_mm, protocol.shift_mm, strict=True)
    ]
    return replace(sampling, target_from_native=(back[0], back[1], back[2]))


def smooth_field(
    shape: tuple[int, int, int], knots: tuple[int, int, int], generator: torch.Generator, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """A smooth random field of SD about 1 by linear interpolation of random knots."""
    values = torch.randn((1, 1, *knots), generator=generator).to(device)
    return torch.nn.functional.interpolate(values, shape, mode="trilinear", align_corners=True)[0, 0]


def add_noise(native: torch.Tensor, protocol: Protocol, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    """Rician noise, interpolated as the image is, and, when drawn, a motion ghost along the first in-plane axis. Shape is kept."""
    if protocol.ghost > 0:
        axis = 1 if protocol.slice_axis != 1 else 0
        native = (
            native
            + protocol.ghost * torch.roll(native, native.shape[axis] // 2 + 3, axis)
            + 0.5 * protocol.ghost * torch.roll(native, 7, axis)
        )
    white = torch.randn((2, *native.shape), generator=generator).to(native.device)
    real, imaginary = protocol.noise * apply_axes(sampling.native_from_white, white)
    return torch.sqrt((native + real) ** 2 + imaginary**2)


def acquire_signal(signal: torch.Tensor, protocol: Protocol, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    """Signal on the anatomy through texture, slices, noise and field: the image on its native voxels."""
    if protocol.texture > 0:
        signal = signal * (1 + protocol.texture * smooth_field(signal.shape, tuple(n // 3 + 2 for n in signal.shape), generator))  # type: ignore[arg-type]
    native = add_noise(apply_axes(sampling.native_from_fine, signal), protocol, sampling, generator)
    if protocol.bias_sd > 0:
        native = native * torch.exp(protocol.bias_sd * smooth_field(native.shape, (3, 3, 3), generator))  # type: ignore[arg-type]
    return native
