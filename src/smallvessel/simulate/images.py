"""From a brain with lesions to the signal of each sequence, and to the label that a rater would draw on the acquired image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ..markers import MARKERS, Marker, Sequence
from ..structures import Structure
from .acquisition import Protocol, Sampling, apply_axes
from .lesion_maps import LesionMaps
from .sequences import Contrast


@dataclass(frozen=True)
class Appearance:
    """How lesions look in one session, relative to the tissue around them.

    Attributes
    ----------
    wmh : mapping of Sequence to float
        Full-strength WMH signal divided by that of the white matter (measured on real lesions: T2w 1.4 to 1.8, T1w .72 to .83 on gradient
        echo, about 1 on spin echo). On FLAIR voxels that raters drew have 1.4 to 1.5 in the median, edges included: the core has more.
    faint : mapping of Sequence to float
        Signal that normal or dirty white matter gains where it is fully faint, relative. Tracts with little myelin are brighter on
        FLAIR and T2w and darker on T1w, as WMH are; if only WMH were dark on T1w, everything a little dark would be taken for one.
    uneven : mapping of Sequence to float
        SD of the relative signal from place to place in healthy tissue. Measured in deep white matter without lesions (the six openms
        sessions, smoothed by 2 mm): FLAIR .05, T1w .04, T2w .08, half of it beyond 8 mm; unsmoothed .06, .04, .08. This part is
        shared by the sequences: bright on FLAIR goes with bright on T2w and, mostly, dark on T1w.
    uneven_alone : mapping of Sequence to float
        SD of the part that each sequence has for itself. If only WMH made T1w uneven, the network would believe T1w too much: on two real
        scans with thick slices it painted half less once T1w was replaced by its structures' means.
    cavity_fluid : float
        Share of fluid in a lacune's core; the rest is white matter. A network that knew only cavities full of fluid found half of those
        that had been implanted into real images with .6 of its signal. Own choice.
    cavity_fill : float
        White matter signal that is added to the core on FLAIR alone: incomplete suppression.
    space_fluid : float
        Share of CSF signal in a perivascular space; the rest is white matter.
    black_hole : float
        Relative loss of T1w signal in the T1-dark part of a WMH.
    cmb_loss, vein_loss : float
        Relative loss of SWI signal in the core of a microbleed; in veins and mineral.
    """

    wmh: Mapping[Sequence, float]
    faint: Mapping[Sequence, float]
    uneven: Mapping[Sequence, float]
    uneven_alone: Mapping[Sequence, float]
    cavity_fluid: float
    cavity_fill: float
    space_fluid: float
    black_hole: float
    cmb_loss: float
    vein_loss: float


UNEVEN_ALONE = {Sequence.FLAIR: 0.02, Sequence.T1W: 0.035, Sequence.T2W: 0.03, Sequence.SWI: 0.03}
"""Largest SD of the part of a sequence's unevenness that the others do not share. Own choice."""


def draw_appearance(rng: np.random.Generator) -> Appearance:
    """Draw a session's appearance."""
    wmh = {
        Sequence.FLAIR: float(rng.uniform(1.35, 2.0)),
        Sequence.T1W: float(rng.uniform(0.62, 0.92) if rng.random() < 0.6 else rng.uniform(0.88, 1.03)),
        Sequence.T2W: float(rng.uniform(1.2, 1.95)),
        Sequence.SWI: float(rng.uniform(1.0, 1.15)),
    }
    uneven = float(rng.uniform(0.03, 0.1))
    return Appearance(
        wmh=wmh,
        faint={
            Sequence.FLAIR: 0.5 * (wmh[Sequence.FLAIR] - 1),
            Sequence.T1W: -float(rng.uniform(0.0, 0.25)),
            Sequence.T2W: float(rng.uniform(0.3, 1.0)) * (wmh[Sequence.T2W] - 1),
            Sequence.SWI: 0.0,
        },
        uneven={
            Sequence.FLAIR: uneven,
            Sequence.T1W: -uneven * float(rng.uniform(-0.2, 0.5)),
            Sequence.T2W: uneven * float(rng.uniform(0.6, 1.4)),
            Sequence.SWI: uneven * float(rng.uniform(0.0, 0.6)),
        },
        uneven_alone={sequence: float(rng.uniform(0, most)) for sequence, most in UNEVEN_ALONE.items()},
        cavity_fluid=float(rng.uniform(0.5, 1.0)),
        cavity_fill=float(rng.beta(1.0, 3.0) * 0.7),
        space_fluid=float(rng.uniform(0.55, 1.0)),
        black_hole=float(rng.uniform(0.15, 0.5)),
        cmb_loss=float(rng.uniform(0.6, 1.0)),
        vein_loss=float(rng.uniform(0.3, 0.9)),
    )


