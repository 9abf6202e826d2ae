"""The room check: what is ready, what is missing, and how to get it.

The Start page and `doctor` show the same lines; `doctor` adds whether a smaller PyTorch is enough, whether steps can be
compiled, and whether GPUs can be profiled.
"""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eurosat_core.data.classes import EUROSAT_TILES
from eurosat_core.data.splits import has_lists
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.weights import WEIGHTS, weights_missing
from eurosat_core.devices import Device
from eurosat_core.folders import write_problem
from eurosat_core.lab.cluster import workers_text
from eurosat_core.lab.messages import Slot
from eurosat_core.settings import Settings
from eurosat_core.training.config import recipe_config
from eurosat_core.training.problems import SHARED_MEMORY, free_shared_memory, shared_memory_problem
from eurosat_core.wording import bytes_text, count

CPU_ONLY_INSTALL = (
    "python3 -m venv --clear .venv && .venv/bin/pip install uv && "
    ".venv/bin/uv pip install --python .venv --torch-backend=cpu -r requirements.txt"
)
"""Makes `.venv` anew with the CPU-only build of PyTorch; uv knows where that lies."""

_ENOUGH_DISK = 2 * 1024**3
_ENOUGH_SHARED = 512 * 1024**2


@dataclass(frozen=True)
class TilesState:
    """How far the tiles are: still being opened (`tile_set` None), or there.

    done, total: decoding progress. problem: why those that were meant could not be used or had; then these are others.
    remedy: what to do about that, where the problem does not say it.
    """

    tile_set: TileSet | None = None
    done: int = 0
    total: int = 0
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """One line of the room check. remedy: what to do about it, empty when nothing needs doing."""

    name: str
    state: Literal["ready", "missing", "problem", "checking"]
    text: str
    remedy: str = ""


def room_check(
    settings: Settings,
    tiles: TilesState,
    devices: Sequence[Device],
    *,
    devices_known: bool,
    workers: str = "",
    slots: Sequence[Slot] | None = None,
    remarks: Sequence[str] = (),
    runs_refused: str | None = None,
) -> tuple[Check, ...]:
    """All lines, in the order a participant cares about.

    workers: why there are none, empty when they stand ready. slots, remarks: those of a cluster (None: nobody
    has asked it), and what is to be said about its workers. runs_refused: why no run can be stored, as
    `folders.write_problem` says it; None: it is tried now.
    """
    return (
        _tiles(tiles),
        *_place_split(settings, tiles),
        *_weights(settings),
        *_devices(devices, devices_known),
        Check("Workers", "problem", workers, "Restart the app.")
        if workers
        else Check("Workers", "ready" if devices_known else "checking", _workers_text(settings, devices, slots)),
        *(Check("Workers", "missing", each) for each in remarks),
        *_shared_memory(settings),
        *_kept(settings, write_problem(settings.runs) if runs_refused is None else runs_refused),
        Check("Software", "ready", f"Python {platform.python_version()} on {platform.system()} ({sys.platform})"),
    )


def _tiles(state: TilesState) -> Check:
    if state.tile_set is None and state.problem:
        return Check("Tiles", "problem", state.problem, f"{state.remedy} Then start the app again.".strip())
    if state.tile_set is None:
        progress = f": {state.done:,} of {state.total:,}" if state.total else ""
        return Check("Tiles", "checking", f"Opening the tiles{progress} …")
    text = state.tile_set.description
    if state.problem:
        return Check("Tiles", "problem", f"{state.problem} Until then: {text}.", state.remedy)
    if state.tile_set.source == "synthetic":
        remedy = (
            "For real satellite tiles: download them on the Tiles page or with `python -m eurosat_core prepare`, or "
            "set EUROSAT_DATA to a folder or zip of EuroSAT and start the app again."
        )
        return Check("Tiles", "missing", text, remedy)
    if state.tile_set.source == "eurosat" and len(state.tile_set) < EUROSAT_TILES:
        return Check("Tiles", "ready", text, "The set is incomplete: everything works, figures differ a little.")
    return Check("Tiles", "ready", text)


def _place_split(settings: Settings, tiles: TilesState) -> Iterator[Check]:
    """Whether EuroSAT can be split by place; other tiles have no published places."""
    if tiles.tile_set is None or tiles.tile_set.source != "eurosat":
        return
    name, lists = "Split by place", "The published lists (by longitude) are"
    if has_lists(settings.cache):
        yield Check(name, "ready", f"{lists} here")
    else:
        remedy = "Fetch them on the Tiles page or with `python -m eurosat_core prepare`. The random split needs none."
        yield Check(name, "missing", f"{lists} not on this machine", remedy)


def _weights(settings: Settings) -> Iterator[Check]:
    """Which pretrained weights are here."""
    for each in WEIGHTS.values():
        if missing := weights_missing(each.name, settings.cache):
            yield Check("Weights", "missing", *missing)
        else:
            yield Check("Weights", "ready", f"{each.title} ({each.megabytes} MB)")


def _devices(devices: Sequence[Device], known: bool) -> Iterator[Check]:
    for device in devices:
        memory = f", {bytes_text(device.memory_bytes)} of memory" if device.memory_bytes else ""
        name = "GPU" if device.is_gpu else "CPU"
        if device.available:
            yield Check(name, "ready", f"{device.name}{memory}")
        else:
            remedy = "Everything works on the CPU; pages that need a GPU say so."
            yield Check(name, "missing", device.reason, remedy)
    if not known:
        yield Check("GPU", "checking", "Looking for GPUs …")


