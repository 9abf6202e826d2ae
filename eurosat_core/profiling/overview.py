"""Where a step's time went, and how busy the GPU was: the figures of one trace.

The definitions are those of PyTorch's former TensorBoard plug-in, for the events that profilers write today.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from eurosat_core.profiling.columns import Ints, Kind
from eurosat_core.profiling.facts import Facts, facts_of
from eurosat_core.profiling.intervals import Spans, capped_integral, merged, shares, total
from eurosat_core.profiling.parts import PARTS, Parts, parts_of
from eurosat_core.profiling.steps import Steps, find_steps
from eurosat_core.profiling.trace import Trace
from eurosat_core.wording import count

__all__ = ["PARTS", "ROLES", "DeviceFigures", "Overview", "StepTimes", "overview_of"]

# Each moment of a step belongs to the first of these that covers it.
ROLES = ("Kernel", "Memcpy", "Memset", "Communication", "Runtime", "DataLoader", "CPU exec", "Other")

_LOADER = re.compile(r"enumerate\(DataLoader\)#.*\.__next__$|enumerate\(DataPipe\)#")
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


def overview_of(trace: Trace) -> Overview:
    """Compute all figures of a trace."""
    steps = find_steps(trace)
    windows = (steps.start_ns, steps.end_ns)
    layers = _layers(trace)
    times = shares(layers, windows) / 1000
    table = np.column_stack([times, (steps.end_ns - steps.start_ns) / 1000])
    names = (*ROLES, "Total")
    unseen = _unseen_note(trace)
    means = table.mean(axis=0)
    return Overview(
        steps=tuple(
            StepTimes(number, start / 1000, dict(zip(names, row, strict=True)))
            for number, start, row in zip(steps.names, steps.start_ns.tolist(), table.tolist(), strict=True)
        ),
        mean_step_us=dict(zip(names, means.tolist(), strict=True)),
        devices=_devices(trace, steps),
        peak_memory_bytes=_peaks(trace),
        parts=parts_of(trace, steps),
        facts=facts_of(trace, steps),
        unseen_device=trace.device_events_missing or bool(unseen),
        notes=(*trace.notes, *steps.notes, *unseen, *_rank_note(trace)),
    )


def _unseen_note(trace: Trace) -> tuple[str, ...]:
    """That a device had work and the trace holds none of it: by calls, its memory, or its library's names."""
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
    loading = trace.named(_LOADER.match)[host]
    steps = trace.named(lambda name: name.startswith("ProfilerStep#"))[host]
    # By its own name, or by that of the operator that launched it.
    launcher = trace.operators_with(np.where(trace.external[kernels] > 0, trace.external[kernels], -1))
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
    return [_spans(trace, each) for each in rows]


def _spans(trace: Trace, rows: Ints) -> Spans:
    return trace.start_ns[rows], trace.end_ns[rows]


def _devices(trace: Trace, steps: Steps) -> tuple[DeviceFigures, ...]:
    kernels = trace.rows(Kind.KERNEL)
    found = []
    for index in np.unique(trace.device[kernels]).tolist():
        rows = kernels[trace.device[kernels] == index]
        properties = trace.devices.get(index)
        found.append(
            DeviceFigures(index, properties.name if properties else None, *_busyness(trace, rows, steps.window))
        )
    return tuple(found)


def _busyness(trace: Trace, rows: Ints, window: tuple[int, int]) -> tuple[float | None, float | None, float | None]:
    """Utilization, SM efficiency and achieved occupancy of the kernels in `rows`."""
    length = window[1] - window[0]
    if length <= 0:
        return None, None, None
    starts, ends = _spans(trace, rows)
    union = merged((np.clip(starts, *window), np.clip(ends, *window)))
    weight = np.clip(ends, *window) - np.clip(starts, *window)
    blocks = trace.blocks_per_sm[rows]
    told = (blocks > 0) & (weight > 0)
    efficiency = None
    if told.any():
        efficiency = capped_integral((starts[told], ends[told]), blocks[told], window) / length
    percent = trace.occupancy[rows]
    told = (percent >= 0) & (weight > 0)
    occupancy = float(np.average(percent[told], weights=weight[told])) / 100 if told.any() else None
    return total(union) / length, efficiency, occupancy


def _peaks(trace: Trace) -> dict[str, int]:
    peaks = {}
    for number, device in enumerate(trace.memory.device):
        allocated = trace.memory.allocated[trace.memory.on == number]
        if np.isfinite(allocated).any():
            peaks[device] = int(np.nanmax(allocated))
    return peaks
