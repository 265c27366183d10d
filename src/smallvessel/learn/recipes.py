"""The two trainings as the command line runs them, from label maps to ONNX and card."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import combinations, cycle, repeat
from multiprocessing import get_context
from pathlib import Path

from .. import __version__
from ..errors import InputError
from ..intake.bids import find_sessions
from ..intake.sequences import load_session
from ..markers import Marker, Sequence
from ..models import ModelCard, ModelName, Network, write_card
from ..prepare import prepare_session
from ..records import Prepared, SessionSource
from ..segment.predict import with_mirror_image
from ..simulate.acquisition import AcquisitionSettings
from ..simulate.burden import BurdenSettings
from ..simulate.session import simulate_dataset
from ..simulate.truth import find_truth
from ..structures import Structure
from ..volume import Mask, read_mask
from .anatomy_samples import AnatomySamples
from .calibrate import KnownSession, Table, calibrate, choose_points, predict_patches, shift_logits, tabulate
from .expect import expect_errors
from .export import compare_export, export_onnx, round_weights
from .heads import VALIDATION_HEADS, StoredHead, is_training_head, store_heads
from .losses import anatomy_loss, late_marker_loss, marker_loss
from .marker_samples import EASY_PATCHES, MarkerSamples
from .network import UNetSettings
from .train import TrainSettings, load_average, train_network

NETWORKS: dict[ModelName, UNetSettings] = {
    "anatomy": UNetSettings(inputs=1, outputs=len(Structure) + 1, widths=(32, 64, 96, 128), gate=64, blank_zeros=False),
    "markers": UNetSettings(
        inputs=2 * len(Sequence), outputs=len(Marker), widths=(32, 48, 96, 128), head_bias=-2.5, flags=len(Sequence), gate=96, fine=16
    ),
}
QUICK_NETWORKS: dict[ModelName, UNetSettings] = {
    name: replace(settings, widths=(16, 24, 48, 64), gate=settings.gate // 2, fine=settings.fine // 2)
    for name, settings in NETWORKS.items()
}
STEPS = 20_000
QUICK_STEPS = 1400
QUICK_HEADS = 4
QUICK_PATCHES = 24
QUICK_SESSIONS = 3
"""A quick training is the whole way from label maps to a network with its card, on two cores in a quarter of an hour: to see that
everything works, or to try an idea. What it finds is no measure of what a long training finds."""
LEARNING_RATE = 2e-3
WARM_LEARNING_RATE = 1e-3
"""Of a training from trained weights: in round 10 the loss lay a fifth higher at the full rate than where it came when the rate fell."""
ANATOMY_PATCH = (64, 80, 64)
MARKER_PATCH = 64
TRAINING_BURDEN = BurdenSettings(
    none_share=0.2,
    rim_mm=(0.1, 7.0),
    deep_wmh_per_l=(15.0, 400.0),
    pontine_share=0.4,
    lacunes_per_l=(15.0, 200.0),
    epvs_nuclei_per_l=(40.0, 1200.0),
    epvs_white_per_l=(40.0, 700.0),
    cmb_per_l=(15.0, 150.0),
    old_lesion_share=0.25,
)
"""Many more small lesions than in patients, so that a patch seldom teaches nothing; thresholds are chosen on usual burdens."""
TRAINING_ACQUISITION = AcquisitionSettings(in_plane_mm=(0.45, 1.45), noise=(0.02, 0.13), bias_sd=(0.0, 0.15))
"""Wider voxels, more noise and field than usual: on a scanner a quarter beyond the usual ranges round 13 invented 45 perivascular spaces
per patient. Thresholds are chosen on usual acquisitions."""
CALIBRATION_PATCHES = 120
"""Of validation heads, for the temperatures."""
CALIBRATION_SESSIONS = 24
"""Of validation heads, for the operating points."""
USUAL_SUBSET = frozenset((Sequence.FLAIR, Sequence.T1W))
OTHER_SUBSETS = tuple(
    subset for size in range(1, len(Sequence)) for subset in map(frozenset, combinations(Sequence, size)) if subset != USUAL_SUBSET
)
"""With these each calibration session is measured too, one for each session: one operating point serves all subsets."""
USABLE_DICE = 0.25
"""A marker found worse than this on validation sessions gets no threshold: it is then not assessed, not counted as none. Own choice."""
STARTED = "started.json"
"""Beside a checkpoint: the command, the commit and the start of the training, and with which other commands or commits it went on."""
EXPORT_TOLERANCE = 1e-2
"""Largest difference of logits between the trained network and the exported file."""
LIMITS: dict[ModelName, tuple[str, ...]] = {
    "anatomy": (
        "Trained on simulated images of 12 heads only; children, tumours and large strokes were not simulated.",
        "Structures were judged on simulated heads; on real scans only the brain mask was measured.",
    ),
    "markers": (
        "Trained on simulated images only. Lacunes, perivascular spaces and microbleeds were never measured on labelled real scans.",
        "Old infarcts and haemorrhages were simulated, never measured on real scans: look at what is found beside them, or mask them.",
        "Recent infarcts and haemorrhages, tumours and hydrocephalus were not simulated: exclude such patients, or mask the lesions.",
    ),
}


def name_of_network(text: str) -> ModelName:
    """The network that a word names.

    Raises
    ------
    InputError
        When it names none.
    """
    for name in NETWORKS:
        if text == name:
            return name
    raise InputError(f"no network named {text}", " or ".join(NETWORKS), "smallvessel train markers --label-maps ...")


def find_label_maps(folder: Path) -> tuple[Path, ...]:
    """Label maps in a folder, sorted.

    Raises
    ------
    InputError
        When there is none.
    """
    maps = tuple(sorted(folder.glob("*.nii.gz")))
    if not maps:
        raise InputError(f"no label map in {folder}", "head-01.nii.gz, head-02.nii.gz, ...", "give the folder with --label-maps")
    return maps


def train(
    name: ModelName,
    label_maps: Path,
    folder: Path,
    steps: int,
    seed: int,
    per_head: int,
    device: str = "cpu",
    init: Path | None = None,
    command: str = "",
    on_step: Callable[[int, float], None] | None = None,
    patch: int | None = None,
    quick: bool = False,
) -> None:
    """Train one of the two networks, or go on where it stopped.

    Parameters
    ----------
    name : {"anatomy", "markers"}
    label_maps : Path
        Folder of heads; those held out for validation and test are left out.
    folder : Path
        Checkpoints and losses; deformed heads are kept in ``heads`` beside it, shared by both networks.
    steps : int
        Optimiser steps in all.
    seed : int
    per_head : int
        Deformations of each head.
    init : Path, optional
        A trained network (ONNX) to start from; easy patches and the large weights of rare markers are then left out.
    command : str
        How the training was asked for, for the card; with the commit and the start's hash it is kept beside the checkpoint.
    patch : int, optional
        Edge of the patches in voxels instead of the usual one.
    quick : bool
        A small network from a few heads.
    """
    maps = tuple(path for path in find_label_maps(label_maps) if is_training_head(path))[: QUICK_HEADS if quick else None]
    network = (QUICK_NETWORKS if quick else NETWORKS)[name]
    _note_start(
        folder,
        {
            "command": command,
            "commit": _commit(),
            "seed": seed,
            "start_sha256": _sha256(init) if init else "none",
            "heads": [path.name.removesuffix(".nii.gz") for path in maps],
        },
    )
    heads = store_heads(maps, folder.parent / "heads", per_head, seed)
    settings = TrainSettings(steps=steps, seed=seed, learning_rate=LEARNING_RATE if init is None else WARM_LEARNING_RATE)
    if name == "anatomy":
        size = (patch, patch, patch) if patch else ANATOMY_PATCH
        train_network(network, AnatomySamples(heads, size, seed), anatomy_loss, folder, settings, device, init, on_step)
    else:
        easy, loss = (EASY_PATCHES, marker_loss) if init is None else (0, late_marker_loss)
        samples = MarkerSamples(heads, patch or MARKER_PATCH, seed, burden=TRAINING_BURDEN, acquisition=TRAINING_ACQUISITION, easy=easy)
        train_network(network, samples, loss, folder, settings, device, init, on_step)


def validation_heads(label_maps: Path, folder: Path, per_head: int, seed: int) -> tuple[StoredHead, ...]:
    """Deformed heads for temperatures: never trained on, never tested on."""
    return store_heads(_validation_maps(label_maps), folder.parent / "heads-validation", per_head, seed)


def tabulate_sessions(label_maps: Path, folder: Path, sessions: int, seed: int, card: ModelCard, weights: Path) -> list[Table]:
    """What every operating point makes of whole simulated sessions of the same heads, one process per core.

    Each session counts three times: with all its sequences, with FLAIR and T1w alone, and with another of the subsets in turn, each
    against what a rater would draw on these.
    """
    data = folder.parent / "sessions-validation"
    simulate_dataset(_validation_maps(label_maps), data, sessions, seed)
    sources = find_sessions(data)[:sessions]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), _use_one_core) as pool:
        views = pool.map(_tabulate_views, sources, cycle(OTHER_SUBSETS), repeat(data), repeat(card), repeat(weights))
        return [table for tables in views for table in tables]


def _use_one_core() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def _tabulate_views(source: SessionSource, subset: frozenset[Sequence], data: Path, card: ModelCard, weights: Path) -> list[Table]:
    prepared = prepare_session(load_session(source))
    fewer = (replace(prepared, images={s: image for s, image in prepared.images.items() if s in of}) for of in (USUAL_SUBSET, subset))
    network = with_mirror_image(Network(card, weights))
    return [tabulate(KnownSession(view, _truth_of(view, source, data)), network, card.temperature) for view in (prepared, *fewer)]


def _truth_of(view: Prepared, source: SessionSource, data: Path) -> dict[Marker, Mask]:
    paths = {marker: find_truth(data, source.id.subject, marker, view.images) for marker in Marker}
    return {marker: read_mask(path) for marker, path in paths.items() if path.exists()}


def _validation_maps(label_maps: Path) -> tuple[Path, ...]:
    return tuple(path for path in find_label_maps(label_maps) if path.name.startswith(VALIDATION_HEADS))


def _note_start(folder: Path, start: Mapping[str, object]) -> None:
    """Keep how a training began, and every other command or commit with which it went on."""
    path = folder / STARTED
    if path.exists():
        first = json.loads(path.read_text())
        now = {key: start[key] for key in ("command", "commit")}
        continued = first.get("continued", [])
        if now in [{key: first[key] for key in now}, *continued]:
            return
        start = {**first, "continued": [*continued, now]}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(start, indent=1) + "\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def export(name: ModelName, label_maps: Path, folder: Path, out: Path, seed: int, quick: bool = False) -> ModelCard:
    """Write a trained network as ONNX with its card; the markers network is calibrated on validation heads first.

    Parameters
    ----------
    out : Path
        Where ``NAME.onnx`` and ``NAME.card.json`` go.
    quick : bool
        Calibrate on few patches and sessions.

    Raises
    ------
    InputError
        When the exported file does not compute what the network does, or the folder does not say how the training began.
    """
    patches, sessions = (QUICK_PATCHES, QUICK_SESSIONS) if quick else (CALIBRATION_PATCHES, CALIBRATION_SESSIONS)
    if not (folder / STARTED).exists():
        raise InputError(f"no {STARTED} in {folder}", "a folder in which a training was begun", "train first")
    model, step = load_average(folder)
    round_weights(model)
    temperature: dict[str, float] = {}
    if name == "markers":
        samples = MarkerSamples(
            validation_heads(label_maps, folder, 1 if quick else 4, seed), MARKER_PATCH, seed + 1, batch=1, uses=1, easy=0
        )
        scales = calibrate(predict_patches(model, samples, patches))
        shift_logits(model, scales)
        temperature = {str(marker): scale.temperature for marker, scale in scales.items()}
    card = ModelCard(
        name=name,
        version=__version__,
        file=f"{name}.onnx",
        sha256=export_onnx(model, out / f"{name}.onnx"),
        spacing_mm=2.0 if name == "anatomy" else 1.0,
        inputs=("image",) if name == "anatomy" else (*map(str, Sequence), *(f"{sequence} present" for sequence in Sequence)),
        outputs=(*(s.name for s in Structure), "RIGHT") if name == "anatomy" else tuple(map(str, Marker)),
        thresholds={},
        temperature=temperature,
        training={
            **json.loads((folder / STARTED).read_text()),
            "steps": step,
            "commit of the export": _commit(),
            "platform": platform.machine(),
            "data": "simulated images of deformed heads; the shipped networks': SynthSeg's training label maps (Apache-2.0)",
            "held out": "head 13 for thresholds, heads 14 to 16 for tests",
        },
        results={},
        limits=LIMITS[name],
    )
    difference = compare_export(model, card, out)
    if difference > EXPORT_TOLERANCE:
        raise InputError(f"an exported network whose logits differ by {difference:.3g}", f"below {EXPORT_TOLERANCE}", "report this")
    if name == "markers":
        tables = tabulate_sessions(label_maps, folder, sessions, seed + 1, card, out)
        points = choose_points(tables)
        card = replace(
            card,
            thresholds={str(marker): asdict(point.threshold) for marker, point in points.items() if point.dice >= USABLE_DICE},
            errors={str(marker): asdict(errors) for marker, errors in expect_errors(tables, points).items()},
            results={
                str(marker): {
                    "data": f"{sessions} simulated sessions of head 13: four sequences, FLAIR and T1w, another subset in turn",
                    "mean_dice": round(point.dice, 3),
                    "lesion_f1": round(point.f1, 3),
                    "false_lesions_per_session": round(point.false_per_session, 3),
                    "lesion_free_sessions_positive": round(point.alarms, 3),
                }
                for marker, point in points.items()
            },
        )
    write_card(card, out)
    return card


def _commit() -> str:
    here = Path(__file__).parent
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
