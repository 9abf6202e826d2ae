"""Making a machine ready ahead of a workshop: tiles and the split by place fetched or imported, checked, decoded."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from eurosat_core.data.acquire import Stage, acquired_place, download_pictures, import_pictures
from eurosat_core.data.listing import has_tiles
from eurosat_core.data.place import adopt_lists, download_lists, has_lists, holds_lists, import_lists
from eurosat_core.data.remote import eurosat_archive
from eurosat_core.data.tiles import Opened, find_place, open_usable
from eurosat_core.data.weights import download_weights, import_weights
from eurosat_core.errors import DataError
from eurosat_core.settings import Settings
from eurosat_core.wording import bytes_text, duration

__all__ = ["prepare", "prepare_weights"]

_SAID_EVERY = 2.0  # seconds

Say = Callable[[str], None]


def prepare(settings: Settings, source: Path | None, say: Say) -> Opened:
    """Have real tiles and the lists of the split by place on this machine, decoded.

    source: a zip or folder to import from; None downloads EuroSAT, unless real tiles are there already. Returns the
    tiles that the app will use, and what did not work. Raises `DataError` when `source` cannot be used.
    """
    problem = ""
    if source is not None:
        _take_over(source, settings, say)
    else:
        try:
            _download(settings, say)
        except DataError as error:
            problem = str(error)
    opened = open_usable(settings, _decoding(say))
    if problem:  # it says itself what to do; else EUROSAT_DATA, which goes first, has to be put right
        opened = replace(opened, problem=f"{problem} {opened.problem}".strip())
    imported = acquired_place(settings.cache)
    if source is not None and imported is not None and settings.data is not None:
        say(f"EUROSAT_DATA is set, so the app opens {settings.data}, not what was imported. Unset it to change that.")
    if opened.tile_set is not None and opened.tile_set.source == "eurosat" and not has_lists(settings.cache):
        say("fetching the lists of the split by place …")
        try:
            download_lists(settings.cache, beside=settings.archive_url)
        except DataError as error:
            say(f"{error} (Only the split by place needs them.)")
    return opened


def prepare_weights(settings: Settings, name: str, file: Path | None, say: Say) -> None:
    """Have pretrained weights on this machine: downloaded, or imported from `file`.

    Raises `ConfigError` for weights that there are not, `DataError` when they cannot be had or trusted.
    """
    report = _acquiring(say)
    if file is not None:
        kept = import_weights(name, file, settings.cache)
    else:
        told = lambda done, total: report(Stage("downloading", done, total))  # noqa: E731
        kept = download_weights(name, settings.cache, told)
    say(f"weights {name}: {kept}")


def _take_over(source: Path, settings: Settings, say: Say) -> None:
    """Import tiles, lists or both, whatever `source` holds. Raises `DataError`."""
    lists = source.is_dir() and holds_lists(source)
    if lists:
        import_lists(source, settings.cache)
        say(f"imported the lists of the split by place from {source}")
    if lists and not has_tiles(source):
        return
    place = import_pictures(source, settings.cache, _acquiring(say))
    say(f"imported into {place}")


def _download(settings: Settings, say: Say) -> None:
    """Download EuroSAT unless there are real tiles. Raises `DataError`."""
    place = find_place(None, settings)
    if place is not None and has_tiles(place):
        say(f"there are tiles in {place}: nothing to download")
        adopt_lists(place, settings.cache)
        return
    if place is not None and place.is_file():
        say(f"the tiles come from {place}: nothing to download")
        return
    remote = eurosat_archive(settings)
    say(f"downloading {remote.url}")
    download_pictures(remote, settings.cache, _acquiring(say))


def _acquiring(say: Say) -> Callable[[Stage], None]:
    """Progress as a line every two seconds."""
    began = last = time.monotonic()
    name = ""

    def report(stage: Stage) -> None:
        nonlocal began, last, name
        now = time.monotonic()
        if stage.name != name:
            began, last, name = now, 0.0, stage.name
        complete = stage.total is not None and stage.done >= stage.total
        if not complete and now - last < _SAID_EVERY:
            return
        last = now
        if stage.name == "waiting":
            say("waiting: another process is getting pictures into this cache …")
            return
        amount = bytes_text if stage.name == "downloading" else "{:,}".format
        text = f"{stage.name}: {amount(stage.done)}"
        if stage.total:
            text += f" of {amount(stage.total)}"
            if 0 < stage.done < stage.total and now - began >= 1:
                text += f", about {duration((now - began) * (stage.total - stage.done) / stage.done)} left"
        say(text)

    return report


def _decoding(say: Say) -> Callable[[int, int], None]:
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= _SAID_EVERY:
            last = time.monotonic()
            say(f"decoding tiles: {done:,} of {total:,}")

    return report
