"""Which steps a profile records, and what it tells while it does.

Importing this module does not import torch, so a plan can be checked and drawn before it is loaded.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from eurosat_core.errors import ConfigError
from eurosat_core.records import Count, CountFromOne, EventRecord, decoded
from eurosat_core.training.config import TrainConfig, recipe_config

StepPhase = Literal["wait", "warmup", "active"]

MAX_STEPS = 400
MAX_RECORDED = 60  # of a large network, a hundred thousand lines of trace
QUIET_PROFILER = {"KINETO_LOG_LEVEL": "99", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""Environment of a process that profiles, set before torch is loaded: else every cycle writes lines on stderr."""

_BOUNDS = {
    "wait": (0, 100, "steps to wait"),
    "warmup": (0, 50, "steps of warm-up"),
    "active": (1, 20, "steps to record"),
    "repeat": (1, 10, "cycles"),
}


@dataclass(frozen=True)
class PlanStep:
    """One step of a plan. number and cycle count from 1; writes: a trace is written when it is done."""

    number: int
    cycle: int
    phase: StepPhase
    writes: bool = False


@dataclass(frozen=True)
class ProfilePlan:
    """The profiler's schedule: in every cycle some steps pass, some warm the profiler up, and some are recorded.

    The defaults are the tutorial's. memory: note what is allocated and freed, too. details: note modules, whose the
    memory is, and the shapes that operators work on. steps: end after so many steps; None for as many as all cycles
    have. A cycle that is not complete by then leaves no trace.
    """

    wait: int = 2
    warmup: int = 2
    active: int = 3
    repeat: int = 4
    memory: bool = True
    details: bool = False
    steps: int | None = None

    @property
    def cycle_steps(self) -> int:
        """Steps of one cycle."""
        return self.wait + self.warmup + self.active

    @property
    def total_steps(self) -> int:
        """Steps that are made: all cycles', unless `steps` says otherwise."""
        return self.cycle_steps * self.repeat if self.steps is None else self.steps

    @property
    def traces(self) -> int:
        """How many cycles become complete; each leaves a trace."""
        return min(self.total_steps // self.cycle_steps, self.repeat)

    @property
    def recorded_steps(self) -> int:
        """Steps that stand in the traces."""
        return self.traces * self.active

    def strip(self) -> tuple[PlanStep, ...]:
        """What every step is, in order."""
        steps = []
        for number in range(1, self.total_steps + 1):
            cycle, place = divmod(number - 1, self.cycle_steps)
            phase: StepPhase = (
                "wait" if place < self.wait else "warmup" if place < self.wait + self.warmup else "active"
            )
            steps.append(PlanStep(number, cycle + 1, phase, writes=place == self.cycle_steps - 1))
        return tuple(steps)

    def recorded_in(self, cycle: int) -> tuple[int, int]:
        """Numbers of the first and the last step that a cycle (counted from 1) records."""
        last = cycle * self.cycle_steps
        return last - self.active + 1, last

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ProfilePlan":
        """A checked plan from JSON values. Raises `ConfigError` with a sentence."""
        return decoded(cls, values, "The plan of a profile {problem}.", ConfigError, known_only=True).checked()

    def checked(self) -> "ProfilePlan":
        """This plan, if it gives at least one trace. Raises `ConfigError` with a sentence."""
        for name, (low, high, words) in _BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{value:,} {words} cannot be profiled. Choose {low} to {high}.")
        whole = self.cycle_steps * self.repeat
        if self.total_steps < self.cycle_steps:
            raise ConfigError(
                f"A cycle has {self.cycle_steps} steps ({self.wait} to wait, {self.warmup} of warm-up, {self.active} "
                f"to record), and its trace is written after the last one. {self.total_steps} steps would leave no "
                f"trace: take at least {self.cycle_steps}."
            )
        if self.total_steps > whole:
            raise ConfigError(
                f"After {whole} steps all {self.repeat} cycles are done, and nothing more is recorded. Take at most "
                f"{whole} steps, or more cycles."
            )
        if self.total_steps > MAX_STEPS:
            raise ConfigError(
                f"{self.repeat} cycles of {self.cycle_steps} steps are {self.total_steps:,} steps; a profile has at "
                f"most {MAX_STEPS}. A few steps say as much: wait less, or take fewer cycles."
            )
        if self.recorded_steps > MAX_RECORDED:
            raise ConfigError(
                f"{self.traces} cycles with {self.active} recorded steps each are {self.recorded_steps} recorded "
                f"steps; a profile has at most {MAX_RECORDED}. One step looks like the next: record fewer."
            )
        return self


def trace_file(cycle: int) -> str:
    """The name of a cycle's trace (counted from 1) among a run's files."""
    return f"trace_{cycle}.json.gz"


def profile_config(model: str, recipe: str | None = None, **changes: Any) -> TrainConfig:
    """What a profile of `model` records: by default the tutorial's way, whose DataLoader is a lesson of its own.

    Raises `ConfigError` for settings that do not exist or cannot be profiled.
    """
    config = recipe_config(model, recipe or "tutorial", **changes)
    if config.source == "features" and "source" not in changes:
        config = replace(config, source="memory")  # the whole network is to be seen at work
    if problem := profile_problem(config):
        raise ConfigError(problem)
    return config


def profile_problem(config: TrainConfig) -> str:
    """Why a profile of these settings would show nothing, as a sentence; empty when it can be recorded."""
    if config.execution == "graph":
        return (
            "A profile shows the operations of a step, which a CUDA graph starts all at once. Choose eager execution."
        )
    if config.source != "features":
        return ""
    return (
        "A profile watches the whole network at work. With its frozen part computed once, hardly anything is left to "
        "see: let the tiles come from memory or from picture files."
    )


class ProfileStarted(EventRecord, frozen=True, tag="profile_started"):
    """The network stands on its device and the first step comes next. cycles: traces to be written."""

    steps: CountFromOne
    cycles: CountFromOne
    parameters: Count
    trainable_parameters: Count
    device: str
    threads: CountFromOne


class ProfileStep(EventRecord, frozen=True, tag="profile_step"):
    """One step was made. `step` and `cycle` count from 1; `seconds` is the time since the profile began."""

    phase: StepPhase
    step: CountFromOne
    cycle: CountFromOne
    seconds: float


class TraceDone(EventRecord, frozen=True, tag="trace"):
    """A cycle's trace was written: its file's name and size (gzip)."""

    cycle: CountFromOne
    file: str
    size_bytes: Count
    seconds: float


class ProfileDone(EventRecord, frozen=True, tag="profile_done"):
    """The plan was carried out to its end. `seconds` is all of it."""

    steps: CountFromOne
    cycles: CountFromOne
    seconds: float


ProfileEvent = ProfileStarted | ProfileStep | TraceDone | ProfileDone
