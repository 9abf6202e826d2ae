"""The run store: `runs/<run_id>/` on disk is the truth about every run.

`run.json` (settings, state, times, figures; written atomically), `events.jsonl` (append-only), `split.json`,
`predictions.npz`, `model.pt`, and the lock that its living process holds.
"""

import errno
import itertools
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eurosat_core.errors import RunError
from eurosat_core.folders import PARTIAL, append_whole, write_problem, write_whole
from eurosat_core.runs.history import RunEvent, chosen_form, encoded_event, line_of
from eurosat_core.runs.record import RunRecord, State, TilesUsed, read_record, record_text
from eurosat_core.training.config import TrainConfig

logger = logging.getLogger(__name__)

_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9_]{1,40}-[a-z0-9]{4}")
_MAKING_SECONDS = 5.0
_GOING = ".deleted-"  # begins the name of a folder that is being removed
_KEPT = "kept"  # a file of a run that is not removed to make room


def _new_id(model: str, now: float) -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}-{model}-{secrets.token_hex(2)}"


# Two writes may fall into one tick of the file system's clock, but the second one makes another file.
_Stamp = tuple[int, int, int]  # time of the last change, inode, size


class _Seen(threading.local):
    """What a thread has read of all runs while it looks at them once. at: how often the store had written then."""

    looking: bool = False
    at: int = -1
    records: Sequence[RunRecord] = ()
    problems: Sequence[str] = ()


