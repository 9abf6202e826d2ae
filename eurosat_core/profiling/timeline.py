"""What is drawn over time: the bars of one step, and memory while the trace was recorded.

A line for each thread of the host and stream of a device. Bars too short to be seen are joined with their neighbours
and say so; a gap that could be seen is never filled.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eurosat_core.errors import TraceError
from eurosat_core.profiling.columns import Floats, Ints, Kind
from eurosat_core.profiling.steps import find_steps
from eurosat_core.profiling.trace import DEVICE_WORK, Trace, count_around

# A chart is about so many dots wide: what is shorter cannot be seen.
_DOTS = 1000
# Calls further inside than this would need a chart higher than a page.
_LEVELS = 24
_NAMES = {
    Kind.OPERATOR: "operator",
    Kind.ANNOTATION: "annotation",
    Kind.RUNTIME: "runtime",
    Kind.OVERHEAD: "overhead",
    Kind.KERNEL: "kernel",
    Kind.MEMCPY: "copy",
    Kind.MEMSET: "fill",
}


@dataclass(frozen=True)
class TimelineLane:
    """One line: a thread or a stream, and how many levels of events within events it has."""

    title: str
    on_device: bool
    levels: int


@dataclass(frozen=True)
class Bar:
    """One event, or several short ones next to each other. Times in µs after the step's start."""

    lane: int
    level: int
    name: str
    """Of several events, the longest one's."""
    kind: str
    start_us: float
    duration_us: float
    events: int
    busy_us: float
    """Of the bar's duration, how long its events ran."""


@dataclass(frozen=True)
class Timeline:
    """One step, or a stretch of it. `shortest_us`: events shorter than this were joined."""

    length_us: float
    """Of the whole step."""
    lanes: tuple[TimelineLane, ...]
    bars: tuple[Bar, ...]
    shortest_us: float


def step_timeline(trace: Trace, step: int, stretch_us: tuple[float, float] | None = None, most: int = 500) -> Timeline:
    """The events of a step (its number, as in the overview), or of a stretch of it, as at most about `most` bars.

    Python's functions are left out. Raises `TraceError` for a step that is not there.
    """
    steps = find_steps(trace)
    if step not in steps.names:
        raise TraceError(f"The trace has no step {step}. Choose one of {', '.join(map(str, steps.names))}.")
    at = steps.names.index(step)
    start, end = int(steps.start_ns[at]), int(steps.end_ns[at])
    window = (start, end)
    if stretch_us is not None:
        low, high = (min(max(start + round(each * 1000), start), end) for each in stretch_us)
        window = (low, max(high, low + 1))
    levels = count_around(trace.parent, np.isin(trace.kind, list(_NAMES)))
    rows = trace.rows(*_NAMES)
    rows = rows[(trace.start_ns[rows] < window[1]) & (trace.end_ns[rows] > window[0]) & (levels[rows] < _LEVELS)]
    lane_of, lanes = _lanes(trace, rows, levels[rows])
    order = np.lexsort((trace.start_ns[rows], levels[rows], lane_of))
    rows, lane_of = rows[order], lane_of[order]
    level = levels[rows]
    starts, ends = (np.clip(each, *window) for each in trace.spans(rows))
    lengths = ends - starts
    # Short events on one level join while what lies between them is short too.
    apart = (np.diff(lane_of) != 0) | (np.diff(level) != 0)
    shortest = (window[1] - window[0]) / _DOTS
    while True:
        seen = lengths >= shortest
        new = apart | seen[1:] | seen[:-1] | (starts[1:] - ends[:-1] >= shortest)
        first = np.flatnonzero(np.concatenate([[len(rows) > 0], new]))
        if len(first) <= most or shortest >= window[1] - window[0]:
            break
        shortest *= 2
    bars = []
    for low, high in pairwise([*first.tolist(), len(rows)]):
        longest = rows[low + int(lengths[low:high].argmax())]
        drawn = ends[low:high].max() - starts[low]
        bars.append(
            Bar(
                int(lane_of[low]),
                int(level[low]),
                trace.names[trace.name[longest]],
                _NAMES[Kind(int(trace.kind[longest]))],
                float(starts[low] - start) / 1000,
                float(drawn) / 1000,
                high - low,
                float(min(lengths[low:high].sum(), drawn)) / 1000,
            )
        )
    return Timeline((end - start) / 1000, lanes, tuple(bars), shortest / 1000)


