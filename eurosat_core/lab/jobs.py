"""What a worker does: pull one training to its end, obeying pause, step and stop, and bring back what it left.

Runs in a worker process or, for the command line, in the program's own. It knows nothing of Dask or of the queue.
"""

import io
import json
import logging
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from eurosat_core import __version__
from eurosat_core.data.tiles import TileSet, find_place, open_cached, open_tiles
from eurosat_core.devices import cpu_device
from eurosat_core.errors import DataError, LabError, RunError
from eurosat_core.settings import load_settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Predictions
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone
from eurosat_core.training.loop import Checkpoint, Pull, split_for, train
from eurosat_core.training.problems import DeviceError

__all__ = ["Command", "Control", "JobResult", "TrainJob", "command", "predictions_from_bytes", "run_training"]

logger = logging.getLogger(__name__)

Command = Literal["pause", "resume", "step", "stop"]
Report = Callable[[list[Event]], None]


@dataclass(frozen=True)
class TrainJob:
    """A run to be done: its checked config, the tiles it was made for, and how many CPU threads to use."""

    run_id: str
    config: TrainConfig
    fingerprint: str
    cache: str
    threads: int


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
        """Obeyed at the next step of the training."""
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


def run_training(job: TrainJob, report: Report, control: Control | None = None) -> JobResult:
    """Do a run from beginning to end. Never raises for what a participant can cause: it says so in the result."""
    control = control or Control()
    _controls[job.run_id] = control
    torch.set_num_threads(job.threads)
    machine = _machine(job.config.device, job.threads)
    kept = _Kept()
    told = 0

    def tell(events: list[Event]) -> None:
        nonlocal told
        told += len(events)
        report(events)

    tiles: TileSet | None = None
    try:
        tiles = _tiles_for(job.fingerprint, job.cache)
        complete = _pull(train(job.config, tiles, kept.keep), control, tell, kept)
        state: Literal["finished", "cancelled"] = "finished" if complete else "cancelled"
        message = "" if complete else kept.how_far(job.config.epochs)
        return JobResult(state, message, kept.files(tiles, job.config), kept.summary(), machine, told)
    except LabError as error:
        restart = isinstance(error, DeviceError)
        return JobResult("failed", str(error), kept.files(tiles, job.config), kept.summary(), machine, told, restart)
    except Exception as error:
        logger.exception("run %s failed unexpectedly", job.run_id)
        message = (
            f"Something went wrong inside the lab: {type(error).__name__}: {str(error)[:200]}. "
            "The server's log has the details. Try again with the lesson's settings."
        )
        restart = job.config.device != "cpu"  # nobody knows in which state it left the device
        return JobResult("failed", message, kept.files(tiles, job.config), kept.summary(), machine, told, restart)
    finally:
        _controls.pop(job.run_id, None)


def _pull(events: Pull, control: Control, tell: Report, kept: "_Kept") -> bool:
    """Pull a training to its end, or until it is stopped; whether it went through. Only figures are told."""
    held: float | None = None
    try:
        while not control.stopped:
            try:
                event = events.send(held)
            except StopIteration:
                return True
            if not isinstance(event, StepDone) or event.reported:
                kept.note(event)
                tell([event])
            # Between two steps only, so that one step asked for is one batch, also across the end of an epoch.
            held = control.wait() if isinstance(event, StepDone) else None
        return False
    finally:
        events.close()


class _Kept:
    """What a training has produced so far: its last checkpoint and its figures."""

    def __init__(self) -> None:
        self._checkpoint: Checkpoint | None = None
        self._figures: dict[str, Any] = {}
        self._rates: list[float] = []
        self._sizes: dict[str, int] = {}

    def keep(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def note(self, event: Event) -> None:
        if isinstance(event, Started):
            self._sizes = {"train_tiles": event.train_tiles, "val_tiles": event.validation_tiles}
        elif isinstance(event, EpochDone):
            self._rates.append(event.tiles_per_second)
            self._figures = {
                "epochs": event.epoch,
                "train_loss": event.train_loss,
                "train_accuracy": event.train_accuracy,
                "val_loss": event.val_loss,
                "val_accuracy": event.val_accuracy,
                "seconds": event.elapsed_seconds,
                "tiles_per_second": float(np.median(self._rates)),
                **self._sizes,
            }
        elif isinstance(event, Finished):
            self._figures["seconds"] = event.seconds

    def summary(self) -> dict[str, Any]:
        return dict(self._figures)

    def how_far(self, epochs: int) -> str:
        """What a stopped training leaves behind, as a sentence."""
        done = self._figures.get("epochs", 0)
        if not done:
            return "It was stopped before its first epoch was complete, so it kept no network."
        return f"It was stopped after {done} of {epochs} epochs. The network of epoch {done} is kept."

    def files(self, tiles: TileSet | None, config: TrainConfig) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        if self._checkpoint is not None:
            weights = io.BytesIO()
            torch.save(self._checkpoint.weights, weights)
            files["model.pt"] = weights.getvalue()
            files["predictions.npz"] = _predictions_to_bytes(self._checkpoint.predictions)
            if self._checkpoint.test is not None:
                files["test.npz"] = _predictions_to_bytes(self._checkpoint.test)
        if tiles is not None:
            with suppress(DataError):  # tiles that cannot be split so: the run has failed with that sentence
                split = split_for(config, tiles)
                parts = {name: getattr(split, name).tolist() for name in ("train", "validation", "test")}
                files["split.json"] = json.dumps(parts).encode()
        return files


def _predictions_to_bytes(predictions: Predictions) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        tiles=predictions.tiles.numpy(),
        true=predictions.true.numpy(),
        predicted=predictions.predicted.numpy(),
        confidence=predictions.confidence.numpy(),
    )
    return buffer.getvalue()


def predictions_from_bytes(content: bytes) -> Predictions:
    """What a run stored as `predictions.npz`. Raises `RunError` when it is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            parts = {name: torch.from_numpy(arrays[name]) for name in ("tiles", "true", "predicted", "confidence")}
    except Exception as error:  # a damaged archive raises whatever its damage hits first
        raise RunError("The run's predictions are damaged. Train again to see them.") from error
    return Predictions(**parts)


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
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "eurosat_lab": __version__,
    }
