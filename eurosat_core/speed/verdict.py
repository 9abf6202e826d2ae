"""Whether one setting is faster than another: the one place where that is decided.

Figures taken in turns (sweeps, races) come in pairs, one of each side per round, and `compare_turns` tests these. Runs
that were measured one after the other (the epochs of two trainings, the steps of two profiles) go to `compare_runs`.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

_LARGEST = 1e18  # operations per second and bytes stay far below


def number(value: Any, *, above: float | None = None, most: float = _LARGEST) -> float:
    """A finite number from 0 on, or above `above`. Raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is no figure")
    if not 0 <= value <= most or (above is not None and value <= above):
        raise ValueError(f"{value!r:.40} cannot have been measured")
    return float(value)


def numbers(values: Any) -> tuple[float, ...]:
    """Several of them. Raises `ValueError` likewise."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise ValueError("no list of figures")
    return tuple(number(each) for each in values)


def whole(value: Any, least: int = 0) -> int:
    """A whole number from `least` on. Raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**53:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def text(value: Any, longest: int = 400) -> str:
    """A short printable text. Raises `ValueError` for anything else."""
    if not isinstance(value, str) or len(value) > longest or not (value.isprintable() or not value):
        raise ValueError("a text that no lab has written")
    return value


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


Outcome = Literal["faster", "same", "slower", "unknown"]

CONFIDENCE = 0.95
SMALLEST = 1.05
"""The smallest factor that is called a difference."""
_FEWEST = 5  # rounds: with these the interval holds with 94 %, with fewer it means little
_SMALLEST_APART = 1.07  # the smallest factor between runs that did not take turns: the machine changed in between
_SMALLEST_OF_ONE = 1.3  # and where one of them has a single figure, so that nobody knows how much it varies
_FEW = 5  # figures: of fewer, all must lie apart; of more, the middle half


@dataclass(frozen=True)
class Verdict:
    """One setting against another: `faster`, `slower`, `same` (no difference we can measure) or `unknown`.

    factor: how many times as fast it is as the other; low, high: the range of that factor; None when unknown.
    rounds: on how many pairs this rests.
    """

    outcome: Outcome
    factor: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0


def compare_turns(
    turns: Sequence[Turn], reference: Sequence[Turn], amounts: tuple[float, float] | None = None
) -> Verdict:
    """How much faster the cell of `turns` is than the other; the two lists hold their turns of the same rounds.

    amounts: how much each of them does in a step, where it is not tiles that are to be compared.
    """
    pairs = list(zip(turns, reference, strict=False))  # a round that was stopped half-way has no pair
    if len(pairs) < _FEWEST:
        return Verdict("unknown", rounds=len(pairs))
    logs = [math.log(other.step_seconds / one.step_seconds) for one, other in pairs]
    more = math.log(amounts[0] / amounts[1] if amounts else turns[0].tiles / reference[0].tiles)
    estimate, low, high = (each + more for each in signed_rank_interval(logs))
    differs = (low > 0 or high < 0) and abs(estimate) >= math.log(SMALLEST)
    outcome: Outcome = "same" if not differs else "faster" if estimate > 0 else "slower"
    return Verdict(outcome, math.exp(estimate), math.exp(low), math.exp(high), len(pairs))


def compare_runs(rates: Sequence[float], reference: Sequence[float]) -> Verdict:
    """How much faster a run is than another that was measured at another time; `unknown` without figures of both.

    All figures of a run share what the machine did meanwhile. They have no partners in the other run, and are no
    independent measurements of the setting: a rank test would call almost any two runs different once they are long
    enough. So their medians must differ by more than a machine does from one run to the next, and their ranges must not
    overlap (of five figures or more, the ranges of their middle halves).

    Args:
        rates: per second, such as tiles of each epoch or steps of each step.
        reference: the same of the other run.
    """
    if not rates or not reference or min(*rates, *reference) <= 0:
        return Verdict("unknown")
    low, high = _usual_range(rates)
    other_low, other_high = _usual_range(reference)
    factor = statistics.median(rates) / statistics.median(reference)
    rounds = min(len(rates), len(reference))
    least = _SMALLEST_APART if rounds > 1 else _SMALLEST_OF_ONE
    apart = low > other_high or other_low > high
    differs = apart and abs(math.log(factor)) >= math.log(least)
    outcome: Outcome = "same" if not differs else "faster" if factor > 1 else "slower"
    return Verdict(outcome, factor, low / other_high, high / other_low, rounds)


def _usual_range(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < _FEW:
        return min(values), max(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def signed_rank_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The Hodges–Lehmann estimate of the middle of `values`, and the interval of the signed-rank test around it."""
    means = sorted((one + other) / 2 for at, one in enumerate(values) for other in values[at:])
    left_out = _left_out(len(values))
    return statistics.median(means), means[left_out], means[-1 - left_out]


@lru_cache(maxsize=64)
def _left_out(rounds: int) -> int:
    """How many of the smallest and of the largest means are left out: as many as keep `CONFIDENCE`, by exact count.

    The signed-rank sum of n values with equally likely signs is a sum over a subset of 1…n; `ways` counts the subsets.
    """
    ways = [1]
    for rank in range(1, rounds + 1):
        longer = ways + [0] * rank
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    below, left_out = 0, 0
    for number in ways:
        below += number
        if 2 * below / 2**rounds > 1 - CONFIDENCE:
            break
        left_out += 1
    return max(left_out - 1, 0)
