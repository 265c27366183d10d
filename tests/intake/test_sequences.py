"""A session's images together: what is loaded and logged, and which sets cannot be one head."""

from pathlib import Path

import numpy as np
import pytest

from phantoms import head_image, make_grid, nifti_bytes, write_bids, write_bytes, write_image
from smallvessel.errors import GeometryError, InputError
from smallvessel.intake import find_sessions, load_session, session_from_files
from smallvessel.markers import Sequence
from smallvessel.records import SessionId, SessionSource
from smallvessel.volume import Grid, Volume

FLAIR, T1W, T2W, SWI = Sequence
GRID = make_grid((48, 56, 44), (4.0, 4.0, 4.0))


def _source(folder: Path, **images: Volume) -> SessionSource:
    files = {Sequence[name]: write_image(folder / f"{name}.nii", image) for name, image in images.items()}
    return session_from_files(files, "x")


def _scaled(grid: Grid, factor: float) -> Grid:
    return Grid(grid.shape, np.diag([factor, factor, factor, 1.0]) @ grid.affine)


def test_a_session_is_loaded_with_its_log(tmp_path: Path) -> None:
    grids = {FLAIR: make_grid((48, 56, 22), (4, 4, 8), "LPS"), T2W: make_grid((56, 44, 40), (4, 4, 4.5), "PIR"), SWI: GRID}
    images = {sequence: head_image(grid, sequence) for sequence, grid in grids.items()}
    (source,) = find_sessions(write_bids(tmp_path, {SessionId("1", "2"): images}))
    session = load_session(source)
    assert session.id == SessionId("1", "2")
    assert list(session.images) == [FLAIR, T2W, SWI]
    for sequence, image in session.images.items():
        assert image.sequence is sequence
        assert image.path == source.files[sequence]
        assert image.volume.grid.same_as(grids[sequence])
        assert image.volume.data.dtype == np.float32
        assert len(image.sha256) == 64
    assert "T1w: not given." in session.log
    assert "FLAIR: 48 x 56 x 22 voxels of 4 x 4 x 8 mm, axes LPS." in session.log
    assert set(source.log) < set(session.log)


def test_what_was_done_to_a_file_is_noted_and_logged(tmp_path: Path) -> None:
    data = head_image(GRID).data[..., None].astype(np.int16)
    path = write_bytes(tmp_path / "i.nii", nifti_bytes(data, GRID.affine, sform_code=0, qform_code=0))
    source = session_from_files({FLAIR: path}, "x")
    with pytest.raises(GeometryError):
        load_session(source)
    session = load_session(source, trust_header=True)
    assert "trusted by request" in session.images[FLAIR].note
    assert "squeezed" in session.images[FLAIR].note
    assert any(session.images[FLAIR].note in line for line in session.log)


def test_a_session_without_files_is_refused() -> None:
    with pytest.raises(InputError, match="sub-1_ses-2 without a usable image"):
        load_session(SessionSource(SessionId("1", "2"), {}))
    with pytest.raises(InputError, match=r"without a usable image \(x.nii was left out: phase, not magnitude.\)"):
        load_session(SessionSource(SessionId("1"), {}, ("x.nii was left out: phase, not magnitude.",)))


def test_one_file_for_two_sequences_is_refused(tmp_path: Path) -> None:
    image = head_image(GRID)
    with pytest.raises(InputError) as refused:
        load_session(_source(tmp_path, FLAIR=image, T1W=image))
    assert f"the same file as FLAIR ({tmp_path / 'FLAIR.nii'}) and as T1w ({tmp_path / 'T1W.nii'})" in str(refused.value)


def test_the_same_intensities_in_another_file_are_refused(tmp_path: Path) -> None:
    image = head_image(GRID)
    other = write_bytes(tmp_path / "again.nii.gz", nifti_bytes(image.data.astype(np.int16), GRID.affine, version=2))
    source = session_from_files({FLAIR: write_image(tmp_path / "i.nii", image), SWI: other}, "x")
    with pytest.raises(InputError, match="the same intensities as FLAIR"):
        load_session(source)


def test_a_head_with_scalp_and_its_extracted_brain_belong_together(tmp_path: Path) -> None:
    session = load_session(_source(tmp_path, FLAIR=head_image(GRID), T1W=head_image(GRID, T1W, skull=False)))
    assert len(session.images) == 2


def test_a_slab_and_a_whole_head_belong_together(tmp_path: Path) -> None:
    slabs = [make_grid((14, 56, 44), (4, 4, 4)), make_grid((48, 14, 44), (4, 4, 4)), make_grid((48, 56, 14), (4, 4, 4), "RSP")]
    for number, slab in enumerate(slabs):
        session = load_session(_source(tmp_path / str(number), T1W=head_image(GRID, T1W), SWI=head_image(slab, SWI)))
        assert len(session.images) == 2


def test_heads_of_different_sizes_are_refused(tmp_path: Path) -> None:
    # Each could be human by itself: a small brain without its scalp, and a head whose voxel size is 1.65 times too large.
    small = head_image(GRID, skull=False)
    large = Volume(head_image(GRID, T1W).data, _scaled(GRID, 1.65))
    with pytest.raises(GeometryError) as refused:
        load_session(_source(tmp_path, FLAIR=small, T1W=large))
    assert "T1W.nii with a head 1.9 times as large as" in str(refused.value)
    assert "two images of the same head" in str(refused.value)


@pytest.mark.parametrize("factor", [0.6, 1.75])
def test_a_head_too_small_or_too_large_for_a_human_is_refused(tmp_path: Path, factor: float) -> None:
    image = Volume(head_image(GRID, skull=factor > 1).data, _scaled(GRID, factor))
    with pytest.raises(GeometryError) as refused:
        load_session(_source(tmp_path, FLAIR=image))
    assert "20 to 65 mm" in str(refused.value)


def test_noise_all_over_the_field_of_view_is_no_reason_to_refuse(tmp_path: Path) -> None:
    noisy = head_image(GRID, T1W).data + np.random.default_rng(0).uniform(0, 1000, GRID.shape).astype(np.float32)
    session = load_session(_source(tmp_path, FLAIR=head_image(GRID), T1W=Volume(noisy, GRID)))
    assert len(session.images) == 2


def test_heads_that_lie_far_apart_are_logged_and_kept(tmp_path: Path) -> None:
    away = make_grid((48, 56, 44), (4, 4, 4), centre_mm=(0, 300, 0))
    session = load_session(_source(tmp_path, FLAIR=head_image(GRID), T1W=head_image(away, T1W, centre_mm=(0, 300, 0))))
    assert session.log[-1] == "The headers place the heads of FLAIR and T1w 300 mm apart; registration starts from their centres."
