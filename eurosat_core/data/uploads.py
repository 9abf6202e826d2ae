"""Pictures that somebody uploads: read within bounds, and cut into tiles.

What comes in is from outside: its name is not believed, its size is looked at before anything is decoded, and nothing
of it is written to disk or to a log.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from eurosat_core import wording
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.data.deep_tiff import (
    FIRST_THREE,
    DeepPicture,
    Mask,
    Range,
    Raw,
    in_eight_bits,
    open_picture,
    range_of,
    tiff_layout,
)
from eurosat_core.data.pictures import METRES_PER_PIXEL, Pixels
from eurosat_core.errors import DataError
from eurosat_core.wording import bytes_text, percent

FORMATS = ("JPEG", "PNG", "TIFF")
MOST_BYTES = 20 * 1024**2
MOST_PIXELS = 24_000_000  # the picture of a good phone; about 70 MB of memory while it is read
LEAST_SIDE = 8

_SAID: dict[str, str] = wording.sentences("uploads")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*")  # how JPEG, PNG and TIFF begin
# How what is often taken for a picture begins.
_OTHERS = {
    b"%PDF": "pdf",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"RIFF": "riff",
    b"PK": "zip",
    b"\x89HDF": "hdf",
    b"\x00\x00\x00\x0cjP": "jpeg_2000",
}


@dataclass(frozen=True)
class Picture:
    """An uploaded picture as values [H, W, 3].

    notes: a sentence for each thing that was changed to make it red, green and blue. bands: how many the file has.
    valid: which pixels [H, W] have data; None: all. has_alpha: its fourth band says what is transparent; it may be near
    infrared in truth, so `read_picture` can be told to ignore it.
    """

    values: Raw
    notes: tuple[str, ...] = ()
    bands: int = 3
    valid: Mask | None = None
    has_alpha: bool = False

    @property
    def height(self) -> int:
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        return int(self.values.shape[1])


def read_picture(content: bytes, bands: str = "") -> Picture:
    """The picture in a JPEG, PNG or TIFF file's bytes. Raises `DataError` with a sentence.

    bands: of a file with more than three, which are red, green and blue (a key of `BAND_ORDERS`; "" lets the file's
    number of bands decide, and takes an alpha channel as transparency, which any key ignores).
    """
    if not content:
        raise DataError(_SAID["empty"])
    if len(content) > MOST_BYTES:
        raise DataError(_said("too_many_bytes", size=bytes_text(len(content)), most=bytes_text(MOST_BYTES)))
    try:
        found = open_picture(content, FORMATS, _check_size, bands)
        if isinstance(found, DeepPicture):
            return _as_values(found)
        layout = tiff_layout(content)
        return _as_colours(found, layout.bands if layout is not None else 0, ignore_alpha=bool(bands))
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(_too_large()) from error
    except Exception as error:  # damage raises whatever it hits first; its words may quote the file, so they stay here
        is_other = isinstance(error, UnidentifiedImageError) and not content.startswith(_MAGIC)
        raise DataError(_said(_what_it_is(content) if is_other else "damaged")) from error


def _said(name: str, **figures: Any) -> str:
    return _SAID[name].format(way_out=_SAID["way_out"], **figures)


def _as_values(found: DeepPicture) -> Picture:
    """Numbers as they are, with notes on their bands and on the pixels without any."""
    notes = _band_notes(found.bands, found.order)
    if found.valid is not None:
        share = 1 - float(found.valid.mean())
        if share == 1:
            raise DataError(_SAID["no_data"])
        none = "fewer than 0.1\N{NO-BREAK SPACE}%" if share < 0.001 else percent(share)
        notes += (_said("some_data", none=none),)
    return Picture(found.values, notes, found.bands, found.valid)


def _check_size(width: int, height: int) -> None:
    """Before anything is decoded: a small file may claim to be a huge picture."""
    if width * height > MOST_PIXELS:
        raise DataError(_too_large(width, height))
    if min(width, height) < LEAST_SIDE:
        raise DataError(_said("too_small", width=width, height=height, least=LEAST_SIDE))


def _too_large(width: int = 0, height: int = 0) -> str:
    name = "too_large" if width else "far_too_large"
    return _said(name, width=width, height=height, millions=MOST_PIXELS // 1_000_000)


def _what_it_is(content: bytes) -> str:
    """Which sentence says it, for a file that is none of the three formats."""
    start = content[:1024].lstrip()
    for magic, name in _OTHERS.items():
        if start.startswith(magic) or content.startswith(magic):
            return name
    if content[4:8] == b"ftyp":
        return "heic"
    lowered = start.lower()
    if b"<svg" in lowered:
        return "svg"
    if lowered.startswith((b"<!doctype", b"<html")):
        return "web_page"
    return "no_picture"


def _as_colours(picture: Image.Image, bands: int, *, ignore_alpha: bool) -> Picture:
    """Any mode of Pillow's as red, green and blue, turned the way it was taken. bands: of a TIFF; else 0."""
    picture.load()
    notes: list[str] = []
    turned = ImageOps.exif_transpose(picture)
    if turned.size != picture.size:
        notes.append(_SAID["turned"])
    mode = turned.mode
    grey = mode in ("1", "L", "LA")
    if grey:
        notes += _band_notes(1, FIRST_THREE)
    if mode == "CMYK":
        notes.append(_SAID["print"])
    if mode == "RGB" and bands > 3:
        notes.append(_SAID["fourth_ignored"])
    valid: Mask | None = None
    has_alpha = False
    if mode == "RGBA" and ignore_alpha:
        notes.append(_SAID["fourth_ignored"])
    elif turned.has_transparency_data:
        turned, valid, is_mask = _without_transparency(turned)
        has_alpha = mode == "RGBA" and valid is not None
        if valid is not None:
            notes.append(_SAID["transparent" if is_mask else "fourth_taken"])
    values: npt.NDArray[np.uint8] = np.array(turned.convert("RGB"), dtype=np.uint8)
    bands = 1 if grey else 4 if mode == "RGBA" or (mode == "RGB" and bands > 3) else 3
    return Picture(values, tuple(notes), bands, valid, has_alpha)


