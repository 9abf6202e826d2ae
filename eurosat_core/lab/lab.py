"""The lab: what the pages talk to. It joins the run store, the queue, the workers and the tiles."""

import logging
import threading
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from cachetools import LRUCache, cachedmethod

from eurosat_core import wording
from eurosat_core.classroom.experiment import Experiments, Hand
from eurosat_core.classroom.guide import GuideFile
from eurosat_core.classroom.looking import Views
from eurosat_core.classroom.participants import Participants
from eurosat_core.classroom.passcode import Passcode
from eurosat_core.classroom.rounds import Rounds
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import Device
from eurosat_core.errors import ConfigError, LabError, RunError
from eurosat_core.folders import write_problem
from eurosat_core.lab.dispatch import Dispatcher
from eurosat_core.lab.doctor import Check, TilesState, nearly_full, room_check
from eurosat_core.lab.engine import DaskEngine
from eurosat_core.lab.estimates import Estimates
from eurosat_core.lab.instructor import Instructor
from eurosat_core.lab.kind import Kind
from eurosat_core.lab.library import TileLibrary
from eurosat_core.lab.messages import KINDS, OWNER, Command, Engine, Message, WorkersChanged, kind_of
from eurosat_core.lab.profile import Profile
from eurosat_core.lab.queue import Place, waiting_run
from eurosat_core.lab.sweep import Measurement, Sweeps
from eurosat_core.lab.train import Training
from eurosat_core.lab.transfer import Transfer, Transfers
from eurosat_core.models.designs import DesignStore
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.game import evaluate_guesses
from eurosat_core.runs.guesses import GameGuesses, Guess, LessonGuesses
from eurosat_core.runs.history import History, HistoryReader, seconds_left
from eurosat_core.runs.profiles import Profiles
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.sealed import open_test
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.tensorboard.process import TensorBoard
from eurosat_core.training.compilers import execution_problem
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Evaluation, Predictions, evaluate_predictions, predictions_from_bytes
from eurosat_core.training.problems import shared_memory_problem
from eurosat_core.training.transfer import TransferPlan

if TYPE_CHECKING:
    from eurosat_core.lab.inspection import Inspector
    from eurosat_core.lab.leak_lens import LeakLens
    from eurosat_core.lab.predict import Predictor
    from eurosat_core.lab.room_probe import RoomProbe

logger = logging.getLogger(__name__)

_READERS_KEPT = 200
_RESERVED = (OWNER, "recorded", "somebody", "instructor")  # names of owners that are nobody, and of who leads
_MOST_REMOVED = 10  # old runs, for each new one: nobody waits for it, and a number that was mistyped can be put right


