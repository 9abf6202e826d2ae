"""Arithmetic with intervals of time: whole nanoseconds in arrays, so that sums are exact and nothing is counted twice.

An interval is [start, end); one that ends where it starts, or before, takes no time.
"""

from collections.abc import Sequence

import numpy as np

from eurosat_core.profiling.columns import Floats, Ints

__all__ = ["Spans", "capped_integral", "covered", "merged", "shares", "total"]

# Starts and ends of intervals, of equal length.
Spans = tuple[Ints, Ints]


def merged(spans: Spans) -> Spans:
    """The union: in order, apart from each other."""
    starts, ends = spans
    real = ends > starts
    starts, ends = starts[real], ends[real]
    if not len(starts):
        return starts, ends
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    first = np.concatenate([[True], starts[1:] > reach[:-1]])
    last = np.concatenate([first[1:], [True]])
    return starts[first], reach[last]


def covered(union: Spans, windows: Spans) -> Ints:
    """How much of each window a union (as `merged` gives it) covers."""
    return _before(union, np.maximum(windows[0], windows[1])) - _before(union, windows[0])


def _before(union: Spans, times: Ints) -> Ints:
    """How much of the union lies before each time."""
    starts, ends = union
    whole = np.concatenate([[0], np.cumsum(ends - starts)])
    place = np.searchsorted(starts, times, side="right")
    into_last = np.zeros(len(times), np.int64)
    some = place > 0
    into_last[some] = np.maximum(ends[place[some] - 1] - times[some], 0)
    return np.asarray(whole[place] - into_last, np.int64)


def total(union: Spans) -> int:
    """The length of a union."""
    return int((union[1] - union[0]).sum())


def shares(layers: Sequence[Spans], windows: Spans) -> Ints:
    """Time of each window by the first layer that covers it: [windows, layers + 1], the rest in the last column.

    Each row sums to its window's length. Layers may overlap in every way; windows of no length give zeros.
    """
    starts, ends = windows
    reached = np.zeros(len(starts), np.int64)
    columns = []
    union: Spans = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    for layer in layers:
        union = merged((np.concatenate([union[0], layer[0]]), np.concatenate([union[1], layer[1]])))
        now = covered(union, windows)
        columns.append(now - reached)
        reached = now
    columns.append(np.maximum(ends - starts, 0) - reached)
    return np.stack(columns, axis=1)


def capped_integral(spans: Spans, values: Floats, window: tuple[int, int]) -> float:
    """The integral over the window of min(sum of the values of the intervals that run, 1), in nanoseconds."""
    starts, ends = (np.clip(each, *window) for each in spans)
    real = ends > starts
    starts, ends, values = starts[real], ends[real], values[real]
    if not len(starts):
        return 0.0
    times = np.concatenate([starts, ends])
    order = np.argsort(times, kind="stable")
    running = np.cumsum(np.concatenate([values, -values])[order])[:-1]
    return float((np.clip(running, 0, 1) * np.diff(times[order])).sum())
