"""What was measured, turn by turn, and its figures: medians of rounds, their spread, and where a step's time went."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eurosat_core.speed.reading import number, numbers, whole

__all__ = ["PARTS", "Learning", "Spread", "Turn", "breakdown", "spread_of"]

PARTS = ("load", "copy", "forward", "backward", "update")
"""The parts of a step, in their order: wait for a batch, move it to the device, and so on."""


@dataclass(frozen=True)
class Turn:
    """Timed steps of one cell in one round: how many, of how many tiles each, and the seconds of all together.

    parts: seconds of each of `PARTS`, which add up to all of them; None where they could not be told apart without
    making the device wait.
    """

    steps: int
    tiles: int
    seconds: float
    parts: tuple[float, ...] | None = None

    @property
    def step_seconds(self) -> float:
        """Seconds of one step: their mean, for a loader delivers in bursts."""
        return self.seconds / self.steps

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds

    @property
    def tiles_per_second(self) -> float:
        return self.steps * self.tiles / self.seconds

    def to_list(self) -> list[Any]:
        """Plain JSON values."""
        return [self.steps, self.tiles, self.seconds, list(self.parts) if self.parts else None]

    @classmethod
    def from_list(cls, values: Any) -> "Turn":
        """Raises `ValueError` for values that are no turn."""
        steps, tiles, seconds, parts = values
        if parts is not None and len(parts) != len(PARTS):
            raise ValueError("parts of a step that are not ours")
        return cls(
            whole(steps, 1), whole(tiles, 1), number(seconds, above=0), None if parts is None else numbers(parts)
        )


@dataclass(frozen=True)
class Learning:
    """A short training to an accuracy: whether `target` was reached, after how many seconds and tiles of training.

    seconds, tiles: until then, or until the time was over. points: (seconds, accuracy) along the way; accuracy is the
    share of `validation_tiles` named correctly. Validation itself does not count.
    """

    target: float
    reached: bool
    seconds: float
    tiles: int
    validation_tiles: int
    points: tuple[tuple[float, float], ...] = ()

    @property
    def accuracy(self) -> float:
        """What was reached in the end."""
        return self.points[-1][1] if self.points else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "points": [list(each) for each in self.points]}

    @classmethod
    def from_dict(cls, values: Any) -> "Learning":
        """Raises `ValueError`, `KeyError` or `TypeError` for values that are none."""
        points = tuple((number(at), number(share, most=1)) for at, share in values["points"])
        return cls(
            number(values["target"], most=1),
            bool(values["reached"]),
            number(values["seconds"]),
            whole(values["tiles"]),
            whole(values["validation_tiles"], 1),
            points,
        )


@dataclass(frozen=True)
class Spread:
    """A figure measured in several rounds: the median, and the quartiles, between which half of the rounds lie."""

    median: float
    low: float
    high: float
    rounds: int
    steps: int

    @property
    def share(self) -> float:
        """The distance of the quartiles as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def spread_of(turns: Sequence[Turn], figure: str) -> Spread | None:
    """Median and quartiles of a figure (`step_seconds`, `steps_per_second`, `tiles_per_second`); None without turns."""
    values = [getattr(each, figure) for each in turns]
    if not values:
        return None
    steps = sum(each.steps for each in turns)
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1, steps)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values), steps)


def breakdown(turns: Sequence[Turn]) -> dict[str, float] | None:
    """Seconds of one step by part, adding up to the median step; None where the parts are not known.

    The median of each part's share over the rounds, so that one disturbed round does not show.
    """
    known = [each for each in turns if each.parts is not None]
    whole_step = spread_of(known, "step_seconds")
    if whole_step is None:
        return None
    shares = [statistics.median(each.parts[at] / each.seconds for each in known if each.parts) for at in range(5)]
    total = sum(shares) or 1.0
    return {part: share / total * whole_step.median for part, share in zip(PARTS, shares, strict=True)}
