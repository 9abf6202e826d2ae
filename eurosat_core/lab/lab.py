"""The lab: what the pages talk to. It joins the run store, the queue, the workers and the tiles."""

import logging
import threading

from eurosat_core import wording
from eurosat_core.devices import Device
from eurosat_core.errors import ConfigError, LabError, RunError
from eurosat_core.folders import write_problem
from eurosat_core.lab.calibration import Measuring, Rate
from eurosat_core.lab.dispatch import Dispatcher
from eurosat_core.lab.doctor import Check, TilesState, room_check
from eurosat_core.lab.engine import DaskEngine
from eurosat_core.lab.estimates import Estimates
from eurosat_core.lab.inspection import Inspector
from eurosat_core.lab.jobs import KINDS, Command, Engine, kind_of
from eurosat_core.lab.kind import Estimate, Kind
from eurosat_core.lab.library import TileLibrary
from eurosat_core.lab.predict import Predictor
from eurosat_core.lab.profile import Profile
from eurosat_core.lab.queue import Place
from eurosat_core.lab.sweep import Measurement
from eurosat_core.lab.train import Training
from eurosat_core.machine_notes import Note
from eurosat_core.models.designs import DesignStore
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.guesses import GuessBook, LessonGuesses
from eurosat_core.runs.history import seconds_left
from eurosat_core.runs.profiles import Profiles
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.tensorboard.process import TensorBoard
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.problems import shared_memory_problem

logger = logging.getLogger(__name__)


