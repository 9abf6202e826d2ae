"""Requests below `/tensorboard` go to TensorBoard on this machine's loopback, and its answers come back.

It is no open proxy: the target is this server's own TensorBoard, whatever a request says, and what the app's pages
have in cookies does not reach it.
"""

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable, Mapping

import httpx
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from eurosat_core.errors import LabError
from eurosat_core.lab.tensorboard import PATH_PREFIX, TensorBoard

__all__ = ["Forwarder", "paths_below"]

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
