"""TIFFs as Earth observation has them: many bands, 16 bits or decimal numbers, pixels without data.

Pillow reads few of them as they are. The trick: a second directory is appended to the file's bytes, which describes the
same data as a grey picture of 8 bits that is so many times as wide. So its decoder and libtiff's do the work, for every
compression they know, and what comes out are the file's own bytes.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from eurosat_core.data.scale import Mask, Raw
from eurosat_core.errors import DataError
from eurosat_core.wording import count

__all__ = [
    "BAND_ORDERS",
    "FIRST_THREE",
    "UNKNOWN_COLOURS",
    "TiffLayout",
    "check_compression",
    "check_unpacked",
    "read_bands",
    "tiff_layout",
]

FIRST_THREE = "the first three"
_SENTINEL = "4, 3 and 2"
BAND_ORDERS = {FIRST_THREE: (0, 1, 2), _SENTINEL: (3, 2, 1), "3, 2 and 1": (2, 1, 0)}
"""Which bands are red, green and blue, counted from 0. Sentinel-2 counts coast, blue, green, red, …"""

_SENTINEL_BANDS = (12, 13)  # of its products: level 2A has no band 10
_MOST_UNPACKED = 80_000_000  # bytes while it is read; Pillow warns of more

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _BANDS, _ROWS, _BYTES, _PLANAR, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_NODATA = 42113  # GDAL's, a number as text
_KEPT = (
    *(_WIDTH, _HEIGHT, _COMPRESSION, _OFFSETS, _ROWS, _BYTES),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES),
)
_LARGE_TAGS = frozenset(_KEPT) - {_COMPRESSION}  # written with 32 bits
# none, LZW, deflate, PackBits, deflate as it was, LZMA, Zstandard
_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)
_OFTEN_READ = (*_COMPRESSIONS, 2, 3, 4, 6, 7)  # by Pillow: fax and JPEG, too
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED, _SIGNED, _DECIMAL, _UNDEFINED = 1, 2, 3, 4
_LETTERS = {_UNSIGNED: "u", _SIGNED: "i", _DECIMAL: "f", _UNDEFINED: "u"}
_ALPHA = (1, 2)
_NUMBERS = "8 or 16 bits per band, or as 32-bit numbers"


@dataclass(frozen=True)
class TiffLayout:
    """What a TIFF's first directory says about its picture; sizes in pixels. kind: of its numbers (SampleFormat)."""

    width: int
    height: int
    bands: int
    bits: int
    kind: int
    tags: dict[int, tuple[Any, ...]]

    @property
    def needs_bands(self) -> bool:
        """Whether Pillow would refuse it, make 8 bits of 16 by dropping half of them, or overlook what has no data."""
        if self.tags.get(_PHOTOMETRIC, (_BLACK_IS_ZERO,))[0] not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
            return False
        if self.bits in (1, 2, 4, 12) and self.bands == 1:
            return False
        if self.bits > 8 or self.bands > 4 or self.kind not in (_UNSIGNED, _UNDEFINED):
            return True
        if self.tags.get(_COMPRESSION, (1,))[0] not in _COMPRESSIONS:  # JPEG: Pillow's alone
            return False
        grey = self.tags.get(_PHOTOMETRIC, (_BLACK_IS_ZERO,))[0] != _RGB
        has_alpha = self.tags.get(_EXTRA, (0,))[0] in _ALPHA
        return self.no_data is not None or (grey and self.bands > 1 and not (self.bands == 2 and has_alpha))

    @property
    def usual_order(self) -> str:
        """The key of `BAND_ORDERS` that fits a file with so many bands."""
        return _SENTINEL if self.bands in _SENTINEL_BANDS else FIRST_THREE

    @property
    def no_data(self) -> float | None:
        """The value of pixels without data, as GDAL notes it; None where nothing is noted."""
        try:
            return float(str(self.tags[_NODATA][0]).strip("\0 "))
        except (KeyError, IndexError, ValueError):
            return None

    @property
    def numbers(self) -> str:
        """`16-bit`, `32-bit decimal`."""
        return f"{self.bits}-bit{' decimal' if self.kind == _DECIMAL else ''}"


