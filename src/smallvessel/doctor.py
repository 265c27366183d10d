"""Is this installation able to work? One check for each thing that goes wrong on someone's machine."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Iterator

from .errors import ModelError, SmallvesselError
from .models import ModelName, Network, load_card
from .provenance import NETWORKS
from .records import Check
from .run import MEMORY_PER_JOB_GB, count_cores, memory_gb

MIN_PYTHON = (3, 11)
MIN_CORES = 2
IMPORTS = ("numpy", "scipy", "nibabel", "SimpleITK", "openvino", "jinja2")
TINY_EDGE_VOX = 32


def examine() -> Iterator[Check]:
    """Check Python, cores, memory, every package, the weights' hashes and a tiny inference, one after the other."""
    old = sys.version_info < MIN_PYTHON
    yield Check("Python", None, "", "fail below 3.11", "fail" if old else "pass", platform.python_version())
    cores, free_gb = count_cores(), memory_gb()
    yield Check("cores", cores, "", f"warn below {MIN_CORES}", "warn" if cores < MIN_CORES else "pass", f"{cores} to use")
    limit = f"warn below {MEMORY_PER_JOB_GB:g} GB"
    yield Check("memory", free_gb, "GB", limit, "warn" if free_gb < MEMORY_PER_JOB_GB else "pass", f"{free_gb:.1f} GB free")
    for name in IMPORTS:
        yield _check_import(name)
    for network in NETWORKS:
        yield _check_network(network)


def _check_import(name: str) -> Check:
    title, limit = f"package {name}", "can be imported"
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        return Check(title, None, "", limit, "fail", f"{error}")
    return Check(title, None, "", limit, "pass", str(getattr(module, "__version__", "present")))


def _check_network(name: ModelName) -> Check:
    title, limit = f"network {name}", "SHA-256 as in its card; answers with finite numbers"
    try:
        card = load_card(name)
        _try_network(Network(card))
    except (SmallvesselError, ImportError, RuntimeError) as error:
        return Check(title, None, "", limit, "fail", f"{error}")
    return Check(title, None, "", limit, "pass", f"version {card.version}, {card.sha256[:12]}, answers")


def _try_network(network: Network) -> None:
    import numpy as np

    card = network.card
    logits = network(np.zeros((len(card.inputs), TINY_EDGE_VOX, TINY_EDGE_VOX, TINY_EDGE_VOX), np.float32))
    if logits.shape[0] != len(card.outputs) or not np.isfinite(logits).all():
        raise ModelError(
            f"{card.name}: an answer of shape {logits.shape} or with numbers that are not finite",
            f"{len(card.outputs)} channels of finite numbers",
            "reinstall smallvessel and openvino",
        )
