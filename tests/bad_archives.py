"""Archives that cannot be used, each with the words of its sentence: `BAD` names them, `make_bad` makes one."""

import errno
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zip_makers import DEFLATED, FOLDER, LINK, UTF8, Entry, jpeg, tree_entries, write_zip, zip_bytes

from eurosat_core.data import archive

Patch = pytest.MonkeyPatch

GOOD = tree_entries(("Forest", "River"), each=3)
WHOLE = zip_bytes(GOOD)
TABLE, END = WHOLE.index(b"PK\1\2"), WHOLE.index(b"PK\5\6")  # where its table of contents begins and ends
BIG = Entry("Forest/0.jpg", jpeg() * 100)
GIGABYTES = 3 * 1024**3

LEADS_OUT = ["outside of its folder"]
CUT = ["cut short"]
NO_PICTURES = ["no pictures", "2750/Forest/Forest_1.jpg"]
NO_ZIP = ["not a zip"]
NONE_UNPACKED = ["None of"]
CONTROL = "control characters"

NAMES_THAT_LEAD_OUT = {
    "one up": "../evil.jpg",
    "up within": "Forest/../../../evil.jpg",
    "up at the end": "Forest/..",
    "absolute": "/etc/x.jpg",
    "absolute twice": "//server/share/x.jpg",
    "drive": "C:\\x.jpg",
    "drive with slash": "c:/Windows/x.jpg",
    "drive without slash": "c:x.jpg",
    "drive within": "Forest/C:/x.jpg",
    "drive at the end": "Forest/C:x.jpg",
    "backslash up": "..\\evil.jpg",
    "backslash up within": "Forest\\..\\..\\evil.jpg",
    "share": "\\\\server\\share\\x.jpg",
}


def _more(name: str | bytes, content: bytes = b"", **odd: Any) -> list[Entry]:
    return [*GOOD, Entry(name, content, **odd)]


def _all(**odd: Any) -> list[Entry]:
    return [replace(each, **odd) for each in GOOD]


CONTENTS: dict[str, tuple[bytes | list[Entry], list[str]]] = {
    "empty": (b"", ["empty file"]),
    "text": (b"no archive", NO_ZIP),
    "web page": (b"<!DOCTYPE html><html>Please log in</html>", NO_ZIP),
    "tar": (b"\x1f\x8b\x08" + bytes(100), NO_ZIP),
    **{f"cut after {share}": (WHOLE[: max(4, int(len(WHOLE) * share))], CUT) for share in (0, 0.1, 0.5, 0.8, 0.95)},
    "last byte missing": (WHOLE[:-1], CUT),
    "no table of contents": (WHOLE[:TABLE], CUT),
    "table overwritten": (WHOLE[:TABLE] + bytes(END - TABLE) + WHOLE[END:], CUT),
    "table larger than the file": (WHOLE[:-10] + b"\xff\xff\xff\x7f" + WHOLE[-6:], CUT),
    "name that is no text": (_more(b"Forest/\xff\xfe.jpg", jpeg()), CUT),
    "of the future": (_more("Forest/x.jpg", jpeg(), version=99), CUT),
    "no entries": ([], NO_PICTURES),
    "encrypted": (_all(flags=UTF8 | 1), ["encrypted"]),
    "one encrypted": (_more("River/secret.jpg", jpeg(), flags=UTF8 | 1), ["encrypted"]),
    "nested": ([Entry("EuroSAT/EuroSAT.zip", WHOLE)], [*NO_PICTURES, "another archive"]),
    "no pictures": ([Entry("Forest/notes.txt", b"none"), Entry("River/notes.txt", b"none")], NO_PICTURES),
    "only folders": (
        [Entry("Forest/", attributes=FOLDER), Entry("River.jpg/", attributes=FOLDER), Entry("")],
        NO_PICTURES,
    ),
    "loose pictures": ([Entry("a.jpg", jpeg(1)), Entry("b.jpg", jpeg(2))], NO_PICTURES),
    "only copies of a Mac": ([replace(each, name=f"__MACOSX/{each.name}") for each in GOOD], NO_PICTURES),
    "only hidden": (
        [Entry(name, jpeg()) for name in ("Forest/.a.jpg", ".River/b.jpg", ".tree/c.jpg")],
        NO_PICTURES,
    ),
    **{title: (_more(name, jpeg()), [*LEADS_OUT, f"'{name}'"]) for title, name in NAMES_THAT_LEAD_OUT.items()},
    "evil folder": ([Entry("../evil/", attributes=FOLDER), *GOOD], LEADS_OUT),
    "link": ([Entry("Forest", b"/etc", attributes=LINK), *GOOD], ["a link", "'Forest'"]),
    "link among the pictures": (
        _more("Forest/x.jpg", b"../../../secret.jpg", attributes=LINK),
        ["a link", "'Forest/x.jpg'"],
    ),
    "both folder and link": (_more("Forest/", b"/etc", attributes=LINK), ["a link", "'Forest/'"]),
    "both folder and file": (_more("Forest/x.jpg/", jpeg()), ["contradicts", "'Forest/x.jpg/'"]),
    "line break in a name": (_more("Forest/a\nb.jpg", jpeg()), [f"{CONTROL} ('Forest/a?b.jpg')"]),
    "NUL in a name": (_more("Forest/a.jpg\0.txt", jpeg()), [CONTROL]),
    "NUL alone": (_more("\0", jpeg()), [CONTROL]),
    "claims to swell": (_more("Forest/x.jpg", jpeg(), file_size=GIGABYTES), [" kB", "3.0 GB"]),
    "swells beside the pictures": (_more("notes.txt", file_size=GIGABYTES), ["would swell"]),
    "overlapping": (
        [BIG, *(Entry(f"River/{number}.jpg", BIG.content, same_bytes_as=0) for number in range(1, 100))],
        ["overlap"],
    ),
    "all by an unknown method": (
        _all(method=97, packed=b"?" * 50),
        [*NONE_UNPACKED, "6 ×", "Forest/Forest_1.jpg", "97"],
    ),
    "all damaged": (_all(crc=1), [*NONE_UNPACKED, "6 ×", "Forest/Forest_1.jpg"]),
    # The table of contents says that they begin before the file does.
    "all elsewhere": (zip_bytes(GOOD, shift=100), [*NONE_UNPACKED, "Forest/Forest_1.jpg"]),
    "all names too long": (
        [Entry(f"{name}/{'x' * 300}.jpg", jpeg()) for name in ("Forest", "River")],
        [*NONE_UNPACKED, "too long"],
    ),
}


