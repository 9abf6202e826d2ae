"""A predicted step, as it is kept and shown; no torch here. `speed.prediction` makes it."""

from dataclasses import dataclass
from typing import Any, Literal

from eurosat_core.speed.reading import number, text, whole

__all__ = ["Bottleneck", "Portion", "Prediction"]

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
