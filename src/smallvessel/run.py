"""Many sessions side by side: a few worker processes, each measuring one session at a time.

A worker that dies (killed for memory, a crash in a library) costs its own session only: the session is reported as failed
and another worker takes over.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

from .config import Settings
from .dataset import start_dataset
from .derivatives import clear_session, is_cut_off, is_finished, raw_root, rebuild_tables, reviewers_of, session_files
from .errors import InputError, SmallvesselError
from .records import RunSummary, SessionFailure, SessionId, SessionSource

MEMORY_PER_JOB_GB = 4.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
"""What the libraries of a worker read when they start; OpenVINO follows OMP_NUM_THREADS through models.py."""


@dataclass(frozen=True)
class Outcome:
    """What became of one session, and after how many seconds; ``note`` is what the user should know besides."""

    id: SessionId
    status: Literal["completed", "skipped", "failed"]
    seconds: float
    failure: SessionFailure | None = None
    note: str = ""


Process = Callable[[SessionSource, Path, Settings, bool], Outcome]


def default_jobs(n_sessions: int) -> int:
    """Worker processes that fit the cores and the memory of this machine: one core and about 4 GB each."""
    return max(1, min(n_sessions, count_cores(), int(memory_gb() // MEMORY_PER_JOB_GB)))


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gb() -> float:
    """Memory that is free for use, GB, within the limit of the container if there is one; 8 where the system does not tell."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free_gb = int(fields.get("MemAvailable", fields["MemTotal"]).split()[0]) * 1024 / 1e9
    elif "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        free_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    else:
        free_gb = 8.0
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(free_gb, int(text) / 1e9) if text.isdigit() else free_gb


def measure_or_skip(source: SessionSource, out: Path, settings: Settings, force: bool) -> Outcome:
    """Measure a session unless it is finished already with the same inputs, settings, weights and version, or was reviewed.

    A finished session gets the reports that it lacks. What a person reviewed is measured anew only when forced.
    """
    from .pipeline import process_session

    start = time.perf_counter()
    if not force and is_cut_off(out, source.id):
        cut_off = InputError(
            f"{source.id}, of which a review was cut off while it was written",
            "a finished session",
            f"bring back what was measured at first with smallvessel review revert OUT --session {source.id}, or run --force",
        )
        return Outcome(source.id, "failed", time.perf_counter() - start, SessionFailure(source.id, "review", str(cut_off)))
    if not force and (out / session_files(source.id).measures).exists():
        try:
            note = _why_skipped(source, out, settings)
        except SmallvesselError as error:
            failure = SessionFailure(source.id, "report", str(error))
            return Outcome(source.id, "failed", time.perf_counter() - start, failure)
        if note is not None:
            return Outcome(source.id, "skipped", time.perf_counter() - start, note=note)
    result = process_session(source, out, settings)
    seconds = time.perf_counter() - start
    if isinstance(result, SessionFailure):
        return Outcome(source.id, "failed", seconds, result)
    return Outcome(source.id, "completed", seconds)


def _why_skipped(source: SessionSource, out: Path, settings: Settings) -> str | None:
    """What there is to say about a session that stays as it is, perhaps nothing; None when it has to be measured."""
    from .provenance import hash_inputs, model_versions, run_digest
    from .redraw import add_reports

    if all(path.is_file() for path in source.files.values()):
        digest = run_digest(hash_inputs(source), settings, model_versions(), source.traits)
        if is_finished(out, source.id, digest):
            added = add_reports(source, out, settings)
            return f"{', '.join(path.name for path in added)} added; nothing was measured anew" if added else ""
    reviewers = reviewers_of(out, source.id)
    if reviewers:
        return (
            f"reviewed by {', '.join(reviewers)} and kept as it is, though its files, the settings, the networks or the version are "
            "others by now; run --force measures it anew, without the review"
        )
    return None


