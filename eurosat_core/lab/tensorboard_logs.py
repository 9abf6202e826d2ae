"""TensorBoard's log folder, kept in step with the run store: scalars of trainings, copies of profiles' traces.

`folder/<run>/train`, `folder/<run>/validation` hold the scalars, `folder/<run>/*.pt.trace.json.gz` the traces. The
folder is rebuilt from the store whenever TensorBoard starts, so nothing in it is worth keeping.
"""

import logging
import shutil
from contextlib import suppress
from pathlib import Path

from eurosat_core.errors import LabError, TraceError
from eurosat_core.lab.profiles import trace_name
from eurosat_core.lab.recorded_profile import recorded_trace
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.runs import RunStore
from eurosat_core.lab.tensorboard import (
    KEPT_PROFILES,
    KEPT_TRAININGS,
    MAX_TRACE_MB,
    SHOWN_PROFILES,
    SHOWN_TRAININGS,
)
from eurosat_core.lab.tensorboard_scalars import RunScalars
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.profiling.plugin_copy import plugin_copy
from eurosat_core.profiling.stream import TraceSource

__all__ = ["RECORDED_RUN", "TensorBoardLogs"]

RECORDED_RUN = "recorded-example"
"""The bundled profile's name in TensorBoard, so that its tab is there before the first own profile."""

logger = logging.getLogger(__name__)


class TensorBoardLogs:
    """Fills `folder`, which it owns, from the run store. Call `sync` now and then.

    with_profiles: whether traces are copied, too, which nothing but the profiler tab reads.
    """

    def __init__(self, store: RunStore, folder: Path, *, with_profiles: bool = True) -> None:
        self._store = store
        self._folder = folder
        self._with_profiles = with_profiles
        self._making = folder.with_name(f"{folder.name}-making")  # traces become visible all at once, by renaming
        self._scalars: dict[str, RunScalars] = {}  # of runs that may still grow
        self._seen: set[str] = set()  # everything that was put into the folder, or is not going to be
        self._trainings = self._profiles = 0
        self._first = True
        self.is_stale = False
        """Whether TensorBoard should start anew: it never forgets a run that it has read, and keeps what it read."""

    def sync(self) -> bool:
        """Bring everything up to date, but publish one profile at most; whether another one waits."""
        self._folder.mkdir(parents=True, exist_ok=True)
        records = self._store.all()[0]
        self._forget_deleted()
        trainings = [each for each in records if each.kind == "train"]
        ended = [each for each in records if each.kind == "profile" and not each.is_active]
        profiles = ended if self._with_profiles else []
        if self._first:
            # Older ones stay away for good: TensorBoard reads everything that it is given.
            self._seen |= {each.id for each in [*trainings[SHOWN_TRAININGS:], *profiles[SHOWN_PROFILES:]]}
            self._first = False
            if self._with_profiles:
                with suppress(TraceError):  # the bundled file is gone
                    self._publish(RECORDED_RUN, [("cpu.001", recorded_trace())])
        for record in trainings:
            self._follow(record)
        waiting = [each for each in profiles if each.id not in self._seen]
        for record in waiting[:1]:
            self._publish_profile(record)
        if self._trainings > KEPT_TRAININGS or self._profiles > KEPT_PROFILES:
            self.is_stale = True
        return len(waiting) > 1

    def _follow(self, record: RunRecord) -> None:
        """Write a training's new figures; one that has ended is not looked at again."""
        if record.id in self._seen:
            return
        events = self._store.folder_of(record.id) / "events.jsonl"
        scalars = self._scalars.get(record.id)
        if scalars is None:
            scalars = self._scalars[record.id] = RunScalars(events, self._folder / record.id, record.created)
            self._trainings += 1
        scalars.sync()
        if not record.is_active:  # it was over before its events were read, so these were the last ones
            self._seen.add(record.id)
            del self._scalars[record.id]

    def _publish_profile(self, record: RunRecord) -> None:
        self._seen.add(record.id)
        worker = record.config.device.replace(":", "")
        traces: list[tuple[str, TraceSource]] = []
        for cycle in range(1, ProfilePlan.from_dict(record.plan).traces + 1):
            size = self._store.size(record.id, trace_name(cycle))
            if size is not None and size <= MAX_TRACE_MB * 1024**2:
                path = self._store.folder_of(record.id) / trace_name(cycle)
                traces.append((f"{worker}.{cycle:03d}", path))
        self._publish(record.id, traces)
        self._profiles += 1

    def _publish(self, run: str, traces: list[tuple[str, TraceSource]]) -> None:
        """Copy traces (name, source) into the run's folder; one that cannot be read is left out."""
        making = self._making / run
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        for name, source in traces:
            path = making / f"{name}.pt.trace.json.gz"
            try:
                with path.open("wb") as file:
                    file.writelines(plugin_copy(source))
            except LabError as error:
                logger.info("not shown in TensorBoard: %s of %s: %s", name, run, error)
                path.unlink()
        if any(making.iterdir()):
            making.replace(self._folder / run)

    def _forget_deleted(self) -> None:
        """Take away what the store no longer has. A store that cannot be looked into has lost nothing."""
        if not self._store.folder.is_dir():
            return
        for place in list(self._folder.iterdir()):
            if place.name != RECORDED_RUN and not (self._store.folder / place.name).exists():
                shutil.rmtree(place, ignore_errors=True)
                self._scalars.pop(place.name, None)
                self.is_stale = True
