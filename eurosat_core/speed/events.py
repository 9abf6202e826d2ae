"""What a measurement tells the world while it goes on, in the same form as a training does."""

from dataclasses import dataclass
from typing import ClassVar, Literal

__all__ = ["KINDS", "Learned", "LimitsDone", "SweepDone", "SweepEvent", "SweepPhase", "SweepStarted", "TurnDone"]

SweepPhase = Literal["prepare", "train", "validation"]


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """The measurement begins. planned_seconds: how long it was said to take."""

    kind: ClassVar[str] = "sweep_started"
    cells: int
    rounds: int
    planned_seconds: float
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class LimitsDone:
    """The limits of a device were measured."""

    kind: ClassVar[str] = "limits"
    device: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TurnDone:
    """A cell (its number in the plan, from 0) had its turn in a round (from 1; round 0 prepares).

    tiles_per_second: of this turn alone. seconds: since the measurement began.
    """

    kind: ClassVar[str] = "turn"
    phase: SweepPhase
    cell: int
    round: int
    seconds: float
    tiles_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """How far a cell's short training has come: accuracy on validation tiles after so many seconds of training."""

    kind: ClassVar[str] = "learned"
    cell: int
    seconds: float
    accuracy: float
    train_seconds: float


@dataclass(frozen=True, slots=True)
class SweepDone:
    """The plan was carried out to its end. `seconds` is all of it."""

    kind: ClassVar[str] = "sweep_done"
    rounds: int
    seconds: float


SweepEvent = SweepStarted | LimitsDone | TurnDone | Learned | SweepDone
KINDS: dict[str, type[SweepEvent]] = {
    each.kind: each for each in (SweepStarted, LimitsDone, TurnDone, Learned, SweepDone)
}
