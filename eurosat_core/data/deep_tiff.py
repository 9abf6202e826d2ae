"""Pictures of more than 8 bits or 3 bands: TIFF read by bands, and brought to 8 bits on one scale.

One reader for the tiles of a set and for the pictures that somebody uploads. Sentinel-2's reflectances come as
EuroSAT's authors made their JPEGs of them: 0 to 2,750 (of 10,000) as 0 to 255
(https://github.com/jensleitloff/CNN-Sentinel/issues/1), so what a network learned from the JPEGs holds for them.
"""

import io
import logging
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from eurosat_core.errors import DataError
from eurosat_core.wording import count, rounded

if TYPE_CHECKING:
    from tifffile import TiffPage

Pixels = npt.NDArray[np.uint8]
Raw = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
"""Values of a picture as its file has them; other kinds of numbers as float32."""
Mask = npt.NDArray[np.bool_]

_REFLECTANCE = 2750.0  # of 10,000: white in EuroSAT's JPEGs
_UNIT = 10_000.0
_USUAL_LAND = 1.2 * _REFLECTANCE  # half of a scene is darker than this, even under some clouds
_BRIGHTEST_CLOUD = 16_000.0
_DIM = 1 / 16  # of full brightness: a picture whose bright parts are darker than this would look black
_AT_ONCE = 1_000_000  # pixels that are scaled at a time
_NEGATIVE = 0.05  # of the bright values: values further below zero are no noise


@dataclass(frozen=True)
class Range:
    """low became 0, high became 255. reflectance: because the values look like Sentinel-2's."""

    low: float
    high: float
    reflectance: bool = False

    @property
    def is_one_to_one(self) -> bool:
        return (self.low, self.high) == (0, 255)

    @property
    def text(self) -> str:
        """`0 to 2,750`."""
        return f"{_figure(self.low)} to {_figure(self.high)}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else rounded(value, 3)


FULL_BYTE = Range(0, 255)


@dataclass(frozen=True)
class Scale:
    """The ranges of a set: of its whole numbers of more than 8 bits, and of its decimal ones. 8 bits need none."""

    whole: Range = Range(0, _REFLECTANCE, reflectance=True)
    decimal: Range = Range(0, 1)

    def of(self, values: Raw) -> Range:
        if values.dtype == np.uint8:
            return FULL_BYTE
        return self.decimal if values.dtype == np.float32 else self.whole


def range_of(sample: npt.NDArray[Any]) -> Range:
    """What is black and white in values like these [n], none of them without data.

    Judged by percentiles, so that a few glints or dead pixels decide nothing.
    """
    if sample.dtype == np.uint8:
        return FULL_BYTE
    if not sample.size:
        return Scale().of(sample)
    dark, middle, bright = (float(each) for each in np.percentile(sample.astype(np.float64), (2, 50, 98)))
    if dark < -_NEGATIVE * abs(bright):  # such as decibels: nothing but the values themselves can tell
        return Range(_short(dark), _short(max(bright, dark + 1e-6 * abs(dark))))
    if bright <= 0:
        return Range(0, 1)
    if sample.dtype == np.float32 and bright <= 1.5:
        reflectance = bright <= 0.5 and middle <= _USUAL_LAND / _UNIT
        found = Range(0, _REFLECTANCE / _UNIT, reflectance=True) if reflectance else Range(0, 1)
    elif bright <= 255:
        found = FULL_BYTE
    elif middle <= _USUAL_LAND and bright <= _BRIGHTEST_CLOUD:
        found = Range(0, _REFLECTANCE, reflectance=True)
    elif bright > 2**32:
        found = Range(0, _short(bright))
    else:  # as many bits as the values fill: 4,095 for 12, 65,535 for 16
        found = Range(0, float(2 ** int(np.ceil(np.log2(bright + 1))) - 1))
    return found if bright >= found.high * _DIM else Range(0, _short(bright))


def _short(value: float) -> float:
    """Three digits are enough, and can be read."""
    return float(f"{value:.3g}")


