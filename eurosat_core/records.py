"""Records as they lie on disk and travel between processes: their types say what is accepted, msgspec checks it.

Some lie in files that only grow, a line each.
"""

import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from cachetools import LRUCache
from msgspec import Meta

from eurosat_core.errors import LabError, RunError
from eurosat_core.folders import append_whole

logger = logging.getLogger(__name__)

_Record = TypeVar("_Record")

# Of a book.
_MOST_KNOWN = 1000  # entries in memory, a participant's each (in the game times tile sets)
_MOST_BYTES = 8 * 2**20  # read at once, about 40,000 lines: what is older is passed over
_LONGEST = 4096  # bytes of a line

Count = Annotated[int, Meta(ge=0, lt=2**53)]
CountFromOne = Annotated[int, Meta(ge=1, lt=2**53)]
Figure = Annotated[float, Meta(ge=0, le=1e18)]
"""A finite number from 0 on. Operations per second and bytes stay far below the limit."""
PositiveFigure = Annotated[float, Meta(gt=0, le=1e18)]
Share = Annotated[float, Meta(ge=0, le=1)]


class EventRecord(msgspec.Struct, frozen=True, tag_field="kind", omit_defaults=True):
    """Base of the events of all runs. As JSON, `kind` comes first, and figures that are None are left out."""


def decoded(
    kind: type[_Record],
    values: Any,
    sentence: str,
    error: type[LabError] = RunError,
    *,
    known_only: bool = False,
) -> _Record:
    """The record that JSON values hold, checked by its types.

    Args:
        kind: A type that msgspec knows: a dataclass, a struct, a container of them.
        values: JSON as bytes (NaN and Infinity included, as Python writes them), or what was read from it.
        sentence: What the person at the screen is told. `{problem}` in it becomes half a sentence with what is wrong.
        error: What is raised.
        known_only: Whether entries that a dataclass does not have are refused; else they are ignored.

    Raises:
        LabError: The kind that `error` says, when the values do not make such a record.
    """
    try:
        if isinstance(values, bytes):
            values = json.loads(values)
        record = msgspec.convert(values, kind)
        if known_only and is_dataclass(kind):  # of structs, msgspec could check this itself
            _refuse_unknown(set(values) - {each.name for each in fields(kind)})
        return record
    except (ValueError, RecursionError) as problem:  # a ValidationError is a ValueError
        raise error(sentence.replace("{problem}", _in_words(problem))) from problem


def _refuse_unknown(names: set[str]) -> None:
    if names:
        raise msgspec.ValidationError(f"Object contains unknown field `{min(names)}`")


def lines_after(path: Path, offset: int, most_bytes: int = -1, longest: int = 2**20) -> bytes:
    """The whole lines of a file after a place in it; empty for none, also of a file that cannot be read.

    A torn last line waits for its rest, unless it is longer (bytes) than any record: it would be read again and again.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            added = file.read(most_bytes)
    except OSError:
        return b""
    whole = added.rfind(b"\n") + 1
    return added if not whole and len(added) >= longest else added[:whole]


class Book:
    """Records in one file that only grows, a line each. Safe to use from several threads and processes."""

    _line: ClassVar[type[Any]]  # what a line holds

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._inode = 0
        self._offset = 0
        self._known: LRUCache[Any, Any] = LRUCache(_MOST_KNOWN)

    def _take(self, record: Any) -> None:
        """Keep a record that was read, in `_known`."""
        raise NotImplementedError

    def _note(self, record: Any) -> None:
        """Add a record. One that the disk does not take is kept in memory for as long as the server lives."""
        try:
            self._write(f"{json.dumps(asdict(record))}\n".encode())
        except OSError as error:
            logger.warning("a line could not be kept in %s: %s", self._path, error.strerror or error)
            with self._lock:
                self._follow()
                self._take(record)

    def _write(self, line: bytes) -> None:
        append_whole(self._path, line)

    def _follow(self) -> None:
        """Take in what was added to the file since the last time; a torn last line waits for its rest."""
        try:
            status = self._path.stat()
        except OSError:  # not there yet, or not to be read
            return
        if status.st_ino != self._inode or status.st_size < self._offset:  # another file, or one begun anew
            if self._inode:
                self._known.clear()
            self._inode, self._offset = status.st_ino, 0
        if status.st_size == self._offset:
            return
        start = max(self._offset, status.st_size - _MOST_BYTES)
        added = lines_after(self._path, start, _MOST_BYTES, _LONGEST)
        self._offset = start + len(added)
        for line in added.splitlines():
            if len(line) <= _LONGEST:
                with suppress(RunError):  # a line that is no record
                    self._take(decoded(self._line, line, "This is no record.", known_only=True))


def texts(values: Any) -> Iterator[str]:
    """All texts in JSON values, names of entries included."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict):
        yield from values
        for each in values.values():
            yield from texts(each)
    elif isinstance(values, list):
        for each in values:
            yield from texts(each)


def _in_words(problem: Exception) -> str:
    """What msgspec found, as half a sentence about the record: `has an entry 'tiles.count' that cannot be used`."""
    if not isinstance(problem, msgspec.ValidationError):
        return "is not JSON"
    words, _, place = str(problem).partition(" - at `$")
    entry = re.sub(r"\[[^\]]*\]", "", place.strip("`").lstrip("."))
    if named := re.match(r"Object (contains unknown|missing required) field `(.*)`", words):
        name = f"{entry}.{named[2]}" if entry else named[2]
        return f"has an unknown entry '{name}'" if "unknown" in named[1] else f"lacks the entry '{name}'"
    return f"has an entry '{entry}' that cannot be used" if entry else "is no set of named values"
