"""Charts of the tiles: all of them as points, classes, pixels, the game and the split."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from eurosat_core.charts.marks import Colours, Spec, bare_spec, coloured, legend, matrix, matrix_ground, tooltips
from eurosat_core.charts.palette import BLUE, GREY, INK, ORANGE
from eurosat_core.data.classes import CLASSES
from eurosat_core.data.pictures import CHANNELS, Pixels, class_titles
from eurosat_core.data.statistics import BINS, Statistics
from eurosat_core.data.tile_cache import TileSet

# What can be put on an axis of the chart of all tiles, in words.
AXES = {
    "brightness": "Brightness (mean of all pixels, 0–255)",
    "contrast": "Contrast (standard deviation of the pixels)",
    "red": "Mean red",
    "green": "Mean green",
    "blue": "Mean blue",
    "greenness": "Greenness (green minus the mean of red and blue)",
    "blueness": "Blueness (blue minus red)",
}
_SHUFFLED = 7  # seed of the order in which points are drawn


def axis_values(statistics: Statistics, axis: str) -> npt.NDArray[np.float32]:
    """The figure `axis` (a key of `AXES`) of every tile [N], to one decimal."""
    red, green, blue = statistics.means.T
    values: dict[str, Any] = {
        "brightness": statistics.brightness,
        "contrast": statistics.contrast,
        "red": red,
        "green": green,
        "blue": blue,
        "greenness": green - (red + blue) / 2,
        "blueness": blue - red,
    }
    rounded: npt.NDArray[np.float32] = np.round(values[axis], 1).astype(np.float32)
    return rounded


def scatter_frame(tiles: TileSet, x: str, y: str) -> pd.DataFrame:
    """A row per tile: x, y (figures of `AXES`), class (in words).

    In a fixed random order, so that no class is drawn on top of all others.
    """
    titles = class_titles(tiles.class_names)
    order = np.random.default_rng(_SHUFFLED).permutation(len(tiles))
    names = np.array([titles[name] for name in tiles.class_names], dtype=object)
    return pd.DataFrame(
        {
            "x": axis_values(tiles.statistics, x)[order],
            "y": axis_values(tiles.statistics, y)[order],
            # Sent as numbers and a list of names: a third of the bytes.
            "class": pd.Categorical(names[tiles.labels.numpy()[order]]),
        }
    )


def tiles_in_box(tiles: TileSet, x: str, y: str, box: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Numbers of the tiles within a selected box: {"x": [low, high], "y": [low, high]}, the middle first.

    All tiles for an axis that is missing; none when the box says something else.
    """
    inside = np.ones(len(tiles), dtype=bool)
    distance = np.zeros(len(tiles))
    for name, axis in (("x", x), ("y", y)):
        if name not in box:
            continue
        try:
            low, high = (float(each) for each in box[name])
        except (TypeError, ValueError):
            return np.zeros(0, dtype=np.int64)
        values = axis_values(tiles.statistics, axis)
        inside &= (values >= low) & (values <= high)
        distance += ((values - (low + high) / 2) / max(high - low, 1e-6)) ** 2
    found = np.flatnonzero(inside)
    nearest: npt.NDArray[np.int64] = found[np.argsort(distance[found], kind="stable")].astype(np.int64)
    return nearest


def class_histogram_frame(tiles: TileSet, class_names: tuple[str, ...]) -> pd.DataFrame:
    """How often each brightness occurs in some classes: class (in words), name, channel, value, share of its pixels."""
    titles = class_titles(tiles.class_names)
    values = np.arange(BINS) * (256 // BINS)
    parts = []
    for name in class_names:
        counts = tiles.statistics.histograms[tiles.class_names.index(name)]
        for channel, per_bin in zip(CHANNELS, counts, strict=True):
            share = per_bin / max(per_bin.sum(), 1)
            columns = {"class": titles[name], "name": name, "channel": channel, "value": values, "share": share}
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


# Red, green and blue that stay apart for colour-blind readers, by brightness too.
_CHANNEL_COLOURS = {"Red": "#CC6677", "Green": "#44AA99", "Blue": "#4455BB"}


def class_counts_frame(counts: dict[str, int], published: bool) -> pd.DataFrame:
    """One row per class for a chart: class (in words), tiles, published (NaN unless asked for and known)."""
    titles = class_titles(tuple(counts))
    known = {each.name: float(each.tiles) for each in CLASSES} if published else {}
    rows = [(titles[name], count, known.get(name, float("nan"))) for name, count in counts.items()]
    return pd.DataFrame(rows, columns=["class", "tiles", "published"])


def class_counts(frame: pd.DataFrame, order: Sequence[str], colours: Sequence[str]) -> alt.LayerChart | alt.FacetChart:
    """Bars of tiles per class; a line across a bar marks the published count where there is one.

    frame: class, tiles, published (NaN for none). order, colours: one per class.
    """
    y = alt.Y("class:N", sort=list(order), title=None, axis=alt.Axis(labelLimit=220))
    base = alt.Chart(frame).encode(y=y)
    bars = base.mark_bar(cornerRadiusEnd=3).encode(
        x=alt.X("tiles:Q", title="tiles", axis=alt.Axis(tickCount=6, format=",d")),
        color=coloured("class", list(zip(order, colours, strict=True))),
        tooltip=tooltips(("class:N", "class"), ("tiles:Q", "tiles here", ",d"), ("published:Q", "published", ",d")),
    )
    layers = [bars]
    if frame["published"].notna().any():
        layers.append(base.mark_tick(thickness=3, size=18, color="#7A8A90").encode(x="published:Q"))
    return alt.layer(*layers).properties(height=28 * len(order) + 50)


def channel_histograms_frame(tile: Pixels, bins: int = 32) -> pd.DataFrame:
    """How often each brightness occurs: channel, value (start of the bin), share (of the tile's pixels)."""
    edges = np.linspace(0, 256, bins + 1)
    pixels = tile.shape[0] * tile.shape[1]
    parts = [
        pd.DataFrame({"channel": name, "value": edges[:-1], "share": np.histogram(tile[..., at], edges)[0] / pixels})
        for at, name in enumerate(CHANNELS)
    ]
    return pd.concat(parts, ignore_index=True)


def channel_histograms(frame: pd.DataFrame) -> alt.Chart:
    """How often each brightness occurs, one line per channel. frame: channel, value, share."""
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_area(interpolate="step-after", fillOpacity=0.15, line={"strokeWidth": 2})
        .encode(
            x=alt.X("value:Q", title="pixel value (0 = dark, 255 = bright)", scale=alt.Scale(domain=[0, 256])),
            y=alt.Y("share:Q", title="share of pixels", stack=None, axis=alt.Axis(format="%", tickCount=4)),
            color=coloured("channel", _CHANNEL_COLOURS, legend()),
            tooltip=_of_pixels("channel"),
        )
        .properties(height=320)
    )
    return chart


