"""A job as a worker does it, and what the lab and its engine say to each other."""

import logging
import platform
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from eurosat_core import __version__
from eurosat_core.cores import MeanLoad
from eurosat_core.data.tile_cache import TileSet, open_cached
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.devices import Device, cpu_device
from eurosat_core.errors import DataError, LabError, RunError
from eurosat_core.lab.profile import ProfileWork
from eurosat_core.lab.sweep import SweepWork
from eurosat_core.lab.train import TrainWork
from eurosat_core.machine_notes import Note, machine_notes
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.history import RunEvent
from eurosat_core.settings import load_settings
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import FormChosen
from eurosat_core.training.precision import resolved
from eurosat_core.training.problems import DeviceError
from eurosat_core.training.threads import ThreadGovernor

logger = logging.getLogger(__name__)

Command = Literal["pause", "resume", "step", "stop"]
Report = Callable[[list[RunEvent]], None]


@dataclass(frozen=True)
class Job:
    """A run to be done: its checked config, the tiles it was made for, and how many CPU threads to use.

    kind: what is done with them. plan: what that kind needs to know besides, as `RunRecord` holds it.
    """

    run_id: str
    config: TrainConfig
    fingerprint: str
    cache: str
    threads: int
    kind: str = "train"
    plan: dict[str, Any] = field(default_factory=dict)


class Work(Protocol):
    """One kind of job at work. Made anew for every job; asked from one thread."""

    def events(self, tiles: TileSet) -> Generator[Any, float | None, None]:
        """What happens, one event after the other; gets the seconds of a pause, closing it stops the work."""
        ...

    def note(self, event: Any) -> RunEvent | None:
        """Keep an event's figures; the event itself if it is worth telling, else None."""
        ...

    def may_pause(self, event: Any) -> bool:
        """Whether the work may stand still after this event."""
        ...

    def how_far(self) -> str:
        """What the work leaves behind when it was stopped here, as a sentence."""
        ...

    def summary(self) -> dict[str, Any]:
        """Its figures up to now, by name."""
        ...

    def files(self, tiles: TileSet | None) -> dict[str, bytes]:
        """Its artifacts up to now, by file name; tiles: None when they could not be opened."""
        ...


def _work_of(job: Job) -> Work:
    """The work of a job's kind. Raises `RunError` for a kind that this version does not know.

    Only trainings that nobody measures change their CPU threads while they run.
    """
    match job.kind:
        case "train":
            free = job.config.device == "cpu" and not job.plan.get("alone")
            return TrainWork(job.config, ThreadGovernor(job.threads) if free else None)
        case "profile":
            return ProfileWork(job.config, ProfilePlan.from_dict(job.plan))
        case "sweep":
            return SweepWork(job.config, SweepPlan.from_dict(job.plan))
        case _:
            raise RunError(f"This version of the lab knows no run of the kind '{job.kind}'. Start another one.")


@dataclass(frozen=True)
class JobResult:
    """What a job brings back: how it ended, its artifacts by file name, its figures, and how many events it told."""

    state: Literal["finished", "cancelled", "failed"]
    message: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    events: int = 0
    restart_worker: bool = False


class Control:
    """How a run is told to pause, step, resume and stop. Commands may come from any thread, at any moment."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._paused = False
        self._steps = 0
        self._stopped = False

    def command(self, name: Command) -> None:
        """Obeyed at the next step of the work."""
        with self._changed:
            match name:
                case "pause":
                    self._paused = True
                case "resume":
                    self._paused, self._steps = False, 0
                case "step":
                    self._paused = True
                    self._steps += 1
                case "stop":
                    self._stopped = True
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether the run shall end now."""
        return self._stopped

    def wait(self) -> float:
        """Block while paused, until a step is granted, the run resumes or stops. Returns the seconds waited."""
        if not self._paused:  # the usual case must cost nothing
            return 0.0
        began = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: not self._paused or self._steps or self._stopped)
            if self._paused and self._steps:
                self._steps -= 1
        return time.perf_counter() - began


_controls: dict[str, Control] = {}


def command(run_id: str, name: Command) -> bool:
    """Pass a command to a run of this process; False when it is not (or no longer) here."""
    control = _controls.get(run_id)
    if control is None:
        return False
    control.command(name)
    return True


