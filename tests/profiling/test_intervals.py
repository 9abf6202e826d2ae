"""Arithmetic with intervals, against a count of every single nanosecond."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.profiling.overview import capped_integral, covered, merged, shares, total

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
