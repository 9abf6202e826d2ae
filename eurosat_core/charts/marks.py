"""Charts' common ground: axes, colours, tooltips and titles; bars of shares, grouped bars, the ground of a matrix."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import altair as alt

from eurosat_core.charts.palette import GREY, SERIES, SHAPES

Spec = dict[str, Any]
Colours = tuple[tuple[str, str], ...]
"""Names and their colours, in their order."""
Axis = TypeVar("Axis", alt.X, alt.Y)

FIGURE: dict[str, Any] = {"align": "left", "color": GREY, "fontSize": 12}
"""The look of a figure that stands beside its mark."""


def bare_spec(chart: Any, **properties: Any) -> Spec:
    """The chart as plain values, without Altair's stand-in for data and its default sizes (the theme has its own).

    properties: of the chart, such as its height.
    """
    spec: Spec = chart.properties(**properties).to_dict()
    for name in ("config", "data", "datasets"):
        spec.pop(name, None)
    for layer in spec.get("layer", ()):
        layer.pop("data", None)
    return spec


def up_to(axis: type[Axis], field: str, title: str | None, end: float, *, clamp: bool = False, **look: Any) -> Axis:
    """A number's axis (`alt.X` or `alt.Y`) from 0 to exactly `end`. look: of the axis, such as its format."""
    scale = alt.Scale(domain=[0, end], nice=False, clamp=clamp)
    return axis(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(**look))


def tooltips(*lines: tuple[str, ...]) -> list[alt.Tooltip]:
    """A line for each (field, title), or (field, title, format of the number)."""
    return [
        alt.Tooltip(field, title=title, format=number[0] if number else alt.Undefined)
        for field, title, *number in lines
    ]


def legend(**look: Any) -> alt.Legend:
    """A legend above the chart, without a title."""
    return alt.Legend(orient="top", title=None, **look)


def coloured(
    field: str, colours: Mapping[str, str] | Sequence[tuple[str, str]], legend: alt.Legend | None = None
) -> alt.Color:
    """The colour of each name."""
    shades = dict(colours)
    scale = alt.Scale(domain=list(shades), range=list(shades.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=legend)


def series_colours(names: Sequence[str]) -> Colours:
    """(name, colour) for each in its order; the colours come again after eight."""
    return tuple((name, SERIES[at % len(SERIES)]) for at, name in enumerate(names))


def colour_and_shape(field: str, names: Sequence[str], legend: alt.Legend | None) -> dict[str, Any]:
    """Colour and shape of each name in its order, with one legend for both."""
    shapes = [SHAPES[at % len(SHAPES)] for at in range(len(names))]
    scale = alt.Scale(domain=list(names), range=shapes)
    return {
        "color": coloured(field, series_colours(names), legend),
        "shape": alt.Shape(f"{field}:N", scale=scale, legend=legend),
    }


def heading(text: str, **look: Any) -> alt.TitleParams:
    """A chart's title."""
    return alt.TitleParams(text, **{"fontSize": 15, "offset": 6, "anchor": "start", **look})


def share_bars(
    field: str,
    title: str,
    lines: Sequence[tuple[str, ...]],
    colours: Colours,
    *,
    end: float,
    ticks: Sequence[float],
    number: str,
    row: int,
    around: int,
) -> Spec:
    """Shares as bars in the class colours over a table with `title`, `name` and `field`, in the table's order.

    lines: of the tooltip. colours: of the classes, by name. end: of the axis, with room for the figure beside a full
    bar. number: format of that figure. row, around: pixels for each class, and for the axis.
    """
    x = up_to(alt.X, field, title, end, format="%", values=list(ticks))
    look = alt.Axis(labelLimit=220, labelOverlap=False, ticks=False, domain=False)
    base = alt.Chart().encode(x=x, y=alt.Y("title:N", title=None, sort=None, axis=look), tooltip=tooltips(*lines))
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.72}).encode(color=coloured("name", colours))
    text = alt.Text(f"{field}:Q", format=number)
    figures = base.mark_text(dx=5, fontWeight="bold", **FIGURE).encode(text=text)
    return bare_spec(alt.layer(bars, figures), height=row * len(colours) + around)


_ROW, _AXIS = 17, 60
_NAME = ""  # the slot above a group's bars, where its name stands


def grouped_bars(
    group: str,
    groups: tuple[str, ...],
    member: str,
    members: Colours,
    x: alt.X,
    tooltip: list[alt.Tooltip],
    missing: str = "",
) -> Spec:
    """A spec over a table with a row for every group and member.

    group, member: the columns; groups: in their order. missing: written where `x` has no number.
    """
    names = [name for name, _ in members]
    slots = alt.Scale(domain=[_NAME, *names], paddingInner=0.1, paddingOuter=0)
    y = alt.Y(
        f"{group}:N",
        sort=list(groups),
        title=None,
        scale=alt.Scale(paddingInner=0.12, paddingOuter=0.02),
        axis=alt.Axis(labels=False, ticks=False, domain=False),
    )
    shown = legend(columns=1, labelLimit=320, symbolType="square", symbolOpacity=1)
    field = str(x.shorthand).partition(":")[0]
    each = alt.Chart().encode(y=y, yOffset=alt.YOffset(f"{member}:N", scale=slots), tooltip=tooltip)
    known = each.encode(x=x).transform_filter(f"isValid(datum.{field})")
    layers = [
        alt.Chart()
        .mark_text(align="left", dx=1, fontSize=13, fontWeight="bold", color=GREY)
        .encode(x=alt.value(0), y=y, yOffset=alt.YOffset(datum=_NAME, scale=slots), text=f"{group}:N")
        .transform_filter(f"datum.{member} === {json.dumps(names[0] if names else '')}"),
        known.mark_bar(cornerRadiusEnd=2).encode(color=coloured(member, members, shown)),
        known.mark_text(dx=5, **FIGURE).encode(text=alt.Text(f"{field}:Q", format=".0%")),
    ]
    if missing:
        without = each.mark_text(text=missing, dx=5, **FIGURE).encode(x=alt.value(0))
        layers.append(without.transform_filter(f"!isValid(datum.{field})"))
    rows = (len(names) + 1) * max(len(groups), 1)
    return bare_spec(alt.layer(*layers), height=_ROW * rows + _AXIS + 24 * len(names))


def matrix(titles: Sequence[str], said: str, title: str, true_width: int, said_width: int) -> alt.Chart:
    """The cells of true (down) and said (across) classes, to draw in.

    titles: the classes in their order. said, title: the column of what was said, and its axis's title. true_width,
    said_width: pixels that the classes' names may take.
    """
    y = alt.Y("true:N", sort=list(titles), title="true class", axis=alt.Axis(labelLimit=true_width, ticks=False))
    look = alt.Axis(labelLimit=said_width, labelAngle=-60, labelOverlap=False, ticks=False)
    x = alt.X(f"{said}:N", sort=list(titles), title=title, axis=look)
    chart: alt.Chart = alt.Chart().encode(x=x, y=y)
    return chart


def matrix_ground(base: alt.Chart) -> alt.Chart:
    """All cells of a matrix, also where nothing happened, so that each can be pointed at."""
    ground: alt.Chart = base.mark_rect(color=GREY, opacity=0.10, stroke=GREY, strokeOpacity=0.5)
    return ground
