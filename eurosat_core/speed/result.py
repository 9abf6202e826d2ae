"""What a measurement leaves behind, as `sweep.json`: every turn of every cell, and what follows from them.

The typed reader checks every value, for the file may come from another lab.
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.speed.limits import Limits
from eurosat_core.speed.predicted import Prediction
from eurosat_core.speed.reading import number, text
from eurosat_core.speed.turns import Learning, Spread, Turn, breakdown, spread_of
from eurosat_core.speed.verdict import Verdict, compare_turns
from eurosat_core.training.config import TrainConfig

__all__ = ["SWEEP_FILE", "CellResult", "SweepResult"]

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
        """Seconds of a training step by part (`turns.PARTS`), adding up to it; None where they are not known."""
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
