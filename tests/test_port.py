"""What strangers may send to the one port that is open: paths, methods, origins, and what has no end.

The server is the real one, and a connection is a bare socket: a client would tidy up what is sent.
"""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path

import psutil
import pytest
import websockets
from own_loop import apart
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from bench.server import app_process, wait_for_tiles
from eurosat_core.settings import Settings

pytestmark = [pytest.mark.engine, pytest.mark.hostile]

WORD = "open sesame"
EVIL = "http://evil.example"
UPLOAD = "/_stcore/upload_file/a/b"
MAY_WRITE = ("runs/participants.jsonl", "cache/tensorboard/")  # who came; what TensorBoard reads once it is started
ENOUGH = 110 * 2**20  # above the largest file that is taken


@dataclass(frozen=True)
class Server:
    """The app's process. folder: where all that it may write lies; log: what it wrote there itself."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    log: Path

    def written(self) -> dict[str, int]:
        """All files below its folder, with their sizes."""
        files = (each for each in self.folder.rglob("*") if each.is_file() and each != self.log)
        return {str(each.relative_to(self.folder)): each.stat().st_size for each in files}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("port")
    secrets, log = folder / "secrets.toml", folder / "log"
    secrets.write_text(f'[classroom]\npasscode = "{WORD}"\n', encoding="utf-8")
    settings = Settings(runs=folder / "runs", cache=folder / "cache")
    with pytest.MonkeyPatch.context() as patch, log.open("wb") as file:
        patch.setenv("STREAMLIT_SECRETS_FILES", str(secrets))
        with app_process(settings, settings.runs, file) as (address, process):
            wait_for_tiles(address, seconds=120)
            yield Server(int(address.rpartition(":")[2]), process, folder, log)


def ask(server: Server, request: bytes, seconds: float = 20) -> tuple[int, str]:
    """Status (0: the connection was closed without an answer) and all that came, of a request as it stands here."""
    with socket.create_connection(("127.0.0.1", server.port), seconds) as connection:
        try:
            connection.sendall(request)
            got = b""
            while more := connection.recv(65536):
                got += more
        except ConnectionError:  # it had heard enough
            pass
    head = got.partition(b"\r\n")[0].split()
    return int(head[1]) if len(head) > 1 else 0, got.decode("utf-8", "replace")


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    given = ["Host: lab.example", "Connection: close", *headers]
    if body:
        given.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"{line} HTTP/1.1", *given, "", ""]).encode("latin-1") + body


def is_well(server: Server) -> bool:
    return server.process.poll() is None and ask(server, request("GET /api/health"))[0] == 200


@pytest.fixture(autouse=True)
def nothing_happens(server: Server) -> Iterator[None]:
    """Whatever a test here sends: nothing is written, and the server answers the next one."""
    before = server.written()
    yield
    assert is_well(server)
    changed = server.written().items() - before.items()
    assert not [name for name, _ in changed if not name.startswith(MAY_WRITE)]


# -- paths

PATHS = [
    "/../../../../../../etc/passwd",
    "/static/../../../../../../../../etc/passwd",
    "/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/....//....//....//etc/passwd",
    "/static/%00",
    "/static//etc/passwd",
    "/app/static/../.streamlit/config.toml",
    "/app/static/%2e%2e%2f.streamlit%2fconfig.toml",
    "/media/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/component/x/../../../../../../etc/passwd",
    "/component/streamlit/..%5c..%5cconfig.toml",
    "/_stcore/bidi-components/x/..%2f..%2f..%2fetc%2fpasswd",
    "/_stcore/health/../../../etc/passwd",
    "/api/health/../../.streamlit/secrets.toml",
    "/api/../pages/main.py",
    "/.streamlit/secrets.toml",
    "/.git/config",
    "/pages/main.py",
    "/runs/participants.jsonl",
    "//evil.example/share",
    "/\\\\evil.example\\share",
    "/%5c%5cevil.example%5cshare",
    "/C:/Windows/win.ini",
    "/C:%5cWindows%5cwin.ini",
    "/train?run=../../../../etc/passwd",
    "/train?run=%00%ff%fe",
    "/%ff%fe",
    "http://evil.example/",
]
SECRET = ("root:x:", WORD, "[core]", "set_page_config", "[classroom]", "fileWatcherType", '"browsers"')


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file_that_is_not_the_pages(server: Server, path: str) -> None:
    status, text = ask(server, request(f"GET {path}"))
    assert 200 <= status < 500  # the page itself, for whoever mistypes an address, or a refusal
    assert not [each for each in SECRET if each in text]
    assert "Traceback" not in text and str(server.folder) not in text
    assert "location: http" not in text.lower().replace("http://lab.example", "")


@pytest.mark.parametrize(
    "line", ["CONNECT evil.example:443", "TRACE /", "DEBUG /", "POST /api/health", "PUT /", "DELETE /"]
)
def test_no_method_does_more_than_read(server: Server, line: str) -> None:
    status, text = ask(server, request(line))
    assert 400 <= status < 500 and "Traceback" not in text


@pytest.mark.parametrize("route", ["interact", "mcp"])
def test_programs_do_not_drive_the_app(server: Server, route: str) -> None:
    """Streamlit's interface for agents, which asks for no cookie, is closed."""
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    status, _ = ask(server, request(f"POST /_stcore/agent/{route}", "Content-Type: application/json", body=body))
    assert 400 <= status < 500


# -- another site's page, in the browser of somebody in the room


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [(), ("X-Xsrftoken: guessed",), ("Cookie: _streamlit_xsrf=a",), ("X-Xsrftoken: a", "Cookie: _streamlit_xsrf=b")],
    ids=["no token", "a guessed one", "a cookie alone", "two that differ"],
)
def test_nobody_uploads_or_deletes_from_another_site(server: Server, method: str, headers: tuple[str, ...]) -> None:
    status, _ = ask(server, request(f"{method} {UPLOAD}", f"Origin: {EVIL}", *headers, body=b"x"))
    assert status == 403


