"""How fast each device trains: measured when the lab opens, and again where something else kept the machine busy."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from eurosat_core.lab.calibration import Speed
from eurosat_core.lab.dispatch import Dispatcher
from eurosat_core.lab.protocol import Engine

__all__ = ["Measuring"]

logger = logging.getLogger(__name__)

_BUSY_DEVICE_SECONDS = 2.0  # until a device that a run has is asked for again
_BUSY_MACHINE_SECONDS = 10.0


@dataclass(frozen=True)
class Measuring:
    """note: keeps what was measured of a device. closed: ends all waiting."""

    engine: Engine
    dispatcher: Dispatcher
    note: Callable[[str, list[Speed]], None]
    closed: threading.Event

    def all(self, devices: Sequence[str], threads: int) -> None:
        """Measure each device with so many CPU threads as soon as it is free, calm or not: every estimate rests on it.

        Measured beside other work, a device can seem thirty times slower than it is. So those are measured again, once
        the machine is calm and nothing runs. Returns when that is done, or the lab is closed.
        """
        left = [each for each in devices if not self._for_the_first_time(each, threads)]
        while left and not self.closed.wait(_BUSY_MACHINE_SECONDS):
            left = [each for each in left if not (self.engine.is_calm() and self.once(each, threads, alone=True))]

    def _for_the_first_time(self, device: str, threads: int) -> bool:
        """Whether the figures can stay."""
        while not self.closed.is_set():
            if (calm := self.once(device, threads)) is not None:
                return calm
            self.closed.wait(_BUSY_DEVICE_SECONDS)
        return True

    def once(self, device: str, threads: int, *, alone: bool = False) -> bool | None:
        """Measure a device unless it is busy (alone: unless anything runs); runs asked for meanwhile wait seconds.

        Whether the machine was calm before and after, so that the figures can stay; None when it was not measured.
        """
        if not self.dispatcher.reserve(device, alone=alone):
            return None
        calm = self.engine.is_calm()
        try:
            speeds = self.engine.measure(device, threads)
            calm = calm and self.engine.is_calm()
            self.note(device, [replace(each, calm=calm) for each in speeds])
        except Exception:
            if not self.closed.is_set():
                logger.exception("the speed of %s could not be measured", device)
        finally:
            self.dispatcher.release(device)
        return calm
