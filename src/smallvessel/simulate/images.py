"""From a brain with lesions to the signal of each sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..markers import Marker, Sequence
from ..structures import Structure
from .lesion_maps import LesionMaps
from .sequences import Contrast


@dataclass(frozen=True)
class Appearance:
    """How lesions look in one session, relative to the tissue around them.

    Attributes
    ----------
    wmh : mapping of Sequence to float
        Full-strength WMH signal divided by that of the white matter (measured on real lesions: T2w 1.4 to 1.8, T1w .72 to .83 on gradient
        echo, about 1 on spin echo; T2w from 1.08 on, since a plain lesion of the pons of a real patient hardly shows there). On FLAIR
        voxels that raters drew have 1.4 to 1.5 in the median, edges included: the core has more.
    faint : mapping of Sequence to float
        Signal that normal or dirty white matter gains where it is fully faint, relative. Tracts with little myelin are brighter on
        FLAIR and T2w and darker on T1w, as WMH are; if only WMH were dark on T1w, everything a little dark would be taken for one.
        On real FLAIRs it is up to 1.2 times as bright as the rest. With up to .4 more, as until round 15, what was not labelled beside
        the ventricles was brighter than what was.
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
        Sequence.FLAIR: float(rng.uniform(1.42, 2.0)),
        Sequence.T1W: float(rng.uniform(0.62, 0.92) if rng.random() < 0.6 else rng.uniform(0.88, 1.03)),
        Sequence.T2W: float(rng.uniform(1.08, 1.95)),
        Sequence.SWI: float(rng.uniform(1.0, 1.15)),
    }
    uneven = float(rng.uniform(0.03, 0.1))
    return Appearance(
        wmh=wmh,
        faint={
            Sequence.FLAIR: min(0.5 * (wmh[Sequence.FLAIR] - 1), float(rng.uniform(0.1, 0.35))),
            Sequence.T1W: -float(rng.uniform(0.0, 0.25)),
            Sequence.T2W: min(0.5 * (wmh[Sequence.T2W] - 1), float(rng.uniform(0.1, 0.45))),
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
