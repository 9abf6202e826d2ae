"""Pictures that show none of the classes, drawn here: what does a network answer that has no "none of these"?"""

from collections.abc import Callable

import numpy as np

from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.data.pictures import Pixels

__all__ = ["FACE", "MADE_UP"]

FACE = "A face"
_SKIN, _GROUND, _DARK, _MOUTH, _RED = (242, 201, 143), (108, 160, 190), (40, 34, 48), (170, 40, 60), (205, 30, 35)


def _face() -> Pixels:
    rows, columns = np.mgrid[:TILE_SIDE, :TILE_SIDE] - (TILE_SIDE - 1) / 2
    distance = np.hypot(rows, columns)
    picture = np.full((TILE_SIDE, TILE_SIDE, 3), _GROUND, dtype=np.uint8)
    picture[distance < 27] = _SKIN
    for side in (-10, 10):
        picture[np.hypot(rows + 7, columns - side) < 4] = _DARK
    smile = (np.abs(np.hypot(rows - 2, columns) - 14) < 2) & (rows > 6)
    picture[smile] = _MOUTH
    return picture


def _noise() -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (TILE_SIDE, TILE_SIDE, 3), dtype=np.uint8)


def _one_colour() -> Pixels:
    return np.full((TILE_SIDE, TILE_SIDE, 3), _RED, dtype=np.uint8)


def _chessboard() -> Pixels:
    rows, columns = np.mgrid[:TILE_SIDE, :TILE_SIDE] // 8
    return np.repeat(np.where((rows + columns) % 2, 235, 25).astype(np.uint8)[..., None], 3, axis=2)


MADE_UP: dict[str, Callable[[], Pixels]] = {
    FACE: _face,
    "Noise": _noise,
    "A red square": _one_colour,
    "A chessboard": _chessboard,
}
"""Name of each → function that draws it, [64, 64, 3]."""
