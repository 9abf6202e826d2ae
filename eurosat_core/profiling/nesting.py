"""Which host event contains which: the tree of calls on each thread, as torch's own profiler builds it."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from eurosat_core.profiling.columns import Ints, Kind

if TYPE_CHECKING:
    from eurosat_core.profiling.trace import Trace

__all__ = ["count_around", "nearest", "outermost", "own_times", "parents"]

Mask = npt.NDArray[np.bool_]

HOST_KINDS = (Kind.OPERATOR, Kind.ANNOTATION, Kind.RUNTIME, Kind.PYTHON, Kind.OVERHEAD)
# Which torch's profiler leaves out of its tree.
HIDDEN = frozenset(
    {
        "profiler::_record_function_enter",
        "profiler::_record_function_enter_new",
        "profiler::_record_function_exit",
        "aten::is_leaf",
        "aten::output_nr",
        "aten::_version",
    }
)


def parents(trace: "Trace") -> Ints:
    """For each row the row of the event around it on the same thread; -1 where there is none.

    An event lies in another one if it starts before that one's end and ends no later. Two that only overlap stand side
    by side, and the later one takes what follows.
    """
    rows = trace.rows(*HOST_KINDS)
    rows = rows[~trace.named(HIDDEN.__contains__)[rows]]
    lanes = trace.lane[rows]
    # A runtime call may bear another thread's number than the operator that made it.
    calls = trace.kind[rows] == Kind.RUNTIME
    makers = trace.operators_with(np.where(trace.external[rows] > 0, trace.external[rows], -1))
    lanes = np.where(calls & (makers >= 0), trace.lane[makers], lanes)
    found = np.full(len(trace), -1, np.int64)
    order = np.argsort(lanes, kind="stable")
    starts, ends = trace.start_ns[rows].tolist(), trace.end_ns[rows].tolist()
    result = [-1] * len(rows)
    stack: list[int] = []
    lane = None
    slack = trace.resolution_ns
    lane_list = lanes.tolist()
    for each in order.tolist():
        if lane_list[each] != lane:
            stack, lane = [], lane_list[each]
        start, end = starts[each], ends[each] - slack
        while stack:
            above = stack[-1]
            if start >= ends[above] or end > ends[above]:
                stack.pop()
            else:
                result[each] = above
                break
        stack.append(each)
    inside = np.array(result, np.int64)
    found[rows] = np.where(inside >= 0, rows[inside], -1)
    return found


def own_times(trace: "Trace", parent: Ints, inside: Ints) -> Ints:
    """Each row's duration without what its children cover, in ns and never below 0.

    parent: of every row. inside: the rows that are children. Those of one parent may overlap, as Python's functions and
    operators do, and end a rounding error after it.
    """
    own = trace.duration_ns.copy()
    if not len(inside):
        return own
    around = parent[inside]
    order = np.lexsort((trace.start_ns[inside], around))
    inside, around = inside[order], around[order]
    starts = np.maximum(trace.start_ns[inside], trace.start_ns[around])
    ends = np.clip(trace.end_ns[inside], starts, np.maximum(trace.end_ns[around], starts))
    # How far the earlier children of the same parent reach: by the place of each end among all ends, so that a parent's
    # number can stand before it.
    reached, place = np.unique(ends, return_inverse=True)
    group = np.cumsum(np.concatenate([[0], np.diff(around) != 0]))
    furthest = np.maximum.accumulate(group * len(reached) + place)
    before = starts.copy()
    same = np.flatnonzero(np.diff(group) == 0)
    before[same + 1] = np.maximum(starts[same + 1], reached[furthest[same] % len(reached)])
    np.subtract.at(own, around, np.maximum(ends - before, 0))
    return np.maximum(own, 0)


# What follows is found for all rows at once by jumping twice as far each time: even a trace of nothing but calls within
# calls takes few rounds.


def nearest(parent: Ints, wanted: Mask) -> Ints:
    """For each row the nearest row around it that is wanted; -1 for none."""
    nobody = len(parent)
    above = np.append(np.where(parent < 0, nobody, parent), nobody)
    hop = np.where(np.append(wanted, True), np.arange(nobody + 1), above)
    found = _to_the_end(hop)[above[:-1]]
    return np.where(found == nobody, -1, found)


def outermost(parent: Ints, wanted: Mask) -> Ints:
    """For each row the outermost row around it that is wanted; the row itself where there is none."""
    above = nearest(parent, wanted)
    return _to_the_end(np.where(above < 0, np.arange(len(parent)), above))


def count_around(parent: Ints, counted: Mask) -> Ints:
    """How many of the rows around each row are counted."""
    nobody = len(parent)
    hop = np.append(np.where(parent < 0, nobody, parent), nobody)
    number = np.append(counted, False).astype(np.int64)[hop]
    while (hop != nobody).any():
        number, hop = number + number[hop], hop[hop]
    around: Ints = number[:-1]
    return around


def _to_the_end(hop: Ints) -> Ints:
    while True:
        further = hop[hop]
        if (further == hop).all():
            return hop
        hop = further
