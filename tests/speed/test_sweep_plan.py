"""Plans of measurements: what is refused, how long they are said to take, and that they survive JSON."""

import json
import subprocess
import sys
from typing import Any

import pytest
from sweep_makers import MEMORY, plan_of

from eurosat_core.errors import ConfigError
from eurosat_core.speed.plan import LIMITS_SECONDS, Cell, SweepPlan, free_sweep, plan_limits


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
        ([], "no set of named values"),
        ({"speed": 1}, "unknown entry 'speed'"),
        ({}, "Nothing to measure"),
        ({"cells": "abc"}, "entry 'cells'"),
        ({"cells": [{"changes": {}}]}, "entry 'cells.label'"),
        ({"cells": [{"label": "a", "changes": {"epochs": 3}}]}, "changes one of"),
        ({"cells": [{"label": "a" * 100}]}, "short text"),
        ({"cells": [{"label": "a\n"}]}, "short text"),
        ({"cells": [{"label": "a"}, {"label": "a"}]}, "measured twice"),
        ({"cells": [{"label": "a"}], "reference": "b"}, "not among"),
        ({"cells": [{"label": "a"}], "seconds": 1e9}, "1200"),
        ({"cells": [{"label": "a"}], "seconds": float("nan")}, "nan seconds"),
        ({"cells": [{"label": "a"}], "rounds": 3}, "6 to 40"),
        ({"cells": [{"label": "a"}], "rounds": 7.5}, "entry 'rounds'"),
        ({"cells": [{"label": "a"}], "target_accuracy": 2}, "accuracy"),
        ({"cells": [{"label": "a"}], "limits": 1}, "entry 'limits'"),
        ({"cells": [{"label": str(each)} for each in range(40)]}, "too many"),
    ],
)
def test_what_cannot_be_carried_out_is_a_sentence(values: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SweepPlan.from_dict(values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "“a” cannot be measured"),
        ({"pin_memory": True}, "CUDA"),
        ({"source": "features", "model": "efficientnet_lite0"}, "never with its frozen part"),
    ],
)
def test_a_cell_that_cannot_be_measured_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SweepPlan((Cell("a", changes),)).configs(MEMORY)


def test_a_free_sweep_needs_a_setting_and_two_values() -> None:
    with pytest.raises(ConfigError, match="cannot be varied"):
        free_sweep("epochs", [1, 2], ["1", "2"], ["cpu"])
    with pytest.raises(ConfigError, match="two values"):
        free_sweep("batch_size", [40], ["40"], ["cpu"])


def test_a_plan_is_checked_without_torch() -> None:
    code = (
        "import sys, eurosat_core.speed.experiments, eurosat_core.speed.result, eurosat_core.speed.plan;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
