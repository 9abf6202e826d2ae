"""What commands that work on tiles have in common: settings as options, the device, tiles, progress on stderr."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.settings import Settings
from eurosat_core.training.config import SETTINGS, TrainConfig
from eurosat_core.training.recipes import RECIPE_NAMES
from eurosat_core.wording import listed

if TYPE_CHECKING:
    from eurosat_core.data.tile_cache import TileSet
    from eurosat_core.lab.kind import Kind

Result = tuple[dict[str, Any], int]
"""What a command prints with --json, and its exit status."""


def add_settings(
    parser: argparse.ArgumentParser, leave_out: Sequence[str] = (), recipe: str = "the model's own"
) -> None:
    """One option for every setting of a training; those not given keep the recipe's value.

    recipe: what is used when none is given.
    """
    parser.add_argument("--data", type=Path, metavar="DIR", help="a torchvision root or a class-per-folder tree")
    parser.add_argument("--recipe", help=f"{', '.join(RECIPE_NAMES)}; {recipe} by default")
    for each in SETTINGS.values():
        if each.name == "recipe" or each.name in leave_out:
            continue
        options = [f"--{name.replace('_', '-')}" for name in (each.name, each.formerly) if name]
        default = each.in_words(each.default) if each.default is None else each.default
        choices = f" ({listed(list(each.choices), 'or')})" if each.choices else ""
        about = f"{each.title}{choices}; the tutorial’s: {default}"
        common: dict[str, Any] = {"dest": each.name, "default": None, "help": about}
        if each.kind is bool:
            parser.add_argument(*options, action=argparse.BooleanOptionalAction, **common)
        else:
            parser.add_argument(*options, type=each.kind, required=each.name == "model", **common)


def given(options: argparse.Namespace, request: type[TrainConfig] | type[ProfilePlan]) -> dict[str, Any]:
    """The settings of a request that stand on the command line."""
    values = {each.name: getattr(options, each.name, None) for each in fields(request)}
    given = {name: value for name, value in values.items() if value is not None and name not in ("model", "recipe")}
    return {name: "cuda:0" if (name, value) == ("device", "cuda") else value for name, value in given.items()}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def check_device(name: str) -> None:
    """Raises `ConfigError` with the reason when this machine cannot compute on a device."""
    if name == "cpu":
        return
    from eurosat_core.devices import probe_devices

    devices = probe_devices()
    if device := next((each for each in devices if each.id == name and each.available), None):
        if not device.is_seen:
            raise ConfigError(
                f"This process sees one part of the GPU. For {device.name} start it with "
                f"CUDA_VISIBLE_DEVICES={device.visible}, and name the device cuda:0."
            )
        return
    reason = next((each.reason for each in devices if each.id == name or not each.available), "")
    raise ConfigError(f"This machine cannot train on '{name}'. {reason}".strip())


def tf32_devices() -> list[str]:
    """The devices of this machine that multiply TF32."""
    from eurosat_core.devices import probe_devices

    return [each.id for each in probe_devices() if each.has_tf32]


def say_decoding(done: int, total: int) -> None:
    """Progress of decoding on stderr, a line every 5,000 tiles."""
    if done % 5120 < 256 or done == total:
        say(f"decoding tiles: {done:,} of {total:,}")


def named_tiles(options: argparse.Namespace, settings: Settings) -> "TileSet":
    """The tiles that the options or the settings name, decoded."""
    from eurosat_core.data.tiles import find_place, open_tiles

    return open_tiles(find_place(options.data, settings), settings.cache, say_decoding)


def tiles_for_run(options: argparse.Namespace, settings: Settings, devices: Iterable[str]) -> "TileSet":
    """The tiles for a run on these devices. Before they are decoded, what cannot be is refused.

    Raises `ConfigError` for a device that cannot be computed on, `RunError` when no run can be stored.
    """
    from eurosat_core.runs.store import RunStore

    for each in devices:
        check_device(each)
    if problem := RunStore(settings.runs).write_problem():
        raise RunError(problem)
    tiles = named_tiles(options, settings)
    say(tiles.description)
    return tiles


def done_here(kind: "Kind", options: argparse.Namespace, settings: Settings) -> Result:
    """Do a run in this process, on the tiles that the options name."""
    tiles = tiles_for_run(options, settings, dict.fromkeys(each.device for each in kind.configs))
    from eurosat_core.lab.jobs import run_here

    result = run_here(kind, tiles, settings, say)
    return result, 0 if result["state"] == "finished" else 1


def how_it_ended(result: dict[str, Any]) -> str:
    """A run's end in a line of text."""
    return f"{result['run_id']}: {result['state']} after {result['seconds']:.1f} s. {result['message']}".rstrip()