class Results:
    """What runs have left behind, how far they are, and what participants said in the game of tiles.

    All methods may be called from any thread.
    """

    def __init__(self, store: RunStore, library: TileLibrary) -> None:
        self._store = store
        self._library = library
        self._guess_book = GameGuesses(store.folder / "guesses.jsonl")
        self._readers: LRUCache[str, HistoryReader] = LRUCache(_READERS_KEPT)
        self._lock = threading.Lock()

    @cachedmethod(lambda self: self._readers, key=lambda self, run_id: run_id, lock=lambda self: self._lock)
    def _reader(self, run_id: str) -> HistoryReader:
        return HistoryReader(self._store.folder_of(run_id) / "events.jsonl")

    def history(self, run_id: str) -> History:
        """What a run has told so far; one reader serves all sessions."""
        return self._reader(run_id).read()

    def forget(self, run_id: str) -> None:
        """Let go of what is kept in memory of a deleted run."""
        with self._lock:
            self._readers.pop(run_id, None)

    def evaluation(self, run_id: str) -> Evaluation | None:
        """Accuracy and confusions of a run's last complete epoch; None when it has none."""
        predictions = self.predictions(run_id)
        if predictions is None:
            return None
        return evaluate_predictions(predictions.true, predictions.predicted, self._store.get(run_id).tiles.class_names)

    def predictions(self, run_id: str) -> Predictions | None:
        """What a run said about its validation tiles; None when it has none (or they are damaged)."""
        try:
            return predictions_from_bytes(self._store.load(run_id, "predictions.npz"))
        except RunError:
            return None

    def tiles_of(self, record: RunRecord) -> TileSet | None:
        """The tiles a run was made with, if they are the lab's."""
        tile_set = self._library.tile_set
        return tile_set if tile_set and tile_set.fingerprint == record.tiles.fingerprint else None

    # -- the game

    def add_guess(self, owner: str, tiles: TileSet, tile: int, guessed: int, seconds: float) -> None:
        """Note what a participant took a tile for (its number in `tiles`, the label said) and how long that took."""
        self._guess_book.add(owner, tiles.fingerprint, tile, int(tiles.labels[tile]), guessed, seconds)

    def guesses(self, owner: str, tiles: TileSet | None = None) -> Evaluation | None:
        """Accuracy and confusions of a participant's newest guesses on `tiles` (the lab's); None without any."""
        tiles = tiles or self._library.tile_set
        if tiles is None:
            return None
        return evaluate_guesses(self._guess_book.of(owner, tiles.fingerprint), tiles.class_names)

    def room_guesses(self, tiles: TileSet, since: float) -> tuple[Guess, ...]:
        """Everybody's newest guesses on `tiles` from a time on, in the order in which they came."""
        return self._guess_book.of_all(tiles.fingerprint, since)

    def named_by_others(self, owner: str, tiles: TileSet, since: float) -> list[int]:
        """Tiles that others named from a time on, and this participant has not named lately."""
        known = {each.tile for each in self._guess_book.of(owner, tiles.fingerprint)}
        return sorted({each.tile for each in self.room_guesses(tiles, since)} - known)

    def guessed_tiles(self, owner: str, true: int, guessed: int) -> list[int]:
        """The lab's tiles of one class that a participant took for another (labels), newest first, each once."""
        tiles = self._library.tile_set
        if tiles is None:
            return []
        found = [
            each.tile
            for each in reversed(self._guess_book.of(owner, tiles.fingerprint))
            if (each.true, each.guessed) == (true, guessed) and each.tile < len(tiles)
        ]
        return list(dict.fromkeys(found))


