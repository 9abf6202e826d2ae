"""Measurements for tests: steppers that play, and results with chosen step times."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eurosat_core.errors import TrainingError
from eurosat_core.speed.plan import Cell, SweepPlan
from eurosat_core.speed.result import CellResult, SweepResult
from eurosat_core.speed.verdict import Turn
from eurosat_core.training.config import TrainConfig

__all__ = ["MEMORY", "Clock", "PlayedSteps", "cell_of", "plan_of", "result_of", "turns_of"]

MEMORY = TrainConfig(source="memory")


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class PlayedSteps:
    """A stepper whose steps take `pace` seconds, give or take a share of them, on a played clock.

    fails_at: the round in which it gives up; 0 while it is prepared.
    """

    def __init__(
        self,
        clock: Clock,
        pace: float,
        tiles: int = 40,
        *,
        noise: float = 0.0,
        seed: int = 0,
        fails_at: int | None = None,
        untimed: int = 2,
        compile_seconds: float | None = None,
    ) -> None:
        self._clock = clock
        self._pace = pace
        self._tiles = tiles
        self._noise = noise
        self._random = random.Random(seed)
        self._fails_at = fails_at
        self._untimed = untimed
        self.counts = (0, 0)
        self.turns: list[int] = []
        self.closed = False
        self.threads: int | None = None
        self.compile_seconds = compile_seconds

    def prepare(self, *, fit_threads: bool = False) -> float:
        self._clock.now += self.compile_seconds or 0.0
        self._spend(5)
        self.threads = 4 if fit_threads else None
        if self._fails_at == 0:
            raise TrainingError("The memory is full. Try a smaller batch.")
        return self._pace

    def untimed(self) -> int:
        return self._untimed

    def plan(self, steps: int, validation_steps: int) -> None:
        self.counts = (steps, validation_steps)

    def turn(self, number: int) -> Turn:
        if self._fails_at == number:
            raise TrainingError("A loader worker died. Try fewer loader workers.")
        self.turns.append(number)
        self._spend(self._untimed)
        seconds = self._spend(self.counts[0])
        return Turn(self.counts[0], self._tiles, seconds, tuple(seconds / 5 for _ in range(5)))

    def validation_turn(self) -> Turn:
        self._spend(self._untimed)
        return Turn(self.counts[1], self._tiles, self._spend(self.counts[1]) / 2)

    def close(self) -> None:
        self.closed = True

    def _spend(self, steps: int) -> float:
        seconds = steps * self._pace * (1 + self._noise * self._random.random())
        self._clock.now += seconds
        return seconds


def plan_of(*labels: str, **changes: Any) -> SweepPlan:
    """A plan whose cells differ in nothing but their labels."""
    plan = SweepPlan(tuple(Cell(each) for each in labels), reference=labels[0], focus=labels[-1], seconds=10.0)
    return replace(plan, **changes)


def turns_of(seconds: Sequence[float], steps: int = 10, tiles: int = 40) -> tuple[Turn, ...]:
    """A turn for each of these step times."""
    return tuple(Turn(steps, tiles, steps * each, tuple(steps * each / 5 for _ in range(5))) for each in seconds)


def cell_of(label: str, seconds: Sequence[float], config: TrainConfig = MEMORY, **changes: Any) -> CellResult:
    """A cell whose turns had these step times."""
    turns = turns_of(seconds, tiles=config.batch_size)
    return replace(CellResult(label, config, start_seconds=1.0, operations=1e9, turns=turns), **changes)


def result_of(*cells: CellResult, **changes: Any) -> SweepResult:
    """A complete measurement; the first cell is the reference, the last one the focus."""
    result = SweepResult("free", "batch_size", cells[0].label, cells[-1].label, cells, seconds=12.0, complete=True)
    return replace(result, **changes)
