"""The split by place: torchgeo's published lists, which divide EuroSAT by longitude.

The three lists lie in `CACHE/spatial`, checked against their published MD5s, whether they were downloaded, imported or
found beside the tiles. Tiles are recognised by their file names.
"""

import hashlib
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eurosat_core.data.download import download
from eurosat_core.data.remote import PLACE_LISTS
from eurosat_core.errors import DataError
from eurosat_core.folders import not_kept

__all__ = ["ABSENT", "PARTS", "adopt_lists", "download_lists", "has_lists", "holds_lists", "import_lists", "parts_of"]

PARTS = tuple(PLACE_LISTS)  # train, val, test: the numbers 0, 1 and 2 of `parts_of`
ABSENT = -1

_FOLDER = "spatial"
_INSIDE = (Path("eurosat", "spatial"), Path("spatial"), Path())  # where a given folder may keep the lists


def has_lists(cache: Path) -> bool:
    """Whether the three lists lie in this cache."""
    return _lie_in(cache / _FOLDER)


def download_lists(cache: Path, stop: threading.Event | None = None, beside: str | None = None) -> None:
    """Fetch the lists that are missing. Raises `DataError` with a sentence.

    beside: the address of a mirror's archive; the lists are then expected in the same folder there.
    """
    for remote in PLACE_LISTS.values():
        if beside is not None:
            remote = replace(remote, url=f"{beside.rpartition('/')[0]}/{remote.name}")
        download(remote, cache / _FOLDER, stop=stop)


def import_lists(place: Path, cache: Path) -> None:
    """Take over the lists from a folder, or from the usual places in it.

    Raises `DataError` when they are not there, or are not the published ones.
    """
    folder = _folder_with_lists(place)
    if folder is None:
        names = ", ".join(remote.name for remote in PLACE_LISTS.values())
        raise DataError(
            f"The lists of the split by place were not found under {place}. Name the folder that holds {names}."
        )
    contents = {}
    for remote in PLACE_LISTS.values():
        path = folder / remote.name
        try:
            contents[remote.name] = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}. Give yourself permission.") from error
        found = hashlib.md5(contents[remote.name], usedforsecurity=False).hexdigest()
        if found != remote.md5:
            raise DataError(
                f"{path} is not the published list (MD5 {found}, expected {remote.md5}). Fetch it again with "
                "`prepare`, or copy it from where it is right."
            )
    partial = cache / _FOLDER / f"{secrets.token_hex(4)}.new"  # its own name: another process may be at it too
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            partial.write_bytes(content)
            partial.replace(cache / _FOLDER / name)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataError(not_kept("The lists", cache / _FOLDER, error)) from error


def holds_lists(place: Path) -> bool:
    """Whether the three lists lie in a folder, or in the usual places in it."""
    return _folder_with_lists(place) is not None


def adopt_lists(place: Path, cache: Path) -> str:
    """Take over lists that lie beside the tiles, if there are any and the cache has none.

    Returns what is wrong with them, as a sentence; empty when nothing is.
    """
    if has_lists(cache) or _folder_with_lists(place) is None:
        return ""
    try:
        import_lists(place, cache)
    except DataError as error:
        return str(error)
    return ""


def _folder_with_lists(place: Path) -> Path | None:
    for inside in _INSIDE:
        if _lie_in(place / inside):
            return place / inside
    return None


def _lie_in(folder: Path) -> bool:
    # Path.is_file raises for a folder that may not be entered, and for a name that is too long.
    return all(os.path.isfile(folder / remote.name) for remote in PLACE_LISTS.values())  # noqa: PTH113


def parts_of(names: tuple[str, ...], cache: Path) -> npt.NDArray[np.int8]:
    """The part of each tile [N] (`Class/picture.jpg`): 0 train, 1 val, 2 test, -1 for a tile in no list.

    Raises `DataError` when the lists are not in this cache, or know none of the tiles.
    """
    part_of: dict[str, int] = {}
    for number, remote in enumerate(PLACE_LISTS.values()):
        try:
            lines = (cache / _FOLDER / remote.name).read_text(encoding="utf-8").split()
        except (OSError, ValueError) as error:
            raise DataError(
                "The lists of the split by place are not on this machine. Fetch them on the Tiles page or with "
                "`python -m eurosat_core prepare`, or choose the random split."
            ) from error
        part_of.update((Path(line).stem, number) for line in lines)
    parts = np.array([part_of.get(Path(name).stem, ABSENT) for name in names], dtype=np.int8)
    if not (parts == 0).any() or not (parts == 1).any():
        raise DataError(
            "The split by place knows EuroSAT’s own tiles by their names, and these are others. Choose the random "
            "split."
        )
    return parts
