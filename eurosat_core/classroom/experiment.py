"""One room, one experiment: each participant trains one value of a setting, so that everybody sees the spread.

What the instructor deals and who got what stand in two files beside the runs that only grow, so a restart loses
nothing. No two trainings of a deal are equal: a seed is dealt once, and whoever gets a value that another has trains it
with another seed.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.models.catalog import changed_baseline
from eurosat_core.models.layers import format_network
from eurosat_core.records import Book, Count, CountFromOne, Figure
from eurosat_core.training.config import SETTINGS, TrainConfig
from eurosat_core.training.recipes import recipes_of

Dealt = Literal["seed", "batch_size", "learning_rate", "width"]
"""A setting whose values are dealt; width: filters in the baseline's first layer, the second one in proportion."""

USUAL: dict[Dealt, str] = {
    "seed": "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
    "batch_size": "16, 64, 256",
    "learning_rate": "0.001, 0.01, 0.1",
    "width": "3, 6, 24",
}
"""Values to begin with, as they are typed."""

_MOST_VALUES = 40  # so that a line stays as short as a book takes it
_MOST_FILTERS = 64
_LONGEST_NETWORK = 2000  # characters, for the same reason
_LARGEST = 2**31 - 1
_SEEDS = 2**31
_Short = Annotated[str, Meta(max_length=80)]


@dataclass(frozen=True)
class Deal:
    """One experiment of the room.

    Attributes:
        number: From 1 on, in the order in which they were opened.
        setting: What is varied. values: What is dealt, in this order.
        base: All other settings.
        at: When it was opened or ended, in seconds since 1970.
        is_over: Whether nothing is dealt any more.
    """

    number: CountFromOne
    setting: Dealt
    values: Annotated[tuple[Figure, ...], Meta(min_length=1)]
    base: TrainConfig
    at: Figure
    is_over: bool = False

    def hand(self, place: int) -> tuple[float, int]:
        """Value and seed for whoever asks at this place, counted from 0."""
        if self.setting != "seed":
            turn, at = divmod(place, len(self.values))
            return self.values[at], (self.base.seed + turn) % _SEEDS
        beyond = place - len(self.values)  # the seeds after the largest
        seed = self.values[place] if beyond < 0 else (max(self.values) + 1 + beyond) % _SEEDS
        return seed, int(seed)

    def config(self, value: float, seed: int) -> TrainConfig:
        """What a value is trained with. Raises `ConfigError` with a sentence."""
        changes: dict[str, Any] = {"seed": seed}
        if self.setting == "width":
            if value != int(value) or not 1 <= value <= _MOST_FILTERS:
                raise ConfigError(f"The number of filters must be a whole number from 1 to {_MOST_FILTERS}.")
            filters = int(value), max(round(value * 16 / 6), 1)
            recipe = self.base.recipe if self.base.recipe in recipes_of("custom") else "fast"
            network = format_network(changed_baseline(filters))
            changes |= {"model": "custom", "network": network, "stem_pool": True, "recipe": recipe}
        elif self.setting != "seed":
            whole = SETTINGS[self.setting].kind is int and value == int(value)
            changes[self.setting] = int(value) if whole else value
        return replace(self.base, **changes).checked()


@dataclass(frozen=True)
class Hand:
    """What a participant got in a deal. place: in the order in which they asked, from 0 on. run: the newest one."""

    owner: _Short
    deal: CountFromOne
    place: Count
    run: _Short = ""


def numbers_in(typed: str) -> tuple[float, ...]:
    """Values as typed, with commas or spaces between them. Raises `ConfigError` with a sentence."""
    words = typed[:1000].replace(",", " ").split()
    try:
        values = tuple(float(each) for each in words)
    except ValueError:
        values = (-1.0,)
    if not all(0 <= each <= _LARGEST for each in values):
        raise ConfigError("Write numbers with commas between them, such as 1, 2, 3.")
    if len(set(values)) < len(values):
        raise ConfigError("You gave one value twice. Each is dealt to several people anyway, in turn.")
    if not 2 <= len(values) <= _MOST_VALUES:
        raise ConfigError(f"Deal out 2 to {_MOST_VALUES} values; you gave {len(values)}.")
    return values


class _Deals(Book):
    _line = Deal

    def all(self) -> list[Deal]:
        with self._lock:
            self._follow()
            return sorted(self._known.values(), key=lambda each: each.number)

    def note(self, record: Deal) -> Deal:
        self._note(record)
        return record

    def _take(self, record: Deal) -> None:
        self._known[record.number] = record


class _Hands(Book):
    _line = Hand

    def of(self, number: int) -> dict[str, Hand]:
        with self._lock:
            self._follow()
            return dict(self._known.get(number, {}))

    def note(self, record: Hand) -> Hand:
        self._note(record)
        return record

    def _take(self, record: Hand) -> None:
        self._known.setdefault(record.deal, {})[record.owner] = record


class Experiments:
    """All experiments of a room; one is open at a time. May be asked from any thread."""

    def __init__(self, folder: Path) -> None:
        self._deals = _Deals(folder / "deals.jsonl")
        self._hands = _Hands(folder / "hands.jsonl")
        self._changing = threading.Lock()

    def all(self) -> list[Deal]:
        """Every experiment, the first one first."""
        return self._deals.all()

    def current(self) -> Deal | None:
        """The one that is open, None between two."""
        newest = next(reversed(self._deals.all()), None)
        return None if newest is None or newest.is_over else newest

    def open(self, setting: Dealt, values: Sequence[float], base: TrainConfig) -> Deal:
        """Deal these values out. Raises `LabError` while another one is open, or for a value that cannot be trained."""
        with self._changing:
            if self.current() is not None:
                raise RunError("The room is still busy with another experiment. End that one first.")
            if len(base.network) > _LONGEST_NETWORK:
                raise ConfigError("This network is too long for an experiment of the room. Choose one of fewer layers.")
            number = max((each.number for each in self._deals.all()), default=0) + 1
            deal = Deal(number, setting, tuple(values), base, round(time.time(), 3))
            for place, value in enumerate(deal.values):
                if setting == "seed" and value != int(value):
                    raise ConfigError("A seed is a whole number.")
                deal.config(*deal.hand(place))
            return self._deals.note(deal)

    def end(self, number: int) -> None:
        """Deal out nothing more. Raises `RunError` when it is not open."""
        with self._changing:
            now = self.current()
            if now is None or now.number != number:
                raise RunError("This experiment has ended already.")
            self._deals.note(replace(now, is_over=True, at=round(time.time(), 3)))

    def deal_to(self, owner: str) -> Hand | None:
        """What a participant has in the open experiment: at the first time the next value; None between two."""
        now = self.current()
        if now is None:
            return None
        found = self._hands.of(now.number).get(owner)
        if found is not None:
            return found
        with self._changing:
            now = self.current()
            if now is None:
                return None
            dealt = self._hands.of(now.number)
            return dealt.get(owner) or self._hands.note(Hand(owner, now.number, len(dealt)))

    def trains(self, hand: Hand, run_id: str) -> None:
        """Note which run trains what a participant got."""
        self._hands.note(replace(hand, run=run_id))

    def hands(self, number: int) -> tuple[Hand, ...]:
        """What everybody got in an experiment, in the order in which they asked."""
        return tuple(sorted(self._hands.of(number).values(), key=lambda each: each.place))
