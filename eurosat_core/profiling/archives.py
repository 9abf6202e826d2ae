"""The one trace in an archive, as people and mail programs pack it: a zip, or a tar that may be compressed.

Nothing is written to disk, so whatever names an archive holds, they lead nowhere.
"""

import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from eurosat_core.errors import TraceError
from eurosat_core.wording import count, listed, printable

__all__ = ["is_tar", "is_zip", "trace_in_tar", "trace_in_zip"]

_JSON = re.compile(r"\.json(?:\.gz)?$", re.IGNORECASE)
_TRACE = re.compile(r"\.trace\.json(?:\.gz)?$", re.IGNORECASE)  # what PyTorch's profiler calls its files
_MAX_ENTRIES = 10_000
# A zip's table of contents, and what a tar's header says of a file, are read in one: real ones are smaller than this.
_MAX_READ = 4 * 1024**2
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # others can swell without bounds while they are read
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
    OSError,  # a place in the file that cannot be
)
"""What `zipfile` and `tarfile` raise for archives that are cut short, damaged or hostile."""
_DAMAGED = "The archive is cut short or damaged. Download or copy it again, or choose the trace itself."


def is_zip(start: bytes) -> bool:
    """Whether a file that starts like this is a zip archive."""
    return start.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"))


def is_tar(start: bytes) -> bool:
    """Whether a file that starts like this (512 bytes are enough) is a tar archive."""
    return start[257:262] == b"ustar"


def trace_in_zip(file: BinaryIO, piece: int) -> Iterator[bytes]:
    """The bytes of the only trace in a zip, in pieces. Raises `TraceError` with a sentence."""
    bounded: Any = _Bounded(file)
    try:
        with zipfile.ZipFile(bounded) as archive:
            infos = [each for each in archive.infolist() if not each.is_dir()]
            info = infos[_only_trace([each.filename for each in infos])]
            if info.flag_bits & 0x1:
                raise TraceError("The archive is encrypted. Unpack it with its password, and choose the trace itself.")
            if info.compress_type not in _METHODS:
                raise TraceError(
                    "The archive is packed by another method than zip's usual one. Unpack it, and choose the trace "
                    "itself."
                )
            with archive.open(info) as member:
                while text := member.read(piece):
                    yield text
    except _DAMAGE as error:
        raise TraceError(_DAMAGED) from error


def trace_in_tar(again: Callable[[], Iterator[bytes]], piece: int) -> Iterator[bytes]:
    """The bytes of the only trace in a tar, in pieces. Raises `TraceError` with a sentence.

    again: gives the tar's bytes from its start at each call: once to see what it holds, once to read the trace.
    """
    try:
        wanted = _only_trace([each.name for each in _files(_opened(again))])
        archive = _opened(again)
        for number, each in enumerate(_files(archive)):
            if number == wanted:
                content: Any = archive.extractfile(each)
                while text := content.read(piece):
                    yield text
                return
    except _DAMAGE as error:
        raise TraceError(_DAMAGED) from error


def _opened(again: Callable[[], Iterator[bytes]]) -> tarfile.TarFile:
    forward: Any = _Forward(again())
    return tarfile.TarFile(fileobj=forward)


def _files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for number, each in enumerate(archive):
        if number >= _MAX_ENTRIES:
            raise TraceError(f"The archive holds more than {_MAX_ENTRIES:,} files. Unpack it, and choose the trace.")
        if each.isreg():
            yield each


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
    shown = [_shown(names[at]) for at in found[:3]] + ["more"] * (len(found) > 3)
    raise TraceError(f"The archive holds {len(found):,} traces ({listed(shown)}). Unpack it, and choose one of them.")


def _shown(name: str) -> str:
    last = re.split(r"[/\\]", name)[-1]
    return printable(last, 60)


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
