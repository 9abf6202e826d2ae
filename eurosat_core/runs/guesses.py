"""What participants guessed: classes of tiles in the game, and answers to the lesson's questions.

One line per guess in files that only grow, added by any thread or process: a refresh or a lost connection must not lose
it. The game's file is followed like a run's events, and only the newest guesses are kept in memory; of the lesson's,
the newest line of a participant and a question counts.
"""

import json
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from cachetools import LRUCache
from msgspec import Meta, Struct

from eurosat_core.errors import RunError
from eurosat_core.records import Count, Figure, decoded

logger = logging.getLogger(__name__)

KEPT = 200  # newest guesses per participant and tile set
_PLAYERS = 1000  # participants times tile sets in memory
_MOST_BYTES = 8 * 2**20  # read at once, about 40,000 guesses: what is older is passed over
_LONGEST = 4096  # bytes of a line


@dataclass(frozen=True)
class Guess:
    """One answer: who, on which tile set (fingerprint), tile number, true and guessed label.

    seconds: how long it took. at: when, in seconds since 1970.
    """

    owner: str
    fingerprint: str
    tile: Count
    true: Count
    guessed: Count
    seconds: Figure
    at: Figure


class GuessBook:
    """The guesses in one file. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._inode = 0
        self._offset = 0
        self._guesses: LRUCache[tuple[str, str], deque[Guess]] = LRUCache(_PLAYERS)

    def add(self, owner: str, fingerprint: str, tile: int, true: int, guessed: int, seconds: float) -> None:
        """Note a guess. One that the disk does not take is kept in memory for as long as the server lives."""
        guess = Guess(owner, fingerprint, tile, true, guessed, round(seconds, 2), round(time.time(), 3))
        try:
            self._write(f"{json.dumps(asdict(guess))}\n".encode())
        except OSError as error:
            logger.warning("a guess could not be kept in %s: %s", self._path, error.strerror or error)
            with self._lock:
                self._follow()
                self._take(guess)

    def of(self, owner: str, fingerprint: str) -> tuple[Guess, ...]:
        """A participant's newest guesses on a tile set, at most `KEPT`, newest last."""
        with self._lock:
            self._follow()
            return tuple(self._guesses.get((owner, fingerprint), ()))

    def _write(self, line: bytes) -> None:
        """Append in one call, so that lines of several writers never mix."""
        with self._path.open("ab+", buffering=0) as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":  # somebody's line was torn: it must not take this one with it
                    line = b"\n" + line
            if file.write(line) != len(line):
                raise OSError("the disk is full")

    def _follow(self) -> None:
        """Take in what was added to the file since the last time; a torn last line waits for its rest."""
        try:
            status = self._path.stat()
            if status.st_ino != self._inode or status.st_size < self._offset:  # another file, or one begun anew
                self._inode, self._offset = status.st_ino, 0
                self._guesses.clear()
            if status.st_size == self._offset:
                return
            start = max(self._offset, status.st_size - _MOST_BYTES)
            with self._path.open("rb") as file:
                file.seek(start)
                added = file.read(_MOST_BYTES)
        except OSError:  # not there yet, or not to be read
            return
        whole = added.rfind(b"\n") + 1
        if not whole and len(added) > _LONGEST:  # no line of ours: it would be read again and again
            whole = len(added)
        self._offset = start + whole
        for line in added[:whole].splitlines():
            if len(line) <= _LONGEST:
                with suppress(RunError):  # a line that is no guess
                    self._take(_parsed(line))

    def _take(self, guess: Guess) -> None:
        self._guesses.setdefault((guess.owner, guess.fingerprint), deque(maxlen=KEPT)).append(guess)


def _parsed(line: bytes) -> Guess:
    """The guess in a line. Raises `RunError` for a line that is none."""
    return decoded(Guess, line, "This is not a guess.", known_only=True)


_MOST_LESSON_BYTES = 4 * 2**20  # about 30,000 guesses: what is older is passed over
_MOST_KEYS = 100  # of a participant
_Short = Annotated[str, Meta(max_length=200)]


class _Answer(Struct):
    """What a line says: a participant's guess about a question of the lesson (key), empty when it was taken back."""

    owner: _Short
    key: _Short
    guess: _Short


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
                file.seek(max(status.st_size - _MOST_LESSON_BYTES, 0))
                content = file.read(_MOST_LESSON_BYTES)
        except OSError:  # not there yet, or not to be read
            return
        self._read, self._known = (status.st_ino, status.st_size), {}
        for line in content.splitlines():
            with suppress(RunError):  # a line that is no guess
                answer = decoded(_Answer, line, "This is not a guess.")
                own = self._known.setdefault(answer.owner, {})
                if answer.key in own or len(own) < _MOST_KEYS:
                    own[answer.key] = answer.guess
