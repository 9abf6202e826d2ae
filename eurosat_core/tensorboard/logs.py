"""What TensorBoard reads: scalars and traces of all runs, kept up to date beside it.

This is TensorBoard's own process, `python -m eurosat_core.tensorboard.logs RUNS CACHE`, started by the server, which
never imports it: it loads TensorBoard's message formats. It keeps a log folder in the cache in step with the run store:
`folder/<run>/train` and `folder/<run>/validation` hold the scalars, `folder/<run>/*.pt.trace.json.gz` copies of the
traces. The folder is rebuilt whenever it starts, so nothing in it is worth keeping. Its first line on stdout is its
port, and it ends when its standard input does.
"""

import importlib.metadata
import io
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from eurosat_core.errors import LabError, RunError, TraceError
from eurosat_core.profiling.plan import ProfilePlan, trace_file
from eurosat_core.profiling.plugin_copy import plugin_copy
from eurosat_core.profiling.stream import TraceSource
from eurosat_core.records import lines_after
from eurosat_core.runs.history import read_event
from eurosat_core.runs.profiles import recorded_trace
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.tensorboard.process import (
    KEPT_PROFILES,
    KEPT_TRAININGS,
    MAX_TRACE_MB,
    PATH_PREFIX,
    RESTART,
    SHOWN_PROFILES,
    SHOWN_TRAININGS,
    plugin_installed,
)
from eurosat_core.training.events import EpochDone, Started, StepDone

_BLOCK = 1 << 20  # bytes of events read at a time
_MEGABYTE = 1024**2
# Steps are written this many seconds apart, and later in a run further apart, so that no run, however long, fills the
# disk or TensorBoard's memory: 60 points in a minute, 1,300 in ten hours.
_LEAST_GAP_SECONDS = 1.0
_GAPS_PER_RUN = 200


class RunScalars:
    """One run: `folder/train` and `folder/validation`, so that TensorBoard draws both into one chart."""

    def __init__(self, events: Path, folder: Path, began: float) -> None:
        self._events = events
        self._folder = folder
        self._began = began
        self._offset = 0
        self._steps_per_epoch = 0
        self._written_seconds = float("-inf")

    def sync(self) -> None:
        """Write what was added since the last time. Raises `OSError` when the files cannot be written."""
        while block := lines_after(self._events, self._offset, _BLOCK):
            records: dict[str, list[Record]] = {"train": [], "validation": []}
            for line in block.splitlines():
                for part, record in self._records(line):
                    records[part].append(record)
            for part, found in records.items():
                if found:
                    self._append(part, found)
            self._offset += len(block)

    def _records(self, line: bytes) -> Iterator[tuple[str, Record]]:
        try:
            event, at = read_event(line)
        except RunError:
            return
        when = self._began if at is None else at
        if isinstance(event, Started):
            self._steps_per_epoch = event.steps_per_epoch
        elif isinstance(event, StepDone):
            if self._is_due(event):
                step = (event.epoch - 1) * self._steps_per_epoch + event.step
                memory = None if event.memory_bytes is None else event.memory_bytes / _MEGABYTE
                figures = {
                    "step/loss": event.loss,
                    "step/accuracy": event.accuracy,
                    "step/tiles_per_second": event.tiles_per_second,
                    "step/memory_mb": memory,
                }
                yield "train", _record(when, step, figures)
        elif isinstance(event, EpochDone):
            figures = {
                "epoch/loss": event.train_loss,
                "epoch/accuracy": event.train_accuracy,
                "epoch/tiles_per_second": event.tiles_per_second,
                "epoch/seconds": event.seconds,
            }
            yield "train", _record(when, event.epoch, figures)
            figures = {"epoch/loss": event.val_loss, "epoch/accuracy": event.val_accuracy}
            yield "validation", _record(when, event.epoch, figures)

    def _is_due(self, event: StepDone) -> bool:
        if event.phase != "train" or not event.reported:
            return False
        gap = max(_LEAST_GAP_SECONDS, event.seconds / _GAPS_PER_RUN)
        if event.seconds < self._written_seconds + gap:
            return False
        self._written_seconds = event.seconds
        return True

    def _append(self, part: str, records: list[Record]) -> None:
        """In one write, so that a reader meets whole records."""
        folder = self._folder / part
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{int(self._began):010d}.lab"
        written = io.BytesIO()
        writer = RecordWriter(written)
        if not path.exists():
            writer.write(Record(wall_time=self._began, file_version="brain.Event:2").SerializeToString())
        for record in records:
            writer.write(record.SerializeToString())
        with path.open("ab") as file:
            file.write(written.getvalue())