def class_histogram(frame: pd.DataFrame, channel: str, colours: Sequence[tuple[str, str]]) -> alt.Chart:
    """The classes' histograms of one channel over each other. frame: class, value, share.

    colours: (class in words, colour) of the classes in the frame.
    """
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2.5, interpolate="monotone")
        .encode(
            x=alt.X("value:Q", title="pixel value", scale=alt.Scale(domain=[0, 256]), axis=alt.Axis(tickCount=4)),
            y=alt.Y("share:Q", title="share of pixels", axis=alt.Axis(format="%", tickCount=4)),
            color=coloured("class", colours),
            tooltip=_of_pixels("class"),
        )
        .properties(height=240, title=channel)
    )
    return chart


def _of_pixels(field: str) -> list[alt.Tooltip]:
    return tooltips((f"{field}:N", field), ("value:Q", "from value", ".0f"), ("share:Q", "share", ".1%"))


@lru_cache(maxsize=64)
def all_tiles(x_title: str, y_title: str, colours: Colours) -> Spec:
    """A point per tile, coloured by class; drag a box to select. A spec over a table with x, y, class.

    colours: (class in words, colour) for every class. The selection is called `box`; a click on the legend shows one
    class alone.
    """
    box = alt.selection_interval(name="box")
    one = alt.selection_point(name="one", fields=["class"], bind="legend")
    below = alt.Legend(orient="bottom", title=None, columns=2, symbolSize=90, symbolOpacity=1)
    points = alt.Chart().mark_circle(size=9)
    chart = points.encode(
        x=alt.X("x:Q", title=x_title, scale=alt.Scale(zero=False, nice=True)),
        y=alt.Y("y:Q", title=y_title, scale=alt.Scale(zero=False, nice=True)),
        color=coloured("class", colours, below),
        opacity=alt.condition(one, alt.value(0.6), alt.value(0.02)),
    )
    return bare_spec(chart.add_params(box, one), height=680)


# Pale enough for dark figures, on light and on dark ground. Right answers also stand on the diagonal.
_RIGHT, _WRONG = "#8CC4EE", "#F2B56B"
_CELL = 34


@lru_cache(maxsize=64)
def confusion_cells(titles: tuple[str, ...]) -> Spec:
    """A cell for each pair of true and guessed class with its count, over true, guessed, tiles, kind.

    titles: the classes in their order.
    """
    # Titles are words from outside: as values of a scale they are only ever drawn as text.
    tooltip = tooltips(("true:N", "True class"), ("guessed:N", "You said"), ("tiles:Q", "Tiles", ",d"))
    base = matrix(titles, "guessed", "what you said", 150, 150).encode(tooltip=tooltip)
    some = base.transform_filter("datum.tiles > 0")
    cells = some.mark_rect().encode(color=coloured("kind", {"right": _RIGHT, "wrong": _WRONG}, legend()))
    figures = some.mark_text(color=INK, fontSize=14, fontWeight="bold").encode(text=alt.Text("tiles:Q", format=",d"))
    return bare_spec(alt.layer(matrix_ground(base), cells, figures), height=_CELL * len(titles) + 150)


# Training and validation as in the curves; what is sealed is grey.
PART_COLOURS = (BLUE, ORANGE, GREY)


@lru_cache(maxsize=16)
def split_bars(parts: tuple[str, ...], classes: int) -> Spec:
    """Tiles per class as bars, divided into the parts; over a table with class, part, tiles."""
    chart = (
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("tiles:Q", title="tiles", axis=alt.Axis(format=",d", tickCount=6)),
            y=alt.Y("class:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)),
            color=coloured("part", tuple(zip(parts, PART_COLOURS, strict=False)), legend(columns=2)),
            order=alt.Order("rank:Q"),
            tooltip=tooltips(("class:N", "class"), ("part:N", "part"), ("tiles:Q", "tiles", ",d")),
        )
        .transform_calculate(rank=f"indexof({list(parts)!r}, datum.part)")
    )
    return bare_spec(chart, height=32 * classes + 120)