def _lanes(trace: Trace, rows: Ints, level: Ints) -> tuple[Ints, tuple[TimelineLane, ...]]:
    """For each row its line, and the lines: threads first, the busiest one on top, then devices and their streams."""
    found, place = np.unique(trace.lane[rows], return_inverse=True)
    on_device = np.zeros(len(found), np.bool_)
    on_device[place[np.isin(trace.kind[rows], DEVICE_WORK)]] = True
    busy = np.bincount(place, trace.duration_ns[rows] * (level == 0), len(found))
    levels = np.zeros(len(found), np.int64)
    np.maximum.at(levels, place, level + 1)
    order = sorted(range(len(found)), key=lambda each: (on_device[each], -busy[each]))
    lanes = []
    for each in order:
        lane = trace.lanes[found[each]]
        if on_device[each]:
            stream = lane.thread.removeprefix("stream").strip()
            title = f"GPU {trace.device[rows[place == each]][0]} stream {stream}"
        else:
            title = lane.title.removesuffix("()").strip() or f"thread {lane.thread}"
        lanes.append(TimelineLane(title, bool(on_device[each]), int(levels[each])))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[place], tuple(lanes)


@dataclass(frozen=True, eq=False)
class MemoryCurve:
    """Memory of one device after each event that changed it. Times in µs after the trace's first event.

    A value holds until the next one. Of a longer curve the highest and lowest value of each short while are kept.
    """

    device: str
    time_us: Floats
    allocated_bytes: Floats
    """In use by tensors."""
    reserved_bytes: Floats | None
    """Held ready by PyTorch; None where the trace does not say, as on the CPU."""
    peak_us: float
    peak_bytes: int
    relative: bool
    """The trace names no totals: the values count from what was in use when recording began."""
    events: int
    """How many there are in the trace."""


def memory_curve(trace: Trace, most: int = 400) -> list[MemoryCurve]:
    """A curve of at most `most` points for each device, the CPU last; none for a trace without memory events."""
    curves = []
    for number, device in enumerate(trace.memory.device):
        rows = np.flatnonzero(trace.memory.on == number)
        if not len(rows):  # none of its events could be used
            continue
        allocated = trace.memory.allocated[rows]
        told = np.isfinite(allocated)
        relative = not told.any()
        if relative:
            allocated = np.cumsum(trace.memory.bytes[rows]).astype(np.float64)
        else:
            rows, allocated = rows[told], allocated[told]
        times = trace.memory.time_ns[rows]
        reserved = trace.memory.reserved[rows]
        kept = extremes(times, allocated, most)
        top = int(allocated.argmax())
        curves.append(
            MemoryCurve(
                device,
                times[kept] / 1000,
                allocated[kept],
                # The CPU's allocator reserves nothing and writes 0.
                reserved[kept] if np.isfinite(reserved).all() and reserved.any() else None,
                float(times[top]) / 1000,
                int(allocated[top]),
                relative,
                len(rows),
            )
        )
    return sorted(curves, key=lambda each: (each.device == "cpu", each.device))


def extremes(times: Ints, values: Floats, most: int) -> Ints:
    """Places of at most `most` values: first, last, and the lowest and highest of each of equally long whiles."""
    if len(values) <= most:
        return np.arange(len(values))
    whiles = max((most - 2) // 2, 1)
    edges = np.linspace(times[0], times[-1], whiles + 1)[1:-1]
    bounds = [0, *np.searchsorted(times, edges).tolist(), len(times)]
    kept = {0, len(values) - 1}
    for low, high in pairwise(bounds):
        if high > low:
            part = values[low:high]
            kept |= {low + int(part.argmin()), low + int(part.argmax())}
    return np.array(sorted(kept))
