"""What the lab and its engine say to each other: jobs and their kinds, commands, reports, and what becomes of a job.

Loads no PyTorch: the server speaks of jobs, and its workers do them (`jobs`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from eurosat_core.devices import Device
from eurosat_core.errors import RunError
from eurosat_core.lab.kind import Kind
from eurosat_core.lab.profile import Profile
from eurosat_core.lab.sweep import Measurement
from eurosat_core.lab.train import Training
from eurosat_core.lab.transfer import Transfer
from eurosat_core.machine_notes import Note
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig

OWNER = "command line"
"""Whose runs they are that were made without the app."""
Command = Literal["pause", "resume", "step", "stop", "park"]


@dataclass(frozen=True)
class Job:
    """A run to be done: its checked config, the tiles it was made for, and how many CPU threads to use.

    kind: what is done with them. plan: what that kind needs to know besides, as `RunRecord` holds it. weights: the file
    of a run's trained weights, where it needs them (`Kind.weights_of`): a worker of a cluster has no runs.
    """

    run_id: str
    config: TrainConfig
    fingerprint: str
    cache: str
    threads: int
    kind: str = "train"
    plan: dict[str, Any] = field(default_factory=dict)
    weights: bytes = field(default=b"", repr=False)


KINDS: dict[str, type[Kind]] = {each.name: each for each in (Training, Profile, Measurement, Transfer)}


def kind_of(job: Job | RunRecord) -> Kind:
    """A job's or a run's kind, made anew. Raises `RunError` for a kind that this version does not know."""
    if (kind := KINDS.get(job.kind)) is None:
        raise RunError(f"This version of the lab knows no run of the kind '{job.kind}'. Start another one.")
    made = kind.stored(job.config, job.plan)
    if isinstance(job, Job):
        made.take(job.weights)
    return made


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time: a device, and the worker process that has it.

    worker: its name to the engine; one process does one run at a time, whichever of its devices that is on. machine:
    where it is; runs disturb each other only there. cores: of that machine's CPU. threads: of a training there; 0: as
    many as the lab's settings say.
    """

    device: str
    worker: str
    machine: str = ""
    cores: int = 0
    threads: int = 0


@dataclass(frozen=True)
class JobResult:
    """What a job brings back: how it ended, its artifacts by file name, and its figures."""

    state: Literal["finished", "cancelled", "failed"]
    message: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    restart_worker: bool = False


@dataclass(frozen=True)
class EventsTold:
    """A worker's report about a run: the events that follow those it told before, each encoded as JSON."""

    run_id: str
    events: Sequence[bytes]


@dataclass(frozen=True)
class JobEnded:
    """A job came back, after all its events, or (result None) its worker died; then `message` says so."""

    run_id: str
    result: JobResult | None
    message: str = ""


@dataclass(frozen=True)
class WorkersChanged:
    """Workers of a cluster came or went: the devices that there are now."""

    devices: tuple[Device, ...]


Message = EventsTold | JobEnded


class Engine(Protocol):
    """What the lab asks of its workers; tests put a small one in its place."""

    def open(self, receive: Callable[[Message | WorkersChanged], None]) -> None:
        """Start the workers; `receive` is called, from any thread, with what they say."""

    def probe(self) -> tuple[Device, ...]:
        """The devices there are, asked in a worker; then a worker for each GPU stands ready. Takes seconds."""

    def slots(self) -> tuple[Slot, ...]:
        """Where runs can be, of all devices that were found."""

    def remarks(self) -> tuple[str, ...]:
        """What is to be said about the workers, as sentences: who cannot be used, and what differs from here."""

    def measure(self, config: TrainConfig, threads: int) -> list[Note] | None:
        """Measure within about a second how fast the config's network is trained, with so many CPU threads at most.

        Returns what there is to note; None when it gave way to a run, or was never begun beside one.
        """

    def stop_measuring(self) -> None:
        """End what is being measured, on all workers."""

    def start(self, job: Job, slot: Slot) -> None:
        """Start a job in a slot; where its worker does not come, the job ends with a sentence."""

    def found(self) -> dict[str, Slot]:
        """The jobs that workers have, by run: after a restart of the server, those it had started before."""

    def follow(self, run_id: str, slot: Slot, told: int) -> None:
        """Take up again a job that was found: it is received from its event number `told` on."""

    def forget(self, run_id: str) -> None:
        """A run's end is stored: its worker need not keep it any longer. One that is still at work stops."""

    def command(self, run_id: str, name: Command) -> bool:
        """Pass a command to a running job; False when no worker has it."""

    def restart(self, slot: Slot) -> None:
        """Replace a slot's worker by a fresh process."""

    def close(self) -> None:
        """End all workers of this machine."""
