"""The steps of a trace: from when to when each one went, the device's share of its work included."""

import re
from dataclasses import dataclass

import numpy as np

from eurosat_core.profiling.columns import Ints, Kind
from eurosat_core.profiling.trace import Trace
from eurosat_core.wording import count

_STEP = re.compile(r"ProfilerStep#(\d{1,18})$", re.ASCII)
# A last step with fewer than this share of the device events of the one before was cut off by the recording's end.
WHOLE_STEP = 0.8


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps in order of time. Times in nanoseconds, as in the trace."""

    names: tuple[int, ...]
    """Numbers as the recording counted them, each once: from 0 on in order of time where it repeats itself.

    0 for the one step of a trace without any.
    """
    start_ns: Ints
    end_ns: Ints
    host_start_ns: Ints
    host_end_ns: Ints
    """When the host began each step and was done with it; the device may have been behind."""
    lane: int
    """The thread that marks the steps, or has the most to do; -1 without events of the CPU."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def window(self) -> tuple[int, int]:
        """From the first step's start to the last one's end."""
        return int(self.start_ns[0]), int(self.end_ns[-1])


def find_steps(trace: Trace) -> Steps:
    """The steps by the trace's own marks; without any, one step from the first to the last event of the CPU.

    A kernel runs later than it is launched: a step ends with the last device event that was launched in it, and the
    next one starts no earlier. Steps at the end whose device work was not recorded whole are left out.
    """
    marks = _marks(trace)
    if len(marks):
        names = tuple(int(trace.names[name].partition("#")[2]) for name in trace.name[marks])
        notes: tuple[str, ...] = ()
        if len(set(names)) < len(names):  # two schedules in one process, each of which counts from 0
            names = tuple(range(len(names)))
            notes = ("Several steps of the trace bear the same number: here they are numbered in order of time.",)
        starts, ends = trace.start_ns[marks], trace.end_ns[marks]
        return _with_device_work(trace, Steps(names, starts, ends, starts, ends, int(trace.lane[marks[0]]), notes))
    host, lane = trace.rows(Kind.OPERATOR, Kind.ANNOTATION), -1
    if len(host):
        rows, note = host, "The trace marks no steps: all of it is shown as one."
        lane = int(np.bincount(trace.lane[host], trace.duration_ns[host]).argmax())
    elif len(trace.device_rows):
        rows, note = trace.device_rows, "The trace holds no events of the CPU: all its GPU work is shown as one step."
    else:
        rows, note = np.arange(len(trace)), "The trace holds no operators: all of it is shown as one step."
    starts, ends = trace.start_ns[rows].min(keepdims=True), trace.end_ns[rows].max(keepdims=True)
    whole = Steps((0,), starts, ends, starts, ends, lane, (note,))
    return _with_device_work(trace, whole) if len(host) else whole


def _marks(trace: Trace) -> Ints:
    """Rows of the steps' annotations, apart from each other: of the thread that bears most of them."""
    rows = trace.rows(Kind.ANNOTATION, Kind.OPERATOR)
    rows = rows[trace.named(_STEP.match)[rows]]
    if not len(rows):
        return rows
    lanes, counts = np.unique(trace.lane[rows], return_counts=True)
    rows = rows[trace.lane[rows] == lanes[counts.argmax()]]
    reach = np.maximum.accumulate(trace.end_ns[rows])
    apart = np.concatenate([[True], trace.start_ns[rows[1:]] >= reach[:-1]])
    apart_rows: Ints = rows[apart]
    return apart_rows


def _with_device_work(trace: Trace, host: Steps) -> Steps:
    """The steps of the host, each extended to the end of the device's work for it."""
    device, launch = trace.device_rows, trace.launch
    step_of = np.full(len(device), -1, np.int64)
    launched = launch >= 0
    calls = launch[launched]
    place = np.searchsorted(host.start_ns, trace.start_ns[calls], side="right") - 1
    inside = (place >= 0) & (trace.end_ns[calls] <= host.end_ns[place])
    step_of[launched] = np.where(inside, place, -1)
    matched = step_of >= 0
    if not matched.any():
        return host
    device_starts, device_ends = trace.start_ns[device], trace.end_ns[device]
    starts, ends = host.start_ns.copy(), host.end_ns.copy()
    np.maximum.at(ends, step_of[matched], device_ends[matched])
    # Not before the work of earlier, unrecorded steps has left the device.
    own = device_starts[step_of == 0]
    earlier = device_ends[~matched & (device_ends < own.min())] if len(own) else own
    reach = int(earlier.max(initial=starts[0]))
    for step in range(len(starts)):
        starts[step] = max(reach, starts[step])
        ends[step] = reach = max(ends[step], starts[step])
    kept = _whole(np.bincount(step_of[matched], minlength=len(starts)))
    notes, left_out = host.notes, len(host) - kept
    if left_out:
        steps = "step was" if left_out == 1 else f"{count(left_out, 'step')} were"
        notes = (*notes, f"The last {steps} left out: the recording ended before its GPU work.")
    return Steps(
        host.names[:kept],
        starts[:kept],
        ends[:kept],
        host.start_ns[:kept],
        host.end_ns[:kept],
        host.lane,
        notes,
    )


def _whole(device_events: Ints) -> int:
    """How many steps, from the first on, have device work that was recorded whole."""
    if len(device_events) == 1:
        return 1
    last = int(np.flatnonzero(device_events)[-1])
    cut_off = last > 0 and device_events[last] < WHOLE_STEP * device_events[last - 1]
    return last if cut_off else last + 1
