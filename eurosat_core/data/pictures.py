"""Classes with their colours and titles, and pictures as the pages show them: tiles, feature maps, heat maps, faces."""

import base64
import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from eurosat_core.data.classes import CLASSES
from eurosat_core.data.decoding import TILE_SIDE

CHANNELS = ("Red", "Green", "Blue")
METRES_PER_PIXEL = 10  # Sentinel-2's red, green and blue bands

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
# Ends and middle of the scale for signed numbers: blue below zero, orange above (apart for colour-blind readers).
_SIGNED = np.array([(5, 48, 97), (247, 247, 247), (179, 88, 6)], dtype=np.float32)


def class_titles(class_names: tuple[str, ...]) -> dict[str, str]:
    """A class's name in words: EuroSAT's own where the name is EuroSAT's, else the folder's name as it is."""
    own = {each.name: each.title for each in CLASSES}
    return {name: own.get(name, name) for name in class_names}


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


def value_planes(values: Values, times: int, limit: float) -> tuple[Pixels, ...]:
    """The three channels [H, W] as enlarged pictures: blue below zero, pale at zero, orange above, full at ±limit."""
    shares = (np.clip(values / limit, -1, 1) + 1) / 2
    return tuple(
        enlarged(np.round(_between(_SIGNED, plane)).astype(np.uint8), times) for plane in np.moveaxis(shares, 2, 0)
    )


def _between(stops: Values, shares: Values) -> Values:
    """Colours [H, W, 3] between evenly spaced stops [n, 3], of which 0 is the first and 1 the last."""
    place = shares * (len(stops) - 1)
    lower = np.minimum(place.astype(np.int64), len(stops) - 2)
    above = (place - lower)[..., None]
    colours: Values = stops[lower] * (1 - above) + stops[lower + 1] * above
    return colours


_GAP = 4  # pixels between the pictures of a sheet


def signed(plane: Values, times: int, limit: float | None = None) -> Pixels:
    """A plane [H, W] as a picture: blue below zero, pale at zero, orange above, full at ±limit (else its largest)."""
    limit = limit or float(np.abs(plane).max()) or 1.0
    return value_planes(plane[..., None], times, limit)[0]


def cell_colours(plane: Values, limit: float) -> list[list[str]]:
    """The same colours as `#rrggbb` for the cells of a table."""
    return [
        [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in row] for row in signed(plane, 1, limit).tolist()
    ]


def padded(tile: Pixels, padding: int, mean: tuple[float, ...], channel: int | None = None) -> Pixels:
    """A tile with its padding in the colour that is zero for the network; one channel of it in grey, if asked for."""
    border = np.round(255 * np.array(mean)).astype(np.uint8)
    height, width = tile.shape[:2]
    picture = np.tile(border, (height + 2 * padding, width + 2 * padding, 1))
    picture[padding : padding + height, padding : padding + width] = tile
    return picture if channel is None else np.repeat(picture[..., channel, None], 3, axis=2)


def map_sheet(maps: Values, columns: int, cell: int) -> Pixels:
    """Feature maps [n, H, W] side by side, each about `cell` pixels wide, all on one scale; RGBA, clear between.

    The values of a layer without maps are maps of one pixel.
    """
    times = max(round(cell / maps.shape[2]), 1)
    limit = float(np.abs(maps).max()) or 1.0
    return _sheet([signed(each, times, limit) for each in maps], columns)


def filter_sheet(weights: Values, columns: int, cell: int, chosen: int | None = None) -> Pixels:
    """Filters [n, 3, side, side] as colours, grey where a weight is zero, the chosen one framed; RGBA.

    Each filter on its own scale: what counts is its pattern.
    """
    times = max(cell // weights.shape[2], 1)
    pictures = []
    for number, one in enumerate(weights):
        scaled = np.moveaxis(one, 0, 2) / (2 * (float(np.abs(one).max()) or 1.0)) + 0.5
        picture = np.round(255 * scaled).astype(np.uint8)
        large = enlarged(picture, times)
        pictures.append(_outlined(large) if number == chosen else large)
    return _sheet(pictures, columns)


def _outlined(picture: Pixels) -> Pixels:
    """The picture with a frame inside its edge, black in white: seen on every ground."""
    height, width = picture.shape[:2]
    framed: Pixels = with_frame(picture, 1, 5, 5, min(height, width) - 10)
    framed[:3] = framed[-3:] = 0
    framed[:, :3] = framed[:, -3:] = 0
    return framed


def _sheet(pictures: list[Pixels], columns: int) -> Pixels:
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet: npt.NDArray[np.uint8] = np.zeros(
        (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 4), dtype=np.uint8
    )
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        sheet[top : top + height, left : left + width, :3] = picture
        sheet[top : top + height, left : left + width, 3] = 255
    return sheet


# From nothing to much: rises in brightness all the way, so it reads without colour, too.
_STOPS = np.array([(20, 10, 40), (110, 30, 110), (205, 70, 75), (250, 160, 40), (252, 250, 190)], dtype=np.float32)
_STRONGEST = 0.75  # how much of the tile the strongest heat covers


def heat_overlay(tile: Pixels, heat: Values, times: int) -> Pixels:
    """A tile [H, W, 3], enlarged, under its heat [H, W] (0…1); where there is none it is darkened a little."""
    shares = np.clip(heat, 0, 1)
    cover = 0.35 + (_STRONGEST - 0.35) * shares[..., None]
    mixed = tile.astype(np.float32) * (1 - cover) + _between(_STOPS, shares) * cover
    return enlarged(np.round(mixed).astype(np.uint8), times)


def jpeg_uri(pixels: Pixels, most_side: int) -> str:
    """A large picture as a `data:` address, reduced to `most_side` pixels: small enough to be sent at every click."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((most_side, most_side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


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


def _chessboard() -> Pixels:
    rows, columns = np.mgrid[:TILE_SIDE, :TILE_SIDE] // 8
    return np.repeat(np.where((rows + columns) % 2, 235, 25).astype(np.uint8)[..., None], 3, axis=2)


MADE_UP: dict[str, Callable[[], Pixels]] = {
    FACE: _face,
    "Noise": lambda: np.random.default_rng(1).integers(0, 256, (TILE_SIDE, TILE_SIDE, 3), dtype=np.uint8),
    "A red square": lambda: np.full((TILE_SIDE, TILE_SIDE, 3), _RED, dtype=np.uint8),
    "A chessboard": _chessboard,
}
"""Name of each → function that draws it, [64, 64, 3]."""
