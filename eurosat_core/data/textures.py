"""Ingredients of synthetic tiles: random numbers and colours per tile, noise, plots of land, lines, roofs.

Everything is vectorised over n tiles. Maps are float32 [n, 64, 64], scenes [n, 64, 64, 3] in 0..255, a number per tile
is [n, 1, 1], a colour per tile [n, 1, 1, 3]; lengths are in pixels (10 m on the ground).
"""

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = [
    "SIDE",
    "TABLE",
    "Colours",
    "Floats",
    "Indices",
    "blend",
    "curve",
    "interpolation",
    "line",
    "look_up",
    "make_axes",
    "make_roofs",
    "noise",
    "pick",
    "plots",
    "some",
    "stripes",
    "vary",
]

Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.intp]
Colours: TypeAlias = Sequence[tuple[int, int, int]]

SIDE = 64
TABLE = 32  # cells per side of a look-up table; cell indices wrap around


def vary(rng: Generator, n: int, low: float, high: float) -> Floats:
    """One number per tile, uniform between low and high: [n, 1, 1]."""
    return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)


def some(rng: Generator, n: int, share: float) -> Floats:
    """1 for the given share of the tiles, 0 for the others: [n, 1, 1]."""
    return (rng.random((n, 1, 1)) < share).astype(np.float32)


def pick(rng: Generator, shape: tuple[int, ...], palette: Colours, spread: float = 6.0) -> Floats:
    """Colours drawn from a palette and varied, mostly in brightness: [*shape, 3]."""
    chosen = np.asarray(palette, np.float32)[rng.integers(len(palette), size=shape)]
    brightness = rng.standard_normal((*shape, 1), np.float32) * spread
    chosen += brightness + rng.standard_normal(chosen.shape, np.float32) * (spread / 4)
    return chosen


def blend(scene: Floats, colour: Floats, cover: Floats) -> Floats:
    """The scene with a colour laid over it where cover (0..1, [n, 64, 64]) says so."""
    blended: Floats = np.clip(cover, 0, 1)[..., None] * (colour - scene)
    blended += scene
    return blended


@cache
def interpolation(cells: int) -> Floats:
    """Weights [64, cells + 1] that stretch a row of random values smoothly over a tile's side."""
    position = (np.arange(SIDE) + 0.5) * cells / SIDE
    left = position.astype(np.intp)
    t = position - left
    t = t * t * (3 - 2 * t)
    weights = np.zeros((SIDE, cells + 1), np.float32)
    weights[np.arange(SIDE), left] = 1 - t
    weights[np.arange(SIDE), left + 1] = t
    # Unit length per row keeps the variance the same everywhere, so the grid of values stays invisible.
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return weights


def noise(rng: Generator, n: int, *cells: int) -> Floats:
    """Smooth noise with standard deviation 1, each finer layer (more cells per side) weaker than the last."""
    total = np.zeros((n, SIDE, SIDE), np.float32)
    strengths = 0.75 ** np.arange(len(cells), dtype=np.float32)
    for count, strength in zip(cells, strengths / np.linalg.norm(strengths), strict=True):
        weights = interpolation(count)
        total += strength * (weights @ rng.standard_normal((n, count + 1, count + 1), np.float32) @ weights.T)
    return total


def make_axes(rng: Generator, n: int, warp: float | Floats = 0.0) -> tuple[Floats, Floats]:
    """Pixel coordinates u and v along randomly turned axes, bent by about warp pixels."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) - (SIDE - 1) / 2
    turn = vary(rng, n, 0, 2 * np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return u + warp * noise(rng, n, 3), v + warp * noise(rng, n, 3)


def stripes(rng: Generator, along: Floats, pitch: Floats) -> tuple[Indices, Floats]:
    """Uneven stripes about pitch wide, across an axis: each pixel's stripe, and its distance to a border."""
    n = len(along)
    uneven = vary(rng, n, 0.1, 0.28)
    steps = along / pitch
    steps = steps + uneven * np.sin(steps * vary(rng, n, 1.5, 3.0) + vary(rng, n, 0, 7)) + 100
    index = np.floor(steps)
    fraction = steps - index
    return index.astype(np.intp), np.minimum(fraction, 1 - fraction) * pitch


def look_up(table: Floats, row: Indices, column: Indices) -> Floats:
    """Each pixel's entry of its tile's table of cells: [n, 32, 32, k] to [n, 64, 64, k]."""
    n, _, _, k = table.shape
    # take() on a flat table is several times faster than indexing with three arrays.
    cell = (row % TABLE) * TABLE + column % TABLE + np.arange(n)[:, None, None] * TABLE**2
    return table.reshape(-1, k).take(cell, axis=0)


def plots(
    rng: Generator, axes: tuple[Floats, Floats], pitch: Floats, stretch: Floats
) -> tuple[Indices, Indices, Floats]:
    """Parcels of land along the axes: each pixel's row and column of parcels, and distance to a border."""
    n, (u, v) = len(pitch), axes
    row, to_row_border = stripes(rng, v, pitch)
    # Shifting every row by its own amount avoids a chessboard: parcels meet in T-junctions as in reality.
    shift = rng.uniform(0, 40, (n, TABLE, TABLE, 1)).astype(np.float32)
    column, to_column_border = stripes(rng, u + look_up(shift, row, row)[..., 0], pitch * stretch)
    return row, column, np.minimum(to_row_border, to_column_border)


def line(distance: Floats, width: float | Floats) -> Floats:
    """Cover (0..1, soft at the edge) of a line of the given width."""
    return np.clip(width / 2 - np.abs(distance) + 0.5, 0, 1)


def curve(rng: Generator, n: int, bend: float | Floats, off_centre: float = 16.0) -> Floats:
    """Signed distance to a curve across the tile that swings by about bend pixels to either side."""
    u, v = make_axes(rng, n)
    rate, phase = vary(rng, n, 0.04, 0.11), vary(rng, n, 0, 7)
    sideways = v - vary(rng, n, -off_centre, off_centre) - bend * np.sin(u * rate + phase)
    slope = bend * rate * np.cos(u * rate + phase)
    distance: Floats = sideways / np.sqrt(1 + slope**2)
    return distance


def make_roofs(
    rng: Generator, axes: tuple[Floats, Floats], pitch: Floats, share: float | Floats
) -> tuple[Floats, Indices, Indices]:
    """Cover of roofs on a share of the cells of a grid along the axes; and each pixel's row and column."""
    n = len(pitch)
    (row, across), (column, along) = [(np.floor(t / pitch), t / pitch % 1 - 0.5) for t in axes]
    cell = (row.astype(np.intp), column.astype(np.intp))
    shape = rng.uniform(-1, 1, (n, TABLE, TABLE, 4)).astype(np.float32)
    shape[..., 3] = rng.random((n, TABLE, TABLE)) < share
    size_1, size_2, shift, present = np.moveaxis(look_up(shape, *cell), -1, 0)
    cover = line((across + 0.08 * shift) * pitch, (0.62 + 0.28 * size_1) * pitch)
    return cover * line(along * pitch, (0.62 + 0.28 * size_2) * pitch) * present, *cell
