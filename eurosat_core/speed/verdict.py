"""Whether one setting is faster than another: the one place where that is decided.

Figures taken in turns (sweeps, races) come in pairs, one of each side per round, and `compare_turns` tests these. Runs
that were measured one after the other (the epochs of two trainings, the steps of two profiles) go to `compare_runs`.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from msgspec import Meta, Struct

from eurosat_core import wording
from eurosat_core.records import Count, CountFromOne, Figure, PositiveFigure, Share

PARTS = ("load", "copy", "forward", "backward", "update")
"""The parts of a step, in their order: wait for a batch, move it to the device, and so on."""


class Turn(Struct, frozen=True, array_like=True):
    """Timed steps of one cell in one round: how many, of how many tiles each, and the seconds of all together.

    parts: seconds of each of `PARTS`, which add up to all of them; None where they could not be told apart without
    making the device wait, or the step slower. launching: seconds in which the processor launched a step on an idle
    GPU, forward to update; None where that was not measured.
    """

    steps: CountFromOne
    tiles: CountFromOne
    seconds: PositiveFigure
    parts: Annotated[tuple[Figure, ...], Meta(min_length=len(PARTS), max_length=len(PARTS))] | None = None
    launching: Figure | None = None

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


@dataclass(frozen=True)
class Learning:
    """A short training to an accuracy: whether `target` was reached, after how many seconds and tiles of training.

    seconds, tiles: until then, or until the time was over. points: (seconds, accuracy) along the way; accuracy is the
    share of `validation_tiles` named correctly. Validation itself does not count.
    """

    target: Share
    reached: bool
    seconds: Figure
    tiles: Count
    validation_tiles: CountFromOne
    points: tuple[tuple[Figure, Share], ...] = ()

    @property
    def accuracy(self) -> float:
        """What was reached in the end."""
        return self.points[-1][1] if self.points else 0.0


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
    shares = [
        statistics.median(each.parts[at] / each.seconds for each in known if each.parts) for at in range(len(PARTS))
    ]
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

    The rule: the ratio of the two settings' step times in each round, as a logarithm; of these the Hodges–Lehmann
    estimate (the median of all means of two rounds) and the interval that belongs to Wilcoxon's signed-rank test
    (Hollander and Wolfe, *Nonparametric Statistical Methods*, "The one-sample location problem"). Two settings that are
    equally fast give ratios to either side of 1 alike whatever disturbs the machine, since they take turns; that is all
    the test supposes, so a round that was held up cannot turn the verdict. A difference counts only when the interval
    leaves out 1 and the factor is no smaller than `SMALLEST`: where a network happens to lie in memory makes two copies
    of the same setting differ that much in one process (see `bench/sweep.py`).

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


def verdict_text(verdict: Verdict) -> str:
    """`1.8 times as fast (1.7 to 1.9 times)`, `no difference we can measure (…)`."""
    if verdict.factor is None or verdict.low is None or verdict.high is None:
        return "too few rounds were measured to tell"
    low, high = wording.factor(verdict.low), wording.factor(verdict.high)
    if verdict.outcome == "same":
        least = wording.share(SMALLEST - 1)
        return f"no difference we can measure ({low} to {high} times as fast; less than {least} does not count)"
    if verdict.outcome == "faster":
        return f"{wording.factor(verdict.factor)} times as fast ({low} to {high} times)"
    slower, least, most = (wording.factor(1 / each) for each in (verdict.factor, verdict.high, verdict.low))
    return f"slower: the other is {slower} times as fast ({least} to {most} times)"
