"""One epoch on real tiles: tiles per second of the in-memory source against the tutorial's own way.

All sides take turns, each in a process of its own, with the same network, optimizer and share of tiles.
"""

import statistics
from collections.abc import Callable
from typing import Any

from bench.processes import answer_of, lab_answer, real_place, row
from eurosat_core.data.tiles import open_tiles
from eurosat_core.settings import Settings

REPEATS = 3

# What the lab is asked to do on each side; "tutorial" runs bench/tutorial.py instead.
SIDES: dict[str, list[str]] = {
    "tutorial": [],
    "in memory, unchanged arithmetic (batch 40, float32)": ["--source", "memory"],
    "in memory, batch 256, channels-last, bfloat16": [
        "--source", "memory", "--batch-size", "256", "--channels-last", "--precision", "bfloat16",
    ],
}  # fmt: skip
PROMISES = dict(zip(SIDES, ("", "≥ 2.5", "≥ 5"), strict=True))


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every side `REPEATS` times in turn. Raises `DataError` without real tiles."""
    place = real_place(settings, "epoch")  # the tutorial's side reads picture files
    tiles = open_tiles(place, settings.cache)  # decoded before the clock starts, as in the app
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(REPEATS):
        for side, options in SIDES.items():
            # From the same moment on: the network and the optimizer stand on both sides, and making the first
            # optimizer loads a second's worth of modules.
            if side == "tutorial":
                timed = answer_of("bench.tutorial", tiles.place, settings.threads)
            else:
                lab = lab_answer("train", "--model", "baseline", "--epochs", 1, *options, "--data", place)
                timed = lab["epochs"][0]
            rates[side].append(len(tiles) / timed["seconds"])
            say(f"  {side}: {rates[side][-1]:,.0f} tiles/s")
    base = statistics.median(rates["tutorial"])
    return {
        "about": f"train + validation over {len(tiles):,} tiles, {settings.threads} CPU threads; in memory, validation "
        "takes batches of 256",
        "rows": [
            row(
                side,
                values,
                "tiles/s",
                ratio=statistics.median(values) / base if side != "tutorial" else None,
                promise=PROMISES[side],
            )
            for side, values in rates.items()
        ],
    }
