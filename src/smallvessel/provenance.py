"""How a result was made: versions, hashes, timings, memory, the log and the methods paragraph."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import __version__
from .config import Settings
from .derivatives import bids_uri
from .errors import SmallvesselError, make_printable
from .markers import MARKERS, Marker, Sequence
from .models import ModelName, load_card
from .participants import UNKNOWN, Traits
from .records import MarkerMap, Prepared, Provenance, Segmentation, Session, SessionFailure, SessionId, SessionSource

NETWORKS: tuple[ModelName, ...] = ("anatomy", "markers")
PACKAGES = ("numpy", "scipy", "nibabel", "SimpleITK", "openvino")
"""Packages that can change a result."""
FAILURE = "FAILED."
"""Begins the line of a log that says why its session failed."""


class Journal:
    """What happens to one session, as it happens: seconds per stage and sentences, each appended to the session's log at once.

    The log is the one file that is not written atomically: it has to be of use after a crash.
    """

    def __init__(self, path: Path, id: SessionId) -> None:
        self.id = id
        self.timings_s: dict[str, float] = {}
        self.sentences: list[str] = []
        self._stage = "start"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        path.write_text(f"smallvessel {__version__}, {id}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n", encoding="utf-8")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; a failure inside is told with its name."""
        self._stage = name
        start = time.perf_counter()
        yield
        self.timings_s[name] = time.perf_counter() - start
        self._append(f"[{name}] done in {self.timings_s[name]:.1f} s")

    def say(self, *sentences: str) -> None:
        """Add sentences to the log."""
        for sentence in map(make_printable, sentences):
            self.sentences.append(sentence)
            self._append(f"[{self._stage}] {sentence}")

    def failure(self, error: Exception) -> SessionFailure:
        """The failure of the present stage. An error that was not raised on purpose leaves its traceback in the log."""
        if isinstance(error, SmallvesselError):
            message = str(error)
        else:
            message = make_printable(f"Unexpected {type(error).__name__}: {error} (traceback in {self._path.name})")
            self._append("".join(traceback.format_exception(error)))
        self._append(f"[{self._stage}] {FAILURE} {message}")
        return SessionFailure(self.id, self._stage, message)

    def _append(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(line.rstrip("\n") + "\n")


def hash_inputs(source: SessionSource) -> dict[Sequence, str]:
    """SHA-256 of each of a session's files."""
    hashes = {}
    for sequence, path in source.files.items():
        with path.open("rb") as file:
            hashes[sequence] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def model_versions() -> dict[str, str]:
    """Each network's version and hashes, from its card.

    Raises
    ------
    ModelError
        When a card is missing or cannot be read.
    """
    return {name: load_card(name).identity for name in NETWORKS}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def run_digest(inputs: Mapping[Sequence, str], settings: Settings, models: Mapping[str, str], traits: Traits = UNKNOWN) -> str:
    """One hash of all that decides a result: inputs, settings, weights, version, and age and sex where a reference asks for them."""
    parts: dict[str, object] = {"inputs": dict(inputs), "settings": settings.digest(), "models": dict(models), "version": __version__}
    if settings.reference is not None and settings.reference.adjustment is not None:
        parts["traits"] = [traits.age, traits.male]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, MB (1e6 bytes); 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def methods_paragraph(prepared: Prepared, segmentation: Segmentation) -> str:
    """The methods of this very session, from the steps that were executed, ready to be adapted for a paper."""
    assessed = [marker for marker, found in segmentation.markers.items() if isinstance(found, MarkerMap)]
    sequences = _join([str(sequence) for sequence in prepared.native])
    opening = f"Images ({sequences}) were processed with smallvessel {__version__}."
    return " ".join([opening, *map(_sentence, (*prepared.steps, *segmentation.steps)), *_measured(assessed)])


def make_provenance(
    session: Session,
    prepared: Prepared,
    segmentation: Segmentation,
    settings: Settings,
    journal: Journal,
    traits: Traits = UNKNOWN,
) -> Provenance:
    """All that is known about how a session's result was made, at the time of the call."""
    inputs = {sequence: image.sha256 for sequence, image in session.images.items()}
    models = model_versions()
    return Provenance(
        version=__version__,
        digest=run_digest(inputs, settings, models, traits),
        inputs={str(sequence): sha256 for sequence, sha256 in inputs.items()},
        models=models,
        settings=settings.as_dict(),
        packages=package_versions(),
        timings_s=dict(journal.timings_s),
        peak_memory_mb=peak_memory_mb(),
        methods=methods_paragraph(prepared, segmentation),
        log=tuple(journal.sentences),
        sources={str(sequence): make_printable(bids_uri(image.path, session.id)) for sequence, image in session.images.items()},
        traits=traits,
    )


def _measured(assessed: list[Marker]) -> list[str]:
    if not assessed:
        return []
    names = _join([MARKERS[marker].name for marker in assessed])
    citations = _join(sorted({MARKERS[marker].citation for marker in assessed}))
    return [f"Volumes and counts (26-connected components) of {names} were measured as defined by {citations}."]


def _sentence(step: str) -> str:
    return step if step.endswith((".", "!", "?")) else f"{step}."


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
