"""Opening and analysing a profiler trace, against the loader of PyTorch's TensorBoard plug-in, in one process.

The real traces lie where EUROSAT_TRACES says; where the plug-in is not installed, the lab alone reads them. A synthetic
one of a million events is made here, and read in a process of its own whose memory is watched.
"""

import gzip
import importlib
import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.processes import answer_of, row
from eurosat_core.errors import TraceError
from eurosat_core.settings import Settings
from eurosat_core.tensorboard.process import plugin_installed

Reader = Callable[[Path], None]
REPEATS = 5
EVENTS = 1_000_000
# A trace is large if the plug-in's text of it, unpacked, is.
_LARGE_BYTES = 10 * 1024**2


def run(_settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Both sides in turn on each real trace, then the large synthetic one."""
    rows = []
    folder = os.environ.get("EUROSAT_TRACES")
    sides: dict[str, Reader] = {"plug-in": _plug_in, "lab": _lab} if plugin_installed() else {"lab": _lab}
    for path in sorted(Path(folder).glob("*.pt.trace.json*")) if folder else []:
        rows += _compared(path, sides, say)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "synthetic.pt.trace.json"
        write_trace(path, EVENTS)
        megabytes = path.stat().st_size / 1024**2
        found = answer_of("bench.trace", path)
    say(f"  synthetic: {found}")
    about = f"{EVENTS:,} events, {megabytes:,.0f} MB"
    rows.append(row(f"synthetic trace, {about}", [found["seconds"]], "s", promise="< 15 s"))
    rows.append(row("the same: most memory, Python and numpy included", [found["gigabytes"]], "GB", promise="< 2 GB"))
    missing = "" if folder else "; EUROSAT_TRACES is not set, so no real traces"
    if "plug-in" not in sides:
        missing += "; torch-tb-profiler is not installed, so nothing to compare with"
    return {"about": f"reading a trace and computing everything the page shows{missing}", "rows": rows}


def _compared(path: Path, sides: Mapping[str, Reader], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Rows of one trace, one for each side; none for one that cannot be read."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    try:
        for _ in range(REPEATS):
            for side, read in sides.items():
                began = time.perf_counter()
                read(path)
                times[side].append(time.perf_counter() - began)
    except (TraceError, ValueError) as error:
        say(f"  {path.name}: {error}")
        return []
    say(f"  {path.name}: {times}")
    name = path.name.split(".")[0]
    if "plug-in" not in sides:
        return [row(f"{name}: lab", times["lab"], "s")]
    ratio = statistics.median(times["plug-in"]) / statistics.median(times["lab"])
    return [
        row(f"{name}: torch-tb-profiler 0.4.3", times["plug-in"], "s"),
        row(f"{name}: lab", times["lab"], "s", ratio=ratio, promise="≥ 3" if _size(path) > _LARGE_BYTES else ""),
    ]


def _size(path: Path) -> int:
    if path.suffix != ".gz":
        return path.stat().st_size
    with gzip.open(path) as file:
        return file.seek(0, os.SEEK_END)


def _plug_in(path: Path) -> None:
    """What the plug-in does with one trace before it shows anything."""
    data = importlib.import_module("torch_tb_profiler.profiler.data")
    generator = importlib.import_module("torch_tb_profiler.profiler.run_generator")
    logging.getLogger("torch_tb_profiler").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as cache:
        profile = data.RunProfileData.parse("worker", None, str(path), cache)
        generator.RunGenerator("worker", None, profile).generate_run_profile()


def _lab(path: Path) -> None:
    """Everything that the page shows of a trace: figures, tables, advice, memory, the first step's time line."""
    from eurosat_core.profiling.advice import report_of
    from eurosat_core.profiling.timeline import memory_curve, step_timeline
    from eurosat_core.profiling.trace import read_trace

    trace = read_trace(path)
    report = report_of(trace)
    memory_curve(trace)
    step_timeline(trace, report["steps"][0]["step"])


def write_trace(path: Path, events: int) -> None:
    """Write a trace as Kineto does: steps of operators in operators, their launches, kernels and memory events."""
    head = {"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "Synthetic GPU", "totalGlobalMem": 1 << 35}]}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ',\n"traceEvents": [\n')
        for number, event in enumerate(_events(events)):
            file.write((",\n" if number else "") + json.dumps(event))
        file.write('\n], "traceName": "synthetic"}')


def _events(number: int) -> Iterator[dict[str, Any]]:
    """A step for each 10,000 events, of groups of five: an operator in another, a launch, a kernel, memory."""
    per_step, made, at, identity = 10_000, 0, 1e12, 1
    dims = {"Input Dims": [[256, 64, 32, 32], [64, 64, 3, 3]], "Input type": ["float", "float"]}
    figures = {"device": 0, "stream": 7, "blocks per SM": 0.5, "est. achieved occupancy %": 25}
    shape = {"grid": [66, 1, 1], "block": [256, 1, 1]}
    allocated = {"Device Type": 1, "Device Id": 0, "Bytes": 4096, "Total Reserved": 1 << 20}

    def event(cat: str, name: str, start: float, length: float, args: Mapping[str, Any]) -> dict[str, Any]:
        place = {"pid": 0, "tid": 7} if cat == "kernel" else {"pid": 1, "tid": 1}
        return {"ph": "X", "cat": cat, "name": name, **place, "ts": start, "dur": length, "args": args}

    while made < number:
        groups = min(per_step, number - made - 1) // 5
        length = groups * 20.0 + 10
        yield event("user_annotation", f"ProfilerStep#{made // per_step}", at, length, {})
        made += 1
        for group in range(groups):
            start, name = at + 5 + group * 20.0, f"aten::op_{group % 50}"
            yield event("cpu_op", name, start, 18.5, {"External id": identity, **dims})
            inner = {"External id": identity + 1, **dims, "Sequence number": identity}
            yield event("cpu_op", f"{name}_", start + 1, 16.25, inner)
            ids = {"External id": identity + 1, "correlation": identity}
            yield event("cuda_runtime", "cudaLaunchKernel", start + 2, 4.125, {**ids, "cbid": 211})
            kernel = f"void kernel_{group % 70}<float, 4>(int)"
            yield event("kernel", kernel, start + 9, 11.0, {**figures, **ids, **shape})
            told = {**allocated, "Total Allocated": (group % 100) * 4096}
            place = {"cat": "cpu_instant_event", "name": "[memory]", "pid": 1, "tid": 1, "ts": start + 1.5}
            yield {"ph": "i", **place, "args": told}
            identity += 2
            made += 5
        at += length + 10
        if groups == 0:
            return


if __name__ == "__main__":
    started = time.perf_counter()
    _lab(Path(sys.argv[1]))
    taken = time.perf_counter() - started
    print(json.dumps({"seconds": taken, "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2}))
