"""A measurement without a server: the command line measures in its own process, in the same run store."""

from collections.abc import Callable
from typing import Any

from eurosat_core.data.loader_workers import warm_loader_workers
from eurosat_core.data.tiles import TileSet
from eurosat_core.errors import DataError
from eurosat_core.lab.events import RunEvent
from eurosat_core.lab.standalone import work_here
from eurosat_core.lab.sweep_frames import speed_by_setting
from eurosat_core.lab.sweep_words import experiment_finding, figure_of, measured_how
from eurosat_core.settings import Settings
from eurosat_core.speed.events import Learned, LimitsDone, TurnDone
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.speed.projection import project
from eurosat_core.speed.result import SWEEP_FILE, CellResult, SweepResult
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.network import missing_weights
from eurosat_core.training.sources import split_for
from eurosat_core.wording import duration

__all__ = ["sweep_here", "verdict_on"]


def sweep_here(
    config: TrainConfig, plan: SweepPlan, tiles: TileSet, settings: Settings, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure in this process and keep the run in the store; the app shows it and leaves it alone.

    Returns `run_id`, `state`, `message`, `seconds`, `planned_seconds`, `setting`, `reference`, `how`, `cells` and
    `verdicts`, one per device: what `sweep --json` prints. Ctrl-C stops after the current turn and keeps what was
    measured. Raises `DataError` when the tiles cannot be split as asked, or pretrained weights are missing.
    """
    configs = plan.configs(config)
    for each in configs:
        split_for(each, tiles)  # what cannot be split makes no run
        if problem := missing_weights(each, settings.cache):
            raise DataError(problem)
    if any(each.source == "loader" and each.workers for each in configs):
        warm_loader_workers(wait=True)  # as in the app; else its start would be measured beside the first steps

    def tell(event: RunEvent) -> None:
        match event:
            case LimitsDone():
                say(f"limits of {event.device}: measured in {duration(event.seconds)}")
            case TurnDone(phase="prepare"):
                say(f"{_name(plan, event.cell)}: ready")
            case TurnDone(phase="train") if event.cell == len(plan.cells) - 1:
                say(f"round {event.round} after {duration(event.seconds)} of {duration(plan.total_seconds(config))}")
            case Learned():
                say(f"{_name(plan, event.cell)}: {event.accuracy:.1%} after {duration(event.train_seconds)}")

    say(f"{len(plan.cells)} settings, about {duration(plan.total_seconds(config))}")
    record, result = work_here(config, tiles, settings, say, tell, "sweep", plan.to_dict())
    measured: SweepResult | None = None
    if SWEEP_FILE in result.files:
        measured = SweepResult.from_json(result.files[SWEEP_FILE])
    return {
        "run_id": record.id,
        "state": result.state,
        "message": result.message,
        "name": plan.name,
        "setting": plan.setting,
        "reference": plan.reference,
        "planned_seconds": plan.total_seconds(config),
        "seconds": result.summary.get("seconds", 0.0),
        "how": measured_how(record, measured) if measured else "",
        "cells": _cells(measured, config, tiles) if measured else [],
        "verdicts": [verdict_on(measured, each) for each in plan.devices(config)]
        if measured and plan.reference
        else [],
        "limits": {device: each.to_dict() for device, each in measured.limits.items()} if measured else {},
    }


def verdict_on(result: SweepResult, device: str) -> dict[str, Any]:
    """What the pages say of a measurement on a device.

    figure: what is compared, `tiles` or `work` (arithmetic) per second; factor, low, high: how many times as fast the
    focus is as the reference, None where that is unknown.
    """
    figure = figure_of(result)
    verdict = result.verdict(result.focus, device, figure=figure)
    return {
        "device": device,
        "focus": result.focus,
        "reference": result.reference,
        "figure": figure,
        "outcome": verdict.outcome,
        "factor": verdict.factor,
        "low": verdict.low,
        "high": verdict.high,
        "text": experiment_finding(result, device).text,
    }


def _name(plan: SweepPlan, cell: int) -> str:
    device = plan.cells[cell].changes.get("device", "")
    return f"{plan.cells[cell].label}{f' on {device}' if device else ''}"


def _cells(result: SweepResult, config: TrainConfig, tiles: TileSet) -> list[dict[str, Any]]:
    """Every cell with its figures; those that were not measured are None."""
    split = split_for(config, tiles)
    parts = len(split.train), len(split.validation)
    speeds = {(each["label"], each["device_id"]): each for each in speed_by_setting(result).to_dict("records")}
    found = []
    for each in result.cells:
        projection = project(each, *parts, each.config.epochs)
        figures = _figures(each, speeds.get((each.label, each.device)))
        found.append({**figures, "projected_seconds": projection.seconds if projection else None})
    return found


def _figures(cell: CellResult, speed: dict[Any, Any] | None) -> dict[str, Any]:
    names = ("tiles_per_second", "low", "high", "step_ms", "rounds", "steps", "factor", "factor_low", "factor_high")
    known = {name: None if speed is None or speed[name] != speed[name] else speed[name] for name in names}
    validation, learning, prediction = cell.validation_step_seconds, cell.learning, cell.prediction
    return {
        "label": cell.label,
        "device": cell.device,
        **known,
        "outcome": speed["outcome"] if speed else "unknown",
        "parts": cell.parts,
        "validation_step_ms": 1000 * validation.median if validation else None,
        "learning": learning.to_dict() if learning else None,
        "prediction": prediction.to_dict() if prediction else None,
        "problem": cell.problem,
    }
