"""Profiles, measurements and recordings for the lab, made in this process and kept in the same run store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eurosat_core.analysis.race import EPOCHS, entrants, plan_race
from eurosat_core.analysis.sweep import experiment_finding, figure_of, measured_how, speed_by_setting
from eurosat_core.data.batches import warm_loader_workers
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.weights import weights_problem
from eurosat_core.errors import DataError, RunError
from eurosat_core.lab.standalone import train_here, work_here
from eurosat_core.profiling.advice import report_of
from eurosat_core.profiling.plan import ProfilePlan, ProfileStarted, TraceDone, profile_config
from eurosat_core.profiling.record import trace_file
from eurosat_core.profiling.trace import read_trace
from eurosat_core.runs.bundles import export_bundle
from eurosat_core.runs.history import RunEvent
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.speed.plan import Learned, LimitsDone, SweepPlan, TurnDone
from eurosat_core.speed.result import SWEEP_FILE, CellResult, SweepResult, project
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.network import missing_weights
from eurosat_core.training.sources import split_for
from eurosat_core.wording import count, duration


@dataclass(frozen=True)
class Demo:
    """How much is recorded: epochs of every training, tiles (None: all), seconds of the race per model and device."""

    epochs: int = EPOCHS
    tiles: int | None = None
    race_seconds: float = 20.0


QUICK = Demo(epochs=1, tiles=1200, race_seconds=4.0)
"""Enough to see that everything works."""


def record_demo(
    devices: Sequence[str],
    tiles: TileSet,
    settings: Settings,
    target: Path,
    say: Callable[[str], None],
    demo: Demo | None = None,
) -> dict[str, Any]:
    """Train, profile and race both models on these devices, and export all of it into `target`.

    Returns what `record-demo --json` prints: `file`, `bytes`, `runs` and `problems`. What fails or is stopped is told
    and left out; the rest is exported. Raises `RunError` when nothing was recorded, or the file cannot be written.
    """
    demo = demo or Demo()
    if not target.absolute().parent.is_dir():  # said now, not after an hour
        raise RunError(f"There is no folder {target.absolute().parent}. Name a file in one that exists.")
    racing = entrants(lambda name: weights_problem(name, settings.cache))
    if racing.note:
        say(racing.note)
    jobs: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    for device in devices:
        for model in racing.models:
            changes = {"device": device, "tiles": demo.tiles, "stratified": demo.tiles is not None}
            config = recipe_config(model, "tutorial", epochs=demo.epochs, **changes)
            profiled = profile_config(model, "tutorial", **changes)
            jobs.append((f"training {model} on {device}", partial(train_here, config, tiles, settings, say)))
            profile = partial(profile_here, profiled, ProfilePlan(), tiles, settings, say)
            jobs.append((f"profile of {model} on {device}", profile))
    jobs.append(("race", lambda: _race(racing.models, devices, tiles, settings, say, demo)))
    recorded, problems = [], []
    for number, (title, work) in enumerate(jobs, 1):
        say(f"{number} of {len(jobs)}: {title}")
        try:
            result = work()
        except DataError as error:
            problems.append(f"{title}: {error}")
            continue
        if result["state"] == "finished":
            recorded.append({"run_id": result["run_id"], "what": title, "seconds": result["seconds"]})
        else:
            problems.append(f"{title}: {result['message']}")
        if result["state"] == "cancelled":
            break
    if not recorded:
        raise RunError(f"Nothing was recorded. {' '.join(problems)}")
    export_bundle(RunStore(settings.runs), [str(each["run_id"]) for each in recorded], target)
    return {"file": str(target), "bytes": target.stat().st_size, "runs": recorded, "problems": problems}


def _race(
    models: Sequence[str],
    devices: Sequence[str],
    tiles: TileSet,
    settings: Settings,
    say: Callable[[str], None],
    demo: Demo,
) -> dict[str, Any]:
    config, plan = plan_race(models, devices, seconds=demo.race_seconds * len(models) * len(devices))
    return sweep_here(config, plan, tiles, settings, say)


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


def profile_here(
    config: TrainConfig, plan: ProfilePlan, tiles: TileSet, settings: Settings, say: Callable[[str], None]
) -> dict[str, Any]:
    """Record a profile in this process and keep the run in the store; the app shows it and leaves it alone.

    Returns `run_id`, `state`, `message`, `device`, `seconds`, `overview` of the last cycle's trace (None without one),
    and `trace_files`, in the order of their cycles. Ctrl-C stops after the current step and keeps the cycles that are
    complete. Raises `DataError` when the tiles cannot be split as asked, or pretrained weights are missing.
    """
    split_for(config, tiles)  # what cannot be split makes no run
    if problem := missing_weights(config, settings.cache):
        raise DataError(problem)
    if config.source == "loader" and config.workers:
        warm_loader_workers(wait=True)  # as in the app; else its start would be measured beside the first steps

    def tell(event: RunEvent) -> None:
        if isinstance(event, ProfileStarted):
            say(f"{count(event.steps, 'step')}, {count(event.cycles, 'cycle')} recorded")
        elif isinstance(event, TraceDone):
            say(f"cycle {event.cycle} of {plan.traces}: {event.file}, {event.size_bytes / 1024:,.0f} KB")

    record, result = work_here(config, tiles, settings, say, tell, "profile", plan.to_dict())
    folder = settings.runs / record.id
    traces = [(folder / name).absolute() for name in _traces(result.files)]
    return {
        "run_id": record.id,
        "state": result.state,
        "message": result.message,
        "device": config.device,
        "seconds": result.summary.get("seconds", 0.0),
        "overview": report_of(read_trace(traces[-1]), config.to_dict()) if traces else None,
        "trace_files": [str(each) for each in traces],
    }


def _traces(files: dict[str, bytes]) -> list[str]:
    cycles = range(1, len(files) + 1)
    return [trace_file(cycle) for cycle in cycles if trace_file(cycle) in files]
