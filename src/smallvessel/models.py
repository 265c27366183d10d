"""Weights: their cards, their hashes, and running them. The weights ship inside the package as ONNX."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .expected import ExpectedErrors
from .markers import Marker

WEIGHTS = Path(__file__).parent / "weights"
DOWNSAMPLING = 16
"""Network inputs are padded to multiples of this."""

ModelName = Literal["anatomy", "markers"]


@dataclass(frozen=True)
class ModelCard:
    """A network's card, as stored in ``weights/NAME.card.json``.

    Attributes
    ----------
    name : str
    version : str
    file : str
        ONNX file beside the card.
    sha256 : str
        Of that file.
    spacing_mm : float
        Cubic voxel size of the input.
    inputs, outputs : tuple of str
        Channel names in order.
    thresholds : mapping
        Markers network: per marker ``{"probability": p, "seed_probability": s, "min_volume_mm3": v}``.
    temperature : mapping
        Markers network: per marker the divisor of the logit that calibrates its probability.
    errors : mapping
        Markers network: per marker the fields of :class:`smallvessel.expected.ExpectedErrors`.
    training, results, limits
        Free-form, for people: command, commit, seed, data; figures with n and interval; what it was never tested on.
    """

    name: str
    version: str
    file: str
    sha256: str
    spacing_mm: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    thresholds: Mapping[str, Mapping[str, float]]
    temperature: Mapping[str, float]
    training: Mapping[str, Any]
    results: Mapping[str, Any]
    limits: tuple[str, ...]
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Version, hash of the weights and of what the card makes of their output: thresholds and temperatures.

        Expected errors are not in it: they change intervals, no mask, volume or number.
        """
        operating = json.dumps([self.thresholds, self.temperature], sort_keys=True, default=dict)
        digest = f" operating:{hashlib.sha256(operating.encode()).hexdigest()[:12]}" if self.thresholds else ""
        return f"{self.version} sha256:{self.sha256}{digest}"


def load_card(name: ModelName, folder: Path = WEIGHTS) -> ModelCard:
    """Read a model card.

    Raises
    ------
    ModelError
        When the card is missing or lacks a field.
    """
    path = folder / f"{name}.card.json"
    try:
        fields = json.loads(path.read_text())
        return ModelCard(**{**fields, **{key: tuple(fields[key]) for key in ("inputs", "outputs", "limits")}})
    except FileNotFoundError:
        raise ModelError(f"no model card at {path}", "the card that ships with the package", "reinstall smallvessel") from None
    except (TypeError, KeyError, ValueError) as error:
        raise ModelError(
            f"a model card that cannot be read, {path}: {error}", "every field of ModelCard", "reinstall smallvessel"
        ) from None


def write_card(card: ModelCard, folder: Path) -> Path:
    """Write a card beside its weights."""
    path = folder / f"{card.name}.card.json"
    path.write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n")
    return path


def expected_errors(card: ModelCard) -> dict[Marker, ExpectedErrors]:
    """What a card expects to be wrong, for the markers of which it knows."""
    return {Marker(name): ExpectedErrors(**fields) for name, fields in card.errors.items()}  # type: ignore[arg-type]


def describe_networks(models: Mapping[str, str]) -> str:
    """Networks, name to identity, as one line of text."""
    return "; ".join(f"{name} {identity}" for name, identity in models.items())


def parse_networks(text: str) -> dict[str, str]:
    """What :func:`describe_networks` wrote; empty for ``n/a`` and anything else that names no network."""
    parts = (part.strip().partition(" ") for part in text.split(";"))
    return {name: identity for name, space, identity in parts if space}


def padded_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The next multiples of 16."""
    x, y, z = (-(-n // DOWNSAMPLING) * DOWNSAMPLING for n in shape)
    return x, y, z


class Network:
    """A loaded network: OpenVINO on the CPU, compiled once per input shape, deterministic.

    Always in single precision: by default OpenVINO takes bfloat16 where the CPU has it, and results would depend on the kind of CPU
    (lesions at the edge of the operating point come and go; without matrix units it is slower as well).

    Raises
    ------
    ModelError
        When the weights do not have the card's SHA-256.
    """

    def __init__(self, card: ModelCard, folder: Path = WEIGHTS) -> None:
        self.card = card
        path = folder / card.file
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "no file"
        if found != card.sha256:
            raise ModelError(f"weights {path} with SHA-256 {found}", card.sha256, "reinstall smallvessel")
        import openvino as ov

        self._core = ov.Core()
        self._model = self._core.read_model(path)
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits for one input.

        Parameters
        ----------
        channels : ndarray, shape (channel, x, y, z)
            Any spatial shape; padded with zeros to multiples of 16 and cropped back.

        Returns
        -------
        ndarray, shape (output, x, y, z), float32
        """
        shape = channels.shape[1:]
        padded = np.zeros((1, channels.shape[0], *padded_shape(shape)), np.float32)
        padded[0, :, : shape[0], : shape[1], : shape[2]] = channels
        if padded.shape not in self._compiled:
            self._model.reshape(list(padded.shape))
            self._compiled = {padded.shape: self._core.compile_model(self._model, "CPU", _cpu_options())}
        logits = self._compiled[padded.shape](padded)[0][0]
        return np.ascontiguousarray(logits[:, : shape[0], : shape[1], : shape[2]])


def _cpu_options() -> dict[str, str]:
    threads = os.environ.get("OMP_NUM_THREADS", "")  # OpenVINO does not read it by itself
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        **({"INFERENCE_NUM_THREADS": threads} if threads.isdigit() else {}),
    }


@cache
def load_network(name: ModelName, folder: Path = WEIGHTS) -> Network:
    """A network by name, loaded once per process."""
    return Network(load_card(name, folder), folder)