def run_job(job: Job, report: Report, control: Control | None = None) -> JobResult:
    """Do a run from beginning to end. Never raises for what a participant can cause: it says so in the result."""
    torch.set_num_threads(job.threads)
    machine = _machine(job.config.device, job.threads)
    load = MeanLoad()
    control = control or Control()
    _controls[job.run_id] = control
    told = 0
    tiles: TileSet | None = None
    work: Work | None = None

    def tell(event: RunEvent) -> None:
        nonlocal told
        told += 1
        report([event])
        load.look()

    def ended(
        state: Literal["finished", "cancelled", "failed"], message: str = "", *, restart: bool = False
    ) -> JobResult:
        load.look(last=True)
        if (mean := load.mean) is not None:
            machine["busy_elsewhere"] = round(mean.others, 2)
        files, summary = (work.files(tiles), work.summary()) if work is not None else ({}, {})
        return JobResult(state, message, files, summary, machine, told, restart)

    try:
        tiles = _tiles_for(job.fingerprint, job.cache)
        config, choice = resolved(job.config, machine_notes(tiles.cache.parent, job.threads), lambda: control.stopped)
        if choice is not None:
            machine["form"] = choice.to_dict()
            tell(FormChosen(**choice.to_dict()))
        work = _work_of(replace(job, config=config))
        complete = _pull(work, tiles, control, tell)
        return ended("finished") if complete else ended("cancelled", work.how_far())
    except LabError as error:
        return ended("failed", str(error), restart=isinstance(error, DeviceError))
    except Exception as error:
        logger.exception("run %s failed unexpectedly", job.run_id)
        message = (
            f"Something went wrong inside the lab: {type(error).__name__}: {str(error)[:200]}. "
            "The server's log has the details. Try again with the lesson's settings."
        )
        # Nobody knows in which state it left a GPU.
        return ended("failed", message, restart=job.config.device != "cpu")
    finally:
        _controls.pop(job.run_id, None)


def at_work() -> bool:
    """Whether this process has a run, paused ones included."""
    return bool(_controls)


def _pull(work: Work, tiles: TileSet, control: Control, tell: Callable[[RunEvent], None]) -> bool:
    """Pull a job to its end, or until it is stopped; whether it went through."""
    held: float | None = None
    events = work.events(tiles)
    try:
        while not control.stopped:
            try:
                event = events.send(held)
            except StopIteration:
                return True
            if (told := work.note(event)) is not None:
                tell(told)
            held = control.wait() if work.may_pause(event) else None
        return False
    finally:
        events.close()


@lru_cache(maxsize=1)
def _tiles_for(fingerprint: str, cache: str) -> TileSet:
    """The tiles a run was made for: from the shared cache, else this machine's own. Raises `DataError`."""
    try:
        tiles = open_cached(Path(cache))
    except DataError:  # another machine of the cluster
        settings = load_settings()
        tiles = open_tiles(find_place(None, settings), settings.cache)
    if tiles.fingerprint != fingerprint:
        raise DataError(
            f"The tiles have changed since this run was asked for: here are {tiles.description}. Start the run again, "
            "or point EUROSAT_DATA of every machine at the same tiles."
        )
    return tiles


def _machine(device: str, threads: int) -> dict[str, Any]:
    """What a run was done on; versions included, since figures depend on them."""
    name = cpu_device().name if device == "cpu" else device
    if device.startswith("cuda") and torch.cuda.is_available():
        with suppress(RuntimeError, AssertionError):  # it has vanished: training says so in a sentence
            name = torch.cuda.get_device_name(device)
    return {
        "device_name": name,
        **({} if device == "cpu" else {"cpu_name": cpu_device().name}),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "eurosat_lab": __version__,
    }


@dataclass(frozen=True)
class EventsTold:
    """A worker's report about a run."""

    run_id: str
    events: list[RunEvent]


@dataclass(frozen=True)
class JobEnded:
    """A job came back, or (result None) its worker died; then `message` says so."""

    run_id: str
    result: JobResult | None
    message: str = ""


Message = EventsTold | JobEnded


class Engine(Protocol):
    """What the lab asks of its workers; tests put a small one in its place."""

    def open(self, receive: Callable[[Message], None]) -> None:
        """Start the workers; `receive` is called, from any thread, with what they say."""
        ...

    def probe(self) -> tuple[Device, ...]:
        """The devices there are, asked in a worker; then a worker for each GPU stands ready. Takes seconds."""
        ...

    def measure(self, config: TrainConfig, threads: int) -> list[Note] | None:
        """Measure within about a second how fast the config's network is trained, with so many CPU threads at most.

        Returns what there is to note; None when it gave way to a run, or was never begun beside one.
        """
        ...

    def stop_measuring(self) -> None:
        """End what is being measured, on all workers."""
        ...

    def start(self, job: Job) -> None:
        """Start a job on its device's worker. Raises `RunError` when there is no such worker."""
        ...

    def command(self, run_id: str, name: Command) -> bool:
        """Pass a command to a running job; False when no worker has it."""
        ...

    def restart(self, device: str) -> None:
        """Replace a device's worker by a fresh process."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...
