"""From a picture of any size to tiles of 64 × 64 pixels: stretched in colour, resampled, cut, never distorted."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from eurosat_core import wording
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.data.pictures import METRES_PER_PIXEL, Pixels
from eurosat_core.data.scale import Mask, Range, Raw, in_eight_bits, range_of
from eurosat_core.data.uploads import Picture

__all__ = ["MOST_ACROSS", "STRETCHES", "Cut", "Layout", "coarser", "cut", "lay_out", "stretched"]

MOST_ACROSS = 32  # tiles side by side, and one below the other: 1,024 in all
STRETCHES = ("as it is", "2–98 %")
_MOST_SIDE = MOST_ACROSS * TILE_SIDE
_LOOKED_AT = 1_000_000  # pixels, at most, that a scale or the ends of a stretch are taken from


@dataclass(frozen=True)
class Layout:
    """How a picture becomes tiles.

    box: the part that is used, in the picture's own pixels (left, top, right, bottom). width, height: of that part
    after resampling, both at least 64. scale: new pixels per old one. xs, ys: the tiles' edges on the resampled part;
    the last column or row may be narrower than 64 pixels, then its tile reaches back over its neighbour.
    """

    box: tuple[int, int, int, int]
    width: int
    height: int
    scale: float
    xs: tuple[int, ...]
    ys: tuple[int, ...]

    @property
    def columns(self) -> int:
        return len(self.xs) - 1

    @property
    def rows(self) -> int:
        return len(self.ys) - 1

    def areas(self) -> npt.NDArray[np.float64]:
        """Each tile's share of the picture's area [rows × columns]; they add up to 1."""
        area = np.outer(np.diff(self.ys), np.diff(self.xs)).astype(np.float64)
        shares: npt.NDArray[np.float64] = (area / area.sum()).flatten()
        return shares


@dataclass(frozen=True)
class Cut:
    """A picture ready to be asked about: pixels [H, W, 3] as laid out, and a sentence for each thing done to it."""

    pixels: Pixels
    layout: Layout
    notes: tuple[str, ...]

    def tile(self, number: int) -> Pixels:
        """One tile [64, 64, 3], counted along the rows."""
        row, column = divmod(number, self.layout.columns)
        top = min(self.layout.ys[row], self.layout.height - TILE_SIDE)
        left = min(self.layout.xs[column], self.layout.width - TILE_SIDE)
        return self.pixels[top : top + TILE_SIDE, left : left + TILE_SIDE]

    def tiles(self) -> Pixels:
        """All tiles [n, 64, 64, 3]."""
        return np.stack([self.tile(number) for number in range(self.layout.rows * self.layout.columns)])


def lay_out(width: int, height: int, metres: float = METRES_PER_PIXEL, *, whole: bool = False) -> Layout:
    """How a picture of this size, with so many metres a pixel, becomes tiles of 10 m a pixel.

    What does not fit into 32 × 32 tiles is left out around the middle; whole: it is reduced instead. A picture too
    small for one tile is enlarged.
    """
    scale = metres / METRES_PER_PIXEL
    if whole:
        scale = min(scale, _MOST_SIDE / max(width, height))
    scale = max(scale, TILE_SIDE / min(width, height))
    left, right, across = _used(width, scale)
    top, bottom, down = _used(height, scale)
    return Layout((left, top, right, bottom), across, down, scale, _edges(across), _edges(down))


def _used(length: int, scale: float) -> tuple[int, int, int]:
    """The middle part of a side that fits into the most tiles: from, to, and its length after resampling."""
    kept = max(min(length, int(_MOST_SIDE / scale)), 1)
    start = (length - kept) // 2
    return start, start + kept, min(max(round(kept * scale), TILE_SIDE), _MOST_SIDE)


def _edges(length: int) -> tuple[int, ...]:
    return (*range(0, length, TILE_SIDE), length)


def cut(picture: Picture, stretch: str, metres: float = METRES_PER_PIXEL, *, whole: bool = False) -> Cut:
    """The picture in 8 bits, stretched, resampled to 10 m a pixel, and laid out in tiles."""
    layout = lay_out(picture.width, picture.height, metres, whole=whole)
    left, top, right, bottom = layout.box
    values = picture.values[top:bottom, left:right]
    valid = None if picture.valid is None else picture.valid[top:bottom, left:right]
    if stretch == STRETCHES[0]:
        shown = range_of(_sample(picture.values, picture.valid).ravel())  # of all of it: the same for every part
        pixels, note = in_eight_bits(values, shown, valid), _scale_note(picture.values, shown)
    else:
        pixels = stretched(values, valid)
        note = "Its colours were stretched: of each band, the darkest 2 % are black now and the brightest 2 % full."
    if pixels.shape[:2] != (layout.height, layout.width):
        # A box counts all pixels that a new one covers; a triangle makes new ones between the old.
        how = Image.Resampling.BOX if layout.scale < 1 else Image.Resampling.BILINEAR
        pixels = np.asarray(Image.fromarray(pixels).resize((layout.width, layout.height), how))
    notes = (*picture.notes, *filter(None, (note,)), *_layout_notes(picture, layout, metres))
    made = Cut(np.ascontiguousarray(pixels), layout, notes)
    empty = 0 if valid is None else _tiles_without_data(made, valid)
    if empty:
        tiles = "1 tile has" if empty == 1 else f"{empty:,} tiles have"
        made = replace(made, notes=(*notes, f"{tiles} hardly any data: what the network answers there means nothing."))
    return made


def _sample(values: Raw, valid: Mask | None) -> Raw:
    """Values [n, 3] spread over a picture [H, W, 3], of pixels that have data."""
    step = max(int((values.shape[0] * values.shape[1] / _LOOKED_AT) ** 0.5), 1)
    some = values[::step, ::step]
    if valid is None:
        return some.reshape(-1, 3)
    found: Raw = some[valid[::step, ::step]]
    return found if len(found) else values[valid]


def _scale_note(values: Raw, shown: Range) -> str:
    """A sentence on the scale; empty when it is one to one."""
    if values.dtype == np.uint8:
        return ""
    if shown.reflectance:
        return (
            f"Its values are read as Sentinel-2 reflectances: {shown.text} became 0 to 255, as when EuroSAT’s own "
            "tiles were made."
        )
    return "" if shown.is_one_to_one else f"Its values were scaled: {shown.text} became 0 to 255."


def _tiles_without_data(made: Cut, valid: Mask) -> int:
    """How many tiles lie mostly where there are no data."""
    shape = (made.layout.width, made.layout.height)
    resized = np.asarray(Image.fromarray(valid).resize(shape, Image.Resampling.NEAREST))
    masks = replace(made, pixels=np.repeat(resized[..., None].astype(np.uint8), 3, axis=2)).tiles()
    return int((masks.mean(axis=(1, 2, 3)) < 0.5).sum())


def stretched(values: Raw, valid: Mask | None = None) -> Pixels:
    """Values [H, W, 3] so that each band's darkest 2 % are 0 and its brightest 2 % 255; without data: 0."""
    sample = _sample(values, valid)
    if not len(sample):
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = np.percentile(sample, (2, 98), axis=0).astype(np.float32)
    spread = np.maximum(high - low, 1 if values.dtype.kind == "u" else 1e-6)
    with np.errstate(invalid="ignore", over="ignore"):
        pixels: Pixels = np.round(np.clip(np.nan_to_num((values - low) / spread), 0, 1) * 255).astype(np.uint8)
    if valid is not None:
        pixels[~valid] = 0
    return pixels


