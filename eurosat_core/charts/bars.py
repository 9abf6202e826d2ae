"""Bars of a share per class in the class colours, the figure beside each bar."""

from collections.abc import Sequence

import altair as alt

from eurosat_core.charts.spec import Spec, bare_spec

__all__ = ["share_bars"]

_GREY = "#8A8F98"  # a stroke in the page's own ground would need the theme; a grey that reads on both is simpler


def share_bars(
    x: alt.X, text: alt.Text, tooltip: list[alt.Tooltip], colours: Sequence[tuple[str, str]], *, height: int
) -> Spec:
    """A spec over a table with `title`, `name` and the field of `x`, in the table's order.

    colours: (class name, colour) for every class. height: pixels for all bars.
    """
    y = alt.Y("title:N", title=None, sort=None, axis=alt.Axis(labelLimit=220, ticks=False, domain=False))
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
        .mark_text(align="left", dx=5, color=_GREY, fontSize=12, fontWeight="bold")
        .encode(x=x, y=y, text=text, tooltip=tooltip)
    )
    return bare_spec(alt.layer(bars, figures).properties(height=height))
