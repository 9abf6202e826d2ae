"""From pressing Train to the first point and to the end: a fresh server, run store and cache every time.

The page is opened by Streamlit's protocol and followed as a browser does it, but without drawing. Train is pressed as
soon as its button can be, which waits for the tiles; nothing was ever measured here then. Idle and beside a process
that keeps a core busy, in turn. Real tiles are decoded by the server, which is part of its start.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.busy import busy_processes
from bench.processes import row
from bench.rates import computed_on
from bench.server import app_server, followed_page
from eurosat_core.data.tiles import find_place
from eurosat_core.errors import RunError
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings

REPEATS = 3
BUSY = (0, 1)
PROMISES: dict[tuple[int, str], str] = {
    (0, "first"): "≤ 3 s",
    (0, "finished"): "≤ 40 s",
    (1, "running"): "≤ 5 s",
    (1, "first"): "≤ 8 s",
    (1, "finished"): "≤ 60 s",
}
NAMES = {
    "ready": "start of the server to Train can be pressed",
    "running": "press to running",
    "first": "press to first point, as stored",
    "seen": "press to first figures on the page",
    "finished": "press to finished",
}
_START_SECONDS, _RUN_SECONDS = 180.0, 600.0


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds to each moment of the training that the Train page offers by itself."""
    served = replace(settings, data=find_place(None, settings))
    found: dict[int, list[dict[str, float]]] = {busy: [] for busy in BUSY}
    trained: dict[str, None] = {}
    for _ in range(REPEATS):
        for busy in BUSY:
            times, record = _once(served, busy)
            found[busy].append(times)
            trained[_what(record)] = None
            said = ", ".join(f"{name} {value:.1f}" for name, value in times.items())
            say(f"  {_beside(busy)}: {said} s ({_what(record)})")
    return {
        "about": f"server, runs and cache fresh; {' or '.join(trained)}; on {computed_on(settings.threads)}",
        "rows": [
            row(
                f"{_beside(busy)}: {words}",
                [each[name] for each in found[busy]],
                "s",
                promise=PROMISES.get((busy, name), ""),
            )
            for busy in BUSY
            for name, words in NAMES.items()
        ],
    }


def _beside(busy: int) -> str:
    return f"beside {busy} busy" if busy else "idle"


def _what(record: RunRecord) -> str:
    """What was trained: the page chooses how much, and the device in which precision."""
    config, there = record.config, record.tiles
    tiles = min(config.tiles or there.count, there.count)
    return f"{config.model}, {config.epochs} epochs on {tiles:,} of {there.count:,} {there.source} tiles"


def _once(settings: Settings, busy: int) -> tuple[dict[str, float], RunRecord]:
    """Start a server, press Train, and see its training through: seconds to each moment, and the run.

    Raises `RunError` when it does not finish.
    """
    with tempfile.TemporaryDirectory() as folder, busy_processes(busy):
        store = RunStore(Path(folder) / "runs")
        began = time.time()
        with app_server(replace(settings, cache=Path(folder) / "cache"), store.folder) as address:
            pressable, pressed, seen, record = asyncio.run(_press_and_follow(address, store))
        if record.state != "finished" or record.started is None or record.ended is None:
            raise RunError(f"The run that was started by protocol is {record.state}. {record.message}".strip())
        first = _first_point(store.folder_of(record.id) / "events.jsonl")
        since = [each - pressed for each in (record.started, first, seen, record.ended)]
        return dict(zip(NAMES, (pressable - began, *since), strict=True)), record


async def _press_and_follow(address: str, store: RunStore) -> tuple[float, float, float, RunRecord]:
    """When Train could be pressed, was pressed, and showed its first figures; and the run when it has ended."""
    deadline = time.monotonic() + _START_SECONDS
    async with followed_page(address, deadline, "") as page:
        await page.until(lambda: bool(page.button), deadline, "Train could not be pressed")
        pressable = page.button_since
        pressed = await page.press()
        await page.until(lambda: bool(store.all()[0]), deadline, "Train was pressed, and no run came of it")
        run_id = store.all()[0][0].id
        deadline = time.monotonic() + _RUN_SECONDS
        await page.until(lambda: not store.get(run_id).is_active, deadline, "The run did not end")
        await page.until(lambda: page.seen is not None, deadline, "The page showed no figures of its run")
        assert page.seen is not None
        return pressable, pressed, page.seen, store.get(run_id)


def _first_point(path: Path) -> float:
    """When the first step with figures was stored, in seconds since 1970. Raises `RunError` without one."""
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["kind"] == "step":
            return float(event["at"])
    raise RunError("The run reported no step.")
