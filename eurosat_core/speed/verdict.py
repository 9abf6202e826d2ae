"""Whether one setting is faster than another, from rounds in which both had their turn: a factor with its range.

The rule: the ratio of the two settings' step times in each round, as a logarithm; of these the Hodges–Lehmann
estimate (the median of all means of two rounds) and the interval that belongs to Wilcoxon's signed-rank test
(Hollander and Wolfe, *Nonparametric Statistical Methods*, "The one-sample location problem"). Two settings that are
equally fast give ratios to either side of 1 alike whatever disturbs the machine, since they take turns; that is all
the test supposes, so a round that was held up cannot turn the verdict. A difference counts only when the interval
leaves out 1 and the factor is no smaller than `SMALLEST`: where a network happens to lie in memory makes two copies
of the same setting differ that much in one process (see `bench/sweep.py`).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from eurosat_core.speed.turns import Turn

__all__ = ["CONFIDENCE", "SMALLEST", "Outcome", "Verdict", "compare_turns", "signed_rank_interval"]

Outcome = Literal["faster", "same", "slower", "unknown"]

CONFIDENCE = 0.95
SMALLEST = 1.05
"""The smallest factor that is called a difference."""
_FEWEST = 5  # rounds: with these the interval holds with 94 %, with fewer it means little


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
