"""Who leads: everybody's trainings that were judged on the same validation tiles, by accuracy and by what it cost."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import Architecture

Cost = Literal["seconds", "parameters"]

# Two trainings that agree in these, and in the tile set, were judged on the same tiles.
_SPLIT = ("split", "seed", "train_fraction", "tiles", "stratified", "sealed_test")


@dataclass(frozen=True)
class Entry:
    """One training. owner: whose. model: its title. accuracy: of the validation tiles, a fraction."""

    owner: str
    run_id: str
    model: str
    accuracy: float
    seconds: float
    parameters: int


@dataclass(frozen=True)
class Board:
    """The trainings that can be compared, the most accurate first; others: how many were judged on other tiles."""

    entries: tuple[Entry, ...] = ()
    others: int = 0

    def best_of_each(self) -> tuple[Entry, ...]:
        """Everybody's most accurate one, in the same order."""
        best: dict[str, Entry] = {}
        for each in self.entries:
            best.setdefault(each.owner, each)
        return tuple(best.values())

    def front(self, cost: Cost) -> frozenset[str]:
        """Ids of those that none beats both in accuracy and in cost (the Pareto front)."""

        def is_beaten(each: Entry) -> bool:
            own = getattr(each, cost)
            return any(
                other.accuracy >= each.accuracy
                and getattr(other, cost) <= own
                and (other.accuracy, -getattr(other, cost)) != (each.accuracy, -own)
                for other in self.entries
            )

        return frozenset(each.run_id for each in self.entries if not is_beaten(each))


def board(records: Iterable[RunRecord], parameters: Callable[[Architecture], int]) -> Board:
    """Of the trainings that ended here, those of the split that most people used; of two, the newer one.

    records: of all runs. parameters: how many a network has.
    """
    judged = [each for each in records if _is_judged(each)]
    people: Counter[tuple[object, ...]] = Counter()
    for key, _ in {(_tiles(each), each.owner) for each in judged}:
        people[key] += 1
    newest = {_tiles(each): each.created for each in sorted(judged, key=lambda each: each.created)}
    chosen = max(people, key=lambda key: (people[key], newest[key]), default=None)
    entries = [_entry(each, parameters) for each in judged if _tiles(each) == chosen]
    ranked = sorted(entries, key=lambda each: (-each.accuracy, each.seconds))
    return Board(tuple(ranked), len(judged) - len(entries))


def _is_judged(record: RunRecord) -> bool:
    ended = record.kind == "train" and not record.is_active and not record.recorded_on
    return ended and record.summary.get("seconds", 0) > 0 and "val_accuracy" in record.summary


def _tiles(record: RunRecord) -> tuple[object, ...]:
    return (record.tiles.fingerprint, *(getattr(record.config, name) for name in _SPLIT))


def _entry(record: RunRecord, parameters: Callable[[Architecture], int]) -> Entry:
    config, summary = record.config, record.summary
    accuracy, seconds = float(summary["val_accuracy"]), float(summary["seconds"])
    title = CATALOG[config.model].title if config.model in CATALOG else "Own network"
    return Entry(record.owner, record.id, title, accuracy, seconds, parameters(config.architecture))


def ranks(entries: Sequence[Entry]) -> tuple[int, ...]:
    """The rank of each by accuracy, from 1 on; equal ones share it (1, 2, 2, 4)."""
    return tuple(1 + sum(other.accuracy > each.accuracy for other in entries) for each in entries)
