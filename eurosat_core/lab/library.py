"""The lab's tiles and weights: opened, fetched or imported, with progress, in the app and on the command line."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from eurosat_core.data import acquire, splits
from eurosat_core.data.acquire import Stage, acquired_place, download_pictures, import_pictures
from eurosat_core.data.download import Stopped, eurosat_archive
from eurosat_core.data.listing import has_tiles
from eurosat_core.data.splits import adopt_lists, download_lists, folder_with_lists, has_lists, import_lists
from eurosat_core.data.tile_cache import Progress, TileSet
from eurosat_core.data.tiles import Opened, find_place, open_tiles, open_usable, worded
from eurosat_core.data.weights import download_weights, import_weights
from eurosat_core.errors import DataError, RunError
from eurosat_core.lab.doctor import TilesState
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.problems import missing_weights
from eurosat_core.wording import bytes_text, duration

logger = logging.getLogger(__name__)

What = Literal["tiles", "lists", "weights"]
_WEIGHTS = "vgg11_bn"  # the ones that have to be downloaded; the others come with a package
_SETTLED_SECONDS = 1.0  # of a stage, before its pace says anything


@dataclass(frozen=True)
class Fetch:
    """A download that runs, or the last one that ended.

    what: EuroSAT's tiles (with the lists of the split by place), these lists alone, or VGG's weights. owner: who asked.
    stage: waiting, downloading, unpacking, copying, decoding, and at the end done, stopped or failed. done, total:
    bytes while downloading, else tiles. problem: why it failed, or what did not come with the tiles, in words.
    """

    what: What
    owner: str
    stage: str = "waiting"
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None
    stopping: bool = False
    problem: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it still goes on."""
        return self.stage not in ("done", "stopped", "failed")


class _Pace:
    """How long a stage still takes, at its pace since it began."""

    def __init__(self) -> None:
        self._stage, self._began, self._before = "", 0.0, 0

    def seconds_left(self, stage: Stage) -> float | None:
        """None in its first moments. What was there before a download was resumed says nothing of the pace."""
        now = time.monotonic()
        if stage.name != self._stage or stage.done < self._before:
            self._stage, self._began, self._before = stage.name, now, stage.done
        done, seconds = stage.done - self._before, now - self._began
        if not stage.total or not done or seconds < _SETTLED_SECONDS:
            return None
        return (stage.total - stage.done) * seconds / done


