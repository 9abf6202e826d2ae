"""Strange traces, one a row, and what is right for each: figures, or the kind of sentence. None may crash or be silent.

After what people met with recordings of other machines, other accelerators and other programs.
"""

import gzip
import json
from dataclasses import dataclass

import pytest
from profile_makers import reading
from run_makers import told
from trace_makers import assert_refused, host, kernel, launch, memory, step, text

from eurosat_core.analysis.profile import outcome, seen_and_unseen
from eurosat_core.commands.profile import in_words
from eurosat_core.profiling.advice import advice_for, report_of
from eurosat_core.profiling.overview import overview_of
from eurosat_core.profiling.plugin_copy import plugin_copy
from eurosat_core.profiling.timeline import memory_curve, step_timeline
from eurosat_core.profiling.trace import read_trace

NOW = 1.7e15  # µs since 1970, as profilers write times
HOUR = 3.6e9
CPU_ONLY = "cpu_arithmetic"


@dataclass(frozen=True)
class Right:
    """What is right for a trace. Figures in µs; what is None is not looked at.

    steps: their numbers. own: CPU self times by operator. role: mean times by role. busy: of the first device. parts:
    mean times. peak: bytes by device. unseen: work of a device is missing. noted, silent: what the notes hold, and what
    they do not. advice: its keys. not_advised: keys that are not among them.
    """

    steps: list[int] | None = None
    total: float | None = None
    own: dict[str, float] | None = None
    role: dict[str, float] | None = None
    busy: float | None = None
    devices: int | None = None
    parts: dict[str, float] | None = None
    peak: dict[str, int] | None = None
    unseen: bool | None = None
    noted: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    advice: list[str] | None = None
    not_advised: tuple[str, ...] = ()


def later(events, by=NOW):
    """The same events, as if recorded today."""
    return [{**each, "ts": each["ts"] + by} for each in events]


def on_cpu(number=1, at=0.0):
    """A step of 1000 µs, nearly all of it in a convolution on the processor."""
    return [step(number, at, 1000), host("aten::conv2d", at + 20, 960)]


def on_device(cat="kernel", runtime="cuda_runtime", number=1, at=0.0, **args):
    """The same as launched to a device, which works 500 µs of it."""
    events = [*on_cpu(number, at), launch(number, at + 30, 5, cat=runtime)]
    return [*events, kernel(number, at + 40, 500, "work", cat, stream=7, **args)]


def numbered(*numbers):
    """Steps of these numbers, one after the other."""
    return text([each for place, number in enumerate(numbers) for each in on_cpu(number, 2000.0 * place)])


USUAL = Right(steps=[1], total=1000, busy=0.5, role={"Kernel": 500}, unseen=False, silent=("left out",))
LEFT_OUT = Right(steps=[1], total=1000, busy=0.5, noted=("1 event at time 0",))
UNSEEN = Right(steps=[1], total=1000, devices=0, unseen=True, advice=[])
ASCEND = [
    {"ph": "M", "name": "process_name", "pid": 4, "tid": 0, "args": {"name": "Ascend Hardware"}},
    {**host("MatMul", 40, 500), "pid": 4, "args": {"Task Type": "AI_CORE"}},
]
del ASCEND[1]["cat"]

