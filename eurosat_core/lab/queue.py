"""The queue: whose turn it is, a claim on a place in it, and what runs now.

Fair between participants, one run per slot at a time, and nothing that disturbs a measured run. What is measured on
the CPU has its machine alone; on a GPU, that GPU and the cores it needs. The queue and the book of running runs have no
threads, no clock and no lock: the dispatcher asks them under its own.
"""

import heapq
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from filelock import FileLock

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import DataError, LabError, RunError
from eurosat_core.lab.messages import KINDS, Command, Job, Slot, kind_of
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig

Move = Literal["first", "up", "down"]


@dataclass(frozen=True)
class Waiting:
    """One run in the line. seconds: how long it will take, None if unknown. measured: nothing may disturb it.

    cores: of the CPU, that it keeps busy; None: all there are.
    """

    run_id: str
    owner: str
    device: str
    seconds: float | None = None
    measured: bool = False
    cores: int | None = None

    @property
    def is_alone(self) -> bool:
        """Whether it needs the machine alone."""
        return self.measured and self.cores is None


def waiting_run(record: RunRecord, seconds: float | None, threads: int) -> Waiting:
    """A stored run as it stands in the line. threads: of a training on the CPU."""
    # What takes the time of single steps must not be disturbed, and neither must a race of trainings.
    kind = KINDS.get(record.kind)
    measured = kind is None or kind.is_measured or bool(record.plan.get("alone"))
    configs: tuple[TrainConfig, ...] = (record.config,)
    with suppress(LabError):  # another version's: it will say so when it is to begin
        configs += kind_of(record).configs
    if measured and (record.kind == "train" or not all(each.device.startswith("cuda") for each in configs)):
        cores = None
    elif record.config.device == "cpu":
        cores = threads
    else:  # one thread feeds the GPU and never rests
        cores = 1 + max(each.workers if each.source == "loader" else 0 for each in configs)
    return Waiting(record.id, record.owner, record.config.device, seconds, measured, cores)


@dataclass(frozen=True)
class Place:
    """Where a run stands: 1 is next. starts_in_seconds: None when a run before it has no known length.

    behind: the run that comes first of those it waits for; None when it is free to start. owner_is_busy: it waits until
    a run of the same participant has ended, for that is how many one may have at work.
    """

    position: int
    waiting: int
    starts_in_seconds: float | None
    behind: str | None = None
    owner_is_busy: bool = False


