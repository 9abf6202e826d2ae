"""Limits, free sweeps and experiments in words, tables and charts."""

import json
from dataclasses import replace
from typing import Any

import pytest
from experiment_makers import PARTS, limits_of, measured
from fake_engine import GPU
from msgspec import structs
from run_makers import told

from eurosat_core.analysis.sweep import (
    BOTTLENECKS,
    OFFERED,
    offered,
    overtaking_finding,
    overtakings,
    plan_free,
    prediction_finding,
    value_of,
)
from eurosat_core.charts import speed as charts
from eurosat_core.errors import ConfigError
from eurosat_core.speed.experiments import plan_experiment
from eurosat_core.speed.prediction import Overtaking
from eurosat_core.speed.result import Prediction, SweepResult
from eurosat_core.training.config import SETTINGS, recipe_config


def batches(devices: tuple[str, ...] = ("cpu",), **changes: Any) -> SweepResult:
    config, plan = plan_experiment("batch_size", devices)
    return measured(config, plan, **changes)


# -- limits


def predicted(*errors: float) -> SweepResult:
    result = batches()
    for at, error in enumerate(errors):
        step = result.cells[at].step_seconds
        assert step is not None
        made = Prediction(error * step.median, "memory", {"memory": 1.0}, {"forward": 1.0}, ())
        result = result.with_cell(at, prediction=made)
    return result


@pytest.mark.parametrize(
    ("errors", "names", "worst"),
    [
        ((), ["nothing"], None),
        ((1.2, 0.9), ["close", "spent"], 1.2),
        ((1.2, 0.55), ["rough", "spent"], 1 / 0.55),
        ((1.2, 3.0), ["off", "spent"], 3.0),
    ],
)
def test_how_near_predictions_come(errors: Any, names: list[str], worst: float | None) -> None:
    found = prediction_finding(predicted(*errors))
    assert told(found) == names and found.figures.get("worst") == (worst and pytest.approx(worst))
    assert [each.figures["bottleneck"] for each in found.then] == [BOTTLENECKS["memory"]][: len(errors)]


@pytest.mark.parametrize(
    ("found", "name", "figure", "size"),
    [
        (Overtaking("at", "batch_size", "measured", 63.2, ((8, 0.5), (256, 2.0))), "measured.at", "at", {"tiles": 63}),
        (
            Overtaking("always", "batch_size", "measured", None, ((8, 2.0), (256, 4.0))),
            "measured.always",
            "to",
            {"tiles": 256},
        ),
        (
            Overtaking("never", "model_size", "predicted", None, ((1e6, 0.2), (9e6, 0.5))),
            "predicted.never",
            "from",
            {"millions": "1"},
        ),
        (
            Overtaking("at", "model_size", "predicted", 1.463e9, ((1e6, 0.2), (9e9, 5.0))),
            "predicted.at",
            "at",
            {"millions": "1,460"},
        ),
    ],
)
def test_every_overtaking(found: Overtaking, name: str, figure: str, size: Any) -> None:
    said = overtaking_finding(found)
    assert told(said) == [name] and said.figures[figure].figures == size


def test_an_overtaking_that_is_not_known_says_why() -> None:
    found = overtaking_finding(Overtaking("unknown", "batch_size", "predicted", reason="Measure both."))
    assert (found.kind, found.figures) == ("unknown", {"reason": "Measure both."})


def test_without_a_gpu_nothing_overtakes() -> None:
    config = recipe_config("baseline", "tutorial", source="memory")
    limits = replace(batches(), limits={"cpu": limits_of("cpu")})
    assert overtakings(limits, batches(), None, config) == []


def test_what_was_measured_comes_before_what_is_predicted() -> None:
    config = recipe_config("baseline", "tutorial", source="memory")
    limits = replace(batches(), limits={"cpu": limits_of("cpu"), GPU.id: limits_of(GPU.id)})
    found = overtakings(limits, batches(("cpu", GPU.id)), None, config)
    assert [(each.by, each.basis) for each in found] == [("batch_size", "measured"), ("model_size", "predicted")]
    alone = overtakings(replace(limits, limits={GPU.id: limits_of(GPU.id)}), None, None, config)
    assert {each.kind for each in alone} == {"unknown"} and "the CPU" in alone[0].reason


def test_limits_in_words() -> None:
    table = charts.limits_table([limits_of("cpu"), limits_of(GPU.id)]).set_index("Limit")
    assert table.loc["Matrix multiplication, float32", "CPU"] == "200 billion operations/s"
    assert list(table.loc["Copy to the GPU, pinned memory"]) == ["–", "20.0 GB/s"]
    assert table.loc["Memory, read and written", "GPU 0"] == "12.0 GB/s"


