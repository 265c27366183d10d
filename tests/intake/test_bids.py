"""Which files make up a session: layouts, filters, the rule among several images, refusals."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from phantoms import bids_path, head_image, make_grid, nifti_bytes, write_bids, write_bytes, write_image
from smallvessel.derivatives import session_files
from smallvessel.errors import InputError, make_printable
from smallvessel.intake import find_sessions, load_session, session_from_files
from smallvessel.markers import Sequence
from smallvessel.records import SessionId, SessionSource
from smallvessel.restore import list_sessions, parse_session
from smallvessel.volume import Grid, Volume

FLAIR, T1W, T2W, SWI = Sequence
COARSE = make_grid((24, 28, 22), (8.0, 8.0, 8.0))


def _touch(root: Path, *names: str) -> Path:
    """Empty files: they are found by name, and opened only where there is a choice."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def _image(path: Path, grid: Grid = COARSE) -> Path:
    """An image of zeros: the choice reads headers only."""
    return write_image(path, Volume(np.zeros(grid.shape, np.float32), grid))


def _names(source: SessionSource) -> dict[Sequence, str]:
    return {sequence: path.name for sequence, path in source.files.items()}


def test_sessions_or_none_gz_or_not_in_order(tmp_path: Path) -> None:
    root = _touch(
        tmp_path,
        "sub-02/anat/sub-02_T1w.nii",
        "sub-02/anat/sub-02_FLAIR.nii.gz",
        "sub-02/swi/sub-02_swi.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_T2w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_T2starw.nii.gz",
    )
    sources = find_sessions(root)
    assert [source.id for source in sources] == [SessionId("01", "a"), SessionId("01", "b"), SessionId("02")]
    assert _names(sources[0]) == {FLAIR: "sub-01_ses-a_FLAIR.nii.gz", SWI: "sub-01_ses-a_T2starw.nii.gz"}
    assert _names(sources[2]) == {FLAIR: "sub-02_FLAIR.nii.gz", T1W: "sub-02_T1w.nii", SWI: "sub-02_swi.nii.gz"}
    assert list(sources[2].files) == [FLAIR, T1W, SWI]
    assert "FLAIR: sub-02_FLAIR.nii.gz, the only one." in sources[2].log


@pytest.mark.parametrize("suffix", ["swi", "SWI", "T2starw", "MEGRE", "GRE", "part-mag_GRE", "T2star"])
@pytest.mark.parametrize("folder", ["anat", "swi"])
def test_every_susceptibility_suffix_counts_as_swi(tmp_path: Path, suffix: str, folder: str) -> None:
    (source,) = find_sessions(_touch(tmp_path, f"sub-1/{folder}/sub-1_{suffix}.nii.gz"))
    assert _names(source) == {SWI: f"sub-1_{suffix}.nii.gz"}


def test_phase_strangers_and_other_folders_are_left_out(tmp_path: Path) -> None:
    root = _touch(
        tmp_path,
        "sub-1/anat/sub-1_FLAIR.nii.gz",
        "sub-1/anat/sub-1_part-phase_T2starw.nii.gz",
        "sub-1/swi/sub-1_minIP.nii.gz",
        "sub-1/anat/sub-1_T2starmap.nii.gz",
        "sub-1/anat/sub-2_T1w.nii.gz",
        "sub-1/anat/sub-1_T2w.json",
        "sub-1/anat/._sub-1_T2w.nii.gz",
        "sub-1/func/sub-1_T2w.nii.gz",
        "derivatives/tool/sub-1/anat/sub-1_T1w.nii.gz",
        "derivatives/tool/sub-9/anat/sub-9_T1w.nii.gz",
        "sourcedata/sub-8/anat/sub-8_T1w.nii.gz",
    )
    (source,) = find_sessions(root)
    assert _names(source) == {FLAIR: "sub-1_FLAIR.nii.gz"}
    assert "sub-1_part-phase_T2starw.nii.gz was left out: phase, not magnitude." in source.log
    assert "sub-2_T1w.nii.gz was left out: its name does not belong to sub-1." in source.log


