"""Small traces written by hand: events as Kineto writes them, on round times that can be added up in the head."""

import json
from typing import Any

import pytest

from eurosat_core.errors import TraceError
from eurosat_core.profiling.trace import read_trace

Event = dict[str, Any]


def host(name: str, start: float, length: float, cat: str = "cpu_op", tid: Any = 1, **args: Any) -> Event:
    """An event of the processor; `external` and `correlation` among the arguments."""
    return {"ph": "X", "cat": cat, "name": name, "pid": 10, "tid": tid, "ts": start, "dur": length, "args": _ids(args)}


def step(number: int, start: float, length: float, tid: Any = 1, cat: str = "user_annotation") -> Event:
    return host(f"ProfilerStep#{number}", start, length, cat, tid)


def launch(correlation: int, start: float, length: float = 1, name: str = "cudaLaunchKernel", **args: Any) -> Event:
    cat = args.pop("cat", "cuda_runtime")
    return host(name, start, length, cat, args.pop("tid", 1), correlation=correlation, **args)


def kernel(
    correlation: int, start: float, length: float, name: str = "work", cat: str = "kernel", **args: Any
) -> Event:
    """An event of a device; `blocks` and `occupancy` (%) are its figures."""
    device = args.setdefault("device", 0)
    for short, written in (("blocks", "blocks per SM"), ("occupancy", "est. achieved occupancy %")):
        if short in args:
            args[written] = args.pop(short)
    args = _ids({"correlation": correlation, **args})
    return {"ph": "X", "cat": cat, "name": name, "pid": device, "tid": 7, "ts": start, "dur": length, "args": args}


def memory(at: float, taken: int, total: int | None = None, kind: int = 0, index: int = -1, **args: Any) -> Event:
    args = {"Device Type": kind, "Device Id": index, "Bytes": taken, **args}
    if total is not None:
        args["Total Allocated"] = total
    return {"ph": "i", "cat": "cpu_instant_event", "name": "[memory]", "pid": 10, "tid": 1, "ts": at, "args": args}


def text(events: list[Any], **properties: Any) -> bytes:
    """The file of a trace."""
    return json.dumps({"schemaVersion": 1, "traceEvents": events, **properties}).encode()


def _ids(args: dict[str, Any]) -> dict[str, Any]:
    if "external" in args:
        args["External id"] = args.pop("external")
    return args


def assert_refused(content: bytes, sentence: str) -> None:
    """The bytes are no trace, which is said in one sentence that matches `sentence`."""
    with pytest.raises(TraceError, match=sentence) as refused:
        read_trace(content)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)
