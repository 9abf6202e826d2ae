"""TIFFs as Earth observation has them: 16 bits per value, many bands. Pillow reads neither as they are.

The trick: a second directory is appended to the file's bytes, which describes the same data as a picture that Pillow
knows (one band, N times as wide; or one band of several lying one after another). So its decoder and libtiff's do
the work, for every compression they know.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from eurosat_core.errors import DataError

__all__ = ["BAND_ORDERS", "FIRST_THREE", "Raw", "TiffLayout", "read_bands", "tiff_layout"]

Raw = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Values of a picture as its file has them."""

FIRST_THREE = "the first three"
_SENTINEL = "4, 3 and 2"
BAND_ORDERS = {FIRST_THREE: (0, 1, 2), _SENTINEL: (3, 2, 1), "3, 2 and 1": (2, 1, 0)}
"""Which bands are red, green and blue, counted from 0. Sentinel-2 counts coast, blue, green, red, …"""

_SENTINEL_BANDS = (12, 13)  # of its products: level 2A has no band 10
_MOST_VALUES = 60_000_000  # 120 MB while it is read

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _BANDS, _ROWS, _BYTES, _PLANAR, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _FORMAT = 322, 323, 324, 325, 339
_COMPRESSIONS = (1, 5, 8, 32773, 32946, 50000)  # none, LZW, deflate, PackBits, deflate as it was, Zstandard
_LARGE_TAGS = (_WIDTH, _HEIGHT, _OFFSETS, _BYTES, _ROWS, _TILE_OFFSETS, _TILE_BYTES)  # written with 32 bits


@dataclass(frozen=True)
class TiffLayout:
    """What a TIFF's first directory says about its picture; sizes in pixels."""

    width: int
    height: int
    bands: int
    bits: int
    signed: bool
    decimal: bool
    tags: dict[int, tuple[Any, ...]]

    @property
    def needs_bands(self) -> bool:
        """Whether Pillow would refuse it, or make 8 bits of 16 by dropping half of them."""
        return self.bits > 8 or self.bands > 4

    @property
    def usual_order(self) -> str:
        """The key of `BAND_ORDERS` that fits a file with so many bands."""
        return _SENTINEL if self.bands in _SENTINEL_BANDS else FIRST_THREE


def tiff_layout(content: bytes) -> TiffLayout | None:
    """The layout of a TIFF; None for anything else, and for a directory without a picture. Raises `DataError`."""
    if content[:4] == b"II+\x00" or content[:4] == b"MM\x00+":
        raise DataError("This is a BigTIFF, made for files above 4 GB. Export it as an ordinary TIFF.")
    if content[:4] not in (b"II*\x00", b"MM\x00*"):
        return None
    file = io.BytesIO(content)
    directory = ImageFileDirectory_v2(file.read(8))
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
    kind = tags.get(_FORMAT, (1,))[0]
    bits = max(tags.get(_BITS, (1,)))
    return TiffLayout(width, height, int(tags.get(_BANDS, (1,))[0]), int(bits), kind == 2, kind in (3, 6), tags)


def read_bands(content: bytes, layout: TiffLayout, order: tuple[int, int, int]) -> Raw:
    """Three bands of a TIFF as [H, W, 3]; of a file with fewer, the first one three times.

    Values below zero become zero. Raises `DataError`; Pillow's errors for damaged files pass.
    """
    _check(layout)
    if layout.bands < 3:
        order = (0, 0, 0)
    if max(order) >= layout.bands:
        raise DataError(f"This TIFF has {layout.bands} bands. Choose others of them as red, green and blue.")
    if layout.tags.get(_PLANAR, (1,))[0] == 2 and layout.bands > 1:
        planes = [_decoded(content, layout, _of_one_band(layout, band), layout.width) for band in dict.fromkeys(order)]
        values = np.stack([planes[list(dict.fromkeys(order)).index(band)] for band in order], axis=2)
    else:
        wide = _decoded(content, layout, _side_by_side(layout), layout.width * layout.bands)
        every = wide.reshape(layout.height, layout.width, layout.bands)
        if layout.bands > 1 and layout.tags.get(_PREDICTOR, (1,))[0] == 2:
            every = _added_up(every, layout)
        values = every[..., list(order)]
    if layout.signed:
        values = np.maximum(values.view(np.int8 if layout.bits == 8 else np.int16), 0).astype(values.dtype)
    return np.ascontiguousarray(values)


