"""Settings measured against each other, as a generator of events: stopped at any time, it keeps what was measured.

The cells of a plan take turns, round by round, every other round in the opposite order: what disturbs the machine, or
makes it slower as it grows warm, then disturbs all of them alike. Warm-up stands apart, and the time is bounded: the
turns are as long as the seconds of the plan allow.

The time to an accuracy is that of a short training, validated on some tiles now and then until it is good enough.
Validation does not count, and comes after a number of tiles, not of seconds: so on a CPU the same training is good
enough after the same step every time, and only how long its steps take differs.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, count
from typing import Any, TypeVar

import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError, TrainingError
from eurosat_core.speed.plan import (
    LEAST_ROUNDS,
    Learned,
    LimitsDone,
    SweepDone,
    SweepEvent,
    SweepPlan,
    SweepStarted,
    TurnDone,
)
from eurosat_core.speed.prediction import predict_step, step_operations
from eurosat_core.speed.result import CellResult, Limits, SweepResult
from eurosat_core.speed.roofline import measure_limits
from eurosat_core.speed.steps import TimedSteps
from eurosat_core.speed.verdict import Learning
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Tally, wait_for
from eurosat_core.training.network import evaluation_batches
from eurosat_core.training.problems import DeviceError, explained
from eurosat_core.training.sources import split_for, tile_source
from eurosat_core.training.step import Trainer, drop_singleton_batch

VALIDATION_TILES = 1000
_EVERY_TILES = 1000  # trained on between two validations


def learn(
    config: TrainConfig,
    tiles: TileSet,
    cell: int,
    target: float,
    seconds: float,
    keep: Callable[[Learning], None],
    since: Callable[[], float],
) -> Generator[Learned, None, None]:
    """Train until `target` of some validation tiles are named correctly, for at most `seconds`, validation included.

    Args:
        cell: its number, for the events.
        keep: called with how far it is after every validation.
        since: seconds since the measurement began, for the events.

    Raises:
        TrainingError, DataError: with a sentence.
    """
    began = time.perf_counter()
    with explained(config):
        trainer = Trainer(config, tiles)
        split = split_for(config, tiles)
        source = tile_source(config, tiles, split, trainer.device)
        order = torch.randperm(len(split.validation), generator=torch.Generator().manual_seed(config.seed))
        chosen = split.validation[order[:VALIDATION_TILES]]
        validation = list(evaluation_batches(config, tiles, chosen))
    epochs = (drop_singleton_batch(source.train(epoch), trainer.network, config) for epoch in count(1))
    batches = chain.from_iterable(epochs)
    points: list[tuple[float, float]] = []
    train_seconds, trained = 0.0, 0  # seconds and tiles of training, up to now
    try:
        while (left := seconds - (time.perf_counter() - began)) > 0:
            with explained(config):
                trainer.mode(training=True)
                resumed, until = time.perf_counter(), trained + _EVERY_TILES
                tally = Tally.on(trainer.device)  # what a training counts, this one counts
                while trained < until and time.perf_counter() - resumed < left:
                    trained += trainer.step(batches, tally=tally)
                wait_for(trainer.device)
                train_seconds += time.perf_counter() - resumed
                trainer.mode(training=False)
                tally = Tally.on(trainer.device)
                for batch in validation:
                    trainer.validate(trainer.on_device(batch), tally)
                accuracy = tally.means()[1]
            points.append((train_seconds, accuracy))
            reached = accuracy >= target
            keep(Learning(target, reached, train_seconds, trained, len(chosen), tuple(points)))
            yield Learned(cell, since(), accuracy, train_seconds)
            if reached:
                return
    finally:
        source.close()


Pull = Generator[SweepEvent, float | None, None]
"""Events out; nothing comes in, for a measurement is never paused."""

_Answer = TypeVar("_Answer")

_MOST_STEPS = 500  # of a turn, unless more are the least
_GPU_TURN_SECONDS = 0.3
_MORE_ROUNDS = 2  # times as many as planned are made at most, where time is left
_OVERTIME_SECONDS = 10.0  # or as long as was planned: so much later than planned a needed round may begin
_FEW_ROUNDS = 2  # even if a machine is so slow that the seconds are long over


class Sweep:
    """One measurement: `events` carries it out, `result` is what was measured up to now.

    Args:
        make: makes the steps of a setting.
        limits: measures those of a device.
        clock: seconds, for what bounds the measurement (steps have clocks of their own).
    """

    def __init__(
        self,
        config: TrainConfig,
        plan: SweepPlan,
        tiles: TileSet,
        *,
        make: Callable[[TrainConfig, TileSet], TimedSteps] = TimedSteps,
        limits: Callable[[str], Limits] = measure_limits,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._config = config
        self._plan = plan.checked()
        self._configs = plan.configs(config)
        self._tiles = tiles
        self._make = make
        self._measure_limits = limits
        self._clock = clock
        self._began = clock()
        self._steppers: dict[int, TimedSteps] = {}  # by the number of their cell; one that fails is taken out
        cells = tuple(CellResult(each.label, its) for each, its in zip(plan.cells, self._configs, strict=True))
        self.result = SweepResult(plan.name, plan.setting, plan.reference, plan.focus, cells)

    def events(self) -> Pull:
        """Carry the plan out. A cell that cannot be measured is left out, and its result says why.

        Raises `TrainingError` when a device fails, or no cell is left.
        """
        self._began = self._clock()
        try:
            yield SweepStarted(
                len(self._plan.cells),
                self._plan.rounds,
                self._plan.total_seconds(self._config),
                self._config.device,
                torch.get_num_threads(),
            )
            if self._plan.limits:
                yield from self._limits()
            if self._plan.cells:
                yield from self._rounds((yield from self._prepare(self._clock() + self._plan.seconds)))
                self._close()
            if self._plan.target_accuracy is not None:
                yield from self._learning(self._plan.target_accuracy)
            self._note(complete=True)
            yield SweepDone(max(self.result.rounds, 1), self._seconds())
        finally:
            self._close()

    def _seconds(self) -> float:
        return self._clock() - self._began

    def _note(self, at: int | None = None, **changes: Any) -> None:
        """Keep what was measured of a cell, or of all."""
        result = replace(self.result, **changes) if at is None else self.result.with_cell(at, **changes)
        self.result = replace(result, seconds=self._seconds())

    def _close(self) -> None:
        while self._steppers:
            self._steppers.popitem()[1].close()

    def _tried(self, at: int, work: Callable[[], _Answer]) -> _Answer | None:
        """What `work` answers; None when the cell cannot be measured, which its result says then."""
        try:
            return work()
        except DeviceError:
            raise
        except LabError as error:
            self._note(at, problem=str(error))
            self._steppers.pop(at).close()
            if not self._steppers:
                raise TrainingError(f"Nothing could be measured. {error}") from error
            return None

    def _limits(self) -> Pull:
        for device in self._plan.devices(self._config):
            began = self._clock()
            self._note(limits={**self.result.limits, device: self._measure_limits(device)})
            yield LimitsDone(device, self._clock() - began)
        for at, config in enumerate(self._configs):
            self._note(at, prediction=predict_step(config, self.result.limits[config.device], self._classes))

    @property
    def _classes(self) -> int:
        return len(self._tiles.class_names)

    def _prepare(self, deadline: float) -> Generator[SweepEvent, float | None, float]:
        """Make every cell ready and warm; from its pace follows how many steps its turns have.

        Returns the deadline, later by what compiling took.
        """
        paces: dict[int, float] = {}
        compiling = any(each.execution == "compiled" for each in self._configs)
        if compiling:
            self._note(epoch_tiles=len(split_for(self._config, self._tiles).train))
        self._steppers = {at: self._make(config, self._tiles) for at, config in enumerate(self._configs)}
        for at, config in enumerate(self._configs):
            began = self._clock()
            # A ratio of two devices is told of the CPU at its best. For every number of threads a network would be
            # compiled anew.
            prepare = self._steppers[at].prepare
            fit = config.device == "cpu" and len(self._plan.devices(self._config)) > 1 and not compiling
            pace = self._tried(at, partial(prepare, fit_threads=True) if fit else prepare)
            if pace is not None:
                paces[at] = pace
                operations = sum(each.operations for each in step_operations(config, self._classes))
                threads, took = self._steppers[at].threads, self._steppers[at].compile_seconds
                deadline += took or 0.0
                start_seconds = self._clock() - began
                self._note(
                    at, start_seconds=start_seconds, operations=operations, threads=threads, compile_seconds=took
                )
                yield TurnDone("prepare", at, 0, self._seconds(), config.batch_size / pace)
        round_seconds = (deadline - self._clock()) / self._plan.rounds
        untimed = {at: self._steppers[at].untimed() for at in paces}
        phases = 2 if self._plan.validation else 1  # a validation step costs no more than one of training
        least = {at: self._least_steps(at, pace) for at, pace in paces.items()}
        for at, steps in steps_per_turn(paces, untimed, round_seconds / phases, least).items():
            self._tried(at, partial(self._steppers[at].plan, steps, steps if self._plan.validation else 0))
        return deadline

    def _least_steps(self, at: int, pace: float) -> int:
        """Of a turn: on a GPU, where a step can take less than a millisecond, enough to fill some time."""
        gpu = self._configs[at].device != "cpu"
        return max(self._plan.steps, math.ceil(_GPU_TURN_SECONDS / pace) if gpu else 0)

    def _rounds(self, deadline: float) -> Pull:
        for number in range(1, _MORE_ROUNDS * self._plan.rounds + 1):
            began = self._clock()
            order = sorted(self._steppers, reverse=number % 2 == 0)
            for at in order:
                yield from self._turn(at, number)
            now = self._clock()
            if not self._another(number, now - began, deadline - now):
                return

    def _another(self, rounds: int, round_seconds: float, left: float) -> bool:
        """Whether there is to be one more round than these."""
        if rounds < _FEW_ROUNDS:
            return True
        if rounds < LEAST_ROUNDS:
            return left > -max(self._plan.seconds, _OVERTIME_SECONDS)
        return left > round_seconds / 2

    def _turn(self, at: int, number: int) -> Pull:
        stepper, cell = self._steppers[at], self.result.cells[at]
        turn = self._tried(at, lambda: stepper.turn(number))
        if turn is None:
            return
        self._note(at, turns=(*cell.turns, turn))
        yield TurnDone("train", at, number, self._seconds(), turn.tiles_per_second)
        if self._plan.validation:
            validation = self._tried(at, stepper.validation_turn)
            if validation is not None:
                self._note(at, validation=(*cell.validation, validation))
                yield TurnDone("validation", at, number, self._seconds(), validation.tiles_per_second)

    def _learning(self, target: float) -> Pull:
        for at, cell in enumerate(self._plan.cells):
            if not cell.learns or self.result.cells[at].problem:
                continue
            try:
                yield from learn(
                    self._configs[at],
                    self._tiles,
                    at,
                    target,
                    self._plan.accuracy_seconds,
                    lambda learning, at=at: self._note(at, learning=learning),  # type: ignore[misc]
                    self._seconds,
                )
            except DeviceError:
                raise
            except LabError as error:
                self._note(at, problem=str(error))


def steps_per_turn(
    paces: Mapping[int, float], untimed: Mapping[int, int], round_seconds: float, least: Mapping[int, int]
) -> dict[int, int]:
    """How many timed steps each cell's turn has, so that a round takes `round_seconds`, or the least that is possible.

    All cells get the same time, except those whose `least` steps take longer, at the cost of the others.

    Args:
        paces: seconds of a step, by cell.
        untimed: how many steps each turn makes besides.
    """
    left, steps = round_seconds, {}
    slowest_first = sorted(paces, key=lambda at: -paces[at] * (least[at] + untimed[at]))
    for done, at in enumerate(slowest_first):
        share = left / (len(slowest_first) - done)
        steps[at] = max(min(int(share / paces[at]) - untimed[at], _MOST_STEPS), least[at])
        left -= paces[at] * (steps[at] + untimed[at])
    return steps
