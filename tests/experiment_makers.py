"""Experiments and limits as workers leave them on disk, for tests of what is said and drawn about them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fake_engine import tiles_used

from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import EXPERIMENTS, plan_experiment
from eurosat_core.speed.plan import SweepPlan, plan_limits
from eurosat_core.speed.result import SWEEP_FILE, CellResult, Limits, Portion, Prediction, SweepResult
from eurosat_core.speed.verdict import Learning, Turn
from eurosat_core.training.config import TrainConfig, recipe_config

PARTS = (0.3, 0.0, 0.3, 0.35, 0.05)  # shares of a step: load, copy, forward, backward, update


def turns(step_seconds: float, tiles: int, rounds: int = 8) -> tuple[Turn, ...]:
    """Rounds of five steps whose pace varies by a per cent or so."""
    made = []
    for number in range(rounds):
        seconds = 5 * step_seconds * (1 + 0.01 * ((number * 7) % 3 - 1))
        made.append(Turn(5, tiles, seconds, tuple(share * seconds for share in PARTS)))
    return tuple(made)


def measured(
    config: TrainConfig,
    plan: SweepPlan,
    rates: Mapping[str, float] | None = None,
    gpu_factor: float = 5.0,
    **changes: Any,
) -> SweepResult:
    """What a plan came to. rates: tiles per second by label, else 1,000; on a GPU `gpu_factor` times as many."""
    cells = []
    for cell, settings in zip(plan.cells, plan.configs(config), strict=True):
        rate = (rates or {}).get(cell.label, 1000.0) * (1.0 if settings.device == "cpu" else gpu_factor)
        learning = None
        if plan.target_accuracy is not None and cell.learns:
            reached = cell.label != plan.focus
            points = ((1.0, 0.2), (2.0, 0.45 if reached else 0.3))
            learning = Learning(plan.target_accuracy, reached, 2.0, 2000, 500, points)
        step = settings.batch_size / rate
        cells.append(CellResult(cell.label, settings, 0.5, 1e9, turns(step, settings.batch_size), learning=learning))
    result = SweepResult(plan.name, plan.setting, plan.reference, plan.focus, tuple(cells), {}, 25.0, True)
    return replace(result, **changes)


def put_result(
    lab: Lab, owner: str, config: TrainConfig, plan: SweepPlan, result: SweepResult | None, **changes: Any
) -> RunRecord:
    """A run of kind `sweep` on disk; without a result it measured nothing."""
    tiles = lab.tiles().tile_set
    assert tiles is not None
    record = lab.store.create(config, owner, tiles_used(tiles), "sweep", plan.to_dict())
    if result is not None:
        lab.store.save(record.id, {SWEEP_FILE: result.to_json()})
    machine = {
        "device_name": "Test GPU" if config.device != "cpu" else "Test CPU",
        "threads": 2,
        "cpu_name": "Test CPU",
    }
    values = {"state": "finished", "started": record.created, "machine": machine}
    return lab.store.update(record.id, **{**values, **changes})


def put_experiment(
    lab: Lab,
    owner: str,
    name: str = "batch_size",
    rates: Mapping[str, float] | None = None,
    devices: Sequence[str] = ("cpu",),
    **changes: Any,
) -> RunRecord:
    """A finished experiment. rates: as for `measured`; by default its focus is twice as fast as the others."""
    config, plan = plan_experiment(name, devices)
    result = measured(config, plan, rates or {EXPERIMENTS[name].focus: 2000.0})
    return put_result(lab, owner, config, plan, result, **changes)


def limits_of(device: str) -> Limits:
    return Limits(
        device,
        2,
        matmul={"float32": 2e11, "bfloat16": 4e11},
        bandwidth=((1e6, 4e10), (1e8, 1.2e10)),
        host_to_device={} if device == "cpu" else {"pageable": 6e9, "pinned": 2e10},
        launch_seconds=5e-6,
        seconds=8.0,
    )


def put_limits(lab: Lab, owner: str, devices: Sequence[str] = ("cpu",), **changes: Any) -> RunRecord:
    """Limits that were measured, and steps predicted from them: 20 % too long each."""
    home = next((each for each in devices if each != "cpu"), "cpu")
    config = recipe_config("baseline", "tutorial", device=home, source="memory")
    plan = plan_limits(devices)
    result = measured(config, plan)
    cells = tuple(
        replace(each, prediction=_predicted(1.2 * each.config.batch_size / 1000 / (1 if each.device == "cpu" else 5)))
        for each in result.cells
    )
    result = replace(result, cells=cells, limits={each: limits_of(each) for each in devices})
    return put_result(lab, owner, config, plan, result, **changes)


def _predicted(seconds: float) -> Prediction:
    return Prediction(
        seconds,
        "compute",
        {"compute": 0.7 * seconds, "memory": 0.2 * seconds, "overhead": 0.1 * seconds},
        {"forward": 0.4 * seconds, "backward": 0.6 * seconds},
        (Portion("convolution", 0.7 * seconds, 1e9, 1e6, 12),),
    )
