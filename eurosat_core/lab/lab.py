"""The lab: what the pages talk to. It joins the run store, the queue, the workers and the tiles."""

import logging
import threading
import time
from contextlib import suppress
from typing import Any

from eurosat_core.devices import Device
from eurosat_core.errors import ConfigError, LabError, RunError
from eurosat_core.lab.dispatch import Dispatcher
from eurosat_core.lab.doctor import Check, TilesState, room_check
from eurosat_core.lab.engine import DaskEngine
from eurosat_core.lab.estimates import Estimates, tiles_used
from eurosat_core.lab.frames import seconds_left
from eurosat_core.lab.guesses import GuessBook
from eurosat_core.lab.inspection import Inspector
from eurosat_core.lab.jobs import Command
from eurosat_core.lab.kept_epochs import kept_problem
from eurosat_core.lab.lesson_guesses import LessonGuesses
from eurosat_core.lab.library import TileLibrary
from eurosat_core.lab.lineup import Lineup
from eurosat_core.lab.measuring import Measuring
from eurosat_core.lab.predict import Predictor
from eurosat_core.lab.profiles import Profiles
from eurosat_core.lab.protocol import Engine
from eurosat_core.lab.queue import Place
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.runs import RunStore
from eurosat_core.lab.tensorboard import TensorBoard
from eurosat_core.models.designs import DesignStore
from eurosat_core.profiling.plan import ProfilePlan, profile_problem
from eurosat_core.settings import Settings
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import TrainConfig

__all__ = ["Lab", "current_lab", "open_lab", "set_current_lab"]

logger = logging.getLogger(__name__)

_MOST_DECODING_SECONDS = 60.0


