#!/usr/bin/env python3
"""What the network's form and three parts of the simulator are worth: trainings that differ in one thing, from the same start.

Forms of the network are trained for equal time, changes of the simulator for equal steps. Every variant is then measured on the same
patches of head 13 from the whole simulator, with four sequences, and on the real cases with references, at the probability that was best
on the patches. Short trainings: differences count, not levels.

    python benchmarks/variants.py --label-maps LABELMAPS --folder runs/variants --init START.onnx [--steps 800] [--data ../shared/data]

Each variant has its own folder and goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit

from machine import describe_machine, machine_markdown, markdown_table, write_result
from smallvessel.intake.bids import find_sessions
from smallvessel.intake.sequences import load_session
from smallvessel.learn.calibrate import predict_patches
from smallvessel.learn.heads import is_training_head, store_heads
from smallvessel.learn.losses import late_marker_loss
from smallvessel.learn.marker_samples import MarkerSamples, PresenceSettings
from smallvessel.learn.network import UNet, UNetSettings
from smallvessel.learn.recipes import (
    MARKER_PATCH,
    NETWORKS,
    TRAINING_ACQUISITION,
    TRAINING_BURDEN,
    WARM_LEARNING_RATE,
    find_label_maps,
    validation_heads,
)
from smallvessel.learn.train import TrainSettings, load_average, train_network
from smallvessel.markers import Marker, Sequence
from smallvessel.models import padded_shape
from smallvessel.prepare import prepare_session
from smallvessel.records import Prepared
from smallvessel.segment.predict import predict_probabilities
from smallvessel.simulate.images import Appearance, draw_appearance
from smallvessel.simulate.sequences import ContrastSettings
from smallvessel.volume import Mask, Volume, read_mask, resample

ROOT = Path(__file__).resolve().parent.parent
TRIALS = 6
"""Steps for the time per step, after two that warm up."""
PROBABILITIES = tuple(np.round(np.arange(0.05, 1.0, 0.05), 2))
SEED = 7


@dataclass(frozen=True)
class Variant:
    """One training: what differs from the way the shipped network is trained."""

    name: str
    network: UNetSettings = NETWORKS["markers"]
    samples: Mapping[str, Any] = field(default_factory=dict)


def draw_even_appearance(rng: np.random.Generator) -> Appearance:
    """Healthy tissue without dirty white matter, bright tracts and unevenness."""
    drawn = draw_appearance(rng)
    nothing = dict.fromkeys(drawn.faint, 0.0)
    return replace(drawn, faint=nothing, uneven=nothing, uneven_alone=nothing)


PLAIN = dict.fromkeys(Sequence, (1.0, 1.0))
VARIANTS = (
    Variant("as shipped"),
    Variant("network without convolutions on the full grid", network=replace(NETWORKS["markers"], fine=0)),
    Variant("simulator without mimics of WMH and uneven tissue", samples={"appear": draw_even_appearance}),
    Variant("simulator with 3D acquisitions only", samples={"acquisition": replace(TRAINING_ACQUISITION, volumetric_share=1.0)}),
    Variant(
        "simulator with contrasts as the equations give them",
        samples={"contrast": ContrastSettings(free_share=0.03, contrast_power=PLAIN, fluid_power=PLAIN, brain_jitter=0.05)},
    ),
)


def seconds_per_step(network: UNetSettings) -> float:
    """Median time of a step on a batch of noise, without the making of batches."""
    model = UNet(network).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    image = torch.rand(2, network.inputs, *(MARKER_PATCH,) * 3).contiguous(memory_format=torch.channels_last_3d)
    times = []
    for _ in range(TRIALS + 2):
        start = time.perf_counter()
        torch.autograd.backward(model(image).square().mean())
        times.append(time.perf_counter() - start)
    return float(np.median(times[2:]))


def train_variant(variant: Variant, label_maps: Path, folder: Path, init: Path, steps: int, per_head: int) -> UNet:
    """Train one variant, or go on where it stopped."""
    maps = tuple(path for path in find_label_maps(label_maps) if is_training_head(path))
    heads = store_heads(maps, folder.parent / "heads", per_head, SEED)
    samples = replace(
        MarkerSamples(heads, MARKER_PATCH, SEED, burden=TRAINING_BURDEN, acquisition=TRAINING_ACQUISITION, easy=0), **variant.samples
    )
    settings = TrainSettings(steps=steps, seed=SEED, learning_rate=WARM_LEARNING_RATE)
    train_network(variant.network, samples, late_marker_loss, folder, settings, init=init)
    return load_average(folder)[0]


def best_on_patches(model: UNet, samples: MarkerSamples, patches: int) -> dict[Marker, tuple[float, float]]:
    """Per marker the probability with the largest Dice over all voxels of the patches, and that Dice."""
    common = np.zeros((len(PROBABILITIES), len(Marker)))
    total = np.zeros_like(common)
    for logits, label, known in predict_patches(model, samples, patches):
        for row, probability in enumerate(PROBABILITIES):
            drawn = (logits > logit(probability)) & known
            common[row] += (drawn & label).sum((1, 2, 3))
            total[row] += drawn.sum((1, 2, 3)) + (label & known).sum((1, 2, 3))
    dice = 2 * common / np.maximum(total, 1)
    return {marker: (float(PROBABILITIES[int(dice[:, i].argmax())]), float(dice[:, i].max())) for i, marker in enumerate(Marker)}


def real_dice(model: UNet, cases: Iterable[tuple[Prepared, Mask]], probability: float) -> list[float]:
    """WMH Dice on real cases, without the rules of plausibility."""

    @torch.no_grad()
    def forward(channels: NDArray[np.float32]) -> NDArray[np.float32]:
        within = tuple(slice(size) for size in channels.shape)
        padded = np.zeros((channels.shape[0], *padded_shape(channels.shape[1:])), np.float32)
        padded[within] = channels
        return np.asarray(model(torch.from_numpy(padded)[None])[0].numpy()[(slice(None), *within[1:])], np.float32)

    found = []
    for prepared, truth in cases:
        chance = predict_probabilities(prepared, forward, dict.fromkeys(map(str, Marker), 1.0))[Marker.WMH]
        drawn = resample(Volume(chance, prepared.grid), truth.grid).data >= probability
        found.append(2 * float((drawn & truth.data).sum()) / max(float(drawn.sum() + truth.data.sum()), 1))
    return found


def load_real_cases(data: Path) -> dict[str, tuple[Prepared, Mask]]:
    """The real cases that have a manual WMH mask, prepared."""
    cases = {}
    for source in find_sessions(data):
        (manual,) = (data / "derivatives" / "manual").rglob(f"{source.id}*_label-WMH_mask.nii.gz")
        cases[str(source.id)] = prepare_session(load_session(source)), read_mask(manual)
    return cases


def main() -> None:
    """Train every variant, measure it, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label-maps", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True, help="exported network from which all start")
    parser.add_argument("--steps", type=int, default=800, help="of the first variant; other forms of the network get its time")
    parser.add_argument("--per-head", type=int, default=2)
    parser.add_argument("--patches", type=int, default=96)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "wmh-labelled-bids")
    options = parser.parse_args()
    machine = describe_machine()
    heads = validation_heads(options.label_maps, options.folder / "any", 4, 1)
    samples = MarkerSamples(heads, MARKER_PATCH, SEED + 1, batch=1, uses=1, easy=0, presence=PresenceSettings(all_share=1.0))
    cases = load_real_cases(options.data)
    base_s = seconds_per_step(VARIANTS[0].network)
    rows, records = [], []
    for number, variant in enumerate(VARIANTS):
        each_s = base_s if variant.network == VARIANTS[0].network else seconds_per_step(variant.network)
        steps = round(options.steps * base_s / each_s)
        model = train_variant(variant, options.label_maps, options.folder / f"variant-{number}", options.init, steps, options.per_head)
        best = best_on_patches(model, samples, options.patches)
        real = dict(zip(cases, real_dice(model, cases.values(), best[Marker.WMH][0]), strict=True))
        rows.append(
            (variant.name, str(steps), *(f"{best[marker][1]:.3f}" for marker in Marker), *(f"{value:.3f}" for value in real.values()))
        )
        records.append(
            {
                "variant": variant.name,
                "steps": steps,
                "simulated_dice": {str(marker): round(best[marker][1], 4) for marker in Marker},
                "probability": {str(marker): best[marker][0] for marker in Marker},
                "real_wmh_dice": {case: round(value, 4) for case, value in real.items()},
            }
        )
        print(rows[-1], flush=True)
    header = ("variant", "steps", *(f"{marker}, simulated" for marker in Marker), *(f"WMH, {case}" for case in cases))
    markdown = (
        "# Variants of the network and of the simulator\n\n"
        f"Each trained from the same start ({options.init.name}); steps of the other form of the network make up for its speed. Dice over "
        f"all voxels of {options.patches} **simulated** patches of head 13 at the best probability of each variant, and on **real** cases "
        f"(n = {len(cases)}) at the probability that was best on the patches.\n\n"
        f"{markdown_table(header, rows)}\n{machine_markdown(machine)}"
    )
    write_result("variants", markdown, {"start": options.init.name, "rows": records, "machine": machine})


if __name__ == "__main__":
    main()
