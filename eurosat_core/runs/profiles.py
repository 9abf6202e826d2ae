"""Profiles that can be looked at: of runs, of uploaded traces, and the bundled one. A trace is read once for everybody.

Pages are drawn anew at every click, so what a trace says is kept, as much of it as fits into a budget.

The bundled one, recorded elsewhere, is of the baseline on synthetic tiles, so that the page has something to show at
once. `assets/recorded/profile.json.gz` is the trace of one cycle, which every trace viewer opens; what is known of its
recording stands in it under `eurosat_lab`. Made from a run of this lab, best on a machine with nothing else to do (else
a note says so):

    python -m eurosat_core profile --model baseline
    python -c "from eurosat_core.folders import ASSETS
from eurosat_core.runs.profiles import keep_as_recorded; keep_as_recorded('RUN')"
"""

import gzip
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from cachetools import LRUCache, cachedmethod

from eurosat_core.errors import ConfigError, LabError, RunError, TraceError
from eurosat_core.folders import ASSETS
from eurosat_core.models.catalog import CATALOG
from eurosat_core.profiling.advice import Advice, advice_for
from eurosat_core.profiling.columns import Kind
from eurosat_core.profiling.idle import IdleTimes, idle_times
from eurosat_core.profiling.launches import Queue, queues
from eurosat_core.profiling.memory_parts import MemoryParts, memory_parts
from eurosat_core.profiling.modules import ModuleRow, module_table
from eurosat_core.profiling.operators import call_chains, kernel_table, operator_table
from eurosat_core.profiling.overview import overview_of
from eurosat_core.profiling.plan import ProfilePlan, trace_file
from eurosat_core.profiling.roofline import Roofline, rooflines
from eurosat_core.profiling.timeline import Timeline, memory_curve, step_timeline
from eurosat_core.profiling.trace import Told, Trace, read_trace
from eurosat_core.runs.record import UNSEEN_KERNELS, RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import load_settings
from eurosat_core.training.config import SETTINGS, TrainConfig
from eurosat_core.wording import count, device_name

RECORDED = "recorded"
"""Key of the bundled profile."""
MAX_UPLOAD_MB = 100  # a trace of a million events has about 40 MB as gzip

_EVENTS_KEPT = 1_500_000  # of all traces in memory together, at about 200 bytes each
_READINGS_KEPT = 300
_UPLOADS_KEPT = 200
_POINTS = 240  # of a memory curve; two lines of it are drawn
_LARGE_FILE = 2 * 1024**2  # bytes; a smaller trace is read in a moment
_WAIT_SECONDS = 180.0


AFTER = "after_profile"
"""Of a profile on a GPU, in `summary`: how many times as long a step took in its process right after as before."""
SLOWER = 1.03
"""From so many times on, later timings in that process would not be what they are elsewhere."""


@dataclass(frozen=True)
class Profile:
    """Something to look at. key: a run's id, `recorded`, or a digest of the uploaded file.

    cycles: those that left a trace, counted from 1. config, plan: None where nobody knows them, as of an uploaded
    trace. machine, company: as in `RunRecord`. tiles: which ones, in words. recorded_on: of what was not measured here:
    where and when. after: as `AFTER`; None where it was not timed.
    """

    key: str
    origin: Literal["run", "upload", "recorded"]
    title: str
    cycles: tuple[int, ...]
    config: TrainConfig | None = None
    plan: ProfilePlan | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    company: tuple[str, ...] = ()
    tiles: str = ""
    recorded_on: str = ""
    after: float | None = None

    @property
    def unseen_reason(self) -> str:
        """Why its traces hold nothing of what a GPU did, as its worker found; empty where nobody knows."""
        return str(self.machine.get(UNSEEN_KERNELS, ""))


class Reading:
    """All that one trace says. Computed once; a step's timeline, idle times and queues when they are asked for.

    device: on which the steps were computed; empty where nobody knows.
    """

    def __init__(self, trace: Trace, device: str = "") -> None:
        self._trace = trace
        self._timelines: LRUCache[tuple[Any, ...], Timeline] = LRUCache(40)
        self._lock = threading.Lock()
        self.overview = overview_of(trace, device)
        self.operators = tuple(operator_table(trace))
        self.kernels = tuple(kernel_table(trace))
        self.memory = tuple(memory_curve(trace, _POINTS))
        self.chains = call_chains(trace)
        self.steps = len(self.overview.steps)
        self.events = len(trace) + len(trace.memory.time_ns)
        self.device_us = int(trace.duration_ns[trace.device_rows].sum()) / 1000
        """Time of all work on devices: torch's `Self CUDA time total`."""
        self.has_host_events = bool(len(trace.rows(Kind.OPERATOR, Kind.ANNOTATION)))
        self.loads_elsewhere = any("_MultiProcessingDataLoaderIter" in name for name in trace.names)
        """Whether loader workers prepared the batches: processes of their own, which no trace shows."""
        self.device_kind = _device_kind(trace)

    @cachedmethod(lambda self: self._timelines, lock=lambda self: self._lock)
    def timeline(self, step: int, stretch_us: tuple[float, float] | None = None) -> Timeline:
        """What happened when in a step, or in a stretch of it. Raises `TraceError` for a step that is not there."""
        return step_timeline(self._trace, step, stretch_us)

    @cached_property
    def idle(self) -> tuple[IdleTimes, ...]:
        """Why each GPU was idle."""
        return idle_times(self._trace)

    @cached_property
    def queues(self) -> tuple[Queue, ...]:
        """How far the host was ahead of each GPU."""
        return queues(self._trace)

    @cached_property
    def memory_parts(self) -> tuple[MemoryParts, ...]:
        """Whose memory it was, where the recording noted that."""
        return memory_parts(self._trace, _POINTS)

    @cached_property
    def modules(self) -> tuple[ModuleRow, ...]:
        """Time by module, where the trace marks their calls."""
        return tuple(module_table(self._trace))

    @cached_property
    def rooflines(self) -> tuple[Roofline, ...]:
        """Operators under the roofs of each device, where the trace holds shapes."""
        return rooflines(self._trace)

    def advice(self, config: TrainConfig | None) -> list[Advice]:
        """What to change. config: the recorded training's, so that nothing is advised that is set already."""
        return advice_for(self.overview, config.to_dict() if config else None)


