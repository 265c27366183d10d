"""The heads that training draws from: every label map deformed several times, kept on disk so that patches are read, not made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..simulate.anatomy import BrainMaps, deform_head, load_head, map_brain

TEST_HEADS = ("head-14", "head-15", "head-16")
"""Never trained on, never used for thresholds."""
VALIDATION_HEADS = ("head-13",)
"""Not trained on; thresholds, temperatures and early looks."""


@dataclass(frozen=True)
class StoredHead:
    """One deformed head on disk: the whole head's codes, and the brain's maps (see BrainMaps) as one array of shape (4, x, y, z)."""

    codes_file: Path
    brain_file: Path

    def codes(self) -> NDArray[np.uint8]:
        return np.asarray(np.load(self.codes_file, mmap_mode="r"))

    def brain(self) -> BrainMaps:
        return BrainMaps(*np.load(self.brain_file, mmap_mode="r"))


def is_training_head(path: Path) -> bool:
    """Whether a label map may be trained on."""
    return not path.name.startswith(TEST_HEADS + VALIDATION_HEADS)


def store_heads(label_maps: tuple[Path, ...], folder: Path, per_head: int, seed: int) -> tuple[StoredHead, ...]:
    """Deform each label map ``per_head`` times; what is on disk already is kept. Seeded per head and draw, so the order is free.

    Raises
    ------
    InputError
        When there is no label map.
    """
    if not label_maps:
        raise InputError("no label map", "label maps named head-NN.nii.gz", "give the folder with --label-maps")
    folder.mkdir(parents=True, exist_ok=True)
    stored = []
    for draw in range(per_head):
        for path in sorted(label_maps):
            stem = f"{path.name.split('.')[0]}_draw-{draw:02d}_seed-{seed}"
            head = StoredHead(folder / f"{stem}_codes.npy", folder / f"{stem}_brain.npy")
            if not head.brain_file.exists():
                number = int("".join(filter(str.isdigit, path.name.split(".")[0])) or 0)
                drawn = deform_head(load_head(path), np.random.default_rng((seed, number, draw)))
                maps = map_brain(drawn)
                _save(head.codes_file, drawn.codes)
                _save(head.brain_file, np.stack([maps.codes, maps.ventricle_mm, maps.surface_mm, maps.nuclei_mm]))
            stored.append(head)
    return tuple(stored)


def _save(path: Path, array: NDArray[np.uint8]) -> None:
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, array)
    os.replace(temporary, path)
