"""A job of any kind, as a worker or the command line does it.

Pulled to its end, obeying pause, step and stop. Nothing here knows Dask or the queue.
"""

import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import torch

from eurosat_core import __version__
from eurosat_core.cores import MeanLoad
from eurosat_core.data.batches import warm_loader_workers
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import cpu_device, cublas_environment, torch_device
from eurosat_core.errors import ConfigError, DataError, LabError, RunError
from eurosat_core.lab.gpu_state import gpu_notes, gpu_state, libraries
from eurosat_core.lab.kind import Kind
from eurosat_core.lab.messages import OWNER, Command, Job, JobResult, kind_of
from eurosat_core.lab.own_process import NoAnswerError, ask
from eurosat_core.lab.profile import Profile
from eurosat_core.lab.tiles_here import tiles_for
from eurosat_core.machine_notes import machine_notes
from eurosat_core.profiling.record import explained_kernels_problem, kernels_problem
from eurosat_core.runs.history import RunEvent
from eurosat_core.runs.record import UNSEEN_KERNELS, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.training.compilers import execution_problem
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import release_memory
from eurosat_core.training.events import FormChosen
from eurosat_core.training.network import choose_kernels, deterministic_kernels, float32_flags
from eurosat_core.training.precision import resolved
from eurosat_core.training.problems import DeviceError, explained, missing_weights
from eurosat_core.training.sources import split_for
from eurosat_core.wording import printable

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 30.0
_LONGEST_REASON = 200  # of what a library says: a bundle takes no longer text
Report = Callable[[list[RunEvent]], None]
Pull = Generator[Any, float | None, None]


