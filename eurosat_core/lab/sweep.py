"""A measurement: what it may be asked for, its work, how long it takes, and the measurements that were kept."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache, cachedmethod

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab.kind import Estimate, Kind, Machine
from eurosat_core.runs.history import RunEvent
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.speed.plan import LEAST_ROUNDS, Learned, LimitsDone, SweepEvent, SweepPlan, TurnDone
from eurosat_core.speed.result import SWEEP_FILE, SweepResult
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import count, duration

if TYPE_CHECKING:
    from eurosat_core.speed.sweep import Pull, Sweep

_UNTIMED = 2  # steps at the beginning of a turn
_WARM_STEPS = 3
_START_SECONDS = {"loader": 1.5, "memory": 0.3}  # loader workers deliver their first batch after about a second


class Measurement(Kind):
    """Settings measured against each other, and the limits of devices.

    It is made by the worker of the config's device, which must be the GPU where one is measured beside the CPU.
    """

    name = "sweep"

    def __init__(self, config: TrainConfig, plan: SweepPlan) -> None:
        super().__init__(config)
        self._plan = plan
        self._sweep: Sweep | None = None

    @classmethod
    def stored(cls, config: TrainConfig, plan: dict[str, Any]) -> "Measurement":
        return cls(config, SweepPlan.from_dict(plan))

    @property
    def plan_values(self) -> dict[str, Any]:
        return self._plan.checked().to_dict()

    @property
    def configs(self) -> tuple[TrainConfig, ...]:
        return self._plan.configs(self.config)

    def problem(self, tiles: int | None) -> str:
        return ""  # a setting that turns out not to work is told beside the others' figures

    def events(self, tiles: TileSet, threads: int) -> "Pull":
        from eurosat_core.speed.sweep import Sweep

        self._sweep = Sweep(self.config, self._plan, tiles)
        return self._sweep.events()

    def note(self, event: SweepEvent) -> SweepEvent | None:
        return event  # a turn takes longer than telling about it, and the telling stands between two turns

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

    def estimate(self, machine: Machine) -> Estimate:
        bounded = self._plan.total_seconds(self.config)
        needed = least_seconds(self.config, self._plan, machine.tile_seconds)
        if needed <= self._plan.seconds:
            return Estimate(bounded, "As many steps are measured as fit into this time.")
        basis = "Projected from how fast this machine trains: the fewest steps of every setting that tell something."
        return Estimate(bounded + needed - self._plan.seconds, basis)

    def beginning(self) -> str:
        return f"{len(self._plan.cells)} settings, about {duration(self._plan.total_seconds(self.config))}"

    def line(self, event: RunEvent) -> str:
        match event:
            case LimitsDone():
                return f"limits of {event.device}: measured in {duration(event.seconds)}"
            case TurnDone(phase="prepare"):
                return f"{self._cell_name(event.cell)}: ready"
            case TurnDone(phase="train") if event.cell == len(self._plan.cells) - 1:
                whole = self._plan.total_seconds(self.config)
                return f"round {event.round} after {duration(event.seconds)} of {duration(whole)}"
            case Learned():
                return f"{self._cell_name(event.cell)}: {event.accuracy:.1%} after {duration(event.train_seconds)}"
            case _:
                return ""

    def _cell_name(self, cell: int) -> str:
        device = self._plan.cells[cell].changes.get("device", "")
        return f"{self._plan.cells[cell].label}{f' on {device}' if device else ''}"

    def report(self, record: RunRecord, store: RunStore) -> dict[str, Any]:
        return {
            "name": self._plan.name,
            "setting": self._plan.setting,
            "reference": self._plan.reference,
            "planned_seconds": self._plan.total_seconds(self.config),
        }


def least_seconds(config: TrainConfig, plan: SweepPlan, tile_seconds: Callable[[TrainConfig], float | None]) -> float:
    """Seconds of the fewest steps that all cells need; a cell of which nothing is known counts as nothing.

    tile_seconds: of a training tile with some settings.
    """
    total = 0.0
    for each in plan.configs(config):
        step = each.batch_size * (tile_seconds(each) or 0.0)
        ahead = 2 * each.workers * each.prefetch if each.source == "loader" else 0
        turn = plan.steps + _UNTIMED + ahead
        turns = LEAST_ROUNDS * turn * (2 if plan.validation else 1)
        total += _START_SECONDS.get(each.source, 0.0) + step * (_WARM_STEPS + ahead + turns)
    return total


# -- what was measured


_KEPT = 60


class Sweeps:
    """The results of runs of kind `sweep`. All methods may be called from any thread."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._kept: LRUCache[tuple[str, int | None], SweepResult] = LRUCache(_KEPT)
        self._lock = threading.Lock()

    @cachedmethod(
        lambda self: self._kept,
        key=lambda self, run_id: (run_id, self._store.size(run_id, SWEEP_FILE)),
        lock=lambda self: self._lock,
    )
    def result(self, run_id: str) -> SweepResult:
        """What a run measured. Raises `RunError` when it measured nothing (yet), or its figures are damaged."""
        if self._store.size(run_id, SWEEP_FILE) is None:
            raise RunError(f"The run {run_id} has measured nothing yet. Wait for its end, or start it again.")
        return SweepResult.from_json(self._store.load(run_id, SWEEP_FILE))

    def runs(self, owner: str | None = None, name: str = "") -> list[RunRecord]:
        """Runs that measured something, newest first: a participant's, or of one experiment, if told."""
        return [
            each
            for each in self._store.all()[0]
            if each.kind == "sweep"
            and not each.is_active
            and (owner is None or each.owner == owner)
            and (not name or each.plan.get("name") == name)
            and self._store.size(each.id, SWEEP_FILE) is not None
        ]
