"""The way through the app's port to TensorBoard, with a small server in TensorBoard's place."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette

from eurosat_core.errors import RunError
from eurosat_core.tensorboard import process
from eurosat_core.tensorboard.process import Forwarder, TensorBoardState

WINDOW = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Upstream(BaseHTTPRequestHandler):
    """Notes what arrives, and answers by what is asked for."""

    seen: list[tuple[str, str, dict[str, str], bytes]]

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))  # type: ignore[attr-defined]
        status, content, headers = 200, b'{"a": 1}', {"Content-Type": "application/json"}
        if "elsewhere" in self.path:
            status, headers = 302, {"Location": "http://example.org/"}
        elif "none" in self.path:
            status, content = 404, b"no"
        elif "packed" in self.path:
            content, headers = gzip.compress(b"x" * 5000), {**headers, "Content-Encoding": "gzip"}
        self.send_response(status)
        headers |= {"Set-Cookie": "a=b", "X-Secret": "1", "Content-Security-Policy": "default-src 'self'"}
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.seen = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Board:
    """Plays the lab's TensorBoard: its states one after the other, the last one again and again."""

    def __init__(self, *states: TensorBoardState) -> None:
        self.states = list(states)
        self.asked = 0

    def start(self) -> TensorBoardState:
        self.asked += 1
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


STARTING = TensorBoardState("starting")


class Client:
    """Asks an app; all requests in one event loop, as in a server.

    In a thread of its own: a browser that an earlier test opened leaves a running loop in this one.
    """

    def __init__(self, app: Any) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lab.example")
        self.headers = self._client.headers

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._thread.submit(lambda: self._runner.run(self._client.request(method, path, **more))).result()

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)


def app_of(board: Any, base: str = "") -> Starlette:
    return Starlette(routes=Forwarder(lambda: board, base).routes)


def asked_for(path: str, *states: TensorBoardState, **more: Any) -> httpx.Response:
    """The answer of an app whose TensorBoard goes through these states."""
    return Client(app_of(Board(*states))).get(path, **more)


@pytest.fixture
def running(upstream: Any) -> TensorBoardState:
    return TensorBoardState("running", upstream.server_port)


@pytest.fixture
def client(running: TensorBoardState) -> Client:
    return Client(app_of(Board(running)))


def test_a_request_arrives_as_it_was_sent(client: Client, upstream: Any) -> None:
    answer = client.get(
        "/tensorboard/data/a%20b?run=x%2Fy&z", headers={"Cookie": "_streamlit_xsrf=1", "X-Forwarded-For": "1.2.3.4"}
    )
    assert (answer.status_code, answer.json()) == (200, {"a": 1})
    method, path, headers, _ = upstream.seen[0]
    assert (method, path) == ("GET", "/tensorboard/data/a%20b?run=x%2Fy&z")
    assert headers["host"] == f"127.0.0.1:{upstream.server_port}"
    assert not {"cookie", "x-forwarded-for", "authorization"} & set(headers), "what is the app's stays with the app"


def test_only_what_an_answer_needs_comes_back(client: Client) -> None:
    headers = client.get("/tensorboard/data").headers
    assert headers["content-type"] == "application/json" and headers["content-length"] == "8"
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert not {"set-cookie", "x-secret", "connection", "transfer-encoding"} & set(headers)


def test_other_methods(client: Client, upstream: Any) -> None:
    posted = client.request("POST", "/tensorboard/q", content=b"runs=a", headers={"content-type": "x/y"})
    assert posted.json() == {"a": 1}
    assert (upstream.seen[0][0], upstream.seen[0][3], upstream.seen[0][2]["content-type"]) == ("POST", b"runs=a", "x/y")
    assert client.request("HEAD", "/tensorboard/q").status_code == 200
    for method in ("PUT", "DELETE", "PATCH", "CONNECT"):
        assert client.request(method, "/tensorboard/q").status_code == 405
    assert len(upstream.seen) == 2


def test_packed_answers_stay_packed_and_only_for_those_who_asked(client: Client, upstream: Any) -> None:
    packed = client.get("/tensorboard/packed")
    assert packed.headers["content-encoding"] == "gzip" and packed.content == b"x" * 5000
    client.headers.pop("accept-encoding")
    client.get("/tensorboard/data")
    assert upstream.seen[1][2]["accept-encoding"] == "identity"


