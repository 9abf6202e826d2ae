"""The game "Be the classifier": ten tiles to be named, and what the answers say."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from eurosat_core import wording
from eurosat_core.data.pictures import class_titles
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.finding import Finding
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.guesses import KEPT, Guess
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.evaluation import Evaluation, evaluate_predictions

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

TILES = 10  # in one game
SHARED = 3  # of them, at most, that others named before: only then can a room disagree
HELD_OUT = 300  # tiles that no game shows: whoever learns from the room's answers is judged on them
_HELD_OUT_SHARE = 4  # one tile in so many, at most
_HELD_OUT_SEED = 21
_DOUBLE_CLICK = 0.2  # seconds: nobody has looked at a tile by then
_LUCK = 0.05  # what luck reaches more seldom than this is called better than chance


@dataclass(frozen=True)
class Score:
    """How a game went: tiles named rightly, named at all, passed over; how many classes there were to choose from.

    seconds: from the start to the last answer.
    """

    right: int
    answered: int
    skipped: int
    classes: int
    seconds: float

    @property
    def chance(self) -> float:
        """The share of right answers that guessing gets."""
        return 1 / self.classes

    @property
    def luck(self) -> float:
        """How often guessing does at least as well: 0…1, of all games of so many answers."""
        hit, miss = self.chance, 1 - self.chance
        return sum(
            math.comb(self.answered, right) * hit**right * miss ** (self.answered - right)
            for right in range(self.right, self.answered + 1)
        )


@dataclass(frozen=True)
class Game:
    """One game: numbers and true labels of its tiles, and the answers so far, None for a tile that was skipped.

    Times are readings of one clock, in seconds: when the game began, when the last answer came, and when the tile that
    is to be named now was drawn (before that: when an earlier one was).
    """

    fingerprint: str
    tiles: tuple[int, ...]
    true: tuple[int, ...]
    classes: int
    began: float
    turned: float
    shown: float
    answers: tuple[int | None, ...] = ()

    @property
    def at(self) -> int:
        """Position of the tile that is to be named now."""
        return len(self.answers)

    @property
    def is_over(self) -> bool:
        """Whether all tiles were named or skipped."""
        return self.at >= len(self.tiles)

    def seen(self, now: float) -> "Game":
        """The game once its tile has been drawn; the same game when it was drawn before."""
        return self if self.shown > self.turned else replace(self, shown=now)

    def answered(self, at: int, label: int | None, now: float) -> "Game":
        """The game after an answer (None: skipped) to its tile `at`; the same game when that is not the tile shown.

        The second half of a double click would else name the next tile, which nobody has seen.
        """
        if self.is_over or at != self.at or now - max(self.shown, self.turned) < _DOUBLE_CLICK:
            return self
        return replace(self, answers=(*self.answers, label), turned=now)

    def mistakes(self) -> tuple[tuple[int, int, int], ...]:
        """Tile number, true and guessed label of every wrong answer."""
        rows = zip(self.tiles, self.true, self.answers, strict=False)
        return tuple((tile, true, said) for tile, true, said in rows if said is not None and said != true)

    def score(self) -> Score:
        """How it went so far."""
        said = sum(each is not None for each in self.answers)
        right = said - len(self.mistakes())
        return Score(right, said, self.at - said, self.classes, self.turned - self.began)


def classes_to_guess(tiles: TileSet) -> tuple[int, ...]:
    """Labels of the classes that have tiles: what can be chosen. With fewer than two there is nothing to guess."""
    return tuple(label for label, count in enumerate(tiles.counts.values()) if count)


def held_out(tiles: TileSet) -> "npt.NDArray[np.int64]":
    """Numbers of the tiles that no game shows, of the classes about evenly, always the same ones of a set.

    None of a set too small to spare them.
    """
    if len(tiles) < _HELD_OUT_SHARE * HELD_OUT:
        return np.empty(0, dtype=np.int64)
    generator = np.random.default_rng(_HELD_OUT_SEED)
    numbers, labels = tiles.labels.numpy(), classes_to_guess(tiles)
    members = [generator.permutation(np.flatnonzero(numbers == label)) for label in labels]
    each = max(HELD_OUT // len(labels), 1)
    return np.sort(np.concatenate([own[: min(each, len(own) // _HELD_OUT_SHARE)] for own in members]))


def new_game(tiles: TileSet, seed: int, now: float, shared: Sequence[int] = ()) -> Game:
    """Up to ten different tiles at random, from the classes about evenly; up to `SHARED` of them from these numbers."""
    generator = np.random.default_rng(seed)
    numbers, labels = tiles.labels.numpy().copy(), classes_to_guess(tiles)
    numbers[held_out(tiles)] = -1
    counts = [int((numbers == label).sum()) for label in range(len(tiles.class_names))]
    wanted = min(TILES, sum(counts))
    # One more of each class than needed: with exactly one of each, the last tiles could be named by elimination.
    most = -(-wanted // len(labels)) + 1
    deck: list[int] = []
    while len(deck) < wanted:  # classes with few tiles leave more to the others
        deck = [label for label in labels for _ in range(min(most, counts[label]))]
        most *= 2
    true = generator.permutation(deck)[:wanted].tolist()
    stock = {label: generator.permutation(np.flatnonzero(numbers == label)).tolist() for label in sorted(set(true))}
    for tile in _some_of(shared, true, numbers, generator):
        own = stock[int(numbers[tile])]
        own.remove(tile)
        own.append(tile)  # the end is drawn first
    drawn = tuple(stock[label].pop() for label in true)
    return Game(tiles.fingerprint, drawn, tuple(true), len(labels), now, now, now)


def _some_of(
    shared: Sequence[int], true: Sequence[int], numbers: "npt.NDArray[np.int64]", generator: np.random.Generator
) -> list[int]:
    """Up to `SHARED` different tiles of `shared`, each for one of the classes that the game asks for."""
    places = Counter(true)
    chosen: list[int] = []
    for tile in generator.permutation(sorted(set(shared))).tolist():
        if tile < len(numbers) and places[int(numbers[tile])] and len(chosen) < SHARED:
            places[int(numbers[tile])] -= 1
            chosen.append(int(tile))
    return chosen


def evaluate_guesses(guesses: Sequence[Guess], class_names: Sequence[str]) -> Evaluation | None:
    """Accuracy and confusions of guesses on one tile set; None without any."""
    labels = range(len(class_names))
    rows = [(each.true, each.guessed) for each in guesses if each.true in labels and each.guessed in labels]
    if not rows:
        return None
    import torch

    true, guessed = torch.tensor(rows).T
    return evaluate_predictions(true, guessed, class_names)


def confusion_frame(evaluation: Evaluation) -> "pd.DataFrame":
    """Every pair of the classes that occur in the guesses: true, guessed (in words), tiles, kind.

    kind: `right`, `wrong`, or `none` for a pair that did not occur.
    """
    import pandas as pd

    counts = np.array(evaluation.confusion)
    occurring = np.flatnonzero(counts.sum(0) + counts.sum(1)).tolist()
    titles = class_titles(evaluation.class_names)
    words = [titles[name] for name in evaluation.class_names]
    rows = [
        (words[true], words[said], count, ("right" if true == said else "wrong") if count else "none")
        for true in occurring
        for said in occurring
        for count in [evaluation.confusion[true][said]]
    ]
    return pd.DataFrame(rows, columns=["true", "guessed", "tiles", "kind"])


def outcome(score: Score, *, synthetic: bool) -> Finding:
    """*What you just saw*: it may be `luck`, it is `better`, or nothing was `answered`."""
    if not score.answered:
        return Finding("game.skipped")
    expected = score.answered * score.chance
    figures = {"right": score.right, "answered": score.answered, "expected": expected}
    figures |= {"chance": score.chance, "luck": score.luck}
    then = (Finding("game.synthetic"),) if synthetic else ()
    is_all = score.right == score.answered
    if score.luck > _LUCK:
        variant = "all" if is_all else "above" if score.right > expected + 1 else "below"
        return Finding(f"game.luck.{variant}", figures, then)
    return Finding(f"game.better.{'all' if is_all else 'some'}", figures, then)


def mix_ups(evaluation: Evaluation) -> Finding:
    """The accuracy over all guesses on these tiles, and the most frequent mix-up."""
    found = evaluation.most_confused()
    guesses = "one" if evaluation.tiles == 1 else "newest" if evaluation.tiles >= KEPT else "all"
    figures = {"guesses": Finding(f"game.phrase.{guesses}", {"tiles": evaluation.tiles})}
    if found is None:
        return Finding("game.mix_ups.none", figures)
    true, said, times = found
    titles = class_titles(evaluation.class_names)
    about = {"accuracy": evaluation.accuracy, "true": titles[true], "said": titles[said], "times": times}
    return Finding("game.mix_ups.some", figures | about)


def mix_up_table(evaluation: Evaluation, most: int = 10) -> "pd.DataFrame":
    """The most frequent mix-ups in words, for classes too many to be drawn as a chart."""
    import pandas as pd

    titles = [class_titles(evaluation.class_names)[name] for name in evaluation.class_names]
    counts = np.array(evaluation.confusion)
    np.fill_diagonal(counts, 0)
    pairs = sorted(np.argwhere(counts).tolist(), key=lambda pair: -counts[pair[0], pair[1]])[:most]
    rows = [(titles[true], titles[said], wording.often(int(counts[true, said]))) for true, said in pairs]
    return pd.DataFrame(rows, columns=["true class", "what you said", "how often"])


def network_meanwhile(records: Iterable[RunRecord], seconds: float) -> Finding | None:
    """How far a network would have come in the same time, by the newest finished run; None when none was measured.

    records: newest first. Of one on a kept frozen part only the last layer's rate is known, so it is passed over.
    """
    for record in records:
        rate = record.summary.get("tiles_per_second", 0.0)
        if (record.kind, record.state) != ("train", "finished") or record.config.model not in CATALOG:
            continue
        if not 0 < rate < math.inf or record.recorded_on or record.config.source == "features":
            continue
        tiles = int(float(f"{rate * seconds:.2g}"))
        if tiles < 1:
            return None
        figures = {"seconds": seconds, "tiles": tiles, "title": CATALOG[record.config.model].title}
        figures |= {"device": record.config.device, "rate": rate}
        return Finding(f"game.meanwhile.{'busy' if record.company else 'alone'}", figures)
    return None
