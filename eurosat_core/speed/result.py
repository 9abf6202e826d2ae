"""What a measurement found, as it is kept, and what it means for a whole training.

It is kept as `sweep.json`: every turn of every cell, and what follows from them. Every value is checked when it is
read, for the file may come from another lab. The time of a whole training is a projection, not a measurement: so many
steps of either phase, as often as there are epochs; pages label it so. No torch here.
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

from msgspec import Struct, to_builtins

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.records import Count, CountFromOne, Figure, PositiveFigure, decoded, texts
from eurosat_core.speed.verdict import (
    Learning,
    Spread,
    Turn,
    Verdict,
    breakdown,
    compare_turns,
    spread_of,
)
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import count

Rates = tuple[tuple[PositiveFigure, PositiveFigure], ...]
"""(size, rate) pairs."""


@dataclass(frozen=True)
class Limits:
    """The limits of one device, each the best of several tries.

    matmul: operations per second (a multiplication and its addition are two) of large matrices, by precision.
    bandwidth: bytes per second, read and written, by the size in bytes of what is gone through. host_to_device: bytes
    per second from `pageable` and from `pinned` memory to a GPU, empty on a CPU. launch_seconds: what one operation
    costs before it computes anything. fresh_seconds: per byte of memory that the system has to give anew. load_seconds:
    to take one decoded tile from memory and normalise it. rates: for each kind of layer what was calibrated, as
    (size, operations or bytes per second) pairs; `prediction` says what the sizes are. step_launch_seconds: on a GPU,
    what the processor takes to launch a training step of a model while the GPU is idle, whatever the batch's size.
    """

    device: str
    threads: CountFromOne
    matmul: dict[str, PositiveFigure] = field(default_factory=dict)
    bandwidth: Rates = ()
    host_to_device: dict[str, PositiveFigure] = field(default_factory=dict)
    launch_seconds: Figure = 0.0
    fresh_seconds: Figure = 0.0
    load_seconds: Figure = 0.0
    rates: dict[str, Rates] = field(default_factory=dict)
    seconds: Figure = 0.0
    step_launch_seconds: dict[str, PositiveFigure] = field(default_factory=dict)

    @property
    def memory_bandwidth(self) -> float | None:
        """Bytes per second of data too large for any cache; None where nothing was measured."""
        return self.bandwidth[-1][1] if self.bandwidth else None

    def rate(self, kind: str, size: float) -> float | None:
        """The calibrated rate of a kind of layer at this size; None where there is none."""
        return between(self.rates[kind], size) if self.rates.get(kind) else None


def between(pairs: Sequence[tuple[float, float]], size: float) -> float:
    """The rate at a size, from rates at others: a straight line between neighbours on log axes, level beyond."""
    if size <= pairs[0][0]:
        return pairs[0][1]
    for (small, low), (large, high) in pairwise(pairs):
        if size <= large:
            share = math.log(size / small) / math.log(large / small)
            return math.exp(math.log(low) + share * math.log(high / low))
    return pairs[-1][1]


Bottleneck = Literal["compute", "memory", "overhead", "loading"]


class Portion(Struct, frozen=True, array_like=True):
    """What one kind of layer takes of a step: its seconds, operations, bytes, and how many launches it makes."""

    kind: str
    seconds: Figure
    operations: Figure
    bytes: Figure
    launches: Count


@dataclass(frozen=True)
class Prediction:
    """Seconds of a step as they follow from a device's limits, and what they are mostly spent on.

    by: seconds by what limits them (`compute`, `memory`, `overhead`, `loading`). parts: by part of the step. portions:
    by kind of layer, the longest first.
    """

    seconds: PositiveFigure
    bottleneck: Bottleneck
    by: dict[str, Figure]
    parts: dict[str, Figure]
    portions: tuple[Portion, ...]

    def error(self, measured_seconds: float) -> float:
        """How many times too long (above 1) or too short (below 1) the prediction is."""
        return self.seconds / measured_seconds


SWEEP_FILE = "sweep.json"
_FORMAT = 1
_LONGEST_TEXT = 1000  # what went wrong, as a sentence


GpuLimit = Literal["loading", "launches", "busy"]
"""What a GPU's steps take their time for: waiting for batches or for launches; or else it computes all the time."""
_LAUNCH_BOUND = 0.8  # so much of the time in which a GPU computes, launching it takes


