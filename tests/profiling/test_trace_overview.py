"""From when to when a step went, where its time went, how busy the GPU was, and the five parts of a step."""

import pytest
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.profiling.overview import ROLES, overview_of
from eurosat_core.profiling.steps import find_steps
from eurosat_core.profiling.trace import read_trace

LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


def overview(events, **properties):
    return overview_of(read_trace(text(events, **properties)))


def times(found):
    """The roles that took any time."""
    return {role: time for role, time in found.mean_step_us.items() if time}


def test_each_moment_belongs_to_the_first_role_that_covers_it():
    found = overview(
        [
            step(1, 0, 100),
            host("aten::conv2d", 0, 90),
            host(LOADER, 0, 40, "user_annotation"),
            launch(1, 30, 20),
            host("nccl:all_reduce", 45, 15, "user_annotation"),
            kernel(1, 50, 10),
            kernel(2, 55, 10, "Memcpy HtoD", "gpu_memcpy"),
            kernel(3, 60, 10, "Memset", "gpu_memset"),
        ]
    )
    assert times(found) == {
        "Kernel": 10,
        "Memcpy": 5,
        "Memset": 5,
        "Communication": 5,
        "Runtime": 15,
        "DataLoader": 30,
        "CPU exec": 20,
        "Other": 10,
        "Total": 100,
    }


def test_a_mean_over_steps_and_each_step_by_itself():
    found = overview([step(4, 0, 10), step(5, 10, 30), host("aten::mm", 2, 4), host("aten::mm", 20, 10)])
    assert [(each.step, each.start_us, each.role_us["CPU exec"], each.role_us["Total"]) for each in found.steps] == [
        (4, 0, 4, 10),
        (5, 10, 10, 30),
    ]
    assert times(found) == {"CPU exec": 7, "Other": 13, "Total": 20}
    assert tuple(found.mean_step_us) == (*ROLES, "Total")


@pytest.mark.parametrize(
    "name", [LOADER, "enumerate(DataPipe)#ShufflerIterDataPipe", LOADER.replace("Single", "Multi")]
)
@pytest.mark.parametrize("cat", ["Operator", "cpu_op", "user_annotation"])
def test_loading_has_many_names(name, cat):
    assert times(overview([step(1, 0, 10), host(name, 0, 4, cat)]))["DataLoader"] == 4


@pytest.mark.parametrize(
    "name",
    [
        "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)",
        "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "ncclAllReduceRingLLKernel_sum_f32(ncclColl)",
        "void ncclDevKernel_Generic(ncclDevKernelArgs4K)",
    ],
)
def test_collective_kernels_are_communication_and_still_use_the_gpu(name):
    found = overview([step(1, 0, 100), launch(1, 5), kernel(1, 10, 20, name), kernel(2, 25, 15)])
    assert times(found) == {"Kernel": 15, "Communication": 15, "Runtime": 1, "Other": 69, "Total": 100}
    assert found.devices[0].utilization == pytest.approx(0.3)


def test_gpu_figures_by_device_within_the_steps():
    found = overview(
        [
            step(1, 100, 100),
            kernel(1, 50, 100, blocks=0.5, occupancy=40),  # half of it before the step
            kernel(2, 140, 20, blocks=0.75, occupancy=90),  # overlaps the first by 10
            kernel(3, 170, 10),  # says nothing of itself
            kernel(4, 100, 25, device=2, blocks=3.0),
            kernel(5, 100, 50, "Memcpy HtoD", "gpu_memcpy"),
        ],
        deviceProperties=[{"id": 0, "name": "Card A"}, {"id": 1, "name": "Card B"}],
    )
    first, second = found.devices
    assert (first.index, first.name, first.utilization) == (0, "Card A", pytest.approx(0.7))
    assert first.sm_efficiency == pytest.approx((40 * 0.5 + 10 * 1.0 + 10 * 0.75) / 100)
    assert first.achieved_occupancy == pytest.approx((50 * 0.4 + 20 * 0.9) / 70)
    assert (second.index, second.name, second.utilization) == (2, None, pytest.approx(0.25))
    assert (second.sm_efficiency, second.achieved_occupancy) == (pytest.approx(0.25), None)


