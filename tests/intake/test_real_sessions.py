"""The real sessions beside the checkout: all are found and load. Skipped where that data is absent."""

from pathlib import Path

import numpy as np
import pytest

from smallvessel.errors import InputError
from smallvessel.intake import find_sessions, load_session
from smallvessel.intake.nifti import read_nifti
from smallvessel.markers import Sequence
from smallvessel.records import SessionId

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
FLAIR, T1W, T2W, SWI = Sequence

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data beside the checkout")


def test_every_openms_session_loads() -> None:
    sources = find_sessions(DATA / "openms-bids")
    assert [source.id for source in sources] == [SessionId(subject, session) for subject in ("01", "03", "12") for session in "12"]
    for source in sources:
        session = load_session(source)
        without_t1w = source.id == SessionId("03", "1")
        assert list(session.images) == ([FLAIR, T2W] if without_t1w else [FLAIR, T1W, T2W])
        assert all(np.isfinite(image.volume.data).all() for image in session.images.values())
        assert ("T1w: not given." in session.log) == without_t1w


def test_every_labelled_session_loads() -> None:
    sources = find_sessions(DATA / "wmh-labelled-bids")
    assert [str(source.id) for source in sources] == ["sub-om07", "sub-sv104252", "sub-sv105074"]
    assert [list(load_session(source).images) for source in sources] == [[FLAIR, T1W, T2W], [FLAIR, T1W], [FLAIR, T1W]]


def test_real_heads_load() -> None:
    for path in sorted((DATA / "heads").glob("*.nii.gz")):
        volume, _, notes = read_nifti(path)
        assert volume.grid.extent_mm.min() > 100
        assert notes == ()


def test_a_label_map_is_no_head_and_a_multi_echo_file_is_no_volume() -> None:
    with pytest.raises(InputError, match="3 volumes"):
        read_nifti(DATA / "gre-crops" / "Mag.nii.gz")
    mask = DATA / "openms-bids/derivatives/reference/sub-01/sub-01_space-common_label-brain_mask.nii.gz"
    with pytest.raises(InputError, match="2 distinct values"):
        read_nifti(mask)
