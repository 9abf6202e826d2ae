"""What a profile tells the world, in the same form as a training does."""

from dataclasses import dataclass
from typing import ClassVar

from eurosat_core.profiling.plan import StepPhase

__all__ = ["KINDS", "ProfileDone", "ProfileEvent", "ProfileStarted", "ProfileStep", "TraceDone"]


@dataclass(frozen=True, slots=True)
class ProfileStarted:
    """The network stands on its device and the first step comes next. cycles: traces to be written."""

    kind: ClassVar[str] = "profile_started"
    steps: int
    cycles: int
    parameters: int
    trainable_parameters: int
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class ProfileStep:
    """One step was made. `step` and `cycle` count from 1; `seconds` is the time since the profile began."""

    kind: ClassVar[str] = "profile_step"
    phase: StepPhase
    step: int
    cycle: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TraceDone:
    """A cycle's trace was written: its file's name and size (gzip)."""

    kind: ClassVar[str] = "trace"
    cycle: int
    file: str
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ProfileDone:
    """The plan was carried out to its end. `seconds` is all of it."""

    kind: ClassVar[str] = "profile_done"
    steps: int
    cycles: int
    seconds: float


ProfileEvent = ProfileStarted | ProfileStep | TraceDone | ProfileDone
KINDS: dict[str, type[ProfileEvent]] = {
    each.kind: each for each in (ProfileStarted, ProfileStep, TraceDone, ProfileDone)
}
