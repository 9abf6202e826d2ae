"""TensorBoard as a process of its own on loopback, and the app's route that forwards to it.

It is started when somebody asks, and nothing but the app's own port is open to others. It lives as long as the server:
its process watches its standard input, which the system closes however the server ends.

The route is no open proxy: the target is this server's own TensorBoard, whatever a request says, and what the app's
pages have in cookies does not reach it.
"""

import asyncio
import html
import importlib.util
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from eurosat_core.errors import LabError
from eurosat_core.settings import Settings

PATH_PREFIX = "/tensorboard"
# The newest ones when it starts; what is added later is shown, too. TensorBoard holds a training of three minutes in
# about 1 MB of memory, and its profiler tab reads each trace in a process of its own.
SHOWN_TRAININGS, SHOWN_PROFILES = 200, 12
# With more than these it starts anew with the newest ones, for it forgets nothing that it has read.
KEPT_TRAININGS, KEPT_PROFILES = 400, 36
MAX_TRACE_MB = 16  # gzip; its profiler tab needs minutes for a larger one
RESTART = 3
"""Exit status of a process that wants to be started anew."""

_ROOT = Path(__file__).parents[2]
_PLUGIN = "torch_tb_profiler"
_PAUSE_SECONDS = 15.0  # after it failed, before it is tried again
_STOP_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TensorBoardState:
    """Whether it can be used. port: where it listens on 127.0.0.1, while it runs. problem: a sentence, if it failed."""

    phase: Literal["stopped", "starting", "running", "failed"]
    port: int | None = None
    problem: str = ""


def plugin_installed() -> bool:
    """Whether TensorBoard's profiler tab is there: a package of its own, which nothing else needs."""
    return importlib.util.find_spec(_PLUGIN) is not None


def plugin_problem() -> str:
    """Why TensorBoard has no profiler tab, as a sentence with the remedy; empty where it has one."""
    if plugin_installed():
        return ""
    return (
        "TensorBoard's profiler tab needs the package torch-tb-profiler, which is not installed here. The curves are "
        "there all the same. To get the tab, run pip install torch-tb-profiler and start the app again."
    )


class TensorBoard:
    """The server's TensorBoard. All methods may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._port: int | None = None
        self._problem = ""
        self._failed_at = float("-inf")
        self._closed = False
        self._missing = (
            "TensorBoard is not installed here. Install what requirements.txt names; everything else works without it."
            if importlib.util.find_spec("tensorboard") is None
            else ""
        )

    def state(self) -> TensorBoardState:
        """How it stands now; starts nothing."""
        with self._lock:
            return self._look()

    def start(self) -> TensorBoardState:
        """Start it unless it runs, or failed a moment ago. Returns at once; it needs some seconds."""
        with self._lock:
            state = self._look()
            if state.phase in ("running", "starting") or self._missing or self._closed:
                return state
            if state.phase == "failed" and time.monotonic() < self._failed_at + _PAUSE_SECONDS:
                return state
            self._launch()
            return self._look()

    def close(self) -> None:
        """End it for good."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # what it waits for
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end_children(process.pid)

    def _look(self) -> TensorBoardState:
        if self._missing:
            return TensorBoardState("failed", problem=self._missing)
        process = self._process
        if process is not None and (status := process.poll()) is not None:
            self._ended(process, status)
            process = None
        if process is not None:
            return TensorBoardState("starting" if self._port is None else "running", self._port)
        return TensorBoardState("failed", problem=self._problem) if self._problem else TensorBoardState("stopped")

    def _ended(self, process: "subprocess.Popen[str]", status: int) -> None:
        assert process.stdin is not None
        process.stdin.close()
        _end_children(process.pid)
        self._process = self._port = None
        if status != RESTART:
            logger.warning("TensorBoard ended with status %s", status)
            self._fail(
                f"TensorBoard ended by itself (status {status}). It is tried again in a few seconds; the server's log "
                "says more."
            )

    def _fail(self, problem: str) -> None:
        self._problem, self._failed_at = problem, time.monotonic()

    def _launch(self) -> None:
        self._problem, self._port = "", None
        places = [str(self._settings.runs), str(self._settings.cache)]
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "eurosat_core.tensorboard.logs", *places],
                cwd=_ROOT,
                # It has no business with a GPU, and says every detail of each trace otherwise.
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TORCH_PROFILER_LOG_LEVEL": "ERROR"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # so that what it started can be found when it is gone
            )
        except OSError as error:
            self._fail(f"TensorBoard could not be started: {error.strerror or error}. Try again in a few seconds.")
            return
        self._process = process
        threading.Thread(target=self._listen, args=(process,), name="tensorboard-port", daemon=True).start()

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        """Take the port that it found, from its first line."""
        assert process.stdout is not None
        with process.stdout:
            line = process.stdout.readline()
        with self._lock:
            if self._process is process and line.strip().isdigit():
                self._port = int(line)


def _end_children(pid: int) -> None:
    """Its profiler tab reads traces in processes of its own, which outlive it when it is killed."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


_MAX_BODY = 1 << 20  # bytes of a request: TensorBoard asks for figures with small forms
_MAX_TARGET = 16 * 1024  # bytes of a path with its query
_START_SECONDS = 60.0
_POLL_SECONDS = 0.2
_TIMEOUT = httpx.Timeout(120.0, connect=5.0, pool=30.0)  # a trace of the profiler tab takes its time
_LIMITS = httpx.Limits(max_connections=32)
# What is sent on, of a request and of an answer; everything else concerns one connection only, or is none of its
# business (cookies).
_REQUEST_HEADERS = ("accept", "accept-encoding", "accept-language", "content-type", "if-none-match", "range")
_ANSWER_HEADERS = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "x-content-type-options",
)
_FRAMES = {"X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "same-origin"}
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>TensorBoard</title>{refresh}
<meta name="viewport" content="width=device-width, initial-scale=1"><style>:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem }}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>"""


