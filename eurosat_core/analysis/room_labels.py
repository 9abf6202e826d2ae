"""What can be said of the room's labels: what they teach a classifier, who disagrees, and where they are wrong."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from eurosat_core.data.pictures import class_titles
from eurosat_core.finding import Finding
from eurosat_core.runs.guesses import Guess

_LUCK = 0.05  # what luck reaches more seldom than this counts as a difference


@dataclass(frozen=True)
class ClassLabels:
    """The room's labels of one class's tiles: how many, how many name another class, and which one most often."""

    name: str
    labels: int
    wrong: int
    mistaken: str

    @property
    def share(self) -> float:
        """Of the labels that differ from the truth."""
        return self.wrong / self.labels


@dataclass(frozen=True)
class Disagreement:
    """shared: tiles that two people or more named; split: those of them that they named differently."""

    shared: int
    split: int


def by_class(guesses: Sequence[Guess], class_names: Sequence[str]) -> tuple[ClassLabels, ...]:
    """For each class with labels, the ones with the largest share of wrong labels first."""
    said: dict[int, Counter[int]] = defaultdict(Counter)
    for each in guesses:
        if max(each.true, each.guessed) < len(class_names):
            said[each.true][each.guessed] += 1
    rows = []
    for true, counts in said.items():
        wrong = {label: count for label, count in counts.items() if label != true}
        mistaken = class_names[max(wrong, key=lambda label: (wrong[label], -label))] if wrong else ""
        rows.append(ClassLabels(class_names[true], counts.total(), sum(wrong.values()), mistaken))
    return tuple(sorted(rows, key=lambda row: (-row.share, class_names.index(row.name))))


def disagreement(guesses: Sequence[Guess]) -> Disagreement:
    """How often people name the same tile differently; of one person's names for a tile the last one counts."""
    names: dict[int, dict[str, int]] = defaultdict(dict)
    for each in guesses:
        names[each.tile][each.owner] = each.guessed
    shared = [set(own.values()) for own in names.values() if len(own) > 1]
    return Disagreement(len(shared), sum(len(each) > 1 for each in shared))


def chance_of(only_one: int, only_other: int) -> float:
    """How often tossing a coin splits so many tiles at least as unevenly (McNemar's exact test): 0…1."""
    total, fewer = only_one + only_other, min(only_one, only_other)
    tail: float = sum(math.comb(total, count) for count in range(fewer + 1)) / 2**total
    return 1.0 if tail > 0.5 else 2 * tail


def learned(labels: int, room: float, truth: float, only_room: int, only_truth: int, held_out: int) -> Finding:
    """What the labels were worth beside the true ones: they `cost` accuracy, did `better`, or the `same`.

    room, truth: accuracies on so many held-out tiles; only_room, only_truth: how many of them only one got right.
    """
    figures = {"labels": labels, "room": room, "truth": truth, "held_out": held_out}
    if chance_of(only_room, only_truth) > _LUCK:
        return Finding("room_labels.learned.same", figures)
    if truth > room:
        return Finding("room_labels.learned.cost", {**figures, "lost": truth - room})
    return Finding("room_labels.learned.better", figures)


def begins(labels: int, first: int) -> Finding:
    """Too few labels to learn from. first: how many it takes."""
    return Finding("room_labels.begins", {"labels": labels, "more": first - labels, "first": first})


def agreed(found: Disagreement) -> Finding:
    """How far the people agree with each other."""
    if not found.shared:
        return Finding("room_labels.people.apart")
    kind = "split" if found.split else "agree"
    return Finding(f"room_labels.people.{kind}", {"shared": found.shared, "split": found.split})


def parted(rows: Sequence[ClassLabels]) -> Finding:
    """Where the room and the truth part most. rows: of `by_class`, at least one."""
    worst = rows[0]
    if not worst.wrong:
        return Finding("room_labels.truth.same", {"labels": sum(row.labels for row in rows)})
    titles = class_titles(tuple({row.name for row in rows} | {row.mistaken for row in rows if row.mistaken}))
    figures = {"wrong": sum(row.wrong for row in rows), "labels": sum(row.labels for row in rows)}
    worst_figures = {"worst": titles[worst.name], "share": worst.share, "mistaken": titles[worst.mistaken]}
    return Finding("room_labels.truth.parted", figures | worst_figures)
