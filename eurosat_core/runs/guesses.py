"""What participants guessed: classes of tiles in the game, and answers to the lesson's questions.

One line per guess in files that only grow, added by any thread or process: a refresh or a lost connection must not lose
it. They are followed like a run's events. Of the game's guesses only the newest are kept in memory; of the lesson's,
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
from typing import Annotated, Any, ClassVar

from cachetools import LRUCache
from msgspec import Meta

from eurosat_core.errors import RunError
from eurosat_core.records import Count, Figure, decoded, lines_after

logger = logging.getLogger(__name__)

KEPT = 200  # newest guesses per participant and tile set
_PLAYERS = 1000  # in memory: participants, in the game times tile sets
_MOST_BYTES = 8 * 2**20  # read at once, about 40,000 guesses: what is older is passed over
_LONGEST = 4096  # bytes of a line
_MOST_KEYS = 100  # of a participant


class _Book:
    """The records in one file. Safe to use from several threads and processes."""

    _line: ClassVar[type[Any]]  # what a line holds

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._inode = 0
        self._offset = 0
        self._known: LRUCache[Any, Any] = LRUCache(_PLAYERS)

    def _take(self, record: Any) -> None:
        """Keep a record that was read, in `_known`."""
        raise NotImplementedError

    def _note(self, record: Any) -> None:
        """Add a record. One that the disk does not take is kept in memory for as long as the server lives."""
        try:
            self._write(f"{json.dumps(asdict(record))}\n".encode())
        except OSError as error:
            logger.warning("a guess could not be kept in %s: %s", self._path, error.strerror or error)
            with self._lock:
                self._follow()
                self._take(record)

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
        except OSError:  # not there yet, or not to be read
            return
        if status.st_ino != self._inode or status.st_size < self._offset:  # another file, or one begun anew
            if self._inode:
                self._known.clear()
            self._inode, self._offset = status.st_ino, 0
        if status.st_size == self._offset:
            return
        start = max(self._offset, status.st_size - _MOST_BYTES)
        added = lines_after(self._path, start, _MOST_BYTES, _LONGEST)
        self._offset = start + len(added)
        for line in added.splitlines():
            if len(line) <= _LONGEST:
                with suppress(RunError):  # a line that is no guess
                    self._take(decoded(self._line, line, "This is not a guess.", known_only=True))


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


class GameGuesses(_Book):
    """The game's guesses in one file."""

    _line = Guess

    def add(self, owner: str, fingerprint: str, tile: int, true: int, guessed: int, seconds: float) -> None:
        """Note a guess."""
        self._note(Guess(owner, fingerprint, tile, true, guessed, round(seconds, 2), round(time.time(), 3)))

    def of(self, owner: str, fingerprint: str) -> tuple[Guess, ...]:
        """A participant's newest guesses on a tile set, at most `KEPT`, newest last."""
        with self._lock:
            self._follow()
            return tuple(self._known.get((owner, fingerprint), ()))

    def _take(self, record: Guess) -> None:
        self._known.setdefault((record.owner, record.fingerprint), deque(maxlen=KEPT)).append(record)


_Short = Annotated[str, Meta(max_length=200)]


@dataclass(frozen=True)
class _Answer:
    """A participant's guess about a question of the lesson (key), empty when it was taken back. at: as in `Guess`."""

    owner: _Short
    key: _Short
    guess: _Short
    at: Figure


class LessonGuesses(_Book):
    """The lesson's guesses in one file."""

    _line = _Answer

    def put(self, owner: str, key: str, guess: str | None) -> None:
        """Note a guess, or that it was taken back (None)."""
        self._note(_Answer(owner, key, guess or "", round(time.time(), 3)))

    def forget(self, owner: str) -> None:
        """Take back all that a participant guessed."""
        for key in self.of(owner):
            self.put(owner, key, None)

    def of(self, owner: str) -> dict[str, str]:
        """A participant's guesses by key; those that were taken back are left out."""
        with self._lock:
            self._follow()
            return {key: guess for key, guess in self._known.get(owner, {}).items() if guess}

    def _take(self, record: _Answer) -> None:
        own = self._known.setdefault(record.owner, {})
        if record.key in own or len(own) < _MOST_KEYS:
            own[record.key] = record.guess
