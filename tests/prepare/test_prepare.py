"""The whole room on a phantom head, with a network that knows it by heart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fake_networks import FakeNetwork
from phantoms import BRAIN_MM, INTRACRANIAL_MM, ellipsoid, head_image, make_grid
from smallvessel.errors import InputError
from smallvessel.markers import Sequence
from smallvessel.prepare import prepare_with
from smallvessel.records import ImageFile, Prepared, Session, SessionId
from smallvessel.structures import Structure
from smallvessel.volume import Grid, Volume

FLAIR_GRID = make_grid((64, 74, 40), (3.2, 3.2, 5.0), "LPS")
T1W_GRID = make_grid((60, 70, 60), (3.4, 3.4, 3.4), "RAS")


def session_of(images: Mapping[Sequence, Volume]) -> Session:
    return Session(SessionId("01", "a"), {s: ImageFile(Path(f"{s}.nii.gz"), s, image, "0" * 64) for s, image in images.items()})


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    images = {Sequence.T1W: head_image(T1W_GRID, Sequence.T1W), Sequence.FLAIR: head_image(FLAIR_GRID, Sequence.FLAIR)}
    return prepare_with(session_of(images), FakeNetwork("anatomy"))


def test_flair_is_the_reference_and_every_image_is_on_its_grid(prepared: Prepared) -> None:
    assert prepared.reference is Sequence.FLAIR
    assert all(n % 16 == 0 for n in prepared.grid.shape)
    assert np.allclose(prepared.grid.affine[:3, :3], np.eye(3))
    assert set(prepared.images) == set(prepared.native) == {Sequence.FLAIR, Sequence.T1W}
    anatomy = prepared.anatomy
    grids = [image.grid for image in prepared.images.values()]
    for grid in (*grids, anatomy.structures.grid, anatomy.right.grid, anatomy.brain.grid, anatomy.intracranial.grid, anatomy.lobes.grid):
        assert grid.same_as(prepared.grid)


def test_native_masks_have_the_true_shape_on_their_own_grids(prepared: Prepared) -> None:
    for sequence, grid in ((Sequence.FLAIR, FLAIR_GRID), (Sequence.T1W, T1W_GRID)):
        native = prepared.native[sequence]
        assert native.grid.same_as(grid)
        assert dice(native.brain.data, ellipsoid(grid, (0, 0, 0), BRAIN_MM)) > 0.97
    assert np.array_equal(prepared.native[Sequence.FLAIR].reference_from_native.matrix, np.eye(4))


def test_the_anatomy_is_true_on_the_analysis_grid(prepared: Prepared) -> None:
    anatomy, grid = prepared.anatomy, prepared.grid
    assert dice(anatomy.brain.data, ellipsoid(grid, (0, 0, 0), BRAIN_MM)) > 0.97
    assert dice(anatomy.intracranial.data, ellipsoid(grid, (0, 0, 0), INTRACRANIAL_MM)) > 0.97
    assert (anatomy.intracranial.data | ~anatomy.brain.data).all()
    assert not anatomy.structures.data[~anatomy.intracranial.data].any()
    assert (anatomy.structures.data[anatomy.brain.data] != Structure.BACKGROUND).all()
    assert anatomy.lobes.data[anatomy.brain.data].all()
    assert set(anatomy.lobes.names.values()) == {"frontal", "parietal", "temporal", "occipital", "insula"}
    x = grid.world(np.indices(grid.shape).reshape(3, -1).T)[:, 0].reshape(grid.shape)
    assert anatomy.right.data[anatomy.brain.data & (x > 3)].all()
    assert not anatomy.right.data[anatomy.brain.data & (x < -3)].any()


def test_intensities_keep_their_scale(prepared: Prepared) -> None:
    white = prepared.anatomy.structures.data == Structure.WHITE_MATTER
    assert np.median(prepared.images[Sequence.FLAIR].data[white]) == pytest.approx(330, rel=0.05)
    assert np.median(prepared.images[Sequence.T1W].data[white]) == pytest.approx(600, rel=0.05)


def test_every_check_has_a_limit_and_every_step_is_a_sentence(prepared: Prepared) -> None:
    names = [check.name for check in prepared.checks]
    assert len(names) == len(set(names))
    assert {"registration_T1w", "snr_FLAIR", "contrast_T1w", "ghosting_FLAIR", "field_of_view_T1w", "brain_volume"} <= set(names)
    assert all(check.limit and check.message.endswith(".") for check in prepared.checks)
    assert all(step[0].isupper() and step.endswith(".") for step in prepared.steps)
    text = " ".join(prepared.steps)
    assert "FLAIR was the reference image" in text
    assert "T1w was registered rigidly to FLAIR" in text
    assert not prepared.brain_extracted
    assert "brain-extracted" not in text


def test_one_brain_extracted_image_is_recognised_and_repeats_bit_by_bit() -> None:
    session = session_of({Sequence.T2W: head_image(FLAIR_GRID, Sequence.T2W, skull=False)})
    first, second = (prepare_with(session, FakeNetwork("anatomy")) for _ in range(2))
    assert first.reference is Sequence.T2W
    assert first.brain_extracted
    assert "brain-extracted" in " ".join(first.steps)
    assert "registered" not in " ".join(step for step in first.steps if "Lobes" not in step)
    assert first.images[Sequence.T2W].data.tobytes() == second.images[Sequence.T2W].data.tobytes()
    assert first.anatomy.lobes.data.tobytes() == second.anatomy.lobes.data.tobytes()
    assert first.anatomy.structures.data.tobytes() == second.anatomy.structures.data.tobytes()


def test_no_brain_is_refused_with_a_remedy() -> None:
    def blind(channels: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.zeros((len(Structure) + 1, *channels.shape[1:]), np.float32)
        logits[0] = 12.0
        return logits

    with pytest.raises(InputError, match=r"0 mL of brain in the FLAIR image.*leave it out"):
        prepare_with(session_of({Sequence.FLAIR: head_image(FLAIR_GRID)}), blind)


def test_axes_in_another_order_and_headers_in_single_precision_change_nothing() -> None:
    grid = make_grid((64, 74, 40), (3.2, 3.2, 5.0), "LPS", (3.0, -5.0, 7.0), (21.37, -63.21, 88.88))
    image = head_image(grid, Sequence.FLAIR)
    image = Volume(image.data, Grid(image.grid.shape, image.grid.affine.astype(np.float32).astype(np.float64)))
    data = np.ascontiguousarray(image.data.transpose(1, 0, 2)[:, ::-1, ::-1])
    turn = np.array([[0, -1, 0, 63], [1, 0, 0, 0], [0, 0, -1, 39], [0, 0, 0, 1]], float)
    turned = Volume(data, Grid((74, 64, 40), (image.grid.affine @ turn).astype(np.float32).astype(np.float64)))
    one, two = (prepare_with(session_of({Sequence.FLAIR: volume}), FakeNetwork("anatomy")) for volume in (image, turned))
    assert np.array_equal(one.grid.affine, two.grid.affine)
    assert np.array_equal(one.images[Sequence.FLAIR].data, two.images[Sequence.FLAIR].data)
    assert np.array_equal(one.anatomy.structures.data, two.anatomy.structures.data)
