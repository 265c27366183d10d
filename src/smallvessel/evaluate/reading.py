"""What an image of lesions holds: a mask, probabilities or labels; and masks on one grid, resampled only when that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..markers import MARKERS
from ..volume import LabelMap, Mask, Volume, read_values, require_same_grid, resample

THRESHOLD = 0.5
"""A probability counts as lesion from this value on, unless another is given."""
ANY, BY_MARKER = "any", "markers"


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
        A mask (one value besides 0), a probability map (0 to 1) or a label map (whole numbers).
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
    if np.count_nonzero(values) <= 1:
        return LesionImage({"": Mask(image.data > 0, image.grid)})
    raise InputError(
        f"{path} with {np.count_nonzero(values)} values up to {values[-1]:g}: a label map",
        "to be told which labels are lesions",
        f"save a mask of them; or, for evaluate, add --label with a number, --label {ANY} for all above 0, or --label {BY_MARKER} for the "
        "codes of the markers",
    )


def bring_together(prediction: Mask, reference: Mask, may_resample: bool) -> Mask:
    """The prediction on the reference's grid; by its nearest voxels, so that single voxels are neither lost nor blurred.

    Raises
    ------
    GeometryError
        When the grids differ and resampling was not asked for.
    """
    if not may_resample:
        require_same_grid(prediction, reference)
        return prediction
    labels = resample(LabelMap(prediction.data.astype(np.int32), prediction.grid), reference.grid)
    return Mask(labels.data > 0, reference.grid)


def _chosen(label: str, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Mapping[str, list[float]]:
    if label == ANY:
        return {"": [float(value) for value in values if value > 0]}
    if label == BY_MARKER:
        return {str(marker): [float(info.code)] for marker, info in MARKERS.items()}
    if not label.isdigit() or int(label) == 0:
        raise InputError(f"--label {label}", f"a whole number from 1 on, {ANY} or {BY_MARKER}", "give one of these")
    return {"": [float(label)]}
