"""The real app in a process of its own, for benchmarks that watch or use it."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.request import urlopen

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from bench.processes import ROOT
from eurosat_core.classroom.cookie import NAME, new_secret
from eurosat_core.errors import RunError
from eurosat_core.settings import Settings

_LOOK_SECONDS = 0.1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def app_server(settings: Settings, runs: Path) -> Iterator[str]:
    """Start `streamlit run` with a run store of its own, and stop it at the end. Yields its address at once."""
    with app_process(settings, runs) as (address, _process):
        yield address


@contextmanager
def app_process(
    settings: Settings, runs: Path, log: IO[bytes] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """As `app_server`, with the server's process. log: takes what it writes, which is else thrown away."""
    port = _free_port()
    environ = {**os.environ, "EUROSAT_RUNS": str(runs), "EUROSAT_CACHE": str(settings.cache)}
    environ.pop("EUROSAT_DATA", None)  # these settings count, not what this process was started with
    if settings.data is not None:
        environ["EUROSAT_DATA"] = str(settings.data)
    if settings.archive_url is not None:
        environ |= {"EUROSAT_ARCHIVE": settings.archive_url, "EUROSAT_ARCHIVE_MD5": settings.archive_md5 or ""}
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true"]
    process = subprocess.Popen(
        [*command, f"--server.port={port}", "--server.address=127.0.0.1"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=log or subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_tiles(address: str, seconds: float = 60) -> None:
    """Wait until the app answers and has opened its tiles. Raises `RunError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urlopen(f"{address}/api/health", timeout=2) as answer:
                if b'"tiles_ready":true' in answer.read():
                    return
        except (URLError, OSError):
            pass
        time.sleep(0.05)
    raise RunError(f"The app at {address} did not start within {seconds:.0f} s.")


@asynccontextmanager
async def followed_page(address: str, deadline: float, query: str) -> AsyncIterator["TrainPage"]:
    """The Train page of the app at `address`, opened with this query as soon as the server takes connections."""
    async with connection(address, deadline) as socket:
        page = TrainPage(socket, query)
        async with following(page):
            yield page


@asynccontextmanager
async def connection(address: str, deadline: float) -> AsyncIterator[websockets.ClientConnection]:
    """A connection to a page, from a browser of its own, as soon as the server takes one.

    Raises `RunError` after the deadline.
    """
    cookie = {"Cookie": f"{NAME}={new_secret()}"}
    url = address.replace("http", "ws") + "/_stcore/stream"
    while True:
        try:
            socket = await websockets.connect(
                url, subprotocols=[websockets.Subprotocol("streamlit")], max_size=None, additional_headers=cookie
            )
            break
        except (OSError, websockets.InvalidHandshake, websockets.InvalidMessage) as error:
            if time.monotonic() > deadline:
                raise RunError(f"The app at {address} did not start.") from error
            await asyncio.sleep(0.02)
    async with socket:
        yield socket


@asynccontextmanager
async def following(page: "Page") -> AsyncIterator[None]:
    """While open, the page takes what the server sends."""
    task = asyncio.create_task(page.follow())
    try:
        yield
    finally:
        page.close()
        task.cancel()
        with suppress(asyncio.CancelledError, websockets.ConnectionClosed):
            await task


class Page:
    """The app as a browser holds it: it asks again for the parts that refresh themselves, and draws nothing.

    received, refreshes: how many messages came, and how often a part was asked for again. query: of its address, as
    the server last set it.
    """

    def __init__(self, socket: Any, query: str, first: str = "") -> None:
        """first: the name of the page that is opened first, as in its address."""
        self.received = self.refreshes = 0
        self.query = query
        self._socket = socket
        self._first = first
        self._page = ""
        self._refreshing: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._ended = False

    async def follow(self) -> None:
        """Open the first page, and take what the server sends until the connection ends."""
        try:
            await self._socket.send(self._wish())
            async for data in self._socket:
                self.received += 1
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

    async def ask(self, *widgets: WidgetState) -> None:
        """Ask for the whole page, with these widgets as the participant has set or pressed them."""
        await self._socket.send(self._wish(widgets=widgets))

    def close(self) -> None:
        """Ask for nothing any more."""
        for fragment in list(self._refreshing):
            self._stop(fragment)

    def _wish(self, fragment: str = "", widgets: Iterable[WidgetState] = ()) -> bytes:
        """A message that asks for the page or a part of it."""
        message = BackMsg()
        wish = message.rerun_script
        wish.query_string = self.query
        wish.page_script_hash = self._page
        wish.page_name = "" if self._page else self._first
        wish.fragment_id = fragment
        wish.is_auto_rerun = bool(fragment)
        wish.widget_states.widgets.extend(widgets)
        content: bytes = message.SerializeToString()
        return content

    def _take(self, message: ForwardMsg) -> None:
        match message.WhichOneof("type"):
            case "new_session" if not message.metadata.run.fragment_ids:  # the whole page comes anew
                self.close()
            case "navigation":
                self._page = message.navigation.page_script_hash
            case "page_info_changed":
                self.query = message.page_info_changed.query_string
            case "auto_rerun":
                self._keep_asking(message.auto_rerun.fragment_id, message.auto_rerun.interval)
            case "stop_auto_rerun":
                for fragment in message.stop_auto_rerun.fragment_ids:
                    self._stop(fragment)
            case "delta":
                self._draw(message.delta)

    def _draw(self, delta: Delta) -> None:
        """Take one element or block of the page."""

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
            self.refreshes += 1

    def _stop(self, fragment: str) -> None:
        if (known := self._refreshing.pop(fragment, None)) is not None:
            known[1].cancel()


class TrainPage(Page):
    """The Train page.

    button: the id of the Train button while it can be pressed, else empty; button_since: when it could be first. seen:
    when the page first had a training's pace. Times are seconds since 1970, as in the run store.
    """

    def __init__(self, socket: Any, query: str) -> None:
        super().__init__(socket, query, "train")
        self.button = ""
        self.button_since = 0.0
        self.seen: float | None = None

    async def press(self) -> float:
        """Press Train; when that was."""
        pressed = time.time()
        await self.ask(WidgetState(id=self.button, trigger_value=True))
        return pressed

    def _draw(self, delta: Delta) -> None:
        element = delta.new_element
        if element.WhichOneof("type") == "button" and element.button.id.endswith("-train_start"):
            self.button = "" if element.button.disabled else element.button.id
            self.button_since = self.button_since or (time.time() if self.button else 0.0)
        elif element.WhichOneof("type") == "metric" and self.seen is None:
            has_pace = element.metric.label == "Tiles per second" and any(map(str.isdigit, element.metric.body))
            self.seen = time.time() if has_pace else None
