"""`sweep`: measure experiments on the command line, in this process."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from eurosat_core.commands.request import Result, add_settings, given, how_it_ended, say, tf32_devices, tiles_for_run
from eurosat_core.errors import ConfigError
from eurosat_core.settings import Settings
from eurosat_core.speed.experiments import EXPERIMENTS, home_device, plan_experiment
from eurosat_core.speed.plan import SweepPlan, free_sweep, plan_limits
from eurosat_core.training.config import SETTINGS, SWEPT, TrainConfig, recipe_config, settings_of

if TYPE_CHECKING:
    from eurosat_core.data.tile_cache import TileSet
    from eurosat_core.speed.result import SweepResult

_FIGURES = ("tiles_per_second", "low", "high", "step_ms", "rounds", "steps", "factor", "factor_low", "factor_high")


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    sweep = add("sweep", "Vary one setting and time training steps with each of its values.", _sweep, _show)
    what = sweep.add_mutually_exclusive_group(required=True)
    what.add_argument("--setting", help=f"vary this one: {', '.join(SWEPT)}")
    what.add_argument("--experiment", help=f"one of the lab's: {', '.join(EXPERIMENTS)}")
    what.add_argument(
        "--race",
        nargs="?",
        const="tutorial",
        choices=("tutorial", "resident"),
        help="the small model against the pretrained one: the tutorial's way, which decodes pictures, or with resident "
        "tiles, decoded already, in large batches in the device's memory",
    )
    what.add_argument("--limits", action="store_true", help="what the devices can do at most, and predicted steps")
    sweep.add_argument("--values", help="of the setting, separated by commas (networks by semicolons)")
    sweep.add_argument("--devices", default="cpu", help="measure on all of these, separated by commas; cpu by default")
    sweep.add_argument("--seconds", type=float, help="for the timed steps of all values together")
    sweep.add_argument(
        "--accuracy",
        type=float,
        metavar="SHARE",
        help="also train each to this accuracy, such as 0.5, at a constant learning rate",
    )
    sweep.add_argument("--model", help="baseline by default")
    add_settings(sweep, leave_out=(*settings_of("course"), "model", "device"), recipe="tutorial")


def _sweep(options: argparse.Namespace, settings: Settings) -> Result:
    devices = ["cuda:0" if each == "cuda" else each for each in _listed(options.devices)]
    config, plan = _request(options, devices, settings)
    tiles = tiles_for_run(options, settings, dict.fromkeys(each.device for each in plan.configs(config)))
    from eurosat_core.analysis.sweep import measured_how
    from eurosat_core.lab.jobs import run_here
    from eurosat_core.lab.sweep import Measurement
    from eurosat_core.runs.store import RunStore
    from eurosat_core.speed.result import SWEEP_FILE, SweepResult
    from eurosat_core.words import say as words

    told = run_here(Measurement(config, plan), tiles, settings, say)
    status = 0 if told["state"] == "finished" else 1
    store, run_id = RunStore(settings.runs), told["run_id"]
    if store.size(run_id, SWEEP_FILE) is None:
        return {**told, "how": "", "cells": [], "verdicts": [], "limits": {}}, status
    measured = SweepResult.from_json(store.load(run_id, SWEEP_FILE))
    return {
        **told,
        "how": words.say(measured_how(store.get(run_id), measured)),
        "cells": _cells(measured, config, tiles),
        "verdicts": [verdict_on(measured, each) for each in plan.devices(config)] if plan.reference else [],
        "limits": to_builtins(measured.limits),
    }, status


def _request(options: argparse.Namespace, devices: list[str], settings: Settings) -> tuple[TrainConfig, SweepPlan]:
    if options.setting is None and (options.values is not None or options.accuracy is not None):
        raise ConfigError("--values and --accuracy belong to --setting. Name the setting to be varied.")
    if options.experiment:
        tf32 = tf32_devices() if options.experiment == "precision" and set(devices) != {"cpu"} else []
        config, plan = plan_experiment(options.experiment, devices, options.model, tf32)
    elif options.race:
        from eurosat_core.analysis.race import RACE, RESIDENT_RACE, plan_race

        name = RESIDENT_RACE if options.race == "resident" else RACE
        config, plan = plan_race(racing_models(settings), devices, name=name)
    elif options.limits:
        config = recipe_config("baseline", "tutorial", device=home_device(devices), source="memory")
        plan = plan_limits(devices)
    else:
        return _free(options, devices)
    own = given(options, TrainConfig)
    own.pop("device", None)
    if own:
        raise ConfigError(f"--{min(own).replace('_', '-')} has no meaning here: these measurements set it themselves.")
    if options.seconds is not None:
        plan = SweepPlan.from_dict({**plan.to_dict(), "seconds": options.seconds})
    return config, plan


def racing_models(settings: Settings) -> tuple[str, ...]:
    """The models that race with the weights that are here; which ones are not is told."""
    from eurosat_core.analysis.race import entrants
    from eurosat_core.words import say as words

    racing = entrants(settings.cache)
    if racing.note:
        say(words.say(racing.note))
    return racing.models


def _free(options: argparse.Namespace, devices: list[str]) -> tuple[TrainConfig, SweepPlan]:
    if options.setting not in SWEPT:
        raise ConfigError(f"'{options.setting}' cannot be varied here. Choose one of: {', '.join(SWEPT)}.")
    if options.values is None:
        raise ConfigError("Name the values to compare, such as --values 8,40,256.")
    setting = SETTINGS[options.setting]
    values = [setting.parsed(each) for each in _listed(options.values, options.setting)]
    own = given(options, TrainConfig)
    source = {} if setting.part == "feed" or "workers" in own or "source" in own else {"source": "memory"}
    model = {"network": "custom"}.get(options.setting, options.model or "baseline")
    # Steps are timed on whole tiles and have no end that a schedule could lead to, whatever the recipe says.
    as_timed = {"progressive_resizing": False, "schedule": "constant", "device": home_device(devices)}
    config = recipe_config(model, options.recipe or "tutorial", **{**source, **own, **as_timed})
    labels = [setting.in_words(each)[:60] for each in values]
    seconds = options.seconds if options.seconds is not None else 8.0 * len(values) * len(devices)
    plan = free_sweep(options.setting, values, labels, devices, seconds=seconds, target_accuracy=options.accuracy)
    return config, plan


def _listed(text: str, setting: str = "") -> list[str]:
    found = [each.strip() for each in text.split(";" if setting == "network" else ",")]
    return [each for each in found if each]


def verdict_on(result: "SweepResult", device: str) -> dict[str, Any]:
    """What the pages say of a measurement on a device.

    figure: what is compared, `tiles` or `work` (arithmetic) per second; factor, low, high: how many times as fast the
    focus is as the reference, None where that is unknown.
    """
    from eurosat_core.analysis.sweep import experiment_finding, figure_of
    from eurosat_core.words.say import say

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
        "text": say(experiment_finding(result, device)),
    }


def _cells(result: "SweepResult", config: TrainConfig, tiles: "TileSet") -> list[dict[str, Any]]:
    """Every cell with its figures; those that were not measured are None."""
    from pandas import isna

    from eurosat_core.analysis.sweep import speed_by_setting
    from eurosat_core.speed.result import project
    from eurosat_core.training.sources import split_for

    split = split_for(config, tiles)
    speeds = {(each["label"], each["device_id"]): each for each in speed_by_setting(result).to_dict("records")}
    found = []
    for cell in result.cells:
        speed: dict[Any, Any] = speeds.get((cell.label, cell.device), {})
        validation = cell.validation_step_seconds
        projection = project(cell, len(split.train), len(split.validation), cell.config.epochs)
        found.append(
            {
                "label": cell.label,
                "device": cell.device,
                **{name: None if isna(speed.get(name)) else speed[name] for name in _FIGURES},
                "outcome": speed.get("outcome", "unknown"),
                "parts": cell.parts,
                "validation_step_ms": 1000 * validation.median if validation else None,
                "learning": to_builtins(cell.learning),
                "prediction": to_builtins(cell.prediction),
                "problem": cell.problem,
                "projected_seconds": projection.seconds if projection else None,
            }
        )
    return found


def _show(result: dict[str, Any]) -> str:
    lines = [how_it_ended(result)]
    if result["cells"]:
        lines += [
            "",
            f"{'':<24}{'device':<8}{'tiles/s':>9}{'quartiles':>16}{'step':>11}  against {result['reference']}",
        ]
    for cell in result["cells"]:
        if cell["tiles_per_second"] is None:
            lines.append(f"{cell['label']:<24}{cell['device']:<8}  {cell['problem'] or 'not measured'}")
            continue
        spread = f"{cell['low']:,.0f}–{cell['high']:,.0f}"
        lines.append(
            f"{cell['label']:<24}{cell['device']:<8}{cell['tiles_per_second']:>9,.0f}{spread:>16}"
            f"{cell['step_ms']:>8.2f} ms  {_against(cell)}"
        )
        lines += _more(cell)
    for device, limits in result["limits"].items():
        matmul = ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in limits["matmul"].items())
        lines.append(
            f"{device}: matrix multiplication {matmul} billion operations/s; memory "
            f"{limits['bandwidth'][-1][1] / 1e9:,.1f} GB/s; launch {limits['launch_seconds'] * 1e6:.1f} µs"
        )
    said = [f"{each['device']}: {each['text']}" for each in result["verdicts"]]
    return "\n".join([*lines, "", *said, result["how"]]).rstrip()


def _against(cell: dict[str, Any]) -> str:
    if cell["factor"] is None or cell["outcome"] == "reference":
        return ""
    words = {"same": "no difference we can measure", "unknown": ""}.get(cell["outcome"], cell["outcome"])
    return f"{cell['factor']:.2f}× ({cell['factor_low']:.2f}–{cell['factor_high']:.2f}) {words}".rstrip()


def _more(cell: dict[str, Any]) -> list[str]:
    lines = []
    if (learning := cell["learning"]) is not None:
        reached = "reached" if learning["reached"] else "not reached"
        spent = f"{learning['seconds']:.1f} s, {learning['tiles']:,} tiles of training at a constant learning rate"
        lines.append(f"    {learning['target']:.0%} {reached}: {spent}")
    if cell["projected_seconds"] is not None:
        lines.append(f"    a whole training, projected: {cell['projected_seconds']:,.0f} s")
    if (prediction := cell["prediction"]) is not None:
        predicted = 1000 * prediction["seconds"]
        ratio = predicted / cell["step_ms"]
        lines.append(f"    predicted {predicted:.2f} ms, {ratio:.2f} of the measured one ({prediction['bottleneck']})")
    return lines
