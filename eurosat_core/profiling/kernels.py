"""The GPU kernels of a trace: their names, their table, and what started each of them."""

import re
from dataclasses import dataclass

import numpy as np

from eurosat_core.profiling.columns import Floats, Ints, Kind
from eurosat_core.profiling.overview import uses_tensor_cores
from eurosat_core.profiling.trace import Trace

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