@dataclass(frozen=True)
class CellResult:
    """One cell and what was measured of it: its turns, round by round.

    start_seconds: until its first steps were done and warm. operations: arithmetic of a training step, a multiplication
    and its addition being two. problem: why it could not be measured, or not to the end. threads: with how many CPU
    threads it was timed, where that was fitted to it. compile_seconds: what compiling its network took; None for one
    that was not compiled.
    """

    label: str
    config: TrainConfig
    start_seconds: Figure = 0.0
    operations: Figure = 0.0
    turns: tuple[Turn, ...] = ()
    validation: tuple[Turn, ...] = ()
    learning: Learning | None = None
    prediction: Prediction | None = None
    problem: str = ""
    threads: CountFromOne | None = None
    compile_seconds: Figure | None = None

    @property
    def device(self) -> str:
        return self.config.device

    @property
    def tiles_per_second(self) -> Spread | None:
        """Training tiles per second over the rounds; None while nothing was measured."""
        return spread_of(self.turns, "tiles_per_second")

    @property
    def step_seconds(self) -> Spread | None:
        """Seconds of a training step over the rounds."""
        return spread_of(self.turns, "step_seconds")

    @property
    def operations_per_second(self) -> Spread | None:
        """Arithmetic per second of training steps over the rounds."""
        steps = spread_of(self.turns, "steps_per_second")
        if steps is None or not self.operations:
            return None
        return replace(steps, **{name: getattr(steps, name) * self.operations for name in ("median", "low", "high")})

    @property
    def validation_step_seconds(self) -> Spread | None:
        """Seconds of a validation step over the rounds."""
        return spread_of(self.validation, "step_seconds")

    @property
    def parts(self) -> dict[str, float] | None:
        """Seconds of a training step by part (`verdict.PARTS`), adding up to it; None where they are not known."""
        return breakdown(self.turns)

    @property
    def limit(self) -> GpuLimit | None:
        """What a GPU's steps wait for most; None on other devices, and where it was not measured."""
        launching = [each.launching for each in self.turns if each.launching is not None]
        step, parts = self.step_seconds, self.parts
        if not launching or step is None:
            return None
        computing = step.median
        if parts is not None:
            computing -= parts["load"] + parts["copy"]
            if computing < step.median / 2:
                return "loading"
        return "launches" if statistics.median(launching) >= _LAUNCH_BOUND * computing else "busy"


