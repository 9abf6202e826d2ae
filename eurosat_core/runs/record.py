"""What `run.json` says of a run, and how it is read: every entry is checked, since anybody may have edited the file."""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from eurosat_core import wording
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.records import decoded
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.transfer import TransferPlan
from eurosat_core.wording import count

if TYPE_CHECKING:
    from eurosat_core.data.tile_cache import TileSet

State = Literal["queued", "running", "paused", "finished", "failed", "cancelled", "interrupted"]
ACTIVE: frozenset[State] = frozenset({"queued", "running", "paused"})

_FORMAT = 1
COMPANY_CORES = 0.5
"""From so many busy cores on, other programs are company: a browser that shows the charts takes less."""

UNSEEN_KERNELS = "unseen_kernels"
"""Of a profile on a GPU, in `machine`: why its traces hold nothing of what the GPU did, as a sentence."""

Moment = Annotated[float, Meta(ge=0, lt=4e9)]
"""Seconds since 1970 (UTC); a time beyond the year 2096 is a slip."""


@dataclass(frozen=True)
class TilesUsed:
    """Which tiles a run was made for: enough to find and to recognise them again."""

    fingerprint: str
    source: str
    place: str
    count: int
    class_names: Annotated[tuple[str, ...], Meta(min_length=1)]

    @classmethod
    def of(cls, tiles: "TileSet") -> "TilesUsed":
        """What a run keeps of the tiles it is made for."""
        return cls(tiles.fingerprint, tiles.source, tiles.place, len(tiles), tiles.class_names)


@dataclass(frozen=True)
class TrainPlan:
    """Of a training: whether it is measured with the machine `alone`, and the `group` of trainings it belongs to."""

    alone: bool = False
    group: str = ""


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds. `seconds` in `summary` is without pauses.

    message: why it failed, was interrupted or cancelled, as a sentence. concurrent_runs: what else ran meanwhile.
    machine: device name, threads, versions. summary: the figures shown in lists and comparisons. plan: what a run
    of its kind (`SweepPlan`, `ProfilePlan`, `TransferPlan`, `TrainPlan`) is to do besides. test_opened: when its sealed
    test part was first looked at. recorded_on: of a run that came from another lab: on which machine, and when; such a
    run has ended for good. cluster, host: of a run that a cluster did: its scheduler, and the machine of the worker.
    """

    id: str
    owner: str
    state: State
    config: TrainConfig
    tiles: TilesUsed
    created: Moment
    kind: str = "train"
    started: Moment | None = None
    ended: Moment | None = None
    message: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, int | float] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    concurrent_runs: tuple[str, ...] = ()
    test_opened: Moment | None = None
    recorded_on: str = ""
    cluster: str = ""
    host: str = ""

    def ran_since(self, moment: float) -> bool:
        """Whether it was at work here at some time after `moment` (seconds since 1970)."""
        if self.recorded_on:  # elsewhere, so it kept nobody waiting
            return False
        return self.started is not None and (self.is_active or (self.ended or 0.0) > moment)

    @property
    def is_active(self) -> bool:
        """Whether it still waits, runs or pauses."""
        return self.state in ACTIVE

    @property
    def judging_config(self) -> TrainConfig:
        """Its config for asking its network here, on the CPU.

        The precision of another device or machine is not kept: this processor may have to emulate it.
        """
        if self.config.device == "cpu" and not self.recorded_on and not self.config.is_open:
            return self.config
        return replace(self.config, precision="float32", channels_last=bool(self.config.channels_last))

    def name_of(self, device: str) -> str:
        """The name of a device that it computed on: its own, the CPU, or another GPU."""
        others = self.machine.get("other_devices")
        names = {
            **(others if isinstance(others, dict) else {}),
            "cpu": self.machine.get("cpu_name"),
            self.config.device: self.machine.get("device_name"),
        }
        return str(names.get(device) or wording.device_name(device))

    @property
    def busy_elsewhere(self) -> float:
        """Cores that other programs kept busy while it ran; 0 where that is not known."""
        busy = self.machine.get("busy_elsewhere", 0.0)
        return float(busy) if _is_number(busy) else 0.0

    @property
    def gpu(self) -> dict[str, Any]:
        """What it notes of its NVIDIA card (`lab.gpu_state`); empty on other devices."""
        noted = self.machine.get("gpu")
        return noted if isinstance(noted, dict) else {}

    @property
    def company(self) -> tuple[str, ...]:
        """What computed beside it, so that its times say little: other runs, and other programs if they did much."""
        found = [*self.concurrent_runs]
        if self.busy_elsewhere >= COMPANY_CORES:
            found.append(f"other programs (on {self.busy_elsewhere:.1f} cores)")
        others = self.gpu.get("other_processes")
        if _is_number(others) and others:
            found.append(f"{count(int(others), 'other program')} on its GPU")
        return tuple(found)

    @property
    def features_taken(self) -> bool:
        """Whether it found outputs of its frozen part that an earlier run computed, so that its seconds lack that work.

        False where that is not known: runs of earlier versions do not note their `feature_tiles`.
        """
        computed = self.summary.get("feature_tiles")
        needed = self.summary.get("train_tiles", 0) + self.summary.get("val_tiles", 0)
        return computed is not None and computed < needed


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def record_text(record: RunRecord) -> str:
    """A record as `run.json` holds it."""
    return json.dumps({"format": _FORMAT, **asdict(record)}, indent=1)


def read_record(path: Path) -> RunRecord:
    """The record in a `run.json`. Raises `RunError` with a sentence when it is none, `OSError` if it cannot be read."""
    run_id = path.parent.name
    damaged = f"The run {run_id} is damaged: its run.json {{problem}}. Delete its folder, or restore the file."
    return record_in(path.read_bytes(), run_id, damaged)


def record_in(content: bytes, run_id: str, sentence: str) -> RunRecord:
    """The record that a `run.json` of this run holds. Raises `RunError` as `decoded` does."""
    values = decoded(dict[str, Any], content, sentence)
    if values.pop("format", None) != _FORMAT:
        raise RunError(f"The run {run_id} was written by another version of the lab, so it cannot be shown.")
    if "beside" in values:  # as it was called in earlier versions
        values["concurrent_runs"] = values.pop("beside")
    try:
        if "config" in values:
            values["config"] = TrainConfig.from_dict(values["config"])
        record = decoded(RunRecord, values, sentence, known_only=True)
        match record.kind:
            case "profile":
                ProfilePlan.from_dict(record.plan)
            case "sweep":
                SweepPlan.from_dict(record.plan)
            case "transfer":
                TransferPlan.from_dict(record.plan)
            case "train":
                decoded(TrainPlan, record.plan, "The plan of a training {problem}.", ConfigError, known_only=True)
    except ConfigError as error:
        problem = f"has settings that cannot be used: {error}".rstrip(".")
        raise RunError(sentence.replace("{problem}", problem)) from error
    if record.id != run_id:
        raise RunError(sentence.replace("{problem}", f"belongs to {record.id}"))
    if record.recorded_on and record.is_active:
        raise RunError(sentence.replace("{problem}", "was recorded elsewhere and cannot be under way"))
    return record