def build_checks(needless: str) -> tuple[Check, ...]:
    """A line where a smaller PyTorch is enough. needless: what `devices.needless_gpu_build` found."""
    if not needless:
        return ()
    remedy = f"Without a GPU the CPU-only build is enough, and several GB smaller: {CPU_ONLY_INSTALL}"
    return (Check("PyTorch", "ready", f"{needless}, built for GPUs; none was found here", remedy),)


def precision_checks(devices: Sequence[Device], chosen: Callable[[str], str]) -> tuple[Check, ...]:
    """A line for each device: in which precision our recipes compute there, and why. chosen: tries it on a device."""
    return tuple(Check("Precision", "ready", chosen(each.id)) for each in devices if each.available)


def compiler_checks(devices: Sequence[Device], problem_of: Callable[[str], str]) -> Iterator[Check]:
    """A line for each device: whether steps can be compiled for it, as `training.compilers.compile_problem` tells."""
    for device in devices:
        if not device.available:
            continue
        if problem := problem_of(device.id):
            yield Check("Compiling", "missing", f"{device.name}: not possible", problem)
        else:
            yield Check("Compiling", "ready", f"Training steps can be compiled for {device.name}")


def profiler_checks(devices: Sequence[Device], problem_of: Callable[[str], str]) -> Iterator[Check]:
    """A line for each GPU: whether a profile shows what runs on it, as `profiling.record.kernels_problem` tells."""
    for device in devices:
        if not (device.is_gpu and device.available):
            continue
        if problem := problem_of(device.id):
            remedy = (
                "Training is not affected. On NVIDIA cards an administrator may have to allow profiling (the driver's "
                "option NVreg_RestrictProfilingToAdminUsers=0), and no other profiler may run at the same time."
                if device.id.startswith("cuda")
                else "Training is not affected."
            )
            yield Check("Profiler", "missing", problem, remedy)
        else:
            yield Check("Profiler", "ready", f"Sees the GPU kernels of a training step on {device.name}")


def _workers_text(settings: Settings, devices: Sequence[Device], slots: Sequence[Slot] | None) -> str:
    if settings.scheduler:
        return f"Trains on the cluster at {settings.scheduler}{'' if slots is None else f': {workers_text(slots)}'}"
    there = [each for each in devices if each.available]
    processes = f"{len(there)} worker process{'es' if len(there) != 1 else ''}"
    threads = count(settings.threads_beside(sum(each.is_gpu for each in there)), "CPU thread")
    return f"Trains in {processes} of this machine, {threads} each"


def _shared_memory(settings: Settings) -> Iterator[Check]:
    """How much there is for loader workers on this machine; little in many containers."""
    free = free_shared_memory()
    if free is None or settings.scheduler:
        return
    text = f"{bytes_text(free)} free in {SHARED_MEMORY}, through which loader workers hand their batches over"
    problem = shared_memory_problem(recipe_config("baseline", "tutorial"), EUROSAT_TILES)
    remedy = (
        "Enough for the tutorial's way; large batches or many loader workers need more. A container gets it with "
        "`--shm-size=1g` or `--ipc=host`."
    )
    enough = "" if free >= _ENOUGH_SHARED else remedy
    yield Check("Shared memory", "problem" if problem else "ready", text, problem or enough)


def _kept(settings: Settings, runs_refused: str) -> Iterator[Check]:
    """Where runs and the cache are kept, as far as something is to be said about it."""
    yield _runs(settings, runs_refused)
    yield from _going(settings)
    for each in settings.moved:
        if each.what == "cache" and each.is_closed:
            yield Check("Cache", "missing", each.sentence, "Then start the app again.")
        elif each.what == "cache":
            yield Check("Cache", "ready", each.sentence)
        else:
            remedy = "Set EUROSAT_RUNS to a folder that stays, then start the app again."
            yield Check("Runs", "missing", each.sentence, remedy)


def _runs(settings: Settings, refused: str) -> Check:
    if refused:
        works = "Tiles, Convolution, Model and Predict work"
        if os.access(settings.runs, os.R_OK | os.X_OK):
            works = f"Stored runs can be looked at, and {works}"
        nothing = f"Nothing can be stored in {settings.runs} ({refused})"
        text = f"{nothing}, so nothing can be trained, profiled or measured. {works}"
        remedy = "Set EUROSAT_RUNS to a folder that you may write, then start the app again."
        return Check("Runs", "problem", text, remedy)
    place = next((each for each in (settings.runs, *settings.runs.parents) if each.exists()), Path.cwd())
    free = shutil.disk_usage(place).free
    text = f"{bytes_text(free)} free for runs in {settings.runs}"
    if free < _ENOUGH_DISK:
        return Check("Disk", "problem", text, "Free some space, or set EUROSAT_RUNS to another disk.")
    return Check("Disk", "ready", text)


_NEARLY_FULL = 0.9


def nearly_full(settings: Settings) -> bool:
    """Whether there are nearly as many runs as are kept."""
    return _stored(settings) >= _NEARLY_FULL * settings.keep_runs


def _stored(settings: Settings) -> int:
    """How many folders there are below that of the runs; nearly all are of one run each."""
    try:
        with os.scandir(settings.runs) as entries:
            return sum(each.is_dir() for each in entries)
    except OSError:
        return 0


def _going(settings: Settings) -> Iterator[Check]:
    """A warning before runs are removed because there are too many."""
    if nearly_full(settings):
        text = f"{_stored(settings):,} runs are stored, and {settings.keep_runs:,} is the most this lab keeps"
        remedy = (
            "Each new one then removes the oldest that has ended. Mark those you need with *Keep*, take them along "
            "from the Compare page, or set EUROSAT_KEEP_RUNS to a larger number. Imported runs always stay."
        )
        yield Check("Runs", "missing", text, remedy)
