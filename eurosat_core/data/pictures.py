"""Tiles made ready to be looked at: enlarged, with a scale bar, split into channels, and as numbers.

NumPy in, NumPy (or PNG bytes) out; nothing here is needed for training.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from eurosat_core.data.classes import CLASSES

__all__ = [
    "CHANNELS",
    "METRES_PER_PIXEL",
    "ChannelNumbers",
    "channel_histograms",
    "channel_numbers",
    "class_counts",
    "class_titles",
    "enlarged",
    "normalised",
    "png",
    "png_uri",
    "tiles_of_class",
    "value_planes",
    "with_frame",
    "with_scale_bar",
]

CHANNELS = ("Red", "Green", "Blue")
METRES_PER_PIXEL = 10  # Sentinel-2's red, green and blue bands

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
# Ends and middle of the scale for signed numbers: blue below zero, orange above (apart for colour-blind readers).
_BELOW, _ZERO, _ABOVE = (5, 48, 97), (247, 247, 247), (179, 88, 6)


@dataclass(frozen=True)
class ChannelNumbers:
    """Lowest, mean and highest value of one channel."""

    channel: str
    lowest: float
    mean: float
    highest: float


def class_titles(class_names: tuple[str, ...]) -> dict[str, str]:
    """A class's name in words: EuroSAT's own where the name is EuroSAT's, else the folder's name as it is."""
    own = {each.name: each.title for each in CLASSES}
    return {name: own.get(name, name) for name in class_names}


def class_counts(counts: dict[str, int], published: bool) -> pd.DataFrame:
    """One row per class for a chart: class (in words), tiles, published (NaN unless asked for and known)."""
    titles = class_titles(tuple(counts))
    known = {each.name: float(each.tiles) for each in CLASSES} if published else {}
    rows = [(titles[name], count, known.get(name, float("nan"))) for name, count in counts.items()]
    return pd.DataFrame(rows, columns=["class", "tiles", "published"])


def tiles_of_class(labels: npt.NDArray[np.int64], label: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Numbers of a class's tiles: in the set's own order for seed 0, else shuffled, the same for the same seed."""
    members = np.flatnonzero(labels == label)
    if seed:
        members = np.random.default_rng([seed, label]).permutation(members)
    return members.astype(np.int64)


def enlarged(tile: Pixels, times: int) -> Pixels:
    """A tile [H, W, 3] with every pixel drawn as a crisp square of `times` × `times`."""
    large: Pixels = tile.repeat(times, axis=0).repeat(times, axis=1)
    return large


def png(pixels: Pixels) -> bytes:
    """PNG bytes of a picture [H, W, 3]: lossless, so the pixels stay crisp; packed fast rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def png_uri(pixels: Pixels) -> str:
    """The PNG of a picture as a `data:` address.

    Given bytes, Streamlit recodes them and serves them from a store that forgets a page's pictures as soon as the
    page is left: a browser that is still fetching then gets errors.
    """
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def with_scale_bar(tile: Pixels, times: int, metres: int = 200) -> Pixels:
    """An enlarged tile with a bar for `metres` on the ground in its lower left corner, ticked in quarters.

    The bar alternates black and white inside a white frame, so that it is seen on dark and on bright ground.
    """
    picture = enlarged(tile, times)
    height, width = picture.shape[:2]
    length = min(metres * times // METRES_PER_PIXEL, width - 2 * times)
    thick = max(times, 4)
    frame = max(times // 4, 1)
    top, left = height - 2 * times - thick, 2 * times
    picture[top - frame : top + thick + frame, left - frame : left + length + frame] = _WHITE
    for part in range(4):
        start, end = left + length * part // 4, left + length * (part + 1) // 4
        picture[top : top + thick, start:end] = _WHITE if part % 2 else _BLACK
    return picture


def with_frame(tile: Pixels, times: int, top: int, left: int, side: int) -> Pixels:
    """An enlarged tile with a frame around `side` × `side` of its pixels, the first at (top, left)."""
    picture = enlarged(tile, times)
    height, width = picture.shape[:2]
    for colour, grown in ((_BLACK, max(times // 2, 2)), (_WHITE, max(times // 4, 1))):
        outer_top, outer_left = max(top * times - grown, 0), max(left * times - grown, 0)
        picture[outer_top : (top + side) * times + grown, outer_left : (left + side) * times + grown] = colour
    rows, columns = slice(top * times, (top + side) * times), slice(left * times, (left + side) * times)
    picture[rows, columns] = enlarged(tile, times)[:height, :width][rows, columns]
    return picture


def normalised(tile: Pixels, mean: tuple[float, ...], std: tuple[float, ...]) -> Values:
    """What a network gets of a tile: (pixel / 255 - mean) / std per channel, [H, W, 3]."""
    means, stds = (np.array(each, dtype=np.float32) for each in (mean, std))
    values: Values = ((tile.astype(np.float32) / np.float32(255) - means) / stds).astype(np.float32)
    return values


def channel_numbers(values: Pixels | Values) -> tuple[ChannelNumbers, ...]:
    """Lowest, mean and highest value of each channel of a picture [H, W, 3]."""
    return tuple(
        ChannelNumbers(name, float(plane.min()), float(plane.mean()), float(plane.max()))
        for name, plane in zip(CHANNELS, np.moveaxis(values, 2, 0), strict=True)
    )


def channel_histograms(tile: Pixels, bins: int = 32) -> pd.DataFrame:
    """How often each brightness occurs: channel, value (start of the bin), share (of the tile's pixels)."""
    edges = np.linspace(0, 256, bins + 1)
    pixels = tile.shape[0] * tile.shape[1]
    parts = [
        pd.DataFrame({"channel": name, "value": edges[:-1], "share": np.histogram(tile[..., at], edges)[0] / pixels})
        for at, name in enumerate(CHANNELS)
    ]
    return pd.concat(parts, ignore_index=True)


def value_planes(values: Values, times: int, limit: float) -> tuple[Pixels, ...]:
    """The three channels [H, W] as enlarged pictures: blue below zero, pale at zero, orange above, full at ±limit."""
    stops = np.array([_BELOW, _ZERO, _ABOVE], dtype=np.float32)
    planes = []
    for plane in np.moveaxis(values, 2, 0):
        place = np.clip(plane / limit, -1, 1) + 1  # 0 … 2, in units of stops
        lower = np.minimum(place.astype(np.int64), 1)
        share = (place - lower)[..., None]
        colours = stops[lower] * (1 - share) + stops[lower + 1] * share
        planes.append(enlarged(np.round(colours).astype(np.uint8), times))
    return tuple(planes)