class FairQueue:
    """Participants take turns; within one participant's runs the oldest comes first.

    What was moved comes before the rest, in the order it was moved to. held: whether nothing of the line starts. limit,
    in_all: how many runs of one participant, and of everybody, may wait. at_work: how many of one participant may run
    at a time. cores: of the machine's CPU.
    """

    def __init__(self, limit: int, cores: int = 1, *, in_all: int = 1000, at_work: int = 1000) -> None:
        self.limit = limit
        self._in_all = in_all
        self._at_work = at_work
        self._cores = cores
        self._line: list[Waiting] = []
        self._moved: list[str] = []  # runs, in this order before the others
        self.held = False
        self._served: dict[str, int] = {}  # by owner: the turn in which one of theirs was last started
        self._turn = 0

    def __len__(self) -> int:
        return len(self._line)

    def __contains__(self, run_id: object) -> bool:
        return any(each.run_id == run_id for each in self._line)

    def check_room(self, owner: str) -> None:
        """Raises `RunError` when as many runs wait as may, of `owner` or of everybody."""
        own = sum(each.owner == owner for each in self._line)
        if own >= self.limit:
            raise RunError(
                f"You have {own} runs waiting, and {self.limit} is the most one participant may have. Wait for one "
                "to start, or stop one of them."
            )
        if len(self._line) >= self._in_all:
            raise RunError(
                f"{len(self._line)} runs are waiting, and {self._in_all} is the most this lab lets wait. Try again "
                "when some of them have started."
            )

    def add(self, run: Waiting) -> None:
        """Put a run at the end of its owner's runs."""
        self._line.append(run)

    def remove(self, run_id: str) -> None:
        """Take a run out of the line; nothing happens if it is not in it."""
        self._line = [each for each in self._line if each.run_id != run_id]
        self._moved = [each for each in self._moved if each != run_id]

    def move(self, run_id: str, to: Move) -> None:
        """Let a run change places. Nothing happens if it is not in the line, or is there already."""
        order = [each.run_id for each in self.in_order()]
        if run_id not in order:
            return
        at = order.index(run_id)
        new = {"first": 0, "up": at - 1, "down": at + 1}[to]
        if new == at or not 0 <= new < len(order):
            return
        if to == "first":
            self._moved = [run_id, *(each for each in self._moved if each != run_id)]
        else:  # those that it stays behind keep their places, too
            order.insert(new, order.pop(at))
            self._moved = order[: max(at, new, len(self._moved) - 1) + 1]

    def in_order(self) -> list[Waiting]:
        """The line as it will be served: what was moved, then the owner who was served longest ago comes next."""
        served, turn = dict(self._served), self._turn
        left, order, moved = list(self._line), [], list(self._moved)
        while left:
            if moved:
                first = moved.pop(0)
                following = next(each for each in left if each.run_id == first)
            else:
                following = min(left, key=lambda each: served.get(each.owner, 0))  # stable: the oldest of equals
            left.remove(following)
            order.append(following)
            turn += 1
            served[following.owner] = turn
        return order

    def next_for(
        self,
        idle: Collection[str],
        running: Collection[Waiting],
        returning: Iterable[Waiting] = (),
        *,
        elsewhere: Collection[Waiting] = (),
        lacks: Collection[str] = (),
        cores: int = 0,
    ) -> Waiting | None:
        """The run for one of the `idle` devices of a machine beside its `running` ones: one that returns, or the next.

        returning: those that gave their place away while they were paused; they had begun before, so they come first.
        What comes from the line is taken out of it. A measured run waits until nothing runs that would disturb it, and
        nothing overtakes it then, or it would never start. One whose owner has enough at work is passed over.

        elsewhere: what runs on other machines. lacks: devices that only others have. cores: of this one's CPU; 0: as
        many as the queue knows of.
        """
        if any(each.is_alone for each in running):
            return None
        for run in (*returning, *([] if self.held else self.in_order())):
            if run.device in lacks:
                continue
            if run.is_alone and running:
                return None
            if self._is_busy(run.owner, (*running, *elsewhere)):
                continue
            if run.device not in idle:
                if run.is_alone:
                    return None
                continue
            if not self._have_cores(run, *running, cores=cores):
                if run.measured:
                    return None
                continue
            if run.run_id in self:  # to return is no new turn
                self.remove(run.run_id)
                self._turn += 1
                self._served[run.owner] = self._turn
            return run
        return None

    def _is_busy(self, owner: str, running: Iterable[Waiting]) -> bool:
        """Whether a participant has as many runs at work as one may have."""
        return sum(each.owner == owner for each in running) >= self._at_work

    def _have_cores(self, *runs: Waiting, cores: int = 0) -> bool:
        """Whether nobody takes from a measured one of these runs the cores it needs."""
        if not any(each.measured for each in runs):
            return True
        there = cores or self._cores
        return sum(each.cores or there for each in runs) <= there or len(runs) == 1

    def place(self, run_id: str, running: Iterable[Waiting], slots: int = 1) -> Place | None:
        """Where a run stands; None if not in line.

        running: what runs now or returns before the line, with the seconds each still needs. slots: for its device.
        """
        order = self.in_order()
        numbers = [each.run_id for each in order]
        if run_id not in numbers:
            return None
        position = numbers.index(run_id)
        own = order[position]
        at_work = list(running)
        ahead = [*at_work, *order[:position]]
        busy = self._is_busy(own.owner, at_work)
        if not own.measured:  # other devices do not hold it up, what is measured on them may, and what one's own has
            ahead = [
                each
                for each in ahead
                if each.device == own.device or not self._have_cores(own, each) or (busy and each.owner == own.owner)
            ]
        known = [each.seconds for each in ahead if each.seconds is not None]
        behind = ahead[0].run_id if len(ahead) >= slots else None
        starts = _starts_in(known, slots) if len(known) == len(ahead) and not self.held else None
        return Place(position + 1, len(order), starts, behind, busy)


def _starts_in(ahead: Iterable[float], slots: int) -> float:
    """Seconds until one of the slots is free, when each run ahead takes the first one that is."""
    free = [0.0] * max(1, slots)
    for seconds in ahead:
        heapq.heapreplace(free, free[0] + seconds)
    return free[0]


