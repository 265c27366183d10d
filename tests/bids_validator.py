"""The official BIDS validator, run offline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def issues_of(dataset: Path) -> list[dict[str, str]]:
    """Everything that the validator says about a data set."""
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.fail("bids-validator-deno belongs to the extra dev: pip install -e '.[dev]'")
    answer = subprocess.run([validator, "--format", "json", dataset], capture_output=True, text=True, check=False, timeout=120)
    issues: list[dict[str, str]] = json.loads(answer.stdout)["issues"]["issues"]
    return issues


def errors_of(dataset: Path) -> list[dict[str, str]]:
    """Only the errors."""
    return [issue for issue in issues_of(dataset) if issue["severity"] == "error"]
