"""Operators on the roof line of their device: how near each comes to what arithmetic and memory allow.

The roofline model (Williams, Waterman and Patterson, 2009): work of so many FLOPs on so many bytes takes at least
FLOPs ÷ peak, and at least bytes ÷ bandwidth. The longer one is its bound, and bound ÷ measured time the share of the
roof that was reached. What an operator has to do is counted from its shapes (`operator_work`); its time is that of all
kernels that it launched itself.

A share above 1 is no mistake of the clock: the library needed fewer FLOPs (Winograd, FFT), or the data lay in a cache.

On the CPU an operator's time is its own, without the operators in it.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from eurosat_core.profiling.cards import Roofs, published_roofs
from eurosat_core.profiling.columns import Ints, Kind
from eurosat_core.profiling.operator_work import Call, Work, parsed, work_of
from eurosat_core.profiling.overview import uses_tensor_cores
from eurosat_core.profiling.trace import DeviceProperties, Mask, Trace, last_with, nearest

CPU = -1
"""The index of a trace's CPU among devices."""


@dataclass(frozen=True)
class RoofRow:
    """All calls of one operator on the same shapes. flops, bytes: of all of them.

    precision: whose roof it has. matrix: it multiplies matrices, which tensor cores can do.
    """

    operator: str
    shapes: str
    precision: str
    matrix: bool
    calls: int
    kernels: int
    time_us: float
    flops: float
    bytes: float

    @property
    def flops_per_second(self) -> float:
        """What was reached."""
        return self.flops / self.time_us * 1e6

    @property
    def bytes_per_second(self) -> float:
        """What was reached, at least."""
        return self.bytes / self.time_us * 1e6

    @property
    def intensity(self) -> float:
        """FLOPs per byte, at most."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class Bound:
    """The nearer one of the two roofs over a row, and how much of it the row reached (1: all)."""

    limit: Literal["memory", "compute"]
    share: float


@dataclass(frozen=True)
class Roofline:
    """One device. rows: the one that took longest first. time_us: of all its kernels (on the CPU: of all operators).

    recorded: shapes stand in the trace. unplaced_us: time of operators whose shapes do not tell their work, by name
    (empty: of kernels that no operator is known to have launched).
    """

    index: int
    name: str | None
    roofs: Roofs | None
    recorded: bool
    time_us: float
    rows: tuple[RoofRow, ...]
    unplaced_us: dict[str, float]

    def bound(self, row: RoofRow) -> Bound | None:
        """What limits a row; None without roofs, or without one for its precision."""
        peak = self.roofs.flops.get(row.precision) if self.roofs else None
        if self.roofs is None or peak is None:
            return None
        computing, moving = row.flops / peak * 1e6, row.bytes / self.roofs.bytes_per_second * 1e6
        return Bound("compute" if computing > moving else "memory", max(computing, moving) / row.time_us)

    @property
    def placed_us(self) -> float:
        """Time of what has a share of a roof."""
        return sum(each.time_us for each in self.rows if self.bound(each))

    @property
    def share(self) -> float | None:
        """How long all that has a roof had to take by how long it took; what went beyond its roof counts as 1."""
        bounds = [(each.time_us, bound) for each in self.rows if (bound := self.bound(each))]
        return sum(time * min(bound.share, 1.0) for time, bound in bounds) / self.placed_us if bounds else None

    def told(self) -> dict[str, Any]:
        """As plain JSON values, each row with its rates, limit and share."""
        return {
            **asdict(self),
            "share": self.share,
            "rows": [
                {
                    **asdict(each),
                    "flops_per_second": each.flops_per_second,
                    "bytes_per_second": each.bytes_per_second,
                    "limit": bound.limit if (bound := self.bound(each)) else None,
                    "share": bound.share if bound else None,
                }
                for each in self.rows
            ],
        }


def rooflines(trace: Trace) -> tuple[Roofline, ...]:
    """For every device on which kernels ran, with its card's roofs where they are known; without any, for the CPU."""
    rows = trace.rows(Kind.KERNEL)
    if not len(rows):
        return _of_cpu(trace)
    made_by = trace.maker[np.searchsorted(trace.device_rows, rows)]
    fast = trace.named(uses_tensor_cores)[rows]
    found, counted = [], _Counted(trace)
    for index in np.unique(trace.device[rows]).tolist():
        here = trace.device[rows] == index
        device = trace.devices.get(index, DeviceProperties(None, None, None))
        spent = _spent(counted, made_by[here], trace.duration_ns[rows[here]], fast[here])
        found.append(Roofline(index, device.name, published_roofs(device), counted.recorded, *spent))
    return tuple(found)


