"""Unpacking a zip of pictures that may be cut short, damaged or hostile.

Only pictures in class folders come out, as `target/<Class>/<picture>` (or `target/train/<Class>/<picture>`): whatever
names an archive holds, checked words are all that becomes of them, so nothing can be written outside of `target`.
"""

import errno
import re
import shutil
import stat
import threading
import unicodedata
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from eurosat_core.data.decoding import LeftOut, Tally, left_out_text
from eurosat_core.data.download import check_stop
from eurosat_core.data.listing import Seen, choose_tree, is_hidden
from eurosat_core.data.safe_zip import DAMAGE, METHODS, ZipLimits, check_contents
from eurosat_core.errors import DataError
from eurosat_core.wording import bytes_text, printable

_LIMITS = ZipLimits(entries=600_000, harmless_bytes=50 * 1024**2)
_MAX_PICTURE_BYTES = 100 * 1024**2
_NAME_BYTES = 255  # what file systems take
_REPORT_EVERY = 256
_NOT_HERE = frozenset({errno.EEXIST, errno.EILSEQ, errno.EINVAL, errno.ENAMETOOLONG})
"""What a file system answers to a name that it cannot take, and to a place in the archive that cannot be."""


_Picture = tuple[zipfile.ZipInfo, str]
"""With where it comes to lie, in the target."""


def unpack_pictures(
    archive: Path, target: Path, *, told: Callable[[int, int], None] | None = None, stop: threading.Event | None = None
) -> tuple[LeftOut, ...]:
    """Unpack the pictures of `archive` into the new folder `target`. Gives what was left out, kind by kind.

    told: called with (pictures done, in all). Raises `DataError` with a sentence for an archive that cannot be used or
    trusted, `Stopped` when `stop` is set; `target` may then hold some pictures and is the caller's to remove.
    """
    with _opened(archive) as opened:
        try:
            pictures, left_out = _chosen(opened, archive)
            _check_space(target, sum(info.file_size for info, _ in pictures))
            written = _write(opened, pictures, target, left_out, told, stop)
        except PermissionError as error:
            raise DataError(
                f"{error.filename or target} may not be written. Give yourself permission, or name another folder in "
                "EUROSAT_CACHE."
            ) from error
        except OSError as error:
            raise DataError(
                f"{archive} could not be unpacked into {target.parent}: {error.strerror or error}. Free some disk "
                "space, or name another folder in EUROSAT_CACHE."
            ) from error
    if not written:
        why = f" {left_out_text(left_out)}." if left_out.count else ""
        raise DataError(f"None of the pictures in {archive} could be unpacked.{why} Download or copy it again.")
    return tuple(left_out)


def _opened(archive: Path) -> zipfile.ZipFile:
    start = b""
    try:
        status = archive.stat()
        if stat.S_ISDIR(status.st_mode):
            raise DataError(f"{archive} is a folder. Name the zip archive itself.")
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{archive} is not a file. Name a zip archive on a disk.")
        if status.st_size == 0:
            raise DataError(f"{archive} is an empty file. Download or copy it again.")
        with archive.open("rb") as file:
            start = file.read(4)
        return zipfile.ZipFile(archive)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"There is no file {archive}. Check the path for a typo.") from error
    except PermissionError as error:
        raise DataError(f"{archive} may not be read. Give yourself read permission.") from error
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror or error}. Copy it to a local disk.") from error
    except DAMAGE as error:
        if start.startswith(b"PK"):
            problem = "is cut short or damaged: its table of contents cannot be read. Download or copy it again."
        else:
            problem = "is not a zip archive. Name an EuroSAT.zip, or a folder with one subfolder of pictures per class."
        raise DataError(f"{archive} {problem}") from error


