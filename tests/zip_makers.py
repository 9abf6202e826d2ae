"""Zip archives written byte by byte, for `zipfile` would not write most of what a damaged or hostile one holds."""

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

STORED, DEFLATED = 0, 8
UTF8 = 0x800  # the flag of a name in UTF-8
LINK, FOLDER, PIPE, FILE = (kind << 16 for kind in (0o120777, 0o040755, 0o010644, 0o100644))  # external attributes


@dataclass(frozen=True)
class Entry:
    """One file of an archive; what is None is filled in as it should be.

    packed: the bytes that lie in the archive. inner_name: the name that stands before these bytes, not in the table of
    contents. same_bytes_as: number of an entry whose bytes this one shares.
    """

    name: str | bytes
    content: bytes = b""
    method: int = STORED
    flags: int = UTF8
    attributes: int = FILE
    version: int = 20
    crc: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    file_size: int | None = None
    inner_name: bytes | None = None
    same_bytes_as: int | None = None
    offset: int | None = None


def zip_bytes(entries: list[Entry], *, comment: bytes = b"", shift: int = 0) -> bytes:
    """The archive. shift: added to where its table of contents is said to begin."""
    body, table, offsets = b"", b"", []
    for entry in entries:
        name = entry.name if isinstance(entry.name, bytes) else entry.name.encode()
        packed = entry.packed
        if packed is None:
            packed = zlib.compress(entry.content, wbits=-15) if entry.method == DEFLATED else entry.content
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        packed_size = len(packed) if entry.packed_size is None else entry.packed_size
        file_size = len(entry.content) if entry.file_size is None else entry.file_size
        common = (entry.flags, entry.method, 0, 33, crc, packed_size, file_size)  # 33: the first of January 1980
        offset = len(body) if entry.same_bytes_as is None else offsets[entry.same_bytes_as]
        offsets.append(offset)
        if entry.same_bytes_as is None:
            inner = name if entry.inner_name is None else entry.inner_name
            body += struct.pack("<4s5H3L2H", b"PK\3\4", entry.version, *common, len(inner), 0) + inner + packed
        table += struct.pack(
            "<4s4B4H3L5H2L",
            *(b"PK\1\2", 20, 3, entry.version, 0, *common, len(name), 0, 0, 0, 0),
            *(entry.attributes, offset if entry.offset is None else entry.offset),
        )
        table += name
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(table), len(body) + shift, len(comment)
    )
    return body + table + end + comment


def write_zip(path: Path, entries: list[Entry]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zip_bytes(entries))
    return path


@cache
def jpeg(number: int = 0) -> bytes:
    """A small picture, another one for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (number * 37 % 256, number * 91 % 256, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


def tree_entries(class_names: tuple[str, ...], each: int = 2, inside: str = "") -> list[Entry]:
    """A class-per-folder tree: `each` pictures per class, named as EuroSAT's are."""
    return [
        Entry(f"{inside}{name}/{name}_{number + 1}.jpg", jpeg(label * each + number), DEFLATED)
        for label, name in enumerate(class_names)
        for number in range(each)
    ]
