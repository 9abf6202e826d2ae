"""The overview of a trace: where the time of its steps went.

The definitions are those of PyTorch's former TensorBoard plug-in, for the events that profilers write today. A
recording of ours marks the five parts of a step; in another trace they are told from the names of what ran
(`Parts.derived`).

Times are whole nanoseconds in arrays, so that sums are exact and nothing is counted twice. An interval is [start, end);
one that ends where it starts, or before, takes no time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from eurosat_core.profiling.columns import Floats, Ints, Kind
from eurosat_core.profiling.steps import Steps, find_steps
from eurosat_core.profiling.trace import Trace, outermost
from eurosat_core.wording import count, device_name

# Starts and ends of intervals, of equal length.
Spans = tuple[Ints, Ints]


def merged(spans: Spans) -> Spans:
    """The union: in order, apart from each other."""
    starts, ends = spans
    real = ends > starts
    starts, ends = starts[real], ends[real]
    if not len(starts):
        return starts, ends
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    first = np.concatenate([[True], starts[1:] > reach[:-1]])
    last = np.concatenate([first[1:], [True]])
    return starts[first], reach[last]


def covered(union: Spans, windows: Spans) -> Ints:
    """How much of each window a union (as `merged` gives it) covers."""
    return _before(union, np.maximum(windows[0], windows[1])) - _before(union, windows[0])


def _before(union: Spans, times: Ints) -> Ints:
    """How much of the union lies before each time."""
    starts, ends = union
    whole = np.concatenate([[0], np.cumsum(ends - starts)])
    place = np.searchsorted(starts, times, side="right")
    into_last = np.zeros(len(times), np.int64)
    some = place > 0
    into_last[some] = np.maximum(ends[place[some] - 1] - times[some], 0)
    return np.asarray(whole[place] - into_last, np.int64)


def total(union: Spans) -> int:
    """The length of a union."""
    return int((union[1] - union[0]).sum())


def shares(layers: Sequence[Spans], windows: Spans) -> Ints:
    """Time of each window by the first layer that covers it: [windows, layers + 1], the rest in the last column.

    Each row sums to its window's length. Layers may overlap in every way; windows of no length give zeros.
    """
    starts, ends = windows
    reached = np.zeros(len(starts), np.int64)
    columns = []
    union: Spans = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    for layer in layers:
        union = merged((np.concatenate([union[0], layer[0]]), np.concatenate([union[1], layer[1]])))
        now = covered(union, windows)
        columns.append(now - reached)
        reached = now
    columns.append(np.maximum(ends - starts, 0) - reached)
    return np.stack(columns, axis=1)


def capped_integral(spans: Spans, values: Floats, window: tuple[int, int]) -> float:
    """The integral over the window of min(sum of the values of the intervals that run, 1), in nanoseconds."""
    starts, ends = (np.clip(each, *window) for each in spans)
    real = ends > starts
    starts, ends, values = starts[real], ends[real], values[real]
    if not len(starts):
        return 0.0
    times = np.concatenate([starts, ends])
    order = np.argsort(times, kind="stable")
    running = np.cumsum(np.concatenate([values, -values])[order])[:-1]
    return float((np.clip(running, 0, 1) * np.diff(times[order])).sum())


# Calls in which the host only waits for the device.
WAIT = re.compile(r"(?:cuda|hip|cu|ze)\w*Synchronize$|urQueueFinish$|urEventWait$")
# Parts of the names of kernels that use tensor cores: shapes of their instructions, and names of libraries' families.
_TENSOR_CORES = re.compile(
    r"[a-z]884|[a-z]_?1688|16816|16832|8816|hmma|imma|wgmma|tensorop|xmma(?!.*ffma)|nvjet|flash_(?:fwd|bwd)|fmha",
    re.IGNORECASE,
)
_MATRIX = re.compile(
    r"aten::(?:\w*convolution\w*|conv\d\w*|addmm_?|mm|bmm|baddbmm|matmul|linear|_scaled_dot_product\w*|"
    r"_efficient_attention\w*|_flash_attention\w*|mkldnn_linear\w*)$"
)


@dataclass(frozen=True)
class Facts:
    """Means per step between the first step's start and the last one's end; None where nothing tells it."""

    kernels: float = 0.0
    """GPU kernels per step."""
    median_kernel_us: float | None = None
    waits: float = 0.0
    """Calls per step in which the host waits for the GPU."""
    wait_us: float = 0.0
    """How long they take, per step."""
    copies: float = 0.0
    copied_bytes: float = 0.0
    """To, from and between GPUs, per step."""
    matrix_share: float | None = None
    """Of the kernels' time: in convolutions and matrix products."""
    tensor_core_share: float | None = None
    """Of the convolutions' and matrix products' time on the GPU: on tensor cores."""
    compute_capability: tuple[int, int] | None = None
    """Of the first NVIDIA GPU on which kernels ran."""
    memory_device: str | None = None
    """The GPU whose memory was fullest, by its peak."""
    memory_share: float | None = None
    """That peak as a fraction of what this GPU has."""
    host_matrix_share: float | None = None
    """Of the operators' own time on the CPU: in convolutions and matrix products."""


