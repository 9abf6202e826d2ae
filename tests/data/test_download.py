"""Downloads from a real server on this machine: whole, cut and resumed, stopped, refused, onto a full disk."""

import datetime
import errno
import gzip
import ipaddress
import re
import shutil
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from bad_archives import fail_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_engine import eventually
from file_server import (
    Answer,
    FileServer,
    Serve,
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
from torchvision.datasets import EuroSAT, eurosat

from eurosat_core.data import download as module
from eurosat_core.data.download import PLACE_LISTS, Remote, Stopped, checksum_of, download, eurosat_archive
from eurosat_core.errors import DataError
from eurosat_core.settings import Settings

Patch = pytest.MonkeyPatch
NAME = "EuroSAT.zip"
CONTENT = Random(0).randbytes(300_000)


@pytest.fixture
def server(serve: Serve) -> FileServer:
    return serve({NAME: CONTENT})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "downloads"


@pytest.fixture
def part(folder: Path) -> Path:
    return folder / f"{NAME}.part"


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def refused(remote: Remote, folder: Path, *names: str, **options: Any) -> None:
    """A download that fails says these names and figures in one line, and never the name of an exception."""
    with pytest.raises(DataError) as caught:
        download(remote, folder, **options)
    sentence = str(caught.value)
    assert [name for name in names if name not in sentence] == []
    assert "\n" not in sentence
    assert "Error" not in sentence
    assert not (folder / remote.name).exists()


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
    download(server.remote(), folder)  # it is there already
    assert server.ranges == [""]


def first_bytes(count: int) -> Answer:
    """Sends the beginning, whatever part it is asked for."""

    def answer(handler: Any, content: bytes) -> None:
        handler.start(200, Content_Length=len(content))
        handler.wfile.write(content[:count])
        handler.hang_up()

    return answer


# Answers to the first requests, the usual answer, and which ranges were asked for until the file was there.
ARRIVES: dict[str, tuple[list[Answer], Answer | None, list[str]]] = {
    "cut twice": ([cut_after(100_000), cut_after(50_000)], None, ["", "bytes=100000-", "bytes=150000-"]),
    # A line so bad that each connection brings little: whatever came is not fetched again.
    "small pieces": (
        [cut_after(size) for size in (10, 7, 20_000, 1)],
        None,
        ["", "bytes=10-", "bytes=17-", "bytes=20017-", "bytes=20018-"],
    ),
    "no ranges": ([cut_after(100_000)], without_ranges, ["", "bytes=100000-"]),
    "another part than asked for": ([cut_after(1000), wrong_part], None, ["", "bytes=1000-", ""]),
    **{f"busy: {status}": ([plain(status)] * 2, None, [""] * 3) for status in (408, 429, 500, 502, 503, 504)},
}


@pytest.mark.parametrize("name", ARRIVES)
def test_it_arrives_all_the_same(name: str, server: FileServer, folder: Path) -> None:
    answers, usual, ranges = ARRIVES[name]
    server.answers = list(answers)
    server.usual = usual or server.usual
    told: list[int] = []
    assert download(server.remote(), folder, told=lambda done, _total: told.append(done)).read_bytes() == CONTENT
    assert server.ranges == ranges
    assert told == sorted(told) or usual is not None or wrong_part in answers


@pytest.mark.parametrize(
    "answer", [without_length, plain(200, gzip.compress(CONTENT), Content_Encoding="gzip")], ids=["none", "packed"]
)
def test_a_server_that_does_not_say_how_much(answer: Answer, server: FileServer, folder: Path) -> None:
    """Or that packs although it was told not to: its length is not that of the file."""
    server.usual = answer
    told: list[tuple[int, int | None]] = []
    path = download(server.remote(), folder, told=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), None)


def test_an_empty_file_and_an_honest_redirect(serve: Serve, folder: Path) -> None:
    server = serve({NAME: b""})
    server.answers = [redirect(server.url(NAME))]
    assert download(server.remote(), folder).read_bytes() == b""
    assert len(server.asked) == 2


def test_a_damaged_file_is_fetched_again(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT[:-1] + b"?")
    assert download(server.remote(), folder).read_bytes() == CONTENT


