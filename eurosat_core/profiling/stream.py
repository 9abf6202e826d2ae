"""The bytes of a trace file, plain or packed, piece by piece and never more than the limits allow."""

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from eurosat_core.errors import TraceError
from eurosat_core.profiling.archives import is_tar, is_zip, trace_in_tar, trace_in_zip

__all__ = ["MAX_BYTES", "PIECE", "TraceSource", "pieces"]

# What may be given as a trace: a path, the file's bytes, or an open binary file (an upload).
TraceSource = Path | str | bytes | BinaryIO

# One piece: small enough that its parsed events stay in the processor's caches, large enough that pieces cost nothing.
PIECE = 1 << 20
# A trace of a million events is about 0.5 GB of text; beyond this limit nobody looks at it on a page any more, and a
# bomb is given up.
MAX_BYTES = 3 * 1024**3
# A browser packs what was packed already, and somebody puts it into a tar: still more layers are a bomb's.
_MAX_LAYERS = 4
_START = 512  # bytes that tell every kind of packing
_GZIP = b"\x1f\x8b"
_POINTER = (
    "This is a pointer of {}: it only names the trace, which is kept elsewhere. Fetch it with {}, or download it."
)
_OTHER_PACKING = "This file is packed with {}, which is not read here. Unpack it, and choose the trace itself."
# What else is met in a trace's place, by how it begins.
_OTHERS = {
    b"version https://git-lfs": _POINTER.format("Git LFS", "git lfs pull"),
    b"/annex/objects/": _POINTER.format("git-annex", "git annex get"),
    b"<": "This is not a profiler trace but a web page: some links show a file, or ask for a login, instead of giving "
    "it. Download the file itself.",
    b"BZh": _OTHER_PACKING.format("bzip2"),
    b"\xfd7zXZ": _OTHER_PACKING.format("xz"),
    b"\x28\xb5\x2f\xfd": _OTHER_PACKING.format("Zstandard"),
    b"7z\xbc\xaf": _OTHER_PACKING.format("7-Zip"),
    b"Rar!": _OTHER_PACKING.format("RAR"),
}


def pieces(source: TraceSource) -> Iterator[bytes]:
    """The text of a trace in pieces of at most `PIECE` bytes, out of gzip, and of a zip or tar that holds one trace.

    Raises `TraceError` for a file that is missing, unreadable, not whole or too large, and for one of another kind.
    """
    with _opened(source) as file:
        yield from _unpacked(file)


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


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """One layer of packing after the other, until what remains is packed no more."""
    texts, in_archive = _limited(_plain(file)), False
    for layer in range(_MAX_LAYERS):
        start, texts = _start(texts)
        if start.startswith(_GZIP):
            texts = _limited(_gunzipped(texts))
            continue
        zipped = is_zip(start)
        if not zipped and not is_tar(start):
            for beginning, told in _OTHERS.items():
                if start.startswith(beginning):
                    raise TraceError(told)
            return texts
        if in_archive or (zipped and layer):
            raise TraceError("The archive is in another archive. Unpack it, and choose the trace itself.")
        in_archive = True
        texts = _limited(trace_in_zip(file, PIECE) if zipped else trace_in_tar(_again(file, layer), PIECE))
    raise TraceError("The file is packed several times over. Unpack it, and choose the trace itself.")


def _again(file: BinaryIO, layers: int) -> Callable[[], Iterator[bytes]]:
    """Function: the file's bytes from the start, out of so many layers of gzip."""

    def texts() -> Iterator[bytes]:
        file.seek(0)
        found = _plain(file)
        for _ in range(layers):
            found = _limited(_gunzipped(found))
        return found

    return texts


def _start(texts: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them."""
    held: list[bytes] = []
    while sum(map(len, held)) < _START and (text := next(texts, b"")):
        held.append(text)
    return b"".join(held)[:_START], chain(held, texts)


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while text := _read(file):
        yield text


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(PIECE)
    except OSError as error:
        raise TraceError(f"The file cannot be read to its end: {error.strerror or error}.") from None


def _limited(texts: Iterator[bytes]) -> Iterator[bytes]:
    """The same, given up when it is too much."""
    total = 0
    for text in texts:
        total += len(text)
        if total > MAX_BYTES:
            raise TraceError(
                f"The trace is larger than {MAX_BYTES / 1024**3:.0f} GB when it is unpacked. Record fewer steps, or "
                "without call stacks (with_stack)."
            )
        yield text


def _gunzipped(texts: Iterator[bytes]) -> Iterator[bytes]:
    """Gzip, also of several members one after the other; zeros after the last one are padding."""
    unpacker = zlib.decompressobj(wbits=31)
    packed = next(texts, b"")
    try:
        while True:
            piece = unpacker.decompress(packed, PIECE)
            packed = unpacker.unconsumed_tail
            if piece:
                yield piece
            if unpacker.eof:
                packed = unpacker.unused_data.lstrip(b"\0")
                while not packed:
                    text = next(texts, b"")
                    if not text:
                        return
                    packed = text.lstrip(b"\0")
                unpacker = zlib.decompressobj(wbits=31)
            elif not packed:
                packed = next(texts, b"")
                if not packed and not piece:
                    raise TraceError(
                        "The gzip file ends in the middle: it was cut off while it was written, downloaded or copied. "
                        "Get the whole file."
                    )
    except zlib.error:
        raise TraceError("The gzip file is damaged and cannot be unpacked. Copy or record the trace again.") from None
