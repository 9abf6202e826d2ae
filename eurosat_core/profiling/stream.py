"""A trace's text in pieces, from a file, a download or an archive, within bounds.

Nothing is written to disk, so whatever names an archive holds, they lead nowhere.
"""

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from eurosat_core.data.safe_zip import DAMAGE, METHODS
from eurosat_core.errors import TraceError
from eurosat_core.wording import count, listed, printable

_JSON = re.compile(r"\.json(?:\.gz)?$", re.IGNORECASE)
_TRACE = re.compile(r"\.trace\.json(?:\.gz)?$", re.IGNORECASE)  # what PyTorch's profiler calls its files
_MAX_ENTRIES = 10_000
# A zip's table of contents, and what a tar's header says of a file, are read in one: real ones are smaller than this.
_MAX_READ = 4 * 1024**2
_DAMAGE = (*DAMAGE, tarfile.TarError, IndexError, OSError)  # OSError: a place in the file that cannot be
"""What `zipfile` and `tarfile` raise for archives that are cut short, damaged or hostile."""
_DAMAGED = "The archive is cut short or damaged. Download or copy it again, or choose the trace itself."


def _trace_in_zip(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of the only trace in a zip, in pieces. Raises `TraceError` with a sentence."""
    bounded: Any = _Bounded(file)
    try:
        with zipfile.ZipFile(bounded) as archive:
            infos = [each for each in archive.infolist() if not each.is_dir()]
            info = infos[_only_trace([each.filename for each in infos])]
            if info.flag_bits & 0x1:
                raise TraceError("The archive is encrypted. Unpack it with its password, and choose the trace itself.")
            if info.compress_type not in METHODS:
                raise TraceError(
                    "The archive is packed by another method than zip's usual one. Unpack it, and choose the trace "
                    "itself."
                )
            with archive.open(info) as member:
                while text := member.read(PIECE):
                    yield text
    except _DAMAGE as error:
        raise TraceError(_DAMAGED) from error


def _trace_in_tar(file: BinaryIO, layers: int) -> Iterator[bytes]:
    """The bytes of the only trace in a tar, in pieces. Raises `TraceError` with a sentence.

    The tar, out of so many layers of gzip, is read twice: once to see what it holds, once for the trace.
    """
    try:
        wanted = _only_trace([each.name for _, each in _members(_layered(file, layers))])
        for archive, member in islice(_members(_layered(file, layers)), wanted, wanted + 1):
            content: Any = archive.extractfile(member)
            while text := content.read(PIECE):
                yield text
    except _DAMAGE as error:
        raise TraceError(_DAMAGED) from error


def _members(texts: Iterator[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The files of a tar that is read from these pieces, and the open tar with each."""
    forward: Any = _Forward(texts)
    archive = tarfile.TarFile(fileobj=forward)
    for number, each in enumerate(archive):
        if number >= _MAX_ENTRIES:
            raise TraceError(f"The archive holds more than {_MAX_ENTRIES:,} files. Unpack it, and choose the trace.")
        if each.isreg():
            yield archive, each


def _only_trace(names: Sequence[str]) -> int:
    """Which of the files is the trace. Raises `TraceError` unless exactly one can be it."""
    parts = [re.split(r"[/\\]", name) for name in names]
    # Beside every file a Mac packs another one, whose name begins with a dot.
    seen = [at for at, each in enumerate(parts) if not each[-1].startswith(".") and "__MACOSX" not in each]
    found = [at for at in seen if _JSON.search(names[at])]
    if len(found) > 1:
        found = [at for at in found if _TRACE.search(names[at])] or found
    elif not found and len(seen) == 1:
        found = seen
    if len(found) == 1:
        return found[0]
    if not found:
        holds = f"{count(len(seen), 'file')}, and none of them ends in .json" if seen else "no file"
        raise TraceError(f"The archive holds {holds}: no trace. Choose the file that PyTorch's profiler wrote.")
    shown = [printable(parts[at][-1], 60) for at in found[:3]] + ["more"] * (len(found) > 3)
    raise TraceError(f"The archive holds {len(found):,} traces ({listed(shown)}). Unpack it, and choose one of them.")


class _Bounded:
    """A zip's file, of which nobody can read more at once than a table of contents needs."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """As a file's. Raises `BadZipFile` for more than is reasonable."""
        if size > _MAX_READ:
            raise zipfile.BadZipFile("its table of contents is too large")
        return self._file.read(size if size >= 0 else _MAX_READ)


class _Forward:
    """Bytes that come one after the other, as a file that can only be read on: all that a tar needs."""

    def __init__(self, texts: Iterator[bytes]) -> None:
        self._texts = texts
        self._held = b""
        self._at = 0

    def tell(self) -> int:
        """How many bytes were read or passed over."""
        return self._at

    def read(self, size: int) -> bytes:
        """Up to `size` bytes. Raises `ReadError` for more than is reasonable."""
        if not 0 <= size <= _MAX_READ:
            raise tarfile.ReadError("a header is too large")
        parts, held = [self._held], len(self._held)
        while held < size and (text := next(self._texts, b"")):
            parts.append(text)
            held += len(text)
        whole = b"".join(parts)
        found, self._held = whole[:size], whole[size:]
        self._at += len(found)
        return found

    def seek(self, place: int) -> None:
        """Pass over what lies before `place`. Raises `ReadError` for a place that was passed already."""
        if place < self._at:
            raise tarfile.ReadError("its headers lead back")
        while self._at < place and self.read(min(place - self._at, _MAX_READ)):
            pass


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
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
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
    with opened(source) as file:
        yield from _unpacked(file)


def opened(source: TraceSource) -> AbstractContextManager[BinaryIO]:
    """The file to read. Raises `TraceError` for one that is missing or cannot be read."""
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
        zipped = start.startswith(_ZIP)
        if not zipped and start[257:262] != b"ustar":
            for beginning, told in _OTHERS.items():
                if start.startswith(beginning):
                    raise TraceError(told)
            return texts
        if in_archive or (zipped and layer):
            raise TraceError("The archive is in another archive. Unpack it, and choose the trace itself.")
        in_archive = True
        texts = _limited(_trace_in_zip(file) if zipped else _trace_in_tar(file, layer))
    raise TraceError("The file is packed several times over. Unpack it, and choose the trace itself.")


def _layered(file: BinaryIO, layers: int) -> Iterator[bytes]:
    """The file's bytes from the start, out of so many layers of gzip."""
    file.seek(0)
    texts = _plain(file)
    for _ in range(layers):
        texts = _limited(_gunzipped(texts))
    return texts


def _start(texts: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them."""
    held: list[bytes] = []
    while sum(map(len, held)) < _START and (text := next(texts, b"")):
        held.append(text)
    return b"".join(held)[:_START], chain(held, texts)


def _plain(file: BinaryIO) -> Iterator[bytes]:
    try:
        while text := file.read(PIECE):
            yield text
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
