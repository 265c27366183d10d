"""Whole simulated sessions, written as a BIDS data set with true masks: for the demo, for tests, and for testing other tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from ..markers import Marker, Sequence
from ..volume import Grid, Mask, Transform, Volume, isotropic_grid, write_volume
from .acquisition import AcquisitionSettings, Protocol, acquire_signal, aim_sampling, draw_protocol, draw_sampling
from .anatomy import RIGHT_BIT, DeformSettings, Head, brain_box, brain_structure_mask, deform_head, load_head, map_brain
from .burden import Burden, BurdenSettings, draw_burden
from .images import draw_appearance, render_signal
from .lesion_maps import LesionMaps
from .lesions import draw_lesions
from .rating import Acquired, rate_lesions
from .sequences import ContrastSettings, draw_contrast
from .truth import record_path, shown_on, truth_path


@dataclass(frozen=True)
class SimulationSettings:
    """Everything that a simulated session is drawn from."""

    deform: DeformSettings = DeformSettings()
    burden: BurdenSettings = BurdenSettings()
    contrast: ContrastSettings = ContrastSettings(free_share=0.0)
    acquisition: AcquisitionSettings = AcquisitionSettings()
    movement_deg: float = 2.0
    """SD of the head's rotation about each axis between sequences."""
    movement_mm: float = 1.5
    """SD of its shift along each axis between sequences."""
    tilt_deg: float = 6.0
    """SD of the tilt of the scanner's axes against the world's, about each axis."""


@dataclass(frozen=True)
class SimulatedSession:
    """Images and truth of one simulated session. Simulated, never real.

    Attributes
    ----------
    images : mapping of Sequence to Volume
        Each on its own grid.
    truth : mapping of Marker to Mask
        What a rater would draw, on the 1 mm grid over the field of view of the reference image (the first sequence present), on which
        the pipeline works too: half a voxel between two grids would cost small lesions a quarter of their Dice. Only for markers
        whose sequence is present.
    truth_from_fewer : mapping of (Marker, tuple of Sequence) to Mask
        The same, had the rater only some of the sequences on which the marker is seen.
    burden : Burden
    protocols : mapping of Sequence to Protocol
    reference_from_sequence : mapping of Sequence to Transform
        How the head moved between the images: what a registration has to find. Truth lies in the world of the reference.
    """

    images: Mapping[Sequence, Volume]
    truth: Mapping[Marker, Mask]
    truth_from_fewer: Mapping[tuple[Marker, tuple[Sequence, ...]], Mask]
    burden: Burden
    protocols: Mapping[Sequence, Protocol]
    reference_from_sequence: Mapping[Sequence, Transform]


