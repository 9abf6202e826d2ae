"""A measurement as a job: its events, and the figures it leaves behind, however far it came."""

from typing import Any

from eurosat_core.data.tiles import TileSet
from eurosat_core.speed.events import SweepEvent
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.speed.result import SWEEP_FILE, SweepResult
from eurosat_core.speed.sweep import Pull, Sweep
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import count

__all__ = ["SweepWork"]


class SweepWork:
    """The work of kind `sweep`: settings measured against each other, and the limits of devices."""

    def __init__(self, config: TrainConfig, plan: SweepPlan) -> None:
        self._config = config
        self._plan = plan
        self._sweep: Sweep | None = None

    def events(self, tiles: TileSet) -> Pull:
        self._sweep = Sweep(self._config, self._plan, tiles)
        return self._sweep.events()

    def note(self, event: SweepEvent) -> SweepEvent | None:
        return event  # a turn takes longer than telling about it, and the telling stands between two turns

    def may_pause(self, event: SweepEvent) -> bool:
        return False  # the pause would be measured, too

    @property
    def _result(self) -> SweepResult | None:
        """What was measured; None before anything was."""
        result = self._sweep.result if self._sweep else None
        return result if result and (result.rounds or result.limits) else None

    def summary(self) -> dict[str, Any]:
        result = self._result
        if result is None:
            return {}
        return {
            "cells": sum(bool(each.turns) for each in result.cells),
            "rounds": result.rounds,
            "steps": sum(turn.steps for each in result.cells for turn in each.turns),
            "seconds": result.seconds,
        }

    def how_far(self) -> str:
        result = self._result
        if result is None:
            return "It was stopped before its first round was complete, so nothing was measured."
        return f"It was stopped after {count(result.rounds, 'round')} of {self._plan.rounds}. These can be looked at."

    def files(self, tiles: TileSet | None) -> dict[str, bytes]:
        result = self._result
        return {} if result is None else {SWEEP_FILE: result.to_json()}