OWN_TIMES = {
    "functions and operators overlap": (
        text(
            later(
                [
                    step(1, 0, 1000),
                    host("enter", 10, 40, "python_function"),
                    host("forward", 40, 930, "user_annotation"),
                    host("exit", 900, 95, "python_function"),
                    host("aten::mm", 100, 500),
                ]
            )
        ),
        Right(own={"ProfilerStep*": 15, "forward": 430, "aten::mm": 500}),
    ),
    "three siblings overlap": (
        text([step(1, 0, 100), *(host(f"op{at}", 10 + 10 * at, 30) for at in range(3))]),
        Right(own={"ProfilerStep*": 50, "op0": 30, "op1": 30, "op2": 30}),
    ),
    "children twice as long as their parent": (
        text([step(1, 0, 100), host("outer", 0, 50), *(host("inner", 0, 50, tid=1) for _ in range(4))]),
        Right(own={"outer": 0}),
    ),
} | {
    f"children at {children}": (
        text([step(1, 0, 100)] + [host(f"f{n}", *each, "python_function") for n, each in enumerate(children)]),
        Right(own={"ProfilerStep*": own}),
    )
    for own, children in [
        (0, [(0, 60), (50, 50)]),
        (0, [(0, 100), (0, 100)]),
        (75, [(10, 20), (10, 20), (15, 20)]),
        (40, [(0, 30), (70, 30)]),
        (90, [(90, 10), (95, 5), (96, 4)]),
    ]
}
TIMES = {
    **{
        f"a device event at {at:.0f}": (text([*later(on_device()), kernel(9, at, 20)]), LEFT_OUT)
        for at in (0, 17, NOW - HOUR, NOW + HOUR, NOW + 3e7)
    },
    "a launched device event of tomorrow": (
        text(later([*on_device(), launch(9, 600, 5), kernel(9, 24 * HOUR, 70)])),
        LEFT_OUT,
    ),
    "a kernel that lasts a year": (
        text(later([*on_device(), launch(9, 600, 5), kernel(9, 610, 365 * 24 * HOUR)])),
        LEFT_OUT,
    ),
    "the end's time for a duration": (
        text([*later(on_device()), kernel(9, 0, NOW), kernel(8, NOW + 40, NOW)]),
        Right(total=1000, busy=0.5, noted=("2 events at time 0",)),
    ),
    "a device with another clock": (
        text([*later(on_cpu()), launch(1, NOW + 30, 5), *(kernel(1, at, 10) for at in range(100, 600, 20))]),
        Right(steps=[1], total=1000, devices=0, unseen=True, noted=("25 ",), advice=[]),
    ),
    "a device whose clock is an hour off": (
        text([{**each, "ts": each["ts"] + HOUR * (each["cat"] == "kernel")} for each in later(on_device())]),
        UNSEEN,
    ),
    "work that a device still has": (
        text(
            later([step(1, 0, 100), host("aten::mm", 1, 90)])
            + [launch(each, NOW + 10 + each) for each in range(4)]
            + [kernel(each, NOW + 20 + 3e6 * each, 3e6) for each in range(4)]
        ),
        Right(role={"Kernel": 12e6}, silent=("left out",)),
    ),
    "a kernel that ends before it begins": (
        text([*on_device(), kernel(9, 700, -20)]),
        Right(steps=[1], total=1000, busy=0.5, noted=("1 event",)),
    ),
    "an operator and memory at time 0": (
        text([host("aten::lost", 0, 3), memory(0, 5, 5), memory(NOW + 5, 7, 7), *later(on_device())]),
        Right(steps=[1], total=1000, busy=0.5, own={"aten::conv2d": 955}, peak={"cpu": 7}),
    ),
    "the same without steps": (
        text([host("aten::lost", 0, 3), host("aten::mm", NOW, 50), memory(0, 5, 5)]),
        Right(total=50, peak={}),
    ),
    "times from the recording's start": (text(later(on_device(), 5e6)), USUAL),
    "times as words, as Ascend writes them": (
        text([{**each, "ts": f"{each['ts']:.3f}", "dur": str(each["dur"])} for each in later(on_device())]),
        USUAL,
    ),
    "GPU events only, one of them at time 0": (
        text([*later([kernel(1, 0, 60), kernel(2, 80, 20)]), kernel(3, 0, 10)]),
        Right(total=100, busy=0.8, noted=("left out",)),
    ),
    "a GPU event at time 0 alone": (text([kernel(1, 0, 20)]), Right(total=20, busy=1)),
}
STEPS = {
    # Two schedules in one process: each counts from 0.
    "the same number three times": (numbered(0, 0, 0), Right([0, 1, 2], 1000, noted=("same number",))),
    "two numbers twice": (numbered(0, 1, 0, 1), Right([0, 1, 2, 3], 1000, noted=("same number",))),
    "numbers that fall": (numbered(5, 3), Right([5, 3], 1000, silent=("same number",))),
    "a step in a step": (text([step(3, 0, 100), step(0, 10, 20), host("aten::mm", 0, 90)]), Right([3], 100)),
    "a number of thirty digits": (text([step(10**29, 0, 100), host("aten::mm", 0, 90)]), Right(total=100)),
    "a number of very many digits": (
        text([host(f"ProfilerStep#{'9' * 5000}", 0, 100), host("aten::mm", 0, 90)]),
        Right(total=100),
    ),
    "a mark that goes on into the next step": (
        text(
            [
                step(1, 0, 100),
                step(2, 100, 100),
                host("eurosat.forward", 50, 130, "user_annotation"),
                host("eurosat.load", 100, 90, "user_annotation"),
            ]
        ),
        Right(parts={"forward": 25, "load": 45}),
    ),
    "loading that goes on into the next step": (
        text(
            [
                step(1, 0, 100),
                step(2, 100, 200),
                host("enumerate(DataLoader)#_Single.__next__", 50, 140),
                host("aten::mm", 200, 50),
            ]
        ),
        Right(parts={"load": 25, "forward": 25}),
    ),
    "backward that goes on into the next step": (
        text(
            [
                step(1, 0, 100),
                step(2, 100, 100),
                host("aten::conv2d", 10, 20),
                host("MmBackward0", 40, 100, tid=2),
                host("aten::conv2d", 150, 20),
            ]
        ),
        Right(parts={"backward": 30}),
    ),
}
READ = [
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
]
UNREAD = [
    ("hpu_op", {"HW event name": "MME_0", "device": None}),
    ("npu_kernel", {}),
    ("mtia_workloadd", {}),
    ("tpu_step", {}),
    ("blackbox_op", {}),
]
NO_WORK = [
    "cuda_sync",
    "cuda_event",
    "xpu_sync",
    "mtia_counters",
    "mtia_insight",
    "cuda_profiler_range",
    "mlu_user_annotation",
]
ONLY_TOLD_OF = [
    memory(50, 4096, 4096, kind=1, index=0),
    memory(50, 4096, 4096, kind=13, index=0),
    host("aten::cudnn_convolution", 30, 300),
    host("aten::miopen_batch_norm", 30, 300),
    host("aten::_mps_convolution", 30, 300),
]
ACCELERATORS = {
    **{
        f"{runtime} and {cat}": (
            text(on_device(cat, runtime)),
            Right(
                role={role: 500, "Runtime": 5},
                unseen=False,
                noted=("1 device event of kind mtia_ccp_events",) if cat.lower() == "mtia_ccp_events" else (),
                not_advised=(CPU_ONLY,) if role == "Kernel" else (),
            ),
        )
        for runtime, cat, role in READ
    },
    **{
        f"unread: {cat}": (
            text([*on_device(cat, "npu_runtime", **args), kernel(2, 600, 9, cat=cat, **args, stream=1)]),
            Right(devices=0, unseen=True, noted=(f"2 device events of kind {cat}",), advice=[]),
        )
        for cat, args in UNREAD
    },
    **{
        f"no work: {cat}": (
            text([*on_cpu(), kernel(1, 40, 500, cat=cat, stream=7)]),
            Right(unseen=False, silent=("device",), advice=[CPU_ONLY]),
        )
        for cat in NO_WORK
    },
    **{
        f"only {each['name']} tells of it ({place})": (
            text([*on_cpu(), each]),
            Right(devices=0, unseen=True, noted=("nothing",), advice=[]),
        )
        for place, each in enumerate(ONLY_TOLD_OF)
    },
    "Ascend's own, without categories": (
        text([*on_cpu(), *ASCEND]),
        Right(devices=0, unseen=True, noted=("1 device event",), advice=[]),
    ),
    "two unknown accelerators": (
        text([*on_device("one_op"), kernel(2, 600, 9, cat="other_op", stream=1)]),
        Right(noted=("one_op", "other_op"), advice=[]),
    ),
    "one that is read beside one that is not": (
        text([*on_device(), kernel(2, 600, 9, cat="npu_task", stream=1)]),
        Right(devices=1, busy=0.5, noted=("kind npu_task",), advice=[]),
    ),
    # CUPTI may be blocked, or the GPU not recorded: the training was one on a GPU all the same.
    "launches of which no work was recorded": (
        text([*on_cpu(), launch(1, 30, 5), launch(2, 40, 5)]),
        Right(devices=0, unseen=True, noted=("2 calls",), advice=[]),
    ),
    "calls that ask only": (
        text([*on_cpu(), launch(1, 30, name="cudaDeviceSynchronize")]),
        Right(devices=0, unseen=False),
    ),
    "a processor alone": (text(on_cpu()), Right(devices=0, unseen=False, advice=[CPU_ONLY])),
    "events of another program": (
        text([*on_cpu(), {"ph": "X", "cat": "blink", "name": "paint", "pid": 1, "tid": 1, "ts": 5, "dur": 6}]),
        Right(advice=[CPU_ONLY], silent=("blink",)),
    ),
    "events with odd devices": (
        text([*on_device(), kernel(2, 600, 10, device="0"), kernel(3, 620, 10, device=None)]),
        Right(busy=0.52, devices=1),
    ),
}
STRANGE = {**OWN_TIMES, **TIMES, **STEPS, **ACCELERATORS}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_trace(case):
    content, right = STRANGE[case]
    trace = read_trace(content)
    report = in_words(report_of(trace))
    json.dumps(report, allow_nan=False)
    _check_figures(report, right)
    assert right.unseen in (None, overview_of(trace).unseen_device)
    said, advice = " ".join(report["notes"]), [each["key"] for each in report["advice"]]
    assert all(each in said for each in right.noted), said
    assert not any(each in said for each in right.silent), said
    assert all(note.endswith(".") for note in report["notes"])
    assert right.advice in (None, advice)
    assert not set(right.not_advised) & set(advice)


