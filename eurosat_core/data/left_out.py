"""What a set of tiles does without: one line for each kind of picture left out, however many there are."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["LeftOut", "Tally", "left_out_text"]

_KINDS_SHOWN = 3


@dataclass(frozen=True)
class LeftOut:
    """Pictures that were left out for one reason.

    reason: in a few words, the same for all of them. example: the first one; detail: what else is known of that one.
    unreadable: they should have been tiles; else they were left out on purpose, as pictures beside the tree are.
    """

    reason: str
    count: int = 1
    example: str = ""
    detail: str = ""
    unreadable: bool = True

    def __str__(self) -> str:
        if not self.example:
            return f"{self.count:,} {self.reason}"
        if self.count == 1:
            return f"{self.example}: {self.reason}{self.detail}"
        return f"{self.count:,} × {self.reason}, such as {self.example}{self.detail}"


class Tally:
    """Counts pictures that are left out, kind by kind."""

    def __init__(self, found: Iterable[LeftOut] = ()) -> None:
        self._kinds: dict[tuple[str, bool], LeftOut] = {}
        for each in found:
            self.add(each)

    def add(self, more: LeftOut) -> None:
        """Count it, or them, with the others of the kind, of which the first stays the example."""
        key = (more.reason, more.unreadable)
        first = self._kinds.get(key)
        if first is None:
            self._kinds[key] = more
        else:
            total = first.count + more.count
            self._kinds[key] = LeftOut(first.reason, total, first.example, first.detail, first.unreadable)

    def __iter__(self) -> Iterator[LeftOut]:
        return iter(sorted(self._kinds.values(), key=lambda each: -each.count))

    @property
    def count(self) -> int:
        """How many there are of all kinds."""
        return sum(each.count for each in self._kinds.values())

    def as_json(self) -> list[dict[str, Any]]:
        """For a file; `Tally(LeftOut(**each) for each in …)` reads it back."""
        return [asdict(each) for each in self]


def left_out_text(found: Iterable[LeftOut], separator: str = "; ") -> str:
    """The most frequent kinds, and how many more there are."""
    every = list(found)
    text = separator.join(str(each) for each in every[:_KINDS_SHOWN])
    more = sum(each.count for each in every[_KINDS_SHOWN:])
    return f"{text}{separator}{more:,} for other reasons" if more else text
