"""The room as a training set: what a classifier learns from its labels, and where they differ from the truth."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.analysis.room_labels import ClassLabels
from eurosat_core.charts.marks import Spec, bare_spec, coloured, legend, tooltips, up_to
from eurosat_core.charts.palette import BLUE, GREY, ORANGE
from eurosat_core.data.pictures import class_titles
from eurosat_core.runs.room_labels import FIRST, Point

_CURVES = (("the room’s labels", BLUE), ("the true labels", GREY))
_TICKS = [FIRST * 2**power for power in range(7)]
_ROOM, _TRUTH = (name for name, _ in _CURVES)


def learning_frame(points: Sequence[Point]) -> pd.DataFrame:
    """Two rows for each point: labels, learned from, accuracy."""
    rows = [(each.labels, *row) for each in points for row in ((_ROOM, each.room), (_TRUTH, each.truth))]
    return pd.DataFrame(rows, columns=["labels", "learned from", "accuracy"])


def learning_chart(chance: float, *, size: int = 14, height: int = 340) -> Spec:
    """Lines over `learning_frame`; chance: the accuracy of guessing, drawn across. size: of the text, in pixels."""
    look: dict[str, Any] = {"labelFontSize": size, "titleFontSize": size}
    x = alt.X(
        "labels:Q",
        title="Labels of the room (log scale)",
        scale=alt.Scale(type="log", base=2, nice=False),
        axis=alt.Axis(format=",d", values=_TICKS, labelOverlap=True, **look),
    )
    y = up_to(alt.Y, "accuracy", "Accuracy", 1.0, format="%", tickCount=6, **look)
    lines = tooltips(("learned from:N", "Learned from"), ("labels:Q", "Labels"), ("accuracy:Q", "Accuracy", ".1%"))
    shown = legend(
        labelFontSize=size, symbolType="stroke", symbolSize=60 * size, symbolStrokeWidth=size / 5, labelLimit=20 * size
    )
    base = alt.Chart().encode(x=x, y=y, color=coloured("learned from", _CURVES, shown), tooltip=lines)
    dash = alt.StrokeDash(
        "learned from:N", scale=alt.Scale(domain=[_ROOM, _TRUTH], range=[[1, 0], [6, 4]]), legend=shown
    )
    guessing = alt.Chart().mark_rule(color=GREY, strokeDash=[2, 4]).encode(y=alt.datum(chance))
    curves = base.mark_line(strokeWidth=size / 5).encode(strokeDash=dash)
    return bare_spec(alt.layer(guessing, curves, base.mark_point(filled=True, size=6 * size)), height=height)


def parting_frame(rows: Sequence[ClassLabels]) -> pd.DataFrame:
    """A row for each class: class, wrong (share), labels, most often (said in its place), figures (in words)."""
    titles = class_titles(tuple({row.name for row in rows} | {row.mistaken for row in rows}))
    table = [
        (titles[row.name], row.share, row.labels, titles[row.mistaken], f"{row.wrong} of {row.labels}") for row in rows
    ]
    return pd.DataFrame(table, columns=["class", "wrong", "labels", "most often", "figures"])


def parting_chart(classes: int, *, size: int = 14) -> Spec:
    """Bars over `parting_frame` with so many classes. size: of the text, in pixels."""
    look = alt.Axis(labelFontSize=size, labelLimit=14 * size, ticks=False, domain=False, labelOverlap=False)
    x = up_to(
        alt.X,
        "wrong",
        "Wrong labels",
        1.2,
        format="%",
        values=[0, 0.5, 1],
        labelFontSize=size,
        titleFontSize=size,
    )
    lines = tooltips(
        ("class:N", "Class"),
        ("wrong:Q", "Wrong", ".0%"),
        ("labels:Q", "Labels"),
        ("most often:N", "Most often taken for"),
    )
    base = alt.Chart().encode(x=x, y=alt.Y("class:N", title=None, sort=None, axis=look), tooltip=lines)
    bars = base.mark_bar(color=ORANGE, cornerRadiusEnd=3, height={"band": 0.72})
    figures = base.mark_text(align="left", dx=5, fontSize=size, color=GREY).encode(text="figures:N")
    return bare_spec(alt.layer(bars, figures), height=round(classes * 1.9 * size + 4.5 * size))
