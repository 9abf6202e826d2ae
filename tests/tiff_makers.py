"""TIFF files as other programs write them, made by hand: bands side by side or one after another, strips or tiles."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

Packer = Callable[[bytes], bytes]


def _differences(block: np.ndarray) -> np.ndarray:
    """Predictor 2: every pixel [rows, columns, bands] as its difference to the one on its left."""
    found = block.copy()
    found[:, 1:] = block[:, 1:] - block[:, :-1]
    return found


def _planes(block: np.ndarray) -> bytes:
    """Predictor 3: of each row [columns, bands] all first bytes, then all second ones …, as differences."""
    rows, columns, bands = block.shape
    size = block.dtype.itemsize
    parts = block.astype(block.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, columns * bands, size)
    flat = parts.swapaxes(1, 2).reshape(rows, columns * size, bands)
    return _differences(flat).tobytes()


def pillow_lzw(data: bytes) -> bytes:
    """LZW as libtiff packs it, by way of a greyscale picture one row high."""
    buffer = io.BytesIO()
    Image.frombytes("L", (len(data), 1), data).save(buffer, format="TIFF", compression="tiff_lzw")
    buffer.seek(0)
    with Image.open(buffer) as picture:
        (offset,), (size,) = picture.tag_v2[273], picture.tag_v2[279]
    return buffer.getvalue()[offset : offset + size]


def make_tiff(
    values: np.ndarray,
    *,
    order: str = "<",
    planar: bool = False,
    tile: int = 0,
    rows: int = 16,
    compression: int = 1,
    pack: Packer | None = None,
    predictor: int = 1,
    sample_format: int = 1,
    **tags: tuple[int, ...] | bytes,
) -> bytes:
    """A TIFF of values [H, W, bands].

    rows: of a strip; tile: side of a tile, in place of strips. pack: compresses a block (`zlib.compress` for
    compression 8). tags: others or other values, as `tag_284=(2,)`, or `tag_42113=b"0\\0"` for a text.
    """
    height, width, bands = values.shape
    letter = {1: "u", 2: "i", 3: "f"}.get(sample_format, "u")
    kind = f"{letter}{values.dtype.itemsize}"
    parts = [values[..., band : band + 1] for band in range(bands)] if planar else [values]
    blocks = []
    for part in parts:
        for top in range(0, height, tile or rows):
            for left in range(0, width, tile or width):
                block = part[top : top + (tile or rows), left : left + (tile or width)]
                if tile:
                    room = ((0, tile - block.shape[0]), (0, tile - block.shape[1]), (0, 0))
                    block = np.pad(block, room)
                if predictor == 2:
                    block = _differences(block)
                data = block.astype(np.dtype(kind).newbyteorder(order)).tobytes()
                if predictor == 3:
                    data = _planes(block)
                blocks.append(pack(data) if pack else data)
    offsets, position = [], 8
    for block in blocks:
        offsets.append(position)
        position += len(block)
    sizes = tuple(len(block) for block in blocks)
    entries: dict[int, tuple[int, ...] | bytes] = {
        256: (width,),
        257: (height,),
        258: (8 * values.dtype.itemsize,) * bands,
        259: (compression,),
        262: (2 if bands >= 3 else 1,),
        277: (bands,),
        284: (2 if planar else 1,),
        317: (predictor,),
        339: (sample_format,) * bands,
    }
    if tile:
        entries |= {322: (tile,), 323: (tile,), 324: tuple(offsets), 325: sizes}
    else:
        entries |= {273: tuple(offsets), 278: (rows,), 279: sizes}
    if bands > 3:
        entries[338] = (0,) * (bands - 3)
    entries |= {int(name.removeprefix("tag_")): value for name, value in tags.items()}
    start = position + position % 2
    behind = start + 2 + 12 * len(entries) + 4
    directory, more = struct.pack(f"{order}H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        if isinstance(numbers, bytes):
            kind_of, packed = 2, numbers
        else:
            kind_of, sign = (4, "I") if max(numbers) > 65_535 or tag in (273, 279, 324, 325) else (3, "H")
            packed = struct.pack(f"{order}{len(numbers)}{sign}", *numbers)
        field = packed.ljust(4, b"\0")
        if len(packed) > 4:
            field = struct.pack(f"{order}I", behind + len(more))
            more += packed + b"\0" * (len(packed) % 2)
        directory += struct.pack(f"{order}HHI", tag, kind_of, len(numbers)) + field
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return b"".join((header, *blocks, b"\0" * (position % 2), directory, b"\0" * 4, more))


DEFLATE: Packer = zlib.compress
