"""Where assets lie; folders that are written to: what a refusal means, and files that are there whole or not at all.

A cache that somebody else prepared is used as it is: the folder in its place holds links to what was prepared, and
everything that is written lies beside them.
"""

import errno
import hashlib
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

_INSTALLED = Path(__file__).parent / "app"  # where the wheel has them (pyproject.toml)
APP = _INSTALLED if _INSTALLED.exists() else Path(__file__).parents[1]
"""The folder with `streamlit_app.py`, `pages` and `assets`."""
ASSETS = APP / "assets"

# What is read from a cache, whoever prepared it; the rest is scratch. Each is a folder, and its parts are replaced by
# writing new ones, so links to the parts serve everybody.
_PREPARED = ("pictures", "spatial", "weights", "tiles-*", "synthetic-*", "unpacked-*")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOLCK)  # room on the disk would not help


def write_problem(folder: Path) -> str:
    """Why files cannot be kept in a folder, which may have to be made first, as the system says it; empty if they can.

    Tried with a file and its lock: permission bits say nothing about a read-only mount, nor about a network's folder in
    which nothing can be locked. A full disk is no such problem: room can be made.
    """
    # os.path, for Path raises where it may not look.
    there = next((each for each in (folder, *folder.parents) if os.path.exists(each)), folder)  # noqa: PTH110
    if not os.path.isdir(there):  # noqa: PTH112
        return os.strerror(errno.ENOTDIR)
    trial = there / f".trial-{secrets.token_hex(6)}"
    try:
        try:
            with FileLock(trial, timeout=0):
                pass
        finally:
            trial.unlink(missing_ok=True)
    except NotImplementedError:  # a file system without locks
        return os.strerror(errno.ENOLCK)
    except OSError as error:
        return "" if error.errno in _FULL else error.strerror or str(error)
    return ""


def not_kept(what: str, folder: Path, error: OSError, needs: str = "") -> str:
    """That something could not be kept in the cache, why, and what to do. needs: how much room it takes."""
    room = f"Free some disk space{f' ({needs})' if needs else ''}, or name another folder in EUROSAT_CACHE."
    remedy = "Name a folder in EUROSAT_CACHE that you may write." if error.errno in _REFUSED else room
    return f"{what} could not be kept in {folder}: {error.strerror or error}. {remedy}"


def own_folder(named: Path, user_folder: Path) -> Path | None:
    """A folder of the user's own in place of `named`, the same one every time; None where there is no place for one.

    Below `user_folder`, else below the system's temporary folder.
    """
    key = hashlib.blake2b(os.fsencode(named), digest_size=4).hexdigest()
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    places = [user_folder / f"for-{key}"] if user_folder.is_absolute() else []  # it begins with ~ without a home
    with suppress(OSError):
        places.append(Path(tempfile.gettempdir()) / f"eurosat-lab-{user}-{key}")
    return next((each for each in places if _made_own(each) and not write_problem(each)), None)


def _made_own(folder: Path) -> bool:
    """Make a folder for this user alone; False where it cannot be, or is another's: anybody may write to /tmp."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return False
    if not hasattr(os, "geteuid"):
        return stat.S_ISDIR(status.st_mode)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def own_cache(prepared: Path, user_folder: Path) -> Path | None:
    """As `own_folder`, with links to what can be read in a cache that others prepared."""
    own = own_folder(prepared, user_folder)
    if own is not None:
        for pattern in _PREPARED:
            for folder in _listed(prepared.glob(pattern)):
                _link_parts(folder, own / folder.name)
    return own


def is_readable(prepared: Path) -> bool:
    """Whether a cache that others prepared can be used: not where only they may look, as after a umask of 077."""
    folders = [prepared, *(each for pattern in _PREPARED for each in _listed(prepared.glob(pattern)))]
    return all(os.access(each, os.R_OK | os.X_OK) for each in folders)


def _link_parts(folder: Path, mirror: Path) -> None:
    """Links in `mirror` to all that lies in `folder`, unless the user has something of the same kind already."""
    with suppress(OSError):
        parts = _listed(folder.iterdir())
        if not parts:
            return
        mirror.mkdir(exist_ok=True)
        links = _listed(mirror.iterdir())
        if not all(each.is_symlink() for each in links):
            return
        for each in links:
            if not each.exists():  # what was prepared has been replaced since
                each.unlink(missing_ok=True)
        for part in parts:
            with suppress(FileExistsError):
                (mirror / part.name).symlink_to(part)


def _listed(entries: Iterable[Path]) -> list[Path]:
    """What can be listed; nothing of a folder that may not be read."""
    try:
        return list(entries)
    except OSError:
        return []


PARTIAL = re.compile(r".+\.[0-9a-f]{8}")
"""Names of files that are being written. One that stays was left by a process that was killed."""

_REPLACE_TRIES = 10


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; nothing is left behind when the disk is full."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(content)
        for attempt in range(_REPLACE_TRIES):
            try:
                partial.replace(path)
                break
            except PermissionError:  # on Windows, while a page reads it
                if attempt == _REPLACE_TRIES - 1:
                    raise
                time.sleep(0.02)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def append_whole(path: Path, lines: bytes) -> None:
    """Add lines to a file that only grows: all of them or none, and in one call, so that several writers never mix.

    Raises `OSError`, on a full disk too.
    """
    with path.open("ab+", buffering=0) as file:
        if before := file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a line was torn when its writer was killed: it must not take these with it
                lines = b"\n" + lines
        try:
            if file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                file.truncate(before)
            raise