def in_eight_bits(values: Raw, shown: Range, valid: Mask | None = None) -> Pixels:
    """Values [H, W, 3] as 0…255; what is not `valid` [H, W] becomes black."""
    if shown.is_one_to_one and values.dtype == np.uint8:
        pixels = values.astype(np.uint8)
    else:
        pixels = np.empty(values.shape, dtype=np.uint8)
        factor = np.float32(255) / np.float32(max(shown.high - shown.low, 1e-30))
        rows = max(_AT_ONCE // max(values.shape[1], 1), 1)
        for top in range(0, len(values), rows):  # the numbers in between take many times the room
            part = (values[top : top + rows] - np.float32(shown.low)) * factor
            pixels[top : top + rows] = np.clip(np.round(np.nan_to_num(part, nan=0.0)), 0, 255)
    if valid is not None:
        pixels[~valid] = 0
    return pixels


FIRST_THREE = "the first three"
_SENTINEL = "4, 3 and 2"
BAND_ORDERS = {FIRST_THREE: (0, 1, 2), _SENTINEL: (3, 2, 1), "3, 2 and 1": (2, 1, 0)}
"""Which bands are red, green and blue, counted from 0. Sentinel-2 counts coast, blue, green, red, …"""

_SENTINEL_BANDS = (12, 13)  # of its products: level 2A has no band 10
_MOST_UNPACKED = 80_000_000  # bytes while it is read; Pillow warns of more

# none, LZW, deflate, PackBits, deflate as it was, LZMA, Zstandard
_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)
_OFTEN_READ = (*_COMPRESSIONS, 2, 3, 4, 6, 7)  # by Pillow: fax and JPEG, too
_BITS, _FORMAT = 258, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED, _SIGNED, _DECIMAL, _UNDEFINED = 1, 2, 3, 4
_NUMBERS = "8 or 16 bits per band, or as 32-bit numbers"


@dataclass(frozen=True)
class TiffLayout:
    """What a TIFF's first directory says about its picture.

    width, height: in pixels. kind: of its numbers, as in the tag SampleFormat.
    """

    page: "TiffPage"
    width: int
    height: int
    bands: int
    bits: int
    kind: int

    @property
    def needs_bands(self) -> bool:
        """Whether Pillow would refuse it, make 8 bits of 16 by dropping half of them, or overlook what has no data."""
        if self.page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
            return False
        if self.bits in (1, 2, 4, 12) and self.bands == 1:
            return False
        if self.bits > 8 or self.bands > 4 or self.kind not in (_UNSIGNED, _UNDEFINED):
            return True
        if self.page.compression not in _COMPRESSIONS:  # JPEG: Pillow's alone
            return False
        grey = self.page.photometric != _RGB
        has_alpha = self.page.extrasamples[:1] in ((1,), (2,))
        return self.no_data is not None or (grey and self.bands > 1 and not (self.bands == 2 and has_alpha))

    def all_of(self, tag: int) -> set[int]:
        """The different values of a tag that may have one for each band; 1 stands where there is none."""
        return set(np.atleast_1d(self.page.tags.valueof(tag, default=1)).tolist())

    @property
    def no_data(self) -> float | None:
        """The value of pixels without data, as GDAL notes it; None where nothing is noted."""
        try:
            return float(str(self.page.tags.valueof("GDAL_NODATA", default="")).strip("\0 "))
        except ValueError:
            return None

    @property
    def numbers(self) -> str:
        """`16-bit`, `32-bit decimal`."""
        return f"{self.bits}-bit{' decimal' if self.kind == _DECIMAL else ''}"


def tiff_layout(content: bytes) -> TiffLayout | None:
    """The layout of a TIFF; None for anything else. Raises `ValueError` for a directory that cannot be read."""
    if content[:4] not in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return None
    from tifffile import TiffFile, TiffPage  # here, for it takes a while to load, and TIFFs are rare

    try:
        page = TiffFile(io.BytesIO(content)).pages.first
    except Exception as error:  # whatever a parser meets in bytes that anybody may have made
        raise ValueError("the directory of a TIFF is damaged") from error
    if not isinstance(page, TiffPage):
        raise ValueError("the directory of a TIFF holds no picture")
    layout = TiffLayout(page, page.imagewidth, page.imagelength, page.samplesperpixel, 1, _UNSIGNED)
    return replace(layout, bits=max(layout.all_of(_BITS)), kind=min(layout.all_of(_FORMAT)))


UNKNOWN_COLOURS = (
    f"This TIFF stores its colours in a way that this lab does not read. Export it as RGB with {_NUMBERS}."
)
_COMPRESSED = (
    "This TIFF is compressed in a way that this lab does not read. Export it without compression, or with LZW or "
    "deflate."
)


