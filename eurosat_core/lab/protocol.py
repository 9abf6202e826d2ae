"""What the lab asks of its workers, and what they report: the words between the dispatcher and an engine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from eurosat_core.devices import Device
from eurosat_core.lab.events import RunEvent
from eurosat_core.lab.jobs import Command, Job, JobResult
from eurosat_core.machine_notes import Note
from eurosat_core.training.config import TrainConfig

__all__ = ["Engine", "EventsTold", "JobEnded", "Message"]


@dataclass(frozen=True)
class EventsTold:
    """A worker's report about a run."""

    run_id: str
    events: list[RunEvent]


@dataclass(frozen=True)
class JobEnded:
    """A job came back, or (result None) its worker died; then `message` says so."""

    run_id: str
    result: JobResult | None
    message: str = ""


Message = EventsTold | JobEnded


class Engine(Protocol):
    """What the lab asks of its workers; tests put a small one in its place."""

    def open(self, receive: Callable[[Message], None]) -> None:
        """Start the workers; `receive` is called, from any thread, with what they say."""
        ...

    def probe(self) -> tuple[Device, ...]:
        """The devices there are, asked in a worker; then a worker for each GPU stands ready. Takes seconds."""
        ...

    def measure(self, config: TrainConfig, threads: int) -> list[Note] | None:
        """Measure within about a second how fast the config's network is trained, with so many CPU threads at most.

        Returns what there is to note; None when it gave way to a run, or was never begun beside one.
        """
        ...

    def stop_measuring(self) -> None:
        """End what is being measured, on all workers."""
        ...

    def start(self, job: Job) -> None:
        """Start a job on its device's worker. Raises `RunError` when there is no such worker."""
        ...

    def command(self, run_id: str, name: Command) -> bool:
        """Pass a command to a running job; False when no worker has it."""
        ...

    def restart(self, device: str) -> None:
        """Replace a device's worker by a fresh process."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...
