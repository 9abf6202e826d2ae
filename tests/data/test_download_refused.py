"""Servers that answer wrongly, are busy, endless or not to be trusted: tried again or refused, with a sentence."""

import datetime
import gzip
import ipaddress
import ssl
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from file_server import Answer, FileServer, Serve, cut_after, endless, file_server, plain, redirect
from served_archive import CONTENT, NAME, folder, keep_part, part, sentence_of, server

from eurosat_core.data import download as module
from eurosat_core.data.download import Remote, download
from eurosat_core.errors import DataError

__all__ = ["folder", "part", "server"]  # fixtures of served_archive, used here


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
