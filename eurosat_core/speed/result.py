"""What a measurement found, as it is kept, and what it means for a whole training."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.speed.verdict import (
    Learning,
    Spread,
    Turn,
    Verdict,
    breakdown,
    compare_turns,
    number,
    spread_of,
    text,
    whole,
)
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import count


@dataclass(frozen=True)
class Limits:
    """The limits of one device, each the best of several tries.

    matmul: operations per second (a multiplication and its addition are two) of large matrices, by precision.
    bandwidth: bytes per second, read and written, by the size in bytes of what is gone through. host_to_device: bytes
    per second from `pageable` and from `pinned` memory to a GPU, empty on a CPU. launch_seconds: what one operation
    costs before it computes anything. fresh_seconds: per byte of memory that the system has to give anew. load_seconds:
    to take one decoded tile from memory and normalise it. rates: for each kind of layer what was calibrated, as
    (size, operations or bytes per second) pairs; `prediction` says what the sizes are.
    """

    device: str
    threads: int
    matmul: dict[str, float] = field(default_factory=dict)
    bandwidth: tuple[tuple[float, float], ...] = ()
    host_to_device: dict[str, float] = field(default_factory=dict)
    launch_seconds: float = 0.0
    fresh_seconds: float = 0.0
    load_seconds: float = 0.0
    rates: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def memory_bandwidth(self) -> float | None:
        """Bytes per second of data too large for any cache; None where nothing was measured."""
        return self.bandwidth[-1][1] if self.bandwidth else None

    def rate(self, kind: str, size: float) -> float | None:
        """The calibrated rate of a kind of layer at this size; None where there is none."""
        return between(self.rates[kind], size) if self.rates.get(kind) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Any) -> "Limits":
        """Raises `ValueError`, `KeyError`, `TypeError` or `AttributeError` for values that are none."""
        return cls(
            device=text(values["device"]),
            threads=whole(values["threads"], 1),
            matmul=_figures(values["matmul"]),
            bandwidth=_pairs(values["bandwidth"]),
            host_to_device=_figures(values["host_to_device"]),
            launch_seconds=number(values["launch_seconds"]),
            fresh_seconds=number(values["fresh_seconds"]),
            load_seconds=number(values["load_seconds"]),
            rates={text(kind): _pairs(each) for kind, each in values["rates"].items()},
            seconds=number(values["seconds"]),
        )


def _figures(values: Mapping[str, Any]) -> dict[str, float]:
    return {text(name): number(value, above=0) for name, value in values.items()}


def _pairs(values: Sequence[Any]) -> tuple[tuple[float, float], ...]:
    return tuple((number(size, above=0), number(rate, above=0)) for size, rate in values)


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
BOTTLENECKS = ("compute", "memory", "overhead", "loading")


@dataclass(frozen=True)
class Portion:
    """What one kind of layer takes of a step: its seconds, operations, bytes, and how many launches it makes."""

    kind: str
    seconds: float
    operations: float
    bytes: float
    launches: int


@dataclass(frozen=True)
class Prediction:
    """Seconds of a step as they follow from a device's limits, and what they are mostly spent on.

    by: seconds by what limits them (`compute`, `memory`, `overhead`, `loading`). parts: by part of the step. portions:
    by kind of layer, the longest first.
    """

    seconds: float
    bottleneck: Bottleneck
    by: dict[str, float]
    parts: dict[str, float]
    portions: tuple[Portion, ...]

    def error(self, measured_seconds: float) -> float:
        """How many times too long (above 1) or too short (below 1) the prediction is."""
        return self.seconds / measured_seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "portions": [list(vars(each).values()) for each in self.portions]}

    @classmethod
    def from_dict(cls, values: Any) -> "Prediction":
        """Raises `ValueError`, `KeyError` or `TypeError` for values that are none."""
        if values["bottleneck"] not in BOTTLENECKS:
            raise ValueError("a bottleneck that is none")
        return cls(
            number(values["seconds"], above=0),
            values["bottleneck"],
            {text(name): number(value) for name, value in values["by"].items()},
            {text(name): number(value) for name, value in values["parts"].items()},
            tuple(
                Portion(text(kind), number(seconds), number(operations), number(size), whole(launches))
                for kind, seconds, operations, size, launches in values["portions"]
            ),
        )


SWEEP_FILE = "sweep.json"
_FORMAT = 1


@dataclass(frozen=True)
class CellResult:
    """One cell and what was measured of it: its turns, round by round.

    start_seconds: until its first steps were done and warm. operations: arithmetic of a training step, a multiplication
    and its addition being two. problem: why it could not be measured, or not to the end.
    """

    label: str
    config: TrainConfig
    start_seconds: float = 0.0
    operations: float = 0.0
    turns: tuple[Turn, ...] = ()
    validation: tuple[Turn, ...] = ()
    learning: Learning | None = None
    prediction: Prediction | None = None
    problem: str = ""

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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "label": self.label,
            "config": self.config.to_dict(),
            "start_seconds": self.start_seconds,
            "operations": self.operations,
            "turns": [each.to_list() for each in self.turns],
            "validation": [each.to_list() for each in self.validation],
            "learning": self.learning.to_dict() if self.learning else None,
            "prediction": self.prediction.to_dict() if self.prediction else None,
            "problem": self.problem,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CellResult":
        """Raises `ValueError`, `KeyError`, `TypeError` or `ConfigError` for values that are none."""
        learning, prediction = values["learning"], values["prediction"]
        return cls(
            text(values["label"]),
            TrainConfig.from_dict(values["config"]),
            number(values["start_seconds"]),
            number(values["operations"]),
            tuple(Turn.from_list(each) for each in values["turns"]),
            tuple(Turn.from_list(each) for each in values["validation"]),
            None if learning is None else Learning.from_dict(learning),
            None if prediction is None else Prediction.from_dict(prediction),
            text(values["problem"], longest=1000),
        )


@dataclass(frozen=True)
class SweepResult:
    """All cells in the order of the plan, the limits of the devices that were measured, and how long it all took.

    name, setting, reference, focus: as in the plan. complete: whether the plan was carried out to its end.
    """

    name: str
    setting: str
    reference: str
    focus: str
    cells: tuple[CellResult, ...] = ()
    limits: dict[str, Limits] = field(default_factory=dict)
    seconds: float = 0.0
    complete: bool = False

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

    def to_json(self) -> bytes:
        """What is stored."""
        values = {
            "format": _FORMAT,
            **{name: getattr(self, name) for name in ("name", "setting", "reference", "focus", "seconds", "complete")},
            "cells": [each.to_dict() for each in self.cells],
            "limits": {device: each.to_dict() for device, each in self.limits.items()},
        }
        return json.dumps(values).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "SweepResult":
        """What `to_json` wrote. Raises `RunError` with a sentence for anything else."""
        try:
            values = json.loads(content)
            if values["format"] != _FORMAT:
                raise RunError("These measurements were written by another version of the lab: they cannot be shown.")
            return cls(
                name=text(values["name"]),
                setting=text(values["setting"]),
                reference=text(values["reference"]),
                focus=text(values["focus"]),
                cells=tuple(CellResult.from_dict(each) for each in values["cells"]),
                limits={text(device): Limits.from_dict(each) for device, each in values["limits"].items()},
                seconds=number(values["seconds"]),
                complete=bool(values["complete"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
            raise RunError("The measurements of this run are damaged. Measure again to see them.") from error

    def changed(self, **changes: Any) -> "SweepResult":
        """The same with other values."""
        return replace(self, **changes)

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
    train_steps: int
    validation_steps: int
    timed_steps: int
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
    timed = train.steps + validation.steps
    return Projection(total("median"), total("low"), total("high"), epochs, *steps, timed, basis)


def _timed(steps: Spread, phase: str) -> str:
    return f"{steps.steps:,} timed {phase} steps in {count(steps.rounds, 'round')}"
