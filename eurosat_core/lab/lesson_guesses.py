"""What participants guessed on the pages of the lesson, on disk: a refresh or a lost connection must not lose it.

One line per guess in a file that only grows; the newest line of a participant and a question counts.
"""

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["LessonGuesses"]

logger = logging.getLogger(__name__)

_MOST_BYTES = 4 * 2**20  # about 30,000 guesses: what is older is passed over
_MOST_KEYS = 100  # of a participant
_LONGEST = 200  # letters of a key or a guess


class LessonGuesses:
    """The guesses in one file. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read: tuple[int, int] | None = None  # inode and size of what was read
        self._known: dict[str, dict[str, str]] = {}
        self._unwritten: dict[str, dict[str, str]] = {}

    def put(self, owner: str, key: str, guess: str | None) -> None:
        """Note a guess, or that it was taken back (None). One that the disk does not take is kept in memory."""
        values = {"owner": owner, "key": key, "guess": guess or "", "at": round(time.time(), 3)}
        # The line feed stands first as well: a torn line of somebody's must not take this one with it.
        line = f"\n{json.dumps(values)}\n".encode()
        try:
            with self._path.open("ab", buffering=0) as file:
                if file.write(line) != len(line):
                    raise OSError("the disk is full")
            with self._lock:
                self._unwritten.get(owner, {}).pop(key, None)
        except OSError as error:
            logger.warning("a guess could not be kept in %s: %s", self._path, error.strerror or error)
            with self._lock:
                self._unwritten.setdefault(owner, {})[key] = guess or ""

    def forget(self, owner: str) -> None:
        """Take back all that a participant guessed."""
        for key in self.of(owner):
            self.put(owner, key, None)

    def of(self, owner: str) -> dict[str, str]:
        """A participant's guesses by key; those that were taken back are left out."""
        with self._lock:
            self._follow()
            found = self._known.get(owner, {}) | self._unwritten.get(owner, {})
        return {key: guess for key, guess in found.items() if guess}

    def _follow(self) -> None:
        """Read the file again if it changed: it is small."""
        try:
            status = self._path.stat()
            if self._read == (status.st_ino, status.st_size):
                return
            with self._path.open("rb") as file:
                file.seek(max(status.st_size - _MOST_BYTES, 0))
                content = file.read(_MOST_BYTES)
        except OSError:  # not there yet, or not to be read
            return
        self._read, self._known = (status.st_ino, status.st_size), {}
        for line in content.splitlines():
            if (told := _parsed(line)) is not None:
                owner, key, guess = told
                own = self._known.setdefault(owner, {})
                if key in own or len(own) < _MOST_KEYS:
                    own[key] = guess


def _parsed(line: bytes) -> tuple[str, str, str] | None:
    """Owner, key and guess of a line; None for a line that is none."""
    try:
        values: dict[str, Any] = json.loads(line)
        told = (values["owner"], values["key"], values["guess"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return told if all(isinstance(each, str) and len(each) <= _LONGEST for each in told) else None
