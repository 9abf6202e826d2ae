"""`record-demo`: both models on every device there is, training and profile, in one bundle for a room of laptops."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eurosat_core.commands.request import Result, named_tiles, say
from eurosat_core.commands.sweep import racing_models
from eurosat_core.errors import DataError, RunError
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.settings import Settings
from eurosat_core.training.config import recipe_config


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    about = "Train, profile and race both models on every device there is, into one bundle."
    demo = add("record-demo", about, _record, _show)
    demo.add_argument("--to", type=Path, required=True, metavar="FILE", help="write the bundle here")
    demo.add_argument("--data", type=Path, metavar="DIR", help="a torchvision root or a class-per-folder tree")
    demo.add_argument("--quick", action="store_true", help="one epoch on few tiles: to see that it works")


@dataclass(frozen=True)
class Demo:
    """How much is recorded: epochs of every training, tiles (None: all), seconds of the race per model and device."""

    epochs: int = 10  # as the race's projections
    tiles: int | None = None
    race_seconds: float = 20.0


QUICK = Demo(epochs=1, tiles=1200, race_seconds=4.0)
"""Enough to see that everything works."""


def _record(options: argparse.Namespace, settings: Settings) -> Result:
    """What fails or is stopped is told and left out; the rest is exported.

    Raises `RunError` when nothing was recorded, or the file cannot be written.
    """
    from eurosat_core.analysis.race import plan_race
    from eurosat_core.devices import probe_devices
    from eurosat_core.lab.jobs import run_here
    from eurosat_core.lab.kind import Kind
    from eurosat_core.lab.profile import Profile
    from eurosat_core.lab.sweep import Measurement
    from eurosat_core.lab.train import Training
    from eurosat_core.runs.bundles import export_bundle
    from eurosat_core.runs.store import RunStore

    target: Path = options.to
    if not target.absolute().parent.is_dir():  # said now, not after an hour
        raise RunError(f"There is no folder {target.absolute().parent}. Name a file in one that exists.")
    demo = QUICK if options.quick else Demo()
    devices = [each.id for each in probe_devices() if each.available]
    tiles = named_tiles(options, settings)
    say(tiles.description)
    models = racing_models(settings)
    jobs: list[tuple[str, Kind]] = []
    for device in devices:
        for model in models:
            changes = {"device": device, "tiles": demo.tiles, "stratified": demo.tiles is not None}
            config = recipe_config(model, "tutorial", epochs=demo.epochs, **changes)
            jobs.append((f"training {model} on {device}", Training(config)))
            profile = Profile(profile_config(model, "tutorial", **changes), ProfilePlan())
            jobs.append((f"profile of {model} on {device}", profile))
    seconds = demo.race_seconds * len(models) * len(devices)
    jobs.append(("race", Measurement(*plan_race(models, devices, seconds=seconds))))
    recorded, problems = [], []
    for number, (title, kind) in enumerate(jobs, 1):
        say(f"{number} of {len(jobs)}: {title}")
        try:
            result = run_here(kind, tiles, settings, say)
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
    told = {"file": str(target), "bytes": target.stat().st_size, "runs": recorded, "problems": problems}
    return told, 1 if problems else 0


def _show(result: dict[str, Any]) -> str:
    from eurosat_core.wording import bytes_text, count, duration

    lines = [f"  {each['run_id']}  {each['what']}, {duration(each['seconds'])}" for each in result["runs"]]
    lines += [f"  not recorded: {each}" for each in result["problems"]]
    runs = count(len(result["runs"]), "run")
    return "\n".join([f"{result['file']}: {runs}, {bytes_text(result['bytes'])}.", *lines])
