"""Speeds for the estimates on screen: measured when one is asked for, seconds in all, and never in a run's way."""

import logging
import threading
import time
from collections.abc import Callable

from eurosat_core.lab.protocol import Engine
from eurosat_core.machine_notes import Note
from eurosat_core.training.config import Architecture, TrainConfig

__all__ = ["Measuring"]

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
        """Measure nothing any more."""
        self._closed = True

    def _measure(self, config: TrainConfig, key: "_Network") -> None:
        began = time.monotonic()
        done = True
        try:
            notes = self._engine.measure(config, self._threads())
            done = notes is not None
            self._note(notes or [])
        except Exception:  # it hangs, its worker died, or the lab was closed
            if not self._closed:
                logger.exception("the speed of %s on %s could not be measured", config.model, config.device)
        with self._lock:
            self._working = False
            if done:  # whatever came of it, it is not tried again
                self._spent += min(time.monotonic() - began, _SECONDS_EACH)
                self._tried[key] = _TRIES
