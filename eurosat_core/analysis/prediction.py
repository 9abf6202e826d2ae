"""What a network's answers say, in words, for each way they can come out; and as tables for charts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from eurosat_core import wording
from eurosat_core.data.pictures import Values, class_titles
from eurosat_core.data.uploads import Layout
from eurosat_core.lab.predict import Part
from eurosat_core.models.saliency import SQUARE, Saliency

_SURE = 0.8
_APART = 0.2  # by which the first is ahead of the second where a network is not torn between them
_OF_THE_REST = 0.15  # from chance to certainty: below, an answer is hardly better than guessing
_PLACES = (("upper", "middle", "lower"), ("left", "centre", "right"))
_PART_WORDS = {
    "train": "It was trained on this very tile, so this says little of how it does on new ones.",
    "validation": "It was not trained on this tile: it is one of its validation part.",
    "test": "It was not trained on this tile: it is one of its test part, which has been opened.",
}


def _percent(probability: float) -> str:
    """Whole percents but near the ends, where they would claim certainty: `87 %`, `99.7 %`, `above 99.9 %`."""
    if probability > 0.9995:
        return "above 99.9\N{NO-BREAK SPACE}%"
    if probability > 0.985 or probability < 0.015:
        return wording.percent(probability)
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"


def answer_words(probabilities: Values, class_names: Sequence[str]) -> str:
    """The surest class and how sure: sure, leaning, torn between two, hardly better than guessing."""
    titles = class_titles(tuple(class_names))
    order = np.argsort(-probabilities, kind="stable")
    first = float(probabilities[order[0]])
    best = f"{titles[class_names[order[0]]]}, {_percent(first)}"
    if len(class_names) == 1:
        return f"{best}. It knows one class only, so it cannot answer anything else."
    second = float(probabilities[order[1]])
    next_best = f"{titles[class_names[order[1]]]} ({_percent(second)})"
    chance = 1 / len(class_names)
    if first >= _SURE:
        return f"{best}: it is sure."
    if first < chance + _OF_THE_REST * (1 - chance):
        return f"{best}: hardly better than guessing, which would be right in {_percent(chance)}."
    if first - second < _APART:
        return f"{best}: it is torn between that and {next_best}."
    return f"{best}: it leans to that; next comes {next_best}."


def truth_words(probabilities: Values, class_names: Sequence[str], true_class: str, part: Part | None) -> str:
    """The answer beside what the tile is, and whether the network was trained on it."""
    said = class_names[int(probabilities.argmax())]
    titles = class_titles((*class_names, true_class))
    if true_class not in class_names:
        return f"The tile is {titles[true_class]}, a class that this network was never told of: no answer is right."
    if said == true_class:
        verdict = f"That is right: the tile is {titles[true_class]}."
    else:
        own = float(probabilities[list(class_names).index(true_class)])
        verdict = f"That is wrong: the tile is {titles[true_class]}, to which it gives {_percent(own)}."
    return f"{verdict} {_PART_WORDS[part]}" if part else verdict


def made_up_words(name: str, probabilities: Values, class_names: Sequence[str]) -> str:
    """What it says about a picture that shows none of the classes."""
    titles = class_titles(tuple(class_names))
    sure, shown = float(probabilities.max()), name[:1].lower() + name[1:]
    answer = f"{titles[class_names[int(probabilities.argmax())]]} ({_percent(sure)})"
    if sure >= _SURE:
        verdict = (
            f"Shown {shown}, it answers {answer}: wrong, and sure all the same. Nothing in its figures gives that away."
        )
    elif sure >= 0.5:
        verdict = f"Shown {shown}, it answers {answer}: wrong, but somewhat less sure. It cannot say “none of these”."
    else:
        verdict = (
            f"Shown {shown}, it answers {answer}: wrong, and unsure this time. That is luck, not knowledge: "
            "another network, or another picture, and it may be certain."
        )
    return verdict


def changed_words(before: Values, after: Values, class_names: Sequence[str]) -> str:
    """What a change of the picture did to the answer: another class, less or more sure, next to nothing."""
    titles = class_titles(tuple(class_names))
    was, now = int(before.argmax()), int(after.argmax())
    old = f"{titles[class_names[was]]} ({_percent(float(before[was]))})"
    new = f"{titles[class_names[now]]} ({_percent(float(after[now]))})"
    if was != now:
        return f"The same ground, and another answer: {old} before this change, {new} after it."
    difference = float(after[now] - before[was])
    if abs(difference) < 0.02:
        return f"The answer stays: {old} before this change, {new} after it."
    how = "surer" if difference > 0 else "less sure"
    return f"The class stays, but it is {how}: {old} before this change, {new} after it."


# -- a picture of many tiles


def class_shares(probabilities: Values, class_names: Sequence[str], layout: Layout) -> pd.DataFrame:
    """Of the area asked about, the share that each class was the answer for, largest first: name, title, share, tiles.

    Classes that are nowhere the answer are left out.
    """
    areas: npt.NDArray[np.float64] = layout.areas()[: len(probabilities)]
    said = probabilities.argmax(1)
    shares = np.bincount(said, areas, len(class_names)) / max(float(areas.sum()), 1e-12)
    tiles = np.bincount(said, minlength=len(class_names))
    titles = class_titles(tuple(class_names))
    order = [int(at) for at in np.argsort(-shares, kind="stable") if tiles[at]]
    rows = [(class_names[at], titles[class_names[at]], float(shares[at]), int(tiles[at])) for at in order]
    return pd.DataFrame(rows, columns=["name", "title", "share", "tiles"])


def map_words(probabilities: Values, class_names: Sequence[str], layout: Layout) -> str:
    """What most of a picture was taken for, and how much of it the network was sure of."""
    shares = class_shares(probabilities, class_names, layout)
    best = [f"{title} {_percent(share)}" for title, share in zip(shares["title"][:3], shares["share"][:3], strict=True)]
    sure = float((probabilities.max(1) >= _SURE).mean())
    count = wording.count(len(probabilities), "tile")
    if len(shares) == 1:
        text = f"All of the {count} were taken for {shares.title[0]}."
    else:
        text = f"Of {count}, by area: {wording.listed(best)}{', and others' if len(shares) > 3 else ''}."
    if sure == 1:
        return f"{text} It was sure of every one of them; whether it is right, no figure here says."
    if sure >= 0.5:
        return f"{text} It was sure ({_percent(_SURE)} or more) of {_percent(sure)} of them."
    return (
        f"{text} It was sure ({_percent(_SURE)} or more) of only {_percent(sure)} of them, so read this map with care."
    )


def shares_changed_words(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """What a change of the picture did to the shares of area per class (two tables of `class_shares`)."""
    old, new = before.set_index("title").share, after.set_index("title").share
    moved = new.sub(old, fill_value=0).sort_values(key=abs, ascending=False, kind="stable")
    if abs(float(moved.iloc[0])) < 0.02:
        return "The shares of the classes stay the same, to two percentage points."
    said = [
        f"{title} from {_percent(float(old.get(title, 0)))} to {_percent(float(new.get(title, 0)))}"
        for title, by in list(moved.items())[:2]
        if abs(by) >= 0.02
    ]
    return f"The same ground, and other answers: {wording.listed(said)} of the area."


# -- where it looked


def looked_words(looked: Saliency, title: str) -> str:
    """How the heat is spread, and where most of it lies. title: of the class that was asked about."""
    total = float(looked.heat.sum())
    if total <= 0 and looked.method == "occlusion":
        return f"No single square of this picture counts for {title}: covered, none takes anything from its score."
    if total <= 0:
        return f"Nothing in this picture speaks for {title} in particular: its score comes from elsewhere."
    ordered = np.sort(looked.heat.flatten())[::-1]
    half = (int(np.searchsorted(np.cumsum(ordered), total / 2)) + 1) / ordered.size
    rows, columns = np.indices(looked.heat.shape)
    middle = [
        float((axis * looked.heat).sum() / total) / looked.heat.shape[at] for at, axis in enumerate((rows, columns))
    ]
    down, across = (_PLACES[at][min(int(3 * share), 2)] for at, share in enumerate(middle))
    place = "the middle" if (down, across) == ("middle", "centre") else f"the {down} {across}"
    share = _percent(half)
    if half > 0.3:
        return f"What speaks for {title} is spread over the picture: half of the heat takes {share} of it."
    if half > 0.12:
        return (
            f"What speaks for {title} lies in some places more than in others: half of the heat takes {share} of the "
            f"picture, around {place}."
        )
    return (
        f"It is a small part that speaks for {title}: half of the heat lies in {share} of the picture, around {place}."
    )


def method_words(looked: Saliency) -> str:
    """How the heat was found."""
    rows, columns = looked.cells
    if looked.method == "occlusion":
        return (
            "This network has no feature maps at its end that are large enough to say where. So one square after "
            f"another was covered with grey, {rows} × {columns} of {SQUARE} pixels a side; bright is where that took "
            "most from the class’s score."
        )
    return (
        f"Grad-CAM, from the {rows} × {columns} cells of the last convolution’s feature maps, enlarged to the tile: "
        "each map counts as much as the class’s score rises with it."
    )
