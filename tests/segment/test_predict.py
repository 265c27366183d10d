"""What the network is given, which markers it may assess, and the whole room with a network that answers as told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms import ball
from scenes import scene, scene_anatomy, scene_grid, scene_image
from smallvessel.intensity import BRAIN_MARGIN_VOX, network_input, normalise_brain, visible_region
from smallvessel.markers import Marker, Sequence
from smallvessel.models import ModelCard
from smallvessel.records import MarkerMap, NotAssessed
from smallvessel.segment import segment_markers, segment_with
from smallvessel.segment.predict import assessable, predict_probabilities, with_mirror_image

GRID = scene_grid()
WMH_AT, CMB_AT = (-11.0, -8.0, 8.0), (11.0, -8.0, 8.0)
CARD = ModelCard(
    name="fake",
    version="0",
    file="none.onnx",
    sha256="0" * 64,
    spacing_mm=1.0,
    inputs=("FLAIR", "T1w", "T2w", "SWI", "has FLAIR", "has T1w", "has T2w", "has SWI"),
    outputs=tuple(Marker),
    thresholds={marker: {"probability": 0.5, "min_volume_mm3": 3.0} for marker in Marker},
    temperature=dict.fromkeys(Marker, 2.0),
    training={},
    results={},
    limits=(),
)


def answer(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of a network that finds one WMH and one CMB wherever it is asked, and WMH everywhere outside the brain."""
    logits = np.full((4, *channels.shape[1:]), -8.0, np.float32)
    logits[0][ball(GRID, WMH_AT, 3.0)] = 4.0
    logits[3][ball(GRID, CMB_AT, 2.0)] = 4.0
    logits[0][~visible_region(scene_anatomy(GRID).brain.data)] = 4.0
    return logits


def test_input_is_the_normalised_brain_and_the_sequences_that_exist() -> None:
    anatomy = scene_anatomy(GRID)
    flair, swi = scene_image(anatomy, Sequence.FLAIR) + 1.0, scene_image(anatomy, Sequence.SWI) + 1.0
    channels = network_input({Sequence.SWI: swi, Sequence.FLAIR: flair}, anatomy.brain.data)
    visible = visible_region(anatomy.brain.data)
    assert channels.dtype == np.float32
    assert np.array_equal(channels[0], normalise_brain(flair, anatomy.brain.data) * visible)
    assert np.array_equal(channels[3], normalise_brain(swi, anatomy.brain.data) * visible)
    assert not channels[1:3].any()
    assert [float(channel.min()) for channel in channels[4:]] == [float(channel.max()) for channel in channels[4:]] == [1, 0, 0, 1]
    assert channels[0][anatomy.brain.data].mean() == pytest.approx(1.0, abs=1e-4)


def test_visible_region_is_three_voxels_wider() -> None:
    brain = np.zeros((11, 11, 11), bool)
    brain[5, 5, 5] = True
    assert BRAIN_MARGIN_VOX == 3
    assert visible_region(brain).sum() == 7**3
    assert not visible_region(brain)[1].any()


def test_which_markers_can_be_assessed() -> None:
    assert all(reason is None for reason in assessable(Sequence).values())
    flair_only = assessable([Sequence.FLAIR])
    assert flair_only[Marker.WMH] is None
    assert flair_only[Marker.LACUNE] is None
    assert flair_only[Marker.EPVS] == NotAssessed("needs T2w or T1w; this session has FLAIR only")
    assert flair_only[Marker.CMB] == NotAssessed("needs SWI; this session has FLAIR only")
    rest = assessable([Sequence.SWI, Sequence.T2W, Sequence.T1W])
    assert rest[Marker.WMH] == NotAssessed("needs FLAIR; this session has T1w, T2w and SWI only")
    assert rest[Marker.EPVS] is None


def test_temperature_calibrates_and_nothing_is_probable_where_the_network_sees_nothing() -> None:
    prepared = scene()
    probability = predict_probabilities(prepared, answer, dict.fromkeys(Marker, 2.0))
    assert probability[Marker.WMH][ball(GRID, WMH_AT, 3.0)] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert probability[Marker.WMH][0, 0, 0] == 0.0


def test_the_mirror_image_has_half_of_the_say() -> None:
    def lean(channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Finds what is bright, more so towards high indices."""
        return channels[:4] * np.linspace(0, 1, channels.shape[1], dtype=np.float32)[:, None, None]

    channels = np.random.default_rng(1).uniform(0, 2, (8, 9, 6, 5)).astype(np.float32)
    assert with_mirror_image(lean)(channels) == pytest.approx(0.5 * channels[:4])


def test_every_marker_has_a_map_or_a_reason() -> None:
    flair = scene_image(scene_anatomy(GRID), Sequence.FLAIR)
    flair[ball(GRID, WMH_AT, 3.0)] = 140.0
    prepared = scene(sequences=(Sequence.FLAIR, Sequence.SWI), images={Sequence.FLAIR: flair})
    found = segment_with(prepared, (Marker.WMH, Marker.EPVS, Marker.LACUNE), answer, CARD)
    assert list(found.markers) == list(Marker)
    wmh, lacune = found.markers[Marker.WMH], found.markers[Marker.LACUNE]
    assert isinstance(wmh, MarkerMap)
    assert np.array_equal(wmh.mask.data, ball(GRID, WMH_AT, 3.0))
    assert wmh.confidence == (round(1 / (1 + np.exp(-2.0)), 3),)
    assert wmh.native_sequence is Sequence.FLAIR
    assert np.array_equal(wmh.native_mask.data, wmh.mask.data)
    assert isinstance(lacune, MarkerMap)
    assert lacune.confidence == ()
    assert found.markers[Marker.EPVS] == NotAssessed("needs T2w or T1w; this session has FLAIR and SWI only")
    assert found.markers[Marker.CMB] == NotAssessed("not requested")
    assert any("T1w, T2w declared missing" in step for step in found.steps)


def test_a_marker_does_not_depend_on_what_else_was_requested() -> None:
    prepared = scene()
    together = segment_with(prepared, tuple(Marker), answer, CARD).markers[Marker.CMB]
    alone = segment_with(prepared, (Marker.CMB,), answer, CARD).markers[Marker.CMB]
    assert isinstance(together, MarkerMap)
    assert isinstance(alone, MarkerMap)
    assert together.labels.data.max() == 1
    assert np.array_equal(together.labels.data, alone.labels.data)


def test_a_marker_that_the_network_cannot_find_is_not_assessed() -> None:
    found = segment_with(scene(), tuple(Marker), answer, replace(CARD, thresholds={Marker.WMH: CARD.thresholds[Marker.WMH]}))
    assert isinstance(found.markers[Marker.WMH], MarkerMap)
    for marker in (Marker.LACUNE, Marker.EPVS, Marker.CMB):
        reason = found.markers[marker]
        assert isinstance(reason, NotAssessed)
        assert "not good enough" in reason.reason


def test_no_network_is_loaded_when_nothing_can_be_assessed() -> None:
    found = segment_markers(scene(sequences=(Sequence.T1W,)), (Marker.CMB, Marker.WMH))
    assert found.markers[Marker.CMB] == NotAssessed("needs SWI; this session has T1w only")
    assert all(isinstance(result, NotAssessed) for result in found.markers.values())
