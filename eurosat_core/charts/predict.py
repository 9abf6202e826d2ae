"""Charts of the Predict page, as Vega-Lite specs (see `charts.spec`): a map of answers, each class's share of it."""

from collections.abc import Sequence
from functools import lru_cache

import altair as alt

from eurosat_core.charts.bars import share_bars
from eurosat_core.charts.spec import Spec, bare_spec

__all__ = ["area_shares", "class_map"]


def class_map(
    picture: str,
    width: int,
    height: int,
    colours: Sequence[tuple[str, str]],
    *,
    most_height: int,
    strength: float,
) -> Spec:
    """A picture under its tiles in the colours of their classes; a click selects one (the selection is called `tile`).

    Over a table with number, left, right, top, bottom, title, row, column, probability, chosen (that one is framed).
    picture: its address; width, height: in
    the table's pixels. colours: (class in words, colour) of the classes in the table. most_height: on the screen; it is
    as wide as there is room, and never out of shape. strength: how much of the picture the colours cover, 0…1.
    """
    titles, shades = [title for title, _ in colours], [shade for _, shade in colours]
    # The browser knows how much room there is: one scale for both directions, by the direction that is tight.
    fit = f"min(width / {width}, height / {height})"
    x = alt.Scale(domain=[0, alt.ExprRef(f"width / {fit}")], nice=False, zero=False)
    y = alt.Scale(domain=[alt.ExprRef(f"height / {fit}"), 0], nice=False, zero=False)
    ground = (
        alt.Chart()
        .mark_image(aspect=False)
        .encode(
            x=alt.X("left:Q", scale=x, axis=None),
            x2="right:Q",
            y=alt.Y("top:Q", scale=y, axis=None),
            y2="bottom:Q",
            url="url:N",
        )
    )
    click = alt.selection_point(name="tile", fields=["number"], toggle=False)
    tiles = (
        alt.Chart()
        .mark_rect(strokeOpacity=1, cursor="pointer")
        .encode(
            x=alt.X("left:Q", scale=x, axis=None),
            x2="right:Q",
            y=alt.Y("top:Q", scale=y, axis=None),
            y2="bottom:Q",
            color=alt.Color(
                "title:N",
                scale=alt.Scale(domain=titles, range=shades),
                legend=None,
            ),
            fillOpacity=alt.value(strength),
            stroke=alt.condition("datum.chosen", alt.value("#FFFFFF"), alt.value("#00000055")),
            strokeWidth=alt.condition("datum.chosen", alt.value(3), alt.value(0.5)),
            tooltip=[
                alt.Tooltip("title:N", title="Class"),
                alt.Tooltip("probability:Q", title="Probability", format=".1%"),
                alt.Tooltip("row:Q", title="Row"),
                alt.Tooltip("column:Q", title="Column"),
            ],
        )
        .add_params(click)
    )
    chart = alt.layer(ground, tiles).properties(height=most_height)
    spec = bare_spec(chart)
    corners = {"left": 0, "right": width, "top": 0, "bottom": height}
    spec["layer"][0]["data"] = {"values": [{"url": picture, **corners}]}
    return spec


@lru_cache(maxsize=64)
def area_shares(colours: tuple[tuple[str, str], ...]) -> Spec:
    """Each class's share of the area as bars, over a table with name, title, share, tiles."""
    x = alt.X(
        "share:Q",
        title="share of the area",
        scale=alt.Scale(domain=[0, 1.3], nice=False),  # room for the figure beside a full bar
        axis=alt.Axis(format="%", values=[0, 0.5, 1]),
    )
    tooltip = [
        alt.Tooltip("title:N", title="Class"),
        alt.Tooltip("share:Q", title="Share of the area", format=".1%"),
        alt.Tooltip("tiles:Q", title="Tiles", format=",d"),
    ]
    return share_bars(x, alt.Text("share:Q", format=".1%"), tooltip, colours, height=28 * len(colours) + 50)