class Lab(Estimates):
    """Open it once per server with `open`, close it with `close`. All methods may be called from any thread.

    library: its tiles, and how they are downloaded. designs: networks that participants saved. inspector: looks into
    trained networks at once, beside the queue; predictor asks them. profiles: traces, each read once for everybody.
    sweeps: what was measured. lineup: runs side by side. lesson_guesses: what participants guessed on the pages.
    tensorboard: starts when it is asked for.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.library = TileLibrary(settings, self._tiles_opened)
        super().__init__(
            RunStore(settings.runs), GuessBook(settings.runs / "guesses.jsonl"), self.library, settings.threads
        )
        self.designs = DesignStore(settings.runs / "designs")
        self.inspector = Inspector(self.store)
        self.predictor = Predictor(self.store, self.inspector)
        self.profiles = Profiles(self.store)
        self.lineup = Lineup(self.store, self.history, settings.cache)
        self.lesson_guesses = LessonGuesses(settings.runs / "lesson_guesses.jsonl")
        self.tensorboard = TensorBoard(settings)
        self._engine = engine
        self._devices_known = False
        self._workers_open = False
        self._workers_problem = ""
        self._closed = threading.Event()
        self._starting = threading.Thread(target=self._start_workers, name="eurosat-workers", daemon=True)
        self._dispatcher = Dispatcher(
            settings,
            self.store,
            engine,
            tiles=lambda: self.library.tile_set,
            threads=lambda: self._threads,
            available=lambda: {each.id for each in self._devices if each.available} if self._ready else set(),
            seconds_left=self.seconds_left,
        )
        self._measuring = Measuring(engine, self._dispatcher, self.note_speeds, self._closed)

    # -- opening and closing

    def open(self) -> "Lab":
        """Start what runs in the background: opening the tiles, starting the workers, looking for devices."""
        try:
            self.store.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"The folder for runs, {self.store.folder}, cannot be made: {error.strerror or error}. Name another "
                "one in EUROSAT_RUNS."
            ) from error
        self.store.mark_interrupted()
        self._dispatcher.open()
        self.library.open()
        self._starting.start()
        return self

    def close(self) -> None:
        """End the workers. Runs that were under way become `interrupted`; what they reported is kept."""
        self._closed.set()
        self.tensorboard.close()
        self._dispatcher.close()
        self.library.close()
        if not self._workers_open and self._starting.ident is not None:  # else they would start after the end
            self._starting.join(timeout=30)
        self._engine.close()

    def _tiles_opened(self) -> None:
        """What waited when the last server ended waits on, now that its tiles are there."""
        for record in reversed(self.store.all()[0]):
            if record.state == "queued":
                self._dispatcher.add(record, self._seconds_for(record))
        self._refuse_lost_devices()

    def _start_workers(self) -> None:
        try:
            self._engine.open(self._dispatcher.receive)
            self._workers_open = True
            if self._closed.is_set():
                return
            devices = self._engine.probe()
            self._threads = self.settings.threads_beside(sum(each.is_gpu and each.available for each in devices))
            self._devices = devices
        except Exception as error:
            if self._closed.is_set():
                return
            logger.exception("the workers did not start")
            known = isinstance(error, LabError)
            self._workers_problem = str(error) if known else f"They did not start ({type(error).__name__})."
        self._devices_known = True
        self._refuse_lost_devices()
        self._dispatcher.look()
        available = [each.id for each in self._devices if each.available]
        for device in available:
            with suppress(Exception):  # its worker died, or the lab was closed: measuring meets the same
                self._engine.wait_until_warm(device)
        self._wait_for_tiles()  # decoding them takes all cores
        self._measuring.all(available, self._threads)

    @property
    def _ready(self) -> bool:
        """Whether runs can start: the workers are there, and how many threads a training has is known."""
        return self._workers_open and self._devices_known

    def _wait_for_tiles(self) -> None:
        deadline = time.monotonic() + _MOST_DECODING_SECONDS
        while not self._closed.is_set() and time.monotonic() < deadline:
            if self.library.tile_set is not None or self.library.state.problem:
                return
            time.sleep(0.05)

    def _device_problem(self, name: str) -> str:
        """Why a run cannot have this device; empty when it can."""
        device = next((each for each in self._devices if each.id == name), None)
        if device is not None and device.available:
            return ""
        reason = device.reason if device else f"This machine has no device '{name}'."
        return f"{reason} Choose another device."

    def _refuse_lost_devices(self) -> None:
        """Runs that have waited since before a restart, for a device that is no longer there, would wait for ever."""
        if not self._devices_known or self._workers_problem:
            return
        for record in self.store.all()[0]:
            problem = self._device_problem(record.config.device)
            if record.state == "queued" and problem:
                self._dispatcher.refuse(record.id, problem)

    # -- what the lab has

    def tiles(self) -> TilesState:
        """The tiles, or how far opening them is."""
        return self.library.state

    def devices(self) -> tuple[Device, ...]:
        """The CPU first; GPUs once they are known."""
        return self._devices

    def devices_known(self) -> bool:
        """Whether a worker has looked for GPUs already."""
        return self._devices_known

    def room(self) -> tuple[Check, ...]:
        """The room check of the Start page."""
        return room_check(
            self.settings,
            self.library.state,
            self._devices,
            devices_known=self._devices_known,
            workers=self._workers_problem,
        )

    def _seconds_for(self, record: RunRecord) -> float | None:
        if record.kind == "profile":
            estimate = self.estimate_profile(record.config, ProfilePlan.from_dict(record.plan))
        elif record.kind == "sweep":
            estimate = self.estimate_sweep(record.config, SweepPlan.from_dict(record.plan))
        else:
            estimate = self.estimate(record.config)
        return estimate.seconds if estimate else None

    # -- asking for runs

    def submit(self, config: TrainConfig, owner: str, *, group: str = "") -> RunRecord:
        """Put a training in the queue. Raises `LabError` with a sentence when it cannot be.

        group: of trainings that are held against each other; each then has the machine to itself.
        """
        return self._enqueue(config, owner, "train", {"alone": True, "group": group} if group else {})

    def submit_profile(self, config: TrainConfig, plan: ProfilePlan, owner: str) -> RunRecord:
        """Put a profile of some training steps in the queue. Raises `LabError` with a sentence when it cannot be."""
        if problem := profile_problem(config):
            raise ConfigError(problem)
        return self._enqueue(config, owner, "profile", plan.checked().to_dict())

    def submit_sweep(self, config: TrainConfig, plan: SweepPlan, owner: str) -> RunRecord:
        """Put a measurement in the queue. Raises `LabError` with a sentence when it cannot be.

        It is made by the worker of the config's device, which must be the GPU where one is measured beside the CPU.
        """
        for each in plan.checked().configs(config):
            if problem := self._device_problem(each.device) or self.library.missing_weights(each):
                raise ConfigError(problem)
        return self._enqueue(config, owner, "sweep", plan.to_dict())

    def _enqueue(self, config: TrainConfig, owner: str, kind: str, plan: dict[str, Any]) -> RunRecord:
        config.checked()
        tile_set = self.library.tile_set
        if tile_set is None:
            problem = self.library.state.problem
            raise RunError(problem or "The tiles are still being opened. Try again in a few seconds.")
        if self._workers_problem:
            raise RunError(self._workers_problem)
        if problem := self._device_problem(config.device):
            raise ConfigError(problem)
        if problem := self.library.missing_weights(config):
            raise ConfigError(problem)
        if problem := kept_problem(config):
            raise ConfigError(problem)
        if config.split == "place" and (problem := self.library.place_problem()):
            raise ConfigError(problem)
        self._dispatcher.check_room(owner)
        record = self.store.create(config, owner, tiles_used(tile_set), kind, plan)
        self._dispatcher.add(record, self._seconds_for(record))
        return record

    def control(self, run_id: str, owner: str, command: Command) -> None:
        """Pause, step, resume or stop a run. Raises `RunError` when it is not the asker's or has ended."""
        record = self.owned(run_id, owner)
        if record.kind != "train" and command != "stop":
            raise RunError("What is being measured cannot be paused, for the pause would be measured, too. Stop it.")
        self._dispatcher.control(record, command)

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run that has ended. Raises `RunError` when it is not the asker's or still active."""
        if self.owned(run_id, owner).is_active:
            raise RunError(f"The run {run_id} has not ended yet. Stop it first, then delete it.")
        self.store.delete(run_id)
        self.forget(run_id)

    # -- where a run stands

    def seconds_left(self, run_id: str) -> float | None:
        """What a running run still needs at its own pace; None in its first moments."""
        return seconds_left(self.history(run_id))

    def place(self, run_id: str) -> Place | None:
        """Where a waiting run stands in the queue; None when it does not wait."""
        return self._dispatcher.place(run_id)

    def parked(self, run_id: str) -> bool:
        """Whether a run was paused for so long that its place was given to others."""
        return self._dispatcher.parked(run_id)

    def returning(self, run_id: str) -> bool:
        """Whether such a run was resumed and waits for its device."""
        return self._dispatcher.returning(run_id)

    def stopping(self, run_id: str) -> bool:
        """Whether Stop was asked for and the worker has not answered yet."""
        return self._dispatcher.stopping(run_id)


_current: list[Lab] = []


def open_lab(settings: Settings) -> Lab:
    """A lab with workers of its own (or those of the cluster in `settings`), opened."""
    return Lab(settings, DaskEngine(settings)).open()


def set_current_lab(lab: Lab | None) -> None:
    """Make `lab` the one that pages find; None when it is closed."""
    _current[:] = [lab] if lab is not None else []


def current_lab() -> Lab:
    """The server's lab. Raises `RunError` when none is open."""
    if not _current:
        raise RunError("The lab is not open. Start the app with: streamlit run streamlit_app.py")
    return _current[0]