def facts_of(trace: Trace, steps: Steps, peaks: Mapping[str, int]) -> Facts:
    """Compute them over the whole window of the steps. peaks: bytes by device."""
    low, high = steps.window
    inside = (trace.start_ns >= low) & (trace.start_ns < high)
    kernels, copies, calls, operators = (
        rows[inside[rows]] for rows in map(trace.rows, (Kind.KERNEL, Kind.MEMCPY, Kind.RUNTIME, Kind.OPERATOR))
    )
    waits = calls[trace.named(WAIT.match)[calls]]
    number = len(steps)
    is_matrix, own = trace.named(_MATRIX.match), trace.self_ns[operators]
    makers = trace.maker[np.searchsorted(trace.device_rows, kernels)]
    made = kernels[makers >= 0]
    times, in_matrix = trace.duration_ns[made], is_matrix[makers[makers >= 0]]
    on_tensor_cores = in_matrix & trace.named(uses_tensor_cores)[made]
    shares_of_memory: dict[str | None, float] = {
        f"cuda:{index}": peaks[f"cuda:{index}"] / properties.memory_bytes
        for index, properties in trace.devices.items()
        if properties.memory_bytes and f"cuda:{index}" in peaks
    }
    fullest = max(shares_of_memory, key=shares_of_memory.__getitem__, default=None)
    return Facts(
        kernels=len(kernels) / number,
        median_kernel_us=float(np.median(trace.duration_ns[kernels])) / 1000 if len(kernels) else None,
        waits=len(waits) / number,
        wait_us=total(merged(trace.spans(waits))) / 1000 / number,
        copies=len(copies) / number,
        copied_bytes=float(np.nansum(trace.copied_bytes[copies])) / number,
        matrix_share=_share(times[in_matrix], times),
        tensor_core_share=_share(times[on_tensor_cores], times[in_matrix]),
        compute_capability=_capability(trace, kernels, calls),
        memory_device=fullest,
        memory_share=shares_of_memory.get(fullest),
        host_matrix_share=_share(own[is_matrix[operators]], own),
    )


def uses_tensor_cores(kernel: str) -> bool:
    """Whether a kernel's name tells that it runs on tensor cores."""
    return _TENSOR_CORES.search(kernel) is not None


def _share(part: Ints, whole: Ints) -> float | None:
    """Of the whole's time; None where there is none."""
    return float(part.sum() / whole.sum()) if whole.sum() > 0 else None


def _capability(trace: Trace, kernels: Ints, calls: Ints) -> tuple[int, int] | None:
    """AMD's cards bear numbers of their own under the same name: only CUDA's calls make it NVIDIA's."""
    if not len(kernels) or not trace.named(lambda name: name.startswith("cu"))[calls].any():
        return None
    properties = trace.devices.get(int(trace.device[kernels].min()))
    return properties.compute_capability if properties else None


PARTS = ("load", "copy", "forward", "backward", "update", "other")
"""Parts of a step; `other` is what none of the five covers."""

MARK = "eurosat."
_LOAD = re.compile(r"enumerate\(Data(?:Loader|Pipe)\)#")
_UPDATE = re.compile(r"Optimizer\.(?:step|zero_grad)#")
_BACKWARD = re.compile(r"autograd::engine::|torch::autograd::|\w+Backward\d*$")
_COPY = re.compile(r"aten::(?:to|_to_copy|copy_|pin_memory)$")
_TO_DEVICE = re.compile(r"HtoD|Host\w*\s*->\s*Device|HostToDevice", re.IGNORECASE)
# Where two overlap, which one counts: backward's operators run beside the call that waits for them.
_ORDER = ("load", "copy", "update", "backward", "forward")


