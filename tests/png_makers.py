"""PNG files byte by byte, for Pillow writes none of 16 bits with colours, and none that claim what is not there."""

import struct
import zlib

import numpy as np

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of bands


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, bits: int, colour_type: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(data)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits of values [H, W, bands], each row as the differences to the pixel on its left."""
    height, width, bands = values.shape
    raw = values.astype(">u2").reshape(height, -1).view(np.uint8)
    step = 2 * bands
    rows = raw.copy()
    rows[:, step:] -= raw[:, :-step]
    data = np.insert(rows, 0, 1, axis=1).tobytes()
    return _png(width, height, 16, _COLOUR_TYPES[bands], data)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header says how large it is."""
    return _png(width, height, 8, 0, b"\0" * 1000)
