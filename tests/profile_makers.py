"""Small traces and runs of profiles, as a worker leaves them, for tests of what is said and drawn about them."""

import gzip
from typing import Any

from fake_engine import tiles_used
from trace_makers import Event, host, kernel, launch, memory, step, text

from eurosat_core.lab.lab import Lab
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.trace import read_trace
from eurosat_core.runs.profiles import Reading
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig

LOADER = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
PARTS = ("load", "copy", "forward", "backward", "update")


def cpu_step(number: int, at: float, times: tuple[float, ...] = (200, 10, 300, 400, 50)) -> list[Event]:
    """A step of ours on the processor: µs of load, copy, forward, backward, update, and 40 µs of Python after them."""
    events = [step(number, at, sum(times) + 40)]
    for name, length in zip(PARTS, times, strict=True):
        events.append(host(f"eurosat.{name}", at, length, "user_annotation"))
        if name == "load" and length > 4:
            events.append(host(LOADER, at + 1, length - 2, "user_annotation"))
        if name == "forward" and length > 20:
            events += [host("aten::conv2d", at + 2, length - 10), host("aten::convolution", at + 3, length - 12)]
            events.append(memory(at + 4, 1 << 20, 3 << 20))
        at += length
    return events


def cpu_trace(steps: int = 3, first: int = 4, times: tuple[float, ...] = (200, 10, 300, 400, 50)) -> bytes:
    """A recorded cycle on the processor."""
    events = []
    for number in range(steps):
        events += cpu_step(first + number, 1100.0 * number * max(sum(times) / 1000, 1), times)
    return text(events)


def gpu_trace(busy: float = 90, memory_told: bool = True) -> bytes:
    """Two steps of 1000 µs on a GPU that works `busy` µs in each: 60 small kernels, with a copy before them."""
    events: list[Event] = []
    for number in range(2):
        at = 1000.0 * number
        events += [step(7 + number, at, 1000), host("eurosat.load", at, 300, "user_annotation")]
        events += [host(LOADER, at + 5, 290, "user_annotation"), host("eurosat.copy", at + 300, 50, "user_annotation")]
        events += [host("aten::to", at + 301, 45), launch(900 + number, at + 302, 20, "cudaMemcpyAsync")]
        events.append(
            kernel(900 + number, at + 310, 15, "Memcpy HtoD (Pageable -> Device)", "gpu_memcpy", bytes=1 << 20)
        )
        events.append(host("eurosat.forward", at + 350, 600, "user_annotation"))
        for each in range(60):
            when, tie = at + 352 + 9 * each, 1000 * (number + 1) + each
            events += [host("aten::mm", when, 8), launch(tie, when + 2, 4)]
            name = f"void at::native::gemm_{each % 12}<float>(int)"
            events.append(kernel(tie, when + 5, busy / 60, name, blocks=0.5, occupancy=25))
            if memory_told:
                total = (each + 1) << 20
                events.append(memory(when + 3, 1 << 20, total, kind=1, index=0, **{"Total Reserved": 1 << 27}))
    devices = [{"id": 0, "name": "Made-up GPU", "totalGlobalMem": 1 << 33, "computeMajor": 8, "computeMinor": 0}]
    return text(events, deviceProperties=devices)


def reading(content: bytes, device: str = "") -> Reading:
    return Reading(read_trace(content), device)


def put_profile(
    lab: Lab,
    owner: str,
    traces: list[bytes],
    state: Any = "finished",
    config: TrainConfig | None = None,
    plan: ProfilePlan | None = None,
    **changes: Any,
) -> RunRecord:
    """A profile run on disk, as if a worker had left it so."""
    tiles = lab.tiles().tile_set
    assert tiles is not None
    plan = plan or ProfilePlan()
    record = lab.store.create(config or profile_config("baseline"), owner, tiles_used(tiles), "profile", plan.to_dict())
    lab.store.save(record.id, {f"trace_{number}.json.gz": gzip.compress(each) for number, each in enumerate(traces, 1)})
    machine = {"device_name": "Test CPU, 2 cores", "threads": 2, "torch": "2.14"}
    return lab.store.update(record.id, state=state, **{"started": record.created, "machine": machine, **changes})
