"""The bytes of a trace file, plain or gzip, piece by piece and never more than the limits allow."""

import io
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from eurosat_core.errors import TraceError

__all__ = ["MAX_BYTES", "PIECE", "TraceSource", "pieces"]

# What may be given as a trace: a path, the file's bytes, or an open binary file (an upload).
TraceSource = Path | str | bytes | BinaryIO

# One piece: small enough that its parsed events stay in the processor's caches, large enough that pieces cost nothing.
PIECE = 1 << 20
# A trace of a million events is about 0.5 GB of text; beyond this limit nobody looks at it on a page any more, and a
# gzip bomb is given up.
MAX_BYTES = 3 * 1024**3
_GZIP = b"\x1f\x8b"


def pieces(source: TraceSource) -> Iterator[bytes]:
    """The unpacked text of a trace in pieces of at most `PIECE` bytes.

    Raises `TraceError` for a file that is missing, unreadable, not whole, or too large.
    """
    total = 0
    with _opened(source) as file:
        start = file.read(2)
        packed = start == _GZIP
        for piece in _unpacked(file, start) if packed else _plain(file, start):
            total += len(piece)
            if total > MAX_BYTES:
                raise TraceError(
                    f"The trace is larger than {MAX_BYTES / 1024**3:.0f} GB when it is unpacked. Record fewer steps, "
                    "or without call stacks (with_stack)."
                )
            yield piece


def _opened(source: TraceSource) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not isinstance(source, str | Path):
        source.seek(0)
        return nullcontext(source)  # it belongs to somebody else, who will close it
    path = Path(source)
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise TraceError(f"There is no file {path}. Check the path.") from None
    except IsADirectoryError:
        raise TraceError(f"{path} is a folder. Name one trace file in it.") from None
    except OSError as error:
        raise TraceError(f"The file {path} cannot be read: {error.strerror or error}.") from None


def _plain(file: BinaryIO, start: bytes) -> Iterator[bytes]:
    while start:
        yield start
        start = _read(file)


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(PIECE)
    except OSError as error:
        raise TraceError(f"The file cannot be read to its end: {error.strerror or error}.") from None


def _unpacked(file: BinaryIO, start: bytes) -> Iterator[bytes]:
    """Gzip, also of several members one after the other; zeros after the last one are padding."""
    unpacker = zlib.decompressobj(wbits=31)
    packed = start + _read(file)
    try:
        while True:
            piece = unpacker.decompress(packed, PIECE)
            packed = unpacker.unconsumed_tail
            if piece:
                yield piece
            if unpacker.eof:
                packed = (unpacker.unused_data or _read(file)).lstrip(b"\0")
                if not packed:
                    return
                unpacker = zlib.decompressobj(wbits=31)
            elif not packed:
                packed = _read(file)
                if not packed and not piece:
                    raise TraceError(
                        "The gzip file ends in the middle: it was cut off while it was written, downloaded or copied. "
                        "Get the whole file."
                    )
    except zlib.error:
        raise TraceError("The gzip file is damaged and cannot be unpacked. Copy or record the trace again.") from None
