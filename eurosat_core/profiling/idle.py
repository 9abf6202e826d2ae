"""Why a device was idle: every moment without a GPU kernel goes to one cause, by what the host did meanwhile.

Idle is what `DeviceFigures.utilization` leaves over: the window of the steps without the union of a device's kernels.
The causes of an idle moment, the first that holds (`CAUSES`; the *next work* is the kernel, copy or fill that begins
next on this device, on whatever stream):

- device copy: a copy or a fill ran on the device, on any stream;
- starting: the call that launched the next work had returned, and it had not begun: the launch's own latency, or
  waiting for another stream;
- unknown: the trace does not tell which call launched the next work;
- data: that call had not returned (or nothing came any more), and a thread of the host waited for a batch of a
  DataLoader;
- synchronisation: as above, and a thread waited for the device (`cuda…Synchronize`, `item()`);
- host copy: as above, and a thread was in a call that copies (`cudaMemcpy…`): for memory that is not pinned the host
  prepares the copy first;
- launch: as above, and none of these: the host was in operators, in Python, or in the launching call itself.

So a moment under a wait counts as synchronisation only where the host had nothing launched ahead, and a batch that is
fetched while kernels run costs nothing.

HolisticTraceAnalysis (0.5.0, `get_idle_time_breakdown`) gives a whole gap of one stream to one of three causes: *host
wait* where the next launch began after the work before had ended, *kernel wait* below 30 ns, else *other*. Both agree
on the gaps of a single stream between its first and its last work; its *host wait* is the sum of our data,
synchronisation, host copy and launch there, and of starting in gaps whose launch came too late: `bench/profiler.md`.
"""

import re
from dataclasses import dataclass

import numpy as np

from eurosat_core.profiling.columns import Ints, Kind
from eurosat_core.profiling.overview import LOADER, WAIT, Spans, merged, shares, total
from eurosat_core.profiling.steps import Steps, find_steps
from eurosat_core.profiling.trace import Trace

CAUSES = ("data", "launch", "synchronisation", "host copy", "device copy", "starting", "unknown")
"""Causes of idle moments, in the order in which they are shown."""

# In the order in which they are asked for; what is left is "launch".
_ASKED = ("device copy", "starting", "unknown", "data", "synchronisation", "host copy", "launch")
_ITEM = re.compile(r"aten::(?:item|_local_scalar_dense)$")
_COPY_CALL = re.compile(r"(?:cuda|hip|cu)Memcpy", re.IGNORECASE)
_LONGEST = 5


@dataclass(frozen=True)
class Gap:
    """A time without a kernel. Times in µs; start_us after the beginning of the first step.

    cause: the one that took most of it. host: the innermost event of the host in the gap's middle, on the thread that
    launched what came next; next_kernel: what came; empty where the trace tells none.
    """

    start_us: float
    duration_us: float
    cause: str
    host: str
    next_kernel: str


@dataclass(frozen=True)
class IdleTimes:
    """One device. window_us = kernels_us + the sum of cause_us; `CAUSES` name its keys, all of them."""

    index: int
    name: str | None
    window_us: float
    kernels_us: float
    cause_us: dict[str, float]
    gaps: int
    steps: int
    longest: tuple[Gap, ...]
    """The longest gaps, the longest one first."""

    @property
    def idle_us(self) -> float:
        """The window without its kernels."""
        return sum(self.cause_us.values())


def idle_times(trace: Trace) -> tuple[IdleTimes, ...]:
    """For every device on which kernels ran; none for a trace without."""
    steps = find_steps(trace)
    kernels = trace.rows(Kind.KERNEL)
    host = _host_layers(trace)
    return tuple(_of_device(trace, steps, index, host) for index in np.unique(trace.device[kernels]).tolist())


