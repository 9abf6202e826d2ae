"""A copy of a trace in the form that PyTorch's TensorBoard plug-in (torch-tb-profiler 0.4.3) reads rightly.

The plug-in is no longer maintained and knows the categories of 2021. Of today's traces it leaves out what the host
called of the GPU's library (so its Runtime is 0 and no operator has device time), `record_function` blocks (so its
DataLoader is 0) and the links from forward to backward, and it takes the GPU's echo of a step for a step of its own.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Any

import orjson

from eurosat_core.profiling.document import Document
from eurosat_core.profiling.stream import TraceSource, pieces

__all__ = ["plugin_copy"]

_RUNTIME = re.compile(r".*runtime|.*_driver")
_STEP = "ProfilerStep#"
# What the plug-in sorts by thread, and turns into a number for that.
_BY_THREAD = ("cpu_op", "operator", "python", "user_annotation")


def plugin_copy(source: TraceSource) -> Iterator[bytes]:
    """The copy as gzip, piece by piece; memory holds one piece. Raises `TraceError` with a sentence.

    Reads the source twice: the plug-in writes GPU figures behind the last bracket of the file, so the events must come
    last, and a trace may have its other properties behind them.
    """
    packer = zlib.compressobj(6, wbits=31)
    yield packer.compress(b"{%s" % _properties(source))
    first = True
    for events in Document(pieces(source)).events():
        kept = [event for each in events if (event := _converted(each)) is not None]
        if kept:
            text = orjson.dumps(kept)[1:-1]
            yield packer.compress(text if first else b"," + text)
            first = False
    yield packer.compress(b"]}")
    yield packer.flush()


def _properties(source: TraceSource) -> bytes:
    """Everything beside the events, up to the bracket that opens their list."""
    document = Document(pieces(source))
    for _ in document.events():
        pass
    text = orjson.dumps(document.properties)[1:-1]
    return text + (b"," if text else b"") + b'"traceEvents":['


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
    elif _RUNTIME.fullmatch(known):
        event["cat"] = "runtime"
        _attach_to_thread(event)
    elif known == "user_annotation" and not event["name"].startswith(_STEP):
        event["cat"] = "cpu_op"
    if event.get("ph") == "X" and known in _BY_THREAD and not _is_number(event.get("tid")):
        return None
    return event


def _attach_to_thread(event: dict[str, Any]) -> None:
    """A call outside of any operator has no id today; the plug-in wants 0, else it gives the call to some module."""
    arguments = event.get("args")
    if not isinstance(arguments, dict):
        event["args"] = arguments = {}
    if arguments.get("External id", arguments.get("external id")) is None:
        arguments["External id"] = 0


def _is_number(value: Any) -> bool:
    try:
        int(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
