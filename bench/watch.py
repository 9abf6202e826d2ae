"""What being watched costs: a training in the lab with a page following it, against the bare generator.

The page is followed as a browser does (it asks again for every fragment that refreshes itself), but without drawing:
a browser's own work belongs to the participant's machine. Both sides take turns; the first epochs do not count.
"""

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from bench.processes import answer_of
from bench.server import app_server, wait_for_tiles
from bench.table import row
from eurosat_core.data.tile_cache import TileSet, open_cached
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
        bare.append(_bare_seconds(tiles, settings))
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder))
            used = TilesUsed(tiles.fingerprint, tiles.source, tiles.place, len(tiles), tiles.class_names)
            record = store.create(_config(), "bench", used)  # the server finds it waiting and starts it
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


def _bare_seconds(tiles: TileSet, settings: Settings) -> float:
    """Median seconds of the counted epochs of the bare generator, in a fresh process."""
    command = [sys.executable, "-m", "bench.watch", str(tiles.cache), str(settings.threads)]
    return float(answer_of(command)["seconds"])


async def _follow(address: str, run_id: str, store: RunStore) -> int:
    """Open the Train page on a run and follow it like a browser. Returns how many messages came."""
    received, refreshes = 0, 0
    query = f"run={run_id}&who=bench"

    def ask(fragment: str = "") -> bytes:
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.page_name = "train"
        message.rerun_script.fragment_id = fragment
        message.rerun_script.is_auto_rerun = bool(fragment)
        content: bytes = message.SerializeToString()
        return content

    url = address.replace("http", "ws") + "/_stcore/stream"
    async with websockets.connect(url, subprotocols=[websockets.Subprotocol("streamlit")], max_size=None) as socket:
        await socket.send(ask())
        refreshing: dict[str, asyncio.Task[None]] = {}

        async def refresh(fragment: str, interval: float) -> None:
            nonlocal refreshes
            while True:
                await asyncio.sleep(interval)
                await socket.send(ask(fragment))
                refreshes += 1

        async def listen() -> None:
            nonlocal received
            async for data in socket:
                received += 1
                message = ForwardMsg()
                message.ParseFromString(data if isinstance(data, bytes) else data.encode())
                kind = message.WhichOneof("type")
                if kind == "stop_auto_rerun":
                    for task in refreshing.values():
                        task.cancel()
                    refreshing.clear()
                elif kind == "auto_rerun":
                    wanted = message.auto_rerun
                    if wanted.fragment_id not in refreshing:
                        task = asyncio.create_task(refresh(wanted.fragment_id, wanted.interval))
                        refreshing[wanted.fragment_id] = task

        listening = asyncio.create_task(listen())
        deadline = time.monotonic() + 600
        while store.get(run_id).is_active and time.monotonic() < deadline:
            await asyncio.sleep(0.25)
        for task in (listening, *refreshing.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                await task
    if refreshes < EPOCHS:
        raise RunError("The page did not refresh itself, so nothing was watched: the benchmark must be looked at.")
    return received


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