class Lab:
    """Open it once per server with `open`, close it with `close`. All methods may be called from any thread.

    Attributes:
        store: All runs, on disk.
        participants: Everybody who came; the owner of a run is a participant's id.
        views: Who lets the instructor see their page.
        rounds: Questions put to the room, and its votes.
        experiments: Values dealt to the room, and who got which.
        passcode: Who leads the room; whoever opens the lab for pages sets it.
        guide: What the instructor has set for everybody.
        library: Its tiles, and how they are downloaded.
        results: What runs have left behind, and how far they are.
        dispatcher: The line and what workers have; whether a run is stopping, parked, or returning.
        estimates: How long runs take that are still to come.
        sweeps: What was measured.
        transfers: What was found about the features of pretrained networks.
        profiles: Traces, each read once for everybody.
        designs: Networks that participants saved.
        inspector: Looks into trained networks at once, beside the queue.
        predictor: Asks trained networks.
        leak_lens: Finds the nearest training tiles.
        room_probe: Learns from the tiles that the room named.
        lesson_guesses: What participants guessed on the pages.
        tensorboard: Starts when it is asked for.
        calm: Set while no page is being drawn, first when one has been or the workers are there: what nobody asked
            for waits for that.
        runs_problem: Why nothing can be stored, so that nothing can be trained or measured; what is stored can be
            looked at.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.store = RunStore(settings.runs)
        self.participants = Participants(settings.runs / "participants.jsonl", _RESERVED)
        self.views = Views(self.participants.says)
        self.passcode = Passcode()
        self.rounds = Rounds(settings.runs)
        self.experiments = Experiments(settings.runs)
        self.guide = GuideFile(settings.runs / "classroom.json")
        self.library = TileLibrary(settings, self._tiles_opened)
        self.results = Results(self.store, self.library)
        self.sweeps = Sweeps(self.store)
        self.transfers = Transfers(self.store)
        self.estimates = Estimates(settings, self.store, self.library, self.sweeps, engine, self._is_idle)
        self.designs = DesignStore(settings.runs / "designs")
        self.profiles = Profiles(self.store)
        self.lesson_guesses = LessonGuesses(settings.runs / "lesson_guesses.jsonl")
        self.tensorboard = TensorBoard(settings)
        self._engine = engine
        self._devices_known = False
        self._workers_open = False
        self._workers_problem = ""
        self._runs_refused = ""  # the reason alone; tried once, for it writes a file
        self.runs_problem = ""
        self.calm = threading.Event()
        self._closed = threading.Event()
        self._starting = threading.Thread(target=self._start_workers, name="eurosat-workers", daemon=True)
        self.dispatcher = Dispatcher(
            settings,
            self.store,
            engine,
            tiles=lambda: self.library.tile_set,
            threads=lambda: self.estimates.threads,
            available=lambda: {each.id for each in self.devices() if each.available} if self._ready else set(),
            seconds_left=self.seconds_left,
        )

    @cached_property
    def inspector(self) -> "Inspector":
        from eurosat_core.lab.inspection import Inspector  # here, for PyTorch takes seconds to load

        return Inspector(self.store)

    @cached_property
    def predictor(self) -> "Predictor":
        from eurosat_core.lab.predict import Predictor

        return Predictor(self.store, self.inspector)

    @cached_property
    def leak_lens(self) -> "LeakLens":
        from eurosat_core.lab.leak_lens import LeakLens

        return LeakLens(self.store, self.inspector, self.settings.cache)

    @cached_property
    def room_probe(self) -> "RoomProbe":
        from eurosat_core.lab.room_probe import RoomProbe

        return RoomProbe(self.inspector, self.settings.cache)

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
            self.store.tidy()
        self.store.mark_interrupted(self.settings.scheduler or "")
        self.dispatcher.open()
        self.library.open()
        self._starting.start()
        return self

    def close(self) -> None:
        """End the workers. Runs that were under way become `interrupted`; what they reported is kept.

        Those of a cluster go on, and are found again.
        """
        self._closed.set()
        self.estimates.measuring.close()
        self.tensorboard.close()
        self.dispatcher.close()
        self.library.close()
        if not self._workers_open and self._starting.ident is not None:  # else they would start after the end
            self._starting.join(timeout=30)
        self._engine.close()

    def _tiles_opened(self) -> None:
        """What waited when the last server ended waits on, now that its tiles are there."""
        for record in reversed(self.store.all()[0]):
            if record.state == "queued" and not self.runs_problem:
                self.dispatcher.add(record, self._seconds_for(record))
        self._refuse_lost_devices()

    def _start_workers(self) -> None:
        try:
            self._engine.open(self._receive)
            self._workers_open = True
            if self._closed.is_set():
                return
            self._know_devices(self._engine.probe())
            self.dispatcher.take_back()
        except Exception as error:
            if self._closed.is_set():
                return
            known = isinstance(error, LabError)
            logger.error("the workers did not start: %s", error, exc_info=None if known else error)
            self._workers_problem = str(error) if known else f"They did not start ({type(error).__name__})."
        self._devices_known = True
        self._refuse_lost_devices()
        self.dispatcher.look()
        self.calm.set()

    def _receive(self, message: Message | WorkersChanged) -> None:
        """What workers say."""
        if not isinstance(message, WorkersChanged):
            self.dispatcher.receive(message)
        elif self._devices_known:
            self._know_devices(message.devices)
            self.dispatcher.look()

    def _know_devices(self, devices: tuple[Device, ...]) -> None:
        gpus = sum(each.is_gpu and each.available for each in devices)
        there = [each.threads for each in self._engine.slots() if each.device == "cpu" and each.threads]
        self.estimates.know_devices(devices, max(there, default=self.settings.threads_beside(gpus)))

    @property
    def _ready(self) -> bool:
        """Whether runs can start: the workers are there, and how many threads a training has is known."""
        return self._workers_open and self._devices_known

    def _is_idle(self) -> bool:
        """Whether a device may be measured now: all is open, and no run is at work or waits."""
        return self._ready and self.library.tile_set is not None and self.dispatcher.is_idle()

    def _device_problem(self, name: str, precision: str = "") -> str:
        """Why a run cannot have this device, or not in this precision; empty when it can."""
        device = next((each for each in self.devices() if each.id == name), None)
        if device is not None and device.available:
            if precision == "tf32" and not device.has_tf32:
                return f"The {device.name} does not multiply TF32. Choose float32."
            return ""
        reason = device.reason if device else f"This machine has no device '{name}'."
        return f"{reason} Choose another device."

    def _refuse_lost_devices(self) -> None:
        """Runs that have waited since before a restart, for a device that is no longer there, would wait for ever.

        To a cluster workers may come at any time.
        """
        if not self._devices_known or self._workers_problem or self.settings.scheduler:
            return
        for record in self.store.all()[0]:
            problem = self._device_problem(record.config.device)
            if record.state == "queued" and problem:
                self.dispatcher.refuse(record.id, problem)

    # -- what the lab has

    def tiles(self) -> TilesState:
        """The tiles, or how far opening them is."""
        return self.library.state

    def devices(self) -> tuple[Device, ...]:
        """The CPU first; GPUs once they are known."""
        return self.estimates.devices

    def devices_known(self) -> bool:
        """Whether a worker has looked for GPUs already."""
        return self._devices_known

    def room(self) -> tuple[Check, ...]:
        """The room check of the Start page."""
        return room_check(
            self.settings,
            self.library.state,
            self.devices(),
            devices_known=self._devices_known,
            workers=self._workers_problem,
            slots=self._engine.slots(),
            remarks=self._engine.remarks(),
            runs_refused=self._runs_refused,
        )

    def _seconds_for(self, record: RunRecord) -> float | None:
        # As it is known: to measure anything now would be in this run's way.
        if record.kind not in KINDS:  # another version's
            return None
        estimate = kind_of(record).estimate(self.estimates)
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

    def train_hand(self, owner: str) -> RunRecord:
        """Train what the open experiment dealt to a participant. Raises `LabError` with a sentence if it cannot be."""
        deal, hand = self.experiments.current(), self.experiments.deal_to(owner)
        if deal is None or hand is None or hand.deal != deal.number:
            raise RunError("The experiment has ended.")
        record = self.hand_run(hand)
        if record is not None and (record.is_active or record.state == "finished"):
            raise RunError("You train your value already, or have trained it.")
        record = self.submit(deal.config(*deal.hand(hand.place)), owner)
        self.experiments.trains(hand, record.id)
        return record

    def hand_run(self, hand: Hand) -> RunRecord | None:
        """The run that trains what somebody got; None before, and when it was deleted."""
        with suppress(RunError):
            return self.store.get(hand.run) if hand.run else None
        return None

    def submit_profile(self, config: TrainConfig, plan: ProfilePlan, owner: str) -> RunRecord:
        """Put a profile of some training steps in the queue. Raises `LabError` with a sentence when it cannot be."""
        return self._enqueue(Profile(config, plan), owner)

    def submit_sweep(self, config: TrainConfig, plan: SweepPlan, owner: str) -> RunRecord:
        """Put a measurement in the queue. Raises `LabError` with a sentence when it cannot be."""
        return self._enqueue(Measurement(config, plan), owner)

    def submit_transfer(self, config: TrainConfig, plan: TransferPlan, owner: str) -> RunRecord:
        """Put a transfer in the queue. Raises `LabError` with a sentence when it cannot be."""
        return self._enqueue(Transfer(config, plan), owner)

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
            if problem := self._device_problem(each.device, each.precision) or self.library.missing_weights(each):
                raise ConfigError(problem)
            # Where a cluster trains, its machines look for themselves.
            if not self.settings.scheduler and (problem := execution_problem(each)):
                raise ConfigError(problem)
        if problem := kind.problem(None if self.settings.scheduler else len(tile_set)):
            raise ConfigError(problem)
        if config.split == "place" and (problem := self.library.place_problem()):
            raise ConfigError(problem)
        self.dispatcher.check_room(owner)
        estimate = kind.estimate(self.estimates)
        if estimate is not None and not estimate.is_rough and estimate.seconds > 60 * self.settings.run_minutes:
            raise ConfigError(
                f"This would take about {wording.duration(estimate.seconds)}, and "
                f"{wording.duration(60 * self.settings.run_minutes)} is the longest a run may take here. Choose fewer "
                "epochs or fewer tiles."
            )
        self.estimates.measuring.give_way()
        self._make_room()
        record = self.store.create(config, owner, TilesUsed.of(tile_set), kind.name, plan)
        self.dispatcher.add(record, estimate.seconds if estimate else None)
        return record

    def _make_room(self) -> None:
        """Remove the oldest runs where there are as many as the lab keeps; the room check has warned of it before."""
        for each in self.store.surplus(self.settings.keep_runs - 1, spared=OWNER)[:_MOST_REMOVED]:
            logger.warning(
                "The run %s of %s is removed: the lab keeps %d.", each.id, each.owner, self.settings.keep_runs
            )
            with suppress(RunError):  # it may not be changed: it stays
                self.store.delete(each.id)
                self.results.forget(each.id)

    def runs_go_soon(self) -> bool:
        """Whether there are nearly as many runs as the lab keeps, so that the oldest will be removed."""
        return nearly_full(self.settings)

    def keep(self, run_id: str, owner: str, kept: bool) -> None:
        """Have a run stay when room is made for others, or no longer. Raises `RunError` when it is not the asker's."""
        self.store.keep(self._owned(run_id, owner).id, kept)

    def _owned(self, run_id: str, owner: str) -> RunRecord:
        """A run of the asker's. Raises `RunError` when it belongs to another."""
        record = self.store.get(run_id)
        if record.owner != owner:
            name = self.participants.name(record.owner)
            raise RunError(f"This run belongs to {name}; only {name} can stop or delete it.")
        return record

    def control(self, run_id: str, owner: str, command: Command) -> None:
        """Pause, step, resume or stop a run. Raises `RunError` when it is not the asker's or has ended."""
        record = self._owned(run_id, owner)
        if record.kind != "train" and command != "stop":
            measured = KINDS[record.kind].is_measured if record.kind in KINDS else True
            why = "What is being measured cannot be paused, for the pause would be measured, too."
            raise RunError(f"{why if measured else 'Only a training can be paused.'} Stop it.")
        self.dispatcher.control(record, command)

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run that has ended. Raises `RunError` when it is not the asker's or still active."""
        if self._owned(run_id, owner).is_active:
            raise RunError(f"The run {run_id} has not ended yet. Stop it first, then delete it.")
        self.store.delete(run_id)
        self.results.forget(run_id)

    def instructor(self, secret: str) -> Instructor:
        """What may be done by whoever leads the room. Raises `RunError` when the browser with this secret does not."""
        if not self.passcode.leads(secret):
            raise RunError("Only the instructor may do this. Give the passcode first.")
        return Instructor(self)

    def open_test(self, run_id: str, owner: str) -> Evaluation:
        """Look at a run's sealed test part. Raises `RunError` when it is not the asker's or has none."""
        return open_test(self.store, self._owned(run_id, owner).id)

    # -- where a run stands

    def seconds_left(self, run_id: str) -> float | None:
        """What a running run still needs at its own pace; None in its first moments."""
        return seconds_left(self.results.history(run_id))

    def place(self, run_id: str) -> Place | None:
        """Where a waiting run stands in the queue; None when it does not wait."""
        return self.dispatcher.place(run_id)

    def holds_up(self, place: Place) -> str:
        """What a waiting run waits for, as a sentence; empty when it is about to start."""
        if not self._ready:
            return self._workers_problem or "The process that trains is still starting."
        state = self.library.state
        if state.tile_set is None:
            return state.problem or "The tiles are still being opened."
        if self.dispatcher.held:
            return "The instructor holds the queue."
        if place.owner_is_busy:
            most = wording.count(self.settings.running_limit, "run")
            return f"You have {most} at work, the most one participant may have at a time."
        if place.behind is None:
            return ""
        try:
            ahead = self.store.get(place.behind)
        except RunError:  # it was deleted this very moment
            return ""
        name = self.participants.name(ahead.owner)
        if ahead.state == "queued":
            return f"{name}’s run comes first."
        what = {"profile": "profile", "sweep": "measurement", "transfer": "transfer"}.get(ahead.kind, "training")
        if ahead.state == "paused":
            return f"{name}’s {what} is paused and keeps its place for a while."
        device = wording.device_name(ahead.config.device)
        has = waiting_run(ahead, None, self.estimates.threads)
        if has.is_alone:
            return f"{name}’s {what} has the machine to itself."
        return f"{name}’s {what} has the {device}{' and the cores it needs' if has.measured else ''}."


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
