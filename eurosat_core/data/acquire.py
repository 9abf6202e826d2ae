"""Getting pictures into the cache folder: EuroSAT downloaded, or a zip or folder imported.

`CACHE/pictures` holds one set, as a class-per-folder tree (`eurosat/2750/<Class>/…` for EuroSAT, so torchvision opens
it too) with `.source.json`, which says where it came from. It is made beside, decoded, and renamed when it turns out to
be usable: there is never half a set, and never an unusable one in the place of a good one.
One process at a time works on it; what a killed one left behind is removed by the next, its download is resumed.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from eurosat_core.data.archive import unpack_pictures
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.decoding import LeftOut, Tally, left_out_text
from eurosat_core.data.download import Remote, check_stop, download, locked
from eurosat_core.data.listing import has_tiles, list_pictures
from eurosat_core.data.tile_cache import open_listing
from eurosat_core.errors import DataError
from eurosat_core.folders import not_kept
from eurosat_core.wording import bytes_text

_PICTURES, _DOWNLOADS, _SOURCE = "pictures", "downloads", ".source.json"
_LOCK = "pictures.lock"
_MAKING, _OLD, _UNPACKED = "acquiring-", "replaced-", "unpacked-"
_UNPACKED_KEPT = 2
_TREE = ".tree"  # no class folder's name: hidden folders are none
# Free space asked for before a download: the archive, its pictures (small files fill whole blocks: 1.4 times, measured
# on EuroSAT), and their decoded pixels (27,000 tiles: 332 MB).
_SPACE_FACTOR, _DECODED_BYTES = 2.5, 350 * 1024**2
_MAX_PICTURE_BYTES = 100 * 1024**2
_LEAST_USABLE = 0.5  # of a set's pictures: one of which more cannot be read was copied badly, or is something else
_REPORT_EVERY = 256


@dataclass(frozen=True)
class Stage:
    """How far the work is. done, total: bytes while downloading, else pictures; total None when not known."""

    name: Literal["waiting", "downloading", "unpacking", "copying", "decoding"]
    done: int = 0
    total: int | None = None


Report = Callable[[Stage], None]


@dataclass(frozen=True)
class _Source:
    """What `.source.json` holds. left_out: what was not taken over, kind by kind."""

    origin: str = ""
    acquired: float = 0.0
    left_out: tuple[LeftOut, ...] = ()


def acquired_place(cache: Path) -> Path | None:
    """The downloaded or imported set; None when there is none."""
    place = cache / _PICTURES
    return _true_place(place) if _is_set(place) else None


def _is_set(place: Path) -> bool:
    return os.path.exists(place / _SOURCE) and has_tiles(place)  # noqa: PTH110 (Path.exists raises where it may not look)


def _true_place(place: Path) -> Path:
    """Where a set lies: links stand for one in a cache that only others may write (`folders.own_cache`)."""
    source = place / _SOURCE
    return source.resolve().parent if source.is_symlink() else place


def left_out(place: Path) -> tuple[LeftOut, ...]:
    """What could not be taken over when the set at `place` was acquired; empty for any other place."""
    return _source_of(place).left_out


def _source_of(place: Path) -> _Source:
    try:
        values = json.loads((place / _SOURCE).read_text(encoding="utf-8"))
        return _Source(str(values["origin"]), float(values["acquired"]), _kinds(values["left_out"]))
    except (OSError, ValueError, KeyError, TypeError):
        return _Source()


def _kinds(noted: list[Any]) -> tuple[LeftOut, ...]:
    """What an import noted. Raises `ValueError`, `TypeError`."""
    if any(isinstance(each, str) for each in noted):  # earlier versions wrote a sentence for each picture
        return (LeftOut("left out when they were imported", len(noted), unreadable=False),)
    return tuple(LeftOut(**each) for each in noted)


def partly_downloaded(cache: Path) -> int:
    """Bytes of a download that broke off and can be resumed."""
    try:
        return max((each.stat().st_size for each in (cache / _DOWNLOADS).glob("*.part")), default=0)
    except OSError:
        return 0


def download_pictures(
    remote: Remote, cache: Path, report: Report = lambda _stage: None, stop: threading.Event | None = None
) -> Path:
    """Download and unpack the archive `remote`, and return the place of its pictures.

    Raises `DataError` with a sentence, `Stopped` when `stop` was set. Where another process is at it, waits for it.
    """

    def get(making: Path) -> _Source:
        archive = download(
            remote,
            cache / _DOWNLOADS,
            told=lambda done, total: report(Stage("downloading", done, total)),
            stop=stop,
            space_for=lambda size: int(size * _SPACE_FACTOR) + _DECODED_BYTES,
        )
        return _unpack(archive, making, remote.url, report, stop)

    began = time.time()
    with _locked(cache, report, stop) as waited:
        place = acquired_place(cache)
        if place is not None:
            there = _source_of(place)
            if there.origin == remote.url and (waited or there.acquired >= began):  # another one has just got it
                return place
        archive = cache / _DOWNLOADS / remote.name
        try:
            place = _replace_set(cache, get, report, stop)
        except DataError as error:
            if not isinstance(error.__cause__, OSError):  # not the disk's fault: it would be unusable again
                archive.unlink(missing_ok=True)
            raise
        with suppress(OSError):  # its pictures stand unpacked; training opens them one by one
            archive.unlink(missing_ok=True)
        return place


def import_pictures(
    source: Path, cache: Path, report: Report = lambda _stage: None, stop: threading.Event | None = None
) -> Path:
    """Take over the pictures of a zip or a folder, so that `source` is no longer needed, and return their place.

    Raises `DataError` with a sentence, `Stopped` when `stop` was set.
    """
    if os.path.isfile(source):  # noqa: PTH113 (Path.is_file raises for a name that is too long)
        with _locked(cache, report, stop):
            return _replace_set(cache, lambda making: _unpack(source, making, str(source), report, stop), report, stop)
    listing = list_pictures(source)
    if (cache / _PICTURES).resolve() in (listing.folder.resolve(), *listing.folder.resolve().parents):
        return cache / _PICTURES

    def copy(making: Path) -> _Source:
        folder = _tree_in(making, listing.class_names)
        problems = Tally(listing.left_out)
        copied = 0
        for number, name in enumerate(listing.names, 1):
            check_stop(stop)
            try:
                content = _content(listing.folder / name)
            except OSError as error:
                problems.add(LeftOut(error.strerror or str(error), 1, name))
            else:
                copied += 1
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            if number % _REPORT_EVERY == 0 or number == len(listing.names):
                report(Stage("copying", number, len(listing.names)))
        if not copied:
            raise DataError(
                f"None of the pictures under {source} could be copied. {left_out_text(problems)}. Give yourself read "
                "permission, or copy them to a local disk first."
            )
        return _checked(making, str(source), tuple(problems))

    with _locked(cache, report, stop):
        return _replace_set(cache, copy, report, stop)


def _content(path: Path) -> bytes:
    if path.stat().st_size > _MAX_PICTURE_BYTES:
        raise OSError(errno.EFBIG, "too large to be a tile")
    return path.read_bytes()


def unpacked_place(archive: Path, cache: Path, report: Report = lambda _stage: None) -> Path:
    """The pictures of a zip that stays where it is, unpacked into the cache once. Raises `DataError`."""
    try:
        status = archive.stat()
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror or error}. Check the path.") from error
    key = hashlib.blake2b(
        f"{archive.resolve()}|{status.st_size}|{status.st_mtime_ns}".encode(errors="surrogateescape"), digest_size=12
    )
    place = cache / f"{_UNPACKED}{key.hexdigest()}"
    if _is_set(place):
        return _true_place(place)
    with _locked(cache, report, None):
        if not _is_set(place):
            shutil.rmtree(place, ignore_errors=True)
            _make(place, lambda making: _unpack(archive, making, str(archive), report, None))
            others = [each for each in cache.glob(f"{_UNPACKED}*") if each != place]
            for old in sorted(others, key=lambda each: _source_of(each).acquired)[: len(others) - _UNPACKED_KEPT + 1]:
                shutil.rmtree(old, ignore_errors=True)
    return _true_place(place)


def clean_up(cache: Path) -> None:
    """Remove what killed processes left half made, unless one is at work just now. Never raises."""
    with suppress(Timeout, OSError):
        if cache.is_dir():
            with FileLock(cache / _LOCK, timeout=0):
                _sweep(cache)


def _sweep(cache: Path) -> None:
    """Call it with the lock held: whatever is half made then has no owner."""
    # Killed between two renamings: the set that was to be replaced comes back.
    for old in sorted(cache.glob(f"{_OLD}*"), key=lambda each: -_source_of(each).acquired):
        if (old / _SOURCE).exists() and not (cache / _PICTURES).exists():
            old.rename(cache / _PICTURES)
    for pattern in (f"{_MAKING}*", f"{_OLD}*"):
        for left in cache.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _locked(cache: Path, report: Report, stop: threading.Event | None) -> Iterator[bool]:
    """While open, no other process acquires pictures into this cache. Gives whether one had to be waited for.

    Raises `DataError`, `Stopped`.
    """
    with ExitStack() as held:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            waited = held.enter_context(locked(cache / _LOCK, stop, lambda: report(Stage("waiting"))))
            _sweep(cache)
        except OSError as error:
            raise _no_room(cache, error) from error
        yield waited


def _replace_set(cache: Path, get: Callable[[Path], _Source], report: Report, stop: threading.Event | None) -> Path:
    """Have `get` make a set, decode it, and put it in the place of the one before. Raises `DataError`, `Stopped`."""
    place = cache / _PICTURES

    def decoded(making: Path) -> _Source:
        source = get(making)
        _check_usable(making, place, source.origin, report, stop)
        return source

    try:
        _make(place, decoded)
    except DataError as error:
        kept = " The tiles that were there before stay." if _is_set(place) else ""
        raise DataError(f"{error}{kept}") from error.__cause__
    return place


def _check_usable(making: Path, place: Path, origin: str, report: Report, stop: threading.Event | None) -> None:
    """Decode a new set for the place that it is to have. Raises `DataError` where little can be tiles, `Stopped`."""

    def progress(done: int, total: int) -> None:
        check_stop(stop)
        report(Stage("decoding", done, total))

    listing = list_pictures(making)
    try:
        tile_set = open_listing(listing, place.parent, progress, place / listing.folder.relative_to(making))
    except DataError as error:
        raise DataError(str(error).replace(str(place), origin)) from error.__cause__
    total = len(listing.names)
    if len(tile_set) < _LEAST_USABLE * total or sum(count > 0 for count in tile_set.counts.values()) < 2:
        shutil.rmtree(tile_set.cache, ignore_errors=True)
        raise DataError(
            f"Only {len(tile_set):,} of the {total:,} pictures in {origin} can be used. "
            f"{left_out_text(tile_set.problems)}. Copy or download them again."
        )


def _make(place: Path, get: Callable[[Path], _Source]) -> None:
    """Have `get` fill a new folder, then put it in `place`; nothing is left of it when it fails."""
    making = place.with_name(f"{_MAKING}{secrets.token_hex(4)}")
    old = place.with_name(f"{_OLD}{secrets.token_hex(4)}")
    try:
        making.mkdir()
        source = get(making)
        (making / _SOURCE).write_text(json.dumps(asdict(source)), encoding="utf-8")
        if place.exists():
            place.rename(old)
        making.rename(place)
    except OSError as error:
        raise _no_room(place.parent, error) from error
    finally:  # also when interrupted from the keyboard
        shutil.rmtree(making, ignore_errors=True)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
        elif old.exists():
            with suppress(OSError):  # else the next process puts it back
                old.rename(place)


def _no_room(cache: Path, error: OSError) -> DataError:
    needs = f"EuroSAT needs about {bytes_text(_DECODED_BYTES * 2)}"
    return DataError(not_kept("The pictures", cache, error, needs))


def _unpack(archive: Path, making: Path, origin: str, report: Report, stop: threading.Event | None) -> _Source:
    """Unpack into `making` and put the tree where torchvision expects it."""
    tree = making / _TREE
    problems = unpack_pictures(
        archive, tree, told=lambda done, total: report(Stage("unpacking", done, total)), stop=stop
    )
    names = sorted(os.listdir(tree))  # noqa: PTH208 (names are enough)
    folder = _tree_in(making, tuple(names))
    if folder == making:
        for name in names:
            (tree / name).rename(making / name)
        tree.rmdir()
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tree.rename(folder)
    return _checked(making, origin, problems)


def _checked(making: Path, origin: str, problems: tuple[LeftOut, ...]) -> _Source:
    """Raises `DataError` when what came out is no set of tiles, so that it does not replace one that is."""
    try:
        list_pictures(making)
    except DataError as error:
        raise DataError(str(error).replace(str(making), origin)) from error
    return _Source(origin, time.time(), problems)


def _tree_in(making: Path, class_names: tuple[str, ...]) -> Path:
    """Where in a set the class folders stand."""
    return making / "eurosat" / "2750" if class_names == CLASS_NAMES else making
