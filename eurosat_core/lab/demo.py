"""`record-demo`: both models on every device there is, training and profile, in one bundle for a room of laptops."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eurosat_core.data.tiles import TileSet
from eurosat_core.data.weights import weights_problem
from eurosat_core.errors import DataError, RunError
from eurosat_core.lab.bundles import export_bundle
from eurosat_core.lab.race import EPOCHS, entrants, plan_race
from eurosat_core.lab.runs import RunStore
from eurosat_core.lab.standalone import train_here
from eurosat_core.lab.standalone_profile import profile_here
from eurosat_core.lab.standalone_sweep import sweep_here
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.settings import Settings
from eurosat_core.training.config import recipe_config

__all__ = ["QUICK", "Demo", "record_demo"]


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
