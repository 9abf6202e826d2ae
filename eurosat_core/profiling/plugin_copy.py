"""A copy of a trace in the form that PyTorch's TensorBoard plug-in (torch-tb-profiler 0.4.3) reads rightly.

The plug-in is no longer maintained and knows the categories of 2021. Of today's traces it leaves out what the host
called of the GPU's library (so its Runtime is 0 and no operator has device time), `record_function` blocks (so its
DataLoader is 0), other accelerators' work and the links from forward to backward, and it takes the GPU's echo of a step
for a step of its own. At a time that is no number it stops, and one event at an impossible time makes a step of years.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Any

import orjson

from eurosat_core.profiling.columns import ALIASES, MAX_TIME, Kind
from eurosat_core.profiling.document import Document
from eurosat_core.profiling.stream import TraceSource, pieces
from eurosat_core.profiling.trace import columns_of, plausible_times

_RUNTIME = re.compile(r".*runtime|.*_driver")
_STEP = "ProfilerStep#"
# What the plug-in sorts by thread, and turns into a number for that.
_BY_THREAD = ("cpu_op", "operator", "python", "user_annotation")


def plugin_copy(source: TraceSource) -> Iterator[bytes]:
    """The copy as gzip, piece by piece; memory holds a piece and the events' columns. Raises `TraceError`.

    Reads the source twice: the plug-in writes GPU figures behind the last bracket of the file, so the events must come
    last, and a trace may have its other properties behind them. Which times are possible is known at the end, too.
    """
    packer = zlib.compressobj(6, wbits=31)
    properties, low, high = _around(source)
    yield packer.compress(b"{%s" % properties)
    first = True
    for events in Document(pieces(source)).events():
        converted = (event for each in events if (event := _converted(each)) is not None)
        kept = [each for each in converted if each.get("ph") != "X" or _is_within(each, low, high)]
        if kept:
            text = orjson.dumps(kept)[1:-1]
            yield packer.compress(text if first else b"," + text)
            first = False
    yield packer.compress(b"]}")
    yield packer.flush()


def _around(source: TraceSource) -> tuple[bytes, float, float]:
    """Everything beside the events, up to the bracket that opens their list, and the first and last possible µs."""
    columns, document = columns_of(source)
    text = orjson.dumps(document.properties)[1:-1]
    properties = text + (b"," if text else b"") + b'"traceEvents":['
    kind, time, duration = (columns.column(name) for name in ("kind", "time", "duration"))
    usable = columns.usable()
    if not usable.any():
        return properties, -MAX_TIME, MAX_TIME
    _, low, high = plausible_times(time[usable], duration[usable], kind[usable] >= Kind.KERNEL)
    return properties, low, high


def _is_within(event: dict[str, Any], low: float, high: float) -> bool:
    """Whether an event is at a possible time. Its times are numbers then, however they were written."""
    try:
        for key in ("ts", "dur"):
            if not isinstance(event[key], int | float):
                event[key] = float(event[key])
    except (KeyError, TypeError, ValueError):
        return False
    return bool(event["dur"] >= 0 and low <= event["ts"] and event["ts"] + event["dur"] <= high)


def _converted(event: Any) -> dict[str, Any] | None:
    """An event as the plug-in knows it; None for one that it must not see, or would stumble over."""
    if not isinstance(event, dict):
        return None
    event.setdefault("name", "")  # it looks into every name
    if not isinstance(event["name"], str):
        return None
    category = event.get("cat")
    if not isinstance(category, str):
        return None if event.get("ph") == "X" else event
    known = category.lower()
    if known == "gpu_user_annotation":
        return None
    if known == "fwdbwd":
        event["cat"] = "forward_backward"
    elif _RUNTIME.fullmatch(known) or ALIASES.get(known) == Kind.RUNTIME:
        event["cat"] = "runtime"
        # A call outside of any operator has no id today; the plug-in wants 0, else it gives the call to some module.
        if not isinstance(event.get("args"), dict):
            event["args"] = {}
        if event["args"].get("External id", event["args"].get("external id")) is None:
            event["args"]["External id"] = 0
    elif ALIASES.get(known) == Kind.KERNEL:
        event["cat"] = "kernel"
    elif known == "user_annotation" and not event["name"].startswith(_STEP):
        event["cat"] = "cpu_op"
    if event.get("ph") == "X" and known in _BY_THREAD and not _is_number(event.get("tid")):
        return None
    return event


def _is_number(value: Any) -> bool:
    try:
        int(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
