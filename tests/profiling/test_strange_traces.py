"""Strange traces, one a row, and what is right for each: figures, or the kind of sentence. None may crash or be silent.

After what people met with recordings of other machines, other accelerators and other programs' packing.
"""

import gzip
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass

import pytest
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.errors import TraceError
from eurosat_core.profiling.advice import report_of
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
    mean times. noted, silent: what the notes hold, and what neither they nor the advice do. advised, not_advised: keys.
    refused: what the sentence holds for a trace that cannot be used.
    """

    steps: list[int] | None = None
    total: float | None = None
    own: dict[str, float] | None = None
    role: dict[str, float] | None = None
    busy: float | None = None
    devices: int | None = None
    parts: dict[str, float] | None = None
    noted: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    advised: tuple[str, ...] = ()
    not_advised: tuple[str, ...] = ()
    refused: str = ""


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


def named(name, **changes):
    """The file of a step with a Python function of this name, quotes and all, as Kineto writes it."""
    events = [*on_device(), host("NAME", 100, 3, "python_function")]
    written = text([{**each, **changes} if each["name"] == "NAME" else each for each in events])
    return written.replace(b"NAME", name.encode())


def in_zip(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.json", content)
    return packed.getvalue()


def in_tar(content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("./run/trace.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def distributed(events=(), **info):
    return text([*on_device(), *events], distributedInfo=info)


COLLECTIVE = {"Collective name": "allreduce", "Group size": 4}
UNTOUCHED = Right(steps=[1], total=1000, busy=0.5, role={"Kernel": 500}, silent=("distributed",))
WITHOUT_DEVICE = Right(steps=[1], total=1000, devices=0, not_advised=(CPU_ONLY, "data_loading"))
ASCEND = [
    {"ph": "M", "name": "process_name", "pid": 4, "tid": 0, "args": {"name": "Ascend Hardware"}},
    {**host("MatMul", 40, 500), "pid": 4, "args": {"Task Type": "AI_CORE"}},
]
del ASCEND[1]["cat"]

STRANGE = {
    # Of one process or of several.
    "world size 1": (distributed(backend="nccl", rank=0, world_size=1), UNTOUCHED),
    "a bare rank": (distributed(rank=0), UNTOUCHED),
    "a rank that is a word": (distributed(rank="first", world_size=None), UNTOUCHED),
    "no object": (text(on_device(), distributedInfo=[0, 8]), UNTOUCHED),
    "world size 8": (distributed(rank=3, world_size=8), Right(noted=("rank 3",), busy=0.5)),
    "a bare rank with collectives": (
        distributed([launch(9, 700, 5), kernel(9, 710, 50, "ncclDevKernel_AllReduce_Sum_f32", **COLLECTIVE)], rank=2),
        Right(noted=("distributed",), role={"Communication": 50}),
    ),
    # Times.
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
    "a device event at time 0": (
        text([*later(on_device()), kernel(9, 0, 70)]),
        Right(steps=[1], total=1000, busy=0.5, noted=("left out",)),
    ),
    "a device event of tomorrow": (
        text(later([*on_device(), kernel(9, 24 * HOUR, 70)])),
        Right(steps=[1], total=1000, busy=0.5, noted=("left out",)),
    ),
    "a launched device event of tomorrow": (
        text(later([*on_device(), launch(9, 600, 5), kernel(9, 24 * HOUR, 70)])),
        Right(steps=[1], total=1000, busy=0.5, noted=("left out",)),
    ),
    "a device with another clock": (
        text([*later(on_cpu()), launch(1, NOW + 30, 5), *(kernel(1, at, 10) for at in range(100, 600, 20))]),
        Right(steps=[1], total=1000, noted=("25 ",), not_advised=(CPU_ONLY,)),
    ),
    "a kernel that lasts a year": (
        text(later([*on_device(), launch(9, 600, 5), kernel(9, 610, 365 * 24 * HOUR)])),
        Right(steps=[1], total=1000, busy=0.5, noted=("left out",)),
    ),
    "a kernel that ends before it begins": (
        text([*on_device(), kernel(9, 700, -20)]),
        Right(steps=[1], total=1000, busy=0.5, noted=("1 event",)),
    ),
    "an operator at time 0": (
        text([*later(on_device()), host("aten::mm", 0, 5)]),
        Right(steps=[1], total=1000, busy=0.5),
    ),
    "memory at time 0": (
        text([*later(on_device()), memory(0, 10, 10), memory(NOW + 50, 10, 20)]),
        Right(steps=[1], total=1000, busy=0.5),
    ),
    "times as words, as Ascend writes them": (
        text([{**each, "ts": f"{each['ts']:.3f}", "dur": str(each["dur"])} for each in later(on_device())]),
        Right(steps=[1], total=1000, busy=0.5),
    ),
    "GPU events only, one of them at time 0": (
        text([*later([kernel(1, 0, 60), kernel(2, 80, 20)]), kernel(3, 0, 10)]),
        Right(total=100, busy=0.8, noted=("left out",)),
    ),
    # Steps.
    "the same number three times": (
        text([each for at in (0.0, 2000.0, 4000.0) for each in on_cpu(0, at)]),
        Right(total=1000),
    ),
    "a step in a step": (
        text([step(3, 0, 100), step(0, 10, 20), host("aten::mm", 0, 90)]),
        Right(steps=[3], total=100),
    ),
    "a step's number of thirty digits": (
        text([step(10**29, 0, 100), host("aten::mm", 0, 90)]),
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
    # Accelerators.
    "MTIA": (
        text(on_device("mtia_ccp_events", "mtia_runtime")),
        Right(busy=0.5, noted=("1 device event", "mtia_ccp_events"), not_advised=(CPU_ONLY,)),
    ),
    "XPU": (text(on_device("kernel", "xpu_runtime")), Right(busy=0.5, not_advised=(CPU_ONLY,))),
    "HPU": (text(on_device("kernel", "hpu_op")), Right(busy=0.5, role={"Runtime": 5}, not_advised=(CPU_ONLY,))),
    "NPU by PrivateUse1": (
        text(on_device("kernel", "privateuse1_runtime")),
        Right(busy=0.5, role={"Runtime": 5}, not_advised=(CPU_ONLY,)),
    ),
    "copies of PrivateUse1": (
        text(on_device("gpu_memcpy", "privateuse1_driver")),
        Right(role={"Memcpy": 500, "Runtime": 5}),
    ),
    "Ascend's own, without categories": (text([*on_cpu(), *ASCEND]), WITHOUT_DEVICE),
    "an unknown accelerator": (
        text([*on_device("blackbox_op", "blackbox_runtime"), kernel(2, 600, 9, cat="blackbox_op", stream=1)]),
        Right(noted=("2 device events", "blackbox_op"), devices=0, not_advised=(CPU_ONLY, "data_loading")),
    ),
    "two unknown accelerators": (
        text([*on_device("one_op"), kernel(2, 600, 9, cat="other_op", stream=1)]),
        Right(noted=("one_op", "other_op"), not_advised=(CPU_ONLY,)),
    ),
    "an unknown accelerator alone": (
        text([kernel(1, 0, 50, cat="blackbox_op", stream=1)]),
        Right(refused="1 of kind blackbox_op"),
    ),
    "launches of which no work was recorded": (
        text([*on_cpu(), launch(1, 30, 5), launch(2, 40, 5)]),
        WITHOUT_DEVICE,
    ),
    "memory of a GPU whose work was not recorded": (
        text([*on_cpu(), memory(30, 512, 512, kind=1, index=0)]),
        WITHOUT_DEVICE,
    ),
    "a processor alone": (text(on_cpu()), Right(advised=(CPU_ONLY,), devices=0)),
    "events of another program": (
        text([*on_cpu(), {"ph": "X", "cat": "blink", "name": "paint", "pid": 1, "tid": 1, "ts": 5, "dur": 6}]),
        Right(advised=(CPU_ONLY,), silent=("blink",)),
    ),
    "events with odd devices": (
        text([*on_device(), kernel(2, 600, 10, device="0"), kernel(3, 620, 10, device=None)]),
        Right(busy=0.52, devices=1),
    ),
    # Names.
    "a line of code as a name": (
        named('lib = torch.library.Library("my", "IMPL")\n(1): <module>'),
        Right(steps=[1], total=1000, busy=0.5, noted=("quot",)),
    ),
    "a dictionary as a name": (
        named('{"device": "cpu", "dtype": "float32"}(12): run'),
        Right(steps=[1], total=1000, busy=0.5, noted=("quot",)),
    ),
    "a docstring as a name": (
        named('"""Find, "quote" and }, {"a": [1]}, { end."""\n(1): <module>'),
        Right(steps=[1], total=1000, busy=0.5, noted=("quot",)),
    ),
    "a name that ends in a quote": (
        named('print("a", "b'),
        Right(steps=[1], total=1000, busy=0.5, noted=("quot",)),
    ),
    "quotes in a path of Windows": (
        named(r'C:\Users\me\"new"\torch.py(3): f'),
        Right(steps=[1], total=1000, busy=0.5, noted=("quot",)),
    ),
    "a call stack with quotes": (
        text([*on_device(), host("aten::to", 990, 5, **{"Call stack": "STACK", "Input Dims": [[1]]})]).replace(
            b"STACK", b'f("a", "b")(3): <module>;torch/nn.py(1): g'
        ),
        Right(steps=[1], total=1000, busy=0.5, noted=("quot",)),
    ),
    "a process named by its command": (
        text(
            [{"ph": "M", "name": "process_name", "pid": 10, "args": {"name": "COMMAND"}}, *on_device()],
        ).replace(b"COMMAND", b'python -c "run()"'),
        Right(steps=[1], total=1000, busy=0.5, noted=("quot",)),
    ),
    "quotes as they belong": (
        named(r"say \"hi\", twice"),
        Right(steps=[1], total=1000, busy=0.5, silent=("quot",)),
    ),
    "a name that looks like an event": (
        named('x", "name": y", "cat": 3, "pid'),
        Right(refused="with_stack"),
    ),
    # Packing.
    "zip": (in_zip(trace=text(on_device())), UNTOUCHED),
    "zip of two": (in_zip(one=text(on_device()), two=text(on_cpu())), Right(refused="2 traces")),
    "tar.gz": (in_tar(text(on_device())), UNTOUCHED),
    "gzip in gzip": (gzip.compress(gzip.compress(text(on_device()))), UNTOUCHED),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", Right(refused="Git LFS")),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_trace(case):
    content, right = STRANGE[case]
    if right.refused:
        with pytest.raises(TraceError, match=right.refused) as refused:
            read_trace(content)
        assert str(refused.value).endswith(".")
        return
    trace = read_trace(content)
    report = report_of(trace)
    json.dumps(report, allow_nan=False)
    _check_figures(report, right)
    said = " ".join(report["notes"])
    assert all(each in said for each in right.noted), said
    advice = {each["key"]: each for each in report["advice"]}
    assert not any(each in said for each in right.silent), said
    assert set(right.advised) <= set(advice)
    assert not set(right.not_advised) & set(advice)
    assert all(note.endswith(".") for note in report["notes"])


def _check_figures(report, right):
    numbers = [each["step"] for each in report["steps"]]
    assert len(set(numbers)) == len(numbers)
    if right.steps is not None:
        assert numbers == right.steps
    if right.total is not None:
        assert report["mean_step_us"]["Total"] == pytest.approx(right.total, abs=1)
    own = {each["name"]: each["cpu_self_us"] for each in report["operators"]}
    assert min(own.values(), default=0) >= 0
    assert {name: own[name] for name in right.own or {}} == pytest.approx(right.own or {}, abs=1)
    for name, time in (right.role or {}).items():
        assert report["mean_step_us"][name] == pytest.approx(time, abs=1)
    for name, time in (right.parts or {}).items():
        assert report["parts"]["mean_us"][name] == pytest.approx(time, abs=1)
    if right.busy is not None:
        assert report["devices"][0]["utilization"] == pytest.approx(right.busy, abs=0.002)
    if right.devices is not None:
        assert len(report["devices"]) == right.devices


@pytest.mark.parametrize("case", [name for name, (_, right) in STRANGE.items() if not right.refused])
def test_everything_else_that_is_drawn_of_it(case):
    content, _ = STRANGE[case]
    trace = read_trace(content)
    memory_curve(trace)
    for each in report_of(trace)["steps"]:
        timeline = step_timeline(trace, each["step"])
        assert all(bar.start_us >= 0 and bar.duration_us >= 0 for bar in timeline.bars)
        assert all(bar.start_us + bar.duration_us <= timeline.length_us + 0.01 for bar in timeline.bars)
    copied = json.loads(gzip.decompress(b"".join(plugin_copy(content))))
    assert all(isinstance(each, dict) for each in copied["traceEvents"])
