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


def work(correlation, called, start, length, call=1):
    """A kernel and the call that launched it."""
    return [launch(correlation, called, call), kernel(correlation, start, length)]


TWO = [step(3, 100, 100), step(4, 200, 100)]
CASES = {
    "ends with the device work that it launched": (
        [*TWO, *work(1, 150, 160, 80), *work(2, 250, 260, 10)],
        [(3, 100, 240), (4, 240, 300)],
    ),
    "overtaken by the device, takes no time": (
        [step(3, 100, 100), step(4, 200, 50), step(5, 250, 100), *work(1, 150, 160, 140), *work(3, 300, 400, 50)],
        [(3, 100, 300), (4, 300, 300), (5, 300, 450)],
    ),
    "a call that reaches into the next step is of neither": (
        [*TWO, *work(1, 150, 160, 10), *work(2, 199, 210, 500, call=5), *work(3, 250, 260, 10)],
        [(3, 100, 200), (4, 200, 300)],
    ),
    "starts after the work of steps that were not recorded": (
        [
            step(3, 100, 100),
            launch(9, 50),
            launch(1, 150),
            kernel(9, 90, 40),  # of an earlier step, ends at 130
            kernel(8, 120, 15),  # of nobody, ends at 135
            kernel(7, 150, 40),  # ends after the first of the step's own
            kernel(1, 160, 10),
        ],
        [(3, 135, 200)],
    ),
    "none is left out without device work": ([*TWO, host("aten::mm", 110, 10)], [(3, 100, 200), (4, 200, 300)]),
    "marks on the device and on other threads": (
        [*TWO, step(1, 105, 80, tid=2)]
        + [step(number, at, 500, cat="gpu_user_annotation") for number, at in ((1, 160), (7, 300))],
        [(3, 100, 200), (4, 200, 300)],
    ),
    "the schema of 2021 marks as operators": (
        [step(1, 100, 50, cat="Operator"), step(2, 150, 50, cat="Operator", tid="1")],
        [(1, 100, 150), (2, 150, 200)],
    ),
} | {
    f"a call of {cat} launches": ([step(1, 100, 50), launch(1, 120, cat=cat), kernel(1, 130, 50)], [(1, 100, 180)])
    for cat in ("Runtime", "cuda_runtime", "cuda_driver", "hip_runtime", "xpu_runtime")
}


@pytest.mark.parametrize("case", CASES)
def test_steps(case):
    events, steps = CASES[case]
    assert steps_of(events) == (steps, ())


def test_steps_at_the_end_without_all_their_device_work_are_left_out():
    events = [step(number, 100 * number, 100) for number in range(1, 6)]
    for number, launches in ((1, 5), (2, 5), (3, 3)):
        for each in range(launches):
            identity = 10 * number + each
            events += [launch(identity, 100 * number + each), kernel(identity, 100 * number + 10 + each, 1)]
    found, notes = steps_of(events)
    assert [number for number, _, _ in found] == [1, 2]  # 4 and 5 have none, 3 has fewer than 0.8 × 5
    assert len(notes) == 1 and "3 steps" in notes[0]
    more = [launch(39, 304), kernel(39, 320, 1)]
    assert [number for number, _, _ in steps_of([*events, *more])[0]] == [1, 2, 3]  # 4 of 5 are 0.8


def test_a_trace_without_marks_is_one_step_from_the_first_to_the_last_event_of_the_cpu():
    events = [
        host("aten::mm", 100, 50),
        host("note", 200, 30, "user_annotation"),
        launch(1, 300, 5),
        kernel(1, 400, 10),
        host("threading.py(1): run", 5, 900, "python_function"),
    ]
    steps = find_steps(read_trace(text(events)))
    assert steps.names == (0,) and len(steps.notes) == 1
    assert ((steps.start_ns + 5000).tolist(), (steps.end_ns + 5000).tolist()) == ([100_000], [230_000])
    launched = find_steps(read_trace(text([*events, host("aten::add", 290, 60)])))
    assert (launched.end_ns + 5000).tolist() == [410_000]  # the kernel's end


@pytest.mark.parametrize("calls", [[], [launch(1, 50)]])
def test_a_trace_of_gpu_events_only_is_one_step_over_them(calls):
    trace = read_trace(text([kernel(1, 100, 50), kernel(2, 200, 30, cat="gpu_memcpy"), *calls]))
    steps, overview = find_steps(trace), overview_of(trace)
    assert steps.end_ns[0] - steps.start_ns[0] == 130_000
    assert "CPU" in steps.notes[0]
    assert overview.devices[0].utilization == pytest.approx(50 / 130)
    assert overview.mean_step_us["Other"] == 50
    assert overview.parts.mean_us == {}
