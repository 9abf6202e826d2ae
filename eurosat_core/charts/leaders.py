"""The leader board as a scatter: accuracy against what it cost, a point for each training."""

from collections.abc import Callable
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.analysis.leaders import Board, Cost
from eurosat_core.charts.marks import Spec, bare_spec, tooltips
from eurosat_core.charts.palette import BLUE, GREY

TITLES: dict[Cost, str] = {"seconds": "Seconds of training", "parameters": "Parameters"}


def leaders_frame(board: Board, cost: Cost, name: Callable[[str], str]) -> pd.DataFrame:
    """A row for each training: who, model, accuracy, cost, front. name: of an owner."""
    front = board.front(cost)
    rows = [
        (name(each.owner), each.model, each.accuracy, float(getattr(each, cost)), each.run_id in front)
        for each in board.entries
    ]
    return pd.DataFrame(rows, columns=["who", "model", "accuracy", "cost", "front"])


def leaders_chart(cost: Cost, *, size: int = 14, height: int = 380) -> Spec:
    """Points over `leaders_frame`; the ones that nobody beats have their name. size: of the text, in pixels."""
    look: dict[str, Any] = {"labelFontSize": size, "titleFontSize": size}
    x = alt.X(
        "cost:Q",
        title=f"{TITLES[cost]} (log scale)",
        scale=alt.Scale(type="log", padding=4 * size),
        axis=alt.Axis(format="~s", **look),
    )
    y = alt.Y(
        "accuracy:Q", title="Accuracy", scale=alt.Scale(zero=False), axis=alt.Axis(format="%", tickCount=6, **look)
    )
    lines = tooltips(
        ("who:N", "Who"), ("model:N", "Network"), ("accuracy:Q", "Accuracy", ".1%"), ("cost:Q", TITLES[cost], ",.1f")
    )
    base = alt.Chart().encode(x=x, y=y, tooltip=lines)
    points = base.mark_point(filled=True, size=10 * size).encode(
        color=alt.condition("datum.front", alt.value(BLUE), alt.value(GREY)),
        shape=alt.condition("datum.front", alt.value("diamond"), alt.value("circle")),
    )
    names = base.mark_text(align="left", dx=size * 0.6, dy=-size * 0.6, fontSize=size, color=GREY).encode(text="who:N")
    return bare_spec(alt.layer(points, names.transform_filter("datum.front")), height=height)
