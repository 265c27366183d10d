"""Which prediction belongs to which reference: two files, files at the same places, or files of the same BIDS entities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
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

OF_THE_FILE = ("label", "space", "res", "den", "desc", "suffix")
"""Entities that tell files of one image apart; all others (run, acq, rec, ...) tell images apart."""

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
        """The subject by the file's name or else its folder, after the folders above it: two sites may have the same labels.

        Where neither names one, the file is a subject by itself.
        """
        folders = PurePosixPath(self.name).parts[:-1]
        at = next((at for at, part in enumerate(folders) if part.startswith("sub-")), len(folders))
        subject = self.subject or (folders[at].removeprefix("sub-") if at < len(folders) else "")
        above = [part for part in folders[:at] if not part.startswith("ses-")]
        return "/".join((*above, subject)) if subject else self.name


@dataclass(frozen=True)
class Pairing:
    """The pairs, and the references without a prediction."""

    pairs: tuple[MaskPair, ...]
    unpaired: tuple[Path, ...] = ()


def pair_masks(prediction: Path, reference: Path, probability: bool = False, of_run: bool = False) -> Pairing:
    """Find the prediction of every reference.

    Parameters
    ----------
    prediction, reference : Path
        Two files, or two folders; where one folder lies inside the other, its files are its own. Files of folders belong together when
        they have the same place in both, or else the same subject, session and ``label`` entities and no other image (run, acq, ...) in
        their names; in the layout of the WMH challenge ``result.nii.gz`` belongs to the ``wmh.nii.gz`` of the same sub-folder, and other
        images are left alone. Of several predictions the one is taken that shares most folders with the reference, then the one that
        has most of its entities, then one on its grid, then one with its ``space``, then one on the analysis grid, then a mask before a
        map of its lesions (``_dseg``).
    probability : bool
        Take ``_probseg`` files instead of masks.
    of_run : bool
        Take only what a run has written: files below folders ``sub-*`` with ``space-`` in their names.

    Raises
    ------
    InputError
        When one is a file and the other a folder, both are the same, nothing pairs, several predictions fit a reference equally well,
        or one prediction is that of two references.
    """
    if prediction.exists() and reference.exists() and prediction.samefile(reference):
        raise InputError(f"{prediction} twice", "a prediction and its reference", "give the masks that it is to be compared with")
    if reference.is_file() and prediction.is_file():
        return Pairing((_pair(prediction.name, prediction, reference),))
    if reference.is_file() or prediction.is_file():
        raise InputError(f"{prediction} and {reference}", "two files or two folders", "give the same kind twice")
    mine = [path for path in _images(prediction, reference) if not of_run or _is_of_run(path.relative_to(prediction))]
    theirs = _images(reference, prediction)
    found = _pair_as_challenge(prediction, mine, reference, theirs)
    if not found.pairs:
        found = _pair_by_place_or_name(prediction, mine, reference, theirs, probability)
    if not found.pairs:
        raise InputError(
            f"no mask of {reference} in {prediction}",
            "masks at the same places under both folders, or with the same sub-, ses- and label- in their names",
            "check the folders",
        )
    claimed: dict[Path, Path] = {}
    for pair in found.pairs:
        if (other := claimed.setdefault(pair.prediction, pair.reference)) != pair.reference:
            raise InputError(
                f"one prediction, {pair.prediction}, for two references: {other} and {pair.reference}",
                "one reference for each prediction, or that scan would count twice",
                "give one rater at a time, or a consensus of them; or name runs and acquisitions, or sites' folders, alike on both sides",
            )
    return found


def _pair_as_challenge(prediction: Path, mine: Sequence[Path], reference: Path, theirs: Sequence[Path]) -> Pairing:
    """Pairs in the layout of the WMH challenge; none where the folders have another."""
    own, pairs, unpaired = set(mine), [], []
    for path in theirs:
        if path.name not in CHALLENGE_REFERENCES:
            continue
        place = path.relative_to(reference)
        there = (prediction / place.parent / name for name in CHALLENGE_PREDICTIONS)
        if found := next((one for one in there if one in own), None):
            pairs.append(_pair(place.as_posix(), found, path))
        else:
            unpaired.append(path)
    return Pairing(tuple(pairs), tuple(unpaired))


def _pair_by_place_or_name(prediction: Path, mine: Sequence[Path], reference: Path, theirs: Sequence[Path], probability: bool) -> Pairing:
    own, pairs, unpaired = set(mine), [], []
    candidates = _by_key(mine, PROBABILITIES if probability else MASKS)
    for path in theirs:
        place = path.relative_to(reference)
        found: Path | None = prediction / place
        if probability or found not in own:
            found = _choose(candidates.get(_key(path), ()), prediction, path, reference)
        if found is None:
            unpaired.append(path)
        else:
            pairs.append(_pair(place.as_posix(), found, path))
    return Pairing(tuple(pairs), tuple(unpaired))


def _choose(candidates: Iterable[Path], prediction: Path, theirs: Path, reference: Path) -> Path | None:
    """Of several files of one marker the one to compare with a reference, as :func:`pair_masks` says; None where none fits."""
    wanted = entities(theirs)
    images = {name: value for name, value in wanted.items() if name not in OF_THE_FILE}
    fitting = [path for path in candidates if all(entities(path).get(name, value) == value for name, value in images.items())]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    grid, space, folders = read_grid(theirs), wanted.get("space"), set(theirs.relative_to(reference).parts[:-1])

    def rank(path: Path) -> tuple[int, int, bool, bool, bool, bool]:
        named = entities(path)
        shared = len(folders.intersection(path.relative_to(prediction).parts[:-1]))
        equal = sum(named.get(name) == value for name, value in wanted.items() if name in (*images, "desc"))
        elsewhere = space is not None and named.get("space") != space
        return -shared, -equal, not read_grid(path).same_as(grid), elsewhere, "res" not in named, named["suffix"] == "dseg"

    (best, first), (next_best, second), *_ = sorted((rank(path), path) for path in fitting)
    if best == next_best:
        raise InputError(
            f"two predictions of {theirs}, {first} and {second}, of which neither fits better",
            "one, or one that has more of the reference's name, folders or grid",
            "give the folder of one method, or name desc-, run- or acq- in the reference as in that prediction",
        )
    return first


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
    *parts, suffix = path.name.partition(".nii")[0].split("_")
    return {**dict(part.split("-", 1) for part in parts if "-" in part), "suffix": suffix}


def _images(folder: Path, other: Path) -> list[Path]:
    """The images below a folder, without those below the other folder where that lies inside it."""
    other = other.resolve()
    found = sorted(path for ending in ENDINGS for path in folder.rglob(ending))
    if not other.is_relative_to(folder.resolve()):
        return found
    return [path for path in found if not path.parent.resolve().is_relative_to(other)]


def _is_of_run(place: Path) -> bool:
    return place.parts[0].startswith("sub-") and len(place.parts) > 1 and "space" in entities(place)


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
    if prediction.samefile(reference):
        raise InputError(f"{prediction}, which is the same file as its reference {reference}", "two files", "give the prediction itself")
    subject, session, label = _key(reference)
    return MaskPair(name, prediction, reference, label, subject, session)
