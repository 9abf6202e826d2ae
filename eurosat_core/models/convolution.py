"""A convolution and a pooling by hand, one position at a time, and the multiplications they take.

Like `torch.nn.functional.conv2d` with one filter, in NumPy: nothing is flipped, and what lies beyond the edge counts as
zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from eurosat_core.errors import ConfigError


@dataclass(frozen=True)
class ConvolutionWork:
    """Multiplications of one convolution layer: per place of the filter, per filter, and of the whole layer."""

    places: int
    products_per_place: int
    per_filter: int
    layer: int


Values = npt.NDArray[np.float32]
Pooling = Literal["max", "average"]

POOL_SIDE = 2  # windows of 2 × 2, side by side, as in the baseline
_LARGEST_WEIGHT = 100.0

_PLANES: dict[str, list[list[float]]] = {
    "Horizontal edges": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "Vertical edges": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
    "Edges in all directions (Laplacian)": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "Blur": [[1 / 9] * 3] * 3,
    "Strong blur (5 × 5)": [[1 / 25] * 5] * 5,
    "Sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "Identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
}
FILTERS: dict[str, Values] = {name: np.array(plane, dtype=np.float32) for name, plane in _PLANES.items()}
"""Filters made by hand, by name: their weights [side, side] for one channel."""


@dataclass(frozen=True)
class Step:
    """One place of the filter.

    patch, weights, products: [C, side, side]. inside: [side, side], False where the patch lies beyond the edge.
    sums: the products of each channel added up. value: all sums plus bias, what lands in the feature map at
    (row, column). top, left: the patch's first pixel in the tile; negative within the padding.
    """

    row: int
    column: int
    top: int
    left: int
    patch: Values
    weights: Values
    products: Values
    inside: npt.NDArray[np.bool_]
    sums: tuple[float, ...]
    bias: float
    value: float


@dataclass(frozen=True)
class Window:
    """One window of a pooling: its values [side, side], and the one number they become at (row, column)."""

    row: int
    column: int
    top: int
    left: int
    values: Values
    value: float


def over_channels(plane: Values, channels: int) -> Values:
    """One plane of weights [side, side] for every channel alike: a filter [channels, side, side]."""
    return np.repeat(plane[None], channels, axis=0)


def checked_plane(numbers: Sequence[Sequence[float | None]]) -> Values:
    """A participant's own weights as a plane. Raises `ConfigError` for what cannot be multiplied with."""
    plane = np.array([[np.nan if each is None else each for each in row] for row in numbers], dtype=np.float64)
    if not np.isfinite(plane).all():
        raise ConfigError("A weight of the filter is missing. Put a number into every field, 0 where nothing counts.")
    if np.abs(plane).max() > _LARGEST_WEIGHT:
        raise ConfigError(f"A weight is larger than {_LARGEST_WEIGHT:g}. Choose −{_LARGEST_WEIGHT:g} to 100.")
    return plane.astype(np.float32)


def _side(inputs: int, window: int, padding: int, stride: int) -> int:
    """How many places a window has along one side. Raises `ConfigError` when it has none."""
    if window > inputs + 2 * padding:
        raise ConfigError(
            f"A filter of {window} × {window} does not fit into {inputs + 2 * padding} × {inputs + 2 * padding} "
            "pixels. Choose a smaller filter, or more padding."
        )
    return (inputs + 2 * padding - window) // stride + 1


def _padded(values: Values, padding: int) -> Values:
    return np.pad(values, ((0, 0), (padding, padding), (padding, padding)))


def convolve(values: Values, weights: Values, bias: float = 0.0, padding: int = 0, stride: int = 1) -> Values:
    """The feature map [H', W'] of one filter [C, side, side] over values [C, H, W].

    Raises `ConfigError` when the filter does not fit.
    """
    side = weights.shape[1]
    _side(min(values.shape[1:]), side, padding, stride)
    windows = np.lib.stride_tricks.sliding_window_view(_padded(values, padding), (side, side), axis=(1, 2))
    windows = windows[:, ::stride, ::stride].astype(np.float64)
    found: Values = (np.einsum("chwij,cij->hw", windows, weights.astype(np.float64)) + bias).astype(np.float32)
    return found