def _chosen(opened: zipfile.ZipFile, archive: Path) -> tuple[list[_Picture], Tally]:
    """The pictures to unpack and what was left out. Raises `DataError` for an archive that cannot be trusted."""
    infos = opened.infolist()
    check_contents(infos, archive.stat().st_size, str(archive), _LIMITS, DataError)
    seen = Seen()
    pictures: list[tuple[zipfile.ZipInfo, tuple[str, ...]]] = []
    encrypted = False
    for info in infos:
        parts = _parts(info, archive)
        if _is_folder(info) or not parts or any(map(is_hidden, parts)):
            continue
        if seen.add(parts[:-1], parts[-1]):
            encrypted |= bool(info.flag_bits & 0x1)
            pictures.append((info, parts))
    if encrypted:
        raise DataError(f"{archive} is encrypted. Unpack it with its password and name the folder.")
    tree = choose_tree(seen.found)
    if tree is None:
        inner = " It holds another archive: unpack that first." if seen.archive else ""
        raise DataError(
            f"{archive} holds no pictures in class folders.{inner or seen.others} It should hold one folder per class "
            "with pictures in it, such as 2750/Forest/Forest_1.jpg."
        )
    left_out = Tally([*seen.outside(tree), *seen.others_in(tree)])
    chosen = [
        (info, "/".join(word for word in (part, *parts[-2:]) if word))
        for info, parts in pictures
        if len(parts) > 1 and (part := tree.part_of(parts[:-2])) is not None and parts[-2] in tree.class_names
    ]
    return _usable(chosen, left_out), left_out


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.orig_filename.endswith(("/", "\\"))


def _parts(info: zipfile.ZipInfo, archive: Path) -> tuple[str, ...]:
    """The words of an entry's name. Raises `DataError` for a name that leads elsewhere, or a link."""
    name = info.orig_filename
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise DataError(f"{archive} holds a link ('{_shown(name)}'). Links can lead anywhere, so it was left alone.")
    parts = tuple(each for each in re.split(r"[/\\]", name) if each not in ("", "."))
    absolute = name.startswith(("/", "\\"))
    if absolute or any(each == ".." or re.match(r"[A-Za-z]:", each) for each in parts):  # Windows: C: inside leads out
        raise DataError(f"{archive} wants to write outside of its folder ('{_shown(name)}'). It was left alone.")
    if any(ord(sign) < 32 for sign in name):
        raise DataError(f"{archive} holds a name with control characters ('{_shown(name)}'). It was left alone.")
    if _is_folder(info) and stat.S_IFMT(mode) not in (0, stat.S_IFDIR):
        raise DataError(f"{archive} contradicts itself about '{_shown(name)}'. It was left alone.")
    return parts


def _shown(name: str) -> str:
    return printable(name, 80)


def _usable(pictures: list[_Picture], left_out: Tally) -> list[_Picture]:
    """Those that can be unpacked, the first of each name: on some systems `a.jpg` and `A.JPG` are one file."""
    seen: set[str] = set()
    kept = []
    for info, path in pictures:
        shown = _shown(path)
        key = unicodedata.normalize("NFC", path.casefold())
        if key in seen:
            left_out.add(
                LeftOut("there are two of this name in the archive; the first was taken", 1, shown, unreadable=False)
            )
        elif max(len(word.encode(errors="replace")) for word in path.split("/")) > _NAME_BYTES:
            left_out.add(LeftOut("its name is too long", 1, f"{shown}…", unreadable=False))
        elif info.file_size > _MAX_PICTURE_BYTES:
            left_out.add(LeftOut("too large to be a tile", 1, shown, f" ({bytes_text(info.file_size)})"))
        elif info.compress_type not in METHODS:
            method = f" (number {info.compress_type})"
            left_out.add(LeftOut("packed by another method than zip's usual one", 1, shown, method))
        else:
            seen.add(key)
            kept.append((info, path))
    return kept


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"the pictures need {bytes_text(needed)}, and {bytes_text(free)} are free")


def _write(
    opened: zipfile.ZipFile,
    pictures: list[_Picture],
    target: Path,
    left_out: Tally,
    told: Callable[[int, int], None] | None,
    stop: threading.Event | None,
) -> int:
    """Gives how many could be written."""
    target.mkdir()
    written = 0
    for number, (info, name) in enumerate(pictures, 1):
        check_stop(stop)
        path = target / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(info) as source, path.open("xb") as file:
                shutil.copyfileobj(source, file)
            written += 1
        except DAMAGE as error:
            with suppress(OSError, ValueError):
                path.unlink(missing_ok=True)
            left_out.add(LeftOut("damaged in the archive", 1, _shown(name), f" ({_shown(str(error))})"))
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            left_out.add(LeftOut("cannot be unpacked here", 1, _shown(name), f" ({error.strerror})"))
        if told is not None and (number % _REPORT_EVERY == 0 or number == len(pictures)):
            told(number, len(pictures))
    for folder in sorted(target.glob("**/"), reverse=True):
        if folder != target:
            with suppress(OSError):  # goes only where it is empty: nothing of that class could be unpacked
                folder.rmdir()
    return written
