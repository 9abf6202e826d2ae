"""Devices other than CUDA's: read where the profiler documents their events, else counted and named, and no advice."""

import pytest
from profile_makers import reading
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.analysis.profile import outcome, seen_and_unseen
from eurosat_core.errors import TraceError
from eurosat_core.profiling.advice import advice_for
from eurosat_core.profiling.overview import overview_of
from eurosat_core.profiling.trace import read_trace


def training(runtime, category, name="work", **args):
    """Two steps of 100 µs: 60 µs of a matrix product on the host, and 20 µs on the device."""
    events = []
    for number in (1, 2):
        at, ident = 100 * number, 10 * number
        events += [step(number, at, 100), host("aten::mm", at + 10, 60, external=ident)]
        events += [launch(ident, at + 20, name=f"{runtime}Launch", cat=runtime, external=ident)] if runtime else []
        events += [kernel(ident, at + 30, 20, name, category, external=ident, **args)] if category else []
    return text(events)


@pytest.mark.parametrize(
    ("runtime", "category", "role"),
    [
        ("cuda_runtime", "kernel", "Kernel"),
        ("hip_runtime", "Kernel", "Kernel"),
        ("xpu_runtime", "kernel", "Kernel"),
        ("xpu_driver", "gpu_memcpy", "Memcpy"),
        ("privateuse1_runtime", "kernel", "Kernel"),
        ("privateuse1_driver", "gpu_memset", "Memset"),
        ("mtia_runtime", "kernel", "Kernel"),
        ("mtia_runtime", "mtia_ccp_events", "Kernel"),
        ("mtia_runtime", "MTIA_CCP_EVENTS", "Kernel"),
        ("hpu_op", "kernel", "Kernel"),
        ("glow_runtime", "concurrent_kernel", "Kernel"),
    ],
)
def test_documented_kinds_are_read(runtime, category, role):
    overview = overview_of(read_trace(training(runtime, category)))
    assert overview.mean_step_us[role] == 20
    assert overview.mean_step_us["Runtime"] == 1
    assert not overview.unseen_device
    named = [each for each in overview.notes if "2 device events of kind mtia_ccp_events" in each]
    assert len(named) == (category.lower() == "mtia_ccp_events")


@pytest.mark.parametrize(
    ("category", "args"),
    [
        ("hpu_op", {"stream": 1}),
        ("hpu_op", {"HW event name": "MME_0", "device": None}),
        ("npu_kernel", {}),
        ("mtia_workloadd", {}),
        ("tpu_step", {"stream": 3}),
        ("something", {"stream": 3}),
        (None, {"Task Type": "AI_CORE"}),
    ],
)
def test_unknown_kinds_are_counted_and_named(category, args):
    content = training("npu_runtime", "kernel", **args).replace(
        b'"cat": "kernel"', b'"cat": "%s"' % category.encode() if category else b'"old": 1'
    )
    overview = overview_of(read_trace(content))
    assert overview.devices == ()
    assert overview.unseen_device
    assert f"2 device events of kind {category or 'no category'} are not read" in overview.notes[0]
    assert advice_for(overview) == []


def test_without_a_device_the_same_training_gets_advice():
    assert [each.key for each in advice_for(overview_of(read_trace(training("", ""))))] == ["cpu_arithmetic"]


@pytest.mark.parametrize(
    "category",
    [
        "cuda_sync",
        "cuda_event",
        "xpu_sync",
        "mtia_counters",
        "mtia_insight",
        "cuda_profiler_range",
        "mlu_user_annotation",
    ],
)
def test_waiting_counting_and_marks_are_no_work(category):
    overview = overview_of(read_trace(training("", category, stream=7)))
    assert overview.notes == ()
    assert not overview.unseen_device


def test_launches_without_any_work_are_said():
    """CUPTI may be blocked, or the GPU not recorded: the training was one on a GPU all the same."""
    overview = overview_of(read_trace(training("cuda_runtime", "")))
    assert overview.unseen_device
    assert "2 calls" in overview.notes[-1]
    assert advice_for(overview) == []
    asks_only = text([host("aten::mm", 0, 60), launch(1, 70, name="cudaDeviceSynchronize")])
    assert not overview_of(read_trace(asks_only)).unseen_device


@pytest.mark.parametrize(
    "more",
    [
        memory(50, 4096, 4096, kind=1, index=0),
        memory(50, 4096, 4096, kind=13, index=0),
        host("aten::cudnn_convolution", 11, 30),
        host("aten::miopen_batch_norm", 11, 30),
        host("aten::_mps_convolution", 11, 30),
    ],
)
def test_a_gpu_that_only_its_memory_or_its_library_tells_of(more):
    """Recorded with the CPU's activity alone."""
    overview = overview_of(read_trace(text([step(1, 0, 100), host("aten::conv2d", 10, 80), more])))
    assert overview.unseen_device
    assert "nothing of what it did" in overview.notes[-1]
    assert advice_for(overview) == []


def test_a_training_on_a_device_that_no_profiler_sees():
    overview = overview_of(read_trace(training("", "")))
    assert advice_for(overview, {"device": "cpu"})
    assert advice_for(overview, {"device": "mps"}) == []


def test_a_device_that_is_read_beside_one_that_is_not():
    content = training("cuda_runtime", "kernel").replace(b'"cat": "kernel"', b'"cat": "npu_task"', 1)
    overview = overview_of(read_trace(content))
    assert len(overview.devices) == 1
    assert "1 device event of kind npu_task is not read" in overview.notes[0]
    assert advice_for(overview) == []


def test_nothing_is_concluded_from_what_is_not_seen():
    seen = reading(training("npu_runtime", "npu_task"))
    assert "do not tell what limits" in outcome(seen).text
    assert "accelerator" in seen_and_unseen(seen)[0]
    assert "faster arithmetic" in outcome(reading(training("", ""))).text


def test_kinds_without_end_are_told_in_short():
    events = [host("aten::mm", 0, 9)] + [kernel(n, n, 1, cat=f"npu_{n}", stream=1) for n in range(500)]
    assert len(overview_of(read_trace(text(events))).notes) < 10


def test_a_trace_of_nothing_else_names_it():
    with pytest.raises(TraceError, match="3 of kind npu_task"):
        read_trace(text([kernel(n, n, 1, cat="npu_task") for n in range(3)]))
