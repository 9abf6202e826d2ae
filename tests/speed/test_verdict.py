"""The verdict: how often it is wrong about equal settings, that it sees real differences, and its arithmetic."""

import itertools
import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sweep_makers import turns_of

from eurosat_core.speed.verdict import SMALLEST, Verdict, compare_runs, compare_turns, signed_rank_interval

Noise = Callable[[random.Random], float]
NOISES: dict[str, Noise] = {
    "even": lambda rng: rng.uniform(0.98, 1.02),
    "bell": lambda rng: math.exp(rng.gauss(0, 0.05)),
    "wild": lambda rng: math.exp(rng.gauss(0, 0.3)),
    "held up now and then": lambda rng: rng.uniform(0.99, 1.01) * (3.0 if rng.random() < 0.05 else 1.0),
}


def tries(noise: Noise, factor: float, rounds: int, seed: int, many: int = 400) -> list[Verdict]:
    """Verdicts about a setting whose steps take 1 / factor as long; a round's disturbance hits both in part."""
    rng = random.Random(seed)
    found = []
    for _ in range(many):
        drift = [noise(rng) for _ in range(rounds)]
        reference = [0.01 * each * noise(rng) for each in drift]
        other = [0.01 / factor * each * noise(rng) for each in drift]
        found.append(compare_turns(turns_of(other), turns_of(reference)))
    return found


@pytest.mark.parametrize("rounds", [6, 8, 12])
@pytest.mark.parametrize("noise", NOISES)
def test_equal_settings_are_seldom_called_different(noise: str, rounds: int) -> None:
    wrong = sum(each.outcome != "same" for each in tries(NOISES[noise], 1.0, rounds, seed=1))
    assert wrong / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400), "the test's own 5 %, with what luck adds"


@pytest.mark.parametrize("noise", ["even", "bell", "held up now and then"])
def test_real_differences_are_seen(noise: str) -> None:
    least = 0.99 if noise != "held up now and then" else 0.6
    for factor, outcome in ((1.5, "faster"), (1 / 1.5, "slower")):
        found = tries(NOISES[noise], factor, rounds=8, seed=2)
        assert sum(each.outcome == outcome for each in found) / len(found) >= least
        assert not any(each.outcome not in (outcome, "same") for each in found)


def test_the_range_holds_the_truth_as_often_as_it_says() -> None:
    found = tries(NOISES["bell"], 1.3, rounds=8, seed=3, many=800)
    held = sum(each.low <= 1.3 <= each.high for each in found if each.low and each.high)
    assert held / 800 >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 800)


def test_a_difference_smaller_than_what_is_called_one() -> None:
    steady = [0.0100, 0.0101] * 4
    little = [each / 1.03 for each in steady]
    verdict = compare_turns(turns_of(little), turns_of(steady))
    assert verdict.outcome == "same" and verdict.factor == pytest.approx(1.03) and verdict.low and verdict.low > 1
    enough = [each / (SMALLEST + 0.01) for each in steady]
    assert compare_turns(turns_of(enough), turns_of(steady)).outcome == "faster"


def test_tiles_count_or_whatever_else_is_done() -> None:
    small, large = turns_of([0.01] * 8, tiles=40), turns_of([0.02] * 8, tiles=160)
    assert compare_turns(large, small).factor == pytest.approx(2.0)
    assert compare_turns(large, small, (3.0, 1.0)).factor == pytest.approx(1.5)


def test_too_few_rounds_tell_nothing() -> None:
    assert compare_turns(turns_of([0.01] * 4), turns_of([0.02] * 9)) == Verdict("unknown", rounds=4)
    assert compare_turns((), ()).outcome == "unknown"


def test_the_interval_is_the_signed_rank_tests() -> None:
    """For n values the test at 5 % may leave out so many of the ordered means: tables of the signed-rank sum."""
    allowed = {5: 0, 6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 12: 13, 15: 25}  # critical values, two-sided 5 %
    rng = random.Random(4)
    for count, left_out in allowed.items():
        values = [rng.gauss(0, 1) for _ in range(count)]
        means = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2))
        estimate, low, high = signed_rank_interval(values)
        assert (estimate, low, high) == (statistics.median(means), means[left_out], means[-1 - left_out])


@given(some.lists(some.floats(-1, 1), min_size=5, max_size=12), some.floats(-2, 2))
def test_a_shift_shifts_the_interval(values: list[float], shift: float) -> None:
    before, after = signed_rank_interval(values), signed_rank_interval([each + shift for each in values])
    assert after == pytest.approx([each + shift for each in before])
    assert before[1] <= before[0] <= before[2]


@pytest.mark.parametrize(
    ("rates", "reference", "outcome"),
    [
        ([3000, 3200], [990, 1010], "faster"),
        ([250, 260], [990, 1010], "slower"),
        ([1060, 1065], [990, 1000], "same"),  # apart, but by no more than a machine changes between two runs
        ([900, 2000], [990, 1010], "same"),  # of so few figures, all must lie apart
        ([1100] * 8 + [100], [1000] * 8 + [5000], "faster"),  # of many, the middle half
        ([1250], [1000], "same"),
        ([1350], [1000], "faster"),
        ([1250], [1000, 1010, 1020], "same"),  # one figure has no spread
        ([], [1000], "unknown"),
        ([0.0], [1000], "unknown"),
    ],
)
def test_runs_that_took_no_turns(rates: list[float], reference: list[float], outcome: str) -> None:
    verdict = compare_runs(rates, reference)
    assert verdict.outcome == outcome
    if verdict.factor is not None:
        assert verdict.factor == statistics.median(rates) / statistics.median(reference)
        assert verdict.low is not None and verdict.high is not None and verdict.low <= verdict.factor <= verdict.high
        mirrored = {"faster": "slower", "slower": "faster"}
        assert compare_runs(reference, rates).outcome == mirrored.get(outcome, outcome)


def test_more_figures_of_two_equal_runs_do_not_make_them_differ() -> None:
    """Each run shares one disturbance: of 400 pairs with 3 % between runs, few are called different, however long."""
    rng = random.Random(5)

    def run(figures: int) -> list[float]:
        level = 1000 * math.exp(rng.gauss(0, 0.03))
        return [level * math.exp(rng.gauss(0, 0.01)) for _ in range(figures)]

    for figures in (3, 12, 200):
        called = sum(compare_runs(run(figures), run(figures)).outcome != "same" for _ in range(400))
        assert called / 400 <= 0.15
