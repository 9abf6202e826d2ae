"""A profile as a job: its events, and the traces it leaves behind."""

import json
from typing import Any

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.profiling.plan import ProfileDone, ProfileEvent, ProfilePlan, ProfileStep, TraceDone
from eurosat_core.profiling.record import CycleRecorded, Pull, record, trace_file
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import count

OPERATORS_FILE = "operators.json"
"""torch's own table of operators: `cycle` and `cycles` (it covers the last one), `steps`, `first_step`, `rows`."""

_REPORT_SECONDS = 0.1


class ProfileWork:
    """The work of kind `profile`: keeps every cycle's trace, and the last cycle's table of operators."""

    def __init__(self, config: TrainConfig, plan: ProfilePlan) -> None:
        self._config = config
        self._plan = plan
        self._traces: dict[str, bytes] = {}
        self._last: CycleRecorded | None = None
        self._steps = 0
        self._seconds = 0.0
        self._told = float("-inf")

    def events(self, tiles: TileSet) -> Pull:
        return record(self._config, self._plan, tiles, self.keep)

    def keep(self, cycle: CycleRecorded) -> None:
        """Take what a cycle leaves."""
        self._traces[trace_file(cycle.cycle)] = cycle.trace
        self._last = cycle

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

    def may_pause(self, event: ProfileEvent) -> bool:
        return False  # the pause would stand in the trace

    def summary(self) -> dict[str, Any]:
        if not self._steps:
            return {}
        return {
            "steps": self._steps,
            "traces": len(self._traces),
            "recorded_steps": len(self._traces) * self._plan.active,
            "seconds": self._seconds,
        }

    def how_far(self) -> str:
        if not self._traces:
            return "It was stopped before its first cycle was complete, so there is no trace."
        done = count(len(self._traces), "complete cycle")
        return f"It was stopped after step {self._steps} of {self._plan.total_steps}. {done} can be looked at."

    def files(self, tiles: TileSet | None) -> dict[str, bytes]:
        files = dict(self._traces)
        if self._last is not None:
            first, last = self._plan.recorded_in(self._last.cycle)
            table = {
                "cycle": self._last.cycle,
                "cycles": len(self._traces),
                "first_step": first,
                "last_step": last,
                "rows": self._last.operators,
            }
            files[OPERATORS_FILE] = json.dumps(table).encode()
        return files
