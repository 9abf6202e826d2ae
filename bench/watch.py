"""What being watched costs: a training in the lab with a page following it, against the bare generator.

The page is followed as a browser does (it asks again for every fragment that refreshes itself), but without drawing:
a browser's own work belongs to the participant's machine. Both sides take turns; the first epochs do not count.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.processes import answer_of, row
from bench.server import app_server, followed_page, wait_for_tiles
from eurosat_core.data.tile_cache import open_cached
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import RunError
from eurosat_core.runs.history import HistoryReader
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig, recipe_config

REPEATS = 3
EPOCHS = 8
COUNTED = 5  # the last ones; the first fall into the start of the server and the page


def _config() -> TrainConfig:
    return recipe_config("baseline", "tutorial", source="memory", epochs=EPOCHS, tiles=8000)


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds per epoch of both sides, in turn."""
    tiles = open_tiles(find_place(None, settings), settings.cache)
    bare: list[float] = []
    watched: list[float] = []
    messages = 0
    for _ in range(REPEATS):
        bare.append(answer_of("bench.watch", tiles.cache, settings.threads)["seconds"])  # in a fresh process
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder))
            record = store.create(_config(), "bench", TilesUsed.of(tiles))  # the server finds it waiting and starts it
            with app_server(settings, store.folder) as address:
                wait_for_tiles(address)
                messages += asyncio.run(_follow(address, record.id, store))
                epochs = HistoryReader(store.folder_of(record.id) / "events.jsonl").read().epochs
        if len(epochs) < EPOCHS:
            raise RunError(f"The watched run ended after {len(epochs)} of {EPOCHS} epochs.")
        watched.append(statistics.median(each.seconds for each in epochs[-COUNTED:]))
        say(f"  bare {bare[-1]:.3f} s, watched {watched[-1]:.3f} s an epoch; {messages} messages to the page")
    return {
        "about": f"seconds per epoch of {min(_config().tiles or len(tiles), len(tiles)):,} tiles, batch 40, float32, "
        f"{settings.threads} CPU threads",
        "rows": [
            row("bare generator", bare, "s"),
            row(
                "in the lab, a page watching",
                watched,
                "s",
                ratio=statistics.median(watched) / statistics.median(bare),
                promise="≤ 1.05",
            ),
        ],
    }


async def _follow(address: str, run_id: str, store: RunStore) -> int:
    """Open the Train page on a run and follow it like a browser. Returns how many messages came."""
    deadline = time.monotonic() + 600
    async with followed_page(address, deadline, f"run={run_id}") as page:
        await page.until(lambda: not store.get(run_id).is_active, deadline, "The watched run did not end")
    if page.refreshes < EPOCHS:
        raise RunError("The page did not refresh itself, so nothing was watched: the benchmark must be looked at.")
    return page.received


def _bare_main(cache: str, threads: str) -> None:
    """The bare generator, in its own process: prints the median seconds of the counted epochs."""
    import torch

    from eurosat_core.training.events import EpochDone
    from eurosat_core.training.loop import train

    torch.set_num_threads(int(threads))
    tiles = open_cached(Path(cache))
    seconds = [event.seconds for event in train(_config(), tiles) if isinstance(event, EpochDone)]
    print(json.dumps({"seconds": statistics.median(seconds[-COUNTED:])}))


if __name__ == "__main__":
    _bare_main(*sys.argv[1:])