class Profiles:
    """The server's profiles. All methods may be called from any thread."""

    def __init__(self, store: RunStore, events_kept: int = _EVENTS_KEPT) -> None:
        self._store = store
        least = events_kept / _READINGS_KEPT  # of a reading's size, so that there are never more of them
        self._readings: LRUCache[tuple[Any, ...], Reading] = LRUCache(
            events_kept, lambda each: min(max(each.events, least), events_kept)
        )
        self._uploads: LRUCache[str, Profile] = LRUCache(_UPLOADS_KEPT)
        self._changed = threading.Condition()  # its lock holds for both
        self._small, self._large = threading.BoundedSemaphore(4), threading.BoundedSemaphore(1)

    # -- what there is

    def of_run(self, record: RunRecord) -> Profile:
        """A run of kind `profile`; without cycles while it has no trace."""
        plan = ProfilePlan.from_dict(record.plan)
        cycles = [cycle for cycle in range(1, plan.traces + 1) if self._size(record.id, cycle) is not None]
        return Profile(
            record.id,
            "run",
            _title(record),
            tuple(cycles),
            record.config,
            plan,
            record.machine,
            record.company,
            f"{count(record.tiles.count, 'tile')} ({record.tiles.source})",
            record.recorded_on,
            record.summary.get(AFTER),
        )

    def add_upload(self, name: str, content: bytes, told: Told | None = None) -> Profile:
        """Read an uploaded trace and keep what it says. Raises `TraceError` with a sentence."""
        digest = hashlib.blake2b(content, digest_size=12).hexdigest()
        if (known := self.uploaded(digest)) is not None:
            return known
        reading = self._read((digest, 1), len(content), lambda: content, told=told)
        devices = [each.name or device_name(f"cuda:{each.index}") for each in reading.overview.devices]
        title = f"Uploaded: {_plain_name(name)}"
        profile = Profile(digest, "upload", title, (1,), machine={"device_name": ", ".join(devices)})
        with self._changed:
            self._uploads[digest] = profile
        return profile

    def uploaded(self, key: str) -> Profile | None:
        """An uploaded trace; None when it is no longer in memory."""
        with self._changed:
            return self._uploads.get(key) if (key, 1) in self._readings else None

    # -- what a trace says

    def is_read(self, profile: Profile, cycle: int) -> bool:
        """Whether a cycle's trace need not be read any more."""
        with self._changed:
            return self._key(profile, cycle) in self._readings

    def reading(self, profile: Profile, cycle: int, told: Told | None = None) -> Reading:
        """What a cycle's trace says. Raises `TraceError`, or `RunError` when the run has none."""
        size = self._size(profile.key, cycle) if profile.origin == "run" else None
        device = profile.config.device if profile.config else ""
        return self._read(self._key(profile, cycle), size or 0, lambda: self.trace_file(profile, cycle), device, told)

    def readings(self, profile: Profile) -> list[Reading]:
        """Of all cycles that can be read."""
        found = []
        for cycle in profile.cycles:
            try:
                found.append(self.reading(profile, cycle))
            except LabError:
                continue
        return found

    def trace_file(self, profile: Profile, cycle: int) -> bytes:
        """A cycle's trace as gzip. Raises `RunError` when it is gone, `TraceError` for an uploaded one."""
        if profile.origin == "upload":
            raise TraceError("This trace is no longer in the lab's memory. Upload it again.")
        if profile.origin == "recorded":
            return recorded_trace()
        return self._store.load(profile.key, trace_file(cycle))

    def _size(self, run_id: str, cycle: int) -> int | None:
        return self._store.size(run_id, trace_file(cycle))

    def _key(self, profile: Profile, cycle: int) -> tuple[Any, ...]:
        if profile.origin == "run":  # a run that was deleted and brought back from elsewhere has other files
            return (profile.key, cycle, self._size(profile.key, cycle))
        return (profile.key, 1)

    @cachedmethod(
        lambda self: self._readings, key=lambda _self, key, *_, **__: key, condition=lambda self: self._changed
    )
    def _read(
        self, key: tuple[Any, ...], size: int, content: Callable[[], bytes], device: str = "", told: Told | None = None
    ) -> Reading:
        """What a trace says. Others who ask for it meanwhile wait for this reading."""
        with self._turn(size):
            return Reading(read_trace(content(), told), device)

    @contextmanager
    def _turn(self, size: int) -> Iterator[None]:
        """Few at a time, and of the large ones one: reading takes several times a file's size in memory."""
        turn = self._large if size > _LARGE_FILE else self._small
        if not turn.acquire(timeout=_WAIT_SECONDS):
            raise TraceError("The lab is still reading other large traces. Try again in a few minutes.")
        try:
            yield
        finally:
            turn.release()


