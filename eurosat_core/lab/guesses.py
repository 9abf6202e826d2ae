"""What participants guessed in the game, on disk: one line per guess, added by any thread or process.

The file only grows; it is followed like a run's events, and a server keeps only the newest guesses in memory.
"""

import json
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["KEPT", "Guess", "GuessBook"]

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
    tile: int
    true: int
    guessed: int
    seconds: float
    at: float


class GuessBook:
    """The guesses in one file. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._inode = 0
        self._offset = 0
        self._guesses: OrderedDict[tuple[str, str], deque[Guess]] = OrderedDict()  # the latest to guess come last

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
            if len(line) <= _LONGEST and (guess := _parsed(line)) is not None:
                self._take(guess)

    def _take(self, guess: Guess) -> None:
        key = (guess.owner, guess.fingerprint)
        self._guesses.setdefault(key, deque(maxlen=KEPT)).append(guess)
        self._guesses.move_to_end(key)
        if len(self._guesses) > _PLAYERS:
            self._guesses.popitem(last=False)


def _parsed(line: bytes) -> Guess | None:
    """The guess in a line; None for a line that is none."""
    try:
        values: dict[str, Any] = json.loads(line)
        guess = Guess(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (guess.owner, guess.fingerprint)
    labels = (guess.tile, guess.true, guess.guessed)
    figures = (guess.seconds, guess.at)
    if not all(isinstance(each, str) for each in texts):
        return None
    if not all(type(each) is int and each >= 0 for each in labels):
        return None
    return guess if all(type(each) in (int, float) and math.isfinite(each) for each in figures) else None
