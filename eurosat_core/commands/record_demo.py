"""`record-demo`: both models on every device there is, training and profile, in one bundle for a room of laptops.

`record-demo`: one command on a GPU workstation records what a room of laptops can then look at.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eurosat_core.commands.request import decoding_progress, say
from eurosat_core.settings import Settings


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    about = "Train, profile and race both models on every device there is, into one bundle."
    demo = add("record-demo", about, _record, _show)
    demo.add_argument("--to", type=Path, required=True, metavar="FILE", help="write the bundle here")
    demo.add_argument("--data", type=Path, metavar="DIR", help="a torchvision root or a class-per-folder tree")
    demo.add_argument("--quick", action="store_true", help="one epoch on few tiles: to see that it works")


def _record(options: argparse.Namespace, settings: Settings) -> tuple[dict[str, Any], int]:
    from eurosat_core.data.tiles import find_place, open_tiles
    from eurosat_core.devices import probe_devices

    devices = [each.id for each in probe_devices() if each.available]
    from eurosat_core.commands.measure import QUICK, record_demo

    tiles = open_tiles(find_place(options.data, settings), settings.cache, decoding_progress())
    say(tiles.description)
    result = record_demo(devices, tiles, settings, options.to, say, QUICK if options.quick else None)
    return result, 1 if result["problems"] else 0


def _show(result: dict[str, Any]) -> str:
    from eurosat_core.wording import bytes_text, count, duration

    lines = [f"  {each['run_id']}  {each['what']}, {duration(each['seconds'])}" for each in result["runs"]]
    lines += [f"  not recorded: {each}" for each in result["problems"]]
    runs = count(len(result["runs"]), "run")
    return "\n".join([f"{result['file']}: {runs}, {bytes_text(result['bytes'])}.", *lines])
