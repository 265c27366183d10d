"""The rules of the design that a reader relies on: who imports whom, and what library code never does."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import smallvessel

ROOT = Path(smallvessel.__file__).parent
ROOMS = {"intake", "prepare", "segment", "measure", "report", "evaluate", "cohort", "simulate", "learn"}
JOINING = {
    "pipeline",
    "run",
    "cli",
    "cli_review",
    "cli_statistics",
    "cli_training",
    "review",
    "redraw",
    "console",
    "listings",
    "demo",
    "doctor",
}
EXCEPTIONS = {("learn", "simulate"), ("cohort", "evaluate"), *(("learn", room) for room in ("intake", "prepare", "segment"))}
"""Thresholds are learnt on simulated sessions that went through the rooms of a run."""
HEAVY = ("torch", "openvino", "SimpleITK", "matplotlib", "pandas", "statsmodels")
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def place_of(module: Path) -> str:
    """The room or the foundation to which a module belongs."""
    return module.parts[0].removesuffix(".py")


def tree_of(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def imported_places(module: Path) -> set[str]:
    """Top-level modules of smallvessel that a module imports, at its top or inside a function."""
    places = set()
    package = ("smallvessel", *module.parts[:-1])
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            full = ".".join(part for part in (base, node.module) if part)
            names = [full, *(f"{full}.{alias.name}" for alias in node.names)]
        else:
            continue
        places |= {name.split(".")[1] for name in names if name.startswith("smallvessel.")}
    return places


def importable() -> set[str]:
    return {place_of(module) for module in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_room_imports_foundations_only(module: Path) -> None:
    place = place_of(module)
    if place in JOINING:
        return
    others = imported_places(module) & importable() & (ROOMS | JOINING)
    assert {other for other in others if other != place and (place, other) not in EXCEPTIONS} == set()


def test_the_rooms_are_those_that_exist() -> None:
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders <= ROOMS | JOINING
    assert {"intake", "prepare", "segment", "measure", "report"} <= folders


def test_the_scan_sees_imports() -> None:
    assert {"intake", "prepare", "segment", "measure", "report", "records"} <= imported_places(Path("pipeline.py"))
    assert "pipeline" in imported_places(Path("run.py"))
    assert "markers" in imported_places(Path("intake/bids.py"))


def test_the_pipeline_reads_as_one_paragraph() -> None:
    assert len((ROOT / "pipeline.py").read_text().splitlines()) < 80


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_stay_short(module: Path) -> None:
    assert len((ROOT / module).read_text().splitlines()) < 400


@pytest.mark.parametrize("module", [module for module in MODULES if place_of(module) != "cli"], ids=str)
def test_library_code_neither_prints_nor_exits(module: Path) -> None:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"print", "exit", "quit", "sys.exit", "os._exit"}, f"line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
        assert not isinstance(node, ast.Assert), f"assert in line {getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_public_functions_of_a_module_say_what_they_do(module: Path) -> None:
    tree = tree_of(module)
    assert ast.get_docstring(tree), "the module has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["demo", "--help"], ["cohort", "--help"], ["--version"]], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom smallvessel.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize("module", ["pipeline", "run", "derivatives", "provenance"])
def test_importing_the_pipeline_loads_no_library_before_it_is_needed(module: str) -> None:
    code = f"import sys, smallvessel.{module}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
