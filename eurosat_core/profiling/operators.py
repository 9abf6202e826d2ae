"""The table of operators of a trace, row by row what torch's own `key_averages()` gives for the same recording."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from eurosat_core.profiling.columns import Ints, Kind
from eurosat_core.profiling.trace import HIDDEN, HOST_KINDS, Mask, Trace, count_around, nearest, own_times


@dataclass(frozen=True)
class OperatorRow:
    """All calls of one operator. Total: with everything it calls; self: without.

    Memory is what was taken less what was given back meanwhile; None where the trace holds no memory events.
    """

    name: str
    kind: str
    """`operator`, `annotation`, `runtime` (a call of the GPU's library), `overhead` (the profiler's) or `memory`."""
    calls: int
    cpu_total_us: float
    cpu_self_us: float
    device_total_us: float
    device_self_us: float
    cpu_memory_bytes: int | None = None
    cpu_self_memory_bytes: int | None = None
    device_memory_bytes: int | None = None
    device_self_memory_bytes: int | None = None


def operator_table(trace: Trace) -> list[OperatorRow]:
    """Rows ordered by their own time on the device, where there is any, then by that on the CPU."""
    rows = trace.rows(*HOST_KINDS)
    rows = rows[~trace.named(HIDDEN.__contains__)[rows]]
    parent, removed = _without_repeats(trace, rows)
    device_self = _device_self(trace, parent, removed)
    rows = rows[~removed[rows]]
    inside = rows[parent[rows] >= 0]
    columns = {
        "cpu_total_us": trace.duration_ns,
        "cpu_self_us": own_times(trace.start_ns, trace.end_ns, parent, inside),
        "device_total_us": _with_children(device_self, parent, rows),
        "device_self_us": device_self,
    }
    for place, taken in _memory(trace, rows).items():
        own = taken.copy()
        np.subtract.at(own, parent[inside], taken[inside])
        columns |= {f"{place}_memory_bytes": taken, f"{place}_self_memory_bytes": own}
    table = _grouped(trace, rows, columns) + _outside(trace, rows)
    return sorted(table, key=lambda each: (-each.device_self_us, -each.cpu_self_us, each.name))


def _outside(trace: Trace, rows: Ints) -> list[OperatorRow]:
    """Memory taken or given back while no event of the host ran: a row of its own, as torch writes it."""
    memory = trace.memory
    starts, reach = trace.start_ns[rows], np.maximum.accumulate(trace.end_ns[rows])
    place = np.searchsorted(starts, memory.time_ns, side="right") - 1
    outside = place < 0
    if len(rows):
        outside |= memory.time_ns > reach[place]
    if not outside.any():
        return []
    on_cpu, on_devices = (int(memory.bytes[outside & chosen].sum()) for chosen in _by_place(trace).values())
    calls = int(outside.sum())
    return [OperatorRow("[memory]", "memory", calls, 0.0, 0.0, 0.0, 0.0, on_cpu, on_cpu, on_devices, on_devices)]


def _by_place(trace: Trace) -> dict[str, Mask]:
    """Which memory events are of the CPU, and which of devices."""
    on_cpu: Mask = np.array([device == "cpu" for device in trace.memory.device], np.bool_)[trace.memory.on]
    return {"cpu": on_cpu, "device": ~on_cpu}


def _without_repeats(trace: Trace, rows: Ints) -> tuple[Ints, Mask]:
    """Parents, and which rows are left out, as torch does: an only child with its parent's name stands for nothing."""
    parent = trace.parent
    names = _names(trace)[trace.name]
    inside = rows[parent[rows] >= 0]
    children = np.bincount(parent[inside], minlength=len(trace))
    removed = np.zeros(len(trace), np.bool_)
    removed[inside] = (names[inside] == names[parent[inside]]) & (children[parent[inside]] == 1)
    return nearest(parent, ~removed), removed


def _names(trace: Trace) -> Ints:
    """For each name a number; all steps count as one operator, `ProfilerStep*`."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(_shown(name), len(numbers)) for name in trace.names], np.int64)


def _shown(name: str) -> str:
    return "ProfilerStep*" if name.startswith("ProfilerStep#") else name


def _device_self(trace: Trace, parent: Ints, removed: Mask) -> Ints:
    """Time of the device events that each operator itself launched; of a repeated one, what the innermost launched."""
    own = np.zeros(len(trace), np.int64)
    made = trace.maker >= 0
    np.add.at(own, trace.maker[made], trace.duration_ns[trace.device_rows[made]])
    gone = np.flatnonzero(removed)
    if len(gone):
        depth = count_around(trace.parent, removed)[gone]
        gone = gone[np.argsort(depth, kind="stable")]  # the innermost is the last to be assigned
        own[parent[gone]] = own[gone]
    return own


def _with_children(own: Ints, parent: Ints, rows: Ints) -> Ints:
    """Each row's value and that of everything in it: from the innermost level outwards."""
    total = own.copy()
    if not own.any():
        return total
    depth = count_around(parent, np.ones(len(parent), np.bool_))[rows]
    order = np.argsort(depth, kind="stable")
    bounds = np.searchsorted(depth[order], np.arange(1, int(depth.max(initial=0)) + 2))
    for low, high in reversed(list(pairwise(bounds.tolist()))):
        inside = rows[order[low:high]]
        np.add.at(total, parent[inside], total[inside])
    return total


def _memory(trace: Trace, rows: Ints) -> dict[str, Ints]:
    """Bytes on the CPU and on devices that were taken, less those given back, while each row ran; on any thread."""
    memory = trace.memory
    first = np.searchsorted(memory.time_ns, trace.start_ns[rows], side="left")
    last = np.searchsorted(memory.time_ns, trace.end_ns[rows], side="right")
    found = {}
    for place, chosen in _by_place(trace).items() if len(memory.time_ns) else ():
        sums = np.concatenate([[0], np.cumsum(np.where(chosen, memory.bytes, 0))])
        found[place] = np.zeros(len(trace), np.int64)
        found[place][rows] = sums[last] - sums[first]
    return found


def _grouped(trace: Trace, rows: Ints, columns: dict[str, Ints]) -> list[OperatorRow]:
    rows = rows[trace.kind[rows] != Kind.PYTHON]
    keys = _names(trace)[trace.name[rows]] * len(Kind) + trace.kind[rows]
    _, first, group, calls = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    sums: dict[str, list[Any]] = {}
    for name, values in columns.items():
        summed = np.zeros(len(first), np.int64)
        np.add.at(summed, group, values[rows])
        sums[name] = (summed / 1000 if name.endswith("_us") else summed).tolist()
    return [
        OperatorRow(
            _shown(trace.names[trace.name[row]]),
            Kind(int(trace.kind[row])).name.lower(),
            int(calls[number]),
            **{name: values[number] for name, values in sums.items()},
        )
        for number, row in enumerate(rows[first])
    ]
