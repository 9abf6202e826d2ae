"""The JSON document of a trace, read piece by piece: its events in lists, and everything else around them.

The text is cut where an event seems to end, and a cut is right exactly when what stands before it parses: a list of
whole values cannot end inside a value. So memory holds one piece's events at a time, whatever the file's layout.

What profilers are known to write wrongly is put right, so that no trace is refused for a spelling mistake. Each repair
loses nothing and is said (`REPAIRS` holds the sentences).
"""

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import orjson

from eurosat_core.errors import TraceError

REPAIRS = {
    "quotes": "Names held quotes that were not escaped, as in recordings with call stacks; they were repaired.",
    "backslashes": "Backslashes in names were not escaped, as profilers on Windows wrote them; they were repaired.",
    "controls": "Names held control characters; they were escaped.",
    "encoding": "Some names were not UTF-8; their unreadable letters were replaced.",
    "numbers": "Some values were written as NaN, Infinity or N/A; they count as missing.",
}

# A text in quotes, or whatever stands between two of them.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^"]++', re.DOTALL)
_BAD_ESCAPE = re.compile(rb'(?<!\\)(?:\\\\)*\\(?!["\\/bfnrtu]|u[0-9a-fA-F]{4})|(?<!\\)(?:\\\\)*\\u(?![0-9a-fA-F]{4})')
# A drive letter followed by one backslash: `\t` of `C:\torch` is no tab.
_DRIVE = re.compile(rb"[A-Za-z]:\\(?![\\/])")
_BACKSLASH = re.compile(rb'\\([\\"])?')
_CONTROL = re.compile(rb"[\x00-\x1f]")
_NO_NUMBER = re.compile(rb"(?<![\w.])(?:-?(?:NaN|nan|Infinity|inf)(?:\(ind\))?|N/A)(?![\w.])")
# A name of an event, or its call stack. `whole`: it ends at its first quote, for a comma and a next key follow, or the
# object's end.
_NAME = re.compile(
    rb'"(?:name|Call stack)"\s*:\s*"(?:(?P<whole>(?:[^"\\]++|\\.)*+)'
    rb'(?="\s*(?:}\s*(?:[}\]]|,\s*(?:{\s*)?"[^"\\]*"\s*:)|,\s*"[^"\\]*"\s*:)))?',
    re.DOTALL,
)
# Where the name of an event really ends: the keys are those that Kineto writes behind it, or it begins the next event.
_NAME_END = re.compile(
    rb'"\s*,\s*"(?:ph|cat|pid|tid|ts|dur|args|id|Input \w+|Ev Idx|Module Hierarchy|Concrete Inputs)"\s*:'
    rb'|"\s*}\s*(?:}\s*)?,\s*{\s*"(?:ph|cat|name)"\s*:'
)
_KEY = re.compile(rb'"(?:ph|cat|name|pid|tid|ts|dur|args)"\s*:')
_QUOTE = re.compile(rb'(\\*)"')
# Names are lines of code or whole functions, never more than this.
_LONGEST_NAME = 1 << 16


def repairs(text: bytes) -> Iterator[tuple[bytes, set[str]]]:
    """`text` with its names put right, then with all known mistakes put right; and which of `REPAIRS` were needed.

    Most mistakes are in names, and to go through these alone takes a tenth of the time.
    """
    needed: set[str] = set()
    try:
        text.decode()
    except UnicodeDecodeError:
        text = text.decode(errors="replace").encode()
        needed.add("encoding")
    text = _names(text, needed)
    if needed:
        yield text, needed

    def token(match: re.Match[bytes]) -> bytes:
        found = match[0]
        if found.startswith(b'"'):
            return _escaped(found, needed)
        changed = _NO_NUMBER.sub(b"null", found)
        if changed != found:
            needed.add("numbers")
        return changed

    changed = _TOKEN.sub(token, text)
    if changed != text:
        yield changed, needed


def _names(text: bytes, needed: set[str]) -> bytes:
    """`text` with what is wrong in names escaped; quotes only where it is plain which ones are the name's own.

    A name that would hold a key of an event has lost its own end, and the text is returned as it was. One that the end
    of `text` cuts is taken to go on. Goes through the text once, however many names are broken.
    """
    parts: list[bytes] = []
    found: set[str] = set()
    done = 0
    for match in _NAME.finditer(text):
        if match.start() < done:
            continue
        name = match["whole"]
        start, stop = (match.end(), 0) if name is None else match.span("whole")
        if name is None:
            end = _NAME_END.search(text, start, start + _LONGEST_NAME)
            stop = end.start() if end else len(text)
            name = text[start:stop]
            if len(name) > _LONGEST_NAME or _KEY.search(name):
                return text
            if b'"' in name:
                found.add("quotes")
                name = _QUOTE.sub(lambda each: each[0] if len(each[1]) % 2 else each[1] + b'\\"', name)
        name = _escaped(name, found)
        if name != text[start:stop]:
            parts += [text[done:start], name]
            done = stop
    needed |= found
    return b"".join([*parts, text[done:]])


