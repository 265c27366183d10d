"""What workers do in tests of the scheduler. A file of its own, because a spawned worker has to import it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from smallvessel.config import Settings
from smallvessel.derivatives import session_files
from smallvessel.provenance import Journal
from smallvessel.records import SessionFailure, SessionSource
from smallvessel.run import THREAD_VARIABLES, Outcome


def act_by_name(source: SessionSource, out: Path, settings: Settings, force: bool) -> Outcome:
    """Do what the subject's label says."""
    name = source.id.subject
    (out / f"{name}.txt").write_text(" ".join(os.environ[variable] for variable in THREAD_VARIABLES) + f" {os.getpid()}")
    if name.startswith("killed"):
        Journal(out / session_files(source.id).log, source.id)  # as measuring begins
    if name.startswith(("killed", "unmeasured")):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("exits"):
        os._exit(3)
    if name.startswith("raises"):
        raise RuntimeError("out of luck")
    if name.startswith("slow"):
        time.sleep(0.5)
    if name.startswith("fails"):
        return Outcome(source.id, "failed", 0.0, SessionFailure(source.id, "intake", "not a head"))
    return Outcome(source.id, "skipped" if name.startswith("skipped") else "completed", 0.0)
