"""What a network's answers say, for each way they can come out; and as tables for charts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eurosat_core.data.pictures import Values, class_titles
from eurosat_core.data.uploads import Layout
from eurosat_core.finding import Finding
from eurosat_core.lab.predict import Part
from eurosat_core.models.saliency import SQUARE, Saliency

_SURE = 0.8
_APART = 0.2  # by which the first is ahead of the second where it is not between the two
_SAME = 0.02  # a change of less is called none
_OF_THE_REST = 0.15  # from chance to certainty: below, an answer is hardly better than guessing
_PLACES = (("upper", "middle", "lower"), ("left", "centre", "right"))


def answer_finding(probabilities: Values, class_names: Sequence[str]) -> Finding:
    """The surest class: `sure`, `leaning`, between `two`, hardly better than `guessing`, or the only `one_class`."""
    titles = class_titles(tuple(class_names))
    order = np.argsort(-probabilities, kind="stable")
    first = float(probabilities[order[0]])
    figures = {"answer": titles[class_names[order[0]]], "sure": first}
    if len(class_names) == 1:
        return Finding("prediction.one_class", figures)
    second, chance = float(probabilities[order[1]]), 1 / len(class_names)
    figures |= {"next": titles[class_names[order[1]]], "next_sure": second, "chance": chance}
    if first >= _SURE:
        return Finding("prediction.sure", figures)
    if first < chance + _OF_THE_REST * (1 - chance):
        return Finding("prediction.guessing", figures)
    return Finding(f"prediction.{'two' if first - second < _APART else 'leaning'}", figures)


def truth_finding(probabilities: Values, class_names: Sequence[str], true_class: str, part: Part | None) -> Finding:
    """Whether the answer is `right` or `wrong` (or the class `unknown`), and whether it was trained on the tile."""
    said = class_names[int(probabilities.argmax())]
    figures: dict[str, Any] = {"title": class_titles((*class_names, true_class))[true_class]}
    if true_class not in class_names:
        return Finding("prediction.truth.unknown", figures)
    figures["sure"] = float(probabilities[list(class_names).index(true_class)])
    then = (Finding(f"prediction.part.{part}"),) if part else ()
    return Finding(f"prediction.truth.{'right' if said == true_class else 'wrong'}", figures, then)


def made_up_finding(name: str, probabilities: Values, class_names: Sequence[str]) -> Finding:
    """How sure it is of a picture that shows none of the classes."""
    sure = float(probabilities.max())
    answer = class_titles(tuple(class_names))[class_names[int(probabilities.argmax())]]
    figures = {"shown": name[:1].lower() + name[1:], "answer": answer, "sure": sure}
    return Finding(f"prediction.made_up.{'sure' if sure >= _SURE else 'less' if sure >= 0.5 else 'unsure'}", figures)


def changed_finding(before: Values, after: Values, class_names: Sequence[str]) -> Finding:
    """What a change of the picture did to the answer: another class, less or more sure, next to nothing."""
    titles = class_titles(tuple(class_names))
    was, now = int(before.argmax()), int(after.argmax())
    figures = {"was": titles[class_names[was]], "was_sure": float(before[was])}
    figures |= {"now": titles[class_names[now]], "now_sure": float(after[now])}
    if was != now:
        return Finding("prediction.changed_class", figures)
    difference = float(after[now] - before[was])
    how = "same" if abs(difference) < _SAME else "surer" if difference > 0 else "less_sure"
    return Finding(f"prediction.changed.{how}", figures)


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


def map_finding(probabilities: Values, class_names: Sequence[str], layout: Layout) -> Finding:
    """What most of a picture was taken for, and how much of it the network was sure of."""
    shares = class_shares(probabilities, class_names, layout)
    best = [
        Finding("prediction.phrase.share", {"title": each.title, "share": each.share})
        for each in shares[:3][["title", "share"]].itertuples(index=False)
    ]
    sure = float((probabilities.max(1) >= _SURE).mean())
    how = "all" if sure == 1 else "most" if sure >= 0.5 else "few"
    then = Finding(f"prediction.sure_of.{how}", {"from": _SURE, "share": sure})
    variant = "one" if len(shares) == 1 else "several" if len(shares) <= 3 else "many"
    figures = {"tiles": len(probabilities), "title": shares["title"].iloc[0], "classes": best}
    return Finding(f"prediction.map.{variant}", figures, (then,))


def shares_changed_finding(before: pd.DataFrame, after: pd.DataFrame) -> Finding:
    """What a change of the picture did to the shares of area per class (two tables of `class_shares`)."""
    old, new = before.set_index("title").share, after.set_index("title").share
    moved = new.sub(old, fill_value=0).sort_values(key=abs, ascending=False, kind="stable")
    classes = [
        Finding("prediction.phrase.moved", {"title": title, "was": old.get(title, 0.0), "now": new.get(title, 0.0)})
        for title, by in list(moved.items())[:2]
        if abs(by) >= _SAME
    ]
    return Finding("prediction.shares.moved", {"classes": classes}) if classes else Finding("prediction.shares.same")


# -- where it looked


def looked_finding(looked: Saliency, title: str) -> Finding:
    """How the heat is spread, and where most of it lies. title: of the class that was asked about."""
    total = float(looked.heat.sum())
    if total <= 0:
        return Finding(f"looked.nothing.{_method(looked)}", {"title": title})
    ordered = np.sort(looked.heat.flatten())[::-1]
    half = (int(np.searchsorted(np.cumsum(ordered), total / 2)) + 1) / ordered.size
    rows, columns = np.indices(looked.heat.shape)
    middle = [
        float((axis * looked.heat).sum() / total) / looked.heat.shape[at] for at, axis in enumerate((rows, columns))
    ]
    down, across = (_PLACES[at][min(int(3 * share), 2)] for at, share in enumerate(middle))
    figures = {"title": title, "half": half, "place": Finding(f"looked.phrase.{down}_{across}")}
    return Finding(f"looked.heat.{'spread' if half > 0.3 else 'places' if half > 0.12 else 'small'}", figures)


def method_finding(looked: Saliency) -> Finding:
    """How the heat was found."""
    rows, columns = looked.cells
    return Finding(f"looked.method.{_method(looked)}", {"rows": rows, "columns": columns, "side": SQUARE})


def _method(looked: Saliency) -> str:
    return "occlusion" if looked.method == "occlusion" else "maps"
