"""What a rater would draw on an acquired session: which lesions can be seen, and how far they reach."""

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
from .images import Appearance, lesion_contrast
from .lesion_maps import LesionMaps
from .sequences import Contrast

VISIBLE_CONTRAST_TO_NOISE = dict.fromkeys(Marker, 1.5) | {Marker.WMH: 2.0}
"""Below this a lesion is not labelled (own choice; simulation studies put detection near 1.5). Noise is everything that makes healthy
tissue uneven: the scanner's, and tissue's own variation. WMH are drawn voxel by voxel: on the edge of what raters drew on three real scans
the median is 3.2 to 3.8 standard deviations of the white matter, the lower quartile 2.3 to 2.7."""
ROSE = 5.0
"""Least signal-to-noise ratio of a whole lesion that a rater marks: what a person finds has about 5 (Rose 1948, revisited by Burgess 1999,
10.1364/JOSAA.16.000633), and simulated perivascular spaces below it cannot be seen in pictures. A few voxels 1.5 times as strong as the
noise are no lesion for anybody: in a brain noise alone has thousands of them."""
TEXTURE_MM3 = 27.0
"""Volume over which the texture within tissues is one: its random values are 3 mm apart."""
VISIBLE_CONTRAST = {Marker.WMH: 0.2, Marker.LACUNE: 0.15, Marker.EPVS: 0.15, Marker.CMB: 0.20}
"""Least contrast, relative to the brain's mean, that a rater marks. Of WMH: dirty white matter on real scans is up to 1.2 times as bright
as the rest; of the voxels that raters drew on three real scans nine in ten are more than 1.2 times as bright, of those on the edge three in
four more than 1.22 to 1.29 times. Of the others own choices
after pictures of simulated lesions that the network missed: below this nobody could have seen them."""
FAINT_SHARE = 0.65
"""A lesion with less than this share of the least visible contrast is background, between the two it is ignored."""
OUTLINE = {marker: 0.5 for marker in Marker} | {Marker.WMH: 0.4}
"""Share of a lesion's own peak at which its outline is drawn. Lower for WMH, which are drawn as far as they look bright."""
LEAST_MM = {Marker.WMH: 3, Marker.LACUNE: 3}
"""Extent below which a spot is not drawn. WMH: what a voxel-by-voxel cut leaves of faint lesions is specks that no person would
mark. Readers of multiple sclerosis take 3 mm along the long axis (Filippi 2019, 10.1093/brain/awz144); for SVD there is no such rule.
Lacunes have at least 3 mm (STRIVE-2, 10.1016/S1474-4422(23)00131-X)."""
BRAIN_MIX = {Structure.WHITE_MATTER: 0.4, Structure.CORTEX: 0.45, Structure.LATERAL_VENTRICLE: 0.15}
"""Share of a brain mask's volume, for the mean signal that sets a display's window."""


@dataclass(frozen=True)
class Acquired:
    """One sequence of a session, as it was acquired.

    ``signal`` is that of the anatomy with its lesions, free of noise, on the anatomy's own grid.
    """

    contrast: Contrast
    protocol: Protocol
    sampling: Sampling
    signal: torch.Tensor