def run_sessions(
    sources: Iterable[SessionSource],
    out: Path,
    settings: Settings,
    jobs: int | None = None,
    force: bool = False,
    notify: Callable[[Outcome], None] | None = None,
    process: Process = measure_or_skip,
    tell: Callable[[str], None] | None = None,
) -> RunSummary:
    """Measure sessions in worker processes and rebuild the tables of the output folder.

    Parameters
    ----------
    sources : iterable of SessionSource
    out : Path
        Made if it does not exist; an earlier run's folder is added to.
    settings : Settings
    jobs : int, optional
        Worker processes; by default as many as cores and memory allow.
    force : bool
        Measure finished sessions again.
    notify : callable, optional
        Is told of each session's outcome as it comes.
    process : callable
        What a worker does with a session.
    tell : callable, optional
        Is told in a sentence which sessions of earlier runs are left out of the table, and why.

    Returns
    -------
    RunSummary
        Sessions in the order in which they were given.

    Raises
    ------
    InputError
        When the output folder cannot be used or ``jobs`` is below 1.
    ModelError
        When the weights' cards cannot be read.
    """
    from . import __version__
    from .provenance import model_versions
    from .report import write_index

    sources = tuple(sources)
    if jobs is not None and jobs < 1:
        raise InputError(f"{jobs} jobs", "1 or more", "correct --jobs")
    workers = min(jobs or default_jobs(len(sources)), max(len(sources), 1))
    roots = [raw_root(path, source.id) for source in sources for path in source.files.values()]
    start_dataset(out, __version__, model_versions(), next((root for root in roots if root), None))
    outcomes: dict[SessionId, Outcome] = {}
    for outcome in _run_workers(sources, workers, out, settings, force, process):
        outcomes[outcome.id] = outcome
        if notify:
            notify(outcome)
    records = rebuild_tables(out, tell)
    if settings.write_report or (out / "index.html").exists():
        write_index(out, records)
    ordered = [outcomes[source.id] for source in sources]
    return RunSummary(
        completed=tuple(outcome.id for outcome in ordered if outcome.status == "completed"),
        skipped=tuple(outcome.id for outcome in ordered if outcome.status == "skipped"),
        failed=tuple(outcome.failure for outcome in ordered if outcome.failure),
    )


@dataclass(frozen=True)
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection
    source: SessionSource
    started: float
    log_before: int | None
    """When the session's log was last written to, ns, before the worker was given the session."""


def _run_workers(
    sources: tuple[SessionSource, ...], workers: int, out: Path, settings: Settings, force: bool, process: Process
) -> Iterator[Outcome]:
    waiting = deque(sources)
    busy: dict[Connection, _Worker] = {}
    threads = max(1, count_cores() // workers)

    def assign(worker: _Worker | None) -> None:
        """Give the worker, or a new one when there is none, the next session; let it go when none is left."""
        if not waiting:
            if worker:
                worker.connection.send(None)
                worker.process.join()
            return
        source = waiting.popleft()
        if worker is None:
            worker = _start_worker(source, threads, out, settings, force, process)
        busy[worker.connection] = replace(worker, source=source, started=time.perf_counter(), log_before=_log_time(out, source.id))
        with suppress(OSError):  # a worker that died just now is noticed when its answer is read
            worker.connection.send(source)

    try:
        for _ in range(workers):
            assign(None)
        while busy:
            ready = wait(list(busy))
            for worker in [worker for connection, worker in busy.items() if connection in ready]:
                del busy[worker.connection]
                try:
                    outcome: Outcome = worker.connection.recv()
                except (EOFError, OSError):
                    yield _report_death(worker, out)
                    assign(None)
                else:
                    yield outcome
                    assign(worker)
    finally:
        for worker in busy.values():
            worker.process.terminate()


def _start_worker(source: SessionSource, threads: int, out: Path, settings: Settings, force: bool, process: Process) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_work, args=(there, out, settings, force, process), daemon=True)
    with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
        child.start()
    there.close()
    return _Worker(child, here, source, time.perf_counter(), None)


def _work(connection: Connection, out: Path, settings: Settings, force: bool, process: Process) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted and ends its workers
    with suppress(EOFError):  # the parent is gone
        while (source := connection.recv()) is not None:
            start = time.perf_counter()
            try:
                outcome = process(source, out, settings, force)
            except Exception as error:  # what went wrong before the session's own log was open
                failure = SessionFailure(source.id, "start", f"Unexpected {type(error).__name__}: {error}")
                outcome = Outcome(source.id, "failed", time.perf_counter() - start, failure)
            connection.send(outcome)


def _report_death(worker: _Worker, out: Path) -> Outcome:
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"was killed (signal {-code})" if code < 0 else f"ended with exit code {code}"
    if _log_time(out, worker.source.id) != worker.log_before:  # measuring begins with a log; what was only looked at is left as it is
        clear_session(out, worker.source.id)
    message = (
        f"Found: the worker process {how} before the session was done. Expected: a result. "
        f"To do: look at {session_files(worker.source.id).log.as_posix()}; if memory ran out, run again with fewer --jobs."
    )
    failure = SessionFailure(worker.source.id, "worker", message)
    return Outcome(worker.source.id, "failed", time.perf_counter() - worker.started, failure)


def _log_time(out: Path, id: SessionId) -> int | None:
    log = out / session_files(id).log
    return log.stat().st_mtime_ns if log.exists() else None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for a child that is started inside; those that the user has set are kept."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