def render_signal(
    tissues: NDArray[np.uint8], maps: LesionMaps, contrast: Contrast, appearance: Appearance, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Noise-free signal on the 1 mm anatomy, white matter about 1. Shape (x, y, z), as ``tissues``."""

    def to_tensor(array: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    sequence = contrast.sequence
    signal = torch.from_numpy(contrast.signal[tissues]).to(device)
    touching = to_tensor(maps.touching)
    signal = signal * (1 - touching) + float(contrast.signal[Structure.CORTEX]) * touching
    gain = appearance.wmh[sequence] - 1
    alone = to_tensor(np.ascontiguousarray(maps.uneven_alone[sequence]))
    signal = signal * (1 + appearance.uneven[sequence] * to_tensor(maps.uneven) + appearance.uneven_alone[sequence] * alone)
    signal = signal * (1 + gain * to_tensor(maps.strength))
    signal = signal * (1 + appearance.faint[sequence] * to_tensor(maps.faint))
    if sequence is not Sequence.SWI:
        signal = signal * (1 + 0.8 * gain * to_tensor(maps.rim))
    if sequence is Sequence.T1W:
        signal = signal * (1 - appearance.black_hole * to_tensor(maps.black_hole))
    fluid = float(contrast.signal[Structure.LATERAL_VENTRICLE])
    white = float(contrast.signal[Structure.WHITE_MATTER])
    core = _cavity_signal(contrast, appearance)
    pocket = to_tensor(maps.pocket)
    signal = signal * (1 - pocket) + float(contrast.signal[Structure.CSF]) * pocket
    lacune, space = to_tensor(maps.fraction[Marker.LACUNE]), to_tensor(maps.fraction[Marker.EPVS])
    signal = signal * (1 - lacune) + core * lacune
    signal = signal * (1 - space) + (appearance.space_fluid * fluid + (1 - appearance.space_fluid) * white) * space
    bleed = to_tensor(maps.fraction[Marker.CMB])
    if sequence is Sequence.SWI:
        signal = signal * (1 - appearance.vein_loss * to_tensor(maps.dark)) * (1 + 0.2 * to_tensor(maps.halo))
        return signal * (1 - appearance.cmb_loss * bleed)
    return signal * (1 - 0.25 * appearance.cmb_loss * bleed) if sequence is Sequence.T2W else signal


VISIBLE_CONTRAST_TO_NOISE = 1.5
"""Below this a lesion is not labelled (own choice; simulation studies put detection near 1.5). Noise is everything that makes healthy
tissue uneven: the scanner's, and tissue's own variation."""
VISIBLE_CONTRAST = {Marker.WMH: 0.18, Marker.LACUNE: 0.15, Marker.EPVS: 0.15, Marker.CMB: 0.20}
"""Least contrast, relative to the brain's mean, that a rater marks. Of WMH: dirty white matter on real scans is up to 1.2 times as bright
as the rest; of the voxels that raters drew on three real scans nine in ten are more than 1.2 times as bright. Of the others own choices
after pictures of simulated lesions that the network missed: below this nobody could have seen them."""
FAINT_SHARE = 0.65
"""A lesion with less than this share of the least visible contrast is background, between the two it is ignored."""
OUTLINE = {marker: 0.5 for marker in Marker} | {Marker.WMH: 0.35}
"""Share of a lesion's own peak at which its outline is drawn. Lower for WMH, which are drawn as far as they look bright."""
LEAST_MM = {Marker.WMH: 3, Marker.LACUNE: 3}
"""Extent below which a spot is not drawn. WMH: what a voxel-by-voxel cut leaves of faint lesions is specks that no person would
mark. Readers of multiple sclerosis take 3 mm along the long axis (Filippi 2019, 10.1093/brain/awz144); for SVD there is no such rule.
Lacunes have at least 3 mm (STRIVE-2, 10.1016/S1474-4422(23)00131-X)."""
SEEN_ON = {Marker.LACUNE: (Sequence.FLAIR, Sequence.T1W, Sequence.T2W)}
"""A cavity that is as bright as white matter on FLAIR is still plain to see on T1w or T2w. Other markers are seen where they are rated."""
BRAIN_MIX = {Structure.WHITE_MATTER: 0.4, Structure.CORTEX: 0.45, Structure.LATERAL_VENTRICLE: 0.15}
"""Share of a brain mask's volume, for the mean signal that sets a display's window."""


@dataclass(frozen=True)
class Acquired:
    """One sequence of a session, as it was acquired."""

    contrast: Contrast
    protocol: Protocol
    sampling: Sampling


def rate_lesions(
    maps: LesionMaps, marker: Marker, appearance: Appearance, acquired: Mapping[Sequence, Acquired]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """What a rater would draw on an acquired session: the lesion through the slice profile, cut at a share of its own peak.

    A WMH is drawn voxel by voxel as far as it looks bright, and of the other markers all of a lesion that can be
    seen at its peak. What is then shorter than ``LEAST_MM`` is not drawn.

    Returns
    -------
    label : tensor of bool, shape of the target grid
    ignore : tensor of bool
        Lesion that is almost bright or large enough to be drawn, which nobody should be punished for.

    None instead of the two when no sequence is there on which the marker is rated.
    """
    rated = rated_sequence(marker, acquired)
    if rated is None:
        return None
    own = acquired[rated]
    if not maps.fraction[marker].any():
        shape = [matrix.shape[0] for matrix in own.sampling.target_from_native]
        nothing = torch.zeros(shape, dtype=torch.bool, device=own.sampling.native_from_fine[0].device)
        return nothing, nothing
    share = _sample(maps.fraction[marker], own.sampling)
    seen = torch.zeros_like(share)
    for sequence in SEEN_ON.get(marker, (rated,)):
        if sequence in acquired:
            seen = torch.maximum(seen, _visibility(maps, marker, appearance, acquired[sequence]))
    # a thin tube or a lesion thinner than the slice never fills a voxel: what counts is a share of its own peak
    inside = (share > OUTLINE[marker] * _local_maximum(share, 5)) & (share > 0.08)
    if marker is Marker.WMH:
        bright = inside & (seen > 1)
        label = _leave_out_specks(bright, LEAST_MM[marker])
        return label, (share > 0.15) & ~label & (seen > FAINT_SHARE) | bright & ~label
    seen_peak = _local_maximum(seen, 3)
    drawn = inside & (seen_peak > 1)
    label = _leave_out_specks(drawn, LEAST_MM[marker]) if marker in LEAST_MM else drawn
    return label, (share > 0.15) & (seen_peak <= 1) & (seen_peak > FAINT_SHARE) | drawn & ~label


def _leave_out_specks(drawn: torch.Tensor, least_mm: int) -> torch.Tensor:
    """Only the lesions whose extent along one axis reaches ``least_mm``, on a grid of 1 mm."""
    parts, count = ndimage.label(drawn.cpu().numpy(), np.ones((3, 3, 3)))
    extent_mm = [max(part.stop - part.start for part in box) for box in ndimage.find_objects(parts)]
    large = np.array([False, *(extent >= least_mm for extent in extent_mm)])
    return torch.from_numpy(large[parts]).to(drawn.device) if count else drawn


def _visibility(maps: LesionMaps, marker: Marker, appearance: Appearance, acquired: Acquired) -> torch.Tensor:
    """Contrast of every voxel on one sequence, as a multiple of the least that a rater marks."""
    sequence, signal = acquired.protocol.sequence, acquired.contrast.signal
    if marker is Marker.WMH:
        seen = _sample(maps.strength, acquired.sampling) * abs(appearance.wmh[sequence] - 1)
    else:
        seen = _sample(maps.fraction[marker], acquired.sampling) * lesion_contrast(marker, acquired.contrast, appearance)
    brain_mean = sum(share * float(signal[code]) for code, share in BRAIN_MIX.items()) / max(float(signal[Structure.WHITE_MATTER]), 1e-3)
    protocol = acquired.protocol
    noise = np.linalg.norm([protocol.noise, protocol.texture, appearance.uneven[sequence], appearance.uneven_alone[sequence]])
    return seen / max(VISIBLE_CONTRAST_TO_NOISE * float(noise), VISIBLE_CONTRAST[marker] * brain_mean)


def _sample(array: NDArray[np.float32], sampling: Sampling) -> torch.Tensor:
    fine = torch.from_numpy(array).to(sampling.native_from_fine[0].device)
    return apply_axes(sampling.target_from_native, apply_axes(sampling.native_from_fine, fine))


def _local_maximum(image: torch.Tensor, width: int) -> torch.Tensor:
    """Maximum over a cube of odd width, axis by axis. Shifted copies are several times as fast as pooling on a CPU."""
    for axis in range(3):
        wider = image.clone()
        for shift in range(1, width // 2 + 1):
            rest = image.shape[axis] - shift
            below, above = wider.narrow(axis, 0, rest), wider.narrow(axis, shift, rest)
            torch.maximum(below, image.narrow(axis, shift, rest), out=below)
            torch.maximum(above, image.narrow(axis, 0, rest), out=above)
        image = wider
    return image


def lesion_contrast(marker: Marker, contrast: Contrast, appearance: Appearance) -> float:
    """Contrast of a voxel full of lesion against white matter, relative to white matter."""
    fluid = float(contrast.signal[Structure.LATERAL_VENTRICLE])
    white = float(contrast.signal[Structure.WHITE_MATTER])
    if marker is Marker.LACUNE:
        return abs(_cavity_signal(contrast, appearance) - white) / white
    if marker is Marker.EPVS:
        return abs(appearance.space_fluid * (fluid - white)) / white
    return appearance.cmb_loss


def _cavity_signal(contrast: Contrast, appearance: Appearance) -> float:
    """Signal in the core of a lacune."""
    white = float(contrast.signal[Structure.WHITE_MATTER])
    fluid = float(contrast.signal[Structure.LATERAL_VENTRICLE])
    if contrast.sequence is Sequence.FLAIR:
        fluid += appearance.cavity_fill * white
    return appearance.cavity_fluid * fluid + (1 - appearance.cavity_fluid) * white


def rated_sequence(marker: Marker, present: Mapping[Sequence, object]) -> Sequence | None:
    """The sequence on which a marker is rated in a session, None where there is none."""
    return next((sequence for sequence in MARKERS[marker].rated_on if sequence in present), None)