@dataclass(frozen=True)
class Parts:
    """Time of each of `PARTS` on the host, in µs; a step's parts sum to its time on the host.

    The device runs behind the host, so its share has figures of its own.
    """

    per_step_us: tuple[dict[str, float], ...]
    mean_us: dict[str, float]
    device_us: dict[str, float] | None
    """How long the GPU worked on what each part launched, mean per step; None for a trace without GPU work."""
    derived: bool
    """Told from operators' names, not marked by the recording."""


def parts_of(trace: Trace, steps: Steps) -> Parts:
    """Load, copy, forward, backward and update of every step; empty where the trace has no events of the CPU."""
    if steps.lane < 0:
        return Parts((), {}, None, derived=False)
    marked = trace.rows(Kind.ANNOTATION)
    marked = marked[trace.named(lambda name: name.startswith(MARK))[marked]]
    spans = _marked(trace, steps, marked) if len(marked) else _derived(trace, steps)
    times = shares([spans[part] for part in _ORDER], (steps.host_start_ns, steps.host_end_ns)) / 1000
    columns = dict(zip((*_ORDER, "other"), times.T, strict=True))
    table = np.stack([columns[part] for part in PARTS], axis=1)
    return Parts(
        tuple(dict(zip(PARTS, row, strict=True)) for row in table.tolist()),
        dict(zip(PARTS, table.mean(axis=0).tolist(), strict=True)),
        _device_times(trace, steps, spans),
        derived=not len(marked),
    )


def _marked(trace: Trace, steps: Steps, rows: Ints) -> dict[str, Spans]:
    rows, step = _in_steps(trace, steps, rows)
    ends = np.minimum(trace.end_ns[rows], steps.host_end_ns[step])
    chosen = {part: trace.named((MARK + part).__eq__)[rows] for part in PARTS if part != "other"}
    return {part: merged((trace.start_ns[rows[which]], ends[which])) for part, which in chosen.items()}


def _in_steps(trace: Trace, steps: Steps, rows: Ints) -> tuple[Ints, Ints]:
    """Those rows that begin within a step, and which step that is. What lasts beyond it is no part of the next one."""
    step = np.searchsorted(steps.host_start_ns, trace.start_ns[rows], side="right") - 1
    rows, step = (each[step >= 0] for each in (rows, step))
    inside = trace.start_ns[rows] < steps.host_end_ns[step]
    return rows[inside], step[inside]


def _derived(trace: Trace, steps: Steps) -> dict[str, Spans]:
    """Parts by name: what runs on end in one part, and the Python between it, is one stretch of that part."""
    host, step = _in_steps(trace, steps, trace.rows(Kind.OPERATOR, Kind.ANNOTATION))
    load, update, backward = (trace.named(each.match) for each in (_LOAD, _UPDATE, _BACKWARD))
    # Annotations that name no part, and Python's functions, merely stand around what does the work.
    around = np.isin(trace.kind, (Kind.PYTHON, Kind.ANNOTATION)) & ~load & ~update
    outer = outermost(trace.parent, ~around)
    own = outer[host] == host
    copying = np.unique(outer[_copy_calls(trace)])
    copying = copying[trace.named(_COPY.match)[copying]]
    part = np.full(len(trace), _ORDER.index("forward"))
    part[backward], part[copying], part[update], part[load] = (
        _ORDER.index(each) for each in ("backward", "copy", "update", "load")
    )
    # Other threads serve the backward pass; what else they do runs beside the step.
    used = own & ~around[host] & ((trace.lane[host] == steps.lane) | (part[host] == _ORDER.index("backward")))
    host, step = host[used], step[used]
    if not len(host):
        return {each: trace.spans(host) for each in _ORDER}
    stretch = np.concatenate([[True], (np.diff(part[host]) != 0) | (np.diff(step) != 0)])
    first = np.flatnonzero(stretch)
    starts, ends = trace.start_ns[host[first]], np.maximum.reduceat(trace.end_ns[host], first)
    ends = np.minimum(ends, steps.host_end_ns[step[first]])
    kind = part[host[first]]
    return {each: merged((starts[kind == number], ends[kind == number])) for number, each in enumerate(_ORDER)}


