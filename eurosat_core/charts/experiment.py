"""A room's experiment as a live scatter: a dot for each training, placed by rank so that none hides another.

Dots carry their seed and no name: everybody knows the own seed.
"""

import json
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.analysis.experiment import Group, Result
from eurosat_core.charts.marks import Spec, bare_spec, tooltips
from eurosat_core.charts.palette import BLUE, GREY, ORANGE
from eurosat_core.wording import percent

_SEEDS = "all seeds"
_HALF = 0.45  # of a column, where columns lie one apart


def experiment_frame(found: Result, own: str = "") -> pd.DataFrame:
    """A row for each training: value, at (its place across, by rank in the value's column), accuracy, seed, own.

    Then what is told of its value: left, right (the column), mean, low, high, and (at its first training alone) about.
    own: of which owner.
    """
    rows = []
    for column, group in enumerate(found.groups):
        deviation = f"\n± {100 * group.deviation:.1f}" if group.deviation is not None else ""
        about = f"{percent(group.mean)}{deviation}"
        for rank, dot in enumerate(group.dots):
            at = column + 2 * _HALF * ((rank + 0.5) / len(group.dots) - 0.5)
            told = (column - _HALF, column + _HALF, group.mean, group.low, group.high, "" if rank else about)
            rows.append((_name(group), at, dot.accuracy, str(dot.seed), dot.owner == own, column, *told))
    columns = ["value", "at", "accuracy", "seed", "own", "column", "left", "right", "mean", "low", "high", "about"]
    return pd.DataFrame(rows, columns=columns)


def _name(group: Group) -> str:
    return _SEEDS if group.value is None else f"{group.value:g}"


def experiment_chart(found: Result, title: str, *, named: bool = True, size: int = 14, height: int = 320) -> Spec:
    """Dots over `experiment_frame`; the line is the mean, the grey area goes from the smallest to the largest.

    title: of the setting. named: whether seeds stand beside all dots. size: of the text, height: of all of it, in
    pixels.
    """
    look: dict[str, Any] = {"labelFontSize": size, "titleFontSize": size}
    names = [_name(each) for each in found.groups]
    is_seeds = names == [_SEEDS]
    low = min((each.low for each in found.groups), default=0.0)
    high = max((each.high for each in found.groups), default=1.0)
    room = max(high - low, 0.01)
    across = alt.Scale(domain=[-0.5, max(len(names), 1) - 0.5], nice=False, zero=False)
    words = f"{json.dumps(names)}[datum.value]"
    axis = alt.Axis(
        values=list(range(len(names))), labelExpr=words, grid=False, labels=not is_seeds, ticks=not is_seeds, **look
    )
    up = alt.Scale(domain=[low - 0.2 * room, high + 0.4 * room], nice=False, zero=False)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title="Seeds, by accuracy" if is_seeds else title, scale=across, axis=axis)

    def y(field: str) -> alt.Y:
        shown = alt.Axis(format=".1%", tickCount=5, **look)
        return alt.Y(f"{field}:Q", title="Validation accuracy", scale=up, axis=shown)

    each = alt.Chart().transform_filter("datum.about !== ''")
    area = each.mark_rect(color=GREY, opacity=0.15).encode(x=x("left"), x2="right:Q", y=y("low"), y2="high:Q")
    mean = each.mark_rule(color=GREY, strokeWidth=2).encode(x=x("left"), x2="right:Q", y=y("mean"))
    about = each.mark_text(
        color=GREY, fontSize=size, fontWeight="bold", baseline="top", lineBreak="\n", lineHeight=1.2 * size
    ).encode(x=x("column"), y=alt.value(0), text="about:N")
    dots = alt.Chart().encode(
        x=x("at"),
        y=y("accuracy"),
        tooltip=tooltips(("value:N", title), ("seed:N", "Seed"), ("accuracy:Q", "Accuracy", ".1%")),
    )
    points = dots.mark_point(filled=True, opacity=1).encode(
        color=alt.condition("datum.own", alt.value(ORANGE), alt.value(BLUE)),
        shape=alt.condition("datum.own", alt.value("diamond"), alt.value("circle")),
        size=alt.condition("datum.own", alt.value(20 * size), alt.value(7 * size)),
    )
    you = dots.mark_text(dy=1.2 * size, fontSize=size, color=ORANGE, fontWeight="bold", text="you")
    layers = [area, mean, points, you.transform_filter("datum.own"), about]
    if named:
        layers.append(dots.mark_text(dy=-size, fontSize=0.85 * size, color=GREY).encode(text="seed:N"))
    return bare_spec(alt.layer(*layers), height=height)
