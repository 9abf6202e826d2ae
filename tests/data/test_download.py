"""Downloads from a real server on this machine: the whole file, one that is cut and resumed, checksums."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from file_server import (
    Answer,
    FileServer,
    Serve,
    cut_after,
    redirect,
    silent_after,
    without_length,
    without_ranges,
    wrong_part,
)
from served_archive import CONTENT, NAME, folder, keep_part, part, sentence_of, server

from eurosat_core.data import download as module
from eurosat_core.data.download import Remote, Stopped, checksum_of, download

__all__ = ["folder", "part", "server"]  # fixtures of served_archive, used here


# --- the whole file ---


def test_the_whole_file_with_its_progress(server: FileServer, folder: Path, part: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = download(server.remote(), folder, told=lambda done, total: told.append((done, total)))
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    assert not part.exists()
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert {total for _, total in told} == {len(CONTENT)}
    assert len(told) > 1
    assert server.ranges == [""]


def test_what_is_there_already_is_not_fetched_again(server: FileServer, folder: Path) -> None:
    download(server.remote(), folder)
    download(server.remote(), folder)
    assert len(server.asked) == 1


def test_a_damaged_file_is_fetched_again(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT[:-1] + b"?")
    assert download(server.remote(), folder).read_bytes() == CONTENT


def test_a_server_that_does_not_say_how_much(server: FileServer, folder: Path) -> None:
    server.usual = without_length
    told: list[tuple[int, int | None]] = []
    path = download(server.remote(), folder, told=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), None)


def test_an_empty_file(serve: Serve, folder: Path) -> None:
    server = serve({NAME: b""})
    assert download(server.remote(), folder).read_bytes() == b""


def test_an_honest_redirect_is_followed(server: FileServer, folder: Path) -> None:
    server.answers = [redirect(server.url(NAME))]
    assert download(server.remote(), folder).read_bytes() == CONTENT


def test_downloads_of_one_file_take_turns(server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else both would write into the same part."""
    monkeypatch.setattr(module, "STALL_SECONDS", 30.0)
    server.answers = [silent_after(1000)]
    got: list[Path] = []
    threads = [threading.Thread(target=lambda: got.append(download(server.remote(), folder))) for _ in range(3)]
    threads[0].start()
    assert server.reached.wait(20)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):  # Stop is heard while another one is at it
        download(server.remote(), folder, stop=stop)
    for thread in threads[1:]:
        thread.start()
    server.go_on.set()
    for thread in threads:
        thread.join(20)
    assert got == [folder / NAME] * 3
    assert len(server.asked) == 1


# --- cut and resumed ---


def test_a_cut_connection_is_resumed_at_once(server: FileServer, folder: Path) -> None:
    server.answers = [cut_after(100_000), cut_after(50_000)]
    told: list[int] = []
    assert download(server.remote(), folder, told=lambda done, _total: told.append(done)).read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=100000-", "bytes=150000-"]
    assert told == sorted(told)


def test_small_pieces_are_kept_too(server: FileServer, folder: Path) -> None:
    """A line so bad that each connection brings little: whatever came is not fetched again."""
    server.answers = [cut_after(size) for size in (10, 7, 20_000, 1)]
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=10-", "bytes=17-", "bytes=20017-", "bytes=20018-"]


def test_the_next_call_resumes(server: FileServer, folder: Path, part: Path) -> None:
    server.answers = [cut_after(100_000), cut_after(0), cut_after(0), cut_after(0)]
    sentence = sentence_of(server.remote(), folder)
    assert "the connection broke off. 0.1 MB are kept: the next try goes on from there" in sentence
    assert "try again" in sentence
    assert part.read_bytes() == CONTENT[:100_000]
    server.asked.clear()
    server.answers.clear()
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == ["bytes=100000-"]


def test_a_server_without_ranges_sends_it_all_again(server: FileServer, folder: Path) -> None:
    server.usual = without_ranges
    server.answers = [cut_after(100_000)]
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=100000-"]


def test_a_server_without_ranges_that_is_always_cut_is_given_up(
    server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now less, now more, but never more than before: that is no progress."""

    def first_bytes(count: int) -> Answer:
        def answer(handler: Any, content: bytes) -> None:
            handler.start(200, Content_Length=len(content))
            handler.wfile.write(content[:count])
            handler.hang_up()

        return answer

    server.answers = [first_bytes(each) for each in (9000, 5000, 9000) * 20]
    assert "the connection broke off" in sentence_of(server.remote(), folder)
    assert len(server.asked) == 3


def test_a_part_from_elsewhere_in_the_file_is_not_mixed_in(server: FileServer, folder: Path) -> None:
    server.answers = [cut_after(1000), wrong_part]
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=1000-", ""]


def test_a_part_that_is_whole_already(server: FileServer, folder: Path, part: Path) -> None:
    """Killed between the last byte and the renaming: the server answers 416."""
    keep_part(part, CONTENT)
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize(
    "stale",
    [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1), CONTENT + b"more"],
    ids=["shorter", "as long", "longer", "too much"],
)
def test_a_part_of_another_file_starts_anew(stale: bytes, server: FileServer, folder: Path, part: Path) -> None:
    keep_part(part, stale)
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(stale)}-", ""]


def test_a_part_of_another_file_starts_anew_only_once(server: FileServer, folder: Path, part: Path) -> None:
    keep_part(part, b"x" * 1000)
    wrong = replace(server.remote(), md5="0" * 32)
    assert "is not the published file" in sentence_of(wrong, folder)
    assert server.ranges == ["bytes=1000-", ""]
    assert not part.exists()


# --- checksums ---


def test_md5(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    md5 = Remote("http://127.0.0.1/a", "0" * 32, "a")
    assert checksum_of(tmp_path / "a", md5) == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321
    sha = Remote("http://127.0.0.1/a", "", "a", sha256="0" * 8)
    assert checksum_of(tmp_path / "a", sha) == "ba7816bf"  # the first digits of FIPS 180-2's example
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        checksum_of(tmp_path / "a", md5, stop)
