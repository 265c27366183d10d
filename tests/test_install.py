"""What a user gets: the wheel's content and what installing it pulls in."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from smallvessel import __version__

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
MAX_WHEEL_MB = 100


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder, ROOT]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    assert path.stat().st_size < MAX_WHEEL_MB * 1e6
    return zipfile.ZipFile(path)


def requirements(wheel: zipfile.ZipFile) -> list[str]:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Version"] == __version__
    return metadata.get_all("Requires-Dist", [])


def test_the_wheel_has_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    expected = {
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "smallvessel").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= set(wheel.namelist())


@pytest.mark.parametrize(
    "name",
    [
        "weights/anatomy.onnx",
        "weights/anatomy.card.json",
        "weights/markers.onnx",
        "weights/markers.card.json",
        "demo/data/truth.json",
        *(f"demo/data/sub-simulated_{sequence}.nii.gz" for sequence in ("FLAIR", "T1w", "T2w", "SWI")),
        *(f"demo/data/sub-simulated_label-{marker}_mask.nii.gz" for marker in ("WMH", "lacune", "EPVS", "CMB")),
        "py.typed",
    ],
)
def test_the_wheel_carries_weights_and_the_simulated_patient(name: str, wheel: zipfile.ZipFile) -> None:
    assert f"smallvessel/{name}" in wheel.namelist()


def test_licence_and_notice_travel_along(wheel: zipfile.ZipFile) -> None:
    assert {Path(name).name for name in wheel.namelist() if ".dist-info/licenses/" in name} >= {"LICENSE", "NOTICE"}


def test_a_plain_install_pulls_no_torch_and_no_bound_of_the_tests(wheel: zipfile.ZipFile) -> None:
    plain = [line for line in requirements(wheel) if "extra ==" not in line]
    assert not [line for line in plain if line.startswith(("torch", "onnx", "panoptica"))]
    assert not [line for line in plain if line.startswith("numpy") and "<" in line]
    assert [line for line in plain if line.startswith("openvino")]


def test_torch_is_in_the_extra_for_training() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(line.startswith("torch") for line in extras["train"])


def test_every_tracked_version_is_the_same() -> None:
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
