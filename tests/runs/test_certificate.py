"""A certificate is what the lab signed, or it is found out; and the lab's key stays the lab's."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as some

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.finding import Finding
from eurosat_core.runs.certificate import (
    MOST_BYTES,
    Certificate,
    checked,
    fingerprint,
    named_key,
    public_key,
    read_certificate,
    sign,
)
from eurosat_core.speed.verdict import Verdict
from eurosat_core.words.certificate import certificate_page, shows_what_it_signs, signed_certificate

FOUND = [
    Finding("certificate.trained.real", {"run": "tilenet · CPU", "accuracy": 0.912345, "tiles": 1500}),
    Finding(
        "certificate.measured",
        {"title": "A larger batch", "device": "cpu", "verdict": Verdict("faster", 1.51, 1.4, 1.6, 5)},
    ),
    Finding("certificate.corrected", {"off": 2, "answered": 3}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def signed(folder: Path) -> Certificate:
    return signed_certificate(FOUND, "Ada Ωλ", "Lab 3", folder, now=0.0)


def state_of(path: Path, trusted: str) -> str:
    """What a participant is told of a file: that it is valid, changed, another lab's, or no certificate at all."""
    try:
        certificate, page = read_certificate(path)
    except ConfigError:
        return "none"
    outcome = checked(certificate, trusted)
    return "changed" if page and outcome == "valid" and not shows_what_it_signs(certificate, page) else outcome


def test_what_was_signed_is_valid_as_data_and_as_a_page(signed: Certificate, folder: Path, tmp_path: Path) -> None:
    key = public_key(folder)
    assert signed.key == key and checked(signed, key) == "valid"
    assert signed.statement["date"] == "1970-01-01" and signed.statement["achievements"][0]["figures"]["tiles"] == 1500
    for name, text in (("a.json", signed.text()), ("a.html", certificate_page(signed))):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert state_of(tmp_path / name, key) == "valid"
    spaced = json.dumps(json.loads(signed.text()), indent=7, sort_keys=True)
    (tmp_path / "b.json").write_text(spaced, encoding="utf-8")
    assert state_of(tmp_path / "b.json", key) == "valid", "spaces and order say nothing"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [each for name, inside in value.items() for each in leaves(inside, (*path, name))]
    if isinstance(value, list):
        return [each for at, inside in enumerate(value) for each in leaves(inside, (*path, at))]
    return [path]


@given(data=some.data())
def test_no_field_can_be_changed(signed: Certificate, folder: Path, data: some.DataObject) -> None:
    statement = json.loads(json.dumps(dict(signed.statement)))
    *inside, last = data.draw(some.sampled_from(leaves(statement)))
    holder = statement
    for each in inside:
        holder = holder[each]
    other = data.draw(some.none() | some.booleans() | some.integers() | some.text(max_size=5) | some.floats(0, 1))
    if json.dumps(other) == json.dumps(holder[last]):
        return
    holder[last] = other
    assert checked(Certificate(statement, signed.signature, signed.key), public_key(folder)) == "changed"


@given(at=some.integers(0), byte=some.integers(0, 255), remove=some.booleans())
def test_no_byte_of_a_page_can_be_changed(
    signed: Certificate, folder: Path, tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, remove: bool
) -> None:
    content = certificate_page(signed).encode()
    at %= len(content)
    new = content[:at] + (b"" if remove else bytes([byte])) + content[at + 1 :]
    path = folder / "page.html"
    path.write_bytes(new)
    if new != content and new.decode(errors="replace").lstrip() != content.decode():
        assert state_of(path, public_key(folder)) in ("changed", "none")


@given(share=some.floats(0, 0.99))
def test_half_a_file_is_none(signed: Certificate, folder: Path, share: float) -> None:
    for content in (signed.text().encode(), certificate_page(signed).encode()):
        path = folder / "half"
        path.write_bytes(content[: int(share * len(content))])
        assert state_of(path, public_key(folder)) in ("none", "changed")


def test_another_labs_is_told_apart(signed: Certificate, folder: Path, tmp_path: Path) -> None:
    other = sign(signed.statement, tmp_path)
    assert checked(other, public_key(folder)) == "other_key"
    assert checked(other, public_key(tmp_path)) == "valid"
    assert checked(Certificate(signed.statement, signed.signature, other.key), public_key(tmp_path)) == "changed"
    assert fingerprint(other.key) != fingerprint(signed.key)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": 1}',
        b"null",
        b"x" * (MOST_BYTES + 1),
        b'<pre id="certificate">{}</pre>',
        b"<html>" + b'<pre id="certificate">' * 5000,
        b'{"format": "eurosat-lab-certificate-1", "statement": {}, "signature": 3, "key": []}',
        b'{"format": "eurosat-lab-certificate-1", "statement": {"a": NaN}, "signature": "", "key": ""}',
        b'{"format": "eurosat-lab-certificate-1", "statement": {}, "statement": {}, "signature": "", "key": ""}',
    ],
)
def test_a_hostile_file_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigError):
        read_certificate(tmp_path / "file")


@pytest.mark.hostile
def test_names_are_no_markup(folder: Path) -> None:
    evil = '<script>alert(1)</script></pre><pre id="certificate">{}'
    page = certificate_page(signed_certificate(FOUND, evil, evil, folder))
    assert "<script" not in page and page.count('<pre id="certificate">') == 1


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    for each in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError):
            read_certificate(each)


def test_the_key_is_made_once_and_for_the_lab_alone(tmp_path: Path) -> None:
    assert public_key(tmp_path) == "", "looking makes none"
    key = public_key(tmp_path / "new", make=True)
    (path,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_key(tmp_path / "new", make=True) == key
    assert key.encode() not in path.read_bytes()


def test_two_processes_make_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one was quicker, between looking and making."""
    from eurosat_core.runs import certificate

    first = public_key(tmp_path, make=True)
    certificate._make_key(tmp_path / "certificate_key.pem")
    assert public_key(tmp_path) == first and len(list(tmp_path.iterdir())) == 1


def test_a_key_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    public_key(tmp_path, make=True)
    path = tmp_path / "certificate_key.pem"
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"nonsense", path.read_bytes()[:40], rsa):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(RunError, match="new one"):
            sign({}, tmp_path)
    if os.name == "posix":
        path.chmod(0o644)
        with pytest.raises(RunError, match="chmod 600"):
            sign({}, tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(RunError):
        sign({}, tmp_path)


def test_a_public_key_is_named_by_itself_or_by_a_file(signed: Certificate, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"{signed.key}\n", encoding="utf-8")
    assert named_key(signed.key) == named_key(str(tmp_path / "key.pub")) == signed.key
    for wrong in ("", "abc", "/no/such/file", signed.key[:-4]):
        with pytest.raises(ConfigError):
            named_key(wrong)
