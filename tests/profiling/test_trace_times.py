"""Times that cannot be: overlapping calls, clocks that differ, events at zero, parts that last beyond their step."""

import json

import pytest
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.profiling.advice import advice_for, report_of
from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.overview import overview_of
from eurosat_core.profiling.timeline import memory_curve, step_timeline
from eurosat_core.profiling.trace import read_trace

NOW = 1_700_000_000_000_000


def two_steps(at=NOW, numbers=(1, 2)):
    """100 µs each, with one kernel of 20 µs."""
    events = []
    for place, number in enumerate(numbers):
        begin, ident = at + 1000 * place, 10 * place + 5
        events += [
            step(number, begin, 100),
            host("aten::mm", begin + 10, 40, external=ident),
            launch(ident, begin + 20, external=ident),
            kernel(ident, begin + 30, 20, external=ident),
        ]
    return events


def own_times(events):
    return {each.name: each.cpu_self_us for each in operator_table(read_trace(text(events)))}


def test_overlapping_children_are_taken_off_once():
    """Recorders see Python's functions leave later than the operators in them."""
    events = [
        step(1, 0, 100),
        host("a.py(1): __enter__", 1, 4, "python_function"),
        host("forward", 4, 93, "user_annotation"),
        host("a.py(2): __exit__", 90, 9.5, "python_function"),
        host("aten::mm", 10, 50),
    ]
    own = own_times(events)
    assert own == pytest.approx({"ProfilerStep*": 1.5, "forward": 43, "aten::mm": 50})


@pytest.mark.parametrize(
    ("children", "own"),
    [
        ([(0, 60), (50, 50)], 0),
        ([(0, 100), (0, 100)], 0),
        ([(10, 20), (10, 20), (15, 20)], 75),
        ([(0, 30), (70, 30)], 40),
        ([(90, 10), (95, 5), (96, 4)], 90),
    ],
)
def test_no_own_time_is_negative(children, own):
    events = [step(1, 0, 100)] + [host(f"f{n}", *each, "python_function") for n, each in enumerate(children)]
    assert own_times(events)["ProfilerStep*"] == pytest.approx(own)


@pytest.mark.parametrize("at", [0, 17, NOW - 3_600_000_000, NOW + 3_600_000_000, NOW + 30_000_000])
def test_device_events_far_from_all_others_are_left_out(at):
    good = overview_of(read_trace(text(two_steps())))
    strange = overview_of(read_trace(text([*two_steps(), kernel(99, at, 20)])))
    assert strange.steps == good.steps
    assert strange.devices == good.devices
    assert strange.mean_step_us == good.mean_step_us
    assert [note for note in strange.notes if note not in good.notes] == [
        "1 event at time 0 or far from all others was left out."
    ]


def test_an_event_from_zero_until_now_covers_nothing():
    """A recorder that takes the end's time for the duration."""
    overview = overview_of(read_trace(text([*two_steps(), kernel(99, 0, NOW), kernel(98, NOW + 40, NOW)])))
    assert overview.devices[0].utilization == pytest.approx(40 / 1100)
    assert "2 events at time 0" in overview.notes[0]


def test_host_events_at_zero_are_left_out_too():
    found = report_of(
        read_trace(text([host("aten::lost", 0, 3), memory(0, 5, 5), memory(NOW + 5, 7, 7), *two_steps()]))
    )
    assert found["mean_step_us"]["Total"] == 100
    assert "aten::lost" not in {each["name"] for each in found["operators"]}
    assert found["peak_memory_bytes"] == {"cpu": 7}
    no_steps = read_trace(text([host("aten::lost", 0, 3), host("aten::mm", NOW, 50), memory(0, 5, 5)]))
    assert report_of(no_steps)["mean_step_us"]["Total"] == 50
    assert not memory_curve(no_steps)


@pytest.mark.parametrize("at", [0, 5_000_000])
def test_times_that_count_from_the_recordings_start_are_as_good(at):
    trace = read_trace(text(two_steps(at)))
    assert trace.notes == ()
    assert len(trace) == 8


def test_work_that_a_device_still_has_is_not_far():
    """Kernels of seconds, queued in a moment."""
    events = [step(1, NOW, 100), host("aten::mm", NOW + 1, 90, external=1)]
    for number in range(4):
        events += [launch(number, NOW + 10 + number, external=1), kernel(number, NOW + 20 + 3e6 * number, 3e6)]
    overview = overview_of(read_trace(text(events)))
    assert overview.notes == ()
    assert overview.mean_step_us["Kernel"] == pytest.approx(12e6)


def test_a_device_whose_clock_is_an_hour_off_gives_no_advice():
    events = [{**each, "ts": each["ts"] + 3.6e9} if each["cat"] == "kernel" else each for each in two_steps()]
    overview = overview_of(read_trace(text(events)))
    assert overview.devices == ()
    assert overview.unseen_device
    assert advice_for(overview) == []


def test_kernels_alone_lose_those_at_zero():
    overview = overview_of(read_trace(text([kernel(n, NOW + 30 * n, 20) for n in range(20)] + [kernel(99, 0, 20)])))
    assert overview.mean_step_us["Total"] == 590
    only = overview_of(read_trace(text([kernel(1, 0, 20)])))
    assert only.mean_step_us["Total"] == 20


def test_steps_of_the_same_number_have_a_row_each():
    """Two schedules in one process: each counts from 0."""
    for numbers in ((0, 0), (0, 1, 0, 1), (7, 7, 7)):
        trace = read_trace(text(two_steps(numbers=numbers)))
        overview = overview_of(trace)
        shown = [each.step for each in overview.steps]
        assert shown == list(range(len(numbers)))
        assert any("same number" in each for each in overview.notes)
        assert [step_timeline(trace, each).length_us for each in shown] == [100] * len(numbers)
    assert [each.step for each in overview_of(read_trace(text(two_steps(numbers=(5, 3))))).steps] == [5, 3]


def test_a_step_of_very_many_digits_is_no_crash():
    assert len(overview_of(read_trace(text([host("ProfilerStep#" + "9" * 5000, 0, 10), host("a", 1, 2)]))).steps) == 1


@pytest.mark.parametrize("marked", [True, False])
def test_parts_end_with_their_step(marked):
    """What lasts beyond its step is no part of the next one."""
    if marked:
        load, forward = (host(f"eurosat.{part}", 50, 140, "user_annotation") for part in ("load", "forward"))
        events = [load, {**forward, "ts": 200, "dur": 50}]
    else:
        events = [host("enumerate(DataLoader)#_Single.__next__", 50, 140), host("aten::mm", 200, 50)]
    found = overview_of(read_trace(text([step(1, 0, 100), step(2, 100, 200), *events]))).parts
    assert found.derived is not marked
    assert [(each["load"], each["forward"]) for each in found.per_step_us] == [(50, 0), (0, 50)]
    assert [sum(each.values()) for each in found.per_step_us] == [100, 200]


def test_all_of_it_can_be_written_as_json():
    events = [*two_steps(numbers=(0, 0)), kernel(99, 0, 1e15), host("x", -5, 3), memory(0, 1, 1)]
    json.dumps(report_of(read_trace(text(events))), allow_nan=False)