_RECORDED_FILE = ASSETS / "recorded" / "profile.json.gz"
_ABOUT = "eurosat_lab"


def recorded_trace() -> bytes:
    """The bundled profile's trace (gzip). Raises `TraceError` when the file is gone."""
    try:
        return _RECORDED_FILE.read_bytes()
    except OSError as error:
        raise TraceError(_no_example("its file is missing")) from error


@lru_cache(maxsize=1)
def recorded_profile() -> Profile:
    """The bundled profile. Raises `TraceError` when its file is missing or damaged."""
    try:
        about = json.loads(gzip.decompress(recorded_trace()))[_ABOUT]
        config, plan = TrainConfig.from_dict(about.pop("config")), ProfilePlan.from_dict(about.pop("plan"))
        cycles = (about.pop("cycle"),)
        return Profile(RECORDED, "recorded", f"Example: {_settings(config)}", cycles, config, plan, **about)
    except (OSError, EOFError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise TraceError(_no_example("its file is damaged")) from error


def keep_as_recorded(run_id: str, note: str = "", target: Path = _RECORDED_FILE) -> None:
    """Bundle the last cycle of a finished profile run of the store in the settings. Raises `RunError`.

    Only of synthetic tiles: what is bundled must be what everybody can record. note: what else must be said of it.
    """
    store = RunStore(load_settings().runs)
    record = store.get(run_id)
    if record.kind != "profile" or record.state != "finished" or record.tiles.source != "synthetic":
        raise RunError(f"The run {run_id} is not a finished profile on synthetic tiles. Record one.")
    plan = ProfilePlan.from_dict(record.plan)
    trace = json.loads(gzip.decompress(store.load(run_id, trace_file(plan.traces))))
    for name in ("traceName", "host_name", "trace_id"):  # a temporary file's path, and whose machine it was
        trace.pop(name, None)
    when = time.strftime("%B %Y", time.gmtime(record.created))
    trace[_ABOUT] = {
        "config": asdict(record.config),
        "plan": asdict(plan),
        "cycle": plan.traces,
        "machine": record.machine,
        "tiles": count(record.tiles.count, "synthetic tile"),
        "recorded_on": f"{record.machine['device_name']}, {when}{note and f' ({note})'}",
    }
    target.write_bytes(gzip.compress(json.dumps(trace, separators=(",", ":")).encode(), 9, mtime=0))


def _no_example(why: str) -> str:
    return f"The recorded example cannot be shown: {why}. Install the lab anew, or record a profile of your own."


def _plain_name(name: str) -> str:
    """A file's name without what all traces end with; of a long one the middle goes."""
    shown = "".join(each for each in name if each.isprintable() and each not in "[]<>`")
    shown = re.sub(r"(\.pt)?(\.trace)?(\.json)?(\.gz|\.zip|\.tar|\.tgz)*$", "", shown) or "a trace"
    return shown if len(shown) <= 44 else f"{shown[:26]}…{shown[-17:]}"


def _title(record: RunRecord) -> str:
    """`Baseline · CPU · batch 40 · 92d6`: what tells a participant's profiles apart, and the end of the run's id."""
    return f"{_settings(record.config)} · {record.id[-4:]}"


def _settings(config: TrainConfig) -> str:
    words = [CATALOG[config.model].title, device_name(config.device), f"batch {config.batch_size}"]
    if config.source != "loader":
        words.append("from memory")
    elif config.workers != 2:
        words.append(count(config.workers, "worker"))
    if config.precision != "float32":
        words.append(SETTINGS["precision"].in_words(config.precision))
    if config.channels_last:
        words.append("channels last")
    return " · ".join(words)


def _device_kind(trace: Trace) -> str:
    """What torch calls the device in its table: CUDA (AMD's, too) or XPU; empty without work on any."""
    if not len(trace.device_rows):
        return ""
    calls = {trace.names[name] for name in trace.name[trace.rows(Kind.RUNTIME)].tolist()}
    is_intel = any(each.startswith(("ur", "ze")) for each in calls) or any(
        each.startswith("xpu") for each in trace.memory.device
    )
    return "XPU" if is_intel else "CUDA"