def _of_cpu(trace: Trace) -> tuple[Roofline, ...]:
    rows = trace.rows(Kind.OPERATOR)
    if not len(rows):
        return ()
    counted = _Counted(trace)
    spent = _spent(counted, rows, trace.self_ns[rows], np.zeros(len(rows), np.bool_))
    return (Roofline(CPU, None, None, counted.recorded, *spent),)


class _Counted:
    """What the operators of a trace have to do, worked out once for each different call."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        operators = trace.rows(Kind.OPERATOR)
        self.recorded = bool((trace.shape[operators] >= 0).any())
        self._above = nearest(trace.parent, trace.kind == Kind.OPERATOR)
        self._around = trace.named(lambda name: name.endswith("convolution_backward"))
        self._output = _gradients(trace)
        self._known: dict[tuple[str, int, int, int], tuple[str, Work] | None] = {}

    def work(self, row: int) -> tuple[str, Work] | None:
        """The shapes, as they are shown, and the work of this row; None where it cannot be told."""
        number, above = int(self.trace.shape[row]), int(self._above[row])
        if number < 0:
            return None
        around = int(self.trace.shape[above]) if above >= 0 and self._around[above] else -1
        key = (self.trace.names[self.trace.name[row]], number, around, int(self._output[row]))
        if key not in self._known:
            self._known[key] = self._worked_out(*key)
        return self._known[key]

    def _worked_out(self, name: str, *numbers: int) -> tuple[str, Work] | None:
        call, around, back = (parsed(self.trace.shapes[each]) if each >= 0 else None for each in numbers)
        given = back.tensors[0] if back and back.tensors else None
        work = work_of(name, call or Call(), around, given.dims if given else None)
        return None if work is None else (_shown(around or call or Call()), work)


_Spent = tuple[float, tuple[RoofRow, ...], dict[str, float]]


def _spent(counted: _Counted, makers: Ints, times: Ints, fast: Mask) -> _Spent:
    """Time in all, by operator and shapes, and of what cannot be placed; in µs, the longest first.

    makers: for each kernel the row of the operator that launched it (-1: unknown). times: in ns. fast: on tensor cores.
    """
    trace = counted.trace
    rows, place = np.unique(makers, return_inverse=True)
    kernels = np.bincount(place, minlength=len(rows))
    spent, cores = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
    np.add.at(spent, place, times)
    np.logical_or.at(cores, place, fast)
    found: dict[tuple[str, str, Work, str], list[int]] = {}
    unplaced: dict[str, int] = {}
    for row, number, time, tensor in zip(*(each.tolist() for each in (rows, kernels, spent, cores)), strict=True):
        if not time:
            continue
        name = trace.names[trace.name[row]] if row >= 0 else ""
        told = counted.work(row) if row >= 0 else None
        if told is None:
            unplaced[name] = unplaced.get(name, 0) + time
            continue
        shapes, work = told
        precision = "tf32" if work.matrix and work.precision == "float32" and tensor else work.precision
        sums = found.setdefault((name, shapes, work, precision), [0, 0, 0])
        for at, each in enumerate((1, number, time)):
            sums[at] += each
    table = [
        RoofRow(
            name,
            shapes,
            precision,
            work.matrix,
            calls,
            number,
            time / 1000,
            float(work.flops * calls),
            work.bytes * calls,
        )
        for (name, shapes, work, precision), (calls, number, time) in found.items()
    ]
    return (
        int(times.sum()) / 1000,
        tuple(sorted(table, key=lambda each: (-each.time_us, each.operator, each.shapes))),
        {name: time / 1000 for name, time in sorted(unplaced.items(), key=lambda each: (-each[1], each[0]))},
    )


def _shown(call: Call) -> str:
    """The tensors that are more than a number, such as `32×3×224×224, 64×3×7×7`."""
    return ", ".join("×".join(map(str, each.dims)) for each in call.tensors[:3] if each and each.dims)


def _gradients(trace: Trace) -> Ints:
    """For each row the shapes that the gradient of its output came back with; -1 where none did.

    The function that computes gradients (`…Backward…`) bears the sequence number of the operator that it belongs to, or
    of one around that, and is called with the gradient alone first.
    """
    operators = trace.rows(Kind.OPERATOR)
    numbered = operators[(trace.sequence[operators] >= 0) & (trace.shape[operators] >= 0)]
    is_back = trace.named(lambda name: "Backward" in name and ":" not in name)[numbered]
    forward, backward = numbered[~is_back], numbered[is_back]
    given = last_with(trace.sequence[forward], trace.sequence[backward], backward)
    given[(given >= 0) & (trace.start_ns[given] < trace.end_ns[forward])] = -1
    found = np.full(len(trace), -1, np.int64)
    found[forward] = np.where(given >= 0, trace.shape[given], -1)
    around = nearest(trace.parent, found >= 0)
    inherited = (found < 0) & (around >= 0)
    found[inherited] = found[around[inherited]]
    return found
