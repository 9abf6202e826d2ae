"""The five parts of a step, as the host went through them: load, copy, forward, backward, update.

A recording of ours marks them. In another trace they are told from the names of what ran: `Parts.derived` says so.
"""

import re
from dataclasses import dataclass

import numpy as np

from eurosat_core.profiling.columns import Ints, Kind
from eurosat_core.profiling.intervals import Spans, merged, shares, total
from eurosat_core.profiling.nesting import outermost
from eurosat_core.profiling.steps import Steps
from eurosat_core.profiling.trace import Trace

__all__ = ["PARTS", "Parts", "parts_of"]

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


def _spans(trace: Trace, rows: Ints) -> Spans:
    return merged((trace.start_ns[rows], trace.end_ns[rows]))


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
        return {each: _spans(trace, host) for each in _ORDER}
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
        times[part] = total(_spans(trace, device[within])) / 1000 / len(steps)
    times["other"] = total(_spans(trace, device[left])) / 1000 / len(steps)
    return {part: times[part] for part in PARTS}
