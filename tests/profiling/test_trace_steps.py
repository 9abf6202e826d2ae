"""From when to when a step went: its marks, the device's work that belongs to it, and what was cut off."""

import pytest
from trace_makers import host, kernel, launch, step, text

from eurosat_core.profiling.overview import overview_of
from eurosat_core.profiling.steps import find_steps
from eurosat_core.profiling.trace import read_trace


def steps_of(events):
    """Number, start and end (µs) of each step, and the notes."""
    steps = find_steps(read_trace(text([host("aten::first", 0, 0), *events])))
    times = zip(steps.names, (steps.start_ns / 1000).tolist(), (steps.end_ns / 1000).tolist(), strict=True)
    return list(times), steps.notes


def test_a_step_ends_with_the_device_work_that_it_launched():
    found, notes = steps_of(
        [
            step(3, 100, 100),
            step(4, 200, 100),
            launch(1, 150),
            launch(2, 250),
            kernel(1, 160, 80),  # launched in step 3, runs into step 4
            kernel(2, 260, 10),
        ]
    )
    assert found == [(3, 100, 240), (4, 240, 300)]
    assert notes == ()


def test_a_step_that_is_overtaken_by_the_device_takes_no_time():
    found, _ = steps_of(
        [
            step(3, 100, 100),
            step(4, 200, 50),
            step(5, 250, 100),
            launch(1, 150),
            launch(3, 300),
            kernel(1, 160, 140),
            kernel(3, 400, 50),
        ]
    )
    assert found == [(3, 100, 300), (4, 300, 300), (5, 300, 450)]


def test_only_calls_that_lie_inside_a_step_count():
    found, _ = steps_of(
        [
            step(3, 100, 100),
            step(4, 200, 100),
            launch(1, 150),
            launch(2, 199, 5),  # reaches into the next step: in neither
            launch(3, 250),
            kernel(1, 160, 10),
            kernel(2, 210, 500),
            kernel(3, 260, 10),
        ]
    )
    assert found == [(3, 100, 200), (4, 200, 300)]


def test_the_first_step_starts_after_the_work_of_steps_that_were_not_recorded():
    found, _ = steps_of(
        [
            step(3, 100, 100),
            launch(9, 50),
            launch(1, 150),
            kernel(9, 90, 40),  # of an earlier step, ends at 130
            kernel(8, 120, 15),  # of nobody, ends at 135
            kernel(7, 150, 40),  # ends after the first of the step's own
            kernel(1, 160, 10),
        ]
    )
    assert found == [(3, 135, 200)]


def test_steps_at_the_end_without_all_their_device_work_are_left_out():
    events = [step(number, 100 * number, 100) for number in range(1, 6)]
    for number, launches in ((1, 5), (2, 5), (3, 3)):
        for each in range(launches):
            identity = 10 * number + each
            events += [launch(identity, 100 * number + each), kernel(identity, 100 * number + 10 + each, 1)]
    found, notes = steps_of(events)
    assert [number for number, _, _ in found] == [1, 2]  # 4 and 5 have none, 3 has fewer than 0.8 × 5
    assert notes == ("The last 3 steps were left out: the recording ended before its GPU work.",)
    more = [launch(39, 304), kernel(39, 320, 1)]
    assert [number for number, _, _ in steps_of([*events, *more])[0]] == [1, 2, 3]  # 4 of 5 are 0.8


def test_without_device_work_no_step_is_left_out():
    found, _ = steps_of([step(1, 100, 50), step(2, 150, 50), host("aten::mm", 110, 10)])
    assert found == [(1, 100, 150), (2, 150, 200)]


def test_a_trace_without_marks_is_one_step_from_the_first_to_the_last_event_of_the_cpu():
    events = [
        host("aten::mm", 100, 50),
        host("note", 200, 30, "user_annotation"),
        launch(1, 300, 5),
        kernel(1, 400, 10),
        host("threading.py(1): run", 5, 900, "python_function"),
    ]
    steps = find_steps(read_trace(text(events)))
    assert (steps.names, steps.notes) == ((0,), ("The trace marks no steps: all of it is shown as one.",))
    assert ((steps.start_ns + 5000).tolist(), (steps.end_ns + 5000).tolist()) == ([100_000], [230_000])
    launched = find_steps(read_trace(text([*events, host("aten::add", 290, 60)])))
    assert (launched.end_ns + 5000).tolist() == [410_000]  # the kernel's end


@pytest.mark.parametrize("calls", [[], [launch(1, 50)]])
def test_a_trace_of_gpu_events_only_is_one_step_over_them(calls):
    steps = find_steps(read_trace(text([kernel(1, 100, 50), kernel(2, 200, 30, cat="gpu_memcpy"), *calls])))
    assert steps.end_ns[0] - steps.start_ns[0] == 130_000
    assert "no events of the CPU" in steps.notes[0]
    overview = overview_of(read_trace(text([kernel(1, 100, 50), kernel(2, 200, 30, cat="gpu_memcpy"), *calls])))
    assert overview.devices[0].utilization == pytest.approx(50 / 130)
    assert overview.mean_step_us["Other"] == 50
    assert overview.parts.mean_us == {}


def test_marks_on_the_device_and_on_other_threads_are_no_steps():
    found, _ = steps_of(
        [
            step(1, 100, 50),
            step(2, 150, 50),
            step(1, 105, 80, tid=2),
            step(1, 160, 500, cat="gpu_user_annotation"),
            step(7, 300, 500, cat="gpu_user_annotation"),
        ]
    )
    assert found == [(1, 100, 150), (2, 150, 200)]


def test_the_schema_of_2021_marks_steps_as_operators():
    found, _ = steps_of([step(1, 100, 50, cat="Operator"), step(2, 150, 50, cat="Operator", tid="1")])
    assert found == [(1, 100, 150), (2, 150, 200)]


@pytest.mark.parametrize("cat", ["Runtime", "cuda_runtime", "cuda_driver", "hip_runtime", "xpu_runtime"])
def test_calls_of_every_library_launch(cat):
    found, _ = steps_of([step(1, 100, 50), launch(1, 120, cat=cat), kernel(1, 130, 50)])
    assert found == [(1, 100, 180)]
