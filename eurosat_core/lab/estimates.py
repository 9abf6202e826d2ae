"""What the lab expects: how long a training, a profile or a measurement will take on this machine, and why.

What runs have left behind, and how far they are: everything that can be told without workers.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from eurosat_core.cores import LoadNow
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import Device, cpu_device
from eurosat_core.errors import RunError
from eurosat_core.lab.calibration import Rate, known_speeds, measured_rate
from eurosat_core.lab.kind import Estimate, Known, Pace
from eurosat_core.lab.library import TileLibrary
from eurosat_core.lab.profile import Profile
from eurosat_core.lab.sweep import Measurement, Sweeps
from eurosat_core.lab.train import Training
from eurosat_core.machine_notes import machine_notes
from eurosat_core.models.catalog import build_model
from eurosat_core.models.summary import ModelSummary, summarize
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.game import evaluate_guesses
from eurosat_core.runs.guesses import GuessBook
from eurosat_core.runs.history import History, HistoryReader
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.sealed import earlier_openings, has_sealed_test, open_test, opened_test, sealed_tiles
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import Architecture, TrainConfig
from eurosat_core.training.evaluation import Evaluation, Predictions, evaluate_predictions, predictions_from_bytes
from eurosat_core.training.precision import Choice, filled, known_choice

_READERS_KEPT = 200


class Results:
    """The reading half of the lab. All methods may be called from any thread."""

    def __init__(self, store: RunStore, guess_book: GuessBook, library: TileLibrary) -> None:
        self.store = store
        self.library = library
        self._guess_book = guess_book
        self._readers: dict[str, HistoryReader] = {}
        self._readers_lock = threading.Lock()

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

    def owned(self, run_id: str, owner: str) -> RunRecord:
        """A run of the asker's. Raises `RunError` when it belongs to another."""
        record = self.store.get(run_id)
        if record.owner != owner:
            raise RunError(f"This run belongs to {record.owner}; only {record.owner} can stop or delete it.")
        return record

    def forget(self, run_id: str) -> None:
        """Let go of what is kept in memory of a deleted run."""
        with self._readers_lock:
            self._readers.pop(run_id, None)

    def open_test(self, run_id: str, owner: str) -> Evaluation:
        """Look at a run's sealed test part. Raises `RunError` when it is not the asker's or has none."""
        return open_test(self.store, self.owned(run_id, owner).id)

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

    def file(self, run_id: str, name: str) -> bytes:
        """Something a run left behind: `model.pt`, `trace_1.json.gz`, … Raises `RunError` when it has none of it."""
        return self.store.load(run_id, name)

    def file_size(self, run_id: str, name: str) -> int | None:
        """How many bytes such a file has; None when the run left none of that name."""
        return self.store.size(run_id, name)

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

    def guessed_tiles(self, owner: str, true: int, guessed: int) -> list[int]:
        """The lab's tiles of one class that a participant took for another (labels), newest first, each once."""
        tiles = self.library.tile_set
        if tiles is None:
            return []
        found = [
            each.tile
            for each in reversed(self._guess_book.of(owner, tiles.fingerprint))
            if (each.true, each.guessed) == (true, guessed) and each.tile < len(tiles)
        ]
        return list(dict.fromkeys(found))


_RECENT_SWEEPS = 20