class Control:
    """How a run is told to pause, step, resume and stop. Commands may come from any thread, at any moment."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._paused = False
        self._steps = 0
        self._stopped = False
        self._parked = False

    def command(self, name: Command) -> None:
        """Obeyed at the next step of the work."""
        with self._changed:
            match name:
                case "pause":
                    self._paused = True
                case "park":
                    self._parked = self._paused
                case "resume":
                    self._paused, self._steps, self._parked = False, 0, False
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

    def wait(self, work: Kind) -> float:
        """Block while paused, until a step is granted, the run resumes or stops. Returns the seconds waited.

        Told to park, the work leaves its device meanwhile. Raises what it raises when it comes back.
        """
        if not self._paused:  # the usual case must cost nothing
            return 0.0
        began = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._goes_on() or self._parked)
            parked = self._parked and not self._goes_on()
        if parked:
            work.park()
            with self._changed:
                self._changed.wait_for(self._goes_on)
            if not self._stopped:
                work.unpark()
        with self._changed:
            if self._paused and self._steps:
                self._steps -= 1
        return time.perf_counter() - began

    def _goes_on(self) -> bool:
        return not self._paused or self._steps > 0 or self._stopped


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
    on_cuda = job.config.device.startswith("cuda")
    before = gpu_state(job.config.device) if on_cuda else {}
    load = MeanLoad()
    control = control or Control()
    _controls[job.run_id] = control
    tiles: TileSet | None = None
    work: Kind | None = None

    def tell(event: RunEvent) -> None:
        report([event])
        load.look()

    def ended(
        state: Literal["finished", "cancelled", "failed"], message: str = "", *, restart: bool = False
    ) -> JobResult:
        load.look(last=True)
        if (mean := load.mean) is not None:
            machine["busy_elsewhere"] = round(mean.others, 2)
        if on_cuda:
            machine["gpu"] = gpu_notes(before, gpu_state(job.config.device))
        files, summary = (work.files(tiles), work.summary()) if work is not None else ({}, {})
        return JobResult(state, message, files, summary, machine, restart)

    try:
        _make_current(job.config)
        tiles = tiles_for(job.fingerprint, job.cache)
        config, choice = resolved(job.config, machine_notes(tiles.cache.parent, job.threads), lambda: control.stopped)
        if job.kind == Profile.name and (reason := unseen_kernels(config.device)):
            machine[UNSEEN_KERNELS] = reason
        if choice is not None:
            machine["form"] = choice.to_dict()
            tell(FormChosen(**choice.to_dict()))
        if on_cuda:
            choose_kernels(config)
            machine["float32"] = float32_flags()
        work = kind_of(replace(job, config=config))
        if others := sorted({each.device for each in work.configs} - {"cpu", config.device}):
            machine["other_devices"] = {each: _name_of(each) for each in others}
        complete = _pull(work, work.events(tiles, job.threads), control, tell)
        if not complete:
            return ended("cancelled", work.how_far())
        # A new process would end runs that stand still in this one.
        return ended("finished", restart=work.slows_process and len(_controls) == 1)
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
        if on_cuda and not at_work():  # a run that goes on here says itself what it wants
            deterministic_kernels(False)
        if job.config.device != "cpu":
            with suppress(ConfigError):  # of another slice of a GPU nothing is held here
                release_memory(torch_device(job.config.device))  # other runs, and other programs, want it


def _make_current(config: TrainConfig) -> None:
    """Have this thread compute on the config's GPU also what names none; else that makes a context on the first one.

    Raises `DeviceError` where there is no such GPU.
    """
    if config.device.startswith("cuda"):
        os.environ.update(cublas_environment())  # for the command line; workers of the lab start with it
        with explained(config):
            torch.cuda.set_device(torch_device(config.device))


def at_work() -> bool:
    """Whether this process has a run, paused ones included."""
    return bool(_controls)


def _pull(work: Kind, events: Pull, control: Control, tell: Callable[[RunEvent], None]) -> bool:
    """Pull a job to its end, or until it is stopped; whether it went through."""
    paused_seconds: float | None = None
    try:
        while not control.stopped:
            try:
                event = events.send(paused_seconds)
            except StopIteration:
                return True
            if (told := work.note(event)) is not None:
                tell(told)
            paused_seconds = control.wait(work) if work.may_pause(event) else None
        return False
    finally:
        events.close()


def _machine(device: str, threads: int) -> dict[str, Any]:
    """What a run was done on; versions included, since figures depend on them."""
    return {
        "device_name": _name_of(device),
        **({} if device == "cpu" else {"cpu_name": cpu_device().name, **libraries()}),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "eurosat_lab": __version__,
    }


def _name_of(device: str) -> str:
    name = cpu_device().name if device == "cpu" else device
    if device.startswith("cuda") and torch.cuda.is_available():
        with suppress(RuntimeError, AssertionError, ConfigError):  # it has vanished: training says so in a sentence
            name = torch.cuda.get_device_name(torch_device(device))
    return name


@lru_cache(maxsize=16)
def unseen_kernels(device: str) -> str:
    """Why a profile shows nothing of what a device does, as a sentence; empty when it does, or it is the CPU.

    Tried once for each GPU, in a process of its own: a profile may slow down what its process does afterwards.
    """
    if not device.startswith("cuda"):
        return "" if device == "cpu" else kernels_problem(device)
    try:
        return printable(str(ask(explained_kernels_problem, device, seconds=_PROBE_SECONDS)), _LONGEST_REASON)
    except NoAnswerError as error:
        return f"Nobody knows why: a profile that was tried on {device} gave no answer ({error.why})."


# -- without a lab: the command line works in its own process, in the same run store


def run_here(kind: Kind, tiles: TileSet, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Do a run in this process, from beginning to end, and keep it in the store; the app shows it and leaves it alone.

    Ctrl-C stops it after the current step and keeps what is complete.

    Args:
        say: Gets lines on how far it is.

    Returns:
        What the command prints with `--json`.

    Raises:
        DataError: The tiles cannot be split as asked, or pretrained weights are missing.
        ConfigError: It cannot be done for another reason.
        RunError: The store cannot be written.
    """
    for each in kind.configs:
        split_for(each, tiles)  # what cannot be split makes no run
        if problem := missing_weights(each, settings.cache):
            raise DataError(problem)
        if problem := execution_problem(each):
            raise ConfigError(problem)
    if problem := kind.problem(len(tiles)):
        raise ConfigError(problem)
    if kind.name != "train" and any(each.source == "loader" and each.workers for each in kind.configs):
        warm_loader_workers(wait=True)  # as in the app; else its start would be measured beside the first steps
    store = RunStore(settings.runs)
    record, lock = store.create_locked(kind.config, OWNER, TilesUsed.of(tiles), kind.name, kind.plan_values)

    def report(events: list[RunEvent]) -> None:
        store.append(record.id, events)
        for line in filter(None, map(kind.line, events)):
            say(line)

    if kind.beginning():
        say(kind.beginning())
    say(f"run {record.id}")
    cache = str(tiles.cache)
    job = Job(record.id, record.config, tiles.fingerprint, cache, settings.threads, record.kind, record.plan)
    control = Control()
    try:
        with _stopped_by_interrupt(control):
            result = run_job(job, report, control)
        store.save(record.id, result.files)
        store.end(record.id, result.state, result.message, summary=result.summary, machine=result.machine)
        store.settle()
    except OSError as error:
        message = f"Its result could not be stored: {error.strerror or error}. Free some disk space."
        with suppress(LabError, OSError):
            store.end(record.id, "failed", message)
        raise RunError(message) from error
    finally:
        lock.release()
    record = store.get(record.id)
    return {
        "run_id": record.id,
        "state": record.state,
        "message": record.message,
        "seconds": record.summary.get("seconds", 0.0),
        **kind.report(record, store),
    }


@contextmanager
def _stopped_by_interrupt(control: Control) -> Iterator[None]:
    """While open, Ctrl-C means: stop after this step. Only the main thread can be told so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _number, _frame: control.command("stop"))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