def tiff_layout(content: bytes) -> TiffLayout | None:
    """The layout of a TIFF; None for anything else, and for a directory without a picture."""
    big = content[:4] in (b"II+\x00", b"MM\x00+")  # BigTIFF, made for files above 4 GB
    if not big and content[:4] not in (b"II*\x00", b"MM\x00*"):
        return None
    file = io.BytesIO(content)
    directory = ImageFileDirectory_v2(file.read(16 if big else 8))
    file.seek(directory.next)
    directory.load(file)
    tags: dict[int, tuple[Any, ...]] = {}
    for tag in directory:
        value = directory[tag]
        tags[tag] = value if isinstance(value, tuple) else (value,)
    try:
        width, height = int(tags[_WIDTH][0]), int(tags[_HEIGHT][0])
    except (KeyError, IndexError):
        return None
    kind, bits = int(tags.get(_FORMAT, (_UNSIGNED,))[0]), int(max(tags.get(_BITS, (1,))))
    return TiffLayout(width, height, int(tags.get(_BANDS, (1,))[0]), bits, kind, tags)


def check_compression(layout: TiffLayout) -> None:
    """Raises `DataError` for a TIFF that no reader here unpacks: libtiff would print so, a line a picture."""
    if layout.tags.get(_COMPRESSION, (1,))[0] not in _OFTEN_READ:
        raise DataError(_COMPRESSED)


UNKNOWN_COLOURS = (
    f"This TIFF stores its colours in a way that this lab does not read. Export it as RGB with {_NUMBERS}."
)
_COMPRESSED = (
    "This TIFF is compressed in a way that this lab does not read. Export it without compression, or with LZW or "
    "deflate."
)