def _record(when: float, step: int, figures: dict[str, Any]) -> Record:
    known = {tag: value for tag, value in figures.items() if value is not None}
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in known.items()]
    return Record(wall_time=when, step=step, summary=Summary(value=values))


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
            size = self._store.size(record.id, trace_file(cycle))
            if size is not None and size <= MAX_TRACE_MB * 1024**2:
                path = self._store.folder_of(record.id) / trace_file(cycle)
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


_SYNC_SECONDS = 3.0
_PREPARE_SECONDS = 3.0  # for traces, before it opens; the others follow
_NICENESS = 5  # reading traces must not disturb what is being measured


def main(runs: Path, cache: Path) -> None:
    """Serve until the server ends, or until it must start anew."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the server's terminal comes here, too
    with suppress(AttributeError, OSError):
        os.nice(_NICENESS)
    folder, lock = _own_folder(cache / "tensorboard")
    temporary = _temporary(folder)
    ending = threading.Lock()

    def end(status: int) -> None:
        ending.acquire()  # the first one ends it
        for each in psutil.Process().children(recursive=True):  # the profiler tab's, each at work on a trace
            with suppress(psutil.Error):
                each.kill()
        for place in (temporary, folder):
            shutil.rmtree(place, ignore_errors=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
        os._exit(status)  # threads of the profiler tab would wait for ever

    def end_with_server() -> None:
        sys.stdin.buffer.read()
        end(0)

    threading.Thread(target=end_with_server, daemon=True).start()
    try:
        temporary.mkdir(mode=0o700)
        # So that nothing is left behind when it is killed.
        os.environ |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
        tempfile.tempdir = str(temporary)
        _serve(RunStore(runs), folder)
    except BaseException:
        logger.exception("TensorBoard failed")
        end(1)
    end(RESTART)


def _serve(store: RunStore, folder: Path) -> None:
    """Returns when TensorBoard should start anew."""
    # Imported here, for processes that read traces import this module, too.
    from tensorboard.program import TensorBoard

    logs = TensorBoardLogs(store, folder / "logs", with_profiles=plugin_installed())
    until = time.monotonic() + _PREPARE_SECONDS
    while logs.sync() and time.monotonic() < until:
        pass
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of its own plug-ins' habits
    board = TensorBoard(plugins=_plugins())
    board.configure(
        logdir=str(folder / "logs"),
        host="127.0.0.1",
        port=0,
        path_prefix=PATH_PREFIX,
        load_fast="false",  # the fast loader is one more process, with a port of its own
        reload_interval=5.0,
    )
    print(board.launch().rstrip("/").removesuffix(PATH_PREFIX).rpartition(":")[2], flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody listens there any more
    while not logs.is_stale:
        time.sleep(_SYNC_SECONDS)
        try:
            logs.sync()
        except OSError as error:  # the disk is full, or the runs cannot be reached: what is there stays
            logger.warning("TensorBoard's logs are not up to date: %s", error)


def _plugins() -> list[Any]:
    """TensorBoard's tabs. One from another package that cannot be loaded is left out: it would end TensorBoard."""
    from tensorboard import default

    found: list[Any] = default.get_static_plugins()
    for each in importlib.metadata.entry_points(group="tensorboard_plugins"):
        try:
            found.append(each.load())
        except Exception as error:
            logger.warning("TensorBoard goes without %s, which cannot be loaded: %s", each.value, error)
    return found


def _own_folder(place: Path) -> tuple[Path, FileLock]:
    """A fresh folder in `place`, and the lock that says it is in use; those of dead processes are removed."""
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.lock"):
        with suppress(Timeout, OSError):
            with FileLock(old, timeout=0):
                dead = old.with_suffix("")
                for left in (_temporary(dead), dead):
                    shutil.rmtree(left, ignore_errors=True)
            old.unlink(missing_ok=True)
    folder = place / secrets.token_hex(8)
    lock = FileLock(folder.with_suffix(".lock"), timeout=10, thread_local=False)
    lock.acquire()
    folder.mkdir()
    return folder, lock


def _temporary(folder: Path) -> Path:
    """Where the profiler tab keeps what it has read. Not in `folder`: the path of a socket in it must be short."""
    return Path(tempfile.gettempdir()) / f"eurosat-{folder.name}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
