"""From the queue to a worker and back: starts the next run when a device is idle, records what workers report,
and notes how runs end.

One thread takes the workers' messages and starts runs, one after the other; pages ask it under one lock.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Literal

from eurosat_core.cores import available_cores
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError, RunError
from eurosat_core.lab.messages import Command, Engine, EventsTold, Job, JobResult, Message, Slot
from eurosat_core.lab.queue import FairQueue, Move, Place, Running, RunningRuns, Waiting, claim, waiting_run
from eurosat_core.runs.record import RunRecord, State
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.wording import duration

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_STOP_SECONDS = 120.0  # a run stops after its step; one of the largest network takes seconds, compiling it a minute
_MOST_UNSTORED = 10_000  # events of a run that wait for a disk with room
_ORPHANS_SECONDS = 30.0  # how often to look for runs of other programs that have died


class Dispatcher:
    """Owns the queue and the running runs. All methods may be called from any thread.

    tiles: gives the lab's tile set, None while it is being opened. threads: of a training, on the CPU. seconds_left:
    what a running run still needs, from its history. available: the devices that can be used.
    """

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        engine: Engine,
        *,
        tiles: Callable[[], TileSet | None],
        threads: Callable[[], int],
        available: Callable[[], set[str]],
        seconds_left: Callable[[str], float | None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._tiles = tiles
        self._threads = threads
        self._available = available
        self._seconds_left = seconds_left
        self._queue = FairQueue(
            settings.queue_limit, available_cores(), in_all=settings.line_limit, at_work=settings.running_limit
        )
        self._cluster = settings.scheduler or ""
        self._running = RunningRuns()
        self._restarting: set[str] = set()  # workers
        self._lock = threading.RLock()
        self._inbox: queue.SimpleQueue[Message | Literal["look", "close"]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="eurosat-dispatch", daemon=True)

    def open(self) -> None:
        """Start the dispatcher's thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop dispatching. What waits keeps waiting, for the next server.

        What runs becomes `interrupted`; on a cluster it runs on, and the next server finds it.
        """
        self._inbox.put("close")
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        with self._lock:
            for run_id, running in list(self._running.items()):
                if self._cluster:
                    running.lock.release()
                    continue
                message = "The lab was closed while it ran. What it had reported until then is kept."
                self._end(run_id, "interrupted", message)

    def receive(self, message: Message) -> None:
        """What a worker says; taken up by the dispatcher's thread."""
        self._inbox.put(message)

    def take_back(self) -> None:
        """Runs that an earlier server started on this cluster: those that workers still have go on, the others end."""
        if not self._cluster:
            return
        found = self._engine.found()
        for record in self._store.all()[0]:
            if record.id in found and not record.is_active:
                self._engine.forget(record.id)
            if record.cluster == self._cluster and record.state in ("running", "paused"):
                with suppress(LabError, OSError):  # another server has it, or it cannot be written
                    self._take_back(record, found.get(record.id))
        self.look()

    def _take_back(self, record: RunRecord, slot: Slot | None) -> None:
        with self._lock:
            if record.id in self._running:
                return
            lock = self._store.lock(record.id)
            waiting = waiting_run(record, None, self._threads())
            running = Running(waiting, lock, slot or Slot(record.config.device, "", record.host))
            running.began -= max(0.0, time.time() - (record.started or time.time()))
            if record.state == "paused":
                running.paused_since = time.monotonic()
            self._running[record.id] = running
            if slot is None:
                message = "The cluster no longer had it when the lab came back. What it had reported is kept."
                self._end(record.id, "interrupted", message)
                return
            running.parked = record.state == "paused" and any(
                each.slot.worker == slot.worker for each in self._running.at_work() if each is not running
            )
            self._engine.follow(record.id, slot, self._store.told(record.id))

    # -- what pages ask for

    def check_room(self, owner: str) -> None:
        """Raises `RunError` when as many runs wait as may, of `owner` or of everybody."""
        with self._lock:
            self._queue.check_room(owner)

    @property
    def held(self) -> bool:
        """Whether nothing that waits starts, until it is told to."""
        return self._queue.held

    def hold(self, held: bool) -> None:
        """Let nothing that waits start, or let it start again; what has begun goes on."""
        with self._lock:
            self._queue.held = held
        self.look()

    @property
    def limit(self) -> int:
        """How many runs one participant may have waiting."""
        return self._queue.limit

    def set_limit(self, runs: int) -> None:
        """Let one participant have so many runs waiting; what waits already may wait."""
        with self._lock:
            self._queue.limit = runs

    def waiting(self) -> list[Waiting]:
        """The line as it will be served."""
        with self._lock:
            return self._queue.in_order()

    def move(self, run_id: str, to: Move) -> None:
        """Let a waiting run change places in the line."""
        with self._lock:
            self._queue.move(run_id, to)
        self.look()

    def add(self, record: RunRecord, seconds: float | None) -> None:
        """Put a stored run in the line; seconds: how long it will take, None if unknown."""
        with self._lock:
            if record.id not in self._queue and record.id not in self._running:
                self._queue.add(waiting_run(record, seconds, self._threads()))
        self.look()

    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        with self._lock:
            return not (len(self._queue) or self._running.at_work() or self._running.returning())

    def look(self) -> None:
        """Have the dispatcher look now whether something can start: a run was added, or a device became free."""
        self._inbox.put("look")

    def refuse(self, run_id: str, message: str) -> None:
        """End a waiting run that can never start; nothing happens if it does not wait."""
        with self._lock:
            if run_id in self._queue:
                self._queue.remove(run_id)
                self._store.end(run_id, "failed", message)

    def control(self, record: RunRecord, command: Command) -> None:
        """Pass a command to a run. Raises `RunError` when it is not here to be commanded."""
        run_id = record.id
        with self._lock:
            if command == "stop" and run_id in self._queue:
                self._queue.remove(run_id)
                self._store.end(run_id, "cancelled", "It was stopped while it waited.")
                return
            running = self._running.get(run_id)
            if running is None:
                if run_id in self._queue:
                    raise RunError(f"The run {run_id} still waits for its turn. You can stop it, or let it wait.")
                if self._store.get(run_id).is_active:
                    raise RunError(f"The run {run_id} is not one of this server's, so it cannot be changed here.")
                raise RunError(f"The run {run_id} has already ended ({self._store.get(run_id).state}).")
            if command != "stop" and (running.parked or running.is_returning):
                if command != "resume":
                    raise RunError(
                        f"The place of the run {run_id} went to others while it was paused. Resume it: once it goes "
                        "on, you can pause it and go step by step again."
                    )
                running.resumed = running.resumed or time.monotonic()
                self.look()
                return
            if command == "stop":
                running.stop()
            else:  # before it is sent: the place of a run that is being resumed is not given away meanwhile
                running.go_on()
                if command != "resume":
                    running.paused_since = time.monotonic()
        arrived = not running.pending_commands and self._engine.command(
            run_id, command
        )  # never before what was asked earlier
        with self._lock:
            if self._running.get(run_id) is not running:
                return  # it ended meanwhile
            if not arrived:
                running.pending_commands.append(command)
            if command != "stop":
                with self._store.storing("That it pauses or goes on"):
                    self._store.update(run_id, state="running" if command == "resume" else "paused")

    def stopping(self, run_id: str) -> bool:
        """Whether Stop was asked for and the worker has not answered yet."""
        running = self._running.get(run_id)
        return running is not None and running.stopping

    def parked(self, run_id: str) -> bool:
        """Whether a run was paused for so long that its place was given to others."""
        running = self._running.get(run_id)
        return running is not None and running.parked

    def returning(self, run_id: str) -> bool:
        """Whether a parked run was resumed and waits for its device."""
        running = self._running.get(run_id)
        return running is not None and running.is_returning

    def place(self, run_id: str) -> Place | None:
        """Where a waiting run stands; None when it does not wait."""
        with self._lock:
            ahead = [*self._running.at_work(), *self._running.returning()]
            needed = [each.still_needs(self._seconds_left(each.waiting.run_id)) for each in ahead]
            device = next((each.device for each in self._queue.in_order() if each.run_id == run_id), "")
            return self._queue.place(run_id, needed, sum(each.device == device for each in self._engine.slots()))

    # -- the dispatcher's thread

    def _work(self) -> None:
        looked = time.monotonic()
        while True:
            try:
                message = self._inbox.get(timeout=_TICK_SECONDS)
                if message == "close":
                    return
                if message != "look":
                    self._take(message)
            except queue.Empty:
                pass
            except Exception:
                logger.exception("a worker's message could not be taken; the dispatcher goes on")
            try:
                self._park_long_paused()
                self._stop_overlong()
                self._end_hung()
                with suppress(OSError):  # the disk is still full
                    self._store.settle()
                if time.monotonic() - looked > _ORPHANS_SECONDS:
                    self._store.mark_interrupted(self._cluster)
                    looked = time.monotonic()
                while self._start_one():
                    pass
            except Exception:
                logger.exception("the next run could not be started; the dispatcher goes on")

    def _take(self, message: Message) -> None:
        running = self._running.get(message.run_id)
        if running is None:
            return
        if isinstance(message, EventsTold):
            self._keep_events(message.run_id, running, message.events)
            with self._lock:
                pending, running.pending_commands = running.pending_commands, []
            for command in pending:
                self._engine.command(message.run_id, command)
            return
        self._keep_events(message.run_id, running, ())
        with self._lock:
            if (result := message.result) is None:
                self._end(message.run_id, "failed", message.message)
            else:
                cut = running.overran and result.state == "cancelled"
                self._end(message.run_id, result.state, self._overlong if cut else result.message, result)
        if result is not None and result.restart_worker:
            self._restart(running.slot)

    def _keep_events(self, run_id: str, running: Running, events: Sequence[bytes]) -> None:
        """Store what was told; what the disk does not take is tried again with what comes next."""
        if not (untold := [*running.unstored, *events]):
            return
        try:
            self._store.append(run_id, untold)
        except (LabError, OSError) as error:  # the disk is full, or its folder was deleted
            if not running.unstored:
                logger.warning("what the run %s told cannot be stored yet: %s", run_id, error)
            running.unstored = untold[-_MOST_UNSTORED:]
        else:
            running.unstored = []

    def _end(self, run_id: str, state: State, message: str, result: JobResult | None = None) -> None:
        """Note how a run ended and what it left; whatever becomes of that, its lock and its place are given back."""
        if (running := self._running.get(run_id)) is None:  # it has ended already
            return
        try:
            if result is None:
                self._store.end(run_id, state, message)
            else:
                with self._store.storing("Its result"):
                    self._store.save(run_id, result.files)
                self._store.end(run_id, state, message, summary=result.summary, machine=result.machine)
        except (LabError, OSError) as error:  # its folder was deleted, or the disk is full
            logger.exception("run %s: its end could not be stored", run_id)
            with suppress(LabError, OSError):
                self._store.end(run_id, "failed", str(error))
        finally:
            running.lock.release()
            del self._running[run_id]
            self._engine.forget(run_id)

    def _restart(self, slot: Slot) -> None:
        """Replace the worker of a device that failed; other runs in it, which are parked, end with the reason.

        One that hangs takes half a minute to be gone, while the other devices' runs go on and begin.
        """
        with self._lock:
            for run_id in [each for each, run in self._running.items() if run.slot.worker == slot.worker]:
                message = "Another run made the device fail, so the process that held this one, too, was restarted."
                self._end(run_id, "failed", message)
            self._restarting.add(slot.worker)
        threading.Thread(target=self._replace, args=(slot,), name="eurosat-restart", daemon=True).start()

    def _replace(self, slot: Slot) -> None:
        try:
            self._engine.restart(slot)
        except Exception:
            logger.exception("the worker for %s was not replaced", slot.device)
        finally:
            with self._lock:
                self._restarting.discard(slot.worker)
            self.look()

    def _start_one(self) -> bool:
        """Start, or let return, one run that has an idle slot; whether there was one."""
        with self._lock:
            tiles = self._tiles()
            if tiles is None:
                return False
            available = self._available()
            slots = [
                each
                for each in self._engine.slots()
                if each.device in available and each.worker not in self._restarting
            ]
            for _, there in groupby(sorted(slots, key=lambda each: each.machine), key=lambda each: each.machine):
                if (found := self._next_on([*there], available)) is not None:
                    following, slot = found
                    break
            else:
                return False
            # Under the same lock: a run is always in the line or among the running ones, never in neither.
            job = None
            if (resumes := self._running.get(following.run_id)) is not None:
                resumes.parked = False
            elif claimed := claim(
                self._store, following, tiles, slot.threads or self._threads(), self._cluster, slot.machine
            ):
                job, lock = claimed
                self._running[following.run_id] = Running(following, lock, slot)
        if resumes is not None:
            return self._bring_back(resumes)
        if job is not None:
            self._hand_over(job, slot)
        return True

    def _next_on(self, slots: list[Slot], devices: set[str]) -> tuple[Waiting, Slot] | None:
        """The run that can begin, or return, on one machine now, and its slot there; devices: of all machines."""
        at_work = self._running.at_work()
        machine, busy = slots[0].machine, {each.slot.worker for each in at_work}
        free = {each.device: each for each in reversed(slots) if each.worker not in busy}
        here = [each.waiting for each in at_work if each.slot.machine == machine]
        # A run that returns needs the process that has it.
        resumed = [
            each.waiting
            for each in self._running.returning()
            if each.slot.machine == machine and (each.slot.worker not in busy or each.waiting.is_alone)
        ]
        following = self._queue.next_for(
            free.keys(),
            here,
            resumed,
            elsewhere=[each.waiting for each in at_work if each.slot.machine != machine],
            lacks=devices - {each.device for each in slots},
            cores=slots[0].cores,
        )
        return (following, free[following.device]) if following is not None else None

    def _hand_over(self, job: Job, slot: Slot) -> None:
        """Give a claimed run to its worker; one that cannot be given fails with a sentence."""
        try:
            self._engine.start(job, slot)
        except Exception as error:
            message = str(error)
            if not isinstance(error, LabError):
                logger.exception("run %s could not be started", job.run_id)
                message = f"It could not be started ({type(error).__name__}: {message[:200]}). Start it again."
            with self._lock:
                self._end(job.run_id, "failed", message)

    def _park_long_paused(self) -> None:
        """A run paused for long gives its device to others; it keeps its state in the worker's memory, off the GPU."""
        with self._lock:
            new, too_many = self._running.park(self._settings.pause_minutes * 60)
            for running in too_many:
                running.stop()
        for running in new:
            if running.waiting.device != "cpu" and running not in too_many:
                self._engine.command(running.waiting.run_id, "park")
        for running in too_many:
            self._engine.command(running.waiting.run_id, "stop")

    @property
    def _overlong(self) -> str:
        longest = duration(60 * self._settings.run_minutes)
        return f"It had run for {longest}, which is the longest a run may take here. What it had done is kept."

    def _stop_overlong(self) -> None:
        """A run that takes longer than one may ends with what it has done: others wait."""
        longest = 60 * self._settings.run_minutes
        for run_id, running in list(self._running.items()):
            if running.worked > longest and not running.stopping:
                running.overran = True
                with suppress(LabError):  # it has just ended
                    self.control(self._store.get(run_id), "stop")

    def _end_hung(self) -> None:
        """A run that was told to stop and does not hangs, as where a driver does: its process is replaced."""
        for run_id, running in list(self._running.items()):
            since = running.stopping_since
            if since is not None and time.monotonic() - since > _STOP_SECONDS:
                hung = "It did not stop by itself, so its process was replaced. What it had told until then is kept."
                with self._lock:
                    self._end(run_id, "cancelled", self._overlong if running.overran else hung)
                self._restart(running.slot)

    def _bring_back(self, running: Running) -> bool:
        """Let a parked run go on, now that its device is idle; whether its worker took the word."""
        run_id = running.waiting.run_id
        arrived = self._engine.command(run_id, "resume")
        with self._lock:
            if self._running.get(run_id) is not running:
                return False  # it ended meanwhile
            if arrived:
                running.go_on()
                running.resumed = None
                self._store.update(run_id, state="running")
            else:
                running.parked = True  # and is tried again
        return arrived