def read_bands(content: bytes, layout: TiffLayout, order: tuple[int, int, int]) -> tuple[Raw, Mask | None]:
    """Three bands of a TIFF as [H, W, 3] (of a file with fewer, the first one three times), and which pixels have data.

    The mask [H, W] is None where all have. Raises `DataError`; Pillow's errors for damaged files pass.
    """
    _check(layout)
    if layout.bands < 3:
        order = (0, 0, 0)
    if max(order) >= layout.bands:
        raise DataError(f"This TIFF has {layout.bands} bands. Choose others of them as red, green and blue.")
    if layout.tags.get(_PLANAR, (1,))[0] == 2 and layout.bands > 1:
        planes = {band: _decoded(content, layout, _of_one_band(layout, band), 1)[..., 0] for band in set(order)}
        values = np.stack([planes[band] for band in order], axis=2)
    else:
        values = np.ascontiguousarray(_decoded(content, layout, _kept(layout), layout.bands)[..., list(order)])
    valid = _with_data(values, layout.no_data)
    if layout.tags.get(_PHOTOMETRIC, (1,))[0] == _WHITE_IS_ZERO and values.dtype.kind == "u":
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
    bits = set(layout.tags.get(_BITS, (1,)))
    known = {8, 16, 32} if layout.kind != _DECIMAL else {16, 32}
    is_odd = layout.kind not in _LETTERS or (layout.kind == _SIGNED and layout.bits == 8)
    if is_odd or len(set(layout.tags.get(_FORMAT, (1,)))) > 1:
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
    if layout.tags.get(_COMPRESSION, (1,))[0] not in _COMPRESSIONS:
        raise DataError(_COMPRESSED)
    if layout.tags.get(_PREDICTOR, (1,))[0] not in (1, 2, 3):
        raise DataError(_COMPRESSED)
    if layout.bands < 1:
        raise ValueError("no bands")
    check_unpacked("TIFF", layout.width, layout.height, layout.bands, layout.bits)
    if _TILE_WIDTH in layout.tags:
        across, down = (int(layout.tags.get(tag, (0,))[0]) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
        check_unpacked("TIFF", across, down, layout.bands, layout.bits)


def check_unpacked(kind: str, width: int, height: int, bands: int, bits: int) -> None:
    """Raises `DataError` for a picture that would take too much memory while it is read, whatever its file says."""
    if width * height * bands * bits // 8 > _MOST_UNPACKED:
        raise DataError(
            f"This {kind} has {count(bands, 'band')} of {bits} bits and {width:,} × {height:,} pixels, more than can "
            "be read here. Cut out a part of it, or export red, green and blue with 8 bits."
        )


def _of_one_band(layout: TiffLayout, band: int) -> dict[int, tuple[int, ...]]:
    """One band lies after another: the part of the file that holds this one."""
    tags = _kept(layout)
    for tag in (_OFFSETS, _BYTES, _TILE_OFFSETS, _TILE_BYTES):
        if tag in tags:
            each = len(tags[tag]) // layout.bands
            tags[tag] = tags[tag][band * each : (band + 1) * each]
    return tags


def _kept(layout: TiffLayout) -> dict[int, tuple[int, ...]]:
    return {tag: layout.tags[tag] for tag in _KEPT if tag in layout.tags}


def _decoded(content: bytes, layout: TiffLayout, tags: dict[int, tuple[int, ...]], bands: int) -> npt.NDArray[Any]:
    """[H, W, bands] that lie side by side, decoded by Pillow as bytes along the directory with these tags."""
    size = layout.bits // 8
    across = _across(layout)
    width = -(-layout.width // across) * across  # whole tiles: the planes of decimal numbers need them
    wide = {_BITS: (8,), _PHOTOMETRIC: (_BLACK_IS_ZERO,), _BANDS: (1,), _WIDTH: (width * bands * size,)}
    if _TILE_WIDTH in tags:
        wide[_TILE_WIDTH] = (across * bands * size,)
    with Image.open(io.BytesIO(_with_directory(content, tags | wide)), formats=("TIFF",)) as picture:
        found = np.array(picture)
    if found.shape != (layout.height, width * bands * size):
        raise ValueError("another size than its directory says")
    order = "<" if content[:2] == b"II" else ">"
    kind = np.dtype(f"{order}{_LETTERS[layout.kind]}{size}")
    predictor = layout.tags.get(_PREDICTOR, (1,))[0]
    if predictor == 3:
        values = _planes_joined(found.reshape(layout.height, -1, across * size, bands), kind)
    else:
        values = found.view(kind).astype(kind.newbyteorder("="), copy=False)
        if predictor == 2:
            values = _added_up(values.reshape(layout.height, -1, across, bands))
    return values.reshape(layout.height, width, bands)[:, : layout.width]


def _across(layout: TiffLayout) -> int:
    """Pixels in a row of a strip or tile: what a predictor keeps never reaches over its edge."""
    across = int(layout.tags[_TILE_WIDTH][0]) if _TILE_WIDTH in layout.tags else layout.width
    if across < 1:
        raise ValueError("tiles without a width")
    return across


def _added_up(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Undo the predictor that kept of every value [H, tiles, W, bands] its difference to the pixel on its left."""
    if values.dtype.kind == "f":
        raise ValueError("differences of decimal numbers")
    return np.cumsum(values, axis=2, dtype=values.dtype)


def _planes_joined(found: npt.NDArray[np.uint8], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Undo the predictor of decimal numbers: a row holds all first bytes, then all second ones …, as differences.

    found: [H, tiles, bytes of a row of one band, bands].
    """
    if kind.kind != "f":
        raise ValueError("planes of whole numbers")
    height, tiles = found.shape[:2]
    summed = np.cumsum(found, axis=2, dtype=np.uint8).reshape(height, tiles, kind.itemsize, -1)
    joined = np.ascontiguousarray(summed.swapaxes(2, 3))  # the byte that counts most comes first
    return joined.view(f">f{kind.itemsize}").astype(f"f{kind.itemsize}")


def _with_directory(content: bytes, tags: dict[int, tuple[int, ...]]) -> bytes:
    """The file as an ordinary TIFF with another directory at its end, to which its header points."""
    order = "<" if content[:2] == b"II" else ">"
    start = len(content) + len(content) % 2
    behind = start + 2 + 12 * len(tags) + 4  # where values stand that do not fit into their entry
    entries, more = b"", b""
    for tag, values in sorted(tags.items()):
        kind, letter = (4, "I") if tag in _LARGE_TAGS else (3, "H")
        packed = struct.pack(f"{order}{len(values)}{letter}", *(int(each) for each in values))
        if len(packed) > 4:
            field = struct.pack(f"{order}I", behind + len(more))
            more += packed + b"\0" * (len(packed) % 2)
        else:
            field = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + field
    header = content[:2] + struct.pack(f"{order}HI", 42, start)
    count, last = struct.pack(f"{order}H", len(tags)), b"\0\0\0\0"
    return b"".join((header, content[8:], b"\0" * (len(content) % 2), count, entries, last, more))
