"""Events of a trace gathered into columns: one pass over the parsed JSON, then numpy arrays."""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from eurosat_core.errors import TraceError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Beyond this nobody looks at a trace on a page; the columns of so many events take about 0.6 GB.
MAX_EVENTS = 6_000_000
# Networks call the same operators on the same shapes again and again: real traces have below 0.1 MB of different ones.
MAX_SHAPES_BYTES = 32 * 1024**2
# Operators whose stride, padding or masks say what they compute; of others, values such as a learning rate would make
# each call another one.
_VALUES_COUNT = re.compile(r"conv|pool")
# Microseconds since 1970 of the year 2049: with larger times, differences and ends would not fit into nanoseconds.
MAX_TIME = 2.5e15


class Kind(IntEnum):
    """What an event with a duration is."""

    OPERATOR = 0
    ANNOTATION = 1
    RUNTIME = 2
    """A call of the CUDA, HIP or SYCL library on the host: launching, copying, waiting."""
    PYTHON = 3
    """A Python function, from a recording with stacks."""
    OVERHEAD = 4
    """The profiler's own work on the host."""
    KERNEL = 5
    MEMCPY = 6
    MEMSET = 7
    DEVICE_ANNOTATION = 8
    """A host annotation repeated on the device's time line: neither a step nor work."""


# As Kineto names them (`ActivityType` in libkineto), of any year.
_KINDS = {
    "cpu_op": Kind.OPERATOR,
    "operator": Kind.OPERATOR,
    "python": Kind.OPERATOR,
    "user_annotation": Kind.ANNOTATION,
    "python_function": Kind.PYTHON,
    "overhead": Kind.OVERHEAD,
    "kernel": Kind.KERNEL,
    "concurrent_kernel": Kind.KERNEL,
    "memcpy": Kind.MEMCPY,
    "gpu_memcpy": Kind.MEMCPY,
    "memset": Kind.MEMSET,
    "gpu_memset": Kind.MEMSET,
    "gpu_user_annotation": Kind.DEVICE_ANNOTATION,
}
# Of other accelerators: Kineto's own list makes these aliases of the general kinds.
ALIASES = {"mtia_ccp_events": Kind.KERNEL, "hpu_op": Kind.RUNTIME}
# Neither work of a device nor of the host: waiting within a stream, counters, marks, the recording itself.
_NO_WORK = re.compile(
    r"trace$|.*(?:sync|_event|instant_event|correlation|counters?|_insight|profiler|profiler_range|user_annotation)$"
)
_ACCELERATOR = re.compile(r"(?:mtia|hpu|npu|xpu|mlu|gcu|tpu|musa|gpu|privateuse1)(?:_|$)|.*_kernel$")
# Arguments that only work on a device has: of PyTorch's profilers, of Gaudi's and of Ascend's.
_DEVICE_ARGUMENTS = ("device", "stream", "HW event name", "Task Type")
# Of a file that names a new kind in each event, so many are told.
_UNREAD_KINDS = 5
# Names that are annotations although the schema of 2021 wrote them as operators.
ANNOTATION_NAMES = re.compile(
    r"ProfilerStep#\d+$|enumerate\(Data(Loader|Pipe)\)#|Optimizer\.(step|zero_grad)#|(nccl|gloo):|eurosat\.\w+$"
)
_IGNORED = -1


def _kind_of(category: Any) -> int:
    name = category.lower() if isinstance(category, str) else ""
    if name.endswith("runtime") or name.endswith("_driver") or name == "driver":
        return Kind.RUNTIME
    return _KINDS.get(name, _IGNORED)


@dataclass(frozen=True)
class Lane:
    """Where events happen one after the other: a thread of a process, or a stream of a device."""

    thread: str
    title: str
    """What the recorder called it; else empty."""


@dataclass(frozen=True)
class Memory:
    """Memory taken (bytes > 0) and given back, in order of time."""

    time_ns: Ints
    device: list[str]
    """Names of the devices: `cpu`, `cuda:0`, …"""
    on: Ints
    """Which of `device` each event is of."""
    bytes: Ints
    allocated: Floats
    """All memory in use by tensors on that device after the event; NaN where the trace does not say."""
    reserved: Floats
    address: Ints
    """Where the piece of memory begins; -1 where the trace does not say."""


