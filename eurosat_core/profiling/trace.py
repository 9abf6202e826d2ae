"""A profiler trace in memory: every event with a duration as a row of arrays, in order of time.

Reads what Kineto writes, of any year: PyTorch on NVIDIA, AMD and Intel GPUs, or on the CPU alone. Recorders write times
of 0, and clocks that differ: events that cannot have happened then are left out.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import SEEK_END
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from eurosat_core.errors import TraceError
from eurosat_core.profiling.columns import ANNOTATION_NAMES, Columns, Floats, Ints, Kind, Lane, Memory
from eurosat_core.profiling.document import Document
from eurosat_core.profiling.stream import TraceSource, opened, pieces
from eurosat_core.wording import count, listed

Mask = npt.NDArray[np.bool_]

# Microseconds. A device works on when the host is done, and its clock may be a little off: both are less than this.
_FAR = 1e6
_LONGEST = 3600e6
# Of device events alone those are strange that stand apart from the others and are so few of them.
_FEW = 0.1


def plausible_times(time: Floats, duration: Floats, on_device: Mask) -> tuple[Mask, float, float]:
    """Which events are kept, and from when to when (µs) whatever belongs to them can be.

    Left out are events at time 0 when all others are far from it, and device events far from all of the host's, but
    never everything. What a device does right behind its own earlier work is near, however long that took.

    time, duration: µs, usable numbers.
    """
    real = time > 0
    kept = duration <= max(_LONGEST, 10 * _span(time[real & ~on_device] if (real & ~on_device).any() else time[real]))
    if not kept.any():
        kept[:] = True
    host = kept & ~on_device
    reference = host if host.any() else kept.copy()
    later = time[reference & (time > 0)]
    if len(later) and later.min() > max(_span(later), _FAR):
        kept &= (time > 0) | (time + duration >= later.min())
        reference &= kept
    if not host.any():
        reference = _together(time, reference)
    low, high = float(time[reference].min()), float((time + duration)[reference].max())
    far = max(_span(time[reference]), _FAR)
    kept &= ~on_device | (time >= low - far)
    device = _in_order(time, kept & on_device)
    reach = np.maximum.accumulate(np.concatenate([[high], (time + duration)[device]]))[:-1]
    apart = np.flatnonzero(time[device] > reach + far)
    if len(apart):
        kept[device[apart[0] :]] = False
    last = float((time + duration)[kept].max())
    return kept, low - far, max(high, last) + far


def _span(time: Floats) -> float:
    return float(time.max() - time.min()) if len(time) else 0.0


def _in_order(time: Floats, chosen: Mask) -> Ints:
    """The rows of the chosen events, in order of time."""
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(time[rows], kind="stable")]


def _together(time: Floats, chosen: Mask) -> Mask:
    """Of the chosen events those that are not apart from nearly all of them."""
    rows = _in_order(time, chosen)
    groups = np.cumsum(np.concatenate([[0], np.diff(time[rows]) > 10 * _FAR]))
    sizes = np.bincount(groups)
    found = np.zeros(len(time), np.bool_)
    found[rows[(sizes >= _FEW * len(rows))[groups]]] = True
    return found if found.any() else chosen


HOST_KINDS = (Kind.OPERATOR, Kind.ANNOTATION, Kind.RUNTIME, Kind.PYTHON, Kind.OVERHEAD)
# Which torch's profiler leaves out of its tree.
HIDDEN = frozenset(
    {
        "profiler::_record_function_enter",
        "profiler::_record_function_enter_new",
        "profiler::_record_function_exit",
        "aten::is_leaf",
        "aten::output_nr",
        "aten::_version",
    }
)


def own_times(start_ns: Ints, end_ns: Ints, parent: Ints, inside: Ints) -> Ints:
    """Each row's duration without what its children cover, in ns and never below 0.

    parent: of every row. inside: the rows that are children. Those of one parent may overlap, as Python's functions and
    operators do, and end a rounding error after it.
    """
    own: Ints = end_ns - start_ns
    if not len(inside):
        return own
    around = parent[inside]
    order = np.lexsort((start_ns[inside], around))
    inside, around = inside[order], around[order]
    starts = np.maximum(start_ns[inside], start_ns[around])
    ends = np.clip(end_ns[inside], starts, np.maximum(end_ns[around], starts))
    # How far the earlier children of the same parent reach: by the place of each end among all ends, so that a parent's
    # number can stand before it.
    reached, place = np.unique(ends, return_inverse=True)
    group = np.cumsum(np.concatenate([[0], np.diff(around) != 0]))
    furthest = np.maximum.accumulate(group * len(reached) + place)
    before = starts.copy()
    same = np.flatnonzero(np.diff(group) == 0)
    before[same + 1] = np.maximum(starts[same + 1], reached[furthest[same] % len(reached)])
    np.subtract.at(own, around, np.maximum(ends - before, 0))
    return np.maximum(own, 0)


# What follows is found for all rows at once by jumping twice as far each time: even a trace of nothing but calls within
# calls takes few rounds.


def nearest(parent: Ints, wanted: Mask) -> Ints:
    """For each row the nearest row around it that is wanted; -1 for none."""
    nobody = len(parent)
    above = np.append(np.where(parent < 0, nobody, parent), nobody)
    hop = np.where(np.append(wanted, True), np.arange(nobody + 1), above)
    found = _to_the_end(hop)[above[:-1]]
    return np.where(found == nobody, -1, found)


def outermost(parent: Ints, wanted: Mask) -> Ints:
    """For each row the outermost row around it that is wanted; the row itself where there is none."""
    above = nearest(parent, wanted)
    return _to_the_end(np.where(above < 0, np.arange(len(parent)), above))


def count_around(parent: Ints, counted: Mask) -> Ints:
    """How many of the rows around each row are counted."""
    nobody = len(parent)
    hop = np.append(np.where(parent < 0, nobody, parent), nobody)
    number = np.append(counted, False).astype(np.int64)[hop]
    while (hop != nobody).any():
        number, hop = number + number[hop], hop[hop]
    around: Ints = number[:-1]
    return around


def _to_the_end(hop: Ints) -> Ints:
    while True:
        further = hop[hop]
        if (further == hop).all():
            return hop
        hop = further


HELD = "eurosat_memory"
"""Under this key a recording of ours notes in its trace where parameters, gradients and optimizer state lie."""
DEVICE_WORK = (Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET)
# With so large a share of the device's events left out, its figures say little.
_FEW_LOST = 0.1


@dataclass(frozen=True)
class DeviceProperties:
    """What a trace says of one GPU; None where it says nothing."""

    name: str | None
    memory_bytes: int | None
    compute_capability: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Trace:
    """All events with a duration, ordered by start, the longer one first. Times in ns after the first one's start.

    Rows of all arrays belong together. name and lane are indices into `names` and `lanes`; external and correlation
    are the ids that tie a device event to the host (0 and -1: none); sequence is the number that an operator of the
    forward pass shares with those that compute its gradients (-1: none); shape is an index into `shapes`, what an
    operator was called on (-1: not recorded); device is -1 on the host; blocks_per_sm and
    occupancy (in %) are NaN where the trace does not say.
    """

    kind: npt.NDArray[np.int8]
    name: Ints
    lane: Ints
    start_ns: Ints
    duration_ns: Ints
    external: Ints
    correlation: Ints
    sequence: Ints
    shape: Ints
    device: Ints
    blocks_per_sm: Floats
    occupancy: Floats
    copied_bytes: Floats
    names: list[str]
    shapes: list[bytes]
    lanes: list[Lane]
    memory: Memory
    devices: dict[int, DeviceProperties]
    rank: int | None
    """Which process of a distributed training wrote the trace."""
    world_size: int | None
    """How many processes that training had."""
    device_events_missing: bool
    """The trace holds work of a device that nobody can read: of an unknown kind, or at impossible times."""
    resolution_ns: int
    """How exactly the file's times can be read: large ones with decimals lose their last digits."""
    held: Any
    """What a recording of ours noted of memory's owners (see `HELD`); None elsewhere."""
    notes: tuple[str, ...]
    """What was repaired, left out or is missing, a sentence each."""

    def __len__(self) -> int:
        return len(self.kind)

    @cached_property
    def end_ns(self) -> Ints:
        """When each event ends."""
        return self.start_ns + self.duration_ns

    def spans(self, rows: Ints) -> tuple[Ints, Ints]:
        """Starts and ends of these rows."""
        return self.start_ns[rows], self.end_ns[rows]

    def rows(self, *kinds: Kind) -> Ints:
        """Rows of these kinds, in order of time."""
        return np.flatnonzero(np.isin(self.kind, kinds))

    def named(self, matches: Callable[[str], Any]) -> npt.NDArray[np.bool_]:
        """For each row, whether `matches` holds for its name."""
        return np.array([bool(matches(name)) for name in self.names], np.bool_)[self.name]

    @cached_property
    def device_rows(self) -> Ints:
        """Rows of all work on devices: kernels, copies, fills."""
        return self.rows(*DEVICE_WORK)

    @cached_property
    def launch(self) -> Ints:
        """For each of `device_rows` the row of the runtime call that launched it; -1 where none is recorded."""
        calls = self.rows(Kind.RUNTIME)
        calls = calls[self.correlation[calls] >= 0]
        return last_with(self.correlation[self.device_rows], self.correlation[calls], calls)

    @cached_property
    def parent(self) -> Ints:
        """For each row the row of the host event around it on the same thread; -1 for the outermost and on devices.

        An event lies in another one if it starts before that one's end and ends no later. Two that only overlap stand
        side by side, and the later one takes what follows.
        """
        rows = self.rows(*HOST_KINDS)
        rows = rows[~self.named(HIDDEN.__contains__)[rows]]
        # A runtime call may bear another thread's number than the operator that made it.
        makers = self.operators_with(self.external[rows])
        called = (self.kind[rows] == Kind.RUNTIME) & (makers >= 0)
        lanes = np.where(called, self.lane[makers], self.lane[rows])
        order = np.argsort(lanes, kind="stable")
        rows = rows[order]
        starts, ends = self.start_ns[rows].tolist(), self.end_ns[rows].tolist()
        around = [-1] * len(rows)
        stack: list[int] = []
        lane, slack = None, self.resolution_ns
        for each, (start, end, own) in enumerate(zip(starts, ends, lanes[order].tolist(), strict=True)):
            if own != lane:
                stack, lane = [], own
            while stack:
                above = ends[stack[-1]]
                if start >= above or end - slack > above:
                    stack.pop()
                else:
                    around[each] = stack[-1]
                    break
            stack.append(each)
        inside = np.array(around, np.int64)
        found = np.full(len(self), -1, np.int64)
        found[rows] = np.where(inside >= 0, rows[inside], -1)
        return found

    @cached_property
    def self_ns(self) -> Ints:
        """Each host event's own time, without the events in it."""
        return own_times(self.start_ns, self.end_ns, self.parent, np.flatnonzero(self.parent >= 0))

    @cached_property
    def maker(self) -> Ints:
        """For each of `device_rows` the row of the operator or annotation that launched it; -1 for none.

        By the External id of the device event or of its launch, else by what stands around the launch.
        """
        launch = self.launch
        called = launch >= 0
        by_own = self.operators_with(self.external[self.device_rows])
        by_launch = self.operators_with(np.where(called, self.external[launch], -1))
        found = np.where(by_own >= 0, by_own, by_launch)
        if (called & (found < 0)).any():
            around = nearest(self.parent, np.isin(self.kind, (Kind.OPERATOR, Kind.ANNOTATION)))
            found = np.where(called & (found < 0), around[launch], found)
        return found

    def operators_with(self, external: Ints) -> Ints:
        """Rows of the operators and annotations that bear these external ids; -1 for none."""
        rows = self.rows(Kind.OPERATOR, Kind.ANNOTATION)
        rows = rows[self.external[rows] > 0]
        return last_with(external, self.external[rows], rows)


