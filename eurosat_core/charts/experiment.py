"""A room's experiment as a live scatter: a dot for each training, placed by rank so that none hides another.

Dots carry their seed and no name: everybody knows the own seed.
"""

from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.analysis.experiment import Result
from eurosat_core.charts.marks import Spec, bare_spec, tooltips
from eurosat_core.charts.palette import BLUE, GREY, ORANGE

_SEEDS = "all seeds"


def experiment_frame(found: Result, own: str = "") -> pd.DataFrame:
    """A row for each training: value, rank (−0.5 to 0.5 in its value), accuracy, seed, own; own: of which owner.

    And what is told of its value: mean, low, high, and (at its first training alone) about.
    """
    rows = []
    for group in found.groups:
        value = _SEEDS if group.value is None else f"{group.value:g}"
        deviation = f" ± {100 * group.deviation:.1f}" if group.deviation is not None else ""
        about = f"{100 * group.mean:.1f}{deviation} %"
        for at, dot in enumerate(group.dots):
            rank = (at + 0.5) / len(group.dots) - 0.5
            told = (group.mean, group.low, group.high, "" if at else about)
            rows.append((value, rank, dot.accuracy, str(dot.seed), dot.owner == own, *told))
    columns = ["value", "rank", "accuracy", "seed", "own", "mean", "low", "high", "about"]
    return pd.DataFrame(rows, columns=columns)


def experiment_chart(found: Result, title: str, *, size: int = 14, height: int = 320) -> Spec:
    """Dots over `experiment_frame`; the line is the mean, the grey area goes from the smallest to the largest.

    title: of the setting. size: of the text, height: of all of it, in pixels.
    """
    look: dict[str, Any] = {"labelFontSize": size, "titleFontSize": size}
    values = [_SEEDS if each.value is None else f"{each.value:g}" for each in found.groups]
    is_seeds = values == [_SEEDS]
    low = min((each.low for each in found.groups), default=0.0)
    high = max((each.high for each in found.groups), default=1.0)
    room = max(high - low, 0.01)
    axis = alt.Axis(labelAngle=0, labels=not is_seeds, ticks=not is_seeds, **look)
    x = alt.X(
        "value:N",
        title="Seeds, from the least accurate to the most" if is_seeds else title,
        sort=values,
        axis=axis,
        scale=alt.Scale(paddingInner=0.1, paddingOuter=0.05),
    )
    domain = alt.Scale(domain=[low - 0.15 * room, high + 0.3 * room], nice=False, zero=False)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title="Validation accuracy", scale=domain, axis=alt.Axis(format=".1%", **look))

    each = alt.Chart().encode(x=x).transform_filter("datum.about !== ''")
    area = each.mark_bar(color=GREY, opacity=0.15, width={"band": 1}).encode(y=y("low"), y2="high:Q")
    mean = each.mark_tick(color=GREY, thickness=2, width={"band": 1}).encode(y=y("mean"))
    about = each.mark_text(color=GREY, fontSize=size, fontWeight="bold", baseline="top").encode(
        y=alt.value(0), text="about:N"
    )
    dots = alt.Chart().encode(
        x=x,
        xOffset=alt.XOffset("rank:Q", scale=alt.Scale(domain=[-0.5, 0.5])),
        y=y("accuracy"),
        tooltip=tooltips(("value:N", title), ("seed:N", "Seed"), ("accuracy:Q", "Accuracy", ".1%")),
    )
    points = dots.mark_point(filled=True, opacity=1).encode(
        color=alt.condition("datum.own", alt.value(ORANGE), alt.value(BLUE)),
        shape=alt.condition("datum.own", alt.value("diamond"), alt.value("circle")),
        size=alt.condition("datum.own", alt.value(20 * size), alt.value(7 * size)),
    )
    seeds = dots.mark_text(dy=-size, fontSize=0.85 * size, color=GREY).encode(text="seed:N")
    you = dots.mark_text(dy=1.2 * size, fontSize=size, color=ORANGE, fontWeight="bold", text="you")
    return bare_spec(alt.layer(area, mean, points, seeds, you.transform_filter("datum.own"), about), height=height)
