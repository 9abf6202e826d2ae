"""The lab: what the pages talk to. It joins the run store, the queue, the workers and the tiles."""

import logging
import threading
import time
from contextlib import suppress
from functools import lru_cache

import torch

from eurosat_core.data.tiles import TileSet
from eurosat_core.devices import Device, cpu_device
from eurosat_core.errors import ConfigError, LabError, RunError
from eurosat_core.lab.calibration import Speed
from eurosat_core.lab.dispatch import Dispatcher
from eurosat_core.lab.doctor import Check, TilesState, room_check
from eurosat_core.lab.engine import DaskEngine, Engine
from eurosat_core.lab.estimate import Estimate, estimate_seconds
from eurosat_core.lab.frames import seconds_left
from eurosat_core.lab.game import evaluate_guesses
from eurosat_core.lab.guesses import GuessBook
from eurosat_core.lab.history import History, HistoryReader
from eurosat_core.lab.inspection import Inspector
from eurosat_core.lab.jobs import Command, predictions_from_bytes
from eurosat_core.lab.library import TileLibrary
from eurosat_core.lab.queue import Place
from eurosat_core.lab.runs import RunRecord, RunStore, TilesUsed
from eurosat_core.lab.sealed import earlier_openings, has_sealed_test, open_test, opened_test, sealed_tiles
from eurosat_core.lab.workload import Rate, measured_rate
from eurosat_core.models.catalog import build_model
from eurosat_core.models.designs import DesignStore
from eurosat_core.models.summary import ModelSummary, summarize
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Evaluation, Predictions, evaluate_predictions

__all__ = ["Lab", "current_lab", "open_lab", "set_current_lab"]

logger = logging.getLogger(__name__)

_READERS_KEPT = 200
_MEASURE_AGAIN_SECONDS = 2.0  # a device that is busy is measured later


