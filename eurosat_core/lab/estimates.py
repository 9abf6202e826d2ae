"""What the lab expects: how long a training, a profile or a measurement will take on this machine, and why.

Every estimate carries its basis, since a figure on screen was measured or says what it rests on.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from eurosat_core.cores import LoadNow
from eurosat_core.devices import Device, cpu_device
from eurosat_core.errors import DataError, RunError
from eurosat_core.lab.kind import Estimate, Kind, Known, Pace, network_summary
from eurosat_core.lab.library import TileLibrary
from eurosat_core.lab.messages import Engine
from eurosat_core.lab.profile import Profile
from eurosat_core.lab.speeds import Rate, known_speeds, measured_rate
from eurosat_core.lab.sweep import Measurement, Sweeps
from eurosat_core.lab.train import Training
from eurosat_core.lab.transfer import Transfer
from eurosat_core.machine_notes import Note, machine_notes
from eurosat_core.models.summary import ModelSummary
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import Architecture, TrainConfig, recipe_config
from eurosat_core.training.forms import Choice, filled, known_choice
from eurosat_core.training.transfer import TransferPlan

logger = logging.getLogger(__name__)

_SECONDS_IN_ALL = 3.0  # of measurements that came to an end; what is asked for then is projected from these
_SECONDS_EACH = 1.0  # counted at most: what the first one takes longer is PyTorch being loaded
_TRIES = 3  # of one that had to give way


_Network = tuple[str, Architecture, str, bool | None, bool]


def _network(config: TrainConfig) -> _Network:
    """What is measured of a config: its network, on its device, in its form."""
    return config.device, config.architecture, config.precision, config.channels_last, config.source == "features"


class Measuring:
    """Measures one network at a time in the background. All methods may be called from any thread.

    is_idle: whether no run is at work or waits. threads: of a training. note: keeps what was found.
    """

    def __init__(
        self,
        engine: Engine,
        is_idle: Callable[[], bool],
        threads: Callable[[], int],
        note: Callable[[list[Note]], None],
    ) -> None:
        self._engine = engine
        self._is_idle = is_idle
        self._threads = threads
        self._note = note
        self._lock = threading.Lock()
        self._noting = threading.Lock()  # one of its own: a page that wants an estimate does not wait for the disk
        self._working = False
        self._closed = False
        self._spent = 0.0
        self._tried: dict[_Network, int] = {}

    def may_come(self, config: TrainConfig) -> bool:
        """Whether the network of `config` is being measured, or will be once nothing runs."""
        left = self._spent < _SECONDS_IN_ALL and self._tried.get(_network(config), 0) < _TRIES
        return not self._closed and (left or self._working)

    def want(self, config: TrainConfig) -> None:
        """Have the network of `config` measured, unless that was done, or anything runs or is measured now."""
        key = _network(config)
        idle = self._is_idle()
        with self._lock:
            if not idle or self._working or not self.may_come(config):
                return
            self._working = True
            self._tried[key] = self._tried.get(key, 0) + 1
        threading.Thread(target=self._measure, args=(config, key), name="eurosat-measuring", daemon=True).start()

    def give_way(self) -> None:
        """End what is being measured: somebody asks for a run, and does not wait for the answer.

        The worker that gets the run ends it, too; this is for those of other devices.
        """
        if self._working:
            threading.Thread(target=self._stop, name="eurosat-stop-measuring", daemon=True).start()

    def _stop(self) -> None:
        try:
            self._engine.stop_measuring()
        except Exception:
            if not self._closed:
                logger.warning("a measurement could not be told to end", exc_info=True)

    def close(self) -> None:
        """Measure nothing any more, and note nothing: what is under way may come to its end when the lab is gone."""
        with self._noting:
            self._closed = True

    def _measure(self, config: TrainConfig, key: _Network) -> None:
        began = time.monotonic()
        done = True
        try:
            notes = self._engine.measure(config, self._threads())
            done = notes is not None
            with self._noting:
                if not self._closed:
                    self._note(notes or [])
        except TimeoutError:  # of a machine that is busier than any measurement would be right on
            logger.warning("the speed of %s on %s could not be measured in time", config.model, config.device)
        except Exception:  # its worker died, or the lab was closed
            if not self._closed:
                logger.exception("the speed of %s on %s could not be measured", config.model, config.device)
        with self._lock:
            self._working = False
            if done:  # whatever came of it, it is not tried again
                self._spent += min(time.monotonic() - began, _SECONDS_EACH)
                self._tried[key] = _TRIES


_RECENT_SWEEPS = 20


class Estimates:
    """How long runs take that are still to come. All methods may be called from any thread.

    What is not known, or only roughly, is measured meanwhile, so it is worth asking again soon.

    Attributes:
        devices: The CPU first; GPUs once they are known.
        threads: Of a training, on the CPU, when nothing else keeps the machine busy.
        measuring: Measures networks while nothing runs.
    """

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        library: TileLibrary,
        sweeps: Sweeps,
        engine: Engine,
        is_idle: Callable[[], bool],
    ) -> None:
        self.devices: tuple[Device, ...] = (cpu_device(),)
        self.threads = settings.threads
        self.measuring = Measuring(engine, is_idle, lambda: self.threads, self._note)
        self._store = store
        self._library = library
        self._sweeps = sweeps
        self._timed: dict[str, tuple[Pace, ...]] = {}  # by run
        # What the machines of a cluster can do is not kept: this lab knows them by their devices' names only.
        self._cache = None if settings.scheduler else settings.cache
        self._notes = machine_notes(self._cache, self.threads)
        self._load = LoadNow()

    def know_devices(self, devices: tuple[Device, ...], threads: int) -> None:
        """What a worker has found; threads: of a training beside workers for these."""
        self.devices, self.threads = devices, threads
        self._notes = machine_notes(self._cache, threads)

    def _note(self, notes: list[Note]) -> None:
        for each in notes:
            self._notes.put(each)

    # -- how long

    def training(self, config: TrainConfig) -> Estimate | None:
        """How long a training takes, with what that rests on; None while nothing was measured."""
        return self._measured_meanwhile(Training(config))

    def profile(self, config: TrainConfig, plan: ProfilePlan) -> Estimate | None:
        """How long a profile takes, with what that rests on; None while nothing was measured."""
        return self._measured_meanwhile(Profile(config, plan))

    def sweep(self, config: TrainConfig, plan: SweepPlan) -> Estimate:
        """How long a measurement takes, with what that rests on. Raises `ConfigError` when it cannot be made."""
        return Measurement(config, plan).estimate(self)

    def transfer(self, config: TrainConfig, plan: TransferPlan) -> Estimate | None:
        """How long a transfer takes, with what that rests on; None while nothing was measured."""
        return self._measured_meanwhile(Transfer(config, plan))

    def _measured_meanwhile(self, kind: Kind) -> Estimate | None:
        found = kind.estimate(self)
        if found is None or found.is_rough:
            self.measuring.want(kind.config)
        return found

    def tile_seconds(self, config: TrainConfig) -> float | None:
        """Seconds of a training tile with these settings, about; None while nothing was measured."""
        tile_set = self._library.tile_set
        found = self.training(replace(config, epochs=1, tiles=None, split="random", sealed_test=False))
        return found.seconds / len(tile_set) if found and tile_set else None

    def missing_features(self, config: TrainConfig, plan: TransferPlan) -> int | None:
        """How many of a transfer's tiles have no features yet on this machine; None where another one computes them."""
        from eurosat_core.training.few_labels import missing_features  # here, for PyTorch takes seconds to load

        tile_set = self._library.tile_set
        if tile_set is None or self._cache is None:
            return None
        try:
            return missing_features(config, plan, tile_set)
        except DataError:  # tiles that cannot be split so: the run says it
            return None

    def sure_seconds(self, config: TrainConfig) -> float | None:
        """Seconds of a training, if that rests on its own network on this device; else it is being measured."""
        found = self.training(config)
        return found.seconds if found is not None and not found.is_rough else None

    def is_measuring(self, config: TrainConfig) -> bool:
        """Whether an estimate of this config is still to come, or to get better."""
        found = Training(config).estimate(self)
        return (found is None or found.is_rough) and self.measuring.may_come(config)

    def multiplication_rate(self, device: str) -> Rate | None:
        """Multiplications per second of a device, as measured here; None while nothing was."""
        runs, speeds = self._store.all()[0], known_speeds(device, self._notes)
        found = measured_rate(device, speeds, runs, self.model_summary, self._machine(device))
        if found is None:
            self.measuring.want(recipe_config("baseline", "fast", device=device))
        return found

    # -- what that rests on

    def settled(self, config: TrainConfig) -> TrainConfig:
        """`config` with what it leaves to the device, if that is known; else as it is."""
        choice = self.form_choice(config)
        return filled(config, choice) if choice is not None else config

    def form_choice(self, config: TrainConfig) -> Choice | None:
        """What is known of the precision and layout that `config` leaves open; None for nothing, or nothing open."""
        return known_choice(config, self._notes) if config.is_open else None

    def model_summary(self, network: Architecture) -> ModelSummary:
        """Layers, parameters and costs of a network at 64×64, for the lab's classes."""
        tile_set = self._library.tile_set
        return network_summary(network, len(tile_set.class_names) if tile_set else 10)

    def known(self, config: TrainConfig) -> Known | None:
        """What is known for an estimate of `config`; None while the tiles or its precision are not."""
        tile_set = self._library.tile_set
        settled = self.settled(config)
        if tile_set is None or settled.is_open:
            return None
        return Known(
            settled,
            TilesUsed.of(tile_set),
            [each for each in self._store.all()[0] if each.state == "finished"],
            known_speeds(config.device, self._notes),
            lambda network: network_summary(network).macs,
            self._machine(config.device),
            self._paces(config.device),
            self._load.free_cores(),
        )

    def _paces(self, device: str) -> Iterator[Pace]:
        """Steps that were timed on this machine, of measurements that had it to themselves; the newest first."""
        here = self._machine(device)
        for run in self._sweeps.runs()[:_RECENT_SWEEPS]:
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
            cells = self._sweeps.result(run_id).cells
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
        names = {each.id: each.name for each in self.devices}
        return {"threads": self.threads, "device_name": names.get(device, "")}