def test_downloads_of_one_file_take_turns(
    server: FileServer, folder: Path, stop: threading.Event, monkeypatch: Patch
) -> None:
    """Else both would write into the same part."""
    monkeypatch.setattr(module, "STALL_SECONDS", 30.0)
    server.answers = [silent_after(1000)]
    got: list[Path] = []
    threads = [threading.Thread(target=lambda: got.append(download(server.remote(), folder))) for _ in range(3)]
    threads[0].start()
    assert server.reached.wait(20)
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


# --- resumed by the next call ---


def test_the_next_call_resumes(server: FileServer, folder: Path, part: Path) -> None:
    server.answers = [cut_after(100_000), cut_after(0), cut_after(0), cut_after(0)]
    refused(server.remote(), folder, "broke off", "0.1 MB")
    assert part.read_bytes() == CONTENT[:100_000]
    server.asked.clear()
    server.answers.clear()
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == ["bytes=100000-"]


def test_a_server_without_ranges_that_is_always_cut_is_given_up(server: FileServer, folder: Path) -> None:
    """Now less, now more, but never more than before: that is no progress."""
    server.answers = [first_bytes(each) for each in (9000, 5000, 9000) * 20]
    refused(server.remote(), folder, "broke off")
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("kept", "again"),
    [
        (CONTENT, []),  # killed between the last byte and the renaming: the server answers 416
        (b"x" * 1000, [""]),
        (b"x" * len(CONTENT), [""]),
        (b"x" * (len(CONTENT) + 1), [""]),
        (CONTENT + b"more", [""]),
    ],
    ids=["whole already", "another's, shorter", "another's, as long", "another's, longer", "too much"],
)
def test_a_part_is_whole_or_of_another_file(
    kept: bytes, again: list[str], server: FileServer, folder: Path, part: Path
) -> None:
    keep_part(part, kept)
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(kept)}-", *again]


@pytest.mark.parametrize(("kept", "ranges"), [(b"", [""]), (b"x" * 1000, ["bytes=1000-", ""])], ids=["none", "part"])
def test_a_wrong_checksum_is_thrown_away(
    kept: bytes, ranges: list[str], server: FileServer, folder: Path, part: Path
) -> None:
    """And a part of another file starts anew only once."""
    keep_part(part, kept)
    wanted = replace(server.remote(), checksum="0" * 32)
    refused(wanted, folder, "127.0.0.1", NAME, server.remote().checksum)
    assert server.ranges == ranges
    assert not part.exists()


# --- servers that are busy, wrong, or not to be trusted ---


