"""Training: seeded, resumable after any kill, one command on CPU or GPU."""

from __future__ import annotations

import csv
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Sampler

from ..errors import InputError
from .curves import draw_curves
from .export import read_weights
from .network import UNet, UNetSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained."""

    steps: int
    """Optimiser steps in all."""
    learning_rate: float = 2e-3
    fall_share: float = 2 / 3
    """Share of the steps, at the end, over which the learning rate falls linearly. Up to round 9 it was a third; at the full rate the
    loss of a network that was trained before did not fall any more."""
    warm_up_steps: int = 60
    weight_decay: float = 1e-4
    average_decay: float = 0.998
    """Of the exponential moving average of the weights, which is what is exported."""
    settle_share: float = 0.25
    """Share of the steps, at the end, in which batch normalisation keeps its running statistics: the weights then learn on
    what is used later. Batches of two patches with other contrasts have statistics of their own, and a network that leans
    on them fails in use."""
    seed: int = 0
    checkpoint_s: float = 120.0
    """Seconds between checkpoints."""
    workers: int = 1
    """Processes that make batches."""


class Batches(Protocol):
    """Numbered batches: the same number gives the same batch."""

    def __getitem__(self, number: int) -> tuple[torch.Tensor, ...]: ...


LossFunction = Callable[..., torch.Tensor]


class _Numbers(Sampler[int]):
    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16 by itself: a step then takes half the time. Where it is emulated it takes longer."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))  # not in every version
    return any(check() for check in checks if check is not None)


def _use_one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Warm-up, plateau, linear fall."""
    warm = min(1.0, (step + 1) / settings.warm_up_steps)
    left = (settings.steps - step) / max(settings.steps * settings.fall_share, 1)
    return settings.learning_rate * warm * min(1.0, max(left, 0.005))


def train_network(
    network: UNetSettings,
    batches: Batches,
    loss: LossFunction,
    folder: Path,
    settings: TrainSettings,
    device: str = "cpu",
    init: Path | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> UNet:
    """Train, or go on from the checkpoint in ``folder``.

    Parameters
    ----------
    network : UNetSettings
    batches : Batches
        Batch ``n`` depends on ``n`` alone, so a resumed training sees what it would have seen.
    loss : callable
        Of the logits, the rest of the batch and ``progress``, the share of the training that is done.
    folder : Path
        Holds ``checkpoint.pt``, ``losses.csv`` and a picture of it, ``losses.svg``.
    settings : TrainSettings
    device : str
        "cpu" or "cuda".
    init : Path, optional
        An exported network (ONNX) whose weights are the start.
    on_step : callable, optional
        Told the step and its loss.

    Returns
    -------
    UNet
        With the averaged weights, in evaluation mode.
    """
    torch.manual_seed(settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    model = UNet(network).to(device)
    model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = UNet(network).to(device)
    average.load_state_dict(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    checkpoint = folder / "checkpoint.pt"
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["network"] != {**asdict(network), "widths": list(network.widths)}:
            raise InputError(f"{checkpoint} of another network {state['network']}", f"{network}", "give another --folder, or delete it")
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        start = int(state["step"])
    elif init is not None:
        weights = read_weights(init)
        for start_from in (model, average):
            _start_from(start_from, weights, init)

    def save(step: int) -> None:
        state = {
            "step": step,
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "network": {**asdict(network), "widths": list(network.widths)},
        }
        torch.save(state, checkpoint.with_suffix(".tmp"))
        os.replace(checkpoint.with_suffix(".tmp"), checkpoint)

    loader: DataLoader[Any] = DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        sampler=_Numbers(start, settings.steps),
        num_workers=settings.workers,
        prefetch_factor=6 if settings.workers else None,
        worker_init_fn=_use_one_thread,
    )
    kind = torch.device(device).type
    autocast = torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda" or _has_bfloat16())
    saved_at = time.monotonic()
    rows: list[tuple[int, float, float, float]] = []
    model.train()
    for step, batch in enumerate(loader, start):
        image, *target = (part.to(device) for part in batch)
        if step >= settings.steps * (1 - settings.settle_share):
            settle_normalisation(model)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings)
        optimiser.zero_grad(set_to_none=True)
        with autocast:
            logits = model(image.contiguous(memory_format=torch.channels_last_3d))
        value = loss(logits.float(), *target, progress=step / settings.steps)
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        _average(average, model, min(settings.average_decay, (step + 1) / (step + 10)))
        rows.append((step + 1, float(value.detach()), learning_rate(step, settings), time.time()))
        if on_step is not None:
            on_step(step + 1, rows[-1][1])
        if time.monotonic() - saved_at > settings.checkpoint_s or step + 1 == settings.steps:
            save(step + 1)
            _write_rows(folder / "losses.csv", rows)
            draw_curves(folder / "losses.csv")
            rows, saved_at = [], time.monotonic()
    return average.eval()


def _start_from(model: UNet, weights: dict[str, torch.Tensor], source: Path) -> None:
    """Take over the weights that fit by name and shape; a network whose outer layers were changed learns only those anew."""
    own = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if sum(value.numel() for value in fitting.values()) < 0.5 * sum(value.numel() for value in own.values()):
        raise InputError(
            f"{source} with {len(fitting)} of {len(own)} parts that fit the network",
            "at least half of its weights",
            "give weights of the same network to --init",
        )
    new = sorted({name.rsplit(".", 1)[0] for name in own.keys() - fitting.keys()})
    if new:
        log.warning("%s has no weights for %s: they start anew", source.name, ", ".join(new))
    model.load_state_dict(fitting, strict=False)


def settle_normalisation(model: UNet) -> None:
    """Let every batch normalisation use its running statistics, and keep them."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.eval()


@torch.no_grad()
def _average(average: UNet, model: UNet, decay: float) -> None:
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _write_rows(path: Path, rows: list[tuple[int, float, float, float]]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("step", "loss", "learning_rate", "time"))
        writer.writerows(rows)


def load_average(folder: Path, device: str = "cpu") -> tuple[UNet, int]:
    """The averaged network of a checkpoint folder, in evaluation mode, and its step.

    Raises
    ------
    InputError
        When the folder holds no checkpoint.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        raise InputError(f"no checkpoint in {folder}", "a folder in which a training was begun", "train first")
    state = torch.load(path, map_location=device, weights_only=True)
    shape = state["network"]
    model = UNet(UNetSettings(**{**shape, "widths": tuple(shape["widths"])})).to(device)
    model.load_state_dict(state["average"])
    return model.eval(), int(state["step"])
