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
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from bench.busy import busy_processes
from bench.rates import computed_on
from bench.server import app_server
from bench.table import row
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
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Times:
    """Seconds: of the start until Train could be pressed, all others since it was pressed."""

    ready: float
    running: float
    first: float
    seen: float
    finished: float


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds to each moment of the training that the Train page offers by itself."""
    served = replace(settings, data=find_place(None, settings))
    found: dict[int, list[Times]] = {busy: [] for busy in BUSY}
    trained: dict[str, None] = {}
    for _ in range(REPEATS):
        for busy in BUSY:
            times, record = _once(served, busy)
            found[busy].append(times)
            trained[_what(record)] = None
            said = ", ".join(f"{name} {value:.1f}" for name, value in asdict(times).items())
            say(f"  {_beside(busy)}: {said} s ({_what(record)})")
    return {
        "about": f"server, runs and cache fresh; {' or '.join(trained)}; on {computed_on(settings.threads)}",
        "rows": [
            row(
                f"{_beside(busy)}: {words}",
                [getattr(each, name) for each in found[busy]],
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


def _once(settings: Settings, busy: int) -> tuple[Times, RunRecord]:
    """Start a server, press Train, and see its training through. Raises `RunError` when it does not finish."""
    with tempfile.TemporaryDirectory() as folder, busy_processes(busy):
        store = RunStore(Path(folder) / "runs")
        began = time.time()
        with app_server(replace(settings, cache=Path(folder) / "cache"), store.folder) as address:
            pressable, pressed, seen, record = asyncio.run(_press_and_follow(address, store))
        if record.state != "finished" or record.started is None or record.ended is None:
            raise RunError(f"The run that was started by protocol is {record.state}. {record.message}".strip())
        first = _first_point(store.folder_of(record.id) / "events.jsonl")
        moments = record.started, first, seen, record.ended
        return Times(pressable - began, *(each - pressed for each in moments)), record


async def _press_and_follow(address: str, store: RunStore) -> tuple[float, float, float, RunRecord]:
    """When Train could be pressed, was pressed, and showed its first figures; and the run when it has ended."""
    deadline = time.monotonic() + _START_SECONDS
    async with await _connected(address, deadline) as socket:
        page = TrainPage(socket)
        following = asyncio.create_task(page.follow())
        try:
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
        finally:
            page.close()
            following.cancel()
            with suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                await following


async def _connected(address: str, deadline: float) -> websockets.ClientConnection:
    """A connection to the page, as soon as the server takes one."""
    url = address.replace("http", "ws") + "/_stcore/stream"
    while True:
        try:
            return await websockets.connect(url, subprotocols=[websockets.Subprotocol("streamlit")], max_size=None)
        except (OSError, websockets.InvalidHandshake, websockets.InvalidMessage) as error:
            if time.monotonic() > deadline:
                raise RunError(f"The app at {address} did not start.") from error
            await asyncio.sleep(0.02)


class TrainPage:
    """The Train page as a browser holds it: it asks again for the parts that refresh themselves, and draws nothing.

    button: the id of the Train button while it can be pressed, else empty; button_since: when it could be first. seen:
    when the page first had a training's pace. Times are seconds since 1970, as in the run store.
    """

    def __init__(self, socket: Any) -> None:
        self.button = ""
        self.button_since = 0.0
        self.seen: float | None = None
        self._socket = socket
        self._query = "who=bench"
        self._page = ""
        self._refreshing: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._ended = False

    async def follow(self) -> None:
        """Take what the server sends until the connection ends."""
        try:
            await self._socket.send(self._wish())
            async for data in self._socket:
                message = ForwardMsg()
                message.ParseFromString(data)
                self._take(message)
        finally:
            self._ended = True

    async def until(self, reached: Callable[[], bool], deadline: float, problem: str) -> None:
        """Wait until it is so. Raises `RunError` with the problem after the deadline, or when the connection ended."""
        while not reached():
            if self._ended or time.monotonic() > deadline:
                raise RunError(f"{problem}: the benchmark must be looked at.")
            await asyncio.sleep(_LOOK_SECONDS)

    async def press(self) -> float:
        """Press Train; when that was."""
        pressed = time.time()
        await self._socket.send(self._wish(pressed=self.button))
        return pressed

    def close(self) -> None:
        """Ask for nothing any more."""
        for fragment in list(self._refreshing):
            self._stop(fragment)

    def _wish(self, fragment: str = "", pressed: str = "") -> bytes:
        """A message that asks for the page or a part of it, with a button pressed or none."""
        message = BackMsg()
        wish = message.rerun_script
        wish.query_string = self._query
        wish.page_script_hash = self._page
        wish.page_name = "" if self._page else "train"
        wish.fragment_id = fragment
        wish.is_auto_rerun = bool(fragment)
        if pressed:
            widget = wish.widget_states.widgets.add()
            widget.id = pressed
            widget.trigger_value = True
        content: bytes = message.SerializeToString()
        return content

    def _take(self, message: ForwardMsg) -> None:
        match message.WhichOneof("type"):
            case "new_session" if not message.metadata.run.fragment_ids:  # the whole page comes anew
                self.close()
            case "navigation":
                self._page = message.navigation.page_script_hash
            case "page_info_changed":
                self._query = message.page_info_changed.query_string
            case "auto_rerun":
                self._keep_asking(message.auto_rerun.fragment_id, message.auto_rerun.interval)
            case "stop_auto_rerun":
                for fragment in message.stop_auto_rerun.fragment_ids:
                    self._stop(fragment)
            case "delta":
                self._draw(message.delta)

    def _draw(self, delta: Delta) -> None:
        element = delta.new_element
        if element.WhichOneof("type") == "button" and element.button.id.endswith("-train_start"):
            self.button = "" if element.button.disabled else element.button.id
            self.button_since = self.button_since or (time.time() if self.button else 0.0)
        elif element.WhichOneof("type") == "metric" and self.seen is None:
            has_pace = element.metric.label == "Tiles per second" and any(map(str.isdigit, element.metric.body))
            self.seen = time.time() if has_pace else None

    def _keep_asking(self, fragment: str, interval: float) -> None:
        known = self._refreshing.get(fragment)
        if known is not None and known[0] == interval:
            return
        self._stop(fragment)
        self._refreshing[fragment] = interval, asyncio.create_task(self._refresh(fragment, interval))

    async def _refresh(self, fragment: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._socket.send(self._wish(fragment))

    def _stop(self, fragment: str) -> None:
        if (known := self._refreshing.pop(fragment, None)) is not None:
            known[1].cancel()


def _first_point(path: Path) -> float:
    """When the first step with figures was stored, in seconds since 1970. Raises `RunError` without one."""
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["kind"] == "step":
            return float(event["at"])
    raise RunError("The run reported no step.")
