"""Clocks for the parts of steps: they never make a device wait while it is timed.

On a CPU the time is read between the parts. On a CUDA GPU events are put into its stream between them and read when
the turn is over: what the GPU was waiting for then counts to the part in which it waited, and what it did beside
something else counts nowhere twice. On other devices only a whole turn is timed.
"""

import time
from typing import Protocol

import torch

from eurosat_core.training.tally import wait_for

__all__ = ["NO_CLOCK", "Clock", "clock_for"]


class Clock(Protocol):
    """Times the stretches between its marks."""

    def start(self) -> None:
        """Wait for the device, forget earlier marks, and set the first one."""
        ...

    def mark(self) -> None:
        """A part ends here, and the next one begins."""
        ...

    def stop(self) -> tuple[float, list[float] | None]:
        """Wait for the device; seconds from the first mark to the last, and of every stretch between two (or None)."""
        ...


class _NoClock:
    """For steps that are not timed."""

    def start(self) -> None: ...

    def mark(self) -> None: ...

    def stop(self) -> tuple[float, list[float] | None]:
        return 0.0, None


NO_CLOCK: Clock = _NoClock()


class _HostClock:
    """What is computed on the CPU is done when its call returns."""

    def __init__(self) -> None:
        self._marks: list[float] = []

    def start(self) -> None:
        self._marks = [time.perf_counter()]

    def mark(self) -> None:
        self._marks.append(time.perf_counter())

    def stop(self) -> tuple[float, list[float] | None]:
        stretches = [after - before for before, after in zip(self._marks, self._marks[1:], strict=False)]
        return self._marks[-1] - self._marks[0], stretches


class _CudaClock:
    """Events in the stream of a CUDA GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []

    def start(self) -> None:
        wait_for(self._device)
        self._events = []
        self.mark()

    def mark(self) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)

    def stop(self) -> tuple[float, list[float] | None]:
        wait_for(self._device)
        pairs = zip(self._events, self._events[1:], strict=False)
        stretches = [before.elapsed_time(after) / 1000 for before, after in pairs]
        return sum(stretches), stretches


class _WholeClock:
    """Any other accelerator: the time from synchronised to synchronised."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began = 0.0

    def start(self) -> None:
        wait_for(self._device)
        self._began = time.perf_counter()

    def mark(self) -> None:
        pass

    def stop(self) -> tuple[float, list[float] | None]:
        wait_for(self._device)
        return time.perf_counter() - self._began, None


def clock_for(device: torch.device) -> Clock:
    """The clock for what is computed on this device."""
    if device.type == "cpu":
        return _HostClock()
    return _CudaClock(device) if device.type == "cuda" else _WholeClock(device)
