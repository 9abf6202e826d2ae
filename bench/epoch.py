"""One epoch on real tiles: tiles per second of the in-memory source against the tutorial's own way.

All sides take turns, each in a process of its own, with the same network, optimizer and share of tiles.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.processes import answer_of
from bench.table import row
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import DataError
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
    place = find_place(None, settings)
    if place is None:
        raise DataError(
            "bench epoch reads picture files, so it needs real tiles: name them with --data or EUROSAT_DATA."
        )
    tiles = open_tiles(place, settings.cache)  # decoded before the clock starts, as in the app
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(REPEATS):
        for side, options in SIDES.items():
            seconds = (
                _tutorial_seconds(tiles.place, settings.threads) if side == "tutorial" else _lab_seconds(place, options)
            )
            rates[side].append(len(tiles) / seconds)
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


def _tutorial_seconds(folder: str, threads: int) -> float:
    """Seconds of one epoch of the tutorial's own loop."""
    return float(answer_of([sys.executable, "-m", "bench.tutorial", folder, str(threads)])["seconds"])


def _lab_seconds(place: Path, options: list[str]) -> float:
    """Seconds of the first epoch of the lab's command line, from the same moment on; its run is not kept.

    On both sides the network and the optimizer stand by then: making the first optimizer loads a second's worth of
    modules.
    """
    command = [sys.executable, "-m", "eurosat_core", "train", "--model", "baseline", "--epochs", "1", "--json"]
    with tempfile.TemporaryDirectory() as runs:
        result = answer_of([*command, *options, "--data", str(place)], {"EUROSAT_RUNS": runs})
    return float(result["epochs"][0]["seconds"])
