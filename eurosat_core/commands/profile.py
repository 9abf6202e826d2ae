"""`profile`: record some training steps with PyTorch's profiler, and read them."""

import argparse
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from eurosat_core.commands.overview import show_overview
from eurosat_core.commands.request import add_settings, check_device, check_runs, decoding_progress, given, say
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig

__all__ = ["register"]

# Settings that change nothing in a few steps.
_WITHOUT_EFFECT = ("epochs", "keep_epochs", "sealed_test", "schedule")


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    about = "Record some training steps with PyTorch's profiler, and read them."
    profile = add("profile", about, _profile, _show)
    add_settings(profile, leave_out=_WITHOUT_EFFECT, recipe="tutorial")
    for each in fields(ProfilePlan):
        default = "" if each.default is None else f"the tutorial's: {each.default}"
        if each.name == "memory":
            profile.add_argument("--memory", action=argparse.BooleanOptionalAction, default=None, help=default)
        else:
            about = default or "end after so many; by default all cycles'"
            profile.add_argument(f"--{each.name}", type=int, default=None, metavar="STEPS", help=about)


def _profile(options: argparse.Namespace, settings: Settings) -> tuple[dict[str, Any], int]:
    plan = ProfilePlan.from_dict(given(options, ProfilePlan))
    config = profile_config(options.model, options.recipe, **given(options, TrainConfig))
    check_device(config.device)
    check_runs(settings)
    from eurosat_core.data.tiles import find_place, open_tiles
    from eurosat_core.lab.standalone_profile import profile_here

    tiles = open_tiles(find_place(options.data, settings), settings.cache, decoding_progress())
    say(tiles.description)
    result = profile_here(config, plan, tiles, settings, say)
    return result, 0 if result["state"] == "finished" else 1


def _show(result: dict[str, Any]) -> str:
    lines = [f"{result['run_id']}: {result['state']} after {result['seconds']:.1f} s. {result['message']}".rstrip()]
    if result["overview"] is not None:
        lines += ["", "The last cycle:", show_overview(result["overview"]), ""]
    return "\n".join([*lines, *result["trace_files"]])
