"""The chart of the Convolution page: what a network answers, as a Vega-Lite spec (see `charts.training`)."""

from functools import lru_cache

import altair as alt

from eurosat_core.charts.spec import Spec, bare_spec

__all__ = ["probability_bars"]

_GREY = "#8A8F98"  # reads on light and on dark ground


@lru_cache(maxsize=64)
def probability_bars(colours: tuple[tuple[str, str], ...]) -> Spec:
    """The probability of each class as bars in the class colours, over a table with name, title, probability.

    colours: (class name, colour) of the classes in the table.
    """
    y = alt.Y("title:N", title=None, sort=None, axis=alt.Axis(labelLimit=170, ticks=False, domain=False))
    x = alt.X(
        "probability:Q",
        title="probability (softmax)",
        scale=alt.Scale(domain=[0, 1.3], nice=False),  # room for the figure beside a full bar
        axis=alt.Axis(format="%", values=[0, 0.5, 1]),
    )
    tooltip = [alt.Tooltip("title:N", title="Class"), alt.Tooltip("probability:Q", title="Probability", format=".2%")]
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
        .encode(x=x, y=y, text=alt.Text("probability:Q", format=".1%"), tooltip=tooltip)
    )
    return bare_spec(alt.layer(bars, figures).properties(height=28 * len(colours) + 50))
