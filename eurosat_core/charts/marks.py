"""Charts' common ground: their type, bars of shares, grouped bars."""

import json
from collections.abc import Sequence
from typing import Any

import altair as alt

from eurosat_core.charts.palette import GREY

Spec = dict[str, Any]


def bare_spec(chart: Any) -> Spec:
    """The chart as plain values, without Altair's stand-in for data and its default sizes (the theme has its own)."""
    spec: Spec = chart.to_dict()
    for name in ("config", "data", "datasets"):
        spec.pop(name, None)
    for layer in spec.get("layer", ()):
        layer.pop("data", None)
    return spec


def share_bars(
    x: alt.X, text: alt.Text, tooltip: list[alt.Tooltip], colours: Sequence[tuple[str, str]], *, height: int
) -> Spec:
    """A spec over a table with `title`, `name` and the field of `x`, in the table's order.

    colours: (class name, colour) for every class. height: pixels for all bars.
    """
    y = alt.Y(
        "title:N", title=None, sort=None, axis=alt.Axis(labelLimit=220, labelOverlap=False, ticks=False, domain=False)
    )
    names, shades = [name for name, _ in colours], [colour for _, colour in colours]
    bars = (
        alt.Chart()
        .mark_bar(cornerRadiusEnd=3, height={"band": 0.72})
        .encode(
            x=x,
            y=y,
            color=alt.Color("name:N", scale=alt.Scale(domain=names, range=shades), legend=None),
            tooltip=tooltip,
        )
    )
    figures = (
        alt.Chart()
        .mark_text(align="left", dx=5, color=GREY, fontSize=12, fontWeight="bold")
        .encode(x=x, y=y, text=text, tooltip=tooltip)
    )
    return bare_spec(alt.layer(bars, figures).properties(height=height))


_ROW, _AXIS = 17, 60
_NAME = ""  # the slot above a group's bars, where its name stands


def grouped_bars(
    group: str,
    groups: tuple[str, ...],
    member: str,
    members: tuple[tuple[str, str], ...],
    x: alt.X,
    text: alt.Text,
    tooltip: list[alt.Tooltip],
    missing: str = "",
) -> Spec:
    """A spec over a table with a row for every group and member.

    group, member: the columns; groups: in their order; members: (name, colour). missing: written where `x` has no
    number.
    """
    names, colours = [name for name, _ in members], [colour for _, colour in members]
    slots = alt.Scale(domain=[_NAME, *names], paddingInner=0.1, paddingOuter=0)
    y = alt.Y(
        f"{group}:N",
        sort=list(groups),
        title=None,
        scale=alt.Scale(paddingInner=0.12, paddingOuter=0.02),
        axis=alt.Axis(labels=False, ticks=False, domain=False),
    )
    colour = alt.Color(
        f"{member}:N",
        scale=alt.Scale(domain=names, range=colours),
        legend=alt.Legend(orient="top", title=None, columns=1, labelLimit=320, symbolType="square", symbolOpacity=1),
    )
    field = str(x.shorthand).partition(":")[0]
    each = alt.Chart().encode(y=y, yOffset=alt.YOffset(f"{member}:N", scale=slots), tooltip=tooltip)
    known = each.encode(x=x).transform_filter(f"isValid(datum.{field})")
    left: dict[str, Any] = {"align": "left", "dx": 5, "fontSize": 12, "color": GREY}
    layers = [
        alt.Chart()
        .mark_text(align="left", dx=1, fontSize=13, fontWeight="bold", color=GREY)
        .encode(x=alt.value(0), y=y, yOffset=alt.YOffset(datum=_NAME, scale=slots), text=f"{group}:N")
        .transform_filter(f"datum.{member} === {json.dumps(names[0] if names else '')}"),
        known.mark_bar(cornerRadiusEnd=2).encode(color=colour),
        known.mark_text(**left).encode(text=text),
    ]
    if missing:
        without = each.mark_text(text=missing, **left).encode(x=alt.value(0))
        layers.append(without.transform_filter(f"!isValid(datum.{field})"))
    rows = (len(names) + 1) * max(len(groups), 1)
    return bare_spec(alt.layer(*layers).properties(height=_ROW * rows + _AXIS + 24 * len(names)))
