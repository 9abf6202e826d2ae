"""What tilenet learns from scratch in the time in which the tutorial's own code finishes its ten epochs.

Both sides train on three quarters of the real tiles, drawn at random, one after the other in a process of its own.
"""

from collections.abc import Callable
from typing import Any

from bench.processes import answer_of, lab_answer, real_place, row
from eurosat_core.data.tiles import open_tiles
from eurosat_core.settings import Settings

EPOCHS = 10


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds and validation accuracy of both sides. Raises `DataError` without real tiles."""
    place = real_place(settings, "accuracy")
    tiles = open_tiles(place, settings.cache)  # decoded before the clock starts, as in the app
    sprint = lab_answer("train", "--model", "tilenet", "--recipe", "sprint", "--data", place)
    tutorial = answer_of("bench.tutorial", tiles.place, settings.threads, EPOCHS)
    for side, found in (("tilenet, recipe sprint", sprint), ("the tutorial's code", tutorial)):
        say(f"  {side}: {found['val_accuracy']:.2%} after {found['seconds']:.0f} s")
    ours, theirs = sprint["seconds"], tutorial["seconds"]
    return {
        "about": f"from scratch on three quarters of {len(tiles):,} tiles, {settings.threads} CPU threads; the "
        f"tutorial's code for {EPOCHS} epochs",
        "rows": [
            row("the tutorial's code", [theirs], "s"),
            row("tilenet, recipe sprint", [ours], "s", ratio=theirs / ours, promise="≥ 1"),
            row("validation accuracy: the tutorial's code", [100 * tutorial["val_accuracy"]], "%"),
            row("validation accuracy: tilenet, recipe sprint", [100 * sprint["val_accuracy"]], "%", promise="≥ 95"),
        ],
    }