Told = Callable[[float], None]
"""Called now and then with the share of a file that was read."""


def read_trace(source: TraceSource, told: Told | None = None) -> Trace:
    """Read a trace from a path, bytes or an open binary file. Raises `TraceError` with a sentence."""
    with _without_collector():
        columns, document = columns_of(source, told)
    return _trace(columns, document.properties, document.notes)


def columns_of(source: TraceSource, told: Told | None = None) -> tuple[Columns, Document]:
    """A trace's events in columns, and its document, read to the end. Raises `TraceError` with a sentence."""
    with opened(source) as file:
        size, step = file.seek(0, SEEK_END), 0
        document, columns = Document(pieces(file)), Columns()
        for events in document.events():
            columns.add(events)
            now = _STEPS * file.tell() // max(size, 1)
            if told is not None and now > step:
                step = now
                told(min(now / _STEPS, 1.0))
        return columns, document


_STEPS = 100  # in which progress is told


_reading = 0
_reading_lock = Lock()


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python's search for reference cycles costs a third of the time, and JSON has none. Off while anybody reads."""
    global _reading
    with _reading_lock:
        _reading += 1
        gc.disable()
    try:
        yield
    finally:
        with _reading_lock:
            _reading -= 1
            if not _reading:
                gc.enable()


def _trace(columns: Columns, properties: dict[str, Any], notes: list[str]) -> Trace:
    if not columns.seen:
        raise TraceError("The trace holds no events: nothing was recorded. Record at least one step.")
    kind, time, duration = (columns.column(name) for name in ("kind", "time", "duration"))
    if not len(kind):
        held = listed([f"{number:,} of kind {name}" for name, number in columns.unread.items()])
        unread = f" Its device events are not read: {held}." if held else ""
        raise TraceError(
            f"The file holds no operator and no GPU kernel, so there is nothing to show.{unread} Choose a trace that "
            "PyTorch's profiler wrote."
        )
    usable = columns.usable()
    if not usable.any():
        raise TraceError("No event of the trace has a usable time and duration: it is damaged. Record it again.")
    kept = np.flatnonzero(usable)
    on_device = kind[kept] >= Kind.KERNEL
    plausible, low, high = plausible_times(time[kept], duration[kept], on_device)
    lost = int((~plausible & on_device).sum())
    notes = [
        *notes,
        *_left_out(int((~usable).sum()), "without a usable time"),
        *_device_notes(columns),
        *_left_out(int((~plausible).sum()), "at time 0 or far from all others"),
        *_shape_notes(columns.shapes_left_out),
    ]
    kept = kept[plausible]
    origin = float(time[kept].min())
    start = np.rint((time[kept] - origin) * 1000).astype(np.int64)
    lasting = np.rint(duration[kept] * 1000).astype(np.int64)
    order = np.lexsort((-lasting, start))
    kept = kept[order]
    metrics = _spread(columns, kept)
    name = columns.column("name")[kept].astype(np.int64)
    noted = np.array([ANNOTATION_NAMES.match(each) is not None for each in columns.names])
    return Trace(
        # The schema of 2021 writes annotations as operators: told by their names.
        kind=np.where((kind[kept] == Kind.OPERATOR) & noted[name], np.int8(Kind.ANNOTATION), kind[kept]),
        name=name,
        lane=columns.column("lane")[kept].astype(np.int64),
        start_ns=start[order],
        duration_ns=lasting[order],
        external=columns.column("external")[kept],
        correlation=columns.column("correlation")[kept],
        sequence=columns.column("sequence")[kept],
        shape=columns.shape()[kept],
        device=metrics["device"].astype(np.int64),
        blocks_per_sm=metrics["blocks"],
        occupancy=metrics["occupancy"],
        copied_bytes=metrics["bytes"],
        names=columns.names,
        shapes=columns.shapes,
        lanes=columns.lanes,
        memory=columns.memory(origin, low, high),
        devices=_devices(properties.get("deviceProperties")),
        rank=_whole(properties.get("distributedInfo"), "rank"),
        world_size=_whole(properties.get("distributedInfo"), "world_size"),
        device_events_missing=bool(columns.unread) or lost > _FEW_LOST * int(on_device.sum()),
        # Twice the distance between neighbouring numbers at this size: a start and a duration were rounded.
        resolution_ns=int(2000 * np.spacing(float(np.abs(time[kept]).max()))),
        held=properties.get(HELD),
        notes=tuple(notes),
    )


