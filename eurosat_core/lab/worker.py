"""What a worker process does for the lab's engine, which calls these functions there. Nothing here knows Dask.

A worker keeps all that a job told, and its result, until the server has stored its end. So it is the server that asks
for what it has not got yet: whatever dies on its side, nothing is lost and nothing told twice.

What computes is imported inside functions: the server imports this file, and would load PyTorch before its first page.
"""

import asyncio
import logging
import multiprocessing
import os
import platform
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from eurosat_core import __version__
from eurosat_core.cores import available_cores
from eurosat_core.devices import probe_devices
from eurosat_core.lab.messages import Command, Job, JobResult
from eurosat_core.machine_notes import Note, machine_notes
from eurosat_core.runs.history import RunEvent, encoded_event
from eurosat_core.settings import load_settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.threads import give_back_memory

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_MOST_KEPT = 50  # jobs that have ended and that no server came for
_MOST_EVENTS = 5000  # in one answer


class _Work:
    """A job: what it has told, and how it ended."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.result: JobResult | None = None
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], object]] = []

    def do(self, job: Job) -> None:
        from eurosat_core.lab import calibration, jobs

        calibration.give_way()
        try:
            result = _in_own_thread(lambda: jobs.run_job(job, self._tell))
        except Exception as error:
            logger.exception("run %s gave no result", job.run_id)
            result = JobResult("failed", f"Its worker gave no result ({type(error).__name__}: {str(error)[:200]}).")
        give_back_memory()
        with self._lock:
            self.result = result
        self._wake()

    def _tell(self, events: list[RunEvent]) -> None:
        with self._lock:
            self.events += [encoded_event(each) for each in events]
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            with suppress(RuntimeError):  # its loop has ended
                wake()

    async def news(self, told: int, patience: float) -> tuple[list[bytes], JobResult | None]:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            waits = len(self.events) <= told and self.result is None
            if waits:
                self._wakers.append(lambda: loop.call_soon_threadsafe(woken.set))
        if waits:
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), patience)
        with self._lock:
            events = self.events[told : told + _MOST_EVENTS]
            return events, self.result if told + len(events) >= len(self.events) else None


_works: dict[str, _Work] = {}


def begin(job: Job) -> None:
    """Start a job in a thread of its own."""
    if job.run_id in _works:  # the answer to an earlier call was lost
        return
    ended = [run_id for run_id, work in _works.items() if work.result is not None]
    for run_id in ended[: max(0, len(ended) - _MOST_KEPT)]:
        del _works[run_id]
    work = _works[job.run_id] = _Work()
    threading.Thread(target=work.do, args=(job,), name="eurosat-job", daemon=True).start()


async def news(run_id: str, told: int, patience: float) -> tuple[list[bytes], JobResult | None] | None:
    """What a job tells after its first `told` events, and with the last of them its result; None: no such job.

    Waits for news for at most `patience` seconds.
    """
    work = _works.get(run_id)
    return None if work is None else await work.news(told, patience)


def known_jobs() -> list[str]:
    """The runs that this process does, or has done and keeps."""
    return list(_works)


def is_idle() -> bool:
    """Whether no job is at work here."""
    return all(each.result is not None for each in _works.values())


def forget(run_id: str) -> None:
    """Let go of a job; one that is still at work stops."""
    work = _works.pop(run_id, None)
    if work is not None and work.result is None:
        command(run_id, "stop")


def command(run_id: str, name: Command) -> bool:
    """Pass a command to a run; False when this process does not have it."""
    from eurosat_core.lab import jobs

    return jobs.command(run_id, name)


# -- what a worker is


def introduce() -> dict[str, Any]:
    """What a cluster's worker is and has; what another version of the lab answers must be readable, so names only."""
    settings = load_settings()
    return {
        "versions": versions(),
        "devices": probe_devices(),
        "host": socket.gethostname(),
        "cores": available_cores(),
        "threads": settings.threads,
        "may_have_children": not multiprocessing.current_process().daemon,
    }


def versions() -> dict[str, str]:
    """What must be, or should be, the same on both sides, by its name in a sentence. Loads no PyTorch."""
    return {
        "EuroSAT Lab": __version__,
        "PyTorch": version("torch").partition("+")[0],
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }


def measure(config: TrainConfig, threads: int, cache: str | None) -> list[Note] | None:
    """How fast this process trains. None beside a run, and for one that came meanwhile."""
    from eurosat_core.lab import calibration, jobs

    if jobs.at_work():
        return None
    notes = machine_notes(Path(cache) if cache else load_settings().cache, threads)
    try:
        return _in_own_thread(lambda: calibration.measure_speed(config, threads, notes, jobs.at_work))
    finally:
        give_back_memory()


def stop_measuring() -> None:
    """End what is being measured here."""
    from eurosat_core.lab import calibration

    calibration.give_way(0.0)


def prepare(device: str = "cpu") -> None:
    """In a new worker: load what the first run needs, so that it starts at once; and see what a profile shows.

    That is torch, the fork server of loader workers, and what PyTorch loads when a process makes its first optimizer
    (its compiler: 1.5 to 2 s on a slow processor, of the 3.2 s until a run's first point).
    """
    import torch

    from eurosat_core.data.batches import warm_loader_workers
    from eurosat_core.lab import jobs

    def load() -> None:
        warm_loader_workers()  # the fork server, and so every loader worker, lets pages go first, too
        torch.optim.SGD([torch.zeros(1)])
        warm_loader_workers(wait=True)
        jobs.unseen_kernels(device)

    _in_own_thread(load)


def _in_own_thread(work: Callable[[], _Result]) -> _Result:
    """Compute in a thread that ends with the work, and that lets the pages go first.

    OpenMP keeps a team of threads for every thread that has ever computed, and once there are more of them than
    cores, all of them sleep instead of spinning while they wait (libgomp's throttling). Dask runs tasks on any of its
    threads, so that came soon: 75 context switches a step, 15.8 instead of 11.7 ms (baseline, batch 40, two cores,
    three repeats each). A thread that ends takes its team with it.
    """
    with ThreadPoolExecutor(max_workers=1, initializer=_let_pages_go_first) as one:
        return one.submit(work).result()


# A page gets three quarters of a core that it shares with a training then, in place of half. Other programs gain none
# by it where the system divides time between sessions first, as Linux does (its autogroups, and systemd's slices).
_NICENESS = 5


def _let_pages_go_first() -> None:
    """Compute at a lower priority than the server, whose pages everybody waits for.

    On Linux that is this thread's, and of those it starts: the worker's others still take a Stop at once.
    """
    with suppress(AttributeError, OSError):  # Windows has none; a system may forbid it
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
