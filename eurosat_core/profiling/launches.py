"""How far the host is ahead of a device: work that was launched and has not begun, over time.

A kernel, copy or fill waits in the queue from the beginning of the call that launched it (same correlation id) to its
own beginning; of one that replays a CUDA graph all its kernels do. HolisticTraceAnalysis counts the same by stream;
here all streams of a device count together.
"""

from dataclasses import dataclass

import numpy as np

from eurosat_core.profiling.columns import Floats, Ints, Kind
from eurosat_core.profiling.overview import covered, merged, total
from eurosat_core.profiling.steps import find_steps
from eurosat_core.profiling.timeline import extremes
from eurosat_core.profiling.trace import Trace

FEW = 1
"""With so few launches waiting the device runs dry as soon as the host does anything else."""


@dataclass(frozen=True, eq=False)
class QueueStep:
    """One step. mean: over its time; most: at any moment."""

    step: int
    mean: float
    most: int


@dataclass(frozen=True, eq=False)
class Queue:
    """One device. A length holds until the next time; of a longer curve the extremes of each short while are kept."""

    index: int
    name: str | None
    steps: tuple[QueueStep, ...]
    few: float
    """Of the time in which kernels ran: with at most `FEW` launches waiting."""
    time_us: Floats
    """After the beginning of the first step."""
    length: Ints


def queues(trace: Trace, most: int = 400) -> tuple[Queue, ...]:
    """For every device on which kernels ran, as far as the trace tells what launched them."""
    steps = find_steps(trace)
    found = []
    for index in np.unique(trace.device[trace.rows(Kind.KERNEL)]).tolist():
        waiting = (trace.device[trace.device_rows] == index) & (trace.launch >= 0)
        begins, ends = trace.start_ns[trace.launch[waiting]], trace.start_ns[trace.device_rows[waiting]]
        real = ends > begins
        begins, ends = begins[real], ends[real]
        if not len(begins):
            continue
        times, lengths = _lengths(begins, ends)
        low, high = steps.window
        kernels = trace.rows(Kind.KERNEL)
        busy = merged(trace.spans(kernels[trace.device[kernels] == index]))
        busy = merged((np.clip(busy[0], low, high), np.clip(busy[1], low, high)))
        many = np.flatnonzero(lengths[:-1] > FEW)
        crowded = int(covered(busy, (times[many], times[many + 1])).sum())
        properties = trace.devices.get(index)
        inside = (times >= low) & (times <= high)
        drawn, values = (times[inside] - low, lengths[inside]) if inside.any() else (times - low, lengths)
        kept = extremes(drawn, values.astype(np.float64), most)
        found.append(
            Queue(
                index,
                properties.name if properties else None,
                tuple(
                    _of_step(step, begins, ends, times, lengths, window)
                    for step, window in zip(
                        steps.names, zip(steps.start_ns.tolist(), steps.end_ns.tolist(), strict=True), strict=True
                    )
                ),
                1 - crowded / total(busy) if total(busy) else 1.0,
                drawn[kept] / 1000,
                values[kept],
            )
        )
    return tuple(found)


def _lengths(begins: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """When the length changes, each time once, and to what. The last length is 0."""
    times = np.concatenate([begins, ends])
    change = np.repeat(np.array([1, -1], np.int64), len(begins))
    moments, place = np.unique(times, return_inverse=True)
    summed = np.zeros(len(moments), np.int64)
    np.add.at(summed, place, change)
    return moments, np.cumsum(summed)


def _of_step(step: int, begins: Ints, ends: Ints, times: Ints, lengths: Ints, window: tuple[int, int]) -> QueueStep:
    low, high = window
    waited = int((np.clip(ends, low, high) - np.clip(begins, low, high)).sum())
    first, last = np.searchsorted(times, low, side="right") - 1, np.searchsorted(times, high, side="left")
    return QueueStep(
        step, waited / (high - low) if high > low else 0.0, int(lengths[max(first, 0) : last].max(initial=0))
    )
