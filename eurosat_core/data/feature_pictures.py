"""Feature maps, filters and padded tiles as pictures: NumPy in, NumPy out."""

import numpy as np
import numpy.typing as npt

from eurosat_core.data.pictures import Pixels, Values, enlarged, value_planes, with_frame

__all__ = ["cell_colours", "filter_sheet", "map_sheet", "neuron_sheet", "padded", "signed"]

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
    """Feature maps [n, H, W] side by side, each about `cell` pixels wide, all on one scale; RGBA, clear between."""
    times = max(round(cell / maps.shape[2]), 1)
    limit = float(np.abs(maps).max()) or 1.0
    return _sheet([signed(each, times, limit) for each in maps], columns)


def neuron_sheet(neurons: Values, columns: int, cell: int) -> Pixels:
    """The values [n] of a layer without maps as squares in rows, as one reads; RGBA, clear between."""
    limit = float(np.abs(neurons).max()) or 1.0
    return _sheet([signed(each.reshape(1, 1), cell, limit) for each in neurons], columns)


def filter_sheet(weights: Values, columns: int, cell: int, chosen: int | None = None) -> Pixels:
    """Filters [n, 3, side, side] as colours, grey where a weight is zero, the chosen one framed; RGBA.

    Each filter on its own scale: what counts is its pattern.
    """
    times = max(cell // weights.shape[2], 1)
    pictures = []
    for number, one in enumerate(weights):
        scaled = np.moveaxis(one, 0, 2) / (2 * (float(np.abs(one).max()) or 1.0)) + 0.5
        picture = np.round(255 * scaled).astype(np.uint8)
        if number == chosen:
            pictures.append(_outlined(enlarged(picture, times)))
        else:
            pictures.append(enlarged(picture, times))
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
