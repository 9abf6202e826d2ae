"""Tiles that are made here, for machines without real ones: their textures, and scenes of ten classes.

A tile is painted in three moves: a ground cover, the objects on it (roads, water, roofs), and the camera (light, haze,
blur, noise). All classes share the same few ingredients and overlapping palettes, so colour alone does not give a class
away; what tells them apart is structure, as in the real tiles.

Everything is vectorised over n tiles. Maps are float32 [n, 64, 64], scenes [n, 64, 64, 3] in 0..255, a number per tile
is [n, 1, 1], a colour per tile [n, 1, 1, 3]; lengths are in pixels (10 m on the ground).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from eurosat_core.data.classes import CLASS_NAMES

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


CHUNK = 50  # tiles painted at once: the maps of 50 tiles still fit into the processor's cache

# Red, green, blue as seen in the real tiles: muted, bluish in the dark, pinkish on bare soil.
BROWN_FIELDS: Colours = [(210, 160, 142), (232, 194, 166), (176, 134, 122), (218, 178, 146), (146, 114, 108)]
GREEN_FIELDS: Colours = [(46, 92, 72), (64, 104, 86), (86, 114, 102), (104, 124, 106), (42, 78, 74)]
ORCHARDS: Colours = [(120, 124, 83), (140, 131, 91), (103, 115, 76), (156, 140, 101), (124, 110, 81)]
MEADOWS: Colours = [(48, 108, 74), (60, 116, 80), (74, 122, 84), (62, 106, 80)]
WOODS: Colours = [(30, 56, 56), (34, 62, 58), (38, 62, 64), (30, 54, 60)]
SCRUB: Colours = [(54, 58, 48), (62, 66, 50), (70, 58, 52), (50, 56, 50)]
DRY_GRASS: Colours = [(106, 100, 74), (132, 110, 86), (152, 124, 94), (118, 94, 80), (96, 92, 68)]
WATERS: Colours = [(24, 44, 86), (32, 62, 92), (38, 72, 92), (52, 86, 104), (74, 116, 118), (62, 72, 92)]
ROADS: Colours = [(184, 180, 178), (164, 162, 164), (202, 194, 186), (144, 144, 150)]
BRIGHT_ROOFS: Colours = [(240, 238, 240), (222, 220, 222), (176, 178, 188), (196, 162, 148), (128, 142, 170)]
HOUSE_ROOFS: Colours = [(196, 110, 92), (180, 114, 100), (204, 144, 124), (140, 132, 134), (190, 174, 170)]
PAVED: Colours = [(98, 104, 114), (116, 118, 124), (84, 92, 104), (126, 122, 124)]
HAZE = (128, 134, 150)


# --- ground covers, used by several classes ----------------------------------------------------------------


def _fields(rng: Generator, n: int, pitch: Floats, dryness: Floats, warp: float | Floats) -> Floats:
    """A patchwork of brown and green fields; dryness (0..1) is the share of brown ones."""
    axes = make_axes(rng, n, warp)
    row, column, border = plots(rng, axes, pitch, vary(rng, n, 1.0, 2.6))
    cells = (n, TABLE, TABLE)
    is_brown = rng.random((*cells, 1)) < dryness[..., None]
    table = np.where(is_brown, pick(rng, cells, BROWN_FIELDS, 12), pick(rng, cells, GREEN_FIELDS, 9))
    # Neighbouring fields carry related colours: pull all towards the tile's mean by a random amount.
    table += vary(rng, n, 0, 0.55)[..., None] * (table.mean((1, 2), keepdims=True) - table)
    furrows = np.sin(axes[1] * vary(rng, n, 0.9, 2.2)) * vary(rng, n, 0, 3)
    scene = look_up(table, row, column) + (furrows + 3 * noise(rng, n, 5, 12))[..., None]
    return blend(scene, pick(rng, (n, 1, 1), GREEN_FIELDS), line(border, 0.6) * vary(rng, n, 0, 0.7))


def _woodland(rng: Generator, n: int) -> Floats:
    """Closed tree canopy: dark, finely grained, with a little relief."""
    grain = noise(rng, n, 32, 60) * vary(rng, n, 1.5, 5) + noise(rng, n, 3, 7) * vary(rng, n, 0.5, 4.5)
    scene: Floats = pick(rng, (n, 1, 1), WOODS, 5) + grain[..., None] * np.array([0.9, 1, 0.8], np.float32)
    return scene


def _grassland(rng: Generator, n: int) -> Floats:
    """Natural grass, shrubs and bare patches that run into each other."""
    grass, shrub = pick(rng, (n, 1, 1), DRY_GRASS, 12), pick(rng, (n, 1, 1), SCRUB, 6)
    shape = noise(rng, n, 4, 9, 18, 34, 60)
    scene = blend(grass, shrub, 0.5 + (shape - vary(rng, n, -1.3, 0.5)) * vary(rng, n, 0.25, 0.8))
    return scene + (noise(rng, n, 3, 8, 20, 50) * vary(rng, n, 3, 9))[..., None]


def _meadow(rng: Generator, n: int) -> Floats:
    """Grazed grass in irregular enclosures of similar greens."""
    row, column, border = plots(rng, make_axes(rng, n, 3.5), vary(rng, n, 14, 30), vary(rng, n, 1, 1.8))
    green = pick(rng, (n, 1, 1), MEADOWS, 7)
    green = blend(green, pick(rng, (n, 1, 1), DRY_GRASS, 8), vary(rng, n, -0.8, 0.45))
    tint = rng.standard_normal((n, TABLE, TABLE, 3), np.float32) * np.array([6, 4, 3], np.float32)
    scene = green + look_up(tint, row, column) + (noise(rng, n, 4, 10, 24) * vary(rng, n, 1, 4))[..., None]
    gaps = noise(rng, n, 10, 20) + vary(rng, n, 0, 1.6)
    return blend(scene, pick(rng, (n, 1, 1), WOODS), line(border, 1.5) * np.clip(gaps, 0, 0.8))


def _countryside(rng: Generator, n: int, dryness: Floats, woods: Floats) -> Floats:
    """The mixed land that roads and rivers cross: fields, meadows or scrub, with woods and hamlets.

    dryness is the share of brown fields; woods cover about half the tile at 0, all at 2, none at -2.
    """
    scene = _fields(rng, n, vary(rng, n, 9, 26), dryness, vary(rng, n, 0, 2))
    which = rng.random((n, 1, 1, 1))
    scene = np.where(which < 0.3, _meadow(rng, n), np.where(which > 0.8, _grassland(rng, n), scene))
    scene = blend(scene, _woodland(rng, n), (noise(rng, n, 3, 7, 16, 30) + woods) * 4)
    roofs, _, _ = make_roofs(rng, make_axes(rng, n, 1), vary(rng, n, 3.5, 8), 0.7)
    hamlet = np.clip((noise(rng, n, 3, 6) - vary(rng, n, 0.6, 3)) * 4, 0, 1)
    return blend(scene, pick(rng, (n, 1, 1), HOUSE_ROOFS), roofs * hamlet)


# --- the ten classes ---------------------------------------------------------------------------------------


def annual_crop(rng: Generator, n: int) -> Floats:
    """Large fields with straight, sharp borders; now and then a track or a copse."""
    scene = _fields(rng, n, vary(rng, n, 13, 40), vary(rng, n, 0.3, 1.1), 0.0)
    track = line(curve(rng, n, 0.5), 1.2) * some(rng, n, 0.3) * vary(rng, n, 0.2, 0.6)
    scene = blend(scene, pick(rng, (n, 1, 1), BROWN_FIELDS), track)
    return blend(scene, _woodland(rng, n), (noise(rng, n, 5, 12, 28) - vary(rng, n, 1.3, 4)) * 4)


def forest(rng: Generator, n: int) -> Floats:
    """Canopy, at times with clearings or a forest track."""
    scene = _woodland(rng, n)
    clearings = (noise(rng, n, 5, 12, 28) - vary(rng, n, 1.2, 5)) * vary(rng, n, 0.4, 1.2)
    scene = blend(scene, pick(rng, (n, 1, 1), DRY_GRASS), np.clip(clearings, 0, 0.6))
    track = line(curve(rng, n, 6), 1.0) * some(rng, n, 0.25) * vary(rng, n, 0.15, 0.5)
    return blend(scene, pick(rng, (n, 1, 1), DRY_GRASS), track)


def herbaceous_vegetation(rng: Generator, n: int) -> Floats:
    """Grass and shrubs without borders; some tiles on slopes, some with a path."""
    scene = _grassland(rng, n)
    # Where smooth noise crosses zero it draws branching lines: gullies and ridges of a slope.
    gullies = line(noise(rng, n, 5, 11, 24) * 5, 2.0) * some(rng, n, 0.5) * vary(rng, n, 0.2, 0.7)
    scene = blend(scene, pick(rng, (n, 1, 1), [*BROWN_FIELDS, *SCRUB]), gullies)
    path = line(curve(rng, n, 7), 1.1) * some(rng, n, 0.3) * vary(rng, n, 0.2, 0.6)
    return blend(scene, pick(rng, (n, 1, 1), BROWN_FIELDS), path)


def highway(rng: Generator, n: int) -> Floats:
    """A major road through the countryside, on some tiles with a junction: a crossing road and a loop."""
    scene = _countryside(rng, n, vary(rng, n, 0, 0.65), vary(rng, n, -2.2, 0.5))
    road = pick(rng, (n, 1, 1), ROADS, 8)
    distance, crossing = curve(rng, n, vary(rng, n, 0, 7)), curve(rng, n, 3)
    junction = some(rng, n, 0.35)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    loop = np.hypot(x - vary(rng, n, 16, 48), y - vary(rng, n, 16, 48)) - vary(rng, n, 5, 12)
    clarity = vary(rng, n, 0.55, 1)
    scene = blend(scene, road, np.maximum(line(loop, 1.2), line(crossing, 1.6)) * junction * clarity * 0.8)
    width = vary(rng, n, 2.4, 5)
    verge = line(distance, width + 2.5) * vary(rng, n, 0, 0.6)
    scene = blend(scene, pick(rng, (n, 1, 1), MEADOWS), verge)
    scene = blend(scene, road, line(distance, width) * clarity)
    median = line(distance, 0.4) * some(rng, n, 0.5) * (width > 2.6)
    return blend(scene, pick(rng, (n, 1, 1), MEADOWS), median)


def industrial(rng: Generator, n: int) -> Floats:
    """Large roofs, many of them bright, on paved ground with roads and leftover green."""
    ground = pick(rng, (n, 1, 1), PAVED, 8) + (5 * noise(rng, n, 12, 30))[..., None]
    green = (noise(rng, n, 4, 9) - vary(rng, n, -0.2, 2)) * 3
    scene = blend(ground, pick(rng, (n, 1, 1), GREEN_FIELDS), green)
    axes = make_axes(rng, n, vary(rng, n, 0, 1.5))
    for low, high, share in ((5, 9, 0.5), (10, 22, 0.7)):
        cover, row, column = make_roofs(rng, axes, vary(rng, n, low, high), share)
        colours = pick(rng, (n, TABLE, TABLE), BRIGHT_ROOFS, 16) - vary(rng, n, 0, 20)[..., None]
        # A building's shadow, cast one pixel to the lower right, gives it height.
        shadow = np.pad(cover, ((0, 0), (1, 0), (1, 0)))[:, :-1, :-1]
        scene = blend(scene * (1 - 0.35 * shadow[..., None]), look_up(colours, row, column), cover)
    road = line(curve(rng, n, 2), vary(rng, n, 1.5, 3))
    return blend(scene, pick(rng, (n, 1, 1), ROADS), road * some(rng, n, 0.6))


def pasture(rng: Generator, n: int) -> Floats:
    """Meadows with hedges, single trees and sometimes a farm."""
    scene = _meadow(rng, n)
    trees = (noise(rng, n, 12, 24) - vary(rng, n, 1.3, 3.2)) * 2
    scene = blend(scene, pick(rng, (n, 1, 1), WOODS), np.clip(trees, 0, 0.85))
    roofs, _, _ = make_roofs(rng, make_axes(rng, n), vary(rng, n, 3, 5), 0.6)
    farm = roofs * (noise(rng, n, 7) > 2.1)
    return blend(scene, pick(rng, (n, 1, 1), BRIGHT_ROOFS), farm)


def permanent_crop(rng: Generator, n: int) -> Floats:
    """Orchards and vineyards: small plots, planted in rows whose direction changes from plot to plot."""
    axes = make_axes(rng, n, vary(rng, n, 0, 2.5))
    row, column, border = plots(rng, axes, vary(rng, n, 6, 15), vary(rng, n, 0.9, 1.8))
    cells = (n, TABLE, TABLE)
    green, brown = pick(rng, cells, GREEN_FIELDS, 8), pick(rng, cells, BROWN_FIELDS, 8)
    fields = blend(green, brown, some(rng, n, 0.5))
    table = blend(fields, pick(rng, cells, ORCHARDS, 9), vary(rng, n, 0.6, 1))
    table += vary(rng, n, 0, 0.5)[..., None] * (table.mean((1, 2), keepdims=True) - table)
    across = np.where((row + column) % 3 > 0, *axes)
    rows = np.sin(across * vary(rng, n, 1.3, 2.1)) * vary(rng, n, 6, 16)
    scene = look_up(table, row, column) + (rows + 4 * noise(rng, n, 6, 20))[..., None]
    lanes = line(border, 1.0) * vary(rng, n, 0.2, 0.8)
    return blend(scene, pick(rng, (n, 1, 1), [*DRY_GRASS, *BROWN_FIELDS]), lanes)


def residential(rng: Generator, n: int) -> Floats:
    """Many small roofs between gardens, blocks divided by streets."""
    garden = pick(rng, (n, 1, 1), [*GREEN_FIELDS[:3], *PAVED], 6) - 10
    scene = garden + (noise(rng, n, 5, 16, 40) * vary(rng, n, 4, 10))[..., None]
    # Built-up density drifts over the tile; every second value of a map gives one value per cell.
    share = np.clip(vary(rng, n, 0.5, 1) + 0.25 * noise(rng, n, 3, 6)[:, ::2, ::2], 0, 1)
    axes = make_axes(rng, n, vary(rng, n, 0, 2))
    cover, row, column = make_roofs(rng, axes, vary(rng, n, 3, 5.5), share)
    colours = pick(rng, (n, TABLE, TABLE), HOUSE_ROOFS, 14)
    colours += vary(rng, n, 0, 0.8)[..., None] * (colours[:, :1, :1] - colours)
    scene = blend(scene, look_up(colours, row, column), cover)
    _, _, border = plots(rng, axes, vary(rng, n, 7, 15), vary(rng, n, 1.2, 2.5))
    return blend(scene, pick(rng, (n, 1, 1), ROADS), line(border, 1.2) * vary(rng, n, 0.4, 1))


def river(rng: Generator, n: int) -> Floats:
    """A band of water, narrow or broad, that winds through the countryside between trees or sand banks."""
    scene = _countryside(rng, n, vary(rng, n, 0, 0.5), vary(rng, n, -1.6, 1))
    width: Floats = (4.5 * np.exp(vary(rng, n, 0, 1.7))).astype(np.float32)
    distance = curve(rng, n, vary(rng, n, 1, 12), 12) + noise(rng, n, 8) * vary(rng, n, 0.2, 1)
    bank = pick(rng, (n, 1, 1), [*WOODS, *WOODS, *MEADOWS, *BROWN_FIELDS])
    scene = blend(scene, bank, line(distance, width + vary(rng, n, 1, 5)) * vary(rng, n, 0.2, 0.9))
    water = pick(rng, (n, 1, 1), [*WATERS, (96, 106, 100)], 5) + noise(rng, n, 4, 20)[..., None]
    return blend(scene, water, line(distance, width))


def sea_lake(rng: Generator, n: int) -> Floats:
    """Smooth water that shades off slowly; some tiles with faint waves, a few with a shore."""
    u, _ = make_axes(rng, n, 3)
    waves = np.sin(u * vary(rng, n, 0.7, 1.6)) * vary(rng, n, 0, 2.5) * some(rng, n, 0.4)
    shading = curve(rng, n, 0.0) * vary(rng, n, 0, 0.15) + noise(rng, n, 2, 5) * vary(rng, n, 0.3, 2.5)
    scene: Floats = pick(rng, (n, 1, 1), WATERS, 5) + (waves + shading)[..., None]
    with_shore = rng.random(n) < 0.2
    k = int(with_shore.sum())
    shore = curve(rng, k, 4, 0) - vary(rng, k, 16, 34) + 2 * noise(rng, k, 5, 12)
    land = _countryside(rng, k, vary(rng, k, 0, 0.8), vary(rng, k, -2, 1))
    scene[with_shore] = blend(scene[with_shore], land, shore)
    return scene


PAINTERS: dict[str, Callable[[Generator, int], Floats]] = {
    "AnnualCrop": annual_crop,
    "Forest": forest,
    "HerbaceousVegetation": herbaceous_vegetation,
    "Highway": highway,
    "Industrial": industrial,
    "Pasture": pasture,
    "PermanentCrop": permanent_crop,
    "Residential": residential,
    "River": river,
    "SeaLake": sea_lake,
}


def _photograph(rng: Generator, scene: Floats) -> NDArray[np.uint8]:
    """The scene as the satellite sees it: light, haze, colour cast, slight blur and sensor noise."""
    n = len(scene)
    for axis in (1, 2):
        along = np.moveaxis(scene, axis, 1)  # a view: writing to it blurs the scene itself
        neighbours = along[:, :-2] + along[:, 2:]
        along[:, 1:-1] *= 0.6
        along[:, 1:-1] += 0.2 * neighbours
    light = np.exp(rng.normal(0, 0.08, (n, 1, 1, 1))).astype(np.float32)
    haze = rng.uniform(0, 0.4, (n, 1, 1, 1)).astype(np.float32) ** 2
    cast = rng.normal(0, 2.5, (n, 1, 1, 3)).astype(np.float32)
    grain = vary(rng, n, 2, 8)[..., None] * (rng.random(scene.shape, np.float32) - 0.5)
    # Gain and offset stretch the contrast a little, as the published tiles were stretched for display.
    scene *= 1.18 * light * (1 - haze)
    scene += haze * np.array(HAZE, np.float32) + cast - 14
    scene += grain
    return np.clip(scene, 0, 255, out=scene).astype(np.uint8)


def make_tiles(count: int = 2000, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels, uint8 [count, 64, 64, 3], and labels, int64 [count]: balanced, sorted by class."""
    classes = len(CLASS_NAMES)
    if count < classes:
        raise ValueError(f"Synthetic tiles need a count of at least {classes}, one per class; got {count}.")
    labels = np.sort(np.arange(count, dtype=np.int64) % classes)
    pixels = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for label, name in enumerate(CLASS_NAMES):
        rng = np.random.default_rng([seed, label])
        start, stop = np.searchsorted(labels, [label, label + 1])
        for first in range(start, stop, CHUNK):
            n = min(CHUNK, stop - first)
            pixels[first : first + n] = _photograph(rng, PAINTERS[name](rng, n))
    return pixels, labels