def _without_transparency(picture: Image.Image) -> tuple[Image.Image, Mask | None, bool]:
    """On a black ground; which pixels can be seen at all (None: all, and nothing was changed); whether alpha is a mask.

    A mask is mostly on or off; a band of values that was taken for one is not.
    """
    whole = picture.convert("RGBA")
    alpha = np.asarray(whole.getchannel("A"))
    if int(alpha.min()) == 255:
        return whole, None, True
    ground = Image.new("RGBA", whole.size, (0, 0, 0, 255))
    is_mask = float(((alpha == 0) | (alpha == 255)).mean()) > 0.5
    return Image.alpha_composite(ground, whole), alpha > 0, is_mask


def _band_notes(bands: int, order: str) -> tuple[str, ...]:
    name = {1: "one_band", 2: "two_bands", 3: ""}.get(bands, "bands")
    return (_said(name, bands=bands, order=order),) if name else ()


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
        note = _SAID["stretched"]
    if pixels.shape[:2] != (layout.height, layout.width):
        # A box counts all pixels that a new one covers; a triangle makes new ones between the old.
        how = Image.Resampling.BOX if layout.scale < 1 else Image.Resampling.BILINEAR
        pixels = np.asarray(Image.fromarray(pixels).resize((layout.width, layout.height), how))
    notes = (*picture.notes, *filter(None, (note,)), *_layout_notes(picture, layout, metres))
    made = Cut(np.ascontiguousarray(pixels), layout, notes)
    empty = 0 if valid is None else _tiles_without_data(made, valid)
    if empty:
        made = replace(made, notes=(*notes, _said("empty_tiles", tiles=wording.count(empty, "tile has", "tiles have"))))
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
        return _said("reflectances", range=shown.text)
    return "" if shown.is_one_to_one else _said("scaled", range=shown.text)


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
    left, top, right, bottom = layout.box
    wanted = metres / METRES_PER_PIXEL
    figures = {
        "size": f"{picture.width:,} × {picture.height:,} pixels",
        "used": f"{right - left:,} × {bottom - top:,}",
        "became": f"{layout.width:,} × {layout.height:,}",
        "times": layout.scale,
        "most": f"{MOST_ACROSS} × {MOST_ACROSS} tiles",
        "metres": metres,
        "wanted": METRES_PER_PIXEL,
        "now": wording.rounded(METRES_PER_PIXEL * wanted / layout.scale, 3),
    }
    if layout.scale > wanted * 1.0001:
        notes.append("enlarged")
    elif layout.scale < wanted * 0.9999:
        notes.append("reduced")
    elif abs(wanted - 1) > 1e-6:
        notes.append("resampled")
    if (right - left, bottom - top) != (picture.width, picture.height):
        notes.append("middle")
    over = [
        _said("over", what=what, pixels=TILE_SIDE - length % TILE_SIDE)
        for what, length in (("column", layout.width), ("row", layout.height))
        if length % TILE_SIDE
    ]
    said = [_said(name, **figures) for name in notes]
    return [*said, _said("not_whole", over=" and ".join(over))] if over else said
