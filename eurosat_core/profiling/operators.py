"""The tables of a trace: its operators, its GPU kernels, and which operators merely call each other.

The table of operators is row by row what torch's own `key_averages()` gives for the same recording.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from eurosat_core.profiling.columns import Floats, Ints, Kind
from eurosat_core.profiling.overview import uses_tensor_cores
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


_LONGEST = 44
# Kernels that apply some function to many numbers: the function, somewhere in the arguments, says what is computed.
_GENERIC = {
    "elementwise": re.compile(r"elementwise_kernel"),
    "reduce": re.compile(r"reduce_\w*kernel"),
    "many tensors at once": re.compile(r"multi_tensor_apply_kernel"),
    "index": re.compile(r"index_\w*kernel"),
    "scan": re.compile(r"scan_\w*kernel"),
    "CUTLASS": re.compile(r"(?:Kernel2?|device_kernel)$"),
}
_INNER = re.compile(
    r"\w*Functor\w*|\w+_kernel_cuda\b|\w+_kernel_impl\w*|\w+KernelImpl\b|\w+Ops?\b|cutlass\w*_\w*(?:gemm|fprop|dgrad|wgrad)\w*"
)
# Wrappers that say nothing, and what can go from a name.
_EMPTY = re.compile(r"gpu_kernel_impl\w*|[AB]?B?UnaryFunctor|BinaryFunctor|ReduceOp|\w*MaskedFunctor|std_kernel_impl")
_AFFIX = re.compile(r"^CUDAFunctor_|(?:_kernel_cuda|_kernel_impl\w*|CUDAKernelImpl|KernelImpl)$")


def short_name(name: str) -> str:
    """`clamp_min (elementwise)`, `dgrad_engine`: without result type, namespaces, arguments and template's numbers.

    Names of libraries that are no C++ templates stay as they are; long ones lose their middle.
    """
    function = _function(name)
    for family, pattern in _GENERIC.items():
        if pattern.search(function):
            named = (each for each in _INNER.findall(name.replace(function, " ", 1)) if not _EMPTY.fullmatch(each))
            inner = next(named, "")
            if inner:
                return f"{_shortened(_AFFIX.sub('', inner))} ({family})"
            break
    return _shortened(function)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 15]}…{text[-14:]}"


def _function(name: str) -> str:
    """The function's own name: outside of all brackets, behind the last `::` and the result's type."""
    plain: list[str] = []
    depth = 0
    for letter in name.replace("(anonymous namespace)::", "").replace("<unnamed>::", ""):
        if letter in "<([{":
            if letter == "(" and not depth and plain:
                break
            depth += 1
        elif letter in ">)]}":
            depth = max(depth - 1, 0)
        elif not depth:
            plain.append(letter)
    words = "".join(plain).rsplit("::", 1)[-1].split()
    return words[-1] if words else name


@dataclass(frozen=True)
class KernelRow:
    """All launches of one kernel. blocks_per_sm and occupancy (a fraction) are means weighted by time, None unknown."""

    name: str
    short_name: str
    calls: int
    total_us: float
    mean_us: float
    min_us: float
    max_us: float
    blocks_per_sm: float | None
    occupancy: float | None
    tensor_cores: bool
    """Its name tells that it runs on tensor cores."""


def kernel_table(trace: Trace) -> list[KernelRow]:
    """Rows ordered by total time; empty for a trace without GPU work."""
    rows = trace.rows(Kind.KERNEL)
    if not len(rows):
        return []
    names, group, calls = np.unique(trace.name[rows], return_inverse=True, return_counts=True)
    times = trace.duration_ns[rows]
    order = np.argsort(group, kind="stable")
    first = np.concatenate([[0], np.cumsum(calls)[:-1]])
    shortest, longest = (each.reduceat(times[order], first) for each in (np.minimum, np.maximum))
    totals = np.bincount(group, times)
    blocks = _weighted(trace.blocks_per_sm[rows], times, group, len(names))
    occupancy = _weighted(trace.occupancy[rows], times, group, len(names))
    table = [
        KernelRow(
            trace.names[name],
            short_name(trace.names[name]),
            int(calls[number]),
            totals[number] / 1000,
            totals[number] / 1000 / int(calls[number]),
            shortest[number] / 1000,
            longest[number] / 1000,
            None if np.isnan(blocks[number]) else float(blocks[number]),
            None if np.isnan(occupancy[number]) else float(occupancy[number]) / 100,
            uses_tensor_cores(trace.names[name]),
        )
        for number, name in enumerate(names.tolist())
    ]
    return sorted(table, key=lambda each: (-each.total_us, each.name))


def _weighted(values: Floats, weights: Ints, group: Ints, groups: int) -> Floats:
    """Means by group of the values that are known, weighted; NaN for a group without any."""
    known = (values >= 0) & (weights > 0)
    sums = np.bincount(group[known], values[known] * weights[known], groups)
    weight = np.bincount(group[known], weights[known], groups)
    means = np.full(groups, np.nan)
    np.divide(sums, weight, out=means, where=weight > 0)
    return means


# What stands inside takes at least this share of what is around it, or the two rows tell different things.
_MOST = 0.5


@dataclass(frozen=True)
class CallChain:
    """Operators from the outermost to the innermost: every call of one holds exactly one call of the next."""

    names: tuple[str, ...]
    calls: int
    total_us: float
    """Of the outermost, with all that is in it."""


def call_chains(trace: Trace) -> tuple[CallChain, ...]:
    """All chains of two operators or more, the one that took longest first."""
    rows = trace.rows(Kind.OPERATOR)
    if not len(rows):
        return ()
    rows = rows[np.argsort(trace.name[rows], kind="stable")]
    parent = trace.parent[rows]
    in_operator = (parent >= 0) & (trace.kind[parent] == Kind.OPERATOR)
    around = np.where(in_operator, trace.name[parent], -1)
    names, first, calls = np.unique(trace.name[rows], return_index=True, return_counts=True)
    outer, other = np.minimum.reduceat(around, first), np.maximum.reduceat(around, first)
    totals = np.add.reduceat(trace.duration_ns[rows], first)
    # How many different calls the calls of each name stand in.
    places = np.unique(trace.name[rows] * (len(trace) + 1) + parent + 1)
    parents = np.bincount(np.searchsorted(names, places // (len(trace) + 1)), minlength=len(names))
    number = {name: at for at, name in enumerate(names.tolist())}
    following: dict[int, int] = {}
    for at, name in enumerate(names.tolist()):
        if outer[at] < 0 or outer[at] != other[at] or outer[at] == name:
            continue
        above = number[int(outer[at])]
        if calls[at] == calls[above] == parents[at] and totals[at] > _MOST * totals[above]:
            following[int(outer[at])] = name
    chains = []
    for start in following.keys() - set(following.values()):
        members = [start]
        while members[-1] in following:
            members.append(following[members[-1]])
        at = number[start]
        chains.append(CallChain(tuple(trace.names[each] for each in members), int(calls[at]), int(totals[at]) / 1000))
    return tuple(sorted(chains, key=lambda each: (-each.total_us, each.names)))