WEB_PAGE = plain(200, b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")
ANSWERS = [
    (WEB_PAGE, ["web page"]),
    (plain(200, b"<html/>", Content_Type="Text/HTML"), ["web page"]),
    (plain(511, b"<html/>", Content_Type="text/html"), ["web page", "log in"]),
    (plain(404, b"<html>not found</html>", Content_Type="text/html"), ["404", "browser"]),
    (plain(410), ["410", "prepare --from"]),
    (plain(403), ["403", "prepare --from"]),
    *((plain(status), [f"status {status}"]) for status in (401, 204, 304, 300)),
    (redirect("ftp://127.0.0.1/EuroSAT.zip"), ["no address"]),
    (redirect("/EuroSAT.zip"), ["circles", "prepare --from"]),
]


@pytest.mark.parametrize(("answer", "words"), ANSWERS, ids=[" ".join(words) for _, words in ANSWERS])
def test_a_wrong_answer_is_not_tried_again(
    answer: Answer, words: list[str], server: FileServer, folder: Path, part: Path
) -> None:
    keep_part(part, CONTENT[:1000])
    server.usual = answer
    refused(server.remote(), folder, *words)
    assert part.read_bytes() == CONTENT[:1000], "what was downloaded before must stay"
    assert len(server.asked) == 1 or "circles" in words[0]


def test_tries_come_further_and_further_apart(server: FileServer, folder: Path, monkeypatch: Patch) -> None:
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
    refused(server.remote(), folder, "503")
    assert len(server.asked) == 3


@pytest.mark.hostile
def test_an_endless_answer(server: FileServer, folder: Path, part: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1_000_000)
    server.usual = endless
    refused(server.remote(), folder, "127.0.0.1")
    assert part.stat().st_size < 100_000, "a megabyte of nothing must not stay"


@pytest.mark.hostile
def test_far_too_large_an_offer(server: FileServer, folder: Path, monkeypatch: Patch) -> None:
    server.usual = lambda handler, _content: handler.start(200, Content_Length=900 * 1024**3)
    refused(server.remote(), folder, "127.0.0.1", "900.0 GB", NAME)


def test_from_an_address_with_tls_to_one_without() -> None:
    """Made-up answers: a real server with a certificate that is trusted cannot be had here."""
    remote = Remote("https://example.test/EuroSAT.zip", "0" * 32, NAME)

    def answer(url: str, *before: str) -> httpx.Response:
        history = [httpx.Response(302, request=httpx.Request("GET", each)) for each in before]
        return httpx.Response(200, request=httpx.Request("GET", url), history=history)

    for url, before in (
        ("http://example.test/b", ["https://example.test/a"]),
        ("http://c.test", ["http://a.test", "https://b.test"]),
    ):
        with pytest.raises(DataError, match="without TLS"):
            module._check_answer(answer(url, *before), remote)
    for url, before in (
        ("https://c.test", ["https://a.test"]),
        ("https://c.test", ["http://a.test"]),
        ("http://a.test", []),
    ):
        module._check_answer(answer(url, *before), remote)


ADDRESSES = ["foo", "ftp://127.0.0.1/a.zip", "http://", "http://a..b/", "http://[::1/a.zip", "http://xn--/a.zip"]


@pytest.mark.parametrize("url", ADDRESSES)
@pytest.mark.usefixtures("serve")
def test_what_is_no_address(url: str, folder: Path) -> None:
    refused(Remote(url, "0" * 32, NAME), folder, f"'{url}'", "EUROSAT_ARCHIVE")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/certificates.pem"),
        ("ALL_PROXY", "gopher://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://proxy:port"),
    ],
)
def test_network_settings_that_cannot_be_used(
    name: str, value: str, server: FileServer, folder: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=name) as caught:
        download(server.remote(), folder)
    assert "\n" not in str(caught.value)


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


@pytest.mark.hostile
@pytest.mark.usefixtures("serve")
def test_a_certificate_that_cannot_be_verified(folder: Path, part: Path, tmp_path: Path) -> None:
    with file_server({NAME: CONTENT}, certificate_of_nobody(tmp_path / "key.pem")) as server:
        refused(server.remote(), folder, "certificate", "127.0.0.1")
        assert (server.asked, part.exists()) == ([], False)
        # The server is sound: who trusts its certificate gets the file.
        trusting = ssl.create_default_context(cafile=tmp_path / "key.pem")
        assert httpx.get(server.url(NAME), verify=trusting).content == CONTENT


# --- gone, silent, stopped ---


@pytest.mark.usefixtures("serve")
def test_a_server_that_is_not_there(folder: Path) -> None:
    with file_server({NAME: CONTENT}) as gone:
        remote = gone.remote()
    refused(remote, folder, "127.0.0.1", "prepare --from")


def test_a_server_that_goes_midway(serve: Serve, folder: Path, part: Path) -> None:
    with file_server({NAME: CONTENT}) as server:
        remote = server.remote()
        server.answers = [cut_after(100_000)]

        def go(done: int, _total: int | None) -> None:
            if done >= 100_000:
                server.socket.close()

        refused(remote, folder, "0.1 MB", told=go)
        assert len(server.asked) == 1
    assert part.read_bytes() == CONTENT[:100_000]
    back = serve({NAME: CONTENT})
    assert download(back.remote(), folder).read_bytes() == CONTENT
    assert back.ranges == ["bytes=100000-"]


def test_a_silent_server_is_given_up_and_asked_again(server: FileServer, folder: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.5)
    server.answers = [silent_after(100_000), silent_after(0)]
    assert download(server.remote(), folder).read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=100000-", "bytes=100000-"]


def test_a_server_that_stays_silent(server: FileServer, folder: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.1)
    server.usual = silent_after(0)
    refused(server.remote(), folder, "in time")
    eventually(lambda: len(server.asked) == 3)  # the server may note what it was asked after it was given up


def test_stop_is_heard_while_a_server_is_silent(
    server: FileServer, folder: Path, part: Path, stop: threading.Event, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.5)
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


