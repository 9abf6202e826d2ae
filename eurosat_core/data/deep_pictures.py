"""Pictures that are not 8 bits of red, green and blue: opened as numbers, where Pillow would clip or drop half of them.

One reader for the tiles of a set and for the pictures that somebody uploads.
"""

import io
import logging
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from eurosat_core.data.band_tiff import (
    BAND_ORDERS,
    FIRST_THREE,
    UNKNOWN_COLOURS,
    check_compression,
    check_unpacked,
    read_bands,
    tiff_layout,
)
from eurosat_core.data.scale import Mask, Raw
from eurosat_core.errors import DataError

__all__ = ["DeepPicture", "open_picture"]

SizeCheck = Callable[[int, int], None]
"""Called with the width and height that a file claims, before anything is decoded; raises `DataError`."""

# Pillow tells of damage by warnings and its log, once or twice a picture; what is wrong is said here in a sentence.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

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
        check_compression(layout)
        if layout.needs_bands or (bands not in ("", FIRST_THREE) and layout.bands > 3):
            order = bands or layout.usual_order
            values, valid = read_bands(content, layout, BAND_ORDERS[order])
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
