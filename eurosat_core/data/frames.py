"""Tables of all tiles for charts: colour and brightness of every tile, histograms of every class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eurosat_core.data.pictures import CHANNELS, class_titles
from eurosat_core.data.statistics import BINS, Statistics
from eurosat_core.data.tiles import TileSet

__all__ = ["AXES", "axis_values", "class_histogram_frame", "scatter_frame", "tiles_in_box"]

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