def _check_figures(report, right):
    numbers = [each["step"] for each in report["steps"]]
    assert len(set(numbers)) == len(numbers)
    assert right.steps in (None, numbers)
    if right.total is not None:
        assert report["mean_step_us"]["Total"] == pytest.approx(right.total, abs=1)
    own = {each["name"]: each["cpu_self_us"] for each in report["operators"]}
    assert min(own.values(), default=0) >= 0
    assert "aten::lost" not in own
    assert {name: own[name] for name in right.own or {}} == pytest.approx(right.own or {}, abs=1)
    for name, time in (right.role or {}).items():
        assert report["mean_step_us"][name] == pytest.approx(time, abs=1)
    for name, time in (right.parts or {}).items():
        assert report["parts"]["mean_us"][name] == pytest.approx(time, abs=1)
    for parts, length in zip(report["parts"]["per_step_us"], report["steps"], strict=False):
        assert sum(parts.values()) <= length["Total"] + 1
    if right.busy is not None:
        assert report["devices"][0]["utilization"] == pytest.approx(right.busy, abs=0.002)
    assert right.devices in (None, len(report["devices"]))
    assert right.peak in (None, report["peak_memory_bytes"])


@pytest.mark.parametrize("case", STRANGE)
def test_everything_else_that_is_drawn_of_it(case):
    content, right = STRANGE[case]
    trace = read_trace(content)
    assert right.peak is None or {each.device: each.peak_bytes for each in memory_curve(trace)} == right.peak
    for each in report_of(trace)["steps"]:
        timeline = step_timeline(trace, each["step"])
        assert timeline.length_us == pytest.approx(each["Total"])
        assert all(bar.start_us >= 0 and bar.duration_us >= 0 for bar in timeline.bars)
        assert all(bar.start_us + bar.duration_us <= timeline.length_us + 0.01 for bar in timeline.bars)
    copied = json.loads(gzip.decompress(b"".join(plugin_copy(content))))
    assert all(isinstance(each, dict) for each in copied["traceEvents"])


def test_a_training_on_a_device_that_no_profiler_sees():
    overview = overview_of(read_trace(text(on_cpu())))
    assert advice_for(overview, {"device": "cpu"})
    assert advice_for(overview, {"device": "mps"}) == []


def test_nothing_is_concluded_from_what_is_not_seen():
    seen = reading(text(on_device("npu_task", "npu_runtime")))
    assert told(outcome(seen))[2] == "unseen_device"
    assert seen_and_unseen(seen)[0].kind == "unseen_work"
    assert told(outcome(reading(text(on_cpu()))))[2] == "computing.longest"


def test_kinds_without_end_are_told_in_short():
    events = [host("aten::mm", 0, 9)] + [kernel(n, n, 1, cat=f"npu_{n}", stream=1) for n in range(500)]
    assert len(overview_of(read_trace(text(events))).notes) < 10


def test_a_trace_of_nothing_else_names_it():
    assert_refused(text([kernel(n, n, 1, cat="npu_task") for n in range(3)]), "3 of kind npu_task")