def test_stop_is_heard_while_bytes_trickle(server: FileServer, folder: Path, part: Path, stop: threading.Event) -> None:
    """One byte after the other, never silent for long: collecting them first would leave no chance to stop."""
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
    assert 0 < part.stat().st_size < 3000


def test_stop_before_the_start(server: FileServer, folder: Path, stop: threading.Event) -> None:
    stop.set()
    with pytest.raises(Stopped):
        download(server.remote(), folder, stop=stop)
    assert server.asked == []


def test_stop_while_waiting_for_the_next_try(
    server: FileServer, folder: Path, stop: threading.Event, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 60.0)

    def busy(handler: Any, content: bytes) -> None:
        plain(503)(handler, content)
        stop.set()

    server.usual = busy
    with pytest.raises(Stopped):
        download(server.remote(), folder, stop=stop)
    assert len(server.asked) == 1


# --- onto a disk that is full, or that cannot be written ---


def test_no_space_is_said_before_the_first_byte(
    server: FileServer, folder: Path, part: Path, monkeypatch: Patch
) -> None:
    usage = shutil.disk_usage(folder.anchor)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage._replace(free=3 * len(CONTENT) - 1))
    refused(server.remote(), folder, "0.9 MB", str(folder), told=pytest.fail, space_for=lambda size: 3 * size)
    assert not part.exists()
    part.write_bytes(CONTENT[:200_000])  # what is there already needs no more space
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage._replace(free=100_000))
    assert download(server.remote(), folder).read_bytes() == CONTENT


def test_a_disk_that_fills_midway(server: FileServer, folder: Path, part: Path) -> None:
    def full(done: int, _total: int | None) -> None:
        if done > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    refused(server.remote(), folder, NAME, str(folder), "disk space", told=full)
    kept = part.stat().st_size
    assert kept > 100_000
    download(server.remote(), folder)
    assert server.ranges == ["", f"bytes={kept}-"]


def test_a_folder_that_cannot_be_written(server: FileServer, folder: Path, part: Path, monkeypatch: Patch) -> None:
    refusal = PermissionError(errno.EACCES, "Permission denied", str(part))
    fail_for(monkeypatch, Path, "open", refusal, lambda path: path == part)
    refused(server.remote(), folder, str(folder), "Permission denied", "EUROSAT_CACHE")


# --- the published addresses and checksums ---


def test_md5(tmp_path: Path, stop: threading.Event) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    md5 = Remote("http://127.0.0.1/a", "0" * 32, "a")
    assert checksum_of(tmp_path / "a", md5) == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321
    sha = Remote("http://127.0.0.1/a", "0" * 8, "a", "sha256")
    assert checksum_of(tmp_path / "a", sha) == "ba7816bf"  # the first digits of FIPS 180-2's example
    stop.set()
    with pytest.raises(Stopped):
        checksum_of(tmp_path / "a", md5, stop)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: Patch) -> tuple[str, str]:
    """Address and MD5 that torchvision's own download passes on."""
    calls: list[tuple[str, str]] = []

    def note(url: str, download_root: str, md5: str, **_: object) -> None:
        calls.append((url, md5))

    monkeypatch.setattr(eurosat, "download_and_extract_archive", note)
    with pytest.raises(RuntimeError):  # for nothing was downloaded
        EuroSAT(str(tmp_path / "root"), download=True)
    assert len(calls) == 1
    return calls[0]


@pytest.mark.parametrize("url", ["", "http://mirror/e.zip"])
@pytest.mark.parametrize("md5", ["", "0" * 32])
def test_the_archive_is_torchvisions_or_the_settings(
    url: str, md5: str, tmp_path: Path, published: tuple[str, str]
) -> None:
    remote = eurosat_archive(Settings(tmp_path, tmp_path, archive_url=url, archive_md5=md5))
    assert remote == Remote(url or published[0], md5 or published[1], "EuroSAT.zip")


def test_the_lists_have_addresses_and_checksums() -> None:
    assert list(PLACE_LISTS) == ["train", "val", "test"]
    for part, remote in PLACE_LISTS.items():
        assert remote.url.startswith("https://")
        assert remote.url.endswith(f"/eurosat-spatial-{part}.txt")
        assert remote.name == f"eurosat-spatial-{part}.txt"
        assert re.fullmatch("[0-9a-f]{32}", remote.checksum)
    assert len({remote.checksum for remote in PLACE_LISTS.values()}) == 3
