"""Whose memory it was over time: parameters, gradients, optimizer state, activations, other.

For recordings of ours that noted where the first three lie (`HELD`): a list with an entry for each recorded update, as
it began, and a last one at the end; each has (device, address, bytes) by owner. A piece of memory that the trace saw
taken belongs to

- gradients, when it was in use as an update began and lay where a gradient lay;
- parameters or optimizer, when it is in use at the end and lies where they lie;
- activations, when it was taken in a forward pass and given back after it: kept for the gradients;
- other, else: the batch, and what an operator needs for a moment.

What was in use already when recording began is not in the trace: of parameters and optimizer it was noted, and of a
GPU, whose totals count it, the rest is other.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from eurosat_core.profiling.columns import Floats, Ints, Kind
from eurosat_core.profiling.overview import MARK
from eurosat_core.profiling.timeline import extremes
from eurosat_core.profiling.trace import Trace

OWNERS = ("parameters", "optimizer", "gradients", "activations", "other")
"""In the order in which they are stacked."""


@dataclass(frozen=True, eq=False)
class MemoryParts:
    """One device. used: bytes by owner [points, 5] from each time on; at_peak: those when all together were most."""

    device: str
    time_us: Floats
    used: Ints
    peak_us: float
    at_peak: dict[str, int]


def memory_parts(trace: Trace, most: int = 240) -> tuple[MemoryParts, ...]:
    """For every device whose memory was recorded; none where the trace has no notes of owners."""
    notes = _notes(trace.held)
    if not notes:
        return ()
    found = []
    for number, device in enumerate(trace.memory.device):
        rows = np.flatnonzero((trace.memory.on == number) & (trace.memory.address >= 0))
        held = [{name: dict(lying.get(device, ())) for name, lying in note.items()} for note in notes]
        if len(rows) and held[-1]["parameters"]:
            found.append(_of_device(trace, device, rows, held, most))
    return tuple(found)


def _notes(held: Any) -> list[dict[str, dict[str, dict[int, int]]]]:
    """For each note, by owner and device: bytes by address; empty for what no recording of ours wrote."""
    try:
        notes = []
        for note in held or ():
            lying: dict[str, dict[str, dict[int, int]]] = {}
            for name in ("parameters", "optimizer", "gradients"):
                for device, address, size in note[name]:
                    lying.setdefault(name, {}).setdefault(str(device), {})[int(address)] = int(size)
            notes.append({name: lying.get(name, {}) for name in ("parameters", "optimizer", "gradients")})
        return notes
    except (TypeError, ValueError, KeyError):
        return []


def _of_device(trace: Trace, device: str, rows: Ints, held: list[dict[str, dict[int, int]]], most: int) -> MemoryParts:
    times, sizes = trace.memory.time_ns[rows], trace.memory.bytes[rows]
    addresses = trace.memory.address[rows].tolist()
    updates, forwards = _marks(trace, "update")[0], _marks(trace, "forward")
    gradients = list(zip(updates.tolist(), (note["gradients"] for note in held[:-1]), strict=False))
    taken: dict[int, int] = {}
    change = np.zeros((len(rows), len(OWNERS)), np.int64)
    seen = dict.fromkeys(OWNERS, 0)  # bytes of parameters and optimizer that the trace saw taken
    pieces: list[tuple[int, int | None]] = []
    for at, (address, size) in enumerate(zip(addresses, sizes.tolist(), strict=True)):
        if size > 0:
            taken[address] = at
        elif address in taken:
            pieces.append((taken.pop(address), at))
        else:  # taken before recording began
            change[at, OWNERS.index("other")] += size
    pieces += [(at, None) for at in taken.values()]
    for start, end in pieces:
        begun, ended = int(times[start]), int(times[end]) if end is not None else None
        owner = _owner(addresses[start], begun, ended, gradients, held[-1], forwards)
        change[start, OWNERS.index(owner)] += sizes[start]
        if end is None:
            seen[owner] += int(sizes[start])
        else:
            change[end, OWNERS.index(owner)] += sizes[end]
    base = np.zeros(len(OWNERS), np.int64)
    for name in ("parameters", "optimizer"):
        base[OWNERS.index(name)] = max(sum(held[-1][name].values()) - seen[name], 0)
    total = trace.memory.allocated[rows[0]] - sizes[0]
    if device != "cpu" and np.isfinite(total):
        base[-1] = max(int(total) - int(base.sum()), 0)
    used = np.maximum(base + np.cumsum(change, axis=0), 0)
    whole = used.sum(axis=1)
    top = int(whole.argmax())
    kept = extremes(times, whole.astype(np.float64), most)
    return MemoryParts(
        device,
        times[kept] / 1000,
        used[kept],
        float(times[top]) / 1000,
        dict(zip(OWNERS, used[top].tolist(), strict=True)),
    )


def _marks(trace: Trace, part: str) -> tuple[Ints, Ints]:
    rows = trace.rows(Kind.ANNOTATION)
    return trace.spans(rows[trace.named(f"{MARK}{part}".__eq__)[rows]])


def _owner(
    address: int,
    begun: int,
    ended: int | None,
    gradients: list[tuple[int, dict[int, int]]],
    last: dict[str, dict[int, int]],
    forwards: tuple[Ints, Ints],
) -> str:
    if any(address in lying and begun <= at and (ended is None or ended > at) for at, lying in gradients):
        return "gradients"
    if ended is None:
        for name in ("parameters", "optimizer"):
            if address in last[name]:
                return name
    place = int(np.searchsorted(forwards[0], begun, side="right")) - 1
    if place >= 0 and begun < forwards[1][place] and (ended is None or ended > forwards[1][place]):
        return "activations"
    return "other"