def paths_below(base: str, path: str) -> list[str]:
    """Where a route of the app is asked for that is served below `base` (`server.baseUrlPath`, empty for none).

    Two where there is a base, for a server in front may or may not take it away.
    """
    start = f"/{base.strip('/')}".rstrip("/")
    return list(dict.fromkeys((f"{start}{path}", path)))


class Forwarder:
    """The app's routes to TensorBoard. board: finds this server's; raises `LabError` when there is none.

    base: the path below which the app is served (`server.baseUrlPath`), empty for none.
    """

    def __init__(self, board: Callable[[], TensorBoard], base: str = "") -> None:
        self._board = board
        self._paths = paths_below(base, PATH_PREFIX)
        self._client: httpx.AsyncClient | None = None

    @property
    def routes(self) -> list[Route]:
        """For the app."""
        found = []
        for start in self._paths:
            found.append(Route(start, self._to_folder, methods=["GET"]))
            found.append(Route(f"{start}/{{path:path}}", self._forward, methods=["GET", "HEAD", "POST"]))
        return found

    async def close(self) -> None:
        """Let go of all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _to_folder(self, request: Request) -> Response:
        """TensorBoard's own addresses are relative, so its page needs the slash."""
        return RedirectResponse(f"{request.url.path.rpartition('/')[2]}/")

    async def _forward(self, request: Request) -> Response:
        target = self._target(request)
        if target is None:
            return PlainTextResponse("Not an address of TensorBoard.", 400)
        port = await self._port(request)
        if isinstance(port, Response):
            return port
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=499)
        if body is None:
            return PlainTextResponse("The request is too large.", 413)
        headers = {"accept-encoding": "identity"}  # or httpx would ask for more than the browser can read
        headers |= {name: value for name in _REQUEST_HEADERS if (value := request.headers.get(name)) is not None}
        client = self._opened()
        asked = client.build_request(
            request.method, f"http://127.0.0.1:{port}{target}", headers=headers, content=body or None
        )
        try:
            answer = await client.send(asked, stream=True)
        except httpx.HTTPError as error:
            known = isinstance(error, httpx.TimeoutException)
            text = "It did not answer in time." if known else "It does not answer; it may just have ended."
            return _page(request, "TensorBoard does not answer", f"{text} Load this page again in a few seconds.", 502)
        if answer.is_redirect:  # it has no reason to send anybody elsewhere
            await answer.aclose()
            return PlainTextResponse("TensorBoard has moved this page.", 502)
        kept = {name: value for name in _ANSWER_HEADERS if (value := answer.headers.get(name)) is not None}
        return StreamingResponse(
            _content(answer), answer.status_code, {**kept, **_FRAMES}, background=BackgroundTask(answer.aclose)
        )

    def _target(self, request: Request) -> str | None:
        """Path and query at TensorBoard, exactly as they were sent; None for what leads elsewhere."""
        path: str = request.scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
        start = next((each for each in self._paths if path.startswith(f"{each}/")), None)
        if start is None or not re.fullmatch(r"[!-~]+", path):
            return None
        if {".", ".."} & set(re.split(r"[/\\]", request.path_params["path"])):
            return None
        query = request.scope.get("query_string", b"").decode("ascii", "replace")
        target = PATH_PREFIX + path.removeprefix(start) + (f"?{query}" if query else "")
        return target if len(target) <= _MAX_TARGET else None

    async def _port(self, request: Request) -> int | Response:
        """Where it listens. The first request starts it: a window waits on a page, everything else for the answer."""
        waited = 0.0
        while True:
            try:
                state = await asyncio.to_thread(lambda: self._board().start())
            except LabError as error:
                return _page(request, "TensorBoard is not available", str(error), 503)
            if state.port is not None:
                return state.port
            if state.phase in ("failed", "stopped"):
                text = state.problem or "The lab is closing."
                return _page(request, "TensorBoard is not available", text, 503)
            if _is_window(request) or waited >= _START_SECONDS:
                text = "It reads the lab's runs first. This page follows by itself, within a few seconds."
                return _page(request, "TensorBoard is starting", text, 503, again_seconds=1)
            await asyncio.sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:  # the environment may name a proxy, which must not see what stays on this machine
            self._client = httpx.AsyncClient(timeout=_TIMEOUT, limits=_LIMITS, trust_env=False, follow_redirects=False)
        return self._client


async def _content(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The answer as it comes, packed as it is."""
    async for piece in answer.aiter_raw():
        yield piece


async def _body(request: Request) -> bytes | None:
    """The request's body; None when it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MAX_BODY:
            return None
        parts.append(part)
    return b"".join(parts)


def _is_window(request: Request) -> bool:
    """Whether somebody looks at this address, rather than a page's script."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _page(request: Request, title: str, text: str, status: int, again_seconds: int | None = None) -> Response:
    """A sentence, for eyes or for a script."""
    headers: Mapping[str, str] = {"Cache-Control": "no-store", **_FRAMES}
    if not _is_window(request):
        return PlainTextResponse(f"{title}. {text}", status, dict(headers))
    refresh = f'<meta http-equiv="refresh" content="{again_seconds}">' if again_seconds else ""
    page = _PAGE.format(title=html.escape(title), text=html.escape(text), refresh=refresh)
    return HTMLResponse(
        page, status, {**headers, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    )
