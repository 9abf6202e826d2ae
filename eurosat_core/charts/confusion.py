"""Confusion matrices as heat maps, alone, side by side on one scale, or one less the other.

Several are drawn beside each other (below each other on a phone) by filtering the table to one classifier.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.charts.marks import (
    Colours,
    Spec,
    bare_spec,
    grouped_bars,
    heading,
    matrix,
    matrix_ground,
    tooltips,
    up_to,
)
from eurosat_core.charts.palette import INK, SERIES
from eurosat_core.data.pictures import class_titles
from eurosat_core.training.evaluation import Evaluation

CELL = "cell"
"""The name of the selection: a click on a cell chooses its `true` and `said`."""

# From pale to strong, and never so strong that the dark figures could not be read; on light and on dark ground. Blue
# (right, better) and orange (wrong, worse) stay apart for colour-blind readers, and right answers on the diagonal.
_RIGHT, _WRONG = ("#E3F1FB", "#4FA3E0"), ("#FDF0DF", "#E8923A")
_CHOSEN = SERIES[3]
_ROW = 32


def _matrix(titles: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> alt.Chart:
    """The cells to draw in. lines: of the tooltip, after the two classes."""
    tooltip = tooltips(("true:N", "True class"), ("said:N", "Called"), *lines)
    chart: alt.Chart = matrix(titles, "said", "what was said", 120, 130).encode(tooltip=tooltip)
    return chart


def _frame(base: alt.Chart) -> alt.Chart:
    """The cell that was clicked, with a thick edge; a click beside the cells lets go."""
    cell = alt.selection_point(name=CELL, fields=["true", "said"], empty=False)
    edge = alt.condition(cell, alt.value(3), alt.value(0))
    frame: alt.Chart = base.mark_rect(fillOpacity=0, stroke=_CHOSEN, cursor="pointer").encode(strokeWidth=edge)
    return frame.add_params(cell)


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


@lru_cache(maxsize=64)
def confusion_heat(titles: tuple[str, ...], figure: str, most_wrong: float, title: str = "") -> Spec:
    """One matrix over `confusion_cells` of one classifier: right answers blue, mistakes orange, stronger for more.

    titles: the classes in their order. figure: `tiles`, or `share` of the true class, written in each cell (shares in
    percent). most_wrong: the share at which a mistake's orange is strongest; the same for all matrices beside each
    other, so that their colours can be compared.
    """
    base = _matrix(titles, [("tiles:Q", "Tiles", ",d"), ("share:Q", "Of the true class", ".1%")])
    layers = [matrix_ground(base)]
    for kind, shades, most in (("right", _RIGHT, 1.0), ("wrong", _WRONG, max(most_wrong, 0.01))):
        scale = alt.Scale(type="sqrt", domain=[0, most], range=list(shades), clamp=True, interpolate="rgb")
        cells = base.mark_rect().encode(color=alt.Color("share:Q", scale=scale, legend=None))
        layers.append(cells.transform_filter(f"datum.kind == '{kind}'"))
    words = "format(datum.tiles, ',d')" if figure == "tiles" else "format(100 * datum.share, '.0f')"
    layers.append(
        base.mark_text(color=INK, fontSize=12)
        .encode(text="words:N")
        .transform_filter("datum.tiles > 0")
        .transform_calculate(words=words)
    )
    chart = alt.layer(*layers, _frame(base)).resolve_scale(color="independent")
    return _spec(chart, titles, title)


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


@lru_cache(maxsize=64)
def confusion_change(titles: tuple[str, ...], limit: float, title: str = "") -> Spec:
    """The difference of two matrices over `confusion_difference`, in percentage points: blue better, orange worse.

    limit: the gain at which the colours are strongest, to either side.
    """
    base = _matrix(
        titles,
        [
            ("difference:Q", "Difference", "+.1%"),
            ("tiles_first:Q", "Tiles, first run", ",d"),
            ("tiles_second:Q", "Tiles, second run", ",d"),
        ],
    )
    most = max(limit, 0.01)
    scale = alt.Scale(domain=[-most, 0, most], range=[_WRONG[1], "#F7F7F4", _RIGHT[1]], clamp=True, interpolate="rgb")
    changed = "datum.kind == 'better' || datum.kind == 'worse'"
    cells = base.mark_rect().encode(color=alt.Color("gain:Q", scale=scale, legend=None)).transform_filter(changed)
    words = (
        base.mark_text(color=INK, fontSize=11)
        .encode(text="words:N")
        .transform_filter(changed)
        .transform_filter("abs(datum.difference) >= 0.005")
        .transform_calculate(words="format(100 * datum.difference, '+.0f')")
    )
    return _spec(alt.layer(matrix_ground(base), cells, words, _frame(base)), titles, title)


def _spec(chart: Any, titles: tuple[str, ...], title: str) -> Spec:
    return bare_spec(chart, height=_ROW * len(titles) + 150, title=heading(title, fontSize=14, limit=340))


def confused_pairs_frame(classifiers: Mapping[str, Evaluation], most: int = 10) -> pd.DataFrame:
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


@lru_cache(maxsize=64)
def confused_pairs(pairs: tuple[str, ...], classifiers: Colours, most: float) -> Spec:
    """Bars of the most frequent mistakes, one per classifier, over `confused_pairs_frame`.

    pairs: in their order. most: where the axis ends, a share.
    """
    x = up_to(alt.X, "share", "share of the true class", max(1.2 * most, 0.01), format="%", tickCount=4)
    tooltip = tooltips(
        ("pair:N", "Mistake"),
        ("classifier:N", "By"),
        ("tiles:Q", "Tiles", ",d"),
        ("share:Q", "Of the true class", ".1%"),
    )
    return grouped_bars("pair", pairs, "classifier", classifiers, x, tooltip)


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