def rate_lesions(
    maps: LesionMaps, marker: Marker, appearance: Appearance, acquired: Mapping[Sequence, Acquired]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """What a rater would draw on an acquired session: the lesion through the slice profile, cut at a share of its own peak.

    A WMH is drawn voxel by voxel as far as it looks bright: a thin rim that shares its voxels with dark CSF
    cannot be told from healthy tissue. Of the other markers all of a lesion is drawn that can be seen at its peak, on the finest of the
    sequences that show it; none that as a whole hardly stands out from noise. What is then shorter than ``LEAST_MM`` is not drawn.

    Returns
    -------
    label : tensor of bool, shape of the target grid
    ignore : tensor of bool
        Lesion that is almost bright or large enough to be drawn, which nobody should be punished for. Not what touches a WMH that is
        drawn: where it ends is what is to be learnt.

    None instead of the two when no sequence is there on which the marker is rated.
    """
    rated = rated_sequence(marker, acquired)
    if rated is None:
        return None
    shape = [matrix.shape[0] for matrix in acquired[rated].sampling.target_from_native]
    drawn = torch.zeros(shape, dtype=torch.bool, device=acquired[rated].sampling.native_from_fine[0].device)
    almost = drawn.clone()
    if not maps.fraction[marker].any():
        return drawn, almost
    shown_on = [acquired[sequence] for sequence in MARKERS[marker].seen_on if sequence in acquired]
    for one in sorted(shown_on, key=lambda one: _sample_mm3(one.protocol)):
        more, faint = _draw_on(maps, marker, appearance, one)
        drawn |= _apart_from(drawn, more) if drawn.any() else more
        almost |= faint
    label = _leave_out_specks(drawn, LEAST_MM[marker]) if marker in LEAST_MM else drawn
    settled = _local_maximum(label.to(torch.uint8), 3) > 0 if marker is Marker.WMH else label
    return label, (almost | drawn) & ~settled


def _draw_on(maps: LesionMaps, marker: Marker, appearance: Appearance, acquired: Acquired) -> tuple[torch.Tensor, torch.Tensor]:
    """What is seen on one sequence, and what almost is."""
    share = _sample(torch.from_numpy(maps.fraction[marker]), acquired.sampling)
    # a thin tube or a lesion thinner than the slice never fills a voxel: what counts is a share of its own peak
    inside = (share > OUTLINE[marker] * _local_maximum(share, 5)) & (share > 0.08)
    lesions, count = ndimage.label(inside.cpu().numpy(), np.ones((3, 3, 3)))
    contrast = _contrast(maps, marker, appearance, acquired)
    least = _least_contrast(marker, appearance, acquired)
    ratio = _signal_to_noise(contrast, lesions, count, acquired.protocol) / ROSE
    # a lesion's own ratio inside its outline; on its blurred border that of the lesion, two voxels away at most
    seen = torch.minimum(contrast / least, torch.where(inside, ratio, _local_maximum(ratio, 5)))
    if marker is Marker.WMH:
        shown = _shown_contrast(appearance.wmh[acquired.protocol.sequence] - 1, acquired)
        seen = torch.minimum(seen, shown / least)
    else:
        seen = _local_maximum(seen, 3)
    return inside & (seen > 1), (share > 0.15) & (seen <= 1) & (seen > FAINT_SHARE)


def _apart_from(drawn: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    """The lesions that do not touch one that is drawn already."""
    parts, count = ndimage.label(more.cpu().numpy(), np.ones((3, 3, 3)))
    known = np.zeros(count + 1, np.bool_)
    known[0] = True
    known[parts[_local_maximum(drawn.to(torch.uint8), 3).cpu().numpy() > 0]] = True
    return torch.from_numpy(~known[parts]).to(drawn.device)


def _leave_out_specks(drawn: torch.Tensor, least_mm: int) -> torch.Tensor:
    """Only the lesions whose extent along one axis reaches ``least_mm``, on a grid of 1 mm."""
    parts, count = ndimage.label(drawn.cpu().numpy(), np.ones((3, 3, 3)))
    extent_mm = [max(part.stop - part.start for part in box) for box in ndimage.find_objects(parts)]
    large = np.array([False, *(extent >= least_mm for extent in extent_mm)])
    return torch.from_numpy(large[parts]).to(drawn.device) if count else drawn


def _contrast(maps: LesionMaps, marker: Marker, appearance: Appearance, acquired: Acquired) -> torch.Tensor:
    """Contrast of every voxel on one sequence, relative to white matter."""
    if marker is Marker.WMH:
        return _sample(torch.from_numpy(maps.strength), acquired.sampling) * abs(appearance.wmh[acquired.protocol.sequence] - 1)
    lesion = torch.from_numpy(maps.fraction[marker])
    return _sample(lesion, acquired.sampling) * lesion_contrast(marker, acquired.contrast, appearance)


def _shown_contrast(gain: float, acquired: Acquired) -> torch.Tensor:
    """How much brighter than white matter every voxel is, with all that it holds; darker, where WMH are dark."""
    white = max(float(acquired.contrast.signal[Structure.WHITE_MATTER]), 1e-3)
    return (_sample(acquired.signal, acquired.sampling) / white - 1) * (1 if gain > 0 else -1)


def _least_contrast(marker: Marker, appearance: Appearance, acquired: Acquired) -> float:
    """The least contrast of a voxel that a rater marks, relative to white matter."""
    protocol, signal = acquired.protocol, acquired.contrast.signal
    sequence = protocol.sequence
    brain_mean = sum(share * float(signal[code]) for code, share in BRAIN_MIX.items()) / max(float(signal[Structure.WHITE_MATTER]), 1e-3)
    noise = np.linalg.norm([protocol.noise, protocol.texture, appearance.uneven[sequence], appearance.uneven_alone[sequence]])
    return max(VISIBLE_CONTRAST_TO_NOISE[marker] * float(noise), VISIBLE_CONTRAST[marker] * brain_mean)


def _signal_to_noise(contrast: torch.Tensor, lesions: NDArray[np.int32], count: int, protocol: Protocol) -> torch.Tensor:
    """Of each whole lesion, at its voxels: what a filter of its own shape would find in noise that is white over the acquired samples."""
    noise = np.sqrt(protocol.noise**2 * _sample_mm3(protocol) + protocol.texture**2 * TEXTURE_MM3)
    energy_mm3 = np.bincount(lesions.ravel(), contrast.square().cpu().numpy().ravel(), count + 1)
    energy_mm3[0] = 0
    return torch.from_numpy((np.sqrt(energy_mm3) / max(float(noise), 1e-6)).astype(np.float32)[lesions]).to(contrast.device)


def _sample_mm3(protocol: Protocol) -> float:
    """Volume of an acquired sample."""
    return float(np.prod(protocol.spacing_mm) / np.prod(protocol.acquired))


def _sample(fine: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    fine = fine.to(sampling.native_from_fine[0].device)
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


def rated_sequence(marker: Marker, present: Mapping[Sequence, object]) -> Sequence | None:
    """The sequence on which a marker is rated in a session, None where there is none."""
    return next((sequence for sequence in MARKERS[marker].rated_on if sequence in present), None)
