"""A picture that somebody uploaded, as numbers, or a sentence on why it cannot be used.

What comes in is from outside: its name is not believed, its size is looked at before anything is decoded, and nothing
of it is written to disk or to a log.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from eurosat_core.data.band_tiff import FIRST_THREE, tiff_layout
from eurosat_core.data.deep_pictures import DeepPicture, open_picture
from eurosat_core.data.scale import Mask, Raw
from eurosat_core.errors import DataError
from eurosat_core.wording import bytes_text, percent

__all__ = ["FORMATS", "LEAST_SIDE", "MOST_BYTES", "MOST_PIXELS", "Picture", "read_picture"]

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
