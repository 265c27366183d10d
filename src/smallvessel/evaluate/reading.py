"""What an image of lesions holds: a mask, probabilities or labels; and masks on one grid, resampled only when that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import GeometryError, InputError
from ..markers import MARKERS
from ..volume import Grid, Mask, Volume, read_values, require_same_grid, resample
from .lesionwise import find_instances

THRESHOLD = 0.5
"""A probability counts as lesion from this value on, unless another is given."""
ANY, BY_MARKER = "any", "markers"
MASK_VALUES = (1, 255)
"""What the one value of a mask may be; any other may be one label of a map of which this image has no more."""
N_POINTS = 33
"""Points along each axis by which it is seen whether two fields of view overlap."""


@dataclass(frozen=True)
class LesionImage:
    """An image of lesions as it was read.

    Attributes
    ----------
    masks : mapping of str to Mask
        By label; the key is empty unless the codes of all markers were asked for.
    probability : Volume or None
        The values, where they are probabilities.
    other_values : tuple of float
        Values above 0 that belong to none of the masks.
    """

    masks: Mapping[str, Mask]
    probability: Volume | None = None
    other_values: tuple[float, ...] = ()

    @property
    def lacks_its_labels(self) -> bool:
        """Whether there are labels, but none of those that were asked for: perhaps a mask was taken for a label map."""
        return bool(self.other_values) and not any(mask.data.any() for mask in self.masks.values())


def read_lesions(path: Path, label: str = "", threshold: float = THRESHOLD, probability: bool = False) -> LesionImage:
    """Read an image of lesions.

    Parameters
    ----------
    path : Path
        A mask (0 and 1, or 0 and 255), a probability map (0 to 1) or a label map (whole numbers).
    label : str
        What a label map stands for: a number for that value, "any" for every value above 0, "markers" for the codes of
        :data:`smallvessel.markers.MARKERS`, a mask for each. It says nothing about probabilities: these are cut at ``threshold``.
    threshold : float
        A probability counts as lesion from this value on.
    probability : bool
        The values are probabilities, whatever they look like: one without any lesion, or sure of all, looks like a mask.

    Raises
    ------
    InputError
        When the image cannot be read, its values are none of the three or not those expected, a label map comes without ``label``,
        or the markers' codes are looked for in probabilities.
    """
    image = read_values(path)
    values = np.unique(image.data)
    if not np.isfinite(values).all() or values[0] < 0:
        raise InputError(
            f"{path} with values from {values[0]:g} to {values[-1]:g}", "a mask, probabilities or labels from 0 on", "check the file"
        )
    if probability and values[-1] > 1:
        raise InputError(
            f"{path} with values up to {values[-1]:g}", "probabilities from 0 to 1", "save them so, or leave out --probability"
        )
    whole = not probability and bool((values == np.rint(values)).all())
    if not whole and values[-1] > 1:
        raise InputError(
            f"{path} with values up to {values[-1]:g} that are no whole numbers",
            "a mask, probabilities from 0 to 1, or whole labels",
            "save labels without interpolation, or probabilities as shares of 1",
        )
    if not whole:
        if label == BY_MARKER:
            raise InputError(
                f"--label {label} with probabilities in {path}", "a label map", "compare one marker at a time, with its number"
            )
        return LesionImage({"": Mask(image.data >= threshold, image.grid)}, image)
    if label:
        chosen = _chosen(label, values)
        others = set(values[values > 0].tolist()).difference(*chosen.values())
        return LesionImage(
            {name: Mask(np.isin(image.data, codes), image.grid) for name, codes in chosen.items()}, other_values=tuple(sorted(others))
        )
    codes = values[values > 0]
    if len(codes) == 0 or (len(codes) == 1 and codes[0] in MASK_VALUES):
        return LesionImage({"": Mask(image.data > 0, image.grid)})
    raise InputError(
        f"{path} with " + (f"{len(codes)} values up to {codes[-1]:g}" if len(codes) > 1 else f"the value {codes[0]:g}") + ": a label map",
        f"to be told which labels are lesions, or a mask of {' or '.join(map(str, MASK_VALUES))}",
        f"save a mask of them; or, for evaluate, add --label with a number, --label {ANY} for all above 0, or --label {BY_MARKER} for the "
        "codes of the markers",
    )


def read_reference(path: Path, label: str = "") -> LesionImage:
    """Read the lesions of a reference, as :func:`read_lesions`.

    Raises
    ------
    InputError
        Also when it holds probabilities.
    """
    found = read_lesions(path, label)
    if found.probability is not None:
        raise InputError(f"probabilities in the reference {path}", "a mask or a label map", "cut it at a threshold first")
    return found


def bring_together(prediction: Mask, reference: Mask, may_resample: bool) -> Mask:
    """The prediction on the reference's grid, by its nearest voxels.

    A lesion that falls between the voxels of a coarser grid is put into the one voxel that is nearest to it, so that it is not lost; what
    lies outside the reference's field of view is.

    Raises
    ------
    GeometryError
        When the grids differ and resampling was not asked for, the fields of view do not overlap, or all lesions lie outside the
        reference's.
    """
    if not may_resample:
        require_same_grid(prediction, reference)
        return prediction
    require_overlap(prediction.grid, reference.grid)
    lesions = find_instances(prediction)
    moved = resample(lesions, reference.grid).data
    data = moved > 0
    lost = np.setdiff1d(lesions.data, moved)
    if len(lost):
        voxels = np.argwhere(np.isin(lesions.data, lost))
        world_mm = prediction.grid.world(voxels)
        nearest = np.rint(reference.grid.voxels(world_mm)).astype(int)
        inside = ((nearest >= 0) & (nearest < reference.grid.shape)).all(axis=1)
        distance_mm = np.linalg.norm(reference.grid.world(nearest) - world_mm, axis=1)
        by_distance = np.flatnonzero(inside)[np.argsort(distance_mm[inside], kind="stable")]
        _, first = np.unique(lesions.data[tuple(voxels[by_distance].T)], return_index=True)
        data[tuple(nearest[by_distance[first]].T)] = True
    if prediction.data.any() and not data.any():
        raise GeometryError(
            "a prediction whose lesions all lie outside the reference's field of view", "two images of one head", "check their headers"
        )
    return Mask(data, reference.grid)


def require_overlap(prediction: Grid, reference: Grid) -> None:
    """Refuse two fields of view that have nothing in common.

    Raises
    ------
    GeometryError
    """
    if not (_reaches(prediction, reference) or _reaches(reference, prediction)):
        raise GeometryError(
            "a prediction and a reference whose fields of view do not overlap", "two images of one head in one world", "check their headers"
        )


def _reaches(one: Grid, other: Grid) -> bool:
    axes = [np.linspace(-0.5, n - 0.5, N_POINTS) for n in one.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    voxels = other.voxels(one.world(points))
    return bool(((voxels > -0.5) & (voxels < np.array(other.shape) - 0.5)).all(axis=1).any())


def _chosen(label: str, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Mapping[str, list[float]]:
    if label == ANY:
        return {"": [float(value) for value in values if value > 0]}
    if label == BY_MARKER:
        return {str(marker): [float(info.code)] for marker, info in MARKERS.items()}
    if not label.isdigit() or int(label) == 0:
        raise InputError(f"--label {label}", f"a whole number from 1 on, {ANY} or {BY_MARKER}", "give one of these")
    return {"": [float(label)]}
