"""The plan of a profile, held against torch's own schedule."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerAction, schedule

from eurosat_core.errors import ConfigError
from eurosat_core.profiling.plan import ProfilePlan, profile_config, profile_problem
from eurosat_core.training.config import TrainConfig

ACTIONS = {
    "wait": {ProfilerAction.NONE},
    "warmup": {ProfilerAction.WARMUP},
    "active": {ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE},
}


def test_the_defaults_are_the_tutorials() -> None:
    plan = ProfilePlan().checked()
    assert (plan.wait, plan.warmup, plan.active, plan.repeat, plan.memory) == (2, 2, 3, 4, True)
    assert (plan.total_steps, plan.traces, plan.recorded_steps) == (28, 4, 12)
    assert "".join(step.phase[0] for step in plan.strip()) == "wwwwaaa" * 4
    assert [step.number for step in plan.strip() if step.writes] == [7, 14, 21, 28]
    assert plan.recorded_in(4) == (26, 28)


@given(st.builds(ProfilePlan, st.integers(0, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)))
def test_the_strip_is_what_torch_does(plan: ProfilePlan) -> None:
    told = schedule(wait=plan.wait, warmup=plan.warmup, active=plan.active, repeat=plan.repeat)
    for step in plan.strip():
        assert told(step.number - 1) in ACTIONS[step.phase]
        assert (told(step.number - 1) is ProfilerAction.RECORD_AND_SAVE) == step.writes
    assert told(plan.total_steps) is ProfilerAction.NONE
    recorded = [step.number for step in plan.strip() if step.phase == "active" and step.cycle == plan.repeat]
    assert (recorded[0], recorded[-1]) == plan.recorded_in(plan.repeat)
    assert plan.recorded_steps == sum(step.phase == "active" for step in plan.strip())


@pytest.mark.parametrize(("steps", "traces"), [(7, 1), (13, 1), (14, 2), (28, 4)])
def test_an_incomplete_cycle_leaves_no_trace(steps: int, traces: int) -> None:
    plan = ProfilePlan(steps=steps).checked()
    assert len(plan.strip()) == steps
    assert plan.traces == traces == sum(step.writes for step in plan.strip())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 6}, "at least 7"),
        ({"steps": 29}, "28 steps"),
        ({"active": 0}, "1 to 20"),
        ({"repeat": 0}, "1 to 10"),
        ({"wait": -1}, "steps to wait"),
        ({"warmup": 2.0}, "entry 'warmup'"),
        ({"repeat": True}, "entry 'repeat'"),
        ({"memory": 1}, "entry 'memory'"),
        ({"wait": 100}, "420 steps"),
        ({"active": 20}, "at most 60"),
        ({"steps": "7"}, "entry 'steps'"),
        ({"stack": True}, "unknown entry 'stack'"),
    ],
)
def test_what_cannot_be_carried_out_is_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        ProfilePlan.from_dict(values)
    assert words in str(error.value) and str(error.value).endswith(".")


def test_a_plan_survives_json() -> None:
    plan = ProfilePlan(wait=0, warmup=0, active=1, repeat=2, memory=False, steps=2)
    assert ProfilePlan.from_dict(plan.to_dict()) == plan
    assert ProfilePlan.from_dict({}) == ProfilePlan()
    with pytest.raises(ConfigError):
        ProfilePlan.from_dict([])  # type: ignore[arg-type]


def test_the_tutorials_way_comes_first() -> None:
    config = profile_config("baseline")
    assert (config.recipe, config.source, config.batch_size) == ("tutorial", "loader", 40)
    assert profile_config("baseline", "fast").source == "memory"


def test_the_whole_network_is_profiled() -> None:
    assert profile_config("efficientnet_lite0", "fast").source == "memory"
    with pytest.raises(ConfigError, match="frozen"):
        profile_config("efficientnet_lite0", "fast", source="features")
    assert not profile_problem(TrainConfig())


def test_a_plan_needs_no_torch() -> None:
    code = "import sys, eurosat_core.profiling.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
