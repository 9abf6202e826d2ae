"""What participants guessed: classes of tiles in the game, and answers to the lesson's questions.

One line per guess in files that only grow, added by any thread or process: a refresh or a lost connection must not lose
it. They are followed like a run's events. Of the game's guesses only the newest are kept in memory; of the lesson's,
the newest line of a participant and a question counts.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from eurosat_core.records import Book, Count, Figure

KEPT = 200  # newest guesses per participant and tile set
_MOST_KEYS = 100  # of a participant


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


class GameGuesses(Book):
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

    def of_all(self, fingerprint: str, since: float = 0.0) -> tuple[Guess, ...]:
        """Everybody's newest guesses on a tile set from a time on, in the order in which they came."""
        with self._lock:
            self._follow()
            kept = [own for (_, of), own in self._known.items() if of == fingerprint]
            return tuple(sorted((each for own in kept for each in own if each.at >= since), key=lambda each: each.at))

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


class LessonGuesses(Book):
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
