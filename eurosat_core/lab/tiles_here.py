"""The tiles of a job, and what else it reads, on the machine that does it; what a machine lacks, the server sends once.

A worker of a cluster may have the same tiles of its own, or none. Tiles are the same when their fingerprint is. What
was sent stays in the worker's cache, so the next run finds it there.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from eurosat_core.data.download import PLACE_LISTS
from eurosat_core.data.splits import has_lists
from eurosat_core.data.tile_cache import TileSet, open_cached
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.data.weights import find_weights
from eurosat_core.errors import DataError, RunError
from eurosat_core.folders import not_kept
from eurosat_core.lab.messages import Job, kind_of
from eurosat_core.models.catalog import model_entry
from eurosat_core.settings import Settings, load_settings

_PIECE = 8 * 1024**2  # bytes of a message: while a worker writes it, it listens to nothing else
_SENT_KEPT = 3  # sets of tiles that were sent, and of pictures, the newest ones

Piece = tuple[str, int, bytes]
"""A part of a file: its name in the folder that is sent, where the part begins, and its bytes."""


@lru_cache(maxsize=1)
def tiles_for(fingerprint: str, cache: str) -> TileSet:
    """The tiles a run was made for. Raises `DataError` when they are not here.

    cache: the folder that keeps them; empty on a machine of a cluster, which has folders of its own.
    """
    tiles = _tiles_here(fingerprint, cache)
    if tiles.place and tiles.cache.name == _tiles_folder(fingerprint):  # their pictures lie where the server has them
        return replace(tiles, place=str(tiles.cache.parent / _pictures_folder(fingerprint)))
    return tiles


def _tiles_here(fingerprint: str, cache: str) -> TileSet:
    if cache:
        tiles = open_cached(Path(cache))
    else:
        settings = load_settings()
        try:
            tiles = open_cached(settings.cache / _tiles_folder(fingerprint))
        except DataError:
            tiles = open_tiles(find_place(None, settings), settings.cache)
    if tiles.fingerprint != fingerprint:
        raise DataError(
            f"The tiles have changed since this run was asked for: here are {tiles.description}. Start the run again."
        )
    return tiles


def _tiles_folder(fingerprint: str) -> str:
    return f"tiles-sent-{fingerprint}"


def _pictures_folder(fingerprint: str) -> str:
    return f"pictures-sent-{fingerprint}"


def _has_pictures(tiles: TileSet) -> bool:
    """Whether the files that tiles were made of are here; synthetic ones have none."""
    return not tiles.place or os.path.isfile(Path(tiles.place, tiles.names[0]))  # noqa: PTH113 (a name may be too long)


# -- on the worker


def lacking(job: Job) -> list[str]:
    """What a job needs and this machine has not: `tiles`, `pictures`, `lists`, and `weights` by their names."""
    configs = kind_of(job).configs
    lacks = []
    cache, pictures = load_settings().cache, False
    try:
        tiles = tiles_for(job.fingerprint, job.cache)
        cache, pictures = tiles.cache.parent, _has_pictures(tiles)
    except DataError:
        lacks.append("tiles")
    if not pictures and any(each.source == "loader" for each in configs):
        lacks.append("pictures")
    if not has_lists(cache) and any(each.split == "place" for each in configs):
        lacks.append("lists")
    for each in configs:
        entry = model_entry(each.model)
        wanted = entry.weights if entry.is_pretrained and each.pretrained else ""
        if wanted and wanted not in lacks and find_weights(wanted, cache) is None:
            lacks.append(wanted)
    return lacks


def take(folder: str, parcel: str, pieces: list[Piece], last: bool) -> None:
    """Write parts of files beside the cache's folder of that name; with the last of them they are there, and whole."""
    cache = load_settings().cache
    made = cache / f"making-{parcel}"
    try:
        for name, begin, content in pieces:
            path = made / name
            if not path.resolve().is_relative_to(made.resolve()):
                raise RunError(f"'{name}' leads out of its folder.")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                if file.tell() != begin:
                    raise RunError(f"A part of {name} is missing.")
                file.write(content)
        if last:
            _move(made, cache / folder)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise RunError(not_kept("What the server sends", cache, error)) from error


def _move(made: Path, target: Path) -> None:
    """Have a folder's files at `target`, where another worker of the machine may have been faster."""
    try:
        made.rename(target)
    except OSError:
        for path in [each for each in made.rglob("*") if each.is_file()]:
            kept = target / path.relative_to(made)
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)
        shutil.rmtree(made, ignore_errors=True)
    tiles_for.cache_clear()
    kind = target.name.partition("-sent-")[0]
    old = sorted(target.parent.glob(f"{kind}-sent-*"), key=lambda each: each.stat().st_mtime)
    for each in old[:-_SENT_KEPT]:
        if each != target:
            shutil.rmtree(each, ignore_errors=True)


# -- on the server


@dataclass(frozen=True)
class Parcel:
    """Files to be sent: their folder here, their names in it, and the folder of the worker's cache they go to."""

    origin: Path
    names: tuple[str, ...]
    folder: str

    def messages(self) -> Iterator[tuple[str, str, list[Piece], bool]]:
        """What `take` is to be called with, one after the other. Raises `DataError` for a file that cannot be read."""
        number = secrets.token_hex(6)
        pieces: list[Piece] = []
        size = 0
        for name in self.names:
            try:
                with (self.origin / name).open("rb") as file:
                    begin = 0
                    while content := file.read(_PIECE - size):
                        pieces.append((name, begin, content))
                        begin, size = begin + len(content), size + len(content)
                        if size >= _PIECE:
                            yield self.folder, number, pieces, False
                            pieces, size = [], 0
            except OSError as error:
                raise DataError(
                    f"{self.origin / name} cannot be read ({error.strerror or error}), and the worker needs it."
                ) from error
        yield self.folder, number, pieces, True


def parcel_of(what: str, job: Job, settings: Settings) -> Parcel:
    """What is to be sent to a worker that lacks it, as `lacking` names it. Raises `DataError` where it is not here."""
    cache = Path(job.cache)
    match what:
        case "tiles":
            names = tuple(sorted(each.name for each in cache.iterdir() if each.is_file()))
            return Parcel(cache, names, _tiles_folder(job.fingerprint))
        case "pictures":
            tiles = open_cached(cache)
            return Parcel(Path(tiles.place), tiles.names if tiles.place else (), _pictures_folder(job.fingerprint))
        case "lists":
            return Parcel(settings.cache / "spatial", tuple(each.name for each in PLACE_LISTS.values()), "spatial")
        case _:
            path = find_weights(what, settings.cache)
            if path is None:
                raise DataError(f"The weights {what} are neither on the worker nor here. Fetch them with `prepare`.")
            return Parcel(path.parent, (path.name,), "weights")
