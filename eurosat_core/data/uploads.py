"""Pictures that somebody uploads: read within bounds, and cut into tiles.

What comes in is from outside: its name is not believed, its size is looked at before anything is decoded, and nothing
of it is written to disk or to a log.
"""

from dataclasses import dataclass, replace

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

_WAY_OUT = "Save the picture as PNG or JPEG and upload that."
_DAMAGED = f"This picture is damaged or cut short, so it cannot be read. {_WAY_OUT}"
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*")  # how JPEG, PNG and TIFF begin
# How what is often taken for a picture begins.
_OTHERS = {
    b"%PDF": f"This is a PDF, a document. {_WAY_OUT}",
    b"GIF8": f"This is a GIF, which has at most 256 colours. {_WAY_OUT}",
    b"BM": f"This is a BMP. {_WAY_OUT}",
    b"RIFF": f"This is a WebP or a film. {_WAY_OUT}",
    b"PK": "This is a zip archive. Unpack it and upload one picture from it.",
    b"\x89HDF": "This is an HDF5 or NetCDF file. Export its red, green and blue bands as a TIFF and upload that.",
    b"\x00\x00\x00\x0cjP": f"This is a JPEG 2000, as Sentinel-2 products hold. {_WAY_OUT}",
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
        raise DataError("This file is empty. Choose another one.")
    if len(content) > MOST_BYTES:
        raise DataError(f"This file has {bytes_text(len(content))}; up to {bytes_text(MOST_BYTES)} can be read here.")
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
        raise DataError(_what_it_is(content) if is_other else _DAMAGED) from error


def _as_values(found: DeepPicture) -> Picture:
    """Numbers as they are, with notes on their bands and on the pixels without any."""
    notes = _band_notes(found.bands, found.order)
    if found.valid is not None:
        share = 1 - float(found.valid.mean())
        if share == 1:
            raise DataError("No pixel of this picture has data. Export a part that the satellite has seen.")
        none = "fewer than 0.1\N{NO-BREAK SPACE}%" if share < 0.001 else percent(share)
        notes += (f"Of its pixels, {none} have no data: they are black here, and no scale is made of them.",)
    return Picture(found.values, notes, found.bands, found.valid)


def _check_size(width: int, height: int) -> None:
    """Before anything is decoded: a small file may claim to be a huge picture."""
    if width * height > MOST_PIXELS:
        raise DataError(_too_large(width, height))
    if min(width, height) < LEAST_SIDE:
        raise DataError(
            f"This picture is {width:,} × {height:,} pixels; at least {LEAST_SIDE} × {LEAST_SIDE} are needed to see "
            "anything in it."
        )


def _too_large(width: int = 0, height: int = 0) -> str:
    claims = f"says it has {width:,} × {height:,} pixels" if width else "says it has far more pixels"
    return (
        f"This picture {claims}; up to {MOST_PIXELS // 1_000_000} million can be read here. Cut out a part of it, or "
        "save it smaller."
    )


def _what_it_is(content: bytes) -> str:
    """In words, for a file that is none of the three formats."""
    start = content[:1024].lstrip()
    for magic, words in _OTHERS.items():
        if start.startswith(magic) or content.startswith(magic):
            return words
    if content[4:8] == b"ftyp":
        return f"This is a HEIC or AVIF picture, or a film. {_WAY_OUT}"
    lowered = start.lower()
    if b"<svg" in lowered:
        return f"This is an SVG, a drawing made of lines and not of pixels. {_WAY_OUT}"
    if lowered.startswith((b"<!doctype", b"<html")):
        return "This is a web page, not a picture. Save the picture itself and upload that."
    return f"This is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture, whatever its name says. {_WAY_OUT}"


def _as_colours(picture: Image.Image, bands: int, *, ignore_alpha: bool) -> Picture:
    """Any mode of Pillow's as red, green and blue, turned the way it was taken. bands: of a TIFF; else 0."""
    picture.load()
    notes: list[str] = []
    turned = ImageOps.exif_transpose(picture)
    if turned.size != picture.size:
        notes.append("It was turned upright, as the camera noted.")
    mode = turned.mode
    grey = mode in ("1", "L", "LA")
    if grey:
        notes += _band_notes(1, FIRST_THREE)
    if mode == "CMYK":
        notes.append("It is made for print (CMYK); its colours became red, green and blue only roughly.")
    if mode == "RGB" and bands > 3:
        notes.append("Its fourth band was ignored.")
    valid: Mask | None = None
    has_alpha = False
    if mode == "RGBA" and ignore_alpha:
        notes.append("Its fourth band was ignored.")
    elif turned.has_transparency_data:
        turned, valid, is_mask = _without_transparency(turned)
        has_alpha = mode == "RGBA" and valid is not None
        if valid is not None:
            notes.append("Its transparent parts were made black." if is_mask else _NO_MASK)
    values: npt.NDArray[np.uint8] = np.array(turned.convert("RGB"), dtype=np.uint8)
    bands = 1 if grey else 4 if mode == "RGBA" or (mode == "RGB" and bands > 3) else 3
    return Picture(values, tuple(notes), bands, valid, has_alpha)


_NO_MASK = (
    "Its fourth band was taken as transparency, and darkened it. It takes many values, as a band of near infrared "
    "does: if it is one, tick “Ignore the fourth band”."
)


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
    if bands == 1:
        return ("It has one band only, which stands for red, green and blue alike: a network misses the colours.",)
    if bands == 2:
        return ("It has two bands; the first one stands for red, green and blue alike.",)
    if bands == 3:
        return ()
    return (f"Of its {bands} bands, {order} are taken as red, green and blue.",)


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