def _spread(columns: Columns, kept: Ints) -> dict[str, Floats]:
    """Device events' columns on all rows: device -1 and NaN elsewhere."""
    on_device = columns.column("kind") >= Kind.KERNEL
    spread = {}
    for name in ("device", "blocks", "occupancy", "bytes"):
        values = np.full(len(on_device), -1.0 if name == "device" else np.nan)
        values[on_device] = columns.column(name)
        spread[name] = values[kept]
    device = spread["device"]
    device[~np.isfinite(device) | (np.abs(device) > 1000)] = 0
    return spread


def _left_out(number: int, which: str) -> list[str]:
    return [f"{count(number, 'event')} {which} {'was' if number == 1 else 'were'} left out."] if number else []


def _shape_notes(left_out: int) -> list[str]:
    return [f"The shapes of {count(left_out, 'operator call')} are too many to keep: they count as unknown."] * bool(
        left_out
    )


def _device_notes(columns: Columns) -> list[str]:
    """What is said of device events of other kinds."""
    read = [
        f"{count(number, 'device event')} of kind {name} {'counts' if number == 1 else 'count'} as GPU kernels, as in "
        "PyTorch's own list of kinds."
        for name, number in columns.read_as.items()
    ]
    unread = [
        f"{count(number, 'device event')} of kind {name} {'is' if number == 1 else 'are'} not read: what this device "
        "did is missing from all figures, and there is no advice that needs it."
        for name, number in columns.unread.items()
    ]
    return read + unread


def last_with(wanted: Ints, keys: Ints, rows: Ints) -> Ints:
    """For each wanted key the row with that key (the last one of several); -1 where there is none."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    place = np.searchsorted(ordered, wanted, side="right") - 1
    found = (place >= 0) & (ordered[place] == wanted)
    return np.where(found, rows[order[place]], -1)


def _devices(listed: Any) -> dict[int, DeviceProperties]:
    found = {}
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, dict) or not isinstance(each.get("id"), int):
            continue
        name, memory = each.get("name"), each.get("totalGlobalMem")
        major, minor = each.get("computeMajor"), each.get("computeMinor")
        found[each["id"]] = DeviceProperties(
            # AMD's drivers leave the name empty at times.
            name if isinstance(name, str) and name else None,
            memory if isinstance(memory, int) and memory > 0 else None,
            (major, minor) if isinstance(major, int) and isinstance(minor, int) else None,
        )
    return found


def _whole(info: Any, name: str) -> int | None:
    value = info.get(name) if isinstance(info, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
