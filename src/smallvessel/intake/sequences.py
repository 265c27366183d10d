"""Opens the files of a session and checks that together they can be one head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import GeometryError, InputError
from ..markers import Sequence
from ..records import ImageFile, Session, SessionSource
from ..volume import Volume
from .nifti import MIN_EXTENT_MM, read_nifti

FOREGROUND = 0.2
"""Share of the 99.5th percentile above which a voxel belongs to the head."""
MAX_FOREGROUND = 0.7
"""Above this share of the field of view the head cannot be told from its background by intensity."""
MIN_SPREAD_MM, MAX_SPREAD_MM = 20.0, 65.0
"""Standard deviation of the head's voxels, left-right and front-back: 28 to 43 and 35 to 51 mm in adults, measured with and
without a skull; a voxel size that is wrong by a factor of two falls outside."""
WHOLE_FIELD_MM = 150.0
"""Two heads are compared along an axis only where both fields of view could hold one."""
MAX_SPREAD_RATIO = 1.8
"""A head with its scalp against its extracted brain reaches 1.5."""
FAR_APART_MM = 60.0


@dataclass(frozen=True)
class _Head:
    """Where the head lies: centre (3,), spread as standard deviations (3,) or None, field of view (3,), world RAS mm."""

    centre_mm: NDArray[np.float64]
    spread_mm: NDArray[np.float64] | None
    field_mm: NDArray[np.float64]


def load_session(source: SessionSource, trust_header: bool = False) -> Session:
    """Read and check every image of a session.

    Parameters
    ----------
    source : SessionSource
        From :func:`smallvessel.intake.bids.find_sessions` or :func:`~smallvessel.intake.bids.session_from_files`.
    trust_header : bool
        Accept files without a declared orientation, or whose two orientations contradict each other.

    Returns
    -------
    Session
        Images in the order of :class:`Sequence`, finite float32, each on its own grid.

    Raises
    ------
    InputError
        When the session was refused before, there is no image, one cannot be used, or one is given for two sequences.
    GeometryError
        When an orientation or a size cannot be right, or two images cannot be the same head.
    """
    if source.refusal:
        raise source.refusal
    if not source.files:
        told = f" ({' '.join(source.log)})" if source.log else ""
        raise InputError(
            f"{source.id} without a usable image{told}", f"at least one of {', '.join(Sequence)}", "check its anat and swi folders"
        )
    log = list(source.log)
    images: dict[Sequence, ImageFile] = {}
    for sequence in Sequence:
        if sequence not in source.files:
            log.append(f"{sequence}: not given.")
            continue
        path = source.files[sequence]
        volume, sha256, notes = read_nifti(path, trust_header)
        images[sequence] = ImageFile(path, sequence, volume, sha256, " ".join(notes))
        log.append(" ".join([f"{sequence}: {_describe(volume)}.", *notes]))
    _refuse_repeats(images)
    heads = {sequence: _find_head(image.volume) for sequence, image in images.items()}
    _refuse_impossible_sizes(images, heads)
    for a, b in combinations(heads, 2):
        apart_mm = float(np.linalg.norm(heads[a].centre_mm - heads[b].centre_mm))
        if apart_mm > FAR_APART_MM:
            log.append(f"The headers place the heads of {a} and {b} {apart_mm:.0f} mm apart; registration starts from their centres.")
    return Session(source.id, images, tuple(log))


def _describe(volume: Volume) -> str:
    shape = " x ".join(map(str, volume.grid.shape))
    spacing = " x ".join(f"{spacing_mm:.3g}" for spacing_mm in volume.grid.spacing_mm)
    return f"{shape} voxels of {spacing} mm, axes {''.join(nib.orientations.aff2axcodes(volume.grid.affine))}"


def _refuse_repeats(images: Mapping[Sequence, ImageFile]) -> None:
    for a, b in combinations(images.values(), 2):
        same_bytes = a.sha256 == b.sha256
        if same_bytes or (a.volume.grid.same_as(b.volume.grid) and np.array_equal(a.volume.data, b.volume.data)):
            raise InputError(
                f"the same {'file' if same_bytes else 'intensities'} as {a.sequence} ({a.path}) and as {b.sequence} ({b.path})",
                "a different image for each sequence",
                "correct or leave out the wrong one",
            )


def _find_head(volume: Volume) -> _Head:
    grid = volume.grid
    field_mm = np.asarray(np.abs(grid.affine[:3, :3]) @ np.array(grid.shape), np.float64)
    # Every 4 mm suffices for a standard deviation, and keeps this under 20 ms.
    steps = np.maximum(4.0 / grid.spacing_mm, 1.0).astype(int)
    coarse = volume.data[:: steps[0], :: steps[1], :: steps[2]]
    inside = coarse > FOREGROUND * np.percentile(coarse, 99.5)
    if not inside.any() or inside.mean() > MAX_FOREGROUND:
        return _Head(grid.world(np.array([[(n - 1) / 2 for n in grid.shape]]))[0], None, field_mm)
    points_mm = grid.world(np.argwhere(inside) * steps)
    return _Head(points_mm.mean(axis=0), np.asarray(points_mm.std(axis=0), np.float64), field_mm)


def _refuse_impossible_sizes(images: Mapping[Sequence, ImageFile], heads: Mapping[Sequence, _Head]) -> None:
    # Not along the body's axis: necks and slabs differ too much.
    for axis, direction in ((0, "left to right"), (1, "front to back")):
        spread_mm = {sequence: head.spread_mm[axis] for sequence, head in heads.items() if head.spread_mm is not None}
        for sequence, value in spread_mm.items():
            if heads[sequence].field_mm[axis] >= MIN_EXTENT_MM and not MIN_SPREAD_MM <= value <= MAX_SPREAD_MM:
                raise GeometryError(
                    f"{images[sequence].path} with a head whose voxels spread {value:.0f} mm (standard deviation) from {direction}",
                    f"{MIN_SPREAD_MM:g} to {MAX_SPREAD_MM:g} mm",
                    "correct the voxel size in the header, or give the image of a head",
                )
        comparable = [sequence for sequence in spread_mm if heads[sequence].field_mm[axis] >= WHOLE_FIELD_MM]
        for a, b in combinations(comparable, 2):
            small, large = sorted((a, b), key=lambda sequence: spread_mm[sequence])
            ratio = spread_mm[large] / spread_mm[small]
            if ratio > MAX_SPREAD_RATIO:
                raise GeometryError(
                    f"{images[large].path} with a head {ratio:.1f} times as large as {images[small].path} from {direction}",
                    "two images of the same head",
                    "correct the voxel size in the wrong header, or leave the other patient's image out",
                )
