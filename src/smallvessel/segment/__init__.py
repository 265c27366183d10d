"""Segment the markers: the network's probabilities, made into lesions on the analysis grid and on the native grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..markers import MARKERS, Marker, Sequence
from ..models import ModelCard, expected_errors, load_network
from ..records import MarkerMap, NotAssessed, Prepared, Segmentation
from ..volume import LabelMap, Volume
from .native import bring_to_native
from .plausibility import EPVS_IN_WMH, FLAIR_BRIGHT, HYPERINTENSE_SD, WIDE_MM
from .predict import Forward, assessable, predict_probabilities, with_mirror_image
from .refine import CONFIDENCE_PERCENTILE, Refined, Threshold, refine_markers

__all__ = ["segment_markers", "segment_with"]

MIRRORED = "It saw the images and their mirror image, left for right, and the mean of its logits was taken."


def segment_markers(prepared: Prepared, markers: tuple[Marker, ...]) -> Segmentation:
    """Segment the requested markers with the network that ships with the package.

    Parameters
    ----------
    prepared : Prepared
    markers : tuple of Marker
        The others are reported as not requested. A marker's lesions do not depend on which others were requested.

    Raises
    ------
    ModelError
        When the weights are missing or damaged.
    """
    reasons = _reasons_not_assessed(prepared, markers)
    if len(reasons) == len(Marker):
        return Segmentation(reasons)
    network = load_network("markers")
    found = segment_with(prepared, markers, with_mirror_image(network), network.card)
    return replace(found, steps=(*found.steps[:1], MIRRORED, *found.steps[1:]))


def segment_with(prepared: Prepared, markers: tuple[Marker, ...], forward: Forward, card: ModelCard) -> Segmentation:
    """Segment the requested markers with a given network, its thresholds and temperatures taken from its card."""
    reasons = _reasons_not_assessed(prepared, markers)
    for marker in Marker:
        if marker not in reasons and marker not in card.thresholds:
            reasons[marker] = NotAssessed(f"the network {card.name} {card.version} is not good enough for it, see its card")
    thresholds = {
        marker: Threshold.from_card(card.thresholds[marker])
        for marker, reason in assessable(prepared.images).items()
        if reason is None and marker in card.thresholds
    }
    probability = predict_probabilities(prepared, forward, card.temperature)
    refined = refine_markers(prepared, probability, thresholds)
    errors = expected_errors(card)
    maps: dict[Marker, MarkerMap | NotAssessed] = {}
    for marker in Marker:
        if marker in reasons:
            maps[marker] = reasons[marker]
            continue
        labels = LabelMap(refined.labels[marker], prepared.grid)
        rated_on = next(sequence for sequence in MARKERS[marker].rated_on if sequence in prepared.images)
        chance = Volume(probability[marker], prepared.grid)
        native_mask, native_probability = bring_to_native(labels, chance, thresholds[marker].probability, prepared.native[rated_on])
        maps[marker] = MarkerMap(
            marker, chance, labels, refined.confidence[marker], rated_on, native_mask, native_probability, errors.get(marker)
        )
    return Segmentation(maps, _steps(prepared, card, {m: t for m, t in thresholds.items() if m not in reasons}, refined))


def _reasons_not_assessed(prepared: Prepared, markers: tuple[Marker, ...]) -> dict[Marker, MarkerMap | NotAssessed]:
    reasons: dict[Marker, MarkerMap | NotAssessed] = {}
    for marker, lacking in assessable(prepared.images).items():
        if marker not in markers:
            reasons[marker] = NotAssessed("not requested")
        elif lacking is not None:
            reasons[marker] = lacking
    return reasons


def _steps(prepared: Prepared, card: ModelCard, thresholds: Mapping[Marker, Threshold], refined: Refined) -> tuple[str, ...]:
    present = [str(sequence) for sequence in Sequence if sequence in prepared.images]
    missing = [str(sequence) for sequence in Sequence if sequence not in prepared.images]
    limits = "; ".join(
        f"{marker} {limit.probability:.2f} with a peak of {limit.seed_probability:.2f} and {limit.min_volume_mm3:g} mm3"
        for marker, limit in thresholds.items()
    )
    steps = [
        f"The network {card.name} {card.version} (SHA-256 {card.sha256[:12]}) gave a calibrated probability map of each marker from "
        f"{', '.join(present)}" + (f", with {', '.join(missing)} declared missing." if missing else "."),
        f"Voxels of the brain at or above a probability threshold formed 26-connected lesions above a minimum volume ({limits}).",
        "Lesions whose surroundings, size, shape or signal the marker does not have were dropped (WMH deep in ventricles, in the septum or "
        f"on FLAIR less than {HYPERINTENSE_SD:g} standard deviations brighter than the white matter around, "
        f"lacunes in sulci or brighter than {FLAIR_BRIGHT:g} times the white matter on FLAIR, perivascular spaces of that brightness "
        f"that lie by {EPVS_IN_WMH:.0%} in WMH, microbleeds shaped like a vessel).",
        f"Ovoid cavities at least {WIDE_MM:g} mm wide were counted as lacunes, thinner elongated ones as perivascular spaces, "
        "and neither as WMH.",
    ]
    losses = [f"{marker} {reason}: {count}" for (marker, reason), count in refined.dropped.items() if marker in thresholds]
    if losses:
        steps.append(f"Candidates dropped by rule: {'; '.join(losses)}.")
    steps.append(f"A lesion's confidence is the {CONFIDENCE_PERCENTILE:g}th percentile of the probability inside it.")
    return tuple(steps)
