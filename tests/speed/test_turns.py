"""Figures of turns: medians, quartiles, where a step's time went; and the result's file, whole or damaged."""

import json
import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from sweep_makers import MEMORY, cell_of, result_of, turns_of

from eurosat_core.errors import RunError
from eurosat_core.speed.result import Limits, Portion, Prediction, SweepResult, between
from eurosat_core.speed.verdict import PARTS, Learning, Turn, breakdown, spread_of

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


def test_parts_that_are_not_known_stay_unknown() -> None:
    assert breakdown([Turn(10, 40, 1.0)]) is None


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