def read_bands(layout: TiffLayout, order: tuple[int, int, int]) -> tuple[Raw, Mask | None]:
    """Three bands of a TIFF as [H, W, 3] (of a file with fewer, the first one three times), and which pixels have data.

    The mask [H, W] is None where all have. Raises `DataError`, and `ValueError` for damaged files.
    """
    _check(layout)
    if layout.bands < 3:
        order = (0, 0, 0)
    if max(order) >= layout.bands:
        raise DataError(f"This TIFF has {layout.bands} bands. Choose others of them as red, green and blue.")
    values = np.ascontiguousarray(_decoded(layout)[..., list(order)])
    valid = _with_data(values, layout.no_data)
    if layout.page.photometric == _WHITE_IS_ZERO and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    if values.dtype not in (np.uint8, np.uint16):
        values = values.astype(np.float32)
    return values, valid


def _with_data(values: npt.NDArray[Any], no_data: float | None) -> Mask | None:
    """Which pixels [H, W] of values [H, W, 3] have data: a value in any band, a number in all."""
    valid = np.ones(values.shape[:2], dtype=np.bool_)
    if values.dtype.kind == "f":
        valid &= np.isfinite(values).all(axis=2)
    if no_data is not None and np.isfinite(no_data):
        with np.errstate(over="ignore"):
            mark = np.float64(no_data) if values.dtype.kind != "f" else values.dtype.type(no_data)
        valid &= (values != mark).any(axis=2)
    return None if valid.all() else valid


def _check(layout: TiffLayout) -> None:
    bits = layout.all_of(_BITS)
    known = {8, 16, 32} if layout.kind != _DECIMAL else {16, 32}
    is_odd = layout.kind not in (_UNSIGNED, _SIGNED, _DECIMAL, _UNDEFINED) or (
        layout.kind == _SIGNED and layout.bits == 8
    )
    if is_odd or len(layout.all_of(_FORMAT)) > 1:
        raise DataError(
            f"The numbers in this TIFF are of a type that this lab does not read. Export it with {_NUMBERS}."
        )
    if layout.bits > 32:
        raise DataError(
            f"The values of this TIFF are {layout.numbers} numbers, which this lab does not read. Export it with "
            f"{_NUMBERS}."
        )
    if len(bits) != 1 or not bits <= known:
        raise DataError(f"The bands of this TIFF have different or unusual sizes. Export it with {_NUMBERS}.")
    if layout.page.compression not in _COMPRESSIONS or layout.page.predictor not in (1, 2, 3):
        raise DataError(_COMPRESSED)
    check_unpacked("TIFF", layout.width, layout.height, layout.bands, layout.bits)
    if layout.page.is_tiled:
        check_unpacked("TIFF", layout.page.tilewidth, layout.page.tilelength, layout.bands, layout.bits)


def check_unpacked(kind: str, width: int, height: int, bands: int, bits: int) -> None:
    """Raises `DataError` for a picture that would take too much memory while it is read, whatever its file says."""
    if width * height * bands * bits // 8 > _MOST_UNPACKED:
        raise DataError(
            f"This {kind} has {count(bands, 'band')} of {bits} bits and {width:,} × {height:,} pixels, more than can "
            "be read here. Cut out a part of it, or export red, green and blue with 8 bits."
        )