@dataclass(frozen=True)
class SweepResult:
    """All cells in the order of the plan, the limits of the devices that were measured, and how long it all took.

    name, setting, reference, focus: as in the plan. complete: whether the plan was carried out to its end.
    epoch_tiles: how many tiles a training's epoch would have, None where nobody noted it.
    """

    name: str
    setting: str
    reference: str
    focus: str
    cells: tuple[CellResult, ...] = ()
    limits: dict[str, Limits] = field(default_factory=dict)
    seconds: Figure = 0.0
    complete: bool = False
    epoch_tiles: CountFromOne | None = None

    @property
    def rounds(self) -> int:
        """How many rounds every cell that could be measured went through."""
        return min((len(each.turns) for each in self.cells if each.turns), default=0)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices of the cells, in their order."""
        return tuple(dict.fromkeys(each.device for each in self.cells))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the cells, in their order: what varies."""
        return tuple(dict.fromkeys(each.label for each in self.cells))

    def cell(self, label: str, device: str) -> CellResult | None:
        """One cell; None when it was not asked for."""
        return next((each for each in self.cells if (each.label, each.device) == (label, device)), None)

    def verdict(
        self, label: str, device: str, against: str = "", on: str = "", figure: Literal["tiles", "work"] = "tiles"
    ) -> Verdict:
        """Whether a cell is faster than another: than the reference on the same device, unless told.

        figure: by tiles per second, or by arithmetic per second (`work`).
        """
        one, other = self.cell(label, device), self.cell(against or self.reference, on or device)
        if one is None or other is None:
            return Verdict("unknown")
        if figure == "tiles":
            return compare_turns(one.turns, other.turns)
        if not one.operations or not other.operations:
            return Verdict("unknown")
        return compare_turns(one.turns, other.turns, (one.operations, other.operations))

    def saved_seconds(self, label: str, device: str) -> float | None:
        """How much less an epoch of a cell takes than one of the reference there; None where it is not known."""
        one, other = self.cell(label, device), self.cell(self.reference, device)
        if self.epoch_tiles is None or one is None or other is None:
            return None
        step, reference = one.step_seconds, other.step_seconds
        if step is None or reference is None:
            return None
        tile = reference.median / other.config.batch_size - step.median / one.config.batch_size
        return tile * self.epoch_tiles

    def to_json(self) -> bytes:
        """What is stored."""
        return json.dumps({"format": _FORMAT, **to_builtins(self)}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "SweepResult":
        """What `to_json` wrote. Raises `RunError` with a sentence for anything else."""
        damaged = "The measurements of this run are damaged. Measure again to see them."
        values = decoded(dict[str, Any], content, damaged)
        if values.get("format", _FORMAT) != _FORMAT:
            raise RunError("These measurements were written by another version of the lab: they cannot be shown.")
        try:
            configs = [TrainConfig.from_dict(each.pop("config")) for each in values["cells"]]
            if not all(len(each) <= _LONGEST_TEXT and each.isprintable() for each in texts(values)):
                raise ValueError("texts that no lab has written")
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError, ConfigError) as error:
            raise RunError(damaged) from error
        cells = [{**each, "config": config} for each, config in zip(values["cells"], configs, strict=True)]
        return decoded(cls, {**values, "cells": cells}, damaged)

    def with_cell(self, at: int, **changes: Any) -> "SweepResult":
        """The same with other values in one cell (its number in the plan)."""
        cells = [replace(each, **changes) if number == at else each for number, each in enumerate(self.cells)]
        return replace(self, cells=tuple(cells))


@dataclass(frozen=True)
class Projection:
    """Seconds of a whole training. low, high: from the quartiles of its steps. basis: what it rests on."""

    seconds: float
    low: float
    high: float
    epochs: int
    basis: str


def project(cell: CellResult, train_tiles: int, validation_tiles: int, epochs: int) -> Projection | None:
    """The training of a cell on so many tiles, from its timed steps; None where either phase was not measured.

    Before the first step its network is made and the loader workers of both phases start: measured for the first of
    them, and counted once.
    """
    train, validation = cell.step_seconds, cell.validation_step_seconds
    if train is None or validation is None:
        return None
    steps = -(-train_tiles // cell.config.batch_size), -(-validation_tiles // cell.config.batch_size)

    def total(figure: str) -> float:
        # The last batch of a phase is a smaller one: tiles count, not steps.
        spent: float = getattr(train, figure) * train_tiles + getattr(validation, figure) * validation_tiles
        return cell.start_seconds + epochs * spent / cell.config.batch_size

    basis = (
        f"Projected from {_timed(train, 'training')} and {_timed(validation, 'validation')}: "
        f"{count(epochs, 'epoch')} of {steps[0]:,} and {steps[1]:,} steps."
    )
    return Projection(total("median"), total("low"), total("high"), epochs, basis)


def _timed(steps: Spread, phase: str) -> str:
    return f"{steps.steps:,} timed {phase} steps in {count(steps.rounds, 'round')}"
