"""Networks that participants saved under a name: one JSON file per participant, written atomically.

A file that is damaged or too large counts as empty, so nobody's page fails over it; the next save replaces it.
"""

import hashlib
import json
import logging
import threading
from pathlib import Path
from typing import Any

from eurosat_core.errors import ConfigError
from eurosat_core.folders import write_whole
from eurosat_core.models.layers import format_network, parse_network

logger = logging.getLogger(__name__)

KEPT = 30  # designs per participant
MAX_NAME = 40
_PEOPLE = 2000  # files: nicknames are free, so their number has to end somewhere
_MOST_BYTES = 400_000


class DesignStore:
    """The designs below one folder, by owner and name. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def of(self, owner: str) -> dict[str, str]:
        """A participant's designs, name → text, the newest last."""
        try:
            with self._path(owner).open("rb") as file:
                values = json.loads(file.read(_MOST_BYTES))
        except (OSError, ValueError, RecursionError):  # none yet, or damaged
            return {}
        return _checked(values, owner)

    def save(self, owner: str, name: str, text: str) -> str:
        """Keep a network, also one that still has a problem; the same name is replaced. Returns the name as kept.

        Raises `ConfigError` for a name or text that cannot be kept, too many designs, or a disk that does not take it.
        """
        tidy = _tidy(name)
        if not tidy:
            raise ConfigError("A network is saved under a name. Type one first.")
        canonical = format_network(parse_network(text))
        with self._lock:
            designs = self.of(owner)
            designs.pop(tidy, None)
            if len(designs) >= KEPT:
                raise ConfigError(f"You have saved {KEPT} networks, which is the most. Delete one first.")
            self._write(owner, {**designs, tidy: canonical})
        return tidy

    def delete(self, owner: str, name: str) -> None:
        """Remove a design; one that is not there is no error."""
        with self._lock:
            designs = self.of(owner)
            if designs.pop(name, None) is not None:
                self._write(owner, designs)

    def _path(self, owner: str) -> Path:
        """Nicknames may hold any character, so the file is called by a digest of it."""
        return self._folder / f"{hashlib.sha256(owner.encode()).hexdigest()[:24]}.json"

    def _write(self, owner: str, designs: dict[str, str]) -> None:
        path = self._path(owner)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not path.exists() and sum(1 for _ in self._folder.iterdir()) >= _PEOPLE:
                raise ConfigError("No more participants can save networks here. Ask your instructor to make room.")
            write_whole(path, json.dumps({"owner": owner, "designs": designs}, ensure_ascii=False).encode())
        except OSError as error:
            logger.warning("a network could not be saved in %s: %s", path, error)
            raise ConfigError(f"The network could not be saved: {error.strerror or error}.") from error


def _tidy(name: str) -> str:
    """Printable, single-spaced and short."""
    return " ".join("".join(each for each in name if each.isprintable() or each == " ").split())[:MAX_NAME].strip()


def _checked(values: Any, owner: str) -> dict[str, str]:
    """What of a file's content is designs of this owner."""
    if not isinstance(values, dict) or values.get("owner") != owner or not isinstance(values.get("designs"), dict):
        return {}
    found: dict[str, str] = {}
    for name, text in list(values["designs"].items())[:KEPT]:
        try:
            if isinstance(text, str) and name and name == _tidy(name):
                found[name] = format_network(parse_network(text))
        except ConfigError:
            continue
    return found
