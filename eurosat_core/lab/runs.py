"""The run store: `runs/<run_id>/` on disk is the truth about every run.

`run.json` (settings, state, times, figures; written atomically), `events.jsonl` (append-only), `split.json`,
`predictions.npz`, `model.pt`, and the lock that its living process holds.
"""

import json
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab.events import RunEvent, event_to_dict
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import TrainConfig

__all__ = ["ACTIVE", "ENDED", "RunRecord", "RunStore", "State", "TilesUsed"]

State = Literal["queued", "running", "paused", "finished", "failed", "cancelled", "interrupted"]
ACTIVE: frozenset[State] = frozenset({"queued", "running", "paused"})
ENDED: frozenset[State] = frozenset({"finished", "failed", "cancelled", "interrupted"})

_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9_]{1,40}-[a-z0-9]{4}")
_FORMAT = 1
_MAKING_SECONDS = 5.0
_REPLACE_TRIES = 10
_LATEST = 4e9  # seconds since 1970: a time beyond the year 2096 is a slip


@dataclass(frozen=True)
class TilesUsed:
    """Which tiles a run was made for: enough to find and to recognise them again."""

    fingerprint: str
    source: str
    place: str
    count: int
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds. Times are seconds since 1970 (UTC); `seconds` in `summary` is without pauses.

    message: why it failed, was interrupted or cancelled, as a sentence. beside: what else ran meanwhile.
    machine: device name, threads, versions. summary: the figures shown in lists and comparisons. plan: what a run
    of another kind than `train` was to do besides, checked; of a training, whether it is measured with the machine
    `alone`, and the `group` of trainings it belongs to. test_opened: when its
    sealed test part was first looked at. recorded_on: of a run that came from another lab: on which machine, and when;
    such a run has ended for good.
    """

    id: str
    owner: str
    state: State
    config: TrainConfig
    tiles: TilesUsed
    created: float
    kind: str = "train"
    started: float | None = None
    ended: float | None = None
    message: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    test_opened: float | None = None
    recorded_on: str = ""

    def ran_since(self, moment: float) -> bool:
        """Whether it was at work here at some time after `moment` (seconds since 1970)."""
        if self.recorded_on:  # elsewhere, so it kept nobody waiting
            return False
        return self.started is not None and (self.is_active or (self.ended or 0.0) > moment)

    @property
    def is_active(self) -> bool:
        """Whether it still waits, runs or pauses."""
        return self.state in ACTIVE


def _new_id(model: str, now: float) -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}-{model}-{secrets.token_hex(2)}"


# Two writes may fall into one tick of the file system's clock, but the second one makes another file.
_Stamp = tuple[int, int, int]  # time of the last change, inode, size


class RunStore:
    """All runs below one folder. Safe to use from several threads and processes: every write is atomic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, tuple[_Stamp, RunRecord]] = {}  # by id: which state of the file was read, what it held

    def folder_of(self, run_id: str) -> Path:
        """The folder of a run. Raises `RunError` for a name that is no run id, so that none leads elsewhere."""
        if not _ID.fullmatch(run_id):
            raise RunError(f"'{run_id[:60]}' is not the name of a run. Choose one from the list of runs.")
        return self.folder / run_id

    def create(
        self,
        config: TrainConfig,
        owner: str,
        tiles: TilesUsed,
        kind: str = "train",
        plan: dict[str, Any] | None = None,
    ) -> RunRecord:
        """A new run on disk, waiting. Raises `RunError` when the folder cannot be written."""
        with self._explained():
            record = self._new_folder(config, owner, tiles, "queued", kind, plan or {})
            self.write(record)
        return record

    def create_held(
        self,
        config: TrainConfig,
        owner: str,
        tiles: TilesUsed,
        kind: str = "train",
        plan: dict[str, Any] | None = None,
    ) -> tuple[RunRecord, FileLock]:
        """A new run on disk that this process works on from now on, and its lock. Raises `RunError` likewise."""
        with self._explained():
            record = self._new_folder(config, owner, tiles, "running", kind, plan or {})
            held = self.lock(record.id)  # before others can see it, or they could take it for an orphan
            self.write(replace(record, started=record.created))
        return self.get(record.id), held

    def _new_folder(
        self, config: TrainConfig, owner: str, tiles: TilesUsed, state: State, kind: str, plan: dict[str, Any]
    ) -> RunRecord:
        now = time.time()
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            record = RunRecord(_new_id(config.model, now), owner, state, config, tiles, now, kind, plan=plan)
            with suppress(FileExistsError):
                self.folder_of(record.id).mkdir()
                return record

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the file system says to a new run into a sentence."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"The run could not be stored in {self.folder}: {error.strerror or error}. Free some disk space, or "
                "name another folder in EUROSAT_RUNS."
            ) from error

    def write(self, record: RunRecord) -> None:
        """Replace `run.json` in one step, so that a reader sees the old or the new one, never half of it."""
        text = json.dumps({"format": _FORMAT, **asdict(record)}, indent=1)
        _write_whole(self.folder_of(record.id) / "run.json", text.encode())

    def update(self, run_id: str, **changes: Any) -> RunRecord:
        """Change some fields of a run, and return it as it is now."""
        record = replace(self.get(run_id), **changes)
        self.write(record)
        return record

    def end(self, run_id: str, state: State, message: str, **figures: Any) -> RunRecord:
        """Note that and how a run ended, and what else ran meanwhile, in this program or another."""
        record, now = self.get(run_id), time.time()
        beside: tuple[str, ...] = ()
        if record.started is not None:
            others = (each.id for each in self.all()[0] if each.id != run_id and each.ran_since(record.started or now))
            beside = tuple(sorted(others))
        return self.update(run_id, state=state, message=message, ended=now, beside=beside, **figures)

    def get(self, run_id: str) -> RunRecord:
        """One run. Raises `RunError` when it does not exist or its `run.json` cannot be used."""
        path = self.folder_of(run_id) / "run.json"
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            known = self._read.get(run_id)
            if known is not None and known[0] == stamp:
                return known[1]
            record = _parse_record(path)
        except FileNotFoundError as error:
            if path.parent.is_dir():
                raise RunError(f"The run {run_id} is damaged: it has no run.json. Delete its folder.") from error
            raise RunError(
                f"There is no run {run_id}. It may have been deleted; choose another from the list of runs."
            ) from error
        except OSError as error:
            raise RunError(f"The run {run_id} cannot be read: {error.strerror or error}.") from error
        if record.id != run_id:
            raise RunError(f"The run {run_id} is damaged: its run.json belongs to {record.id}. Delete its folder.")
        self._read[run_id] = (stamp, record)
        return record

    def all(self) -> tuple[list[RunRecord], list[str]]:
        """All runs, newest first, and a sentence for each folder that looks like a run but cannot be used."""
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

    def append(self, run_id: str, events: Iterable[RunEvent], at: float | None = None) -> None:
        """Add events to a run, each with the time it was written."""
        now = round(time.time() if at is None else at, 3)
        lines = "".join(json.dumps({"at": now, **event_to_dict(event)}) + "\n" for event in events)
        with (self.folder_of(run_id) / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(lines)

    def save(self, run_id: str, files: dict[str, bytes]) -> None:
        """Keep a run's artifacts, each written whole or not at all."""
        folder = self.folder_of(run_id)
        for name, content in files.items():
            if Path(name).name != name:
                raise RunError(f"'{name}' is not a file name.")
            _write_whole(folder / name, content)

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
        """Remove a run and everything it left behind."""
        shutil.rmtree(self.folder_of(run_id), ignore_errors=True)
        self._read.pop(run_id, None)

    def lock(self, run_id: str) -> FileLock:
        """Take the lock that says: a living process works on this run. The system frees it when the process dies.

        Raises `RunError` when another process holds it, or there is no such run.
        """
        folder = self.folder_of(run_id)
        if not folder.is_dir():  # else the lock would make it
            raise RunError(f"There is no run {run_id}. It may have been deleted.")
        held = FileLock(folder / "lock", thread_local=False)
        try:
            held.acquire(timeout=0)
        except Timeout:
            raise RunError(f"The run {run_id} belongs to another process that is still working on it.") from None
        return held

    def mark_interrupted(self) -> list[RunRecord]:
        """At start-up: runs that were running, and whose process is gone, become `interrupted`; the others stay."""
        marked = []
        for record in self.all()[0]:
            if record.state not in ("running", "paused"):
                continue
            with suppress(RunError, OSError):  # another process has it, or it cannot be written
                held = self.lock(record.id)
                try:
                    if self.get(record.id).state in ("running", "paused"):
                        message = "The program that ran it was stopped. What it had reported until then is kept."
                        marked.append(self.end(record.id, "interrupted", message))
                finally:
                    held.release()
        return marked


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; nothing is left behind when the disk is full."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(content)
        for attempt in range(_REPLACE_TRIES):
            try:
                partial.replace(path)
                break
            except PermissionError:  # on Windows, while a page reads it
                if attempt == _REPLACE_TRIES - 1:
                    raise
                time.sleep(0.02)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_plan(kind: Any, plan: Any) -> None:
    """Raises `ConfigError` when a run of this kind cannot have this plan."""
    if not isinstance(plan, dict):
        raise ConfigError("The plan of a run must be a set of named values.")
    if kind == "profile":
        ProfilePlan.from_dict(plan)
    elif kind == "sweep":
        SweepPlan.from_dict(plan)
    elif kind == "train":
        known = {"alone": bool, "group": str}
        if not all(isinstance(value, known.get(name, type(None))) for name, value in plan.items()):
            raise ConfigError("The plan of a training says only whether it has the machine alone, and its group.")


def _parse_record(path: Path) -> RunRecord:
    """The record in a `run.json`. Raises `RunError` with a sentence when it is not one."""
    run_id = path.parent.name
    damaged = f"The run {run_id} is damaged: its run.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{damaged} is not JSON. Delete its folder, or restore the file.") from error
    if not isinstance(values, dict):
        raise RunError(f"{damaged} holds no settings. Delete its folder, or restore the file.")
    if values.pop("format", None) != _FORMAT:
        raise RunError(f"The run {run_id} was written by another version of the lab, so it cannot be shown.")
    unknown = set(values) - {each.name for each in fields(RunRecord)}
    if unknown:
        raise RunError(f"{damaged} has an unknown entry '{min(unknown)}'. Delete its folder, or restore the file.")
    try:
        values["config"] = TrainConfig.from_dict(values["config"])
        tiles = values["tiles"]
        values["tiles"] = TilesUsed(**{**tiles, "class_names": tuple(tiles["class_names"])})
        values["beside"] = tuple(values.get("beside", ()))
        record = RunRecord(**values)
        _check_plan(record.kind, record.plan)
        if record.state not in ACTIVE | ENDED:
            raise RunError(f"{damaged} has an unknown state '{record.state}'. Delete its folder.")
        for name in ("owner", "kind", "message", "recorded_on"):
            if not isinstance(getattr(record, name), str):
                raise RunError(f"{damaged} has no text in '{name}'. Delete its folder, or restore the file.")
        if record.recorded_on and record.is_active:
            raise RunError(f"{damaged} was recorded elsewhere and cannot be under way. Delete its folder.")
        for name in ("created", "started", "ended", "test_opened"):
            value = getattr(record, name)
            if not (_is_number(value) and 0 <= value < _LATEST) and not (value is None and name != "created"):
                raise RunError(f"{damaged} has no time in '{name}'. Delete its folder, or restore the file.")
        figures = record.summary.values() if isinstance(record.summary, dict) else [None]
        if not isinstance(record.machine, dict) or not all(isinstance(each, int | float) for each in figures):
            raise RunError(f"{damaged} has no figures in 'summary'. Delete its folder, or restore the file.")
        used = record.tiles
        texts = (*record.beside, *used.class_names, used.fingerprint, used.source, used.place)
        if not _is_number(used.count) or not used.class_names or not all(isinstance(each, str) for each in texts):
            raise RunError(f"{damaged} does not say which tiles it used. Delete its folder, or restore the file.")
    except ConfigError as error:
        raise RunError(f"{damaged} has settings that cannot be used: {error}") from error
    except (KeyError, TypeError) as error:
        raise RunError(f"{damaged} lacks an entry ({error}). Delete its folder, or restore the file.") from error
    return record
