"""Which prediction belongs to which reference: two files, files at the same places, or files of the same BIDS entities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import GeometryError, InputError
from ..volume import Grid

ENDINGS = ("*.nii", "*.nii.gz")
MASKS = ("mask", "dseg")
PROBABILITIES = ("probseg",)

CHALLENGE_REFERENCES = ("wmh.nii.gz", "wmh.nii")
CHALLENGE_PREDICTIONS = ("result.nii.gz", "result.nii")
"""Names in the folders of the WMH challenge, such as Utrecht/0/wmh.nii.gz beside the images, and Utrecht/0/result.nii.gz."""

Key = tuple[str, str, str]


@dataclass(frozen=True)
class MaskPair:
    """A prediction with its reference; ``marker`` is the label entity of the reference, in lower case, empty where it has none."""

    name: str
    prediction: Path
    reference: Path
    marker: str = ""
    subject: str = ""
    session: str = ""

    @property
    def whose(self) -> str:
        """The subject, by the file's name or else its folder; where neither names one, the file is a subject by itself."""
        folder = next((part.removeprefix("sub-") for part in Path(self.name).parts if part.startswith("sub-")), self.name)
        return self.subject or folder


@dataclass(frozen=True)
class Pairing:
    """The pairs, and the references without a prediction."""

    pairs: tuple[MaskPair, ...]
    unpaired: tuple[Path, ...] = ()


def pair_masks(prediction: Path, reference: Path, probability: bool = False) -> Pairing:
    """Find the prediction of every reference.

    Parameters
    ----------
    prediction, reference : Path
        Two files, or two folders. Files of folders belong together when they have the same place in both, or else the same
        subject, session and ``label`` entities; in the layout of the WMH challenge ``result.nii.gz`` belongs to the ``wmh.nii.gz`` of the
        same sub-folder, and other images are left alone. Of several predictions with these, one on the reference's grid is taken, then one
        with its ``space`` entity, then one on the analysis grid.
    probability : bool
        Take ``_probseg`` files instead of masks.

    Raises
    ------
    InputError
        When one is a file and the other a folder, or nothing pairs.
    """
    if reference.is_file() and prediction.is_file():
        return Pairing((_pair(prediction.name, prediction, reference),))
    if reference.is_file() or prediction.is_file():
        raise InputError(f"{prediction} and {reference}", "two files or two folders", "give the same kind twice")
    if (found := _pair_as_challenge(prediction, reference)).pairs:
        return found
    candidates = _by_key(_images(prediction), PROBABILITIES if probability else MASKS)
    pairs, unpaired = [], []
    for theirs in _images(reference):
        place = theirs.relative_to(reference)
        mine = prediction / place if not probability else None
        key = _key(theirs)
        if mine is None or not mine.is_file():
            mine = choose_prediction(candidates[key], theirs) if key in candidates else None
        if mine is None:
            unpaired.append(theirs)
        else:
            pairs.append(_pair(place.as_posix(), mine, theirs))
    if not pairs:
        raise InputError(
            f"no mask of {reference} in {prediction}",
            "masks at the same places under both folders, or with the same sub-, ses- and label- in their names",
            "check the folders",
        )
    return Pairing(tuple(pairs), tuple(unpaired))


def _pair_as_challenge(prediction: Path, reference: Path) -> Pairing:
    """Pairs in the layout of the WMH challenge; none where the folders have another."""
    pairs, unpaired = [], []
    for theirs in sorted(path for name in CHALLENGE_REFERENCES for path in reference.rglob(name)):
        place = theirs.relative_to(reference)
        mine = next((path for name in CHALLENGE_PREDICTIONS if (path := prediction / place.parent / name).is_file()), None)
        if mine is None:
            unpaired.append(theirs)
        else:
            pairs.append(_pair(place.as_posix(), mine, theirs))
    return Pairing(tuple(pairs), tuple(unpaired))


def choose_prediction(candidates: Iterable[Path], reference: Path) -> Path:
    """Of several files of one marker the one to compare: on the reference's grid, else of its space, else on the analysis grid.

    Of a mask and a map of its lesions (``_dseg``) that are alike in this, the mask.
    """
    grid, space = read_grid(reference), entities(reference).get("space")

    def rank(path: Path) -> tuple[bool, bool, bool, bool, str]:
        named = entities(path)
        elsewhere = space is not None and named.get("space") != space
        return not read_grid(path).same_as(grid), elsewhere, "res" not in named, named["suffix"] == "dseg", path.name

    return min(candidates, key=rank)


def read_grid(path: Path) -> Grid:
    """The grid of a NIfTI image, from its header alone.

    Raises
    ------
    InputError
        When there is none.
    """
    try:
        image: Any = nib.load(path)
        return Grid(image.shape, np.asarray(image.affine, np.float64))
    except (OSError, EOFError, ValueError, GeometryError, nib.filebasedimages.ImageFileError) as error:
        raise InputError(f"a mask that cannot be read, {path} ({error})", "a 3D NIfTI image", "check the file") from None


def entities(path: Path) -> Mapping[str, str]:
    """BIDS entities of a file's name; what comes last is its ``suffix``."""
    *parts, suffix = path.name.split(".")[0].split("_")
    return {**dict(part.split("-", 1) for part in parts if "-" in part), "suffix": suffix}


def _images(folder: Path) -> list[Path]:
    return sorted(path for ending in ENDINGS for path in folder.rglob(ending))


def _key(path: Path) -> Key:
    named = entities(path)
    return named.get("sub", ""), named.get("ses", ""), named.get("label", "").lower()


def _by_key(paths: Iterable[Path], suffixes: tuple[str, ...]) -> dict[Key, list[Path]]:
    found: dict[Key, list[Path]] = {}
    for path in paths:
        key = _key(path)
        if all((key[0], key[2])) and entities(path)["suffix"] in suffixes:
            found.setdefault(key, []).append(path)
    return found


def _pair(name: str, prediction: Path, reference: Path) -> MaskPair:
    subject, session, label = _key(reference)
    return MaskPair(name, prediction, reference, label, subject, session)
