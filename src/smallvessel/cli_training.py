"""The commands that simulate sessions and train the networks; they need torch, which is imported inside them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .console import err, say
from .errors import InputError

commands = typer.Typer()


@commands.command()
def train(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="anatomy or markers.")],
    label_maps: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of head label maps.")],
    folder: Annotated[Path, typer.Option(help="Checkpoints; a training that was stopped goes on from here.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps in all; 20,000 unless quick.")] = None,
    per_head: Annotated[int, typer.Option(min=1, help="Deformations of each head.")] = 6,
    seed: Annotated[int, typer.Option(help="Same seed, same training.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    init: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Exported network (.onnx) to start from.")] = None,
    export_to: Annotated[Path | None, typer.Option(help="Then write the ONNX file and its card here.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small network from four heads, in a quarter of an hour on two cores.")] = False,
) -> None:
    """Train one of the two networks on simulated images, or go on where it stopped."""
    _need_torch()
    from .learn.recipes import QUICK_STEPS, STEPS, export, name_of_network
    from .learn.recipes import train as run_training

    name = name_of_network(network)
    steps = steps or (QUICK_STEPS if quick else STEPS)
    per_head = 1 if quick else per_head
    command = f"smallvessel train {name} --steps {steps} --per-head {per_head} --seed {seed}"
    command += (f" --init {init.name}" if init else "") + (" --quick" if quick else "")
    with Progress(TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.3f}"), console=err) as progress:
        task = progress.add_task("", total=steps, loss=float("nan"))
        run_training(
            name,
            label_maps,
            folder,
            steps,
            seed,
            per_head,
            device,
            init,
            command,
            lambda step, loss: progress.update(task, completed=step, loss=loss),
            quick=quick,
        )
    if export_to is not None:
        say(f"Wrote {export_to / export(name, label_maps, folder, export_to, seed, quick).file}")


@commands.command()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A BIDS data set with true masks is written here.")],
    label_maps: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of head label maps.")],
    sessions: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same sessions.")] = 1,
    heads: Annotated[list[str] | None, typer.Option(help="Only label maps whose names begin so; may be repeated.")] = None,
) -> None:
    """Simulate sessions with known lesions: four sequences, exact masks. Simulated, never to be called real."""
    _need_torch()
    from .simulate.session import simulate_dataset

    found = tuple(sorted(path for path in label_maps.glob("*.nii.gz") if not heads or path.name.startswith(tuple(heads))))
    with err.status(f"simulating {sessions} sessions"):
        simulate_dataset(found, folder, sessions, seed)
    say(f"Simulated sessions: {folder}")


def _need_torch() -> None:
    if find_spec("torch") is None:
        raise InputError("no torch", "torch, which simulating and training need", "pip install 'smallvessel[train]'")
