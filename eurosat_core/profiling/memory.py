"""Memory over time: how much tensors took on each device while the trace was recorded."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eurosat_core.profiling.columns import Floats, Ints
from eurosat_core.profiling.trace import Trace


@dataclass(frozen=True, eq=False)
class MemoryCurve:
    """Memory of one device after each event that changed it. Times in µs after the trace's first event.

    A value holds until the next one. Of a longer curve the highest and lowest value of each short while are kept.
    """

    device: str
    time_us: Floats
    allocated_bytes: Floats
    """In use by tensors."""
    reserved_bytes: Floats | None
    """Held ready by PyTorch; None where the trace does not say, as on the CPU."""
    peak_us: float
    peak_bytes: int
    relative: bool
    """The trace names no totals: the values count from what was in use when recording began."""
    events: int
    """How many there are in the trace."""


def memory_curve(trace: Trace, most: int = 400) -> list[MemoryCurve]:
    """A curve of at most `most` points for each device, the CPU last; none for a trace without memory events."""
    curves = []
    for number, device in enumerate(trace.memory.device):
        rows = np.flatnonzero(trace.memory.on == number)
        if not len(rows):  # none of its events could be used
            continue
        allocated = trace.memory.allocated[rows]
        told = np.isfinite(allocated)
        relative = not told.any()
        if relative:
            allocated = np.cumsum(trace.memory.bytes[rows]).astype(np.float64)
        else:
            rows, allocated = rows[told], allocated[told]
        times = trace.memory.time_ns[rows]
        reserved = trace.memory.reserved[rows]
        kept = _extremes(times, allocated, most)
        top = int(allocated.argmax())
        curves.append(
            MemoryCurve(
                device,
                times[kept] / 1000,
                allocated[kept],
                # The CPU's allocator reserves nothing and writes 0.
                reserved[kept] if np.isfinite(reserved).all() and reserved.any() else None,
                float(times[top]) / 1000,
                int(allocated[top]),
                relative,
                len(rows),
            )
        )
    return sorted(curves, key=lambda each: (each.device == "cpu", each.device))


def _extremes(times: Ints, values: Floats, most: int) -> Ints:
    """Places of at most `most` values: first, last, and the lowest and highest of each of equally long whiles."""
    if len(values) <= most:
        return np.arange(len(values))
    whiles = max((most - 2) // 2, 1)
    edges = np.linspace(times[0], times[-1], whiles + 1)[1:-1]
    bounds = [0, *np.searchsorted(times, edges).tolist(), len(times)]
    kept = {0, len(values) - 1}
    for low, high in pairwise(bounds):
        if high > low:
            part = values[low:high]
            kept |= {low + int(part.argmin()), low + int(part.argmax())}
    return np.array(sorted(kept))
