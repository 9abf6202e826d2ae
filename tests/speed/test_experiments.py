"""The experiments: complete, plannable on every kind of machine, and honest about a GPU that is not there."""

import pytest

from eurosat_core.errors import ConfigError
from eurosat_core.speed.experiments import (
    EXPERIMENTS,
    Experiment,
    experiment,
    experiment_problem,
    home_device,
    plan_experiment,
)
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import TrainConfig

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


def test_another_model() -> None:
    config, plan = plan_experiment("batch_size", ["cpu"], "tilenet")
    assert isinstance(config, TrainConfig) and {each.model for each in plan.configs(config)} == {"tilenet"}
    with pytest.raises(ConfigError, match="compares models"):
        plan_experiment("model_size", ["cpu"], "tilenet")
    with pytest.raises(ConfigError, match="no experiment"):
        experiment("magic")
    with pytest.raises(ConfigError, match="at least one device"):
        plan_experiment("batch_size", [])