def _copy_calls(trace: Trace) -> Ints:
    """Rows of the host's calls that copied something to a device."""
    device = trace.device_rows
    copies = (trace.kind[device] == Kind.MEMCPY) & trace.named(_TO_DEVICE.search)[device] & (trace.launch >= 0)
    calls: Ints = trace.launch[copies]
    return calls


def _device_times(trace: Trace, steps: Steps, spans: dict[str, Spans]) -> dict[str, float] | None:
    launched = trace.launch >= 0
    device, calls = trace.device_rows[launched], trace.launch[launched]
    if not len(device):
        return None
    at = trace.start_ns[calls]
    left = (at >= steps.host_start_ns[0]) & (at < steps.host_end_ns[-1])
    times = {}
    for part in _ORDER:
        starts, ends = spans[part]
        place = np.searchsorted(starts, at, side="right") - 1
        within = left & (place >= 0)
        if len(starts):
            within &= at < ends[place]
        left &= ~within
        times[part] = total(merged(trace.spans(device[within]))) / 1000 / len(steps)
    times["other"] = total(merged(trace.spans(device[left]))) / 1000 / len(steps)
    return {part: times[part] for part in PARTS}


# Each moment of a step belongs to the first of these that covers it.
ROLES = ("Kernel", "Memcpy", "Memset", "Communication", "Runtime", "DataLoader", "CPU exec", "Other")

LOADER = re.compile(r"enumerate\(DataLoader\)#.*\.__next__$|enumerate\(DataPipe\)#")
# Calls that give a device work, and operators that only a GPU's libraries have.
_GPU_OPERATOR = re.compile(r"aten::_?(?:cudnn|miopen|mps)_\w+$")
_LAUNCH = re.compile(r"launch|memcpy|memset|enqueue|submit", re.IGNORECASE)
_COLLECTIVE = re.compile(r"(?:nccl|gloo):")
_COLLECTIVE_KERNEL = re.compile(r"(?:^|\W)(?:nccl|rccl|msccl)\w*Kernel", re.IGNORECASE)


@dataclass(frozen=True)
class StepTimes:
    """One step. Times in µs; `start_us` from the trace's first event on."""

    step: int
    start_us: float
    role_us: dict[str, float]
    """Time of each of `ROLES`, and `Total`, their sum."""


@dataclass(frozen=True)
class DeviceFigures:
    """How busy one GPU was between the first step's start and the last one's end; fractions, None without data.

    utilization: the share of the time in which any kernel ran. sm_efficiency: the share of its multiprocessors that had
    work, on average. achieved_occupancy: of the threads that they can hold, how many were there while kernels ran.
    """

    index: int
    name: str | None
    utilization: float | None
    sm_efficiency: float | None
    achieved_occupancy: float | None


@dataclass(frozen=True)
class Overview:
    """What the first view of a trace shows."""

    steps: tuple[StepTimes, ...]
    mean_step_us: dict[str, float]
    """Mean over the steps for each of `ROLES` and `Total`."""
    devices: tuple[DeviceFigures, ...]
    """GPUs on which kernels ran."""
    peak_memory_bytes: dict[str, int]
    """The most that tensors took at a time, by device; devices whose memory was not recorded are not named."""
    parts: Parts
    """Load, copy, forward, backward, update."""
    facts: Facts
    """Further figures, on which advice rests."""
    unseen_device: bool = False
    """A device worked, and the trace does not hold it or the lab cannot read it: nothing can be told from its idleness.
    """
    notes: tuple[str, ...] = field(default=())
    """What was repaired, left out or is missing, a sentence each."""


def overview_of(trace: Trace, device: str = "") -> Overview:
    """Compute all figures of a trace. device: on which its steps were computed; empty where nobody knows."""
    steps = find_steps(trace)
    windows = (steps.start_ns, steps.end_ns)
    times = shares(_layers(trace), windows) / 1000
    table = np.column_stack([times, (steps.end_ns - steps.start_ns) / 1000])
    names = (*ROLES, "Total")
    unseen = _unseen_note(trace, device)
    peaks = _peaks(trace)
    return Overview(
        steps=tuple(
            StepTimes(number, start / 1000, dict(zip(names, row, strict=True)))
            for number, start, row in zip(steps.names, steps.start_ns.tolist(), table.tolist(), strict=True)
        ),
        mean_step_us=dict(zip(names, table.mean(axis=0).tolist(), strict=True)),
        devices=_devices(trace, steps),
        peak_memory_bytes=peaks,
        parts=parts_of(trace, steps),
        facts=facts_of(trace, steps, peaks),
        unseen_device=trace.device_events_missing or bool(unseen),
        notes=(*trace.notes, *steps.notes, *unseen, *_rank_note(trace)),
    )


