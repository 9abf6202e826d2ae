"""Figures of turns, the verdict over them, and a result's file: arithmetic, how often it is wrong, damaged files."""

import itertools
import json
import math
import random
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from sweep_makers import MEMORY, cell_of, result_of, turns_of

from eurosat_core.errors import RunError
from eurosat_core.speed.result import Limits, Portion, Prediction, SweepResult, between
from eurosat_core.speed.verdict import (
    PARTS,
    SMALLEST,
    Learning,
    Turn,
    Verdict,
    breakdown,
    compare_runs,
    compare_turns,
    signed_rank_interval,
    spread_of,
)

SECONDS = some.lists(some.floats(1e-4, 1.0), min_size=1, max_size=12)


@given(SECONDS)
def test_median_and_quartiles_are_numpys(seconds: list[float]) -> None:
    spread = spread_of(turns_of(seconds, steps=10, tiles=40), "tiles_per_second")
    assert spread is not None and (spread.rounds, spread.steps) == (len(seconds), 10 * len(seconds))
    rates = [40 / each for each in seconds]
    assert (spread.low, spread.median, spread.high) == pytest.approx(np.quantile(rates, [0.25, 0.5, 0.75]))
    assert spread.share == pytest.approx((spread.high - spread.low) / statistics.median(rates))


def test_without_turns_there_is_no_figure() -> None:
    assert spread_of((), "step_seconds") is None and breakdown(()) is None
    cell = cell_of("a", [])
    assert cell.tiles_per_second is None and cell.parts is None and cell.operations_per_second is None


@given(some.lists(some.lists(some.floats(0.001, 1.0), min_size=5, max_size=5), min_size=1, max_size=8))
def test_the_parts_add_up_to_the_median_step(rounds: list[list[float]]) -> None:
    turns = [Turn(4, 40, sum(parts), tuple(parts)) for parts in rounds]
    parts = breakdown(turns)
    assert parts is not None and tuple(parts) == PARTS
    assert sum(parts.values()) == pytest.approx(statistics.median(each.step_seconds for each in turns))


def test_one_disturbed_round_does_not_show_in_the_parts() -> None:
    steady = Turn(10, 40, 1.0, (0.1, 0.0, 0.4, 0.4, 0.1))
    held_up = Turn(10, 40, 9.0, (8.1, 0.0, 0.4, 0.4, 0.1))
    assert breakdown([steady, held_up, steady]) == pytest.approx(
        {"load": 0.01, "copy": 0.0, "forward": 0.04, "backward": 0.04, "update": 0.01}
    )


def whole() -> SweepResult:
    """A result with everything that one can hold."""
    learning = Learning(0.5, True, 3.5, 4000, 1000, ((1.5, 0.3), (3.5, 0.52)))
    prediction = Prediction(
        0.02, "compute", {"compute": 0.02}, {"forward": 0.02}, (Portion("linear", 0.02, 1e9, 2e6, 3),)
    )
    limits = Limits("cpu", 2, {"float32": 1e11}, ((1e6, 2e10),), {}, 2e-6, 1e-10, 1e-5, {"linear": ((8.0, 1e10),)}, 9.0)
    first = cell_of("40", [0.01] * 6, learning=learning, prediction=prediction, validation=turns_of([0.005] * 6))
    return result_of(first, cell_of("8", [0.02] * 6, problem="It failed."), limits={"cpu": limits})


def test_a_result_survives_its_file() -> None:
    assert SweepResult.from_json(whole().to_json()) == whole()


def _damaged() -> list[tuple[str, Any]]:
    """Every value in the file, replaced by something else."""
    values = json.loads(whole().to_json())
    found: list[tuple[str, Any]] = []

    def walk(at: Any, path: str, put: Any) -> None:
        for wrong in (None, "x" * 2000, -1, math.inf, {"a": 1}):
            put(wrong)
            found.append((f"{path} is {str(wrong)[:8]}", json.dumps(values).encode()))
        put(at)
        if isinstance(at, dict):
            for name in list(at):
                walk(at[name], f"{path}.{name}", lambda value, name=name: at.__setitem__(name, value))
        elif isinstance(at, list):
            for number in range(min(len(at), 2)):
                walk(at[number], f"{path}[{number}]", lambda value, number=number: at.__setitem__(number, value))

    for name in list(values):
        walk(values[name], name, lambda value, name=name: values.__setitem__(name, value))
    return found


def test_a_damaged_result_is_a_sentence_or_still_a_result() -> None:
    """Nothing else than a `RunError` comes out of whatever stands in the file; figures that do come out are finite."""
    refused = 0
    for what, content in _damaged():
        try:
            result = SweepResult.from_json(content)
        except RunError as error:
            assert str(error).endswith((".", "shown.")), what
            refused += 1
            continue
        for cell in result.cells:
            for figure in (cell.tiles_per_second, cell.step_seconds):
                assert figure is None or math.isfinite(figure.median), what
    assert refused > 300


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"format": 9}', b"\xff", b"[" * 100_000])
def test_what_is_no_result_is_refused(content: bytes) -> None:
    with pytest.raises(RunError):
        SweepResult.from_json(content)


def test_verdicts_by_label_and_device() -> None:
    from dataclasses import replace

    gpu = replace(MEMORY, device="cuda:0")
    result = result_of(
        cell_of("40", [0.02] * 6),
        cell_of("256", [0.01] * 6),
        cell_of("40", [0.002] * 6, gpu),
        cell_of("256", [0.002] * 6, gpu, operations=4e9),
    )
    assert result.devices == ("cpu", "cuda:0") and result.labels == ("40", "256")
    assert result.verdict("256", "cpu").factor == pytest.approx(2.0)
    assert result.verdict("256", "cuda:0").outcome == "same"
    assert result.verdict("256", "cuda:0", figure="work").factor == pytest.approx(4.0)
    assert result.verdict("40", "cuda:0", against="40", on="cpu").factor == pytest.approx(10.0)
    assert result.verdict("9", "cpu").outcome == "unknown"
    rate = result.cells[3].operations_per_second
    assert rate is not None and rate.median == pytest.approx(4e9 / 0.002)


@given(some.floats(0.1, 1e4))
def test_rates_between_those_that_are_known(size: float) -> None:
    pairs = ((1.0, 10.0), (10.0, 100.0), (1000.0, 50.0))
    assert between(pairs, size) == pytest.approx(
        np.exp(np.interp(np.log(size), np.log([1, 10, 1000]), np.log([10, 100, 50])))
    )


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