class Estimates(Results):
    """The lab's results, and what they say about runs that are still to come. sweeps: what was measured."""

    def __init__(self, settings: Settings, store: RunStore, guesses: GuessBook, library: TileLibrary) -> None:
        super().__init__(store, guesses, library)
        self.sweeps = Sweeps(store)
        self._threads = settings.threads
        self._devices: tuple[Device, ...] = (cpu_device(),)
        self._timed: dict[str, tuple[Pace, ...]] = {}  # by run
        # What the machines of a cluster can do is not kept: this lab knows them by their devices' names only.
        self._cache = None if settings.scheduler else settings.cache
        self._notes = machine_notes(self._cache, self._threads)
        self._load = LoadNow()

    def _know_devices(self, devices: tuple[Device, ...], threads: int) -> None:
        """What a worker has found; threads: of a training beside workers for these."""
        self._devices, self._threads = devices, threads
        self._notes = machine_notes(self._cache, threads)

    def settled(self, config: TrainConfig) -> TrainConfig:
        """`config` with what it leaves to the device, if that is known; else as it is."""
        choice = self.form_choice(config)
        return filled(config, choice) if choice is not None else config

    def form_choice(self, config: TrainConfig) -> Choice | None:
        """What is known of the precision and layout that `config` leaves open; None for nothing, or nothing open."""
        return known_choice(config, self._notes) if config.is_open else None

    def model_summary(self, network: Architecture) -> ModelSummary:
        """Layers, parameters and costs of a network at 64×64, for the lab's classes."""
        tile_set = self.library.tile_set
        return _summary(network, len(tile_set.class_names) if tile_set else 10)

    def estimate(self, config: TrainConfig) -> Estimate | None:
        """How long a training takes, with what that rests on; None while nothing was measured."""
        return Training(config).estimate(self)

    def estimate_profile(self, config: TrainConfig, plan: ProfilePlan) -> Estimate | None:
        """How long a profile takes, with what that rests on; None while nothing was measured."""
        return Profile(config, plan).estimate(self)

    def estimate_sweep(self, config: TrainConfig, plan: SweepPlan) -> Estimate:
        """How long a measurement takes, with what that rests on. Raises `ConfigError` when it cannot be made."""
        return Measurement(config, plan).estimate(self)

    def known(self, config: TrainConfig) -> Known | None:
        """What is known for an estimate of `config`; None while the tiles or its precision are not."""
        tile_set = self.library.tile_set
        settled = self.settled(config)
        if tile_set is None or settled.is_open:
            return None
        return Known(
            settled,
            TilesUsed.of(tile_set),
            [each for each in self.store.all()[0] if each.state == "finished"],
            known_speeds(config.device, self._notes),
            lambda network: _summary(network, 10).macs,
            self._machine(config.device),
            self._paces(config.device),
            self._load.free_cores(),
        )

    def tile_seconds(self, config: TrainConfig) -> float | None:
        """Seconds of a training tile with these settings, about; None while nothing was measured."""
        tile_set = self.library.tile_set
        found = self.estimate(replace(config, epochs=1, tiles=None, split="random", sealed_test=False))
        return found.seconds / len(tile_set) if found and tile_set else None

    def multiplication_rate(self, device: str) -> Rate | None:
        """Multiplications per second of a device, as measured here; None while nothing was."""
        runs = self.store.all()[0]
        speeds = known_speeds(device, self._notes)
        return measured_rate(device, speeds, runs, self.model_summary, self._machine(device))

    def _paces(self, device: str) -> Iterator[Pace]:
        """Steps that were timed on this machine, of measurements that had it to themselves; the newest first."""
        here = self._machine(device)
        for run in self.sweeps.runs()[:_RECENT_SWEEPS]:
            # A GPU's worker measures the CPU beside it; what it notes of the machine is the GPU's name then.
            known = here if run.config.device == device else {"threads": here["threads"]}
            if run.company or run.recorded_on or any(run.machine.get(name) != value for name, value in known.items()):
                continue
            if run.id not in self._timed:
                self._timed[run.id] = self._timed_in(run.id)
            yield from (each for each in self._timed[run.id] if each.config.device == device)

    def _timed_in(self, run_id: str) -> tuple[Pace, ...]:
        """The paces of all cells of a measurement that has ended: pages ask at every click, and they stay the same."""
        try:
            cells = self.sweeps.result(run_id).cells
        except RunError:  # damaged; whoever opens that run is told
            return ()
        found = []
        for cell in cells:
            train, validation, size = cell.step_seconds, cell.validation_step_seconds, cell.config.batch_size
            if train is not None:
                seconds = validation.median / size if validation is not None else None
                found.append(Pace(cell.config, train.median / size, seconds, run_id))
        return tuple(found)

    def _machine(self, device: str) -> dict[str, Any]:
        """What runs on a device note about this machine, as far as it changes their speed."""
        names = {each.id: each.name for each in self._devices}
        return {"threads": self._threads, "device_name": names.get(device, "")}


@lru_cache(maxsize=32)
def _summary(network: Architecture, classes: int) -> ModelSummary:
    with torch.device("meta"):  # shapes are enough: VGG's half a gigabyte need not be made
        made = build_model(network.model, classes, network.network, stem_pool=network.stem_pool)
    return summarize(made)