class RunStore:
    """All runs below one folder. Safe to use from several threads and processes: every write is atomic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, tuple[_Stamp, RunRecord]] = {}  # by id: which state of the file was read, what it held
        self._changes = itertools.count(1)
        self._unwritten: dict[str, RunRecord] = {}  # runs whose end the disk has not taken yet
        self._written = 0  # the last change of this store to what `all` says
        self._seen = _Seen()

    def write_problem(self) -> str:
        """Why no run can be stored here, as a sentence with what to do; empty when one can."""
        return self.refusal(write_problem(self.folder))

    def refusal(self, reason: str) -> str:
        """As `write_problem`, of a reason that `folders.write_problem` gave."""
        if not reason:
            return ""
        remedy = "Set EUROSAT_RUNS to a folder that you may write, and start again."
        return f"No run can be stored in {self.folder} ({reason}). {remedy}"

    def folder_of(self, run_id: str) -> Path:
        """The folder of a run. Raises `RunError` for a name that is no run id, so that none leads elsewhere."""
        if not _ID.fullmatch(run_id):
            raise RunError(f"'{run_id[:60]}' is not the name of a run. Choose one from the list of runs.")
        return self.folder / run_id

    def create(
        self, config: TrainConfig, owner: str, tiles: TilesUsed, kind: str = "train", plan: dict[str, Any] | None = None
    ) -> RunRecord:
        """A new run on disk, waiting. Raises `RunError` when the folder cannot be written."""
        with self._new_run(config, owner, tiles, "queued", kind, plan or {}) as record:
            self.write(record)
        return record

    def create_locked(
        self, config: TrainConfig, owner: str, tiles: TilesUsed, kind: str, plan: dict[str, Any]
    ) -> tuple[RunRecord, FileLock]:
        """A new run on disk that this process works on from now on, and its lock. Raises `RunError` likewise."""
        with self._new_run(config, owner, tiles, "running", kind, plan) as record:
            lock = self.lock(record.id)  # before others can see it, or they could take it for an orphan
            self.write(replace(record, started=record.created))
        return self.get(record.id), lock

    @contextmanager
    def _new_run(
        self, config: TrainConfig, owner: str, tiles: TilesUsed, state: State, kind: str, plan: dict[str, Any]
    ) -> Iterator[RunRecord]:
        """A run with a folder of its own, which is to be written meanwhile; nothing is left of one that cannot be."""
        now = time.time()
        with self.storing("The run"):
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                record = RunRecord(_new_id(config.model, now), owner, state, config, tiles, now, kind, plan=plan)
                with suppress(FileExistsError):
                    self.folder_of(record.id).mkdir()
                    break
            try:
                yield record
            except OSError:
                shutil.rmtree(self.folder_of(record.id), ignore_errors=True)
                raise

    @contextmanager
    def storing(self, what: str) -> Iterator[None]:
        """While `what` is stored: turn what the file system says to it into a `RunError` with a sentence."""
        try:
            yield
        except OSError as error:
            raise RunError(
                self.write_problem()
                or f"{what} could not be stored in {self.folder}: {error.strerror or error}. Free some disk space, or "
                "name another folder in EUROSAT_RUNS."
            ) from error

    def write(self, record: RunRecord) -> None:
        """Replace `run.json` in one step, so that a reader sees the old or the new one, never half of it."""
        write_whole(self.folder_of(record.id) / "run.json", record_text(record).encode())
        self._unwritten.pop(record.id, None)
        self._written = next(self._changes)

    def update(self, run_id: str, **changes: Any) -> RunRecord:
        """Change some fields of a run, and return it as it is now."""
        record = replace(self.get(run_id), **changes)
        self.write(record)
        return record

    def end(self, run_id: str, state: State, message: str, **figures: Any) -> RunRecord:
        """Note that and how a run ended, and what else ran on its machine meanwhile, in this program or another.

        An end that the disk does not take is known to this store all the same, and `settle` writes it later.
        """
        record = self.get(run_id)
        began = record.started or record.created
        now = max(time.time(), began)  # somebody may have put the clock back
        concurrent_runs: tuple[str, ...] = ()
        if record.started is not None:
            place = (record.cluster, record.host)
            there = (each for each in self.all()[0] if (each.cluster, each.host) == place and each.id != run_id)
            concurrent_runs = tuple(sorted(each.id for each in there if each.ran_since(began)))
        record = replace(record, state=state, message=message, ended=now, concurrent_runs=concurrent_runs, **figures)
        try:
            self.write(record)
        except OSError as error:
            if not self.folder_of(run_id).is_dir():
                raise
            logger.warning("that the run %s is %s cannot be written yet: %s", run_id, state, error.strerror or error)
            self._unwritten[run_id] = record
            self._written = next(self._changes)
        return record

    def settle(self) -> None:
        """Write the ends that the disk did not take before. Raises `OSError` where it still does not."""
        for record in list(self._unwritten.values()):
            if self.folder_of(record.id).is_dir():
                self.write(record)
            else:  # somebody has removed it
                self._unwritten.pop(record.id, None)

    def get(self, run_id: str) -> RunRecord:
        """One run. Raises `RunError` when it does not exist or its `run.json` cannot be used."""
        path = self.folder_of(run_id) / "run.json"
        if (unwritten := self._unwritten.get(run_id)) is not None:
            return unwritten
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            known = self._read.get(run_id)
            if known is not None and known[0] == stamp:
                return known[1]
            record = read_record(path)
        except FileNotFoundError as error:
            if path.parent.is_dir():
                raise RunError(f"The run {run_id} is damaged: it has no run.json. Delete its folder.") from error
            raise RunError(
                f"There is no run {run_id}. It may have been deleted; choose another from the list of runs."
            ) from error
        except OSError as error:
            raise RunError(f"The run {run_id} cannot be read: {error.strerror or error}.") from error
        self._read[run_id] = (stamp, record)
        return record

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """While open, this thread reads the list of all runs once, and anew only after this store has changed it.

        A page asks for it at every estimate: 66 times for the Speed page, at a millisecond for sixty runs.
        """
        seen, before = self._seen, self._seen.looking
        seen.looking = True
        try:
            yield
        finally:
            seen.looking = before
            seen.at, seen.records, seen.problems = -1, (), ()

    def all(self) -> tuple[list[RunRecord], list[str]]:
        """All runs, newest first, and a sentence for each folder that looks like a run but cannot be used."""
        seen, written = self._seen, self._written
        if not (seen.looking and seen.at == written):
            seen.records, seen.problems = self._read_all()
            seen.at = written
        return [*seen.records], [*seen.problems]

    def _read_all(self) -> tuple[list[RunRecord], list[str]]:
        records: list[RunRecord] = []
        problems: list[str] = []
        try:
            names = [name for name in os.listdir(self.folder) if _ID.fullmatch(name)]  # noqa: PTH208 (speed)
        except FileNotFoundError:
            return [], []
        except OSError as error:
            return [], [f"The runs in {self.folder} cannot be read: {error.strerror or error}."]
        for name in names:
            try:
                records.append(self.get(name))
            except RunError as error:
                if not (isinstance(error.__cause__, FileNotFoundError) and self._in_the_making(name)):
                    problems.append(str(error))
        records.sort(key=lambda each: (each.created, each.id), reverse=True)
        return records, problems

    def _in_the_making(self, run_id: str) -> bool:
        """Whether a run is just being created or deleted, so that its `run.json` is not there yet or any more."""
        try:
            return abs(time.time() - self.folder_of(run_id).stat().st_mtime) < _MAKING_SECONDS
        except FileNotFoundError:  # deleted this very moment
            return True
        except OSError:
            return False

    def append(self, run_id: str, events: Iterable[RunEvent | bytes], at: float | None = None) -> None:
        """Add events to a run, each with the time it was written; its config becomes what was chosen for it.

        All of them or none, then `OSError` is raised. events: as they are, or encoded already.
        """
        now = round(time.time() if at is None else at, 3)
        lines = []
        for event in map(encoded_event, events):
            if form := chosen_form(event):
                config = self.get(run_id).config
                config = replace(config, precision=form.precision, channels_last=form.channels_last)
                self.update(run_id, config=config)
            lines.append(line_of(event, now))
        append_whole(self.folder_of(run_id) / "events.jsonl", b"".join(lines))

    def save(self, run_id: str, files: dict[str, bytes]) -> None:
        """Keep a run's artifacts, each written whole or not at all."""
        folder = self.folder_of(run_id)
        for name, content in files.items():
            if Path(name).name != name:
                raise RunError(f"'{name}' is not a file name.")
            write_whole(folder / name, content)

    def load(self, run_id: str, name: str) -> bytes:
        """One artifact. Raises `RunError` when the run has none of that name."""
        try:
            return (self.folder_of(run_id) / name).read_bytes()
        except OSError as error:
            which = "that got through an epoch" if name.endswith((".pt", ".npz")) else "that got far enough"
            raise RunError(f"The run {run_id} kept no {name}. Only a run {which} has one: start it again.") from error

    def size(self, run_id: str, name: str) -> int | None:
        """Bytes of one artifact; None when the run has none of that name."""
        try:
            return (self.folder_of(run_id) / name).stat().st_size
        except OSError:
            return None

    def delete(self, run_id: str) -> None:
        """Remove a run and everything it left behind. Raises `RunError` where it may not be removed."""
        folder = self.folder_of(run_id)
        going = folder.with_name(f"{_GOING}{run_id}")
        try:
            folder.rename(going)  # at once: whoever is killed from here on leaves no half of a run
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                message = f"The run {run_id} cannot be deleted: {folder} may not be changed by the lab."
                raise RunError(message) from error
            going = folder  # so full that not even a name can change: piece by piece, which makes room
        shutil.rmtree(going, ignore_errors=True)
        self._unwritten.pop(run_id, None)
        self._read.pop(run_id, None)
        self._written = next(self._changes)

    def tidy(self) -> None:
        """At start-up: remove what a process that was killed had half made, half written or half deleted."""
        for going in self.folder.glob(f"{_GOING}*"):
            shutil.rmtree(going, ignore_errors=True)
        for folder in self.folder.glob("*-*"):
            with suppress(RunError, OSError):  # no run; another process works on it; it may not be changed
                names = {each.name for each in folder.iterdir()} - {"lock"}
                partial = {name for name in names if PARTIAL.fullmatch(name)}
                if not (partial or not names) or self._in_the_making(folder.name):
                    continue
                lock = self.lock(folder.name)
                try:
                    for name in partial:
                        (folder / name).unlink()
                finally:
                    lock.release()
                if names == partial:  # it never got its run.json
                    shutil.rmtree(folder)

    def keep(self, run_id: str, kept: bool) -> None:
        """Say of a run that it is never removed to make room for others, or take that back. Raises `RunError`."""
        path = self.folder_of(run_id) / _KEPT
        with self.storing("That it is kept"):
            path.touch() if kept else path.unlink(missing_ok=True)

    def is_kept(self, run_id: str) -> bool:
        """Whether a run is never removed to make room for others."""
        return (self.folder_of(run_id) / _KEPT).exists()

    def surplus(self, most: int, spared: str = "") -> list[RunRecord]:
        """The runs to remove so that `most` are left, oldest first.

        None that is active, kept, recorded elsewhere, or of the owner that is spared: so more may be left.
        """
        records = self.all()[0]
        going: list[RunRecord] = []
        for each in reversed(records):
            if len(going) >= len(records) - most:
                break
            if not (each.is_active or each.recorded_on or each.owner == spared or self.is_kept(each.id)):
                going.append(each)
        return going

    def lock(self, run_id: str) -> FileLock:
        """Take the lock that says: a living process works on this run. The system frees it when the process dies.

        Raises `RunError` when another process holds it, or there is no such run.
        """
        folder = self.folder_of(run_id)
        if not folder.is_dir():  # else the lock would make it
            raise RunError(f"There is no run {run_id}. It may have been deleted.")
        lock = FileLock(folder / "lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"The run {run_id} belongs to another process that is still working on it.") from None
        except NotImplementedError as error:  # how a file system without locks is told of
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from error
        return lock

    def told(self, run_id: str) -> int:
        """How many events a run has on disk. What a process that died left of another one is removed."""
        path = self.folder_of(run_id) / "events.jsonl"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return 0
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
        return content.count(b"\n")

    def mark_interrupted(self, cluster: str = "") -> list[RunRecord]:
        """Runs that were running, and whose process is gone, become `interrupted`; the others stay.

        cluster: whose runs stay, too, for its workers may still do them.
        """
        marked = []
        for record in self.all()[0]:
            if record.state not in ("running", "paused") or (cluster and record.cluster == cluster):
                continue
            with suppress(RunError, OSError):  # another process has it, or it cannot be written
                lock = self.lock(record.id)
                try:
                    if self.get(record.id).state in ("running", "paused"):
                        message = "The program that ran it was stopped. What it had reported until then is kept."
                        marked.append(self.end(record.id, "interrupted", message))
                finally:
                    lock.release()
        return marked
