"""The room's labels: which guesses of the game a classifier learns from, and what came of it."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.runs.guesses import Guess

FIRST = 10  # labels, with which it begins
MOST = 600  # labels that it learns from, the first ones: one fit then takes about a second on one core


@dataclass(frozen=True)
class Point:
    """What the classifier gets right after so many labels: of the held-out tiles, by the room's and by the true ones.

    only_room, only_truth: how many of them only the one of both gets right.
    """

    labels: int
    room: float
    truth: float
    only_room: int
    only_truth: int


@dataclass(frozen=True)
class Learned:
    """points: the learning curve so far, with the most labels last. held_out: tiles it is judged on.

    ready, wanted: how many tiles' features there are of those it takes; with fewer there are no points. problem: why it
    cannot learn here, in a sentence.
    """

    points: tuple[Point, ...] = ()
    held_out: int = 0
    ready: int = 0
    wanted: int = 0
    problem: str = ""


def usable(guesses: Sequence[Guess], tiles: TileSet, held_out: Container[int]) -> tuple[Guess, ...]:
    """The first `MOST` guesses that can be learned from: of tiles there are, of classes there are, none held out."""
    classes = len(tiles.class_names)
    fit = (each for each in guesses if each.tile < len(tiles) and max(each.true, each.guessed) < classes)
    return tuple(each for each in fit if each.tile not in held_out)[:MOST]


def counts_on_curve(labels: int) -> tuple[int, ...]:
    """After how many labels the classifier is judged: 10, 20, 40, …, and after all of them; never below 10."""
    counts = []
    count = FIRST
    while count < labels:
        counts.append(count)
        count *= 2
    return (*counts, labels) if labels >= FIRST else ()
