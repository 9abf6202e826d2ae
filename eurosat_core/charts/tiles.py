"""Charts of the Tiles page."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

__all__ = ["channel_histograms", "class_counts"]

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
