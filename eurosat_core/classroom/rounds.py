"""Ask the room: everybody commits, talks with a neighbour, commits again, and then the machine measures.

That is peer instruction (Mazur, 1997; Crouch and Mazur, 2001). A round is about one question of the lesson. What the
instructor did with it and who voted stand in two files beside the runs that only grow, so a restart loses nothing.
"""

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from eurosat_core.errors import RunError
from eurosat_core.records import Book, CountFromOne, Figure

Phase = Literal["first", "talk", "second", "shown", "closed"]
PHASES: tuple[Phase, ...] = ("first", "talk", "second", "shown", "closed")
"""In their order: a vote, talking with a neighbour, a second vote, what was measured, over."""

_Short = Annotated[str, Meta(max_length=200)]
_Long = Annotated[str, Meta(max_length=1000)]


@dataclass(frozen=True)
class Round:
    """One question put to the room.

    Attributes:
        number: From 1 on, in the order in which they were opened.
        question: Its key in the guess book.
        phase: How far it is.
        at: When that phase began, in seconds since 1970.
        hidden: Whether nobody sees the votes while they are cast.
        right: The choice that the measurement confirmed; empty before, and where nothing was measured.
        measured: What was measured, as it was shown.
    """

    number: CountFromOne
    question: _Short
    phase: Phase
    at: Figure
    hidden: bool = False
    right: _Short = ""
    measured: _Long = ""

    @property
    def turn(self) -> int:
        """1 or 2 while the first or the second vote is open, else 0."""
        return {"first": 1, "second": 2}.get(self.phase, 0)


@dataclass(frozen=True)
class Vote:
    """What a participant answered. turn: 1 or 2. sure: 1 (guessing), 2 (fairly sure) or 3 (certain)."""

    owner: _Short
    round: CountFromOne
    turn: Annotated[int, Meta(ge=1, le=2)]
    guess: _Short
    sure: Annotated[int, Meta(ge=1, le=3)]
    at: Figure


class _Rounds(Book):
    _line = Round

    def all(self) -> list[Round]:
        with self._lock:
            self._follow()
            return sorted(self._known.values(), key=lambda each: each.number)

    def note(self, record: Round) -> Round:
        self._note(record)
        return record

    def _take(self, record: Round) -> None:
        self._known[record.number] = record


class _Votes(Book):
    _line = Vote

    def note(self, record: Vote) -> None:
        self._note(record)

    def of(self, number: int) -> dict[tuple[int, str], Vote]:
        with self._lock:
            self._follow()
            return dict(self._known.get(number, {}))

    def _take(self, record: Vote) -> None:
        self._known.setdefault(record.round, {})[record.turn, record.owner] = record


class Rounds:
    """All rounds of a room and the votes in them; one round is open at a time. May be asked from any thread."""

    def __init__(self, folder: Path) -> None:
        self._rounds = _Rounds(folder / "rounds.jsonl")
        self._votes = _Votes(folder / "votes.jsonl")
        self._changing = threading.Lock()

    def all(self) -> list[Round]:
        """Every round, the first one first."""
        return self._rounds.all()

    def current(self) -> Round | None:
        """The round that is open, None between two."""
        newest = next(reversed(self._rounds.all()), None)
        return None if newest is None or newest.phase == "closed" else newest

    def open(self, question: str, hidden: bool = False) -> Round:
        """Put a question to the room. Raises `RunError` while another one is open."""
        with self._changing:
            if self.current() is not None:
                raise RunError("The room is still busy with another question. Close that one first.")
            number = max((each.number for each in self._rounds.all()), default=0) + 1
            return self._rounds.note(Round(number, question, "first", round(time.time(), 3), hidden))

    def go(self, number: int, phase: Phase, right: str = "", measured: str = "") -> Round:
        """Move an open round on, to any later phase: the talk and the second vote may be left out.

        Raises `RunError` when it is not open, or that far already.
        """
        with self._changing:
            now = self.current()
            if now is None or now.number != number or PHASES.index(phase) <= PHASES.index(now.phase):
                raise RunError("This round has moved on meanwhile. Look where it is now.")
            if phase == "shown":
                now = replace(now, right=right, measured=measured)
            return self._rounds.note(replace(now, phase=phase, at=round(time.time(), 3)))

    def vote(self, owner: str, number: int, turn: int, guess: str, sure: int) -> None:
        """Note an answer in the first or second vote; the newest counts. Raises `RunError` when that vote is over."""
        with self._changing:
            now = self.current()
            if now is None or now.number != number or now.turn != turn or not turn:
                raise RunError("That vote is over, so your answer does not count any more.")
            self._votes.note(Vote(owner, number, turn, guess, sure, round(time.time(), 3)))

    def newest_votes(self, now: Round) -> dict[str, Vote]:
        """Those of the vote that is open, or else of the last one in which anybody voted, by owner."""
        return self.votes(now.number, now.turn or 2) or ({} if now.turn else self.votes(now.number, 1))

    def votes(self, number: int, turn: int) -> dict[str, Vote]:
        """The newest vote of each participant in one turn of a round, by owner."""
        return {owner: each for (cast, owner), each in self._votes.of(number).items() if cast == turn}
