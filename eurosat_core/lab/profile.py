"""A profile of some training steps: what it may be asked for, its work, how long it takes, and the traces it leaves."""

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.kind import Estimate, Kind, Machine
from eurosat_core.lab.train import estimate_seconds
from eurosat_core.profiling.advice import report_of
from eurosat_core.profiling.plan import (
    ProfileDone,
    ProfileEvent,
    ProfilePlan,
    ProfileStarted,
    ProfileStep,
    TraceDone,
    profile_problem,
    trace_file,
)
from eurosat_core.profiling.trace import read_trace
from eurosat_core.runs.history import RunEvent
from eurosat_core.runs.profiles import AFTER, SLOWER
from eurosat_core.runs.record import UNSEEN_KERNELS, RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.problems import shared_memory_problem
from eurosat_core.wording import count

if TYPE_CHECKING:
    from eurosat_core.profiling.record import CycleRecorded, Pull

_REPORT_SECONDS = 0.1
# Until the first step is done, from a warm worker: loader workers deliver their first batch after about a second.
_START_SECONDS = {"loader": 1.5, "memory": 0.5}
_TRACE_SECONDS = 0.15  # to write one (baseline, two cores: 0.04 to 0.3 with a table of its operators)
_TURNS, _TURN_SECONDS = 3, 0.3  # of the steps that are timed before and after a profile on a GPU
_TIMED_SECONDS = 3.0  # for both of them, with the network made twice
_ALMOST_ALL = 0.95  # of the tiles, so that an epoch is training and hardly anything else


def _step_seconds(config: TrainConfig, tiles: TileSet) -> float:
    """Seconds of a training step on tiles in memory: the median of a few turns."""
    from eurosat_core.speed.steps import TimedSteps

    steps = TimedSteps(replace(config, source="memory"), tiles)
    try:
        steps.plan(max(_TURNS, round(_TURN_SECONDS / max(steps.prepare(), 1e-5))), 0)
        return median(steps.turn(number).step_seconds for number in range(1, _TURNS + 1))
    finally:
        steps.close()


class Profile(Kind):
    """Keeps every cycle's trace.

    On a CUDA GPU the library behind the profiler (CUPTI) may leave its process slower than it was, and whatever is
    timed there later: steps are timed right before and after.
    """

    name = "profile"

    def __init__(self, config: TrainConfig, plan: ProfilePlan) -> None:
        super().__init__(config)
        self._plan = plan
        self._traces: dict[str, bytes] = {}
        self._steps = 0
        self._seconds = 0.0
        self._told = float("-inf")
        self._after: float | None = None  # how many times as long as before the profile a step takes

    @classmethod
    def stored(cls, config: TrainConfig, plan: dict[str, Any]) -> "Profile":
        return cls(config, ProfilePlan.from_dict(plan))

    @property
    def plan_values(self) -> dict[str, Any]:
        return self._plan.checked().to_dict()

    def problem(self, tiles: int | None) -> str:
        return profile_problem(self.config) or (shared_memory_problem(self.config, tiles) if tiles is not None else "")

    def events(self, tiles: TileSet, threads: int) -> "Pull":
        from eurosat_core.profiling.record import record

        before = _step_seconds(self.config, tiles) if self._is_timed else None
        yield from record(self.config, self._plan, tiles, self._keep)
        if before is not None:
            self._after = _step_seconds(self.config, tiles) / before

    @property
    def _is_timed(self) -> bool:
        # Who asks for the very first steps shall see them as they are: kernels are chosen, memory is taken.
        return self.config.device.startswith("cuda") and self._plan.wait + self._plan.warmup > 0

    @property
    def slows_process(self) -> bool:
        return self._after is not None and self._after > SLOWER

    def _keep(self, cycle: "CycleRecorded") -> None:
        """Take what a cycle leaves."""
        self._traces[trace_file(cycle.cycle)] = cycle.trace

    def note(self, event: ProfileEvent) -> ProfileEvent | None:
        if isinstance(event, ProfileStep):
            self._steps, self._seconds = event.step, event.seconds
            return event if self._is_due(event) else None
        if isinstance(event, TraceDone | ProfileDone):
            self._seconds = event.seconds
        return event

    def _is_due(self, event: ProfileStep) -> bool:
        """Not during recorded steps, for the report would stand in the trace; right before them, else now and then."""
        if event.phase == "active":
            return False
        following = self._plan.strip()[event.step : event.step + 1]
        before_recording = bool(following) and following[0].phase == "active"
        if not before_recording and event.seconds - self._told < _REPORT_SECONDS:
            return False
        self._told = event.seconds
        return True

    def summary(self) -> dict[str, Any]:
        if not self._steps:
            return {}
        return {
            "steps": self._steps,
            "traces": len(self._traces),
            "recorded_steps": len(self._traces) * self._plan.active,
            "seconds": self._seconds,
            **({} if self._after is None else {AFTER: self._after}),
        }

    def how_far(self) -> str:
        if not self._traces:
            return "It was stopped before its first cycle was complete, so there is no trace."
        done = count(len(self._traces), "complete cycle")
        return f"It was stopped after step {self._steps} of {self._plan.total_steps}. {done} can be looked at."

    def files(self, tiles: TileSet | None) -> dict[str, bytes]:
        return dict(self._traces)

    def estimate(self, machine: Machine) -> Estimate | None:
        known = machine.known(self.config)
        if known is None:
            return None
        steps = self._plan.total_steps
        for run in known.runs:
            done = run.summary.get("steps", 0)
            if run.kind == "profile" and done and known.tells(run):
                basis = (
                    f"Projected from this lab’s profile {run.id} with the same settings ({count(int(done), 'step')})."
                )
                return Estimate(run.summary["seconds"] * steps / done, basis)
        config, tiles = known.config, known.tiles.count
        epoch = replace(config, epochs=1, train_fraction=_ALMOST_ALL, split="random", sealed_test=False)
        trainings = [each for each in known.runs if each.kind == "train"]
        found = estimate_seconds(replace(known, config=epoch, runs=trainings, paces=(), cores=None))
        if found is None:
            return None
        tile_seconds = found.seconds / max(1, int(min(config.tiles or tiles, tiles) * _ALMOST_ALL))
        seconds = steps * min(config.batch_size, tiles) * tile_seconds
        start = _START_SECONDS["loader" if config.source == "loader" and config.workers else "memory"]
        timed = _TIMED_SECONDS if self._is_timed else 0.0
        return replace(found, seconds=start + seconds + self._plan.traces * _TRACE_SECONDS + timed)

    def line(self, event: RunEvent) -> str:
        match event:
            case ProfileStarted():
                return f"{count(event.steps, 'step')}, {count(event.cycles, 'cycle')} recorded"
            case TraceDone():
                return f"cycle {event.cycle} of {self._plan.traces}: {event.file}, {event.size_bytes / 1024:,.0f} KB"
            case _:
                return ""

    def report(self, record: RunRecord, store: RunStore) -> dict[str, Any]:
        folder = store.folder_of(record.id).absolute()
        traces = [folder / trace_file(cycle + 1) for cycle in range(self._plan.traces)]
        traces = [each for each in traces if each.exists()]
        overview = report_of(read_trace(traces[-1]), self.config.to_dict()) if traces else None
        if overview and not overview["devices"] and (reason := record.machine.get(UNSEEN_KERNELS)):
            overview["notes"].append(reason)
        return {
            "device": self.config.device,
            "overview": overview,
            "trace_files": [str(each) for each in traces],
        }