def _unseen_note(trace: Trace, device: str) -> tuple[str, ...]:
    """That a device had work and the trace holds none of it: by calls, its memory, its library's names, or its own."""
    if device not in ("", "cpu") and not len(trace.rows(Kind.KERNEL)) and not trace.device_events_missing:
        return (f"The steps were computed on the {device_name(device)}, and the trace holds nothing of what it did.",)
    if len(trace.device_rows) or trace.device_events_missing:  # of missing ones it is told already
        return ()
    calls = trace.rows(Kind.RUNTIME)
    launches = int(trace.named(_LAUNCH.search)[calls].sum())
    used = [
        name for number, name in enumerate(trace.memory.device) if name != "cpu" and (trace.memory.on == number).any()
    ]
    operators = trace.rows(Kind.OPERATOR)
    on_gpu = trace.named(_GPU_OPERATOR.match)[operators].any()
    if not launches and not used and not on_gpu:
        return ()
    given = f" {count(launches, 'call')} gave it work." if launches else ""
    return (
        f"A GPU or another accelerator took part, and the trace holds nothing of what it did.{given} Record it, too, "
        "with its ProfilerActivity, if PyTorch's profiler can see this device.",
    )


def _rank_note(trace: Trace) -> tuple[str, ...]:
    """Others took part when the trace says how many there were; a bare rank may be left from the environment."""
    talked = trace.named(lambda name: _COLLECTIVE.match(name) or _COLLECTIVE_KERNEL.search(name)).any()
    several = trace.world_size > 1 if trace.world_size is not None else trace.rank is not None and talked
    if not several:
        return ()
    which = "" if trace.rank is None else f", rank {trace.rank}"
    return (f"The trace is of one process of a distributed training{which}: the others have their own.",)


def _layers(trace: Trace) -> list[Spans]:
    """Intervals of all roles but the last."""
    kernels = trace.rows(Kind.KERNEL)
    host = trace.rows(Kind.OPERATOR, Kind.ANNOTATION)
    collective = trace.named(_COLLECTIVE.match)
    loading = trace.named(LOADER.match)[host]
    steps = trace.named(lambda name: name.startswith("ProfilerStep#"))[host]
    # By its own name, or by that of the operator that launched it.
    launcher = trace.operators_with(trace.external[kernels])
    talking = trace.named(_COLLECTIVE_KERNEL.search)[kernels] | ((launcher >= 0) & collective[launcher])
    rows = [
        kernels[~talking],
        trace.rows(Kind.MEMCPY),
        trace.rows(Kind.MEMSET),
        np.concatenate([kernels[talking], host[collective[host]]]),
        trace.rows(Kind.RUNTIME),
        host[loading],
        host[~loading & ~collective[host] & ~steps],
    ]
    return [trace.spans(each) for each in rows]


def _devices(trace: Trace, steps: Steps) -> tuple[DeviceFigures, ...]:
    kernels, window = trace.rows(Kind.KERNEL), steps.window
    length = window[1] - window[0]
    found = []
    for index in np.unique(trace.device[kernels]).tolist():
        rows = kernels[trace.device[kernels] == index]
        starts, ends = (np.clip(each, *window) for each in trace.spans(rows))
        weight, blocks, percent = ends - starts, trace.blocks_per_sm[rows], trace.occupancy[rows]
        sized, told = (blocks > 0) & (weight > 0), (percent >= 0) & (weight > 0)
        efficiency = capped_integral((starts[sized], ends[sized]), blocks[sized], window)
        properties = trace.devices.get(index)
        found.append(
            DeviceFigures(
                index,
                properties.name if properties else None,
                total(merged((starts, ends))) / length if length > 0 else None,
                efficiency / length if sized.any() else None,
                float(np.average(percent[told], weights=weight[told])) / 100 if told.any() else None,
            )
        )
    return tuple(found)


def _peaks(trace: Trace) -> dict[str, int]:
    peaks = {}
    for number, device in enumerate(trace.memory.device):
        allocated = trace.memory.allocated[trace.memory.on == number]
        if np.isfinite(allocated).any():
            peaks[device] = int(np.nanmax(allocated))
    return peaks
