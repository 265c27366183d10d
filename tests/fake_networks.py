"""Networks that know the phantom head by heart, for tests of the pipeline without trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phantoms import head_structures, make_grid
from smallvessel.markers import Marker, Sequence
from smallvessel.models import ModelCard, ModelName
from smallvessel.structures import Structure

SURE = 12.0
"""A logit of near certainty."""
BRIGHT_WMH = 1.6
"""The fake markers network calls a voxel WMH when its FLAIR is this many times the brain's mean."""


def fake_card(name: ModelName, folder: Path | None = None) -> ModelCard:
    """A card with simple thresholds."""
    del folder
    outputs = tuple(Marker) if name == "markers" else (*(structure.name for structure in Structure), "right")
    inputs = (*Sequence, *(f"has {sequence}" for sequence in Sequence)) if name == "markers" else ("image",)
    return ModelCard(
        name=name,
        version="0.0-fake",
        file=f"{name}.onnx",
        sha256="0" * 64,
        spacing_mm=1.0 if name == "markers" else 2.0,
        inputs=tuple(inputs),
        outputs=tuple(str(output) for output in outputs),
        thresholds={marker: {"probability": 0.5, "min_volume_mm3": 5.0} for marker in Marker},
        temperature=dict.fromkeys(Marker, 1.0),
        training={},
        results={},
        limits=(),
    )


class FakeNetwork:
    """Either network: anatomy of the phantom head centred in the field of view, or bright spots on FLAIR."""

    def __init__(self, name: ModelName) -> None:
        self.card = fake_card(name)

    def __call__(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        return _find_structures(channels) if self.card.name == "anatomy" else _find_bright(channels)


def fake_network(name: ModelName, *_: Any) -> FakeNetwork:
    """In place of :func:`smallvessel.models.load_network`."""
    return FakeNetwork(name)


def _find_structures(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    x, y, z = channels.shape[1:]
    grid = make_grid((x, y, z), (2.0, 2.0, 2.0))
    codes = head_structures(grid).data
    structures = np.where(codes[None] == np.arange(len(Structure))[:, None, None, None], SURE, 0.0)
    right = np.broadcast_to(np.where(np.arange(x) > (x - 1) / 2, SURE, -SURE)[:, None, None], (x, y, z))
    return np.asarray(np.concatenate([structures, right[None]]), np.float32)


def _find_bright(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    logits = np.full((len(Marker), *channels.shape[1:]), -SURE, np.float32)
    logits[0][channels[0] > BRIGHT_WMH] = SURE
    return logits
