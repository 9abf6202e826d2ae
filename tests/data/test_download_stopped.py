"""Downloads from a server that is gone or silent, and downloads that are stopped: what came is kept."""

import threading
from pathlib import Path
from typing import Any

import pytest
from fake_engine import eventually
from file_server import FileServer, Serve, cut_after, file_server, plain, silent_after
from served_archive import CONTENT, NAME, folder, part, sentence_of, server

from eurosat_core.data import download as module
from eurosat_core.data.download import Stopped, download

__all__ = ["folder", "part", "server"]  # fixtures of served_archive, used here


def test_a_server_that_is_not_there(server: FileServer, folder: Path) -> None:
    with file_server({NAME: CONTENT}) as gone:
        remote = gone.remote()
    sentence = sentence_of(remote, folder)
    assert "could not be downloaded from 127.0.0.1: it cannot be reached. Check the connection" in sentence
    assert "prepare --from" in sentence


def test_a_server_that_goes_midway(serve: Serve, folder: Path, part: Path) -> None:
    with file_server({NAME: CONTENT}) as server:
        remote = server.remote()
        server.answers = [cut_after(100_000)]

        def go(done: int, _total: int | None) -> None:
            if done >= 100_000:
                server.socket.close()

        sentence = sentence_of(remote, folder, told=go)
        assert len(server.asked) == 1
    assert "it cannot be reached. 0.1 MB are kept: the next try goes on from there" in sentence
    assert part.read_bytes() == CONTENT[:100_000]
    back = serve({NAME: CONTENT})
    assert download(back.remote(), folder).read_bytes() == CONTENT
    assert back.ranges == ["bytes=100000-"]


def test_a_silent_server_is_given_up_and_asked_again(
    server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.5)
    server.answers = [silent_after(100_000), silent_after(0)]
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=100000-", "bytes=100000-"]


def test_a_server_that_stays_silent(server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.1)
    server.usual = silent_after(0)
    assert "the server did not answer in time. Check" in sentence_of(server.remote(), folder)
    eventually(lambda: len(server.asked) == 3)  # the server may note what it was asked after it was given up


def test_stop_is_heard_while_a_server_is_silent(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.5)
    stop = threading.Event()
    server.usual = silent_after(1000)

    def stop_it() -> None:
        assert server.reached.wait(20)
        stop.set()

    stopper = threading.Thread(target=stop_it)
    stopper.start()
    with pytest.raises(Stopped):
        download(server.remote(), folder, stop=stop)
    stopper.join()
    assert len(server.asked) == 1
    assert part.read_bytes() == CONTENT[:1000]


def test_stop_is_heard_while_bytes_trickle(server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte after the other, never silent for long: collecting them first would leave no chance to stop."""
    stop = threading.Event()
    trickled = threading.Event()

    def trickle(handler: Any, content: bytes) -> None:
        handler.start(200, Content_Length=len(content))
        for number in range(0, 3000, 10):
            handler.wfile.write(content[number : number + 10])
            handler.wfile.flush()
            if number == 50:
                stop.set()
            if trickled.wait(0.02):
                return

    server.usual = trickle
    with pytest.raises(Stopped):
        download(server.remote(), folder, stop=stop)
    trickled.set()
    assert 0 < (folder / f"{NAME}.part").stat().st_size < 3000


def test_stop_keeps_what_came(server: FileServer, folder: Path, part: Path) -> None:
    stop = threading.Event()

    def stop_midway(done: int, _total: int | None) -> None:
        if done > 100_000:
            stop.set()

    with pytest.raises(Stopped):
        download(server.remote(), folder, stop=stop, told=stop_midway)
    kept = part.read_bytes()
    assert 100_000 < len(kept) < len(CONTENT)
    assert kept == CONTENT[: len(kept)]
    assert not (folder / NAME).exists()
    download(server.remote(), folder, stop=threading.Event())
    assert server.ranges == ["", f"bytes={len(kept)}-"]


def test_stop_before_the_start(server: FileServer, folder: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        download(server.remote(), folder, stop=stop)
    assert server.asked == []


def test_stop_while_waiting_for_the_next_try(server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 60.0)
    stop = threading.Event()

    def busy(handler: Any, content: bytes) -> None:
        plain(503)(handler, content)
        stop.set()

    server.usual = busy
    with pytest.raises(Stopped):
        download(server.remote(), folder, stop=stop)
    assert len(server.asked) == 1
