"""From the accepted images of a session to aligned, bias-corrected images with anatomy on one analysis grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import numpy as np

from ..errors import InputError
from ..markers import Sequence
from ..models import load_network
from ..records import Anatomy, Native, Prepared, Session
from ..volume import Grid, Mask, Transform, Volume, canonical_grid, reorder_axes, resample
from .anatomy import (
    AnatomyNetwork,
    AnatomyProbability,
    AnatomyView,
    analysis_grid,
    decide_structures,
    find_anatomy,
    find_brain,
    find_intracranial,
    fuse_anatomy,
    make_consistent,
    suppress_islands,
    take_over_head,
)
from .atlas import find_lobes, register_to_mni
from .bias import correct_bias
from .checks import check_brain, check_image, check_registration
from .extracted import find_extracted_brain, trust_outline
from .register import SEED, Registration, one_thread, register_rigid

__all__ = ["prepare_session"]

Result = TypeVar("Result")

MIN_BRAIN_ML = 200.0
"""Less than this is not a brain that was found. Own choice."""


def prepare_session(session: Session) -> Prepared:
    """Bring a session onto the analysis grid: anatomy, bias correction, registration, lobes and quality checks.

    Parameters
    ----------
    session : Session
        At least one image.

    Raises
    ------
    InputError
        When no brain is found in an image.
    ModelError
        When the anatomy network's weights are missing or damaged.
    """
    return prepare_with(session, load_network("anatomy"))


def prepare_with(session: Session, network: AnatomyNetwork) -> Prepared:
    """As :func:`prepare_session`, with a given anatomy network."""
    reference = next(sequence for sequence in Sequence if sequence in session.images)
    files = {sequence: session.images[sequence].volume for sequence in Sequence if sequence in session.images}
    acquired = {sequence: reorder_axes(image, _settled_grid(image.grid)) for sequence, image in files.items()}
    found = {sequence: find_anatomy(image, network) for sequence, image in acquired.items()}
    outlines = {sequence: find_extracted_brain(image, found[sequence].grid) for sequence, image in acquired.items()}
    extracted = [sequence for sequence, outline in outlines.items() if outline is not None]
    found |= {sequence: trust_outline(found[sequence], outline) for sequence, outline in outlines.items() if outline is not None}
    brains = _of_each(acquired, lambda s: find_brain(found[s].head, acquired[s].grid))
    for sequence, brain in brains.items():
        _require_brain(sequence, brain)
    bias = _of_each(acquired, lambda s: correct_bias(acquired[s], brains[s]))
    corrected = {sequence: image for sequence, (image, _) in bias.items()}
    registrations = _of_each(
        [s for s in acquired if s is not reference],
        lambda s: register_rigid(corrected[reference], brains[reference], corrected[s], brains[s]),
    )
    to_reference = {reference: Transform.identity()} | {s: r.reference_from_native for s, r in registrations.items()}
    registration_checks = {s: check_registration(s, reference, r) for s, r in registrations.items()}
    trusted = [reference, *(s for s, check in registration_checks.items() if check.status != "fail")]

    fused = fuse_anatomy([AnatomyView(found[s], to_reference[s], _weight(acquired[s].grid)) for s in trusted])
    grid = analysis_grid(acquired[reference].grid, find_intracranial(fused.head, fused.grid))
    # one thread each, for all of the time: the number is SimpleITK's own, not a thread's
    with one_thread(), ThreadPoolExecutor(1) as beside:
        building = beside.submit(build_anatomy, suppress_islands(fused), grid)
        if len(trusted) > 1:
            heads = {s: take_over_head(found[s].head, fused.head, to_reference[s].inverse()) for s in trusted}
            brains |= _of_each(trusted, lambda s: find_brain(heads[s], acquired[s].grid))
        images = _of_each(acquired, lambda s: resample(corrected[s], grid, to_reference[s]))
        anatomy = building.result()
    native = {s: Native(image.grid, reorder_axes(brains[s], image.grid), to_reference[s]) for s, image in files.items()}
    image_checks = _of_each(
        acquired,
        lambda s: check_image(s, acquired[s], brains[s], resample(anatomy.structures, acquired[s].grid, to_reference[s].inverse())),
    )
    brain_checks = check_brain(anatomy.structures, anatomy.brain, anatomy.intracranial, anatomy.right)
    return Prepared(
        id=session.id,
        reference=reference,
        grid=grid,
        images=images,
        native=native,
        anatomy=anatomy,
        brain_extracted=reference in extracted,
        checks=(*registration_checks.values(), *chain.from_iterable(image_checks.values()), *brain_checks),
        steps=_describe(reference, acquired, extracted, {s: sd for s, (_, sd) in bias.items()}, registrations, trusted, grid),
    )


def _of_each(sequences: Iterable[Sequence], work: Callable[[Sequence], Result]) -> dict[Sequence, Result]:
    """Work on the sequences side by side. Each is worked on by a single thread, so that results do not depend on their order."""
    ordered = tuple(sequences)
    with one_thread(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return dict(zip(ordered, pool.map(work, ordered), strict=True))


def _settled_grid(stored: Grid) -> Grid:
    """One order of axes however a file was stored, its origin to a micrometre: headers in single precision move it by less."""
    grid = canonical_grid(stored)
    affine = np.array(grid.affine)
    affine[:3, 3] = np.round(affine[:3, 3], 3)
    return Grid(grid.shape, affine)


def build_anatomy(probability: AnatomyProbability, grid: Grid) -> Anatomy:
    """Structures, sides, masks and lobes on the analysis grid."""
    structures, right = decide_structures(probability, grid)
    brain = find_brain(probability.head, grid)
    intracranial = Mask(find_intracranial(probability.head, grid).data | brain.data, grid)
    structures = make_consistent(structures, brain, intracranial)
    mni_from_reference = register_to_mni(structures, brain)
    lobes = find_lobes(structures, brain, mni_from_reference)
    return Anatomy(structures, right, brain, intracranial, lobes, mni_from_reference)


def _require_brain(sequence: Sequence, brain: Mask) -> None:
    if brain.volume_ml < MIN_BRAIN_ML:
        raise InputError(
            f"{brain.volume_ml:.0f} mL of brain in the {sequence} image",
            f"a whole brain, at least {MIN_BRAIN_ML:.0f} mL",
            f"look at the {sequence} image and its header's orientation, or leave it out of the session",
        )


def _weight(grid: Grid) -> float:
    """An image with thinner slices knows more."""
    return 1.0 / float(grid.spacing_mm.max())


def _describe(
    reference: Sequence,
    acquired: Mapping[Sequence, Volume],
    extracted: list[Sequence],
    field_sd: Mapping[Sequence, float],
    registrations: Mapping[Sequence, Registration],
    trusted: list[Sequence],
    grid: Grid,
) -> tuple[str, ...]:
    """What was done, for the methods paragraph."""
    sizes = "; ".join(f"{s} {' x '.join(f'{mm:.2f}' for mm in image.grid.spacing_mm)} mm" for s, image in acquired.items())
    steps = [
        f"The session had {len(acquired)} sequence{'s' if len(acquired) > 1 else ''} ({sizes}); {reference} was the reference image.",
        "The structures of the head were segmented on each image at 2 mm by a contrast-agnostic convolutional network, and a brain "
        "mask was made of them on each native grid.",
    ]
    if extracted:
        steps.append(f"Images without a skull were recognised as brain-extracted, and their outline was kept: {', '.join(extracted)}.")
    spread = ", ".join(f"{s} {sd:.2f}" for s, sd in field_sd.items())
    steps.append(
        "Intensity non-uniformity was corrected with N4 inside the brain mask, estimated on voxels of about 8 mm "
        f"(standard deviation of the log field: {spread})."
    )
    for sequence, registration in registrations.items():
        how = {
            "nmi": "by Mattes mutual information at 2 mm (SimpleITK), then by normalised mutual information (Powell's method)",
            "mattes": "by Mattes mutual information at 2 mm (SimpleITK) alone, since the fine stage was not plausible",
            "start": "by headers or brain centres alone, since no registration improved on them",
        }[registration.stage]
        steps.append(f"{sequence} was registered rigidly to {reference} inside the brain mask {how}; random points had seed {SEED}.")
    steps.append(
        f"All images were interpolated once, linearly, onto a 1 mm isotropic grid of {' x '.join(map(str, grid.shape))} voxels "
        f"parallel to {reference}."
    )
    if len(trusted) > 1:
        steps.append(
            f"The structures' probabilities of {', '.join(trusted)} were averaged, weighted by the inverse of their slice distance, "
            "and the most probable structure was taken; the brain masks on the native grids were made of the same average."
        )
    steps.append(
        "Lobes came from the Desikan-Killiany atlas in MNI152 space through an affine registration of the segmented tissues to those "
        "of the ICBM 2009a template."
    )
    return tuple(steps)
