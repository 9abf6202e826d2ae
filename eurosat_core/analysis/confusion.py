"""What several classifiers mistake for what: confusion matrices side by side and as difference, and the tiles behind.

A classifier is a run's network or the participant: whoever has an `Evaluation` (`contenders.classifiers`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from eurosat_core.analysis.contenders import Contender
from eurosat_core.analysis.training import Mistake
from eurosat_core.data.pictures import class_titles
from eurosat_core.finding import Finding
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


def score_remarks(evaluation: Evaluation) -> list[Finding]:
    """Which kinds of figures cannot be given for which classes; none where all classes have all figures."""
    titles = class_titles(evaluation.class_names)
    scores = evaluation.scores()
    missing = {
        "precision": [titles[each.name] for each in scores if each.tiles and not each.called],
        "recall": [titles[each.name] for each in scores if not each.tiles and each.called],
        "any": [titles[each.name] for each in scores if not each.tiles and not each.called],
    }
    return [Finding(f"scores.missing.{name}", {"classes": classes}) for name, classes in missing.items() if classes]


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