FINE = make_grid((48, 56, 44), (4.0, 4.0, 4.0))
FLAT = make_grid((96, 112, 22), (2.0, 2.0, 8.0))
SLAB = make_grid((96, 112, 22), (2.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("taken", "left", "reason"),
    [
        (("swi_", FLAT), ("T2starw_", SLAB), "covers a whole head"),
        (("swi_", FLAT), ("T2starw_", FINE), "SWI comes before"),
        (("T2starw_", FLAT), ("GRE_", FINE), "SWI comes before"),
        (("FLAIR_", FLAT), ("FLAIR_ce-gd_", FINE), "no contrast agent"),
        (("FLAIR_acq-b_", FINE), ("FLAIR_acq-a_", FLAT), "slices are thinner"),
        (("FLAIR_acq-b_", FLAT), ("FLAIR_acq-a_", COARSE), "voxels are smaller"),
        (("T1w_echo-1_", FINE), ("T1w_echo-2_", FINE), "echo suits"),
        (("T1w_", FINE), ("T1w_echo-1_", FINE), "echo suits"),
        (("T2w_echo-2_", FINE), ("T2w_echo-1_", FINE), "echo suits"),
        (("MEGRE_echo-10_", FINE), ("MEGRE_echo-9_", FINE), "echo suits"),
        (("T1w_run-10_", FINE), ("T1w_run-2_", FINE), "later run"),
        (("T1w_run-1_", FINE), ("T1w_", FINE), "later run"),
        (("T1w_acq-a_", FINE), ("T1w_acq-b_", FINE), "name sorts first"),
    ],
)
def test_the_rule_among_several_images(tmp_path: Path, taken: tuple[str, Grid], left: tuple[str, Grid], reason: str) -> None:
    paths = []
    for name, grid in (taken, left):
        suffix, _, entities = name.partition("_")
        paths.append(_image(tmp_path / f"sub-1/anat/sub-1_{entities}{suffix}.nii.gz", grid))
    (source,) = find_sessions(tmp_path)
    assert list(source.files.values()) == [paths[0]]
    (sentence,) = source.log
    assert reason in sentence
    assert sentence.endswith(f"left out: {paths[1].name}.")


def test_of_echoes_the_one_nearest_to_25_ms_is_taken_where_their_times_are_known(tmp_path: Path) -> None:
    for echo, echo_time_s in ((1, 0.007), (2, 0.022), (3, 0.037)):
        path = _image(tmp_path / f"sub-1/anat/sub-1_echo-{echo}_part-mag_MEGRE.nii.gz")
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps({"EchoTime": echo_time_s}), encoding="utf-8")
    (source,) = find_sessions(tmp_path)
    assert _names(source) == {SWI: "sub-1_echo-2_part-mag_MEGRE.nii.gz"}


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"EchoTime": "long"}', '{"EchoTime": NaN}', '{"EchoTime": 1e999}', "[" * 100_000])
def test_a_broken_sidecar_costs_only_what_it_would_have_told(tmp_path: Path, text: str) -> None:
    for echo in (1, 2):
        path = _image(tmp_path / f"sub-1/anat/sub-1_echo-{echo}_MEGRE.nii.gz")
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(text, encoding="utf-8")
    (source,) = find_sessions(tmp_path)
    assert _names(source) == {SWI: "sub-1_echo-2_MEGRE.nii.gz"}


