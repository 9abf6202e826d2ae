"""What happened when in one step, for drawing: bars on a line for each thread of the host and stream of a device.

Bars too short to be seen are joined with their neighbours and say so; a gap that could be seen is never filled.
"""

from dataclasses import dataclass

import numpy as np

from eurosat_core.errors import TraceError
from eurosat_core.profiling.columns import Ints, Kind
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
    Kind.PYTHON: "python",
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

    step: int
    length_us: float
    """Of the whole step."""
    lanes: tuple[TimelineLane, ...]
    bars: tuple[Bar, ...]
    shortest_us: float
    too_deep: int
    """Events within so many others that they are left out."""


def step_timeline(
    trace: Trace,
    step: int,
    stretch_us: tuple[float, float] | None = None,
    most: int = 500,
    stacks: bool = False,
) -> Timeline:
    """The events of a step (its number, as in the overview), or of a stretch of it, as at most about `most` bars.

    stacks: with Python's functions, where they were recorded. Raises `TraceError` for a step that is not there.
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
    shown = [kind for kind in _NAMES if stacks or kind != Kind.PYTHON]
    level = count_around(trace.parent, np.isin(trace.kind, shown))
    rows = trace.rows(*shown)
    rows = rows[(trace.start_ns[rows] < window[1]) & (trace.end_ns[rows] > window[0])]
    deep = level[rows] >= _LEVELS
    rows = rows[~deep]
    lane_of, lanes = _lanes(trace, rows, level)
    order = np.lexsort((trace.start_ns[rows], level[rows], lane_of))
    rows, lane_of = rows[order], lane_of[order]
    shortest = (window[1] - window[0]) / _DOTS
    first = _joined(trace, rows, lane_of, level, window, shortest)
    while len(first) > most and shortest < window[1] - window[0]:
        shortest *= 2
        first = _joined(trace, rows, lane_of, level, window, shortest)
    bars = _bars(trace, rows, lane_of, level, window, start, first)
    return Timeline(step, (end - start) / 1000, lanes, bars, shortest / 1000, int(deep.sum()))


def _lanes(trace: Trace, rows: Ints, level: Ints) -> tuple[Ints, tuple[TimelineLane, ...]]:
    """For each row its line, and the lines: threads first, the busiest one on top, then devices and their streams."""
    found, place = np.unique(trace.lane[rows], return_inverse=True)
    on_device = np.zeros(len(found), np.bool_)
    on_device[place[np.isin(trace.kind[rows], DEVICE_WORK)]] = True
    busy = np.bincount(place, trace.duration_ns[rows] * (level[rows] == 0), len(found))
    levels = np.zeros(len(found), np.int64)
    np.maximum.at(levels, place, level[rows] + 1)
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


def _joined(trace: Trace, rows: Ints, lane_of: Ints, level: Ints, window: tuple[int, int], shortest: float) -> Ints:
    """Where each bar starts in `rows`: short events on one level join while what lies between them is short too."""
    if not len(rows):
        return rows
    starts, ends = np.clip(trace.start_ns[rows], *window), np.clip(trace.end_ns[rows], *window)
    seen = ends - starts >= shortest
    apart = (np.diff(lane_of) != 0) | (np.diff(level[rows]) != 0)
    apart |= seen[1:] | seen[:-1] | (starts[1:] - ends[:-1] >= shortest)
    return np.flatnonzero(np.concatenate([[True], apart]))


def _bars(
    trace: Trace, rows: Ints, lane_of: Ints, level: Ints, window: tuple[int, int], zero: int, first: Ints
) -> tuple[Bar, ...]:
    if not len(rows):
        return ()
    starts, ends = np.clip(trace.start_ns[rows], *window), np.clip(trace.end_ns[rows], *window)
    last = np.maximum.reduceat(ends, first)
    busy = np.minimum(np.add.reduceat(ends - starts, first), last - starts[first])
    counts = np.diff([*first.tolist(), len(rows)])
    bars = []
    for number, at in enumerate(first.tolist()):
        longest = rows[at + int((ends - starts)[at : at + counts[number]].argmax())]
        bars.append(
            Bar(
                int(lane_of[at]),
                int(level[rows[at]]),
                trace.names[trace.name[longest]],
                _NAMES[Kind(int(trace.kind[longest]))],
                float(starts[at] - zero) / 1000,
                float(last[number] - starts[at]) / 1000,
                int(counts[number]),
                float(busy[number]) / 1000,
            )
        )
    return tuple(bars)
