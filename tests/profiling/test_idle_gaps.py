"""Why a device was idle, against a decision made moment by moment; and launches ahead against a plain count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_makers import host, kernel, launch, step, text

from eurosat_core.profiling.advice import report_of
from eurosat_core.profiling.idle import CAUSES, idle_times
from eurosat_core.profiling.launches import queues
from eurosat_core.profiling.overview import overview_of
from eurosat_core.profiling.trace import read_trace

LOADING = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
LENGTH = 60

times = st.tuples(st.integers(0, LENGTH - 2), st.integers(1, 12))
works = st.lists(
    st.tuples(times, st.integers(0, 10), st.integers(1, 4), st.sampled_from(["kernel", "gpu_memcpy"]), st.booleans()),
    min_size=1,
    max_size=8,
    unique_by=lambda each: each[0][0],
)
hosts = st.lists(
    st.tuples(times, st.sampled_from([LOADING, "cudaStreamSynchronize", "aten::item", "cudaMemcpyAsync", "aten::mm"])),
    max_size=6,
)


def events_of(works, hosts):
    """A step over all of it; work that is launched before it begins, or by nobody knows what."""
    events = [step(0, 0, LENGTH)]
    for at, ((begin, length), before, call, cat, known) in enumerate(works):
        events.append(kernel(100 + at, begin, min(length, LENGTH - begin), f"work {at}", cat))
        if known:
            events.append(launch(100 + at, max(begin - before, 0), call, tid=2))
    for at, ((begin, length), name) in enumerate(hosts):
        cat = {"c": "cuda_runtime", "e": "user_annotation"}.get(name[0], "cpu_op")
        events.append(host(name, begin, length, cat, tid=3 + at))
    return events


def cause_at(moment, works, hosts):
    """The definition in words, for one moment between whole microseconds; empty while a kernel runs."""
    during = [cat for (begin, length), _, _, cat, _ in works if begin <= moment < min(begin + length, LENGTH)]
    if "kernel" in during:
        return ""
    if during:
        return "device copy"
    later = [each for each in works if each[0][0] > moment]
    if later:
        (begin, _), before, call, _, known = min(later, key=lambda each: each[0][0])
        if not known:
            return "unknown"
        if moment >= max(begin - before, 0) + call:
            return "starting"
    doing = [name for (begin, length), name in hosts if begin <= moment < begin + length]
    for cause, names in (
        ("data", [LOADING]),
        ("synchronisation", ["cudaStreamSynchronize", "aten::item"]),
        ("host copy", ["cudaMemcpyAsync"]),
    ):
        if any(name in doing for name in names):
            return cause
    return "launch"


@settings(max_examples=60)
@given(works, hosts)
def test_each_idle_moment_has_the_cause_that_its_definition_gives(works, hosts):
    trace = read_trace(text(events_of(works, hosts)))
    found = idle_times(trace)
    if not any(each[3] == "kernel" for each in works):
        assert found == ()
        return
    idle = found[0]
    low = overview_of(trace).steps[0].start_us
    moments = range(round(low), round(low + idle.window_us))
    expected = [cause_at(moment, works, hosts) for moment in moments]
    assert {cause: round(time, 6) for cause, time in idle.cause_us.items()} == {
        cause: expected.count(cause) for cause in CAUSES
    }
    utilization = overview_of(trace).devices[0].utilization
    assert idle.idle_us == pytest.approx((1 - utilization) * idle.window_us, abs=1e-6)
    assert idle.kernels_us + idle.idle_us == pytest.approx(idle.window_us)


@settings(max_examples=40)
@given(works)
def test_launches_ahead_are_counted_at_every_moment(works):
    trace = read_trace(text(events_of(works, [])))
    spans = [(max(begin - before, 0), begin) for (begin, _), before, _, _, known in works if known]
    spans = [each for each in spans if each[1] > each[0]]
    found = queues(trace)
    if not spans or not any(each[3] == "kernel" for each in works):
        assert found == ()
        return
    step_times = overview_of(trace).steps[0]
    low = round(step_times.start_us)
    waiting = [
        sum(begin <= moment < end for begin, end in spans)
        for moment in range(low, low + round(step_times.role_us["Total"]))
    ]
    assert found[0].steps[0].mean == pytest.approx(np.mean(waiting))
    assert found[0].steps[0].most == max(waiting)
    busy = [
        count
        for moment, count in enumerate(waiting, low)
        if any(
            cat == "kernel" and begin <= moment < min(begin + length, LENGTH) for (begin, length), _, _, cat, _ in works
        )
    ]
    assert found[0].few == pytest.approx(np.mean([count <= 1 for count in busy]) if busy else 1)


def test_the_longest_gap_names_what_the_host_did_and_what_came_then():
    events = [
        step(0, 0, 100),
        launch(1, 5, 2),
        kernel(1, 10, 10, "first"),
        host(LOADING, 22, 50, "user_annotation"),
        host("aten::stack", 40, 20),
        launch(2, 80, 4),
        kernel(2, 83, 10, "second"),
    ]
    idle = idle_times(read_trace(text(events)))[0]
    assert (idle.gaps, idle.window_us, idle.kernels_us) == (3, 100, 20)
    assert idle.cause_us == {**dict.fromkeys(CAUSES, 0), "data": 50, "launch": 7 + 2 + 8 + 3 + 7, "starting": 3}
    longest = idle.longest[0]
    assert (longest.cause, longest.host, longest.next_kernel) == ("data", "aten::stack", "second")
    assert (longest.start_us, longest.duration_us) == (20, 63)


def test_devices_are_told_apart():
    """What one device waits for is nothing to the other."""
    events = [step(0, 0, 100), launch(1, 1), launch(2, 2), kernel(1, 2, 48), kernel(2, 50, 50, device=1)]
    first, second = idle_times(read_trace(text(events)))
    assert (first.idle_us, first.cause_us["launch"]) == (52, 52)
    assert (second.idle_us, second.cause_us["launch"], second.cause_us["starting"]) == (50, 3, 47)
    assert [each.index for each in queues(read_trace(text(events)))] == [0, 1]


def test_a_trace_of_the_device_alone_has_no_known_cause():
    idle = idle_times(read_trace(text([kernel(1, 0, 10), kernel(2, 30, 10)])))[0]
    assert (idle.idle_us, idle.cause_us["unknown"]) == (20, 20)


def test_the_report_gains_them():
    events = [step(3, 0, 100), host("aten::mm", 0, 9), launch(1, 1, 3), kernel(1, 10, 30)]
    report = report_of(read_trace(text(events)))
    assert report["idle"][0]["idle_us"] == 70
    assert report["queues"] == [{"index": 0, "few_waiting_share": 1.0, "steps": [{"step": 3, "mean": 0.09, "max": 1}]}]


@pytest.mark.parametrize(
    ("number", "utilization", "cause", "few"), [("01", 0.5551, "data", (0, 0.2)), ("03", 0.1547, "launch", (0.5, 1))]
)
def test_real_cards(real_trace, number, utilization, cause, few):
    trace = read_trace(real_trace(number))
    idle, queue = idle_times(trace)[0], queues(trace)[0]
    assert idle.idle_us / idle.window_us == pytest.approx(1 - utilization, abs=1e-4)
    assert max(idle.cause_us, key=idle.cause_us.__getitem__) == cause
    assert few[0] <= queue.few <= few[1]
    assert len(queue.time_us) <= 400
    assert queue.length.max() == max(each.most for each in queue.steps)