def step_at(values: Values, weights: Values, bias: float, padding: int, stride: int, row: int, column: int) -> Step:
    """What `convolve` does at one place of its feature map, with everything in between."""
    side = weights.shape[1]
    top, left = row * stride - padding, column * stride - padding
    patch = _padded(values, padding)[:, top + padding :, left + padding :][:, :side, :side]
    products = patch * weights
    sums = products.astype(np.float64).sum(axis=(1, 2))
    rows, columns = np.arange(top, top + side), np.arange(left, left + side)
    height, width = values.shape[1:]
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    value = float(sums.sum() + bias)
    return Step(row, column, top, left, patch, weights, products, inside, tuple(sums.tolist()), bias, value)


def relu(values: Values) -> Values:
    """Everything below zero becomes zero."""
    return np.maximum(values, np.float32(0))


def _windows(values: Values) -> Values:
    """Windows [H // 2, W // 2, 2, 2] side by side over a feature map [H, W]; an odd last row or column is left out."""
    windows: Values = np.lib.stride_tricks.sliding_window_view(values, (POOL_SIDE, POOL_SIDE))
    return windows[::POOL_SIDE, ::POOL_SIDE]


def pool(values: Values, kind: Pooling) -> Values:
    """A feature map [H, W] at half its size: the largest, or the mean, of every 2 × 2 values."""
    windows = _windows(values)
    pooled: Values = windows.max(axis=(2, 3)) if kind == "max" else windows.mean(axis=(2, 3))
    return pooled


def pool_window(values: Values, kind: Pooling, row: int, column: int) -> Window:
    """What `pool` does at one place."""
    window = _windows(values)[row, column]
    value = float(window.max() if kind == "max" else window.mean())
    return Window(row, column, row * POOL_SIDE, column * POOL_SIDE, window, value)


def moved(shape: tuple[int, int], row: int, column: int, move: str, values: Values | None = None) -> tuple[int, int]:
    """The place after a move (back, forward, up, down, strongest) in a feature map of `shape`.

    Forward and back go on in the next and the last row, as one reads; at the very end they stay. `strongest` goes to
    the value of `values` that is farthest from zero.
    """
    rows, columns = shape
    if move == "strongest" and values is not None:
        at = int(np.abs(values).argmax())
        return at // columns, at % columns
    change = {"back": -1, "forward": 1, "up": -columns, "down": columns}.get(move, 0)
    at = row * columns + column + change
    return divmod(at, columns) if 0 <= at < rows * columns else (row, column)


@dataclass(frozen=True)
class LayerWork:
    """A convolution layer over a square picture, in numbers; checked with `layer_work`."""

    side: int = 256
    channels: int = 3
    filter_side: int = 3
    filters: int = 64
    padding: int = 0
    stride: int = 1


# Lowest and highest value, and what is counted. Products of the highest ones still fit into a double.
_LIMITS = {
    "side": (1, 8192, "The picture’s side", "pixels"),
    "channels": (1, 4096, "The number of channels", ""),
    "filter_side": (1, 64, "The filter’s side", "pixels"),
    "filters": (1, 65_536, "The number of filters", ""),
    "padding": (0, 32, "The padding", "pixels"),
    "stride": (1, 64, "The stride", "pixels"),
}


def layer_work(layer: LayerWork) -> ConvolutionWork:
    """The multiplications of one layer for one picture, forward. Raises `ConfigError` with a sentence."""
    for name, (lowest, highest, title, unit) in _LIMITS.items():
        value = getattr(layer, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value % 1:
            raise ConfigError(f"{title} must be a whole number.")
        if not lowest <= value <= highest:
            raise ConfigError(f"{title} is {value:,.0f}. Choose {lowest:,} to {highest:,} {unit}".rstrip() + ".")
    places = _side(layer.side, layer.filter_side, layer.padding, layer.stride) ** 2
    products = layer.filter_side**2 * layer.channels
    return ConvolutionWork(places, products, places * products, places * products * layer.filters)
