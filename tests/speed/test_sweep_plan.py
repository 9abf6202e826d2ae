"""Plans of measurements: what is refused, how long they take; and that every experiment can be planned."""

import json
from typing import Any

import pytest
from sweep_makers import MEMORY, plan_of

from eurosat_core.errors import ConfigError
from eurosat_core.speed import experiments
from eurosat_core.speed.experiments import (
    EXPERIMENTS,
    Experiment,
    experiment,
    experiment_problem,
    home_device,
    plan_experiment,
)
from eurosat_core.speed.plan import COMPILE_SECONDS, LIMITS_SECONDS, Cell, SweepPlan, free_sweep, plan_limits
from eurosat_core.training.config import TrainConfig


def test_a_plan_survives_json() -> None:
    plan = free_sweep("batch_size", [8, 40], ["8", "40"], ["cpu", "cuda:0"], target_accuracy=0.5)
    assert SweepPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    configs = plan.configs(MEMORY)
    assert [(each.batch_size, each.device) for each in configs] == [
        (8, "cpu"),
        (40, "cpu"),
        (8, "cuda:0"),
        (40, "cuda:0"),
    ]
    assert plan.devices(MEMORY) == ("cpu", "cuda:0")
    assert (plan.reference, plan.focus) == ("8", "40")


def test_what_it_is_said_to_take() -> None:
    plan = plan_of("a", "b", "c", seconds=20.0)
    assert plan.total_seconds(MEMORY) == 20.0
    cells = (Cell("a"), Cell("b", learns=False))
    learning = plan_of("a", "b", cells=cells, seconds=20.0, target_accuracy=0.5, accuracy_seconds=7.0)
    assert learning.total_seconds(MEMORY) == 27.0
    assert plan_limits(["cpu", "cuda:0"], seconds=30.0).total_seconds(MEMORY) == 60.0 + 2 * LIMITS_SECONDS
    assert SweepPlan(limits=True).total_seconds(MEMORY) == LIMITS_SECONDS


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "named values"),
        ({"speed": 1}, "'speed'"),
        ({}, "Nothing to measure"),
        ({"cells": "abc"}, "'cells'"),
        ({"cells": [{"changes": {}}]}, "'cells.label'"),
        ({"cells": [{"label": "a", "changes": {"epochs": 3}}]}, "'epochs'|one of"),
        ({"cells": [{"label": "a" * 100}]}, "short text"),
        ({"cells": [{"label": "a\n"}]}, "short text"),
        ({"cells": [{"label": "a"}, {"label": "a"}]}, "measured twice"),
        ({"cells": [{"label": "a"}], "reference": "b"}, "not among"),
        ({"cells": [{"label": "a"}], "seconds": 1e9}, "1200"),
        ({"cells": [{"label": "a"}], "seconds": float("nan")}, "nan seconds"),
        ({"cells": [{"label": "a"}], "rounds": 3}, "6 to 40"),
        ({"cells": [{"label": "a"}], "rounds": 7.5}, "'rounds'"),
        ({"cells": [{"label": "a"}], "target_accuracy": 2}, "accuracy"),
        ({"cells": [{"label": "a"}], "limits": 1}, "'limits'"),
        ({"cells": [{"label": str(each)} for each in range(40)]}, "too many"),
    ],
)
def test_what_cannot_be_carried_out_is_a_sentence(values: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SweepPlan.from_dict(values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "“a”"),
        ({"pin_memory": True}, "CUDA"),
        ({"source": "features", "model": "efficientnet_lite0"}, "frozen part"),
    ],
)
def test_a_cell_that_cannot_be_measured_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SweepPlan((Cell("a", changes),)).configs(MEMORY)


def test_a_free_sweep_needs_a_setting_and_two_values() -> None:
    with pytest.raises(ConfigError, match="varied"):
        free_sweep("epochs", [1, 2], ["1", "2"], ["cpu"])
    with pytest.raises(ConfigError, match="two values"):
        free_sweep("batch_size", [40], ["40"], ["cpu"])


ALL = pytest.mark.parametrize("one", EXPERIMENTS.values(), ids=lambda one: one.name)


@ALL
def test_every_experiment_is_complete(one: Experiment) -> None:
    assert set(one.outcomes) == {"faster", "same", "slower"} and all(
        each.endswith(".") for each in one.outcomes.values()
    )
    labels = [each.label for each in one.options]
    assert {one.reference, one.focus} <= set(labels) and one.reference != one.focus
    assert one.question.endswith("?") and one.misconception.endswith(".")


@ALL
def test_every_experiment_can_be_planned(one: Experiment) -> None:
    for devices in (["cpu"], ["cpu", "cuda:0"], ["cuda:0"]):
        if experiment_problem(one, devices):
            continue
        config, plan = plan_experiment(one.name, devices)
        assert SweepPlan.from_dict(plan.to_dict()) == plan and (plan.name, plan.focus) == (one.name, one.focus)
        configs = plan.configs(config)
        assert config.device == home_device(devices)
        assert {each.device for each in configs} <= set(devices)
        assert len({str(each) for each in configs}) == len(configs), "every cell is another setting"
        shortest, longest = 10, 200 * len(devices)
        assert shortest < plan.total_seconds(config) <= longest


def test_the_tutorials_four_tips_are_there() -> None:
    assert [each.name for each in EXPERIMENTS.values() if each.tip] == [
        "batch_size",
        "model_size",
        "workers",
        "optimizer",
    ]
    assert sorted(each.tip for each in EXPERIMENTS.values() if each.tip) == [1, 2, 3, 4]
    assert {each.name for each in EXPERIMENTS.values() if each.target_accuracy} == {"batch_size", "optimizer"}


def test_what_needs_a_gpu_is_not_measured_without_one() -> None:
    one = EXPERIMENTS["pin_memory"]
    assert "no" in experiment_problem(one, ["cpu"]) and experiment_problem(one, ["cpu", "cuda:0"]) == ""
    with pytest.raises(ConfigError, match="CUDA"):
        plan_experiment("pin_memory", ["cpu"])
    config, plan = plan_experiment("pin_memory", ["cpu", "cuda:0"])
    assert {each.device for each in plan.configs(config)} == {"cuda:0"}


def test_what_cannot_be_compiled_here_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    config, plan = plan_experiment("compile", ["cpu"])
    assert plan.total_seconds(config) == plan.seconds + COMPILE_SECONDS, "what compiling takes is told beforehand"
    monkeypatch.setattr(experiments, "compile_problem", lambda device: f"No compiler for {device}.")
    with pytest.raises(ConfigError, match="No compiler for cpu"):
        plan_experiment("compile", ["cpu", "cuda:0"])
    config, plan = plan_experiment("compile", ["cpu", "cuda:0"], here=False)
    assert {each.device for each in plan.configs(config)} == {"cpu", "cuda:0"}, "a cluster's machines look themselves"


def test_another_model() -> None:
    config, plan = plan_experiment("batch_size", ["cpu"], "tilenet")
    assert isinstance(config, TrainConfig) and {each.model for each in plan.configs(config)} == {"tilenet"}
    with pytest.raises(ConfigError, match="models"):
        plan_experiment("model_size", ["cpu"], "tilenet")
    with pytest.raises(ConfigError, match="magic"):
        experiment("magic")
    with pytest.raises(ConfigError, match="one device"):
        plan_experiment("batch_size", [])