def test_statuses_come_back_but_nobody_is_sent_elsewhere(client: Client) -> None:
    assert (client.get("/tensorboard/none").status_code, client.get("/tensorboard/none").text) == (404, "no")
    answer = client.get("/tensorboard/elsewhere")
    assert answer.status_code == 502 and "location" not in answer.headers


@pytest.mark.hostile
@pytest.mark.parametrize(
    "path",
    [
        "/tensorboard/../secret",
        "/tensorboard/%2e%2e/secret",
        "/tensorboard/a/..%2f..%2fsecret",
        "/%74ensorboard/data",
        "/tensorboard/a%5c..%5c",
        "/tensorboard/" + "a" * 20_000,
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path: str, running: TensorBoardState, upstream: Any) -> None:
    app = app_of(Board(running))

    async def raw(scope: Any, receive: Any, send: Any) -> None:  # as they stand: a client would tidy them up
        await app({**scope, "path": unquote(path), "raw_path": path.encode()}, receive, send)

    assert Client(raw).get("/").status_code == 400
    assert upstream.seen == []


@pytest.mark.hostile
def test_an_address_in_the_path_is_only_a_path(client: Client, upstream: Any) -> None:
    paths = ["/tensorboard/http://example.org/x", "/tensorboard/@example.org/x"]
    for each in paths:
        client.get(each)
    assert [path for _, path, _, _ in upstream.seen] == paths


@pytest.mark.hostile
def test_bodies_are_bounded(client: Client, upstream: Any) -> None:
    assert client.request("POST", "/tensorboard/q", content=b"x" * (1 << 20)).status_code == 200
    assert client.request("POST", "/tensorboard/q", content=b"x" * ((1 << 20) + 1)).status_code == 413
    assert len(upstream.seen) == 1


def test_the_folder_gets_its_slash_whatever_stands_in_front(running: TensorBoardState, upstream: Any) -> None:
    for base, start in (("", ""), ("lab", "/lab"), ("/a/b/", "/a/b")):
        client = Client(app_of(Board(running), base))
        answer = client.get(f"{start}/tensorboard")
        assert (answer.status_code, answer.headers["location"]) == (307, "tensorboard/")
        assert client.get(f"{start}/tensorboard/data").status_code == 200
    assert {path for _, path, _, _ in upstream.seen} == {"/tensorboard/data"}, "TensorBoard need not know the base"


def test_a_window_is_told_that_it_starts_and_a_script_waits(running: TensorBoardState) -> None:
    answer = asked_for("/tensorboard/", STARTING, headers=WINDOW)
    assert answer.status_code == 503 and "TensorBoard" in answer.text
    assert 'http-equiv="refresh"' in answer.text and "none" in answer.headers["content-security-policy"]
    board = Board(STARTING, STARTING, running)
    assert Client(app_of(board)).get("/tensorboard/data").json() == {"a": 1}
    assert board.asked == 3


def test_a_script_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_START_SECONDS", 0.3)
    answer = asked_for("/tensorboard/data", STARTING)
    assert answer.status_code == 503 and "<" not in answer.text


def test_what_failed_is_said_as_words() -> None:
    answer = asked_for("/tensorboard/", TensorBoardState("failed", problem="It <b>broke</b>."), headers=WINDOW)
    assert answer.status_code == 503 and "It &lt;b&gt;broke&lt;/b&gt;." in answer.text
    assert asked_for("/tensorboard/x", TensorBoardState("stopped")).status_code == 503


def test_without_a_lab_and_without_an_answer() -> None:
    def no_lab() -> Any:
        raise RunError("The lab is not open.")

    closed = Client(Starlette(routes=Forwarder(no_lab).routes)).get("/tensorboard/x")
    assert closed.status_code == 503 and "not open" in closed.text
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.server_close()
    gone = asked_for("/tensorboard/x", TensorBoardState("running", server.server_port))
    assert gone.status_code == 502 and gone.text


def test_no_proxy_of_the_environment_sees_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.get("/tensorboard/data").status_code == 200