class TileLibrary:
    """All methods may be called from any thread. changed: called when other tiles have been opened."""

    def __init__(self, settings: Settings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._changed = changed
        self._state = TilesState()
        self._fetch: Fetch | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._parts: tuple[str, npt.NDArray[np.int8]] | None = None  # with the fingerprint of the tiles they are of
        self._pace = _Pace()

    @property
    def state(self) -> TilesState:
        """The tiles, or how far opening them is."""
        return self._state

    @property
    def tile_set(self) -> TileSet | None:
        """The tiles that are open; None while they are being opened for the first time."""
        return self._state.tile_set

    def open(self) -> None:
        """Start opening the tiles: those the settings name, else what was acquired, else synthetic ones."""
        self._start("eurosat-tiles", self._open)

    def close(self) -> None:
        """Stop a download; what came so far is kept. Does not wait for tiles that are just being decoded."""
        self._stop.set()
        for thread in self._threads:
            if thread.name == "eurosat-fetch":
                thread.join(timeout=10)

    def _start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def _open(self) -> None:
        def progress(done: int, total: int) -> None:
            self._state = TilesState(None, done, total)

        acquire.clean_up(self._settings.cache)
        opened = open_usable(self._settings, progress)
        if opened.tile_set is None:
            self._state = TilesState(problem=opened.problem, remedy=opened.remedy)
        else:
            self._take(opened.tile_set, opened.problem, opened.remedy)

    def _take(self, tile_set: TileSet, problem: str = "", remedy: str = "") -> None:
        self._state = TilesState(tile_set, len(tile_set), len(tile_set), problem, remedy)
        self._changed()

    # -- the split by place

    def has_place_lists(self) -> bool:
        """Whether the lists of the split by place are on this machine."""
        return splits.has_lists(self._settings.cache)

    def place_parts(self) -> npt.NDArray[np.int8]:
        """The part of each open tile [N], as `place.parts_of` gives it. Raises `DataError` when there is none."""
        tile_set = self.tile_set
        if tile_set is None:
            raise DataError("The tiles are still being opened. Try again in a few seconds.")
        if tile_set.source == "synthetic":
            raise DataError(
                "Synthetic tiles have no place on Earth, so they cannot be split by place. Choose the random split."
            )
        if self._parts is None or self._parts[0] != tile_set.fingerprint:
            self._parts = (tile_set.fingerprint, splits.parts_of(tile_set.names, self._settings.cache))
        return self._parts[1]

    def place_problem(self) -> str:
        """Why the open tiles cannot be split by place; empty when they can."""
        try:
            self.place_parts()
        except DataError as error:
            return str(error)
        return ""

    # -- downloading

    def fetching(self) -> Fetch | None:
        """The download that runs, or the last one; None when nobody asked for one since the server started."""
        return self._fetch

    def partly_downloaded(self) -> int:
        """Bytes of a download that broke off and will be resumed."""
        return acquire.partly_downloaded(self._settings.cache)

    def fetch(self, what: What, owner: str) -> None:
        """Start a download in the background; nothing happens if one is under way, whoever asked for it."""
        with self._lock:
            if self._fetch is not None and self._fetch.is_active:
                return
            self._stop.clear()
            self._pace = _Pace()
            self._fetch = Fetch(what, owner)
        work = {"tiles": self._fetch_tiles, "lists": self._fetch_lists, "weights": self._fetch_weights}[what]
        self._start("eurosat-fetch", partial(self._fetch_in_background, work))

    def stop_fetch(self, owner: str) -> None:
        """Stop the download; what came so far is kept for the next try. Raises `RunError` when it is another's."""
        fetch = self._fetch
        if fetch is None or not fetch.is_active:
            return
        if fetch.owner != owner:
            raise RunError("Somebody else started this download; only they can stop it.")
        self._tell(stopping=True)
        self._stop.set()

    def _fetch_in_background(self, work: Callable[[], str]) -> None:
        try:
            problem = work()
        except Stopped:
            self._tell(stage="stopped", stopping=False)
        except Exception as error:
            self._tell(stage="failed", problem=worded(error, logging.WARNING), stopping=False)
        else:
            self._tell(stage="done", problem=problem, stopping=False)

    def _fetch_tiles(self) -> str:
        """Answers with what did not come with the tiles."""
        cache = self._settings.cache
        where = acquire.download_pictures(eurosat_archive(self._settings), cache, self._report, self._stop)
        tile_set = open_tiles(where, cache, lambda done, total: self._report(Stage("decoding", done, total)))
        if self._settings.data is None:  # then what was wrong was an earlier set's fault
            self._take(tile_set)
        else:
            self._take(tile_set, self._state.problem, self._state.remedy)
        try:
            return self._fetch_lists()
        except Exception as error:  # what was asked for has come
            return f"The lists of the split by place did not come: {worded(error, logging.WARNING)}"

    def _fetch_lists(self) -> str:
        splits.download_lists(self._settings.cache, self._stop, self._settings.archive_url)
        return ""

    def _fetch_weights(self) -> str:
        told = lambda done, total: self._report(Stage("downloading", done, total))  # noqa: E731
        download_weights(_WEIGHTS, self._settings.cache, told, self._stop)
        return ""

    def missing_weights(self, config: TrainConfig) -> str:
        """Why a training cannot start from the pretrained weights it asks for here; empty when it can."""
        return missing_weights(config, self._settings.cache)

    def _report(self, stage: Stage) -> None:
        left = self._pace.seconds_left(stage)
        self._tell(stage=stage.name, done=stage.done, total=stage.total, seconds_left=left)

    def _tell(self, **changes: object) -> None:
        with self._lock:
            if self._fetch is not None:
                self._fetch = replace(self._fetch, **changes)  # type: ignore[arg-type]


_SAID_EVERY = 2.0  # seconds

Say = Callable[[str], None]


def prepare(settings: Settings, source: Path | None, say: Say, decoding: Progress) -> Opened:
    """Have real tiles and the lists of the split by place on this machine, decoded.

    source: a zip or folder to import from; None downloads EuroSAT, unless real tiles are there already. decoding: is
    told how far that is. Returns the tiles that the app will use, and what did not work. Raises `DataError` when
    `source` cannot be used.
    """
    problem = ""
    if source is not None:
        _take_over(source, settings, say)
    else:
        try:
            _download(settings, say)
        except DataError as error:
            problem = str(error)
    opened = open_usable(settings, decoding)
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
    lists = source.is_dir() and folder_with_lists(source) is not None
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
    pace = _Pace()
    last, name = 0.0, ""

    def report(stage: Stage) -> None:
        nonlocal last, name
        left, now = pace.seconds_left(stage), time.monotonic()
        complete = stage.total is not None and stage.done >= stage.total
        if not complete and stage.name == name and now - last < _SAID_EVERY:
            return
        last, name = now, stage.name
        if stage.name == "waiting":
            say("waiting: another process is getting pictures into this cache …")
            return
        amount = bytes_text if stage.name == "downloading" else "{:,}".format
        of_total = f" of {amount(stage.total)}" if stage.total else ""
        say(f"{stage.name}: {amount(stage.done)}{of_total}{f', about {duration(left)} left' if left else ''}")

    return report
