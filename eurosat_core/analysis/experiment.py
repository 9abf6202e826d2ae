"""What a room's experiment found: how far equal settings lie apart, and whether values differ by more than that."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eurosat_core.classroom.experiment import Deal, Hand
from eurosat_core.finding import Finding
from eurosat_core.runs.record import RunRecord

_ENOUGH = 3  # runs, before their standard deviation is told

# Runs of each of two values, before they are compared: were both equal, all of one value's runs would still be better
# than all of the other's in 2 of 252 cases.
_ENOUGH_OF_A_VALUE = 5


@dataclass(frozen=True)
class Dot:
    """One training that ended. accuracy: of the validation tiles, a fraction."""

    owner: str
    value: float
    seed: int
    accuracy: float


@dataclass(frozen=True)
class Group:
    """The trainings of one value (of all seeds, where seeds were dealt), the least accurate first."""

    value: float | None
    dots: tuple[Dot, ...]

    @property
    def low(self) -> float:
        """The smallest accuracy."""
        return self.dots[0].accuracy

    @property
    def high(self) -> float:
        """The largest accuracy."""
        return self.dots[-1].accuracy

    @property
    def mean(self) -> float:
        """The mean accuracy."""
        return statistics.mean(each.accuracy for each in self.dots)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the accuracy; None with fewer than three trainings."""
        return statistics.stdev(each.accuracy for each in self.dots) if len(self.dots) >= _ENOUGH else None


@dataclass(frozen=True)
class Result:
    """groups: in the order of their values, those without a training left out. people: how many got a value."""

    groups: tuple[Group, ...] = ()
    people: int = 0

    @property
    def finished(self) -> int:
        """How many trainings have ended with an accuracy."""
        return sum(len(each.dots) for each in self.groups)


def result(deal: Deal, hands: Sequence[Hand], records: Iterable[RunRecord]) -> Result:
    """What has ended so far. records: of all runs."""
    by_id = {each.id: each for each in records}
    ended = [(hand, by_id[hand.run]) for hand in hands if hand.run in by_id and _has_ended(by_id[hand.run])]
    # Of the tiles of whoever began: other tiles can have been opened meanwhile.
    tiles = next((record.tiles.fingerprint for _, record in ended), "")
    dots = [
        Dot(hand.owner, *deal.hand(hand.place), float(record.summary["val_accuracy"]))
        for hand, record in ended
        if record.tiles.fingerprint == tiles
    ]
    dots.sort(key=lambda each: each.accuracy)
    if deal.setting == "seed":
        return Result((Group(None, tuple(dots)),) if dots else (), len(hands))
    values = sorted({each.value for each in dots})
    groups = (Group(value, tuple(each for each in dots if each.value == value)) for value in values)
    return Result(tuple(groups), len(hands))


def _has_ended(record: RunRecord) -> bool:
    return record.state == "finished" and "val_accuracy" in record.summary


def outcome(deal: Deal, found: Result) -> Finding:
    """What the room found: `few`, `seeds`, `larger` or `same`.

    Two values differ where every run of the one is more accurate than every run of the other, so that the difference
    is larger than what seeds explain.
    """
    if deal.setting == "seed":
        if found.finished < _ENOUGH:
            return Finding("experiment.few.seeds", {"enough": _ENOUGH})
        seeds = found.groups[0]
        figures = {"runs": found.finished, "low": seeds.low, "high": seeds.high, "deviation": seeds.deviation}
        return Finding("experiment.seeds", {**figures, "spread": seeds.high - seeds.low})
    told = sorted((each for each in found.groups if len(each.dots) >= _ENOUGH_OF_A_VALUE), key=lambda each: each.mean)
    if len(told) < 2:
        return Finding("experiment.few.values", {"enough": _ENOUGH_OF_A_VALUE})
    worst, best = told[0], told[-1]
    kind = "larger" if best.low > worst.high else "same"
    named = {"best": f"{best.value:g}", "worst": f"{worst.value:g}"}
    spread = max(each.high - each.low for each in told)
    return Finding(f"experiment.{kind}", {**named, "gap": best.mean - worst.mean, "spread": spread})