def _rigid(rotation_deg: NDArray[np.float64], shift_mm: NDArray[np.float64], about_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    matrix[:3, 3] = about_mm - matrix[:3, :3] @ about_mm + shift_mm
    return matrix


def _embed(maps: LesionMaps, box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> LesionMaps:
    def widen(part: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = np.zeros(shape, np.float32)
        whole[box] = part
        return whole

    parts = {f.name: widen(getattr(maps, f.name)) for f in fields(maps) if f.name not in ("fraction", "uneven_alone", "counts")}
    return LesionMaps(
        fraction={marker: widen(part) for marker, part in maps.fraction.items()},
        uneven_alone={sequence: widen(part) for sequence, part in maps.uneven_alone.items()},
        **parts,
        counts=maps.counts,
    )


def simulate_session(
    head: Head,
    seed: tuple[int, ...],
    sequences: tuple[Sequence, ...] = tuple(Sequence),
    settings: SimulationSettings = SimulationSettings(),
    protocols: Mapping[Sequence, Protocol] | None = None,
    burden: Burden | None = None,
) -> SimulatedSession:
    """Simulate one session on a head.

    Parameters
    ----------
    head : Head
        Deformed already, see :func:`smallvessel.simulate.anatomy.deform_head`.
    seed : tuple of int
        Same seed, same session.
    sequences : tuple of Sequence
        Those present; the first is the reference.
    settings : SimulationSettings
    protocols, burden : optional
        Given instead of drawn.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    low = int(np.flatnonzero(brain_structure_mask(head.tissues[::2, ::2]).any((0, 1)))[0])
    codes = head.codes[:, :, max(low - int(rng.uniform(5, 50)), 0) :]
    head = Head(np.ascontiguousarray(codes))
    brain = map_brain(head)
    burden = burden or draw_burden(rng, settings.burden)
    maps = _embed(draw_lesions(brain, burden, rng), brain_box(head.tissues), head.codes.shape)
    appearance = draw_appearance(rng)
    shape = head.codes.shape
    middle = (np.array(shape) - 1) / 2
    world_from_head = _rigid(rng.normal(0, settings.tilt_deg, 3), rng.uniform(-25, 25, 3) - middle, middle)
    whole = tuple(np.arange(n, dtype=np.float64) for n in shape)
    images, taken, movements = {}, {}, {}
    for sequence in sequences:
        is_reference = sequence == sequences[0]
        contrast = draw_contrast(sequence, rng, settings.contrast)
        # positions are simulated by moving the head, so registration error is not added on top
        protocol = (protocols or {}).get(sequence) or draw_protocol(sequence, rng, settings.acquisition, is_reference=True)
        sampling = draw_sampling(protocol, shape, whole, rng, settings.acquisition.label_blur_mm)  # type: ignore[arg-type]
        signal = moved = render_signal(head.codes & np.uint8(RIGHT_BIT - 1), maps, contrast, appearance)
        movements[sequence] = Transform.identity()
        if not is_reference:
            moved_from_head = _rigid(rng.normal(0, settings.movement_deg, 3), rng.normal(0, settings.movement_mm, 3), middle)
            head_from_moved = np.linalg.inv(moved_from_head)
            moved = torch.from_numpy(ndimage.affine_transform(signal.numpy(), head_from_moved[:3, :3], head_from_moved[:3, 3], order=1))
            movements[sequence] = Transform(world_from_head @ head_from_moved @ np.linalg.inv(world_from_head))
        native = acquire_signal(moved, protocol, sampling, generator).numpy()
        steps = np.diag([*protocol.spacing_mm, 1.0])
        steps[:3, 3] = [centres[0] for centres in sampling.centres_mm]
        images[sequence] = Volume(
            np.asarray(native * 400, np.float32), Grid((native.shape[0], native.shape[1], native.shape[2]), world_from_head @ steps)
        )
        taken[sequence] = Acquired(contrast, protocol, sampling, signal)
    grid = isotropic_grid(images[sequences[0]].grid, 1.0)
    origin_mm = (np.linalg.inv(world_from_head) @ grid.affine)[:3, 3]
    targets_mm = tuple(start + np.arange(n, dtype=np.float64) for start, n in zip(origin_mm, grid.shape, strict=True))
    aimed = {sequence: replace(part, sampling=aim_sampling(part.sampling, part.protocol, targets_mm)) for sequence, part in taken.items()}
    truth: dict[Marker, Mask] = {}
    fewer: dict[tuple[Marker, tuple[Sequence, ...]], Mask] = {}
    for marker in Marker:
        for shown in shown_on(marker, aimed):
            rating = rate_lesions(maps, marker, appearance, {sequence: aimed[sequence] for sequence in shown})
            if rating is not None:
                truth[marker] = fewer[marker, shown] = Mask(rating[0].numpy(), grid)
    fewer = {key: mask for key, mask in fewer.items() if mask is not truth[key[0]]}
    return SimulatedSession(images, truth, fewer, burden, {sequence: part.protocol for sequence, part in taken.items()}, movements)


def write_simulated_session(session: SimulatedSession, out: Path, subject: str, levels: float = 1.0) -> None:
    """Write images as BIDS, and truth under ``derivatives/truth``.

    Parameters
    ----------
    levels : float
        Intensities are rounded to multiples of this, which makes files smaller.
    """
    import nibabel as nib

    folder = out / f"sub-{subject}" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    for sequence, image in session.images.items():
        data = np.clip(np.rint(image.data / levels) * levels, 0, 32767).astype(np.int16)
        nib.save(nib.Nifti1Image(data, image.grid.affine), folder / f"sub-{subject}_{sequence}.nii.gz")
    for marker, mask in session.truth.items():
        write_volume(truth_path(out, subject, marker), mask)
    for (marker, shown), mask in session.truth_from_fewer.items():
        write_volume(truth_path(out, subject, marker, shown), mask)
    protocols = {str(sequence): {**asdict(protocol), "sequence": str(sequence)} for sequence, protocol in session.protocols.items()}
    movements = {str(sequence): movement.matrix.tolist() for sequence, movement in session.reference_from_sequence.items()}
    record = {"Simulated": True, "Burden": asdict(session.burden), "Protocols": protocols, "ReferenceFromSequence": movements}
    record_path(out, subject).write_text(json.dumps(record, indent=1) + "\n")


def simulate_dataset(
    label_maps: tuple[Path, ...],
    out: Path,
    sessions: int,
    seed: int,
    sequences: tuple[Sequence, ...] = tuple(Sequence),
    settings: SimulationSettings = SimulationSettings(),
) -> None:
    """Simulate sessions on label maps in turn, each freshly deformed; sessions that are there already are kept.

    Raises
    ------
    InputError
        When there is no label map.
    """
    if not label_maps:
        raise InputError("no label map", "at least one NIfTI with FreeSurfer codes", "give their folder with --label-maps")
    out.mkdir(parents=True, exist_ok=True)
    description = {"Name": "Simulated by smallvessel, not real patients", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    (out / "dataset_description.json").write_text(json.dumps(description, indent=1) + "\n")
    (out / ".bidsignore").write_text("derivatives/\n*_SWI.nii.gz\n")
    for index in range(sessions):
        path = label_maps[index % len(label_maps)]
        subject = f"sim{index:03d}"
        if record_path(out, subject).exists():
            continue
        head = deform_head(load_head(path), np.random.default_rng((seed, index)), settings.deform)
        write_simulated_session(simulate_session(head, (seed, index, 1), sequences, settings), out, subject)
