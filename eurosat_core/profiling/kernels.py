"""The table of GPU kernels of a trace: which programs ran on the GPU, how often and for how long."""

from dataclasses import dataclass

import numpy as np

from eurosat_core.profiling.columns import Floats, Ints, Kind
from eurosat_core.profiling.facts import uses_tensor_cores
from eurosat_core.profiling.kernel_names import short_name
from eurosat_core.profiling.trace import Trace

__all__ = ["KernelRow", "kernel_table"]


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