def _host_layers(trace: Trace) -> list[Spans]:
    """When the host waited for data, waited for the device, and copied."""
    calls, operators = trace.rows(Kind.RUNTIME), trace.rows(Kind.OPERATOR, Kind.ANNOTATION)
    loading = operators[trace.named(LOADER.search)[operators]]
    items = operators[trace.named(_ITEM.match)[operators]]
    waits = calls[trace.named(WAIT.match)[calls]]
    copying = calls[trace.named(_COPY_CALL.match)[calls]]
    return [trace.spans(each) for each in (loading, np.concatenate([waits, items]), copying)]


def _of_device(trace: Trace, steps: Steps, index: int, host: list[Spans]) -> IdleTimes:
    low, high = steps.window
    on_device = trace.device[trace.device_rows] == index
    work, launch = trace.device_rows[on_device], trace.launch[on_device]
    is_kernel = trace.kind[work] == Kind.KERNEL
    busy = merged(_clipped(trace.spans(work[is_kernel]), low, high))
    gaps = _between(busy, low, high)
    started, unknown = _before_each(trace, work, launch)
    layers = [trace.spans(work[~is_kernel]), started, unknown, *host]
    parts = shares(layers, gaps)
    sums = dict(zip(_ASKED, (parts.sum(axis=0) / 1000).tolist(), strict=True))
    properties = trace.devices.get(index)
    return IdleTimes(
        index,
        properties.name if properties else None,
        (high - low) / 1000,
        total(busy) / 1000,
        {cause: sums[cause] for cause in CAUSES},
        len(gaps[0]),
        len(steps),
        _longest(trace, gaps, parts, work[is_kernel], launch[is_kernel], low),
    )


def _clipped(spans: Spans, low: int, high: int) -> Spans:
    return np.clip(spans[0], low, high), np.clip(spans[1], low, high)


def _between(busy: Spans, low: int, high: int) -> Spans:
    """The gaps of a union within a window."""
    starts, ends = np.concatenate([[low], busy[1]]), np.concatenate([busy[0], [high]])
    real = ends > starts
    return starts[real], ends[real]


def _before_each(trace: Trace, work: Ints, launch: Ints) -> tuple[Spans, Spans]:
    """Times in which the next work had been launched already, and in which nobody knows: each ends as it begins.

    Only between the start of one work and that of the next: what lies there under a kernel is in no gap.
    """
    begins = trace.start_ns[work]
    before = np.concatenate([[np.iinfo(np.int64).min // 2], begins[:-1]]) if len(begins) else begins
    known = launch >= 0
    returned = np.where(known, trace.end_ns[launch], 0)
    started = (np.maximum(before, returned)[known], begins[known])
    return started, (before[~known], begins[~known])


def _longest(trace: Trace, gaps: Spans, parts: Ints, kernels: Ints, calls: Ints, low: int) -> tuple[Gap, ...]:
    """The longest gaps. kernels, calls: all of this device, in order of time, and the rows of what launched them."""
    starts, ends = gaps
    found = []
    following = np.searchsorted(trace.start_ns[kernels], ends, side="left")
    for each in np.argsort(starts - ends, kind="stable")[:_LONGEST].tolist():
        start, end, at = int(starts[each]), int(ends[each]), int(following[each])
        found.append(
            Gap(
                (start - low) / 1000,
                (end - start) / 1000,
                _ASKED[int(parts[each].argmax())],
                _innermost(trace, (start + end) // 2, int(calls[at]) if at < len(kernels) else -1),
                trace.names[trace.name[kernels[at]]] if at < len(kernels) else "",
            )
        )
    return tuple(found)


def _innermost(trace: Trace, moment: int, call: int) -> str:
    """What the host did at a moment on the thread of a call (on any, for -1): the shortest event around it."""
    kinds = (Kind.OPERATOR, Kind.ANNOTATION, Kind.RUNTIME)
    rows = trace.rows(*kinds)
    rows = rows[(trace.start_ns[rows] <= moment) & (trace.end_ns[rows] > moment)]
    if call >= 0:
        rows = rows[trace.lane[rows] == trace.lane[call]]
    if not len(rows):
        return ""
    shortest: str = trace.names[trace.name[rows[trace.duration_ns[rows].argmin()]]]
    return shortest