@pytest.mark.parametrize("path", ["/", "/api/health", "/_stcore/health", "/_stcore/host-config", UPLOAD])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_another_site_may_not_read_an_answer(server: Server, method: str, path: str) -> None:
    asks = ("Access-Control-Request-Method: PUT", f"Origin: {EVIL}")
    _, text = ask(server, request(f"{method} {path}", *asks))
    allowed = [each for each in text.lower().splitlines() if each.startswith("access-control-allow-origin")]
    assert not [each for each in allowed if "evil" in each or "*" in each]


def knock(server: Server, **options: object) -> websockets.connect:
    url = f"ws://127.0.0.1:{server.port}/_stcore/stream"
    return websockets.connect(url, subprotocols=[websockets.Subprotocol("streamlit")], max_size=None, **options)


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1.evil.example", "https://localhost.evil.example"])
def test_another_site_opens_no_session(server: Server, origin: str) -> None:
    async def come() -> None:
        async with knock(server, origin=origin):
            pass

    with pytest.raises(websockets.InvalidStatus) as refused:
        apart(asyncio.run, come())
    assert refused.value.response.status_code == 403


# -- what has no end, and what is no message


def test_headers_and_addresses_end(server: Server) -> None:
    assert ask(server, request("GET /", *(f"X-{number}: {'a' * 1000}" for number in range(500))))[0] in (0, 400, 431)
    assert ask(server, request(f"GET /{'a' * 2**20}"))[0] in (0, 400, 414)
    assert ask(server, b"\x16\x03\x01\x02\x00\x01" + bytes(500))[0] in (0, 400)  # TLS, where none is spoken


def test_those_who_never_finish_hold_up_nobody(server: Server) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for each in slow:
        each.sendall(b"GET / HTTP/1.1\r\nHost: lab.example\r\nX-Slow: ")
    assert is_well(server)
    for each in slow:
        each.close()


def token(server: Server) -> str:
    """What a page's own script sends with an upload, and its browser's cookie, too."""
    head = ask(server, request("GET /_stcore/health"))[1]
    line = next(each for each in head.splitlines() if each.lower().startswith("set-cookie:"))
    return SimpleCookie(line.partition(":")[2].strip())["_streamlit_xsrf"].value


async def session_of(stream: websockets.ClientConnection) -> str:
    """The id of the session that a connection opens."""
    wish, message = BackMsg(), ForwardMsg()
    wish.rerun_script.query_string = ""
    await stream.send(wish.SerializeToString())
    while message.WhichOneof("type") != "new_session":
        message.ParseFromString(await stream.recv())  # type: ignore[arg-type]
    return message.new_session.initialize.session_id


def flood(server: Server, name: str) -> tuple[int, str]:
    """Send far too much for a session, once with its length and once in pieces without one; what is answered."""
    mine = token(server)
    form = "Content-Type: multipart/form-data; boundary=x"
    headers = (f"X-Xsrftoken: {mine}", f"Cookie: _streamlit_xsrf={mine}", form)
    line = f"PUT /_stcore/upload_file/{name}/b"
    told, _ = ask(server, request(line, *headers, f"Content-Length: {ENOUGH}"))
    start = b'--x\r\nContent-Disposition: form-data; name="f"; filename="../../evil"\r\n\r\n'
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(request(line, *headers, "Transfer-Encoding: chunked"))
        try:
            for piece in (start, *[bytes(2**20)] * (ENOUGH // 2**20)):
                connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            return told, connection.recv(200).decode()
        except ConnectionError:
            return told, "closed"


def test_an_upload_without_end_is_cut_off(server: Server) -> None:
    """Also of whoever is let in."""

    async def come() -> tuple[int, str]:
        async with knock(server) as stream:
            return await asyncio.to_thread(flood, server, await session_of(stream))

    told, answer = apart(asyncio.run, come())
    assert told == 413
    assert answer == "closed" or " 413 " in answer


MESSAGES: dict[str, bytes | str] = {
    "a text": "hello",
    "no message": b"\xff" * 100,
    "too large a message": bytes(64 * 2**20),
    "a wish to shut down": BackMsg(debug_shutdown_runtime=True).SerializeToString(),
    "a wish to disconnect": BackMsg(debug_disconnect_websocket=True).SerializeToString(),
    "nested without end": b"\x5a\xff\xff\xff\xff\x0f" * 1000,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_that_is_none_ends_nothing_but_its_session(server: Server, name: str) -> None:
    async def come() -> bytes:
        got = b""
        async with knock(server) as stream:
            with suppress(websockets.ConnectionClosed, TimeoutError):
                await stream.send(MESSAGES[name])
                async with asyncio.timeout(2):
                    while True:
                        got += await stream.recv(decode=False)
        return got

    assert b"Traceback" not in apart(asyncio.run, come())


# -- ports


def test_one_port_is_open_and_everything_else_is_loopback(server: Server) -> None:
    """Workers, scheduler and TensorBoard too, which is started first."""
    deadline = time.monotonic() + 90
    while ask(server, request("GET /tensorboard/data/environment"))[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.5)
    parent = psutil.Process(server.process.pid)
    names: dict[str, set[str]] = {}
    for process in [parent, *parent.children(recursive=True)]:
        for each in process.net_connections("inet"):
            if each.status == psutil.CONN_LISTEN:
                names.setdefault(each.laddr.ip, set()).add(str(each.laddr.port))
    assert set(names) == {"127.0.0.1"} and len(names["127.0.0.1"]) >= 3  # the app, the scheduler, TensorBoard
