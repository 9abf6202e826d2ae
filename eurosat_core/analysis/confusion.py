"""What several classifiers mistake for what: confusion matrices side by side and as difference, and the tiles behind.

A classifier is a run's network or the participant: whoever has an `Evaluation` (`contenders.classifiers`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from eurosat_core import wording
from eurosat_core.analysis.contenders import Contender
from eurosat_core.analysis.training import Mistake, surest_mistakes
from eurosat_core.data.pictures import class_titles
from eurosat_core.training.evaluation import Evaluation, Predictions


@dataclass(frozen=True)
class Answer:
    """What one run said about a tile: the class by name, and how sure it was (0…1)."""

    label: str
    said: str
    confidence: float
    is_right: bool


@dataclass(frozen=True)
class Disagreement:
    """Two runs on the tiles that both were judged on. first, second: numbers of the tiles that only this one got right.

    They come in the order in which the other one was sure of its mistake, surest first.
    """

    tiles: int
    both_right: int
    both_wrong: int
    first: tuple[int, ...]
    second: tuple[int, ...]


def _titles(evaluation: Evaluation) -> list[str]:
    titles = class_titles(evaluation.class_names)
    return [titles[name] for name in evaluation.class_names]


def confusion_cells(classifiers: Mapping[str, Evaluation]) -> pd.DataFrame:
    """All cells of all matrices: classifier, true, said (in words), tiles, share, kind.

    share: of the tiles of the true class; not a number where there are none. kind: `right`, `wrong`, or `none` for a
    mistake that was not made.
    """
    rows = []
    for label, evaluation in classifiers.items():
        titles = _titles(evaluation)
        for true, counts in enumerate(evaluation.confusion):
            total = sum(counts)
            for said, tiles in enumerate(counts):
                kind = "none" if not tiles else "right" if true == said else "wrong"
                share = tiles / total if total else math.nan
                rows.append((label, titles[true], titles[said], tiles, share, kind))
    frame = pd.DataFrame(rows, columns=["classifier", "true", "said", "tiles", "share", "kind"])
    return frame.astype({"tiles": int, "share": float})


def confusion_difference(first: Evaluation, second: Evaluation) -> pd.DataFrame:
    """The second matrix less the first: true, said (in words), difference, gain, tiles_first, tiles_second, kind.

    difference: of shares of the true class, so the two may have been judged on different numbers of tiles. gain: the
    same, above 0 where the second is better (more right answers, or fewer mistakes). kind: `better`, `worse`, `same`,
    or `unknown` where one of them had no tile of the class (the figures are then not numbers).
    """
    titles = _titles(first)
    rows = []
    for true, (before, after) in enumerate(zip(first.confusion, second.confusion, strict=True)):
        known = sum(before) > 0 and sum(after) > 0
        for said in range(len(titles)):
            change = after[said] / sum(after) - before[said] / sum(before) if known else math.nan
            gain = change if true == said else -change
            kind = "unknown" if not known else "same" if change == 0 else "better" if gain > 0 else "worse"
            rows.append((titles[true], titles[said], change, gain, before[said], after[said], kind))
    columns = ["true", "said", "difference", "gain", "tiles_first", "tiles_second", "kind"]
    return pd.DataFrame(rows, columns=columns).astype({"difference": float, "gain": float})


def confused_pairs(classifiers: Mapping[str, Evaluation], most: int = 10) -> pd.DataFrame:
    """The most frequent mistakes of all: pair (`River called Highway`), true, said, classifier, tiles, share.

    A row for every classifier and pair, the pair with the largest share of its class at any of them first.
    """
    cells = confusion_cells(classifiers)
    wrong = cells[cells["true"] != cells["said"]]
    worst = wrong.groupby(["true", "said"], sort=False)["share"].max()
    worst = worst[worst > 0].sort_values(ascending=False, kind="stable").head(most)
    rank = {pair: place for place, pair in enumerate(worst.index)}
    ranks = [float(rank.get(pair, math.nan)) for pair in zip(wrong["true"], wrong["said"], strict=True)]
    wrong = wrong.assign(rank=ranks)
    wrong = wrong.dropna(subset=["rank"]).sort_values("rank", kind="stable", ignore_index=True)
    pairs = [f"{true} called {said}" for true, said in zip(wrong["true"], wrong["said"], strict=True)]
    return wrong.assign(pair=pairs)[["pair", "true", "said", "classifier", "tiles", "share"]]


def score_frame(classifiers: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Precision, recall and F1: classifier, name, title, precision, recall, f1, tiles, called.

    A figure that has no meaning is not a number; `score_remarks` says why.
    """
    rows = [
        (label, each.name, title, each.precision, each.recall, each.f1, each.tiles, each.called)
        for label, evaluation in classifiers.items()
        for title, each in zip(_titles(evaluation), evaluation.scores(), strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["classifier", "name", "title", "precision", "recall", "f1", "tiles", "called"])
    return frame.astype({"precision": float, "recall": float, "f1": float})


def score_remarks(evaluation: Evaluation) -> list[str]:
    """A sentence for each kind of figure that cannot be given, and why; none where all classes have all figures."""
    titles = class_titles(evaluation.class_names)
    scores = evaluation.scores()
    absent = [titles[each.name] for each in scores if not each.tiles and not each.called]
    no_tiles = [titles[each.name] for each in scores if not each.tiles and each.called]
    not_called = [titles[each.name] for each in scores if each.tiles and not each.called]
    remarks = []
    if not_called:
        remarks.append(f"No tile was called {wording.listed(not_called, 'or')}, so there is no precision to give.")
    if no_tiles:
        remarks.append(f"There was no tile of {wording.listed(no_tiles, 'or')} to be found, so there is no recall.")
    if absent:
        remarks.append(
            f"{wording.listed(absent)} did not occur, neither as a tile nor as an answer: no figures. Means over the "
            "classes leave out what has none."
        )
    return remarks


# -- the tiles behind the figures


def tiles_in_cell(predictions: Predictions, class_names: Sequence[str], true: int, said: int) -> list[Mistake]:
    """The tiles of one cell of a run's matrix, surest answer first. true, said: labels; on the diagonal the right ones.

    Raises `IndexError` for labels that the classes do not have.
    """
    inside = (predictions.true == true) & (predictions.predicted == said)
    rows = zip(predictions.tiles[inside].tolist(), predictions.confidence[inside].tolist(), strict=True)
    names = class_names[true], class_names[said]
    return [Mistake(tile, *names, sure) for tile, sure in sorted(rows, key=lambda row: (-row[1], row[0]))]


def _by_tile(predictions: Predictions) -> dict[int, tuple[int, int, float]]:
    columns = (predictions.tiles, predictions.true, predictions.predicted, predictions.confidence)
    return {
        tile: (true, said, sure) for tile, true, said, sure in zip(*(each.tolist() for each in columns), strict=True)
    }


def disagreement(first: Predictions, second: Predictions) -> Disagreement:
    """Which tiles one gets right and the other wrong, of those that both were judged on (maybe none)."""
    one, other = _by_tile(first), _by_tile(second)
    common = sorted(one.keys() & other.keys())
    only_first: list[tuple[float, int]] = []
    only_second: list[tuple[float, int]] = []
    both_right = both_wrong = 0
    for tile in common:
        true, said, sure = one[tile]
        _, other_said, other_sure = other[tile]
        match said == true, other_said == true:
            case True, True:
                both_right += 1
            case False, False:
                both_wrong += 1
            case True, False:
                only_first.append((-other_sure, tile))
            case _:
                only_second.append((-sure, tile))
    return Disagreement(
        len(common),
        both_right,
        both_wrong,
        tuple(tile for _, tile in sorted(only_first)),
        tuple(tile for _, tile in sorted(only_second)),
    )


def answers(runs: Sequence[Contender], tile: int) -> list[Answer]:
    """What each run said about one tile; runs that were not judged on it are left out."""
    found = []
    for each in runs:
        if each.predictions is None:
            continue
        at = (each.predictions.tiles == tile).nonzero().flatten().tolist()
        if at:
            said = int(each.predictions.predicted[at[0]])
            name = each.record.tiles.class_names[said]
            right = said == int(each.predictions.true[at[0]])
            found.append(Answer(each.label, name, float(each.predictions.confidence[at[0]]), right))
    return found


def surest_frame(runs: Sequence[Contender], most: int) -> pd.DataFrame:
    """The wrong answers that each run was surest of: run, tile (its number), true, said (class names), confidence."""
    rows = [
        (each.label, mistake.tile, mistake.true, mistake.predicted, mistake.confidence)
        for each in runs
        if each.predictions is not None
        for mistake in surest_mistakes(each.predictions, each.record.tiles.class_names, most)
    ]
    return pd.DataFrame(rows, columns=["run", "tile", "true", "said", "confidence"])
