"""Arithmetic with intervals against a count of every nanosecond, and the tree of calls against a search by hand."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from trace_makers import host, text

from eurosat_core.profiling.advice import report_of
from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.overview import capped_integral, covered, merged, shares, total
from eurosat_core.profiling.timeline import step_timeline
from eurosat_core.profiling.trace import count_around, nearest, outermost, read_trace

LONGEST = 40
spans = st.lists(st.tuples(st.integers(0, LONGEST), st.integers(0, LONGEST)), max_size=12)
windows_apart = st.lists(st.integers(0, LONGEST), max_size=8).map(
    lambda cuts: list(zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False))
)


def arrays(pairs):
    return tuple(np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))


def moments(pairs):
    """All whole moments that the intervals cover."""
    return {moment for start, end in pairs for moment in range(start, end)}


@given(spans)
def test_merged_covers_the_same_moments_apart_from_each_other(pairs):
    starts, ends = merged(arrays(pairs))
    union = list(zip(starts.tolist(), ends.tolist(), strict=True))
    assert moments(union) == moments(pairs)
    assert total((starts, ends)) == len(moments(pairs))
    assert all(start < end for start, end in union)
    assert all(before[1] < after[0] for before, after in pairwise(union))


@given(spans, spans)
def test_covered_counts_each_moment_of_a_window_once(pairs, windows):
    expected = [len(moments(pairs) & moments([window])) for window in windows]
    assert covered(merged(arrays(pairs)), arrays(windows)).tolist() == expected


@given(st.lists(spans, min_size=1, max_size=5), windows_apart)
def test_shares_give_each_moment_to_the_first_layer_that_covers_it(layers, windows):
    found = shares([arrays(each) for each in layers], arrays(windows))
    for window, row in zip(windows, found.tolist(), strict=True):
        left = moments([window])
        for layer, share in zip(layers, row[:-1], strict=True):
            assert share == len(left & moments(layer))
            left -= moments(layer)
        assert row[-1] == len(left)
        assert sum(row) == window[1] - window[0]  # nothing is lost, nothing is counted twice


@given(
    st.lists(st.tuples(st.integers(0, LONGEST), st.integers(0, LONGEST), st.integers(1, 8)), max_size=10),
    st.tuples(st.integers(0, LONGEST), st.integers(0, LONGEST)).map(sorted),
)
def test_capped_integral_adds_up_what_runs_at_each_moment(weighted, window):
    values = np.array([each[2] / 4 for each in weighted])
    expected = sum(
        min(1.0, sum(value / 4 for start, end, value in weighted if start <= moment < end)) for moment in range(*window)
    )
    found = capped_integral(arrays([each[:2] for each in weighted]), values, tuple(window))
    assert abs(found - expected) < 1e-9


def test_nothing_gives_nothing():
    nothing = arrays([])
    assert total(merged(nothing)) == 0
    assert shares([nothing], nothing).shape == (0, 2)
    assert shares([nothing], arrays([(3, 8)])).tolist() == [[0, 5]]
    assert capped_integral(nothing, np.zeros(0), (0, 10)) == 0.0


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
