"""Putting right what profilers are known to write wrongly, so that no trace is refused for a spelling mistake.

Each repair loses nothing and is said (`REPAIRS` holds the sentences).
"""

import re

__all__ = ["REPAIRS", "repaired"]

REPAIRS = {
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


def repaired(text: bytes) -> tuple[bytes, set[str]]:
    """`text` with all known mistakes put right, and the keys of `REPAIRS` that were needed."""
    needed: set[str] = set()
    try:
        text.decode()
    except UnicodeDecodeError:
        text = text.decode(errors="replace").encode()
        needed.add("encoding")

    def token(match: re.Match[bytes]) -> bytes:
        found = match[0]
        if not found.startswith(b'"'):
            changed = _NO_NUMBER.sub(b"null", found)
            if changed != found:
                needed.add("numbers")
            return changed
        if b"\\" in found and (_BAD_ESCAPE.search(found) or _DRIVE.search(found)):
            needed.add("backslashes")
            found = _BACKSLASH.sub(lambda each: each[0] if each[1] else rb"\\", found)
        if _CONTROL.search(found):
            needed.add("controls")
            found = _CONTROL.sub(lambda each: b"\\u%04x" % each[0][0], found)
        return found

    return _TOKEN.sub(token, text), needed
