"""The tree of calls, against a search for the parent by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from trace_makers import host, text

from eurosat_core.profiling.advice import report_of
from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.timeline import step_timeline
from eurosat_core.profiling.trace import count_around, nearest, outermost, read_trace

# Trees as lists: each row's parent stands before it.
trees = st.lists(st.integers(-1, 30), max_size=30).map(
    lambda drawn: np.array([min(parent, row - 1) for row, parent in enumerate(drawn)], np.int64)
)


def around(parent, row):
    """The rows around a row, the nearest first."""
    found = []
    while parent[row] >= 0:
        row = int(parent[row])
        found.append(row)
    return found


@given(trees, st.data())
def test_what_stands_around_a_row(parent, data):
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=len(parent), max_size=len(parent))), np.bool_)
    above = [[row for row in around(parent, each) if wanted[row]] for each in range(len(parent))]
    assert nearest(parent, wanted).tolist() == [each[0] if each else -1 for each in above]
    assert outermost(parent, wanted).tolist() == [each[-1] if each else row for row, each in enumerate(above)]
    assert count_around(parent, wanted).tolist() == [len(each) for each in above]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 2)), min_size=1, max_size=25))
def test_no_time_is_lost_or_counted_twice_between_calls(calls):
    """Own times sum to those of the outermost ones, and are what nobody within covers where children overlap."""
    events = [host(f"op{number}", start, length, tid=tid) for number, (start, length, tid) in enumerate(calls)]
    trace = read_trace(text(events))
    outer = trace.duration_ns[trace.parent < 0].sum() / 1000
    rows = operator_table(trace)
    own, inside = sum(each.cpu_self_us for each in rows), np.flatnonzero(trace.parent >= 0)
    children = {row: inside[trace.parent[inside] == row].tolist() for row in range(len(trace))}
    covered = {
        row: len({at for child in held for at in range(trace.start_ns[child], trace.end_ns[child], 1000)})
        for row, held in children.items()
    }
    assert trace.self_ns.tolist() == [trace.duration_ns[row] - 1000 * covered[row] for row in range(len(trace))]
    assert min(each.cpu_self_us for each in rows) >= 0
    overlap = sum(trace.duration_ns[held].sum() / 1000 - covered[row] for row, held in children.items())
    assert own == outer + overlap
    assert sum(each.cpu_total_us for each in rows) == sum(length for _, length, _ in calls)
    assert (trace.end_ns[inside] <= trace.end_ns[trace.parent[inside]]).all()


def test_calls_twenty_thousand_deep_are_no_hang():
    depth = 20_000
    trace = read_trace(text([host("aten::deep", each, 2 * (depth - each)) for each in range(depth)]))
    report = report_of(trace)
    assert report["operators"][0]["calls"] == 1  # each the only child of one with its own name
    assert 1 < step_timeline(trace, 0).lanes[0].levels < depth
