"""What tilenet learns from scratch in the time in which the tutorial's own code finishes its ten epochs.

Both sides train on three quarters of the real tiles, drawn at random, one after the other in a process of its own.
"""

import sys
import tempfile
from collections.abc import Callable
from typing import Any

from bench.processes import answer_of
from bench.table import row
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import DataError
from eurosat_core.settings import Settings

EPOCHS = 10


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds and validation accuracy of both sides. Raises `DataError` without real tiles."""
    place = find_place(None, settings)
    if place is None:
        raise DataError("bench accuracy needs real tiles: name them with --data or EUROSAT_DATA.")
    tiles = open_tiles(place, settings.cache)  # decoded before the clock starts, as in the app
    sides = {"tilenet, recipe sprint": _sprint(str(place)), "the tutorial's code": _tutorial(tiles.place, settings)}
    for side, (seconds, accuracy) in sides.items():
        say(f"  {side}: {accuracy:.2%} after {seconds:.0f} s")
    (ours, reached), (theirs, reached_there) = sides.values()
    return {
        "about": f"from scratch on three quarters of {len(tiles):,} tiles, {settings.threads} CPU threads; the "
        f"tutorial's code for {EPOCHS} epochs",
        "rows": [
            row("the tutorial's code", [theirs], "s"),
            row("tilenet, recipe sprint", [ours], "s", ratio=theirs / ours, promise="≥ 1"),
            row("validation accuracy: the tutorial's code", [100 * reached_there], "%"),
            row("validation accuracy: tilenet, recipe sprint", [100 * reached], "%", promise="≥ 95"),
        ],
    }


def _tutorial(folder: str, settings: Settings) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.tutorial", folder, str(settings.threads), str(EPOCHS)]
    result = answer_of(command)
    return float(result["seconds"]), float(result["val_accuracy"])


def _sprint(place: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "eurosat_core", "train", "--model", "tilenet", "--recipe", "sprint", "--json"]
    with tempfile.TemporaryDirectory() as runs:
        result = answer_of([*command, "--data", place], {"EUROSAT_RUNS": runs})
    return float(result["seconds"]), float(result["val_accuracy"])