def coarser(tile: Pixels, metres: float) -> Pixels:
    """A tile [64, 64, 3] as a camera with larger pixels would have seen it, enlarged again."""
    side = max(round(TILE_SIDE * METRES_PER_PIXEL / metres), 1)
    if side >= TILE_SIDE:
        return tile
    seen = Image.fromarray(tile).resize((side, side), Image.Resampling.BOX)
    return np.asarray(seen.resize((TILE_SIDE, TILE_SIDE), Image.Resampling.BILINEAR))


def _layout_notes(picture: Picture, layout: Layout, metres: float) -> list[str]:
    """What was done to fit it, in words."""
    notes = []
    size = f"{picture.width:,} × {picture.height:,} pixels"
    left, top, right, bottom = layout.box
    is_cropped = (right - left, bottom - top) != (picture.width, picture.height)
    wanted = metres / METRES_PER_PIXEL
    if layout.scale > wanted * 1.0001:
        notes.append(f"At {size} it is smaller than a tile, so it was enlarged {layout.scale:.3g} times.")
    elif layout.scale < wanted * 0.9999:
        metres_now = METRES_PER_PIXEL * wanted / layout.scale
        notes.append(
            f"It was reduced to {layout.width:,} × {layout.height:,} pixels to fit into {MOST_ACROSS} × {MOST_ACROSS} "
            f"tiles: a pixel shows {wording.rounded(metres_now, 3)} m now, which is not what the network was trained "
            "on."
        )
    elif abs(wanted - 1) > 1e-6:
        notes.append(
            f"From {metres:g} m to {METRES_PER_PIXEL} m per pixel: {right - left:,} × {bottom - top:,} pixels became "
            f"{layout.width:,} × {layout.height:,}."
        )
    if is_cropped:
        notes.append(
            f"Only its middle is used, {right - left:,} × {bottom - top:,} of {size}: more would not fit into "
            f"{MOST_ACROSS} × {MOST_ACROSS} tiles."
        )
    over = [
        f"the tiles of the last {what} reach {TILE_SIDE - length % TILE_SIDE} pixels over their neighbours"
        for what, length in (("column", layout.width), ("row", layout.height))
        if length % TILE_SIDE
    ]
    if over:
        notes.append(f"It does not divide into whole tiles: {' and '.join(over)}.")
    return notes
