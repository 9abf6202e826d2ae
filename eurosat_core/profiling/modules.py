"""Time by `nn.Module`, for traces that mark their calls: recorded with `with_stack`, or here with the plan's details.

A module's own operators are those with no other module between. Gradients are computed outside of any module: such an
operator belongs to the module whose operator of the forward pass has the same sequence number, the last one of several.
Self is without the modules inside; total is with them.
"""

from dataclasses import dataclass

import numpy as np

from eurosat_core.profiling.columns import Ints, Kind
from eurosat_core.profiling.overview import Spans, merged, total
from eurosat_core.profiling.trace import Mask, Trace, count_around, nearest, own_times

MODULE = "nn.Module: "
"""How the name of a module's call begins."""


@dataclass(frozen=True)
class ModuleRow:
    """All calls of one module. Times in µs; backward_us of the host: computing its gradients, its inner modules' too.

    The device's times are of forward and backward. depth: how many modules it is called in.
    """

    name: str
    depth: int
    calls: int
    forward_us: float
    forward_self_us: float
    backward_us: float
    backward_self_us: float
    device_us: float
    device_self_us: float


def module_table(trace: Trace) -> list[ModuleRow]:
    """Rows in the order of their first calls, so that inner modules follow outer ones; none where none are marked."""
    is_module = trace.named(lambda name: name.startswith(MODULE)) & np.isin(trace.kind, (Kind.PYTHON, Kind.ANNOTATION))
    calls = np.flatnonzero(is_module)
    if not len(calls):
        return []
    inside = nearest(trace.parent, is_module)
    nested = calls[inside[calls] >= 0]
    forward = own_times(trace.start_ns, trace.end_ns, inside, nested)
    backward, owner = _backward(trace, is_module, inside)
    device = np.zeros(len(trace), np.int64)
    maker = trace.maker
    of = np.where(maker >= 0, owner[maker], -1)
    np.add.at(device, of[of >= 0], trace.duration_ns[trace.device_rows][of >= 0])
    depth = count_around(inside, is_module)
    backward_all, device_all = (_with_inner(each, inside, calls, depth) for each in (backward, device))
    names, first, group, number = np.unique(
        trace.name[calls], return_index=True, return_inverse=True, return_counts=True
    )
    columns = (trace.duration_ns, forward, backward_all, backward, device_all, device)
    sums = [(np.bincount(group, each[calls], len(names)) / 1000).tolist() for each in columns]
    return [
        ModuleRow(
            trace.names[names[at]].removeprefix(MODULE),
            int(depth[calls[first[at]]]),
            int(number[at]),
            *(each[at] for each in sums),
        )
        for at in np.argsort(first, kind="stable").tolist()
    ]


def _backward(trace: Trace, is_module: Mask, inside: Ints) -> tuple[Ints, Ints]:
    """Time on the host of the operators that compute each module call's gradients; and each row's module call, or -1.

    Several such operators at a time, on several threads, count once.
    """
    numbered = trace.sequence >= 0
    there = np.flatnonzero(numbered & (inside >= 0))
    away = np.flatnonzero(numbered & (inside < 0) & ~is_module)
    # Of the same number the last one: the rows are in order of time.
    order = there[np.argsort(trace.sequence[there], kind="stable")]
    owner = inside.copy()
    spent = np.zeros(len(trace), np.int64)
    if not len(order):
        return spent, owner
    place = np.searchsorted(trace.sequence[order], trace.sequence[away], side="right") - 1
    matched = (place >= 0) & (trace.sequence[order[place]] == trace.sequence[away])
    made_by = order[place[matched]]
    away = away[matched]
    later = trace.start_ns[away] >= trace.end_ns[made_by]
    away, made_by = away[later], made_by[later]
    found = np.full(len(trace), -1, np.int64)
    found[away] = inside[made_by]
    around = nearest(trace.parent, found >= 0)
    inherited = (owner < 0) & (found < 0) & (around >= 0)
    owner[inherited] = found[around[inherited]]
    owner[away] = found[away]
    outer = away[around[away] < 0]
    sequence = outer[np.lexsort((trace.start_ns[outer], owner[outer]))]
    bounds = np.flatnonzero(np.diff(owner[sequence], prepend=-2, append=-2))
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        spans: Spans = trace.spans(sequence[low:high])
        spent[owner[sequence[low]]] = total(merged(spans))
    return spent, owner


def _with_inner(own: Ints, inside: Ints, calls: Ints, depth: Ints) -> Ints:
    """Each call's value and those of all calls in it, from the innermost outwards."""
    whole = own.copy()
    for level in range(int(depth[calls].max()), 0, -1):
        rows = calls[depth[calls] == level]
        np.add.at(whole, inside[rows], whole[rows])
    return whole