def fail_for(patch: Patch, owner: Any, name: str, error: BaseException, when: Callable[[Any], bool]) -> None:
    """Let a function fail for some of its first arguments, as if the disk did; root may do everything otherwise."""
    honest = getattr(owner, name)

    def fail(first: Any, *args: Any, **options: Any) -> Any:
        if when(first):
            raise error
        return honest(first, *args, **options)

    patch.setattr(owner, name, fail)


def _swells(path: Path, patch: Patch) -> None:
    write_zip(path, _more("Forest/zeros.bmp", bytes(51 * 1024**2), method=DEFLATED))


def _forbidden(path: Path, patch: Patch) -> None:
    refusal = PermissionError(errno.EACCES, "Permission denied", str(path))
    fail_for(patch, Path, "open", refusal, lambda each: each == path)


def _on_a_broken_disk(path: Path, patch: Patch) -> None:
    fail_for(patch, Path, "open", OSError(errno.EIO, "Input/output error"), lambda each: each == path)


def _may_not_be_written(path: Path, patch: Patch) -> None:
    refusal = PermissionError(errno.EACCES, "Permission denied", "/cache/Forest/Forest_1.jpg")
    fail_for(patch, Path, "open", refusal, lambda each: each.suffix == ".jpg")


def _disk_full_midway(path: Path, patch: Patch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    fail_for(patch, Path, "open", full, lambda each: each.name == "River_2.jpg")


def _disk_full_before(path: Path, patch: Patch) -> None:
    usage = shutil.disk_usage(path.parent)._replace(free=sum(len(each.content) for each in GOOD) - 1)
    patch.setattr(shutil, "disk_usage", lambda _place: usage)


def _read_error_midway(path: Path, patch: Patch) -> None:
    fail_for(patch, zipfile.ZipFile, "open", OSError(errno.EIO, "Input/output error"), lambda _archive: True)


def _too_many_entries(path: Path, patch: Patch) -> None:
    patch.setattr(archive, "_LIMITS", replace(archive._LIMITS, entries=5))


def _all_too_large(path: Path, patch: Patch) -> None:
    patch.setattr(archive, "_MAX_PICTURE_BYTES", 100)


# What happens to a good archive at this path, or to the disk that it lies on.
FAULTS: dict[str, tuple[Callable[[Path, Patch], None], list[str]]] = {
    "swells": (_swells, ["0.1 MB", "51 MB"]),
    "too many entries": (_too_many_entries, ["6 files", "at most 5"]),
    "all too large": (_all_too_large, ["None of", "too large"]),
    "missing": (lambda path, _patch: path.unlink(), ["There is no "]),
    "forbidden": (_forbidden, ["read permission"]),
    "on a broken disk": (_on_a_broken_disk, ["Input/output error"]),
    "may not be written": (_may_not_be_written, ["Forest_1.jpg", "EUROSAT_CACHE"]),
    "disk full midway": (_disk_full_midway, ["No space", "disk space"]),
    "disk full before": (_disk_full_before, [" kB", "disk space", "EUROSAT_CACHE"]),
    "read error midway": (_read_error_midway, ["Input/output error"]),
}

BAD = [*CONTENTS, *FAULTS]


def make_bad(name: str, path: Path, patch: Patch) -> list[str]:
    """Make one of `BAD`; the words of its sentence."""
    if name in CONTENTS:
        content, words = CONTENTS[name]
        path.write_bytes(content if isinstance(content, bytes) else zip_bytes(content))
    else:
        spoil, words = FAULTS[name]
        write_zip(path, GOOD)
        spoil(path, patch)
    return words