@pytest.mark.parametrize(
    ("sidecar", "is_phase"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, True),
        ({"ImageType": ["DERIVED", "SECONDARY", "PHASE"]}, True),
        ({"ComplexImageComponent": "PHASE"}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "SWI", "NORM"]}, False),
        ({"ImageType": ["DERIVED", "PRIMARY", "SWI"]}, False),
        ({"ImageType": "P"}, False),
    ],
)
def test_a_phase_image_by_its_sidecar_is_left_out(tmp_path: Path, sidecar: dict[str, object], is_phase: bool) -> None:
    (_touch(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz", "sub-1/swi/sub-1_swi.nii.gz") / "sub-1/swi/sub-1_swi.json").write_text(
        json.dumps(sidecar), encoding="utf-8"
    )
    (source,) = find_sessions(tmp_path)
    assert (SWI not in source.files) == is_phase
    assert ("sub-1_swi.nii.gz was left out: phase by its side-car, not magnitude." in source.log) == is_phase


def test_names_in_capitals_are_found_with_their_sidecars(tmp_path: Path) -> None:
    for echo, echo_time_s in ((1, 0.024), (2, 0.060)):
        path = _image(tmp_path / f"sub-1/anat/sub-1_echo-{echo}_MEGRE.nii.gz").rename(
            tmp_path / f"sub-1/anat/sub-1_echo-{echo}_MEGRE.NII.GZ"
        )
        path.with_name(path.name.replace(".NII.GZ", ".json")).write_text(json.dumps({"EchoTime": echo_time_s}), encoding="utf-8")
    _touch(tmp_path, "sub-1/anat/sub-1_FLAIR.NII", "sub-1/anat/._sub-1_T1w.NII", "sub-1/anat/Thumbs.db")
    (source,) = find_sessions(tmp_path)
    assert _names(source) == {FLAIR: "sub-1_FLAIR.NII", SWI: "sub-1_echo-1_MEGRE.NII.GZ"}


def test_compression_is_told_by_the_bytes_not_by_the_name(tmp_path: Path) -> None:
    plain = tmp_path / "sub-1/anat/sub-1_acq-b_FLAIR.nii.gz"
    plain.parent.mkdir(parents=True)
    plain.write_bytes(nifti_bytes(np.zeros(FINE.shape, np.int16), FINE.affine))
    packed = _image(tmp_path / "sub-1/anat/sub-1_acq-b_T1w.nii.gz", FINE).rename(tmp_path / "sub-1/anat/sub-1_acq-b_T1w.nii")
    for name in ("FLAIR", "T1w"):
        _image(tmp_path / f"sub-1/anat/sub-1_acq-a_{name}.nii.gz", FLAT)
    (source,) = find_sessions(tmp_path)
    assert source.files == {FLAIR: plain, T1W: packed}


def test_digits_that_are_no_numbers_are_no_reason_to_stop(tmp_path: Path) -> None:
    for run in ("²", "1"):
        _image(tmp_path / f"sub-1/anat/sub-1_run-{run}_echo-{run}_FLAIR.nii.gz")
    (source,) = find_sessions(tmp_path)
    assert len(source.files) == 1


def test_a_damaged_image_is_taken_only_if_there_is_no_other(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-1/anat/sub-1_acq-a_FLAIR.nii.gz")
    whole = _image(tmp_path / "sub-1/anat/sub-1_acq-b_FLAIR.nii.gz")
    (source,) = find_sessions(tmp_path)
    assert source.files == {FLAIR: whole}


@pytest.mark.parametrize("prefix", [True, False])
def test_labels_filter_with_and_without_prefix(tmp_path: Path, prefix: bool) -> None:
    image = head_image(COARSE)
    root = write_bids(tmp_path, {SessionId(subject, session): {T1W: image} for subject in "ab" for session in "12"})
    subjects, sessions = (("sub-b",), ("ses-2",)) if prefix else (("b",), ("2",))
    assert [source.id for source in find_sessions(root, subjects)] == [SessionId("b", "1"), SessionId("b", "2")]
    assert [source.id for source in find_sessions(root, (), sessions)] == [SessionId("a", "2"), SessionId("b", "2")]
    assert [source.id for source in find_sessions(root, subjects, sessions)] == [SessionId("b", "2")]


def test_unknown_labels_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    root = _touch(tmp_path, "sub-a/ses-1/anat/sub-a_ses-1_T1w.nii.gz", "sub-b/ses-2/anat/sub-b_ses-2_T1w.nii.gz")
    with pytest.raises(InputError) as refused:
        find_sessions(root, ["a", "c"])
    assert str(refused.value) == "Found: unknown participant label(s) c. Expected: labels among a, b. To do: correct --participant-label."
    with pytest.raises(InputError) as refused:
        find_sessions(root, ["a"], ["2"])
    assert str(refused.value) == "Found: unknown session label(s) 2. Expected: labels among 1. To do: correct --session-label."


def test_a_session_without_images_is_named_in_its_siblings_log_and_a_subject_without_any_is_kept(tmp_path: Path) -> None:
    root = _touch(
        tmp_path, "sub-a/ses-1/anat/sub-a_ses-1_T1w.nii.gz", "sub-a/ses-2/func/x.nii.gz", "sub-b/ses-1/pet/x.nii", "sub-b/ses-2/x"
    )
    sources = find_sessions(root)
    assert [(source.id, len(source.files)) for source in sources] == [(SessionId("a", "1"), 1), (SessionId("b", "1"), 0)]
    assert "sub-a_ses-2 has no usable image and was left out." in sources[0].log


@pytest.mark.parametrize("unreadable", ["sub-02/anat", "sub-02"])
def test_a_folder_that_cannot_be_read_costs_only_its_own_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unreadable: str) -> None:
    root = _touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz")
    list_folder = Path.iterdir

    def refuse(folder: Path) -> Iterator[Path]:
        if folder == root / unreadable:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    readable, refused = find_sessions(root)
    assert (readable.id, refused.id, refused.files) == (SessionId("01"), SessionId("02"), {})
    with pytest.raises(InputError, match=rf"the folder {root / unreadable} that cannot be read \(Permission denied\)"):
        load_session(refused)


def test_a_session_that_cannot_be_read_is_reported_beside_its_siblings(tmp_path: Path) -> None:
    root = _touch(tmp_path, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    (root / "sub-01/ses-2").symlink_to(root / "not-fetched")
    (root / "sub-02").symlink_to(root / "not-fetched")
    (root / "sub-03").symlink_to(_touch(root / "elsewhere", "anat/sub-03_T1w.nii.gz"))
    sources = find_sessions(root)
    assert [str(source.id) for source in sources] == ["sub-01_ses-1", "sub-01_ses-2", "sub-02", "sub-03"]
    assert [str(source.id) for source in sources if source.refusal] == ["sub-01_ses-2", "sub-02"]


@pytest.mark.parametrize("label", ["01-FU", "P.02", "A+B", "1.2-b"])
def test_labels_of_studies_are_taken_and_read_back(tmp_path: Path, label: str) -> None:
    id = SessionId(label, label)
    (source,) = find_sessions(_touch(tmp_path / "bids", f"{session_files(id).folder}/anat/{id}_acq-a_T1w.nii.gz"))
    assert (source.id, len(source.files)) == (id, 1)
    assert parse_session(str(id)) == id
    _touch(tmp_path / "out", str(session_files(id).measures))
    assert list_sessions(tmp_path / "out") == (id,)


LATIN_1 = b"M\xfcller".decode(errors="surrogateescape")


@pytest.mark.parametrize("folder", ["sub-P_02", "sub-01 (copy)", "sub-Müller", "sub-x.", "sub-1/ses-a_old", f"sub-{LATIN_1}"])
def test_a_label_that_cannot_be_told_apart_in_names_is_refused_by_its_folder(tmp_path: Path, folder: str) -> None:
    name = folder.replace("/", "_")
    root = _touch(tmp_path, f"{folder}/anat/{name}_T1w.nii.gz", "sub-1/anat/sub-1_T1w.nii.gz")
    sources = {str(source.id): source for source in find_sessions(root)}
    assert sources.pop("sub-1").refusal is None
    ((shown, refused),) = sources.items()
    assert shown == make_printable(name)
    with pytest.raises(InputError, match="To do: rename it and the files in it") as told:
        load_session(refused)
    assert make_printable(str(root / folder)) in str(told.value)


def test_what_is_no_bids_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing at"):
        find_sessions(tmp_path / "none")
    with pytest.raises(InputError, match="a file at"):
        find_sessions(write_bytes(tmp_path / "file.nii", b"x"))
    with pytest.raises(InputError, match="no sub-\\* folder in"):
        find_sessions(tmp_path)
    _touch(tmp_path, "sub-1/anat/sub-1_bold.nii.gz")
    with pytest.raises(InputError, match="no usable image in 1 session folder"):
        find_sessions(tmp_path)
    with pytest.raises(InputError, match=f"To do: give {tmp_path}"):
        find_sessions(tmp_path / "sub-1")


def test_plain_files_make_a_session(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "scan.nii", nifti_bytes(head_image(COARSE).data, COARSE.affine))
    source = session_from_files({SWI: path, FLAIR: path}, "sub-x1")
    assert source.id == SessionId("x1")
    assert list(source.files) == [FLAIR, SWI]


def test_plain_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image"):
        session_from_files({}, "x")
    with pytest.raises(InputError, match=r"no file at .*none.nii \(T2w\)"):
        session_from_files({T2W: tmp_path / "none.nii"}, "x")
    (_touch(tmp_path, "swi.nii.gz") / "swi.json").write_text('{"ImageType": ["PHASE"]}', encoding="utf-8")
    with pytest.raises(InputError, match=r"swi.nii.gz \(SWI\), phase by its side-car"):
        session_from_files({SWI: tmp_path / "swi.nii.gz"}, "x")
    with pytest.raises(InputError, match="letters and digits, perhaps"):
        session_from_files({T2W: tmp_path / "none.nii"}, "x_1")


def test_phantom_paths_are_found(tmp_path: Path) -> None:
    session = SessionId("1", "2")
    for sequence in Sequence:
        _touch(tmp_path, str(bids_path(tmp_path, session, sequence).relative_to(tmp_path)))
    (source,) = find_sessions(tmp_path)
    assert list(source.files) == list(Sequence)