def _escaped(found: bytes, needed: set[str]) -> bytes:
    """A text's backslashes and control characters put right."""
    if b"\\" in found and (_BAD_ESCAPE.search(found) or _DRIVE.search(found)):
        needed.add("backslashes")
        found = _BACKSLASH.sub(lambda each: each[0] if each[1] else rb"\\", found)
    if _CONTROL.search(found):
        needed.add("controls")
        found = _CONTROL.sub(lambda each: b"\\u%04x" % each[0][0], found)
    return found


# What stands before the events (a recording's metadata), after them, or within a single one. Real ones are below 1 MB.
_MAX_PART = 64 * 1024**2
_EVENTS_KEY = re.compile(rb'"traceEvents"\s*:\s*\[')
_BETWEEN_EVENTS = re.compile(rb"}\s*,\s*(?={)")
# A recording names its list of events once; texts in it may name it, too.
_KEYS = 20
# How far back from the end of a piece a place to cut is looked for, and how many places are tried.
_CUT_REGION, _CUTS = 1 << 16, 8
_COMMA_AT_THE_END = re.compile(rb"\s*,\s*\]")
_MARK = b"\xef\xbb\xbf"
# JSON's longest word is `false`: a text that stops being JSON this close to its end may just have been cut there.
_WORD = 5
# The text stops being JSON behind a quote within a name.
_IN_A_NAME, _SHOWN_NAME = re.compile(rb'"name"\s*:\s*"(?:[^"\\]|\\.)*"\s*$', re.DOTALL), 1 << 12
_CUT_OFF = (
    "The trace ends in the middle: it was cut off while it was written, downloaded or copied. Get the whole file, or "
    "record again."
)
_NO_TRACE = "This is not a profiler trace. Choose a file that PyTorch's profiler wrote (.pt.trace.json or .json.gz)."


