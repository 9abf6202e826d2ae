"""A measurement as a job, and the measurements that were kept."""

import threading
from typing import Any

from cachetools import LRUCache, cachedmethod

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.speed.plan import SweepEvent, SweepPlan
from eurosat_core.speed.result import SWEEP_FILE, SweepResult
from eurosat_core.speed.sweep import Pull, Sweep
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import count


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
