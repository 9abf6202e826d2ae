"""Downloads from a real server on this machine that is cut, silent, busy, wrong, gone or endless."""

import datetime
import errno
import gzip
import ipaddress
import shutil
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from file_server import (
    Answer,
    FileServer,
    cut_after,
    endless,
    file_server,
    plain,
    redirect,
    silent_after,
    without_length,
    without_ranges,
    wrong_part,
)

from eurosat_core.data import download as module
from eurosat_core.data.download import Stopped, checksum_of, download
from eurosat_core.data.remote import Remote
from eurosat_core.errors import DataError

NAME = "EuroSAT.zip"
CONTENT = Random(0).randbytes(300_000)
Serve = Callable[[dict[str, bytes]], FileServer]


@pytest.fixture
def server(serve: Serve) -> FileServer:
    return serve({NAME: CONTENT})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "downloads"


@pytest.fixture
def part(folder: Path) -> Path:
    return folder / f"{NAME}.part"


def sentence_of(remote: Remote, folder: Path, **options: Any) -> str:
    """What a download that fails says: one line, and never the name of an exception."""
    with pytest.raises(DataError) as caught:
        download(remote, folder, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "Error" not in sentence
    assert not (folder / remote.name).exists()
    return sentence


def keep_part(part: Path, content: bytes) -> None:
    part.parent.mkdir(parents=True)
    part.write_bytes(content)


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


# --- wrong answers ---


def test_a_wrong_checksum_is_thrown_away(server: FileServer, folder: Path, part: Path) -> None:
    sentence = sentence_of(replace(server.remote(), md5="0" * 32), folder)
    assert "127.0.0.1 sent as EuroSAT.zip is not the published file" in sentence
    assert server.remote().md5 in sentence
    assert "thrown away. Try again" in sentence
    assert not part.exists()
    assert len(server.asked) == 1


WEB_PAGE = plain(200, b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")
ANSWERS = [
    (WEB_PAGE, ["a web page in place of EuroSAT.zip", "log in", "try again"]),
    (plain(200, b"<html/>", Content_Type="Text/HTML"), ["a web page"]),
    (plain(511, b"<html/>", Content_Type="text/html"), ["a web page", "log in"]),
    (plain(404, b"<html>not found</html>", Content_Type="text/html"), ["has no EuroSAT.zip (status 404)", "browser"]),
    (plain(410), ["has no EuroSAT.zip (status 410)", "prepare --from"]),
    (plain(403), ["refuses to send EuroSAT.zip (status 403)", "prepare --from"]),
    (plain(401), ["refuses to send EuroSAT.zip (status 401)"]),
    (plain(204), ["has no EuroSAT.zip (status 204)"]),
    (plain(304), ["has no EuroSAT.zip (status 304)"]),
    (plain(300), ["has no EuroSAT.zip (status 300)"]),
    (redirect("ftp://127.0.0.1/EuroSAT.zip"), ["is no address to download from"]),
    (redirect("/EuroSAT.zip"), ["leads in circles", "prepare --from"]),
]


@pytest.mark.parametrize(("answer", "words"), ANSWERS, ids=[" ".join(words) for _, words in ANSWERS])
def test_a_wrong_answer_is_not_tried_again(
    answer: Answer, words: list[str], server: FileServer, folder: Path, part: Path
) -> None:
    keep_part(part, CONTENT[:1000])
    server.usual = answer
    sentence = sentence_of(server.remote(), folder)
    assert [word for word in words if word not in sentence] == []
    assert part.read_bytes() == CONTENT[:1000], "what was downloaded before must stay"
    assert len(server.asked) == 1 or "circles" in sentence


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int, server: FileServer, folder: Path) -> None:
    server.answers = [plain(status), plain(status)]
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_tries_come_further_and_further_apart(
    server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But as close as at first after each one that brought something."""
    monkeypatch.setattr(module, "_TRIES", 4)
    waits: list[float | None] = []

    class Noting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return False

    server.answers = [plain(503), plain(503), cut_after(10), plain(503), plain(503)]
    assert download(server.remote(), folder, stop=Noting()).read_bytes() == CONTENT
    assert waits == [0.01, 0.02, 0.01, 0.02, 0.04]


def test_a_server_that_stays_busy(server: FileServer, folder: Path) -> None:
    server.usual = plain(503)
    sentence = sentence_of(server.remote(), folder)
    assert "the server is busy (status 503)" in sentence
    assert "try again" in sentence
    assert "kept" not in sentence
    assert len(server.asked) == 3


def test_an_endless_answer(server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1_000_000)
    server.usual = endless
    assert "127.0.0.1 sends without an end" in sentence_of(server.remote(), folder)
    assert part.stat().st_size < 100_000, "a megabyte of nothing must not stay"


def test_far_too_large_an_offer(server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.usual = lambda handler, _content: handler.start(200, Content_Length=900 * 1024**3)
    sentence = sentence_of(server.remote(), folder)
    assert "127.0.0.1 offers 900.0 GB as EuroSAT.zip: that is not the file" in sentence


def test_a_packed_answer(server: FileServer, folder: Path) -> None:
    """A server that packs although it was told not to: its length is not that of the file."""
    server.usual = plain(200, gzip.compress(CONTENT), Content_Encoding="gzip")
    told: list[tuple[int, int | None]] = []
    path = download(server.remote(), folder, told=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), None)


def test_from_an_address_with_tls_to_one_without() -> None:
    """Made-up answers: a real server with a certificate that is trusted cannot be had here."""
    remote = Remote("https://example.test/EuroSAT.zip", "0" * 32, NAME)

    def answer(url: str, *before: str) -> httpx.Response:
        history = [httpx.Response(302, request=httpx.Request("GET", each)) for each in before]
        return httpx.Response(200, request=httpx.Request("GET", url), history=history)

    with pytest.raises(DataError, match=r"example\.test leads to an address without TLS, so nothing was downloaded"):
        module._check_answer(answer("http://example.test/b", "https://example.test/a"), remote)
    with pytest.raises(DataError, match="without TLS"):
        module._check_answer(answer("http://c.test", "http://a.test", "https://b.test"), remote)
    module._check_answer(answer("https://c.test", "https://a.test"), remote)
    module._check_answer(answer("https://c.test", "http://a.test"), remote)
    module._check_answer(answer("http://a.test"), remote)


ADDRESSES = ["foo", "ftp://127.0.0.1/a.zip", "http://", "http://a..b/", "http://[::1/a.zip", "http://xn--/a.zip"]


@pytest.mark.parametrize("url", ADDRESSES)
def test_what_is_no_address(url: str, serve: Serve, folder: Path) -> None:
    sentence = sentence_of(Remote(url, "0" * 32, NAME), folder)
    assert sentence == f"'{url}' is no address to download from. Put EUROSAT_ARCHIVE right."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/certificates.pem"),
        ("ALL_PROXY", "gopher://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://proxy:port"),
    ],
)
def test_network_settings_that_cannot_be_used(
    name: str, value: str, server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match="network settings cannot be used") as caught:
        download(server.remote(), folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


# --- gone, silent, stopped ---


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


def test_a_silent_server_is_given_up_and_asked_again(server: FileServer, folder: Path) -> None:
    server.answers = [silent_after(100_000), silent_after(0)]
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=100000-", "bytes=100000-"]


def test_a_server_that_stays_silent(server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.1)
    server.usual = silent_after(0)
    assert "the server did not answer in time. Check" in sentence_of(server.remote(), folder)
    assert len(server.asked) == 3


def test_stop_is_heard_while_a_server_is_silent(server: FileServer, folder: Path, part: Path) -> None:
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


# --- the disk ---


def test_no_space_is_said_before_the_first_byte(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder.anchor)._replace(free=3 * len(CONTENT) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    told: list[int] = []
    sentence = sentence_of(
        server.remote(), folder, told=lambda done, _total: told.append(done), space_for=lambda size: 3 * size
    )
    assert f"need 0.9 MB; {folder} has 0.9 MB free. Free some disk space, or name another folder" in sentence
    assert (told, part.exists()) == ([], False)


def test_what_is_there_already_needs_no_more_space(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_part(part, CONTENT[:200_000])
    usage = shutil.disk_usage(folder.anchor)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    assert download(server.remote(), folder).read_bytes() == CONTENT


class _FullAfter:
    """A file on a disk that is full after 100,000 bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> "_FullAfter":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        if self.file.tell() > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.file.write(data)


def test_a_disk_that_fills_midway(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def open_full(path: Path, mode: str = "r", **options: Any) -> Any:
        file = opened(path, mode, **options)
        return _FullAfter(file) if path == part and mode == "wb" else file

    monkeypatch.setattr(Path, "open", open_full)
    sentence = sentence_of(server.remote(), folder)
    assert f"EuroSAT.zip could not be kept in {folder}: No space left on device. Free some disk space" in sentence
    kept = part.stat().st_size
    assert kept > 100_000
    monkeypatch.undo()
    download(server.remote(), folder)
    assert server.ranges == ["", f"bytes={kept}-"]


def test_a_folder_that_cannot_be_made(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"could not be kept in .*cache/downloads: Not a directory.*EUROSAT_CACHE"):
        download(server.remote(), tmp_path / "cache" / "downloads")


def test_a_folder_that_cannot_be_written(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def deny(path: Path, *args: Any, **options: Any) -> Any:  # root may write everywhere, so the refusal is played
        if path == part:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", deny)
    sentence = sentence_of(server.remote(), folder)
    assert f"could not be kept in {folder}: Permission denied" in sentence
    assert "name another folder in EUROSAT_CACHE" in sentence


# --- TLS ---


def certificate_of_nobody(place: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    place.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place)
    return context


def test_a_certificate_that_cannot_be_verified(serve: Serve, folder: Path, part: Path, tmp_path: Path) -> None:
    with file_server({NAME: CONTENT}, certificate_of_nobody(tmp_path / "key.pem")) as server:
        sentence = sentence_of(server.remote(), folder)
        assert "The certificate of 127.0.0.1 could not be verified, so nothing was downloaded" in sentence
        assert "ask who runs the network" in sentence
        assert (server.asked, part.exists()) == ([], False)
        # The server is sound: who trusts its certificate gets the file.
        trusting = ssl.create_default_context(cafile=tmp_path / "key.pem")
        assert httpx.get(server.url(NAME), verify=trusting).content == CONTENT


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
