"""`verify`: whether a certificate is what a lab signed. Exit status 0: valid; 1: changed; 2: another lab's, or none."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eurosat_core.commands.request import Result
from eurosat_core.errors import ConfigError
from eurosat_core.settings import Settings

NBSP = "\N{NO-BREAK SPACE}"
_STATUS = {"valid": 0, "changed": 1, "other_key": 2}


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    about = "Check a certificate: 0 valid, 1 changed, 2 signed by another lab, or no certificate."
    verify = add("verify", about, _verify, _show)
    verify.add_argument("file", type=Path, help="a certificate: its .json, or the page that was printed")
    verify.add_argument("--key", metavar="PUBLIC", help="a lab’s public key, or a file with it; this lab’s by default")


def _verify(options: argparse.Namespace, settings: Settings) -> Result:
    from eurosat_core import __version__
    from eurosat_core.runs.certificate import checked, named_key, public_key, read_certificate
    from eurosat_core.words.certificate import checked_text, shows_what_it_signs

    certificate, page = read_certificate(options.file)
    trusted = named_key(options.key) if options.key else public_key(settings.runs)
    if not trusted:
        raise ConfigError("This lab has signed nothing yet, so it has no key. Name the other lab’s with --key.")
    outcome = checked(certificate, trusted)
    same_version = certificate.statement.get("version") == __version__
    if page and outcome != "changed" and same_version and not shows_what_it_signs(certificate, page):
        outcome = "changed"
    result: dict[str, Any] = {"state": outcome, "text": checked_text(outcome, certificate.key), "key": certificate.key}
    if outcome != "changed":
        # Of a page that another version made only the data are known to be what was signed.
        result |= {"page_checked": bool(page) and same_version, "statement": dict(certificate.statement)}
    return result, _STATUS[outcome]


def _show(result: dict[str, Any]) -> str:
    from eurosat_core.wording import printable

    lines = [result["text"]]
    statement = result.get("statement", {})
    if result["state"] != "changed":
        lines.append(printable(f"{statement.get('nickname')}, {statement.get('lab')}, {statement.get('date')}", 200))
        achieved = statement.get("achievements")
        said = [each.get("says") for each in achieved if isinstance(each, dict)] if isinstance(achieved, list) else []
        lines += [f"  {printable(str(each).replace(NBSP, ' '), 300)}" for each in said]
    return "\n".join(lines)