def _check(layout: TiffLayout) -> None:
    bits = set(layout.tags.get(_BITS, (1,)))
    if layout.decimal or layout.bits > 16:
        raise DataError(
            f"The values of this TIFF are {layout.bits}-bit numbers, whose range says nothing about brightness. Export "
            "it with 8 or 16 bits per band."
        )
    if not bits <= {8} and not bits <= {16}:
        raise DataError("The bands of this TIFF have different or unusual sizes. Export it with 8 or 16 bits per band.")
    if layout.tags.get(_COMPRESSION, (1,))[0] not in _COMPRESSIONS or layout.tags.get(_PREDICTOR, (1,))[0] not in (
        1,
        2,
    ):
        raise DataError(
            "This TIFF is compressed in a way that cannot be read here. Export it without compression, or with LZW or "
            "deflate."
        )
    values = layout.width * layout.height * layout.bands
    if values > _MOST_VALUES or layout.bands < 1:
        raise DataError(
            f"This TIFF has {layout.bands} bands of {layout.width:,} × {layout.height:,} pixels, more than can be read "
            "here. Export red, green and blue only."
        )


def _side_by_side(layout: TiffLayout) -> dict[int, tuple[int, ...]]:
    """The values of a pixel's bands lie side by side: one band, so many times as wide. Differences are undone here."""
    tags = _kept(layout)
    tags[_WIDTH] = (layout.width * layout.bands,)
    if _TILE_WIDTH in tags:
        tags[_TILE_WIDTH] = (int(layout.tags[_TILE_WIDTH][0]) * layout.bands,)
    if layout.bands > 1:
        tags[_PREDICTOR] = (1,)
    return tags


def _of_one_band(layout: TiffLayout, band: int) -> dict[int, tuple[int, ...]]:
    """One band lies after another: the part of the file that holds this one."""
    tags = _kept(layout)
    for tag in (_OFFSETS, _BYTES, _TILE_OFFSETS, _TILE_BYTES):
        if tag in tags:
            each = len(tags[tag]) // layout.bands
            tags[tag] = tags[tag][band * each : (band + 1) * each]
    return tags


def _kept(layout: TiffLayout) -> dict[int, tuple[int, ...]]:
    tags = {
        tag: layout.tags[tag]
        for tag in (
            _WIDTH,
            _HEIGHT,
            _COMPRESSION,
            _OFFSETS,
            _ROWS,
            _BYTES,
            _PREDICTOR,
            _TILE_WIDTH,
            _TILE_HEIGHT,
            _TILE_OFFSETS,
            _TILE_BYTES,
        )
        if tag in layout.tags
    }
    return {**tags, _BITS: (layout.bits,), _PHOTOMETRIC: (1,), _BANDS: (1,)}


def _decoded(content: bytes, layout: TiffLayout, tags: dict[int, tuple[int, ...]], width: int) -> Raw:
    """[H, width], decoded by Pillow along the directory with these tags."""
    with Image.open(io.BytesIO(_with_directory(content, tags)), formats=("TIFF",)) as picture:
        values = np.asarray(picture)
    if values.shape != (layout.height, width):
        raise ValueError("another size than its directory says")
    return values.astype(np.uint8) if layout.bits == 8 else values.astype(np.uint16)


def _with_directory(content: bytes, tags: dict[int, tuple[int, ...]]) -> bytes:
    """The file with another directory at its end, to which its header points."""
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
    header = content[:4] + struct.pack(f"{order}I", start)
    count, last = struct.pack(f"{order}H", len(tags)), b"\0\0\0\0"
    return b"".join((header, content[8:], b"\0" * (len(content) % 2), count, entries, last, more))


def _added_up(values: Raw, layout: TiffLayout) -> Raw:
    """Undo the predictor, which kept of every value its difference to the pixel on its left (in its strip or tile)."""
    across = int(layout.tags[_TILE_WIDTH][0]) if _TILE_WIDTH in layout.tags else layout.width
    whole = np.empty_like(values)
    for left in range(0, layout.width, across):
        part = values[:, left : left + across]
        np.cumsum(part, axis=1, dtype=values.dtype, out=whole[:, left : left + across])
    return whole