class Columns:
    """Collects events; `add` takes parsed JSON events of any quality."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.seen = 0
        """Objects in the list of events, usable or not."""
        self.read_as: dict[str, int] = {}
        """Events of other accelerators' kinds that count as GPU kernels, by kind."""
        self.unread: dict[str, int] = {}
        """Events of devices that are of no known kind, by what they call themselves."""
        self.shapes: list[bytes] = []
        """What operators were called on, each different one once: JSON of [dims, types, values]."""
        self.shapes_left_out = 0
        """Operators' calls whose shapes were one too many to keep, or unreadable."""
        self._shape_ids: dict[bytes, int] = {}
        self._shape_bytes = 0
        self._rows = 0
        self._name_ids: dict[Any, int] = {}
        self._lanes: dict[tuple[Any, Any], int] = {}
        self._lane_keys: dict[tuple[str, str], int] = {}
        self._kinds: dict[Any, int] = {}
        self._titles: dict[tuple[str, str], str] = {}
        self._parts: dict[str, list[npt.NDArray[Any]]] = {}
        self._memory_devices: dict[tuple[Any, Any], int] = {}

    def add(self, events: list[Any]) -> None:
        """Take one piece of the list of events."""
        self.seen += len(events)
        if self.seen > MAX_EVENTS:
            raise TraceError(
                f"The trace holds more than {MAX_EVENTS:,} events. Record fewer steps, or without call stacks "
                "(with_stack)."
            )
        rows: list[tuple[Any, ...]] = []
        metrics: list[tuple[Any, ...]] = []
        memory: list[tuple[Any, ...]] = []
        shapes: list[tuple[int, int]] = []
        kinds, name_ids, lanes = self._kinds, self._name_ids, self._lanes
        nothing: dict[str, Any] = {}
        for event in events:
            try:
                phase = event["ph"]
                if phase == "X":
                    kind = kinds.get(event.get("cat"))
                    if kind is None:
                        kind = kinds[event.get("cat")] = _kind_of(event.get("cat"))
                    if kind < 0:
                        kind = self._of_other_kind(event)
                        if kind < 0:
                            continue
                    args = event.get("args") or nothing
                    name = event.get("name")
                    name_id = name_ids.get(name)
                    if name_id is None:
                        name_id = self._new_name(name)
                    key = (event.get("pid"), event.get("tid"))
                    lane = lanes.get(key)
                    if lane is None:
                        lane = self._new_lane(key)
                    external = args.get("External id")
                    if external is None:
                        external = args.get("external id", 0)
                    rows.append(
                        (
                            kind,
                            name_id,
                            lane,
                            event.get("ts"),
                            event.get("dur"),
                            external,
                            args.get("correlation", -1),
                            args.get("Sequence number", -1),
                        )
                    )
                    if kind == Kind.OPERATOR:
                        dims = args.get("Input Dims")
                        if dims:
                            shapes.append((self._rows + len(rows) - 1, self._shape(self.names[name_id], dims, args)))
                    elif kind >= Kind.KERNEL:
                        metrics.append(
                            (
                                args.get("device", key[0]),
                                args.get("blocks per SM"),
                                args.get("est. achieved occupancy %"),
                                args.get("bytes"),
                            )
                        )
                elif phase in ("i", "I") and event.get("name") == "[memory]":
                    args = event["args"]
                    of = (args.get("Device Type"), args.get("Device Id"))
                    memory.append(
                        (
                            event.get("ts"),
                            self._memory_devices.setdefault(of, len(self._memory_devices)),
                            args.get("Bytes"),
                            args.get("Total Allocated"),
                            args.get("Total Reserved"),
                            args.get("Addr", -1),
                        )
                    )
                elif phase == "M" and event.get("name") == "thread_name":
                    self._titles[str(event.get("pid")), str(event.get("tid"))] = str(event["args"]["name"])
            except (TypeError, KeyError, AttributeError):  # no event, or one of a shape that no profiler writes
                continue
        self._rows += len(rows)
        self._keep(rows, metrics, memory, shapes)

    def column(self, name: str) -> npt.NDArray[Any]:
        """All values of one column, in file order."""
        return np.concatenate(self._parts.get(name) or [np.zeros(0, _TYPES[name])])

    @property
    def lanes(self) -> list[Lane]:
        return [Lane(key[1], self._titles.get(key, "")) for key in self._lane_keys]

    def shape(self) -> Ints:
        """For each row which of `shapes` it was called on; -1 where nothing is known."""
        found = np.full(self._rows, -1, np.int64)
        found[self.column("s_row")] = self.column("s_shape")
        return found

    def usable(self) -> npt.NDArray[np.bool_]:
        """Which events have a time and a duration that can be computed with."""
        time, duration = self.column("time"), self.column("duration")
        found: npt.NDArray[np.bool_] = np.isfinite(time) & (np.abs(time) < MAX_TIME)
        return found & (duration >= 0) & (duration < MAX_TIME)

    def memory(self, origin: float, low: float, high: float) -> Memory:
        """Memory events between `low` and `high`, in order of time, in nanoseconds after `origin` (all in µs)."""
        times = self.column("m_time")
        amounts = self.column("m_bytes")
        usable = np.flatnonzero((times >= low) & (times <= high) & (np.abs(amounts) < 1 << 62))
        order = usable[np.argsort(times[usable], kind="stable")]
        return Memory(
            np.rint((times[order] - origin) * 1000).astype(np.int64),
            [_device_name(*key) for key in self._memory_devices],
            self.column("m_device")[order],
            amounts[order].astype(np.int64),
            self.column("m_allocated")[order],
            self.column("m_reserved")[order],
            self.column("m_address")[order],
        )

    def _keep(self, rows: list[Any], metrics: list[Any], memory: list[Any], shapes: list[Any]) -> None:
        for names, values in ((_ROW, rows), (_METRICS, metrics), (_MEMORY, memory), (_SHAPES, shapes)):
            for name, column in zip(names, zip(*values, strict=True), strict=bool(values)):
                self._parts.setdefault(name, []).append(_array(column, _TYPES[name]))

    def _of_other_kind(self, event: Any) -> int:
        """The kind of an event whose category alone does not tell it. Counts what a device did and nobody reads."""
        category, args = event.get("cat"), event.get("args")
        name = category.lower() if isinstance(category, str) else ""
        on_device = isinstance(args, dict) and any(each in args for each in _DEVICE_ARGUMENTS)
        if ALIASES.get(name) == Kind.KERNEL:
            self.read_as[name] = self.read_as.get(name, 0) + 1
            return Kind.KERNEL
        if name in ALIASES and not on_device:
            return ALIASES[name]
        if not _NO_WORK.match(name) and (on_device or _ACCELERATOR.match(name)):
            shown = "".join(each for each in name if each.isprintable())[:40] or "no category"
            if shown in self.unread or len(self.unread) < _UNREAD_KINDS:
                self.unread[shown] = self.unread.get(shown, 0) + 1
        return _IGNORED

    def _shape(self, name: str, dims: Any, args: dict[str, Any]) -> int:
        values = args.get("Concrete Inputs") if _VALUES_COUNT.search(name) else None
        try:
            key = orjson.dumps([dims, args.get("Input type"), values])
        except orjson.JSONEncodeError:  # lists within lists, more than any tensor has
            self.shapes_left_out += 1
            return -1
        number = self._shape_ids.get(key)
        if number is None:
            if self._shape_bytes + len(key) > MAX_SHAPES_BYTES:
                self.shapes_left_out += 1
                return -1
            self._shape_bytes += len(key)
            number = self._shape_ids[key] = len(self.shapes)
            self.shapes.append(key)
        return number

    def _new_name(self, name: Any) -> int:
        text = name if isinstance(name, str) else str(name)
        number = self._name_ids[name] = len(self.names)
        self.names.append(text)
        return number

    def _new_lane(self, key: tuple[Any, Any]) -> int:
        """The schema of 2021 writes a thread as a number here and as a text there: both are one lane."""
        written = (str(key[0]), str(key[1]))
        lane = self._lanes[key] = self._lane_keys.setdefault(written, len(self._lane_keys))
        return lane