def test_peak_memory_by_device_only_where_totals_are_told():
    events = [step(1, 0, 10), host("aten::mm", 0, 5)]
    events += [memory(1, 100, 100), memory(2, 300, 400), memory(3, -300, 100), memory(2, 9, 7, kind=1, index=1)]
    assert overview(events).peak_memory_bytes == {"cpu": 400, "cuda:1": 7}
    assert overview([*events[:2], memory(1, 100), memory(2, 5, kind=12, index=0)]).peak_memory_bytes == {}


def test_parts_that_the_recording_marks():
    marks = [("load", 0, 20), ("copy", 20, 5), ("forward", 30, 20), ("backward", 50, 25), ("update", 80, 10)]
    found = overview(
        [
            step(1, 0, 100),
            *(host(f"eurosat.{part}", start, length, "user_annotation") for part, start, length in marks),
            launch(1, 35),
            launch(2, 60, tid=2),
            kernel(1, 40, 30),
            kernel(2, 70, 45),
        ]
    )
    assert not found.parts.derived
    expected = {"load": 20, "copy": 5, "forward": 20, "backward": 25, "update": 10, "other": 20}
    assert found.parts.mean_us == expected
    assert found.parts.per_step_us == (expected,)
    assert found.parts.device_us == {"load": 0, "copy": 0, "forward": 30, "backward": 45, "update": 0, "other": 0}
    assert found.steps[0].role_us["Total"] == 115  # the device's tail; parts are the host's


def test_parts_of_a_strange_trace_are_told_from_names():
    found = overview(
        [
            step(1, 0, 100),
            host("train.py(3): main", 0, 100, "python_function"),
            host("my own note", 0, 99, "user_annotation"),
            host(LOADER, 0, 20, "user_annotation"),
            host("aten::to", 20, 10),
            host("aten::copy_", 22, 7),
            launch(1, 23, name="cudaMemcpyAsync"),
            kernel(1, 24, 3, "Memcpy HtoD (Pageable -> Device)", "gpu_memcpy"),
            host("aten::to", 31, 1),  # no copy to a device: of the forward pass
            host("aten::conv2d", 35, 10),
            host("aten::relu", 50, 5),  # Python in between belongs to the forward pass
            host("autograd::engine::evaluate_function: ReluBackward0", 60, 5, tid=2),
            host("aten::threshold_backward", 61, 2, tid=2),
            host("autograd::engine::evaluate_function: ConvolutionBackward0", 66, 9, tid=2),
            host("aten::side_thread", 36, 30, tid=3),
            host("Optimizer.step#SGD.step", 80, 15, "user_annotation"),
            host("aten::add_", 82, 5),
        ]
    )
    assert found.parts.derived
    assert found.parts.mean_us == {"load": 20, "copy": 10, "forward": 24, "backward": 15, "update": 15, "other": 16}


def test_notes_of_reading_and_of_steps_stand_together():
    content = text([host("aten::mm", 2, 4), host("aten::x", 2, -4)]).replace(b"aten::mm", rb"C:\Users\x")
    notes = overview_of(read_trace(content)).notes
    assert [note.split()[0] for note in notes] == ["Backslashes", "1", "The"]


@pytest.mark.parametrize(
    ("info", "collective", "told"),
    [
        ({"rank": 0, "world_size": 1}, False, False),
        ({"rank": 0, "world_size": 1}, True, False),
        ({"rank": 0}, False, False),
        ({"rank": 2}, True, True),
        ({"rank": 1, "world_size": 2}, False, True),
        ({"world_size": 4}, False, True),
        ({"rank": True, "world_size": "many"}, True, False),
        ({"rank": "first", "world_size": None}, True, False),
        ([0, 8], True, False),
        (None, True, False),
    ],
)
def test_others_are_only_spoken_of_where_there_were_any(info, collective, told):
    events = [host("aten::mm", 0, 1), host("nccl:all_reduce" if collective else "aten::add", 2, 1)]
    notes = overview_of(read_trace(text(events, distributedInfo=info))).notes
    told_of = [each for each in notes if "distributed" in each]
    assert len(told_of) == told
    assert not told or (f"rank {info['rank']}" in told_of[0] if "rank" in info else "rank" not in told_of[0])


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