class Document:
    """A trace's JSON document. Iterate over `events()` to the end; then `properties` and `notes` are complete."""

    def __init__(self, texts: Iterator[bytes]) -> None:
        self._texts = texts
        self._buffer = b""
        self._repairs: set[str] = set()
        self._tolerated: list[str] = []
        self.properties: dict[str, Any] = {}
        """Everything beside the events."""

    @property
    def notes(self) -> list[str]:
        """What was repaired or tolerated, a sentence each."""
        return [REPAIRS[key] for key in REPAIRS if key in self._repairs] + self._tolerated

    def events(self) -> Iterator[list[Any]]:
        """The events in file order, a list for each piece. Raises `TraceError` for what cannot be read."""
        head = self._head()
        rest = None
        while rest is None:
            found = self._piece()
            if found is None:
                if self._more():
                    continue
                found = self._last_piece(head)
            events, rest = found
            yield events
        self._finish(head, rest)

    def _more(self) -> bool:
        """Read on: twice as much as is held, so that a long value is not parsed again and again."""
        if len(self._buffer) > _MAX_PART:
            raise TraceError("The trace holds a single event of more than 64 MB, so it is damaged. Record it again.")
        parts, held = [self._buffer], len(self._buffer)
        for text in self._texts:
            parts.append(text)
            held += len(text)
            if held >= 2 * len(self._buffer):
                break
        grew = held > len(self._buffer)
        self._buffer = b"".join(parts)
        return grew

    def _head(self) -> bytes:
        """What stands before the events, up to their opening bracket; the buffer then starts with the first event."""
        while not self._buffer and self._more():
            self._buffer = self._buffer.lstrip()
        if not self._buffer:
            raise TraceError("The file is empty. Record the trace again.")
        if len(self._buffer) < len(_MARK):
            self._more()
        self._buffer = self._buffer.removeprefix(_MARK).lstrip()
        if self._buffer.startswith(b"["):
            self._buffer = self._buffer[1:]
            return b"["
        if not self._buffer.startswith(b"{"):
            raise TraceError(_NO_TRACE)
        while True:
            for match in islice(_EVENTS_KEY.finditer(self._buffer), _KEYS):
                head = self._buffer[: match.end()]
                # A key of the same name further inside does not close like this.
                if self._attempt(head + b"]}")[0] is not None:
                    self._buffer = self._buffer[match.end() :]
                    return head
            if len(self._buffer) > _MAX_PART or not self._more():
                break
        if self._attempt(self._buffer)[0] is not None:
            raise TraceError("This is JSON, but not a profiler trace: it has no list of traceEvents.")
        raise TraceError(f"This is no whole JSON document. {_NO_TRACE}")

    def _piece(self) -> tuple[list[Any], bytes | None] | None:
        """The events up to the last place to cut, and None; or those up to the list's end, and what follows it.

        None when there is no place to cut.
        """
        start = max(0, len(self._buffer) - _CUT_REGION)
        places = [match.start() + 1 for match in _BETWEEN_EVENTS.finditer(self._buffer, start)]
        for place in reversed(places[-_CUTS:]):
            found = self._list(b"[" + self._buffer[:place] + b"]")
            if found is None:
                continue
            events, rest = found
            behind = self._buffer[place:]
            if rest:
                return events, rest[:-1] + behind
            self._buffer = behind.lstrip().removeprefix(b",")
            return events, None
        return None

    def _last_piece(self, head: bytes) -> tuple[list[Any], bytes]:
        """The events at the end of the file, and what follows. Raises `TraceError` when their list does not end."""
        found = self._list(b"[" + self._buffer)
        if found is not None:
            return found
        events = self._attempt(b"[" + self._buffer.rstrip().removesuffix(b",") + b"]")[0]
        if head != b"[" or events is None:
            raise TraceError(_CUT_OFF)
        # Chrome's form of a plain list may lack its bracket: programs write it as they go.
        self._tolerated.append("The list of events had no closing bracket, which this form of a trace allows.")
        return events, b""

    def _finish(self, head: bytes, rest: bytes) -> None:
        """Read to the end and parse what stands around the events."""
        self._buffer = rest
        while self._more():
            pass
        if head == b"[":
            if self._buffer.strip():
                raise TraceError(_damaged(self._buffer, 0))
            return
        around, text, stop = self._attempt(head + b"]" + self._buffer)
        if around is None:
            raise TraceError(_CUT_OFF if stop >= len(text) - _WORD else _damaged(text, stop))
        around.pop("traceEvents", None)
        self.properties = around

    def _list(self, text: bytes) -> tuple[list[Any], bytes] | None:
        """The list that `text` starts with, and what follows it; None when `text` ends within the list.

        Raises `TraceError` for what is no JSON.
        """
        value, text, stop = self._attempt(text)
        if value is not None:
            return value, b""
        before, behind = text[:stop].rstrip(), text[stop:]
        if before.endswith(b"]"):
            value = self._attempt(before)[0]
            if value is not None:
                return value, behind
        comma = _COMMA_AT_THE_END.match(behind)
        if comma is not None:
            value = self._attempt(before + b"]")[0]
            if value is not None:  # nothing is lost
                self._tolerated.append("A comma too many stood after the last event.")
                return value, behind[comma.end() :]
        if stop < len(text) - _WORD:
            raise TraceError(_damaged(text, stop))
        return None

    def _attempt(self, text: bytes) -> tuple[Any, bytes, int]:
        """The value of `text` or None, `text` as it was parsed (perhaps repaired), and the byte where it stopped."""
        stop = 0
        for changed, needed in chain([(text, set[str]())], repairs(text)):
            self._repairs |= needed
            text = changed
            try:
                return orjson.loads(text), text, len(text)
            except orjson.JSONDecodeError as error:
                stop = _byte(text, error.pos)
            if not needed and stop >= len(text) - 1:  # it merely ends too early
                break
        return None, text, stop


def _byte(text: bytes, letter: int) -> int:
    """Where the parser's position lies: it counts letters."""
    return letter if text.isascii() else len(text.decode(errors="replace")[:letter].encode())


def _damaged(text: bytes, stop: int) -> str:
    around = text[max(0, stop - 20) :][:40].decode(errors="replace")
    if b"python_function" in text or _IN_A_NAME.search(text, max(0, stop - _SHOWN_NAME), stop):
        return (
            f"The file is not valid JSON near {around!r}. With call stacks PyTorch writes lines of code as names, and "
            "their quotes can break the file: record without with_stack. A trace without call stacks is damaged: copy "
            "it again."
        )
    return f"The file is not valid JSON near {around!r}: it is damaged. Copy or record the trace again."
