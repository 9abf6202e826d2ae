"""Which processor cores this process may use, and how many of them others keep busy."""

import math
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil

_KEPT_SECONDS, _STALE_SECONDS = 1.0, 4.0  # of a load that was asked for
_SHORTEST_LOOK = 0.15  # seconds: the system counts in ticks of a hundredth
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> set[int]:
    """The cores that this process may use (a container or `taskset` may allow fewer than the machine has)."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def available_cores() -> int:
    """How many cores this process may use; no more than its container's share of time, where it has one."""
    cores = len(usable_cores())
    quota = _quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def _quota() -> float | None:
    """Cores' worth of time that a Linux container may take (`docker run --cpus 2`); None without such a limit."""
    try:
        allowed, _, period = _CGROUP_QUOTA.read_text().strip().partition(" ")
        return int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or the word "max"
        return None


def free_cores(busy: float) -> float:
    """Cores that one more process with many threads gets beside others that keep `busy` cores busy before it comes.

    At least its fair share of the scheduler's time: two thirds of a core beside two busy processes on two cores.
    """
    cores = len(usable_cores())
    return min(max(cores - busy, cores / (math.ceil(busy - 0.1) + 1)), float(available_cores()))


class Load(NamedTuple):
    """How many cores this process (`own`) and all the others kept busy, on average over so many seconds."""

    seconds: float
    own: float
    others: float


class CoreMeter:
    """How busy the usable cores were between one look and the next. Not safe for several threads at once.

    family: what this process has started counts as its own.
    """

    def __init__(self, *, family: bool = False) -> None:
        self._family = family
        self._last = self._read()

    def look(self) -> Load | None:
        """The load since the last look; None when that was only a moment ago."""
        now = self._read()
        seconds = now[0] - self._last[0]
        if seconds < _SHORTEST_LOOK:
            return None
        busy, own = (after - before for after, before in zip(now[1:], self._last[1:], strict=True))
        self._last = now
        most = float(len(usable_cores()))
        return Load(seconds, min(max(own, 0.0) / seconds, most), min(max(busy - own, 0.0) / seconds, most))

    def _read(self) -> tuple[float, float, float]:
        """The time, the seconds that all usable cores have been busy, and how much of that was this process's."""
        usable = usable_cores()
        busy = 0.0
        for core, times in enumerate(psutil.cpu_times(percpu=True)):
            if core in usable:  # what guests of a virtual machine take is part of `user` already
                busy += times.user + times.system + sum(getattr(times, name, 0.0) for name in _MORE_WORK)
        return time.perf_counter(), busy, time.process_time() + (_children_seconds() if self._family else 0.0)


class LoadNow:
    """How busy others keep the machine at the moment, looked at when it is asked. Safe for several threads.

    What this process has started is not counted: it asks for what one more process would get in its own place.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._meter = CoreMeter(family=True)
        self._looked = float("-inf")
        self._busy: float | None = None

    def free_cores(self) -> float:
        """As `free_cores`, of the load now; takes a sixth of a second where it was not asked for a while.

        One thread looks, and the others go on with what was known before: a room of pages asks at once.
        """
        if time.perf_counter() - self._looked > _KEPT_SECONDS and self._lock.acquire(blocking=self._busy is None):
            try:
                self._look()
            finally:
                self._lock.release()
        return free_cores(self._busy or 0.0)

    def _look(self) -> None:
        since = time.perf_counter() - self._looked
        if since <= _KEPT_SECONDS:  # another has just looked
            return
        if since > _STALE_SECONDS:  # else it would be the mean of minutes
            self._meter.look()
            time.sleep(1.1 * _SHORTEST_LOOK)
        load = self._meter.look()
        self._busy = load.others if load is not None else self._busy or 0.0
        self._looked = time.perf_counter()


class MeanLoad:
    """The load over a job: this process and what it started on one side, everybody else on the other."""

    def __init__(self) -> None:
        self._meter = CoreMeter(family=True)
        self._due = time.perf_counter() + _MEAN_EVERY
        self._sums = (0.0, 0.0, 0.0)

    def look(self, *, last: bool = False) -> None:
        """Take in what has been since the last look, once a second: processes that end take their figures along."""
        if not last and time.perf_counter() < self._due:
            return
        self._due = time.perf_counter() + _MEAN_EVERY
        if (load := self._meter.look()) is not None:
            seconds, own, others = self._sums
            more = load.seconds
            self._sums = (seconds + more, own + more * load.own, others + more * load.others)

    @property
    def mean(self) -> Load | None:
        """Over all looks; None for a job that was over in a moment."""
        seconds, own, others = self._sums
        return Load(seconds, own / seconds, others / seconds) if seconds else None


_MEAN_EVERY = 1.0
_MORE_WORK = ("nice", "irq", "softirq", "interrupt", "dpc")  # as far as the system counts them apart


def _children_seconds() -> float:
    """CPU seconds of all living processes that this one has started, directly or not."""
    seconds = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
            seconds += times.user + times.system
        except psutil.Error:  # it has just ended
            continue
    return seconds