def claim(
    store: RunStore, waiting: Waiting, tiles: TileSet, threads: int, cluster: str = "", host: str = ""
) -> tuple[Job, FileLock] | None:
    """Note a stored run as running: its job on `threads` CPU threads, and its lock, which this process keeps.

    cluster, host: the scheduler and the machine it runs on, where that is not this one.

    None when it cannot start: then its record says why, unless it is another server's or its folder is gone.
    """
    run_id = waiting.run_id
    try:
        lock = store.lock(run_id)
    except LabError:
        return None
    except OSError as error:
        reason = error.strerror or error
        remedy = "Free some disk space, or set EUROSAT_RUNS to a folder on a local disk. Then start it again."
        _fail(store, run_id, f"Its folder cannot be locked ({reason}). {remedy}")
        return None
    try:
        record = store.get(run_id)
        if record.state == "queued":
            if tiles.fingerprint != record.tiles.fingerprint:
                raise DataError("The lab's tiles have changed since this run was asked for. Start it again.")
            needed = kind_of(record).weights_of
            weights = store.load(needed, "model.pt") if needed else b""
            with store.storing("That it begins"):
                began = max(time.time(), record.created)
                store.update(run_id, state="running", started=began, cluster=cluster, host=host)
            cache = str(tiles.cache)
            job = Job(run_id, record.config, tiles.fingerprint, cache, threads, record.kind, record.plan, weights)
            return job, lock
    except (LabError, OSError) as error:
        _fail(store, run_id, str(error))
    lock.release()
    return None


def _fail(store: RunStore, run_id: str, message: str) -> None:
    with suppress(LabError, OSError):
        store.end(run_id, "failed", message)


_MOST_PARKED = 8  # paused runs whose place was given away; each keeps its network and its loader workers


@dataclass
class Running:
    """A run that a worker has: its line entry, its lock, its slot, and what is known of its course."""

    waiting: Waiting
    lock: FileLock
    slot: Slot
    began: float = field(default_factory=time.monotonic)
    unstored: list[bytes] = field(default_factory=list)  # events that the disk did not take
    paused_since: float | None = None
    rested: float = 0.0  # seconds that it was paused before
    overran: bool = False  # it was told to stop because it had run for as long as a run may
    parked: bool = False  # paused for so long that its place was given to others
    resumed: float | None = None  # since when a parked run is to go on; its device comes first, then its worker's word
    stopping_since: float | None = None  # since when it has been told to stop
    pending_commands: list[Command] = field(default_factory=list)  # asked for before its worker had begun

    @property
    def worked(self) -> float:
        """Seconds since it began, without pauses."""
        now = time.monotonic()
        return now - self.began - self.rested - (now - self.paused_since if self.paused_since is not None else 0.0)

    def go_on(self) -> None:
        """It is not paused any more."""
        if self.paused_since is not None:
            self.rested += time.monotonic() - self.paused_since
        self.paused_since = None

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self.stopping_since is not None

    def stop(self) -> None:
        """It is told to stop, by whoever is first."""
        self.stopping_since = self.stopping_since or time.monotonic()

    @property
    def is_returning(self) -> bool:
        """Whether it was resumed and has not gone on yet."""
        return self.resumed is not None

    def still_needs(self, known: float | None) -> Waiting:
        """Its line entry with the seconds it still needs: as `known` from its history, else by its estimate."""
        if self.paused_since is not None:
            return replace(self.waiting, seconds=None)
        if known is None and self.waiting.seconds is not None:
            known = max(0.0, self.waiting.seconds - (time.monotonic() - self.began))
        return replace(self.waiting, seconds=known)


class RunningRuns(dict[str, Running]):
    """All runs that workers have, by id."""

    def at_work(self) -> list[Running]:
        """The runs that have their device: all but the parked ones."""
        return [each for each in self.values() if not each.parked]

    def returning(self) -> list[Running]:
        """The resumed runs that wait for their device, in the order they were resumed in."""
        waiting = [each for each in self.values() if each.parked and each.resumed is not None]
        return sorted(waiting, key=lambda each: each.resumed or 0.0)

    def park(self, paused_seconds: float) -> tuple[list[Running], list[Running]]:
        """Give away the place of runs paused for longer than this: those, and those that are too many to keep."""
        now = time.monotonic()
        new = []
        for running in self.values():
            long = running.paused_since is not None and now - running.paused_since > paused_seconds
            if long and not running.parked:
                running.parked = True
                new.append(running)
        parked = [each for each in self.values() if each.parked and not each.stopping]
        return new, parked[:-_MOST_PARKED]