def _decoded(layout: TiffLayout) -> npt.NDArray[Any]:
    """All bands [H, W, bands]. Raises `ValueError` for a damaged file."""
    page = layout.page
    if page.predictor == 3 and layout.kind != _DECIMAL:
        raise ValueError("planes of whole numbers")
    end = page.parent.filehandle.size
    if any(at + size > end for at, size in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise ValueError("cut short")
    try:
        found = page.asarray(maxworkers=1).reshape(page.shaped)
    except Exception as error:  # each decoder has its own
        raise ValueError("a TIFF that cannot be unpacked") from error
    # Bands side by side are the last axis; bands that lie one after another the first.
    values: npt.NDArray[Any] = np.moveaxis(found, 0, -2)[0].reshape(layout.height, layout.width, -1)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


SizeCheck = Callable[[int, int], None]
"""Called with the width and height that a file claims, before anything is decoded; raises `DataError`."""

# The readers tell of damage by warnings and logs, once or twice a picture; what is wrong is said here in a sentence.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
for _name in ("PIL", "tifffile"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_RGB, _PNG_GREY_ALPHA, _PNG_RGB_ALPHA = 2, 4, 6  # its colour types
_PNG_BANDS = {_PNG_RGB: 3, _PNG_GREY_ALPHA: 2, _PNG_RGB_ALPHA: 4}


@dataclass(frozen=True)
class DeepPicture:
    """A picture as numbers.

    values: [H, W, 3]. valid: which pixels [H, W] have data; None: all. bands: how many the file has; order: which of
    them are red, green and blue (a key of `BAND_ORDERS`). numbers: of which kind, as `16-bit`.
    """

    values: Raw
    valid: Mask | None
    bands: int
    order: str
    numbers: str

    def with_data(self) -> npt.NDArray[np.generic]:
        """The values [n, 3] of the pixels that have data."""
        return self.values.reshape(-1, 3) if self.valid is None else self.values[self.valid]


def open_picture(
    content: bytes, formats: tuple[str, ...], check_size: SizeCheck, bands: str = ""
) -> DeepPicture | Image.Image:
    """The picture in a file's bytes: numbers, or Pillow's where 8 bits are all there is.

    bands: of a TIFF with more than three, which are red, green and blue (a key of `BAND_ORDERS`; "" lets the file's
    number of bands decide). Raises `DataError` with a sentence; Pillow's errors for damaged files pass.
    """
    layout = tiff_layout(content)
    if layout is not None:
        check_size(layout.width, layout.height)
        if layout.page.compression not in _OFTEN_READ:  # no reader here unpacks it, and libtiff would print a line
            raise DataError(_COMPRESSED)
        if layout.needs_bands or (bands not in ("", FIRST_THREE) and layout.bands > 3):
            order = bands or (_SENTINEL if layout.bands in _SENTINEL_BANDS else FIRST_THREE)
            values, valid = read_bands(layout, BAND_ORDERS[order])
            taken = order if layout.bands > 3 else FIRST_THREE
            return DeepPicture(values, valid, layout.bands, taken, layout.numbers)
    try:
        picture = Image.open(io.BytesIO(content), formats=formats)
        check_size(picture.width, picture.height)
        if content.startswith(_PNG) and content[24] == 16:
            return _deep_png(content, picture)
        if layout is not None:
            picture.load()
    except UnidentifiedImageError as error:
        if layout is not None:  # a sound TIFF
            raise DataError(UNKNOWN_COLOURS) from error
        raise
    return _as_numbers(picture) or picture


def _as_numbers(picture: Image.Image) -> DeepPicture | None:
    """One band of more than 8 bits; None for all other pictures."""
    if picture.mode.startswith("I;16"):
        return _grey(np.asarray(picture).astype(np.uint16), "16-bit")
    if picture.mode in ("I", "F"):
        return _grey(np.asarray(picture).astype(np.float32), "32-bit")
    return None


def _grey(plane: Raw, numbers: str, valid: Mask | None = None) -> DeepPicture:
    values: Raw = np.repeat(plane[..., None], 3, axis=2)  # type: ignore[assignment]
    return DeepPicture(values, valid, 1, FIRST_THREE, numbers)


def _deep_png(content: bytes, picture: Image.Image) -> DeepPicture:
    """A PNG of 16 bits per band, of which Pillow keeps the upper 8 except for grey ones."""
    kind = content[25]
    check_unpacked("PNG", picture.width, picture.height, _PNG_BANDS.get(kind, 1), 16)
    if kind == _PNG_GREY_ALPHA:  # as many bytes a pixel as red, green, blue and alpha of 8 bits, so read as these
        header = content[12:24] + bytes((8, _PNG_RGB_ALPHA)) + content[26:29]
        alike = content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]
        with Image.open(io.BytesIO(alike), formats=("PNG",)) as found:
            pairs = np.ascontiguousarray(np.asarray(found)).view(">u2").astype(np.uint16)
        return _grey(pairs[..., 0], "16-bit", _opaque(pairs[..., 1]))
    if kind not in (_PNG_RGB, _PNG_RGB_ALPHA):
        grey = _as_numbers(picture)
        if grey is None:
            raise ValueError("another kind of PNG than its header says")
        return grey
    # Decoded once as big-endian, of which Pillow takes the first byte, and once as little-endian: the second byte.
    name = "RGB" if kind == _PNG_RGB else "RGBA"
    values = np.zeros((picture.height, picture.width, len(name)), dtype=np.uint16)
    for order in ("B", "L"):
        with Image.open(io.BytesIO(content), formats=("PNG",)) as half:
            half.tile = [each._replace(args=f"{name};16{order}") for each in half.tile]
            values <<= 8
            values |= np.asarray(half)
    valid = _opaque(values[..., 3]) if kind == _PNG_RGB_ALPHA else None
    return DeepPicture(np.ascontiguousarray(values[..., :3]), valid, 3, FIRST_THREE, "16-bit")


def _opaque(alpha: npt.NDArray[np.uint16]) -> Mask | None:
    """What is transparent has no data."""
    opaque = alpha > 0
    return None if opaque.all() else opaque