def test_errors_have_their_sign() -> None:
    table = charts.prediction_table(predicted(1.25, 0.5))
    assert [each.replace("\N{NO-BREAK SPACE}", " ") for each in table["Error"]] == ["+25.0 %", "−50.0 %"]
    points = charts.prediction_points_frame(predicted(1.25, 0.5))
    assert points["even"].sum() == 2 and len(points) == 4


# -- frames and charts of experiments


def test_rates_with_their_range() -> None:
    frame = charts.rate_frame(batches(("cpu", GPU.id), rates={"256": 2000.0}), "tiles")
    assert len(frame) == 8
    assert ((frame["low"] <= frame["rate"]) & (frame["rate"] <= frame["high"])).all()
    row = frame[(frame["label"] == "256") & (frame["device"] == "GPU 0")].iloc[0]
    assert row["rate"] == pytest.approx(10_000, rel=0.01)
    work = charts.rate_frame(batches(), "work")  # 1e9 operations a step
    assert work["rate"].iloc[1] == pytest.approx(1000.0 / 40, rel=0.02)


def test_cells_that_were_not_measured_have_no_point() -> None:
    result = batches().with_cell(0, turns=(), problem="Full.")
    assert len(charts.rate_frame(result, "tiles")) == 3
    assert "Full." in list(charts.figures_table(result)["Against 40"])


def test_parts_of_a_thousand_tiles_add_up_to_their_time() -> None:
    result = batches()
    assert charts.is_per_tile(result)
    frame = charts.breakdown_frame(result)
    sums = frame.groupby("row")["ms"].sum()
    assert list(sums) == pytest.approx([1000.0] * 4, rel=0.02)  # 1,000 tiles at 1,000 tiles/s, in ms
    assert frame[frame["part"] == "load"]["share"].iloc[0] == pytest.approx(PARTS[0])
    without = tuple(
        replace(each, turns=tuple(structs.replace(turn, parts=None) for turn in each.turns)) for each in result.cells
    )
    assert charts.breakdown_frame(replace(result, cells=without)).empty


@pytest.mark.parametrize(
    "spec",
    [
        charts.rate_points("tiles", ("8", "40"), ("CPU",), 2000.0, 900.0),
        charts.rate_points("work", ("8", "40"), ("CPU", "GPU 0"), 9000.0, 1.0),
        charts.live_turns(("8", "40"), 8),
        charts.learning_lines(("SGD", "Adam"), 10.0, 0.6),
        charts.prediction_points(("CPU",), 1.0, 4000.0),
    ],
)
def test_charts_are_plain_values_without_data(spec: Any) -> None:
    words = json.dumps(spec)
    assert '"data"' not in words and spec["height"] >= 100


# -- free sweeps


@pytest.mark.parametrize("setting", list(OFFERED))
def test_every_offered_setting_can_be_planned(setting: str) -> None:
    words = list(offered(setting))[:2]
    model = "baseline"
    config, plan = plan_free(setting, words, model, ["cpu", GPU.id])
    assert [value_of(setting, each) for each in words] == list(SETTINGS[setting].offered[:2])
    assert len(plan.configs(config)) == (2 if setting == "pin_memory" else 4)


def test_typed_values_are_numbers() -> None:
    config, plan = plan_free("batch_size", ["24", "1,000"], "baseline", ["cpu"])
    assert [each.batch_size for each in plan.configs(config)] == [24, 1000]
    assert config.source == "memory"


@pytest.mark.parametrize(
    ("setting", "words", "devices", "name"),
    [
        ("batch_size", ["40", "many"], ["cpu"], "“many”"),
        ("batch_size", ["40"], ["cpu"], "two values"),
        ("batch_size", ["40", "40"], ["cpu"], "twice"),
        ("batch_size", ["40", "0"], ["cpu"], "0"),
        ("batch_size", ["40", "80"], [], "device"),
        ("pin_memory", ["on", "off"], ["cpu"], "CUDA"),
        ("seed", ["1", "2"], ["cpu"], "'seed'"),
        ("learning_rate", ["0.1", "nan"], ["cpu"], "nan"),
    ],
)
def test_what_cannot_be_swept_gets_a_sentence(setting: str, words: list[str], devices: list[str], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        plan_free(setting, words, "baseline", devices)
