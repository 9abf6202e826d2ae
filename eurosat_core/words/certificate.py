"""A certificate to take home: the facts in words, signed by the lab, and a page to print that holds the signed data."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eurosat_core import __version__, wording
from eurosat_core.finding import Finding
from eurosat_core.runs.certificate import Certificate, fingerprint, sign
from eurosat_core.words.say import say

_DECIMALS = 4


def signed_certificate(
    found: Sequence[Finding], owner: str, lab: str, folder: Path, now: float | None = None
) -> Certificate:
    """What was reached, signed with the key in `folder`.

    Args:
        found: What was reached.
        owner: The participant's nickname.
        lab: The lab's name.
        now: Since 1970, in seconds.

    Raises:
        RunError: The lab's key cannot be used.
    """
    statement = {
        "nickname": owner,
        "lab": lab,
        "date": time.strftime("%Y-%m-%d", time.gmtime(time.time() if now is None else now)),
        "version": __version__,
        "achievements": [{"name": each.name, "says": say(each), "figures": _plain(each.figures)} for each in found],
    }
    return sign(statement, folder)


def _plain(value: Any) -> Any:
    """A figure as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return round(value, _DECIMALS) if isinstance(value, float) else value


def certificate_page(certificate: Certificate) -> str:
    """The page, with every text escaped. Raises `KeyError` for a statement without what a page shows."""
    return wording.filled(
        "certificate.html.j2",
        statement=certificate.statement,
        fingerprint=fingerprint(certificate.key),
        text=certificate.text(),
    )


def shows_what_it_signs(certificate: Certificate, page: str) -> bool:
    """Whether a page is the one of its certificate, to the letter."""
    try:
        return certificate_page(certificate) == page
    except (KeyError, TypeError, ValueError):
        return False


def checked_text(outcome: str, key: str) -> str:
    """What checking a certificate came to, as a sentence."""
    return say(Finding(f"certificate.checked.{outcome}", {"key": fingerprint(key)}))
