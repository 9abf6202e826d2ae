"""The runs that workers have: which devices they keep busy, which are paused for long, which want their device back.

Nothing here is locked: the dispatcher, whose book this is, asks under its own lock, single look-ups aside.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from filelock import FileLock

from eurosat_core.errors import RunError
from eurosat_core.lab.jobs import Command
from eurosat_core.lab.queue import Waiting

__all__ = ["Running", "RunningRuns"]

_MOST_PARKED = 8  # paused runs whose place was given away; each keeps its network and its loader workers


@dataclass
class Running:
    """A run that a worker has: its line entry, its lock, and what is known of its course."""

    waiting: Waiting
    lock: FileLock
    began: float = field(default_factory=time.monotonic)
    told: int = 0
    paused_since: float | None = None
    parked: bool = False  # paused for so long that its place was given to others
    stopping: bool = False
    owed: list[Command] = field(default_factory=list)  # asked for before its worker had begun
    ended: float | None = None  # when its result came, which then waits for events still on their way

    def still_needs(self, known: float | None) -> Waiting:
        """Its line entry with the seconds it still needs: as `known` from its history, else by its estimate."""
        if self.paused_since is not None:
            return replace(self.waiting, seconds=None)
        if known is None and self.waiting.seconds is not None:
            known = max(0.0, self.waiting.seconds - (time.monotonic() - self.began))
        return replace(self.waiting, seconds=known)


class RunningRuns:
    """All runs that workers have, by id."""

    def __init__(self) -> None:
        self._runs: dict[str, Running] = {}
        self._returning: list[str] = []  # parked runs that were resumed and wait for their device

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[tuple[str, Running]]:
        return iter(list(self._runs.items()))

    def get(self, run_id: str) -> Running | None:
        """A run that a worker has; None for any other."""
        return self._runs.get(run_id)

    def add(self, waiting: Waiting, lock: FileLock) -> None:
        """Note a run as running from now on."""
        self._runs[waiting.run_id] = Running(waiting, lock)

    def remove(self, run_id: str) -> None:
        """Forget a run that has ended."""
        self._runs.pop(run_id, None)
        if run_id in self._returning:
            self._returning.remove(run_id)

    def at_work(self) -> list[Running]:
        """The runs that have their device: all but the parked ones."""
        return [each for each in self._runs.values() if not each.parked]

    def ahead(self) -> list[Running]:
        """The runs that come before the line: those at work, and those that return."""
        return [*self.at_work(), *self.returning()]

    def parked_on(self, device: str) -> list[Running]:
        """The parked runs that live in this device's worker."""
        return [each for each in self._runs.values() if each.parked and each.waiting.device == device]

    def busy(self) -> set[str]:
        """Devices on which something runs."""
        return {each.waiting.device for each in self.at_work()}

    def park(self, paused_seconds: float) -> list[Running]:
        """Give away the place of runs paused for longer than this. Answers with those that are too many to keep."""
        now = time.monotonic()
        for running in self._runs.values():
            if running.paused_since is not None and now - running.paused_since > paused_seconds:
                running.parked = True
        parked = [each for each in self._runs.values() if each.parked and not each.stopping]
        return parked[:-_MOST_PARKED]

    def is_away(self, run_id: str) -> bool:
        """Whether a run's place is others', or not yet its own again."""
        return run_id in self._returning or self._runs[run_id].parked

    def command_away(self, run_id: str, command: Command) -> None:
        """Resume a run that is away: it waits for its device from now on. Raises `RunError` for what must wait."""
        if command != "resume":
            raise RunError(
                f"The place of the run {run_id} went to others while it was paused. Resume it: once it goes on, you "
                "can pause it and go step by step again."
            )
        if run_id not in self._returning:
            self._returning.append(run_id)

    def is_returning(self, run_id: str) -> bool:
        """Whether a parked run was resumed and waits for its device."""
        return run_id in self._returning

    def returning(self) -> list[Running]:
        """The resumed runs that wait for their device, in the order they were resumed in."""
        resumed = [self._runs[run_id] for run_id in self._returning]
        return [each for each in resumed if each.parked]

    def take_back(self, run_id: str) -> None:
        """A resumed run has its device again, and is about to be told."""
        self._runs[run_id].parked = False

    def returned(self, run_id: str, arrived: bool) -> bool:
        """Note whether a resumed run got the word, and thus goes on; if not, it is tried again unless it has ended."""
        running = self._runs.get(run_id)
        if running is None:
            return False
        if not arrived:
            running.parked = True
            return False
        running.paused_since = None
        self._returning.remove(run_id)
        return True
