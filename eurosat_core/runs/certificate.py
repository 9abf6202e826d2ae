"""Certificates: what a participant reached, as data that the lab has signed with a key of its own (Ed25519).

A signature says that this lab's key signed exactly this, and that nothing was changed since. It does not say who held
the mouse, and whoever has the lab's folder can sign anything. The private key lies there, readable by its owner alone,
and is in no page, log, run or bundle.
"""

import base64
import binascii
import hashlib
import html
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from eurosat_core.errors import ConfigError, RunError

FORMAT = "eurosat-lab-certificate-1"
MOST_BYTES = 200_000  # of a file that is looked at
_KEY_FILE = "certificate_key.pem"
_MOST_KEY_BYTES = 10_000
_EMBEDDED = re.compile(r'<pre id="certificate">(.*?)</pre>', re.DOTALL)  # in the page that is printed

Outcome = Literal["valid", "changed", "other_key"]


@dataclass(frozen=True)
class Certificate:
    """A statement as JSON values, its signature, and the public key that fits it (both base64)."""

    statement: Mapping[str, Any]
    signature: str
    key: str

    def text(self) -> str:
        """The file, as it is kept and embedded in a page."""
        values = {"format": FORMAT, "statement": self.statement, "signature": self.signature, "key": self.key}
        return json.dumps(values, indent=1, ensure_ascii=False)


def _signed_bytes(statement: Mapping[str, Any]) -> bytes:
    """What is signed: the statement in one form, whatever spaces and order its file has."""
    plain = json.dumps(statement, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{FORMAT}\n{plain}".encode()


def sign(statement: Mapping[str, Any], folder: Path) -> Certificate:
    """The certificate of a statement. Raises `RunError` where the lab's key cannot be used."""
    private = _private_key(folder, make=True)
    assert private is not None
    signature = base64.b64encode(private.sign(_signed_bytes(statement))).decode()
    return Certificate(statement, signature, _public_text(private.public_key()))


def public_key(folder: Path, *, make: bool = False) -> str:
    """The lab's public key, base64; empty where it has none yet. make: then make one. Raises `RunError`."""
    private = _private_key(folder, make=make)
    return _public_text(private.public_key()) if private is not None else ""


def fingerprint(key: str) -> str:
    """A public key's short name, to compare by eye."""
    digest = hashlib.sha256(base64.b64decode(key)).hexdigest()[:16]
    return " ".join(digest[at : at + 4] for at in range(0, len(digest), 4))


def _public_text(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()


def _private_key(folder: Path, *, make: bool) -> Ed25519PrivateKey | None:
    """The lab's key; None where there is none and none is to be made.

    Raises `RunError` for one that cannot be read, is none, or may be read by others.
    """
    path = folder / _KEY_FILE
    try:
        if not path.exists():
            if not make:
                return None
            _make_key(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_KEY_BYTES)
    except OSError as error:
        raise RunError(
            f"The lab’s key for certificates, {path}, cannot be used: {error.strerror or error}. Whoever runs the lab "
            "can give it read permission."
        ) from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise RunError(f"The lab’s key for certificates may be used by others, too. Close it: chmod 600 {path}")
    try:
        key = load_pem_private_key(content, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("another kind of key")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RunError(
            f"{path} is no key for certificates any more. Bring it back from a copy, or delete it: the lab then makes "
            "a new one, and earlier certificates count as another lab’s."
        ) from error
    return key


def _make_key(path: Path) -> None:
    """Whole or not at all, and never in place of one that another process has just made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    number = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        with suppress(FileExistsError):
            try:
                path.hardlink_to(partial)
            except (PermissionError, NotImplementedError):  # a file system without hard links
                partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def read_certificate(path: Path) -> tuple[Certificate, str]:
    """A certificate, and the page it was in (empty for a file of its own). Raises `ConfigError` when it is none."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}. Name the certificate’s file.") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{path} is too large to be a certificate of a lab. Name the file that you downloaded.")
    problem = f"{path} is no certificate of a lab, or a part of one is missing. Download it again."
    try:
        text = content.decode()
        page = text if text.lstrip().startswith("<") else ""
        if page:
            found = _EMBEDDED.findall(page)
            text = html.unescape(found[0]) if len(found) == 1 else ""
        values = json.loads(text, object_pairs_hook=_each_once, parse_constant=_refuse)
        if set(values) != {"format", "statement", "signature", "key"} or values["format"] != FORMAT:
            raise ValueError("other entries")
        if not isinstance(values["statement"], dict) or len(_key_bytes(values["key"])) != 32:
            raise ValueError("entries of another kind")
        base64.b64decode(values["signature"], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError) as error:  # of JSON, base64 and UTF-8, too
        raise ConfigError(problem) from error
    return Certificate(values["statement"], values["signature"], values["key"]), page


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two entries of one name could be read in two ways."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an entry comes twice")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _key_bytes(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def named_key(text: str) -> str:
    """A public key as somebody names it: the key itself, or a file that holds it. Raises `ConfigError`."""
    candidate = text.strip()
    with suppress(OSError, ValueError):
        path = Path(candidate)
        if path.is_file() and path.stat().st_size <= _MOST_KEY_BYTES:
            candidate = path.read_text(encoding="utf-8").strip()
    with suppress(ValueError):
        if len(_key_bytes(candidate)) == 32:
            return candidate
    raise ConfigError(f"'{text[:60]}' is no public key of a lab, nor a file with one. The Wrap-up page shows it.")


def checked(certificate: Certificate, trusted: str) -> Outcome:
    """Whether a certificate is what the lab with this public key signed."""
    try:
        key = Ed25519PublicKey.from_public_bytes(_key_bytes(certificate.key))
        key.verify(base64.b64decode(certificate.signature), _signed_bytes(certificate.statement))
    except (InvalidSignature, ValueError):
        return "changed"
    return "valid" if _key_bytes(certificate.key) == _key_bytes(trusted) else "other_key"