_ROW = ("kind", "name", "lane", "time", "duration", "external", "correlation", "sequence")
_METRICS = ("device", "blocks", "occupancy", "bytes")
_SHAPES = ("s_row", "s_shape")
_MEMORY = ("m_time", "m_device", "m_bytes", "m_allocated", "m_reserved", "m_address")
_TYPES: dict[str, Any] = {
    **dict.fromkeys((*_METRICS, *_MEMORY, "time", "duration"), np.float64),
    **{"kind": np.int8, "name": np.int32, "lane": np.int32, "external": np.int64, "correlation": np.int64},
    **dict.fromkeys(("sequence", "s_row", "s_shape"), np.int64),
    "m_device": np.int64,
    "m_address": np.int64,
}


def _array(values: tuple[Any, ...], kind: Any) -> npt.NDArray[Any]:
    """Numbers, also those written as texts; NaN, or -1 of whole ones, for whatever is none."""
    try:
        return np.array(values, kind)
    except (TypeError, ValueError, OverflowError):
        number = _float if kind is np.float64 else _int
        return np.array([number(value) for value in values], kind)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _int(value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return -1
    return number if -1 <= number < 1 << 62 else -1


# `c10::DeviceType`: the kinds of device that a trace's memory events name by number.
_DEVICE_KINDS = {1: "cuda", 6: "cuda", 12: "xpu", 13: "mps", 20: "npu"}


def _device_name(kind: Any, index: Any) -> str:
    if _int(kind) == 0:
        return "cpu"
    return f"{_DEVICE_KINDS.get(_int(kind), f'device type {kind}')}:{max(_int(index), 0)}"