class Lab:
    """Open it once per server with `open`, close it with `close`. All methods may be called from any thread.

    library: its tiles, and how they are downloaded. designs: networks that participants saved. inspector: looks into
    trained networks at once, beside the queue.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.store = RunStore(settings.runs)
        self.designs = DesignStore(settings.runs / "designs")
        self.inspector = Inspector(self.store)
        self._guess_book = GuessBook(settings.runs / "guesses.jsonl")
        self._engine = engine
        self.library = TileLibrary(settings, self._tiles_opened)
        self._devices: tuple[Device, ...] = (cpu_device(),)
        self._devices_known = False
        self._workers_open = False
        self._workers_problem = ""
        self._closed = False
        self._starting = threading.Thread(target=self._start_workers, name="eurosat-workers", daemon=True)
        self._speeds: list[Speed] = []
        self._readers: dict[str, HistoryReader] = {}
        self._readers_lock = threading.Lock()
        self._dispatcher = Dispatcher(
            settings,
            self.store,
            engine,
            tiles=lambda: self.library.tile_set,
            available=lambda: {each.id for each in self._devices if each.available} if self._workers_open else set(),
            seconds_left=self.seconds_left,
        )

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
        self._closed = True
        self._dispatcher.close()
        self.library.close()
        if not self._workers_open and self._starting.ident is not None:  # else they would start after the end
            self._starting.join(timeout=30)
        self._engine.close()

    def _tiles_opened(self) -> None:
        """What waited when the last server ended waits on, now that its tiles are there."""
        for record in reversed(self.store.all()[0]):
            if record.state == "queued":
                self._dispatcher.add(record, self._seconds_for(record.config))
        self._refuse_lost_devices()

    def _start_workers(self) -> None:
        try:
            self._engine.open(self._dispatcher.receive)
            self._workers_open = True
            if self._closed:
                return
            self._devices = self._engine.probe()
        except Exception as error:
            if self._closed:
                return
            logger.exception("the workers did not start")
            known = isinstance(error, LabError)
            self._workers_problem = str(error) if known else f"They did not start ({type(error).__name__})."
        self._devices_known = True
        self._refuse_lost_devices()
        self._dispatcher.look()
        for device in self._devices:
            if device.available:
                with suppress(Exception):  # its worker died, or the lab was closed: measuring meets the same
                    self._engine.wait_until_warm(device.id)
            while device.available and not self._closed and not self._measure(device.id):
                time.sleep(_MEASURE_AGAIN_SECONDS)

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

    def _measure(self, device: str) -> bool:
        """Measure a device for the estimates, unless it is busy; a run asked for meanwhile waits for about a second."""
        if not self._dispatcher.reserve(device):
            return False
        try:
            self._speeds = [*self._speeds, *self._engine.measure(device)]
        except Exception:
            if not self._closed:
                logger.exception("the speed of %s could not be measured", device)
        finally:
            self._dispatcher.release(device)
        return True

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

    def model_summary(self, name: str, network: str = "") -> ModelSummary:
        """Layers, parameters and costs of a model of the catalog, at 64×64 and for the lab's classes.

        network: the layers of the model `custom`.
        """
        tile_set = self.library.tile_set
        return _summary(name, len(tile_set.class_names) if tile_set else 10, network)

    def estimate(self, config: TrainConfig) -> Estimate | None:
        """How long a training takes, with what that rests on; None while nothing was measured."""
        tile_set = self.library.tile_set
        if tile_set is None:
            return None
        macs = {
            "baseline": _summary("baseline", 10, "").macs,
            config.model: _summary(config.model, 10, config.network).macs,
        }
        runs = [each for each in self.store.all()[0] if each.state == "finished"]
        names = {each.id: each.name for each in self._devices}
        return estimate_seconds(
            config,
            _used(tile_set),
            runs,
            self._speeds,
            macs,
            {"threads": self.settings.threads, "device_name": names.get(config.device, "")},
        )

    def multiplication_rate(self, device: str) -> Rate | None:
        """Multiplications per second of a device, as measured here; None while nothing was."""
        names = {each.id: each.name for each in self._devices}
        machine = {"threads": self.settings.threads, "device_name": names.get(device, "")}
        return measured_rate(device, self._speeds, self.store.all()[0], self.model_summary, machine)

    def _seconds_for(self, config: TrainConfig) -> float | None:
        estimate = self.estimate(config)
        return estimate.seconds if estimate else None

    # -- asking for runs

    def submit(self, config: TrainConfig, owner: str) -> RunRecord:
        """Put a training in the queue. Raises `LabError` with a sentence when it cannot be."""
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
        if config.split == "place" and (problem := self.library.place_problem()):
            raise ConfigError(problem)
        self._dispatcher.check_room(owner)
        record = self.store.create(config, owner, _used(tile_set))
        self._dispatcher.add(record, self._seconds_for(config))
        return record

    def control(self, run_id: str, owner: str, command: Command) -> None:
        """Pause, step, resume or stop a run. Raises `RunError` when it is not the asker's or has ended."""
        self._dispatcher.control(self._owned(run_id, owner), command)

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run that has ended. Raises `RunError` when it is not the asker's or still active."""
        if self._owned(run_id, owner).is_active:
            raise RunError(f"The run {run_id} has not ended yet. Stop it first, then delete it.")
        self.store.delete(run_id)
        with self._readers_lock:
            self._readers.pop(run_id, None)

    def _owned(self, run_id: str, owner: str) -> RunRecord:
        record = self.store.get(run_id)
        if record.owner != owner:
            raise RunError(f"This run belongs to {record.owner}; only {record.owner} can stop or delete it.")
        return record

    # -- looking at runs

    def runs(self) -> tuple[list[RunRecord], list[str]]:
        """All runs, newest first, and a sentence for each run folder that cannot be used."""
        return self.store.all()

    def run(self, run_id: str) -> RunRecord:
        """One run. Raises `RunError` when there is none of that name."""
        return self.store.get(run_id)

    def history(self, run_id: str) -> History:
        """What a run has told so far; one reader serves all sessions."""
        with self._readers_lock:
            reader = self._readers.get(run_id)
            if reader is None:
                reader = HistoryReader(self.store.folder_of(run_id) / "events.jsonl")
                self._readers[run_id] = reader
                while len(self._readers) > _READERS_KEPT:
                    self._readers.pop(next(iter(self._readers)))
        return reader.read()

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

    def open_test(self, run_id: str, owner: str) -> Evaluation:
        """Look at a run's sealed test part. Raises `RunError` when it is not the asker's or has none."""
        return open_test(self.store, self._owned(run_id, owner).id)

    def test_evaluation(self, run_id: str) -> Evaluation | None:
        """Accuracy and confusions on the test part once it was opened, else None."""
        return opened_test(self.store, self.store.get(run_id))

    def has_sealed_test(self, run_id: str) -> bool:
        """Whether the run has a test part that nobody has looked at yet."""
        return has_sealed_test(self.store, self.store.get(run_id))

    def sealed_tiles(self, run_id: str) -> int:
        """How many tiles a run's test part has."""
        return sealed_tiles(self.store, run_id)

    def earlier_openings(self, run_id: str) -> int:
        """How many other runs had been scored on the same test part before this one."""
        return earlier_openings(self.store.all()[0], self.store.get(run_id))

    def evaluation(self, run_id: str) -> Evaluation | None:
        """Accuracy and confusions of a run's last complete epoch; None when it has none."""
        predictions = self.predictions(run_id)
        if predictions is None:
            return None
        return evaluate_predictions(predictions.true, predictions.predicted, self.store.get(run_id).tiles.class_names)

    def predictions(self, run_id: str) -> Predictions | None:
        """What a run said about its validation tiles; None when it has none (or they are damaged)."""
        try:
            return predictions_from_bytes(self.store.load(run_id, "predictions.npz"))
        except RunError:
            return None

    def tiles_of(self, record: RunRecord) -> TileSet | None:
        """The tiles a run was made with, if they are the lab's."""
        tile_set = self.library.tile_set
        return tile_set if tile_set and tile_set.fingerprint == record.tiles.fingerprint else None

    # -- the game

    def add_guess(self, owner: str, tiles: TileSet, tile: int, guessed: int, seconds: float) -> None:
        """Note what a participant took a tile for (its number in `tiles`, the label said) and how long that took."""
        self._guess_book.add(owner, tiles.fingerprint, tile, int(tiles.labels[tile]), guessed, seconds)

    def guesses(self, owner: str, tiles: TileSet | None = None) -> Evaluation | None:
        """Accuracy and confusions of a participant's newest guesses on `tiles` (the lab's); None without any."""
        tiles = tiles or self.library.tile_set
        if tiles is None:
            return None
        return evaluate_guesses(self._guess_book.of(owner, tiles.fingerprint), tiles.class_names)


def _used(tiles: TileSet) -> TilesUsed:
    return TilesUsed(tiles.fingerprint, tiles.source, tiles.place, len(tiles), tiles.class_names)


@lru_cache(maxsize=32)
def _summary(name: str, classes: int, network: str) -> ModelSummary:
    with torch.device("meta"):  # shapes are enough: VGG's half a gigabyte need not be made
        made = build_model(name, classes, network)
    return summarize(made)


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
