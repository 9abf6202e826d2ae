"""Putting right what profilers are known to write wrongly, so that no trace is refused for a spelling mistake.

Each repair loses nothing and is said (`REPAIRS` holds the sentences).
"""

import re
from collections.abc import Iterator

__all__ = ["REPAIRS", "repairs"]

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
