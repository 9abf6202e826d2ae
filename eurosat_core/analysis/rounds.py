"""What the room answered: votes per choice, and what talking to a neighbour changed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eurosat_core.classroom.rounds import Vote
from eurosat_core.finding import Finding


@dataclass(frozen=True)
class Bar:
    """One choice: how many took it in the first and in the second vote. Counts only, no names."""

    choice: str
    first: int
    second: int
    is_right: bool


def bars(
    choices: Sequence[str], first: Mapping[str, Vote], second: Mapping[str, Vote], right: str = ""
) -> tuple[Bar, ...]:
    """A bar for each choice. first, second: the votes of both turns, by owner. right: the choice that was measured."""
    before, after = (Counter(each.guess for each in votes.values()) for votes in (first, second))
    return tuple(Bar(each, before[each], after[each], each == right) for each in choices)


def gain(first: Mapping[str, Vote], second: Mapping[str, Vote], right: str) -> Finding:
    """What the talk changed, among those who voted twice.

    The normalized gain is (after - before) / (1 - before), of the shares that were right: the part of what could still
    be learned that was learned (Hake, American Journal of Physics 66, 1998).
    """
    if not right:
        return Finding("rounds.unmeasured")
    both = sorted(first.keys() & second.keys())
    if not both:
        votes = second or first
        if not votes:
            return Finding("rounds.nobody")
        return Finding("rounds.once", {"right": _right(votes.values(), right), "votes": len(votes)})
    before, after = (_right((votes[each] for each in both), right) for votes in (first, second))
    figures = {"before": before, "after": after, "votes": len(both)}
    if before == len(both):
        return Finding("rounds.knew" if after == len(both) else "rounds.lost", figures)
    kind = "up" if after > before else "down" if after < before else "same"
    return Finding(f"rounds.{kind}", {**figures, "gain": (after - before) / (len(both) - before)})


def sureness(votes: Mapping[str, Vote], right: str) -> tuple[int, int] | None:
    """Of those who were certain: how many were right, and how many they are; None if nobody was."""
    certain = [each for each in votes.values() if each.sure == 3]
    return (_right(certain, right), len(certain)) if certain and right else None


def _right(votes: Iterable[Vote], right: str) -> int:
    return sum(each.guess == right for each in votes)
