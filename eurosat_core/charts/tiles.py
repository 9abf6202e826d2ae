"""Charts of the Tiles page."""

from collections.abc import Sequence
from functools import lru_cache

import altair as alt
import pandas as pd

from eurosat_core.charts.spec import Spec, bare_spec

__all__ = ["all_tiles", "channel_histograms", "class_counts", "class_histogram"]

# Red, green and blue that stay apart for colour-blind readers, by brightness too.
_CHANNEL_COLOURS = {"Red": "#CC6677", "Green": "#44AA99", "Blue": "#4455BB"}


def class_counts(frame: pd.DataFrame, order: Sequence[str], colours: Sequence[str]) -> alt.LayerChart | alt.FacetChart:
    """Bars of tiles per class; a line across a bar marks the published count where there is one.

    frame: class, tiles, published (NaN for none). order, colours: one per class.
    """
    y = alt.Y("class:N", sort=list(order), title=None, axis=alt.Axis(labelLimit=220))
    base = alt.Chart(frame).encode(y=y)
    bars = base.mark_bar(cornerRadiusEnd=3).encode(
        x=alt.X("tiles:Q", title="tiles", axis=alt.Axis(tickCount=6, format=",d")),
        color=alt.Color("class:N", scale=alt.Scale(domain=list(order), range=list(colours)), legend=None),
        tooltip=[
            alt.Tooltip("class:N", title="class"),
            alt.Tooltip("tiles:Q", title="tiles here", format=",d"),
            alt.Tooltip("published:Q", title="published", format=",d"),
        ],
    )
    layers = [bars]
    if frame["published"].notna().any():
        layers.append(base.mark_tick(thickness=3, size=18, color="#7A8A90").encode(x="published:Q"))
    return alt.layer(*layers).properties(height=28 * len(order) + 50)


def channel_histograms(frame: pd.DataFrame) -> alt.Chart:
    """How often each brightness occurs, one line per channel. frame: channel, value, share."""
    names = list(_CHANNEL_COLOURS)
    scale = alt.Scale(domain=names, range=list(_CHANNEL_COLOURS.values()))
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_area(interpolate="step-after", fillOpacity=0.15, line={"strokeWidth": 2})
        .encode(
            x=alt.X("value:Q", title="pixel value (0 = dark, 255 = bright)", scale=alt.Scale(domain=[0, 256])),
            y=alt.Y("share:Q", title="share of pixels", stack=None, axis=alt.Axis(format="%", tickCount=4)),
            color=alt.Color("channel:N", scale=scale, sort=names, legend=alt.Legend(orient="top", title=None)),
            tooltip=[
                alt.Tooltip("channel:N"),
                alt.Tooltip("value:Q", title="from value", format=".0f"),
                alt.Tooltip("share:Q", title="share", format=".1%"),
            ],
        )
        .properties(height=320)
    )
    return chart


def class_histogram(frame: pd.DataFrame, channel: str, colours: Sequence[tuple[str, str]]) -> alt.Chart:
    """The classes' histograms of one channel over each other. frame: class, value, share.

    colours: (class in words, colour) of the classes in the frame.
    """
    titles, shades = [title for title, _ in colours], [shade for _, shade in colours]
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2.5, interpolate="monotone")
        .encode(
            x=alt.X("value:Q", title="pixel value", scale=alt.Scale(domain=[0, 256]), axis=alt.Axis(tickCount=4)),
            y=alt.Y("share:Q", title="share of pixels", axis=alt.Axis(format="%", tickCount=4)),
            color=alt.Color("class:N", scale=alt.Scale(domain=titles, range=shades), legend=None),
            tooltip=[
                alt.Tooltip("class:N"),
                alt.Tooltip("value:Q", title="from value", format=".0f"),
                alt.Tooltip("share:Q", title="share", format=".1%"),
            ],
        )
        .properties(height=240, title=channel)
    )
    return chart


@lru_cache(maxsize=64)
def all_tiles(x_title: str, y_title: str, colours: tuple[tuple[str, str], ...]) -> Spec:
    """A point per tile, coloured by class; drag a box to select. A spec over a table with x, y, class.

    colours: (class in words, colour) for every class. The selection is called `box`; a click on the legend shows one
    class alone.
    """
    titles, shades = [title for title, _ in colours], [shade for _, shade in colours]
    box = alt.selection_interval(name="box")
    one = alt.selection_point(name="one", fields=["class"], bind="legend")
    chart = (
        alt.Chart()
        .mark_circle(size=9)
        .encode(
            x=alt.X("x:Q", title=x_title, scale=alt.Scale(zero=False, nice=True)),
            y=alt.Y("y:Q", title=y_title, scale=alt.Scale(zero=False, nice=True)),
            color=alt.Color(
                "class:N",
                scale=alt.Scale(domain=titles, range=shades),
                legend=alt.Legend(orient="bottom", title=None, columns=2, symbolSize=90, symbolOpacity=1),
            ),
            opacity=alt.condition(one, alt.value(0.6), alt.value(0.02)),
        )
        .add_params(box, one)
        .properties(height=680)
    )
    return bare_spec(chart)