class Lab(Estimates):
    """Open it once per server with `open`, close it with `close`. All methods may be called from any thread.

    library: its tiles, and how they are downloaded. designs: networks that participants saved. inspector: looks into
    trained networks at once, beside the queue; predictor asks them. profiles: traces, each read once for everybody.
    sweeps: what was measured. lesson_guesses: what participants guessed on the pages.
    tensorboard: starts when it is asked for.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.library = TileLibrary(settings, self._tiles_opened)
        super().__init__(settings, RunStore(settings.runs), GuessBook(settings.runs / "guesses.jsonl"), self.library)
        self.designs = DesignStore(settings.runs / "designs")
        self.inspector = Inspector(self.store)
        self.predictor = Predictor(self.store, self.inspector)
        self.profiles = Profiles(self.store)
        self.lesson_guesses = LessonGuesses(settings.runs / "lesson_guesses.jsonl")
        self.tensorboard = TensorBoard(settings)
        self._engine = engine
        self._devices_known = False
        self._workers_open = False
        self._workers_problem = ""
        self._runs_refused = ""  # the reason alone; tried once, for it writes a file
        self.runs_problem = ""
        """Why nothing can be stored, so that nothing can be trained or measured; what is stored can be looked at."""
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
        self._measuring = Measuring(engine, self._is_idle, lambda: self._threads, self._note)

    # -- opening and closing

    def open(self) -> "Lab":
        """Start what runs in the background: opening the tiles, starting the workers, looking for devices."""
        for each in self.settings.moved:
            logger.warning("%s", each.sentence)
        self._runs_refused = write_problem(self.store.folder)
        self.runs_problem = self.store.refusal(self._runs_refused)
        if self.runs_problem:
            logger.warning("%s", self.runs_problem)
        else:
            self.store.folder.mkdir(parents=True, exist_ok=True)
        self.store.mark_interrupted()
        self._dispatcher.open()
        self.library.open()
        self._starting.start()
        return self

    def close(self) -> None:
        """End the workers. Runs that were under way become `interrupted`; what they reported is kept."""
        self._closed.set()
        self._measuring.close()
        self.tensorboard.close()
        self._dispatcher.close()
        self.library.close()
        if not self._workers_open and self._starting.ident is not None:  # else they would start after the end
            self._starting.join(timeout=30)
        self._engine.close()

    def _tiles_opened(self) -> None:
        """What waited when the last server ended waits on, now that its tiles are there."""
        for record in reversed(self.store.all()[0]):
            if record.state == "queued" and not self.runs_problem:
                self._dispatcher.add(record, self._seconds_for(record))
        self._refuse_lost_devices()

    def _start_workers(self) -> None:
        try:
            self._engine.open(self._dispatcher.receive)
            self._workers_open = True
            if self._closed.is_set():
                return
            devices = self._engine.probe()
            gpus = sum(each.is_gpu and each.available for each in devices)
            self._know_devices(devices, self.settings.threads_beside(gpus))
        except Exception as error:
            if self._closed.is_set():
                return
            known = isinstance(error, LabError)
            logger.error("the workers did not start: %s", error, exc_info=None if known else error)
            self._workers_problem = str(error) if known else f"They did not start ({type(error).__name__})."
        self._devices_known = True
        self._refuse_lost_devices()
        self._dispatcher.look()

    @property
    def _ready(self) -> bool:
        """Whether runs can start: the workers are there, and how many threads a training has is known."""
        return self._workers_open and self._devices_known

    def _is_idle(self) -> bool:
        """Whether a device may be measured now: all is open, and no run is at work or waits."""
        return self._ready and self.library.tile_set is not None and self._dispatcher.is_idle()

    def _note(self, notes: list[Note]) -> None:
        for each in notes:
            self._notes.put(each)

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

    def most_threads(self) -> int:
        """CPU threads of a training when nothing else keeps the machine busy."""
        return self._threads

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
            runs_refused=self._runs_refused,
        )

    def estimate(self, config: TrainConfig) -> Estimate | None:
        """As `Estimates` knows it; what is not known is measured meanwhile, so it is worth asking again soon."""
        return self._measured_meanwhile(config, super().estimate(config))

    def estimate_profile(self, config: TrainConfig, plan: ProfilePlan) -> Estimate | None:
        """As `estimate`, of a profile."""
        return self._measured_meanwhile(config, super().estimate_profile(config, plan))

    def _measured_meanwhile(self, config: TrainConfig, found: Estimate | None) -> Estimate | None:
        """An estimate as it is known; the network of `config` is measured where that would make it a better one."""
        if found is None or found.is_rough:
            self._measuring.want(config)
        return found

    def sure_seconds(self, config: TrainConfig) -> float | None:
        """Seconds of a training, if that rests on its own network on this device; else it is being measured."""
        found = self.estimate(config)
        return found.seconds if found is not None and not found.is_rough else None

    def is_measuring(self, config: TrainConfig) -> bool:
        """Whether an estimate of this config is still to come, or to get better."""
        found = super().estimate(config)
        return (found is None or found.is_rough) and self._measuring.may_come(config)

    def multiplication_rate(self, device: str) -> Rate | None:
        """Multiplications per second of a device, as measured here; None while nothing was."""
        found = super().multiplication_rate(device)
        if found is None and self._ready:
            self._measuring.want(recipe_config("baseline", "fast", device=device))
        return found

    def _seconds_for(self, record: RunRecord) -> float | None:
        # As it is known: to measure anything now would be in this run's way.
        if record.kind not in KINDS:  # another version's
            return None
        estimate = kind_of(record).estimate(self)
        return estimate.seconds if estimate else None

    # -- asking for runs

    def feed_problem(self, config: TrainConfig) -> str:
        """Why loader workers cannot feed a training on this machine, as a sentence; empty when they can.

        Empty, too, where a cluster trains: its machines look for themselves.
        """
        tile_set = self.library.tile_set
        if tile_set is None or self.settings.scheduler:
            return ""
        return shared_memory_problem(config, len(tile_set))

    def submit(self, config: TrainConfig, owner: str, *, group: str = "") -> RunRecord:
        """Put a training in the queue. Raises `LabError` with a sentence when it cannot be.

        group: of trainings that are held against each other; each then has the machine to itself.
        """
        return self._enqueue(Training(config, {"alone": True, "group": group} if group else {}), owner)

    def submit_profile(self, config: TrainConfig, plan: ProfilePlan, owner: str) -> RunRecord:
        """Put a profile of some training steps in the queue. Raises `LabError` with a sentence when it cannot be."""
        return self._enqueue(Profile(config, plan), owner)

    def submit_sweep(self, config: TrainConfig, plan: SweepPlan, owner: str) -> RunRecord:
        """Put a measurement in the queue. Raises `LabError` with a sentence when it cannot be."""
        return self._enqueue(Measurement(config, plan), owner)

    def _enqueue(self, kind: Kind, owner: str) -> RunRecord:
        config, plan = kind.config.checked(), kind.plan_values
        if self.runs_problem:
            raise RunError(self.runs_problem)
        tile_set = self.library.tile_set
        if tile_set is None:
            problem = self.library.state.problem
            raise RunError(problem or "The tiles are still being opened. Try again in a few seconds.")
        if self._workers_problem:
            raise RunError(self._workers_problem)
        for each in kind.configs:
            if problem := self._device_problem(each.device) or self.library.missing_weights(each):
                raise ConfigError(problem)
        # Where a cluster trains, its machines look for themselves.
        if problem := kind.problem(None if self.settings.scheduler else len(tile_set)):
            raise ConfigError(problem)
        if config.split == "place" and (problem := self.library.place_problem()):
            raise ConfigError(problem)
        self._dispatcher.check_room(owner)
        self._measuring.give_way()
        record = self.store.create(config, owner, TilesUsed.of(tile_set), kind.name, plan)
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

    def holds_up(self, place: Place) -> str:
        """What a waiting run waits for, as a sentence; empty when it is about to start."""
        if not self._ready:
            return self._workers_problem or "The process that trains is still starting."
        state = self.library.state
        if state.tile_set is None:
            return state.problem or "The tiles are still being opened."
        if place.behind is None:
            return ""
        try:
            ahead = self.store.get(place.behind)
        except RunError:  # it was deleted this very moment
            return ""
        if ahead.state == "queued":
            return f"{ahead.owner}’s run comes first."
        what = {"profile": "profile", "sweep": "measurement"}.get(ahead.kind, "training")
        if ahead.state == "paused":
            return f"{ahead.owner}’s {what} is paused and keeps its place for a while."
        device = wording.device_name(ahead.config.device)
        alone = ahead.kind != "train" or ahead.plan.get("alone")
        return f"{ahead.owner}’s {what} has {'the machine to itself' if alone else f'the {device}'}."

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
