"""The calculator's rate: what was measured, on this device, and on what it rests."""

from dataclasses import replace
from typing import Any

import pytest
from fake_engine import SPEEDS

from eurosat_core.lab.calibration import measured_rate, short_time, tutorials_slip
from eurosat_core.models.catalog import PRESETS, build_model
from eurosat_core.models.convolution import LayerWork
from eurosat_core.models.summary import ModelSummary, summarize
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import Architecture, recipe_config
from tests.run_makers import make_record

HERE = {"threads": 2, "device_name": "Test CPU"}
FAST = recipe_config("baseline", "fast", precision="bfloat16", channels_last=True)


BASELINE = Architecture("baseline")


def summary(network: Architecture) -> ModelSummary:
    return summarize(build_model(network.model, network=network.network, stem_pool=network.stem_pool))


def run(rate: float = 9000.0, **changes: Any) -> RunRecord:
    figures = {"tiles_per_second": rate}
    return make_record(**{"config": FAST, "summary": figures, "machine": {**HERE, "torch": "2"}, **changes})


def test_nothing_measured_gives_no_figure() -> None:
    assert measured_rate("cpu", [], [], summary, HERE) is None
    assert measured_rate("cuda:0", SPEEDS, [run()], summary, HERE) is None


def test_the_fastest_short_measurement() -> None:
    rate = measured_rate("cpu", SPEEDS, [], summary, HERE)
    assert rate is not None
    assert rate.per_second == pytest.approx(3 * summary(BASELINE).macs / 0.0002)
    assert "for a moment (batches of 128, bfloat16)" in rate.basis


def test_a_faster_run_is_taken_and_named() -> None:
    rate = measured_rate("cpu", SPEEDS, [run()], summary, HERE)
    assert rate is not None
    assert rate.per_second == pytest.approx(3 * summary(BASELINE).macs * 9000)
    assert "run run (batches of 64, bfloat16)" in rate.basis


def test_a_high_rate_is_written_out() -> None:
    tiles = 5.7e12 / (3 * summary(BASELINE).macs)
    rate = measured_rate("cpu", [], [run(tiles)], summary, HERE)
    assert rate is not None and rate.basis.startswith("5,700 billion multiplications a second")


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "cancelled"},
        {"concurrent_runs": ("other",)},
        {"machine": {**HERE, "device_name": "another"}},
        {"summary": {}},
        {"config": replace(FAST, source="loader")},
        {"config": replace(FAST, device="cuda:0")},
    ],
)
def test_runs_that_say_nothing_about_this_device(changes: dict[str, Any]) -> None:
    assert measured_rate("cpu", [], [run(**changes)], summary, HERE) is None


def test_a_network_of_ones_own_is_counted_by_its_own_layers() -> None:
    layers = PRESETS["deeper"].text
    rate = measured_rate("cpu", [], [run(config=replace(FAST, model="custom", network=layers))], summary, HERE)
    assert rate is not None
    assert rate.per_second == pytest.approx(3 * summary(Architecture("custom", layers)).macs * 9000)
    assert summary(Architecture("custom", layers)).macs != summary(BASELINE).macs


def test_smaller_pictures_first_are_less_work_than_the_layers_say() -> None:
    whole = recipe_config("tilenet", "sprint", progressive_resizing=False)
    smaller = run(rate=900.0, config=replace(whole, progressive_resizing=True), id="smaller")
    assert measured_rate("cpu", [], [smaller], summary, HERE) is None
    rate = measured_rate("cpu", [], [smaller, run(rate=500.0, config=whole, id="whole")], summary, HERE)
    assert rate is not None and "run whole (" in rate.basis
    assert rate.per_second == pytest.approx(3 * summary(Architecture("tilenet")).macs * 500)


def test_a_frozen_network_did_less_than_its_layers_say() -> None:
    def frozen(network: Architecture) -> ModelSummary:
        return replace(summary(network), trainable_params=850)

    assert measured_rate("cpu", [], [run()], frozen, HERE) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25e-6, "0.25 µs"),
        (12.3e-6, "12 µs"),
        (344e-6, "340 µs"),
        (994e-6, "990 µs"),
        (996e-6, "0.996 ms"),
        (4.234e-3, "4.23 ms"),
        (0.5, "500 ms"),
        (1.0, "1 s"),
        (125, "2 min 05 s"),
    ],
)
def test_short_times(seconds: float, text: str) -> None:
    assert short_time(seconds) == text


def test_the_slip_is_mentioned_beside_its_own_values_only() -> None:
    assert "1,746,696" in tutorials_slip(LayerWork())
    assert tutorials_slip(LayerWork(stride=2)) == ""
