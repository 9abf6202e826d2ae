"""A web server on this machine that serves a few files, and misbehaves as told: cut, silent, busy, endless, …"""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from eurosat_core.data.download import Remote

Answer = Callable[["Handler", bytes], None]
"""Answers one request for a file with this content."""

PATIENCE = 20.0  # seconds that a silent server stays silent, when nobody ends it


class FileServer(ThreadingHTTPServer):
    """files: what it serves, by name. answers: how it answers the next requests, in turn; `usual` when there are none.

    asked: (name, Range header or "") of every request so far. reached: set when a silent answer has fallen silent.
    go_on: set it to end the silence.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.answers: list[Answer] = []
        self.usual: Answer = honest
        self.asked: list[tuple[str, str]] = []
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.scheme = "http"

    @property
    def ranges(self) -> list[str]:
        return [each for _, each in self.asked]

    def url(self, name: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/{name}"

    def remote(self, name: str = "EuroSAT.zip") -> Remote:
        """Where `name` lies, with its right checksum."""
        return Remote(self.url(name), md5(self.files[name]).hexdigest(), name)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what is tested here."""


Serve = Callable[[dict[str, bytes]], FileServer]  # the fixture `serve`


class Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked.append((name, self.headers.get("Range", "")))
        answer = self.server.answers.pop(0) if self.server.answers else self.server.usual
        content = self.server.files.get(name)
        if content is None:
            plain(404)(self, b"")
        else:
            answer(self, content)

    def log_message(self, *_: object) -> None:
        pass

    def start(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def begin(self, content: bytes) -> bytes:
        """Send the headers, and return what is to be sent of the content."""
        wanted = self.headers.get("Range", "")
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        whole = len(content)
        if wanted and first >= whole:
            self.start(416, Content_Range=f"bytes */{whole}", Content_Length=0)
            return b""
        if wanted:
            self.start(206, Content_Range=f"bytes {first}-{whole - 1}/{whole}", Content_Length=whole - first)
        else:
            self.start(200, Content_Length=whole)
        return content[first:]

    def hang_up(self) -> None:
        self.close_connection = True


def honest(handler: Handler, content: bytes) -> None:
    handler.wfile.write(handler.begin(content))


def cut_after(count: int) -> Answer:
    """Sends so many bytes of what it promised, then hangs up."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.wfile.write(handler.begin(content)[:count])
        handler.hang_up()

    return answer


def silent_after(count: int) -> Answer:
    """Sends so many bytes, then nothing until `go_on` is set, then the rest."""

    def answer(handler: Handler, content: bytes) -> None:
        rest = handler.begin(content)
        handler.wfile.write(rest[:count])
        handler.wfile.flush()
        handler.server.reached.set()
        handler.server.go_on.wait(PATIENCE)
        handler.wfile.write(rest[count:])

    return answer


def dripping_after(count: int) -> Answer:
    """Sends so many bytes, then one a second, for as long as the client listens."""

    def answer(handler: Handler, content: bytes) -> None:
        rest = handler.begin(content)
        handler.wfile.write(rest[:count])
        for at in range(count, len(rest)):
            if handler.server.go_on.wait(1.0):
                return
            handler.wfile.write(rest[at : at + 1])

    return answer


def without_ranges(handler: Handler, content: bytes) -> None:
    handler.start(200, Content_Length=len(content))
    handler.wfile.write(content)


def without_length(handler: Handler, content: bytes) -> None:
    handler.start(200, Connection="close")
    handler.wfile.write(content)
    handler.hang_up()


def wrong_part(handler: Handler, content: bytes) -> None:
    """Says that it sends a part, and sends it from the start."""
    handler.start(206, Content_Range=f"bytes 0-{len(content) - 1}/{len(content)}", Content_Length=len(content))
    handler.wfile.write(content)


def plain(status: int, body: bytes = b"", **headers: object) -> Answer:
    def answer(handler: Handler, _content: bytes) -> None:
        handler.start(status, **headers, Content_Length=len(body))
        handler.wfile.write(body)

    return answer


def redirect(url: str) -> Answer:
    return plain(302, Location=url)


def endless(handler: Handler, content: bytes) -> None:
    handler.start(200, Connection="close")
    handler.hang_up()
    while True:
        handler.wfile.write(bytes(64 * 1024))  # until the client hangs up


@contextmanager
def file_server(files: dict[str, bytes], tls: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    """A server that runs while this is open. tls: serve over https with this certificate."""
    server = FileServer(files)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)
