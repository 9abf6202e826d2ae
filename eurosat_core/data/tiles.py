"""Which tiles to open: found on disk, unpacked first where they lie in a zip, and others where these cannot be used."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from eurosat_core.data.acquire import acquired_place, left_out, unpacked_place
from eurosat_core.data.listing import has_tiles, list_pictures
from eurosat_core.data.splits import adopt_lists
from eurosat_core.data.tile_cache import Progress, TileSet, open_listing, open_synthetic, with_statistics
from eurosat_core.errors import DataError
from eurosat_core.settings import Settings

logger = logging.getLogger(__name__)


def find_place(named: Path | None, settings: Settings) -> Path | None:
    """Where to take tiles from: what the user names, EUROSAT_DATA, a default folder, what was downloaded or imported.

    None for synthetic ones.

    A place that somebody named is taken even if it holds nothing, so that opening it can say so.
    """
    if named is not None:
        return named
    if settings.data is not None:
        return settings.data
    return next((place for place in settings.default_data if has_tiles(place)), acquired_place(settings.cache))


def open_tiles(place: Path | None, cache: Path, progress: Progress | None = None) -> TileSet:
    """The tiles at `place` (None: the synthetic ones), decoded now if the cache does not hold them yet.

    A zip is unpacked into the cache first. Lists of the split by place that lie beside the pictures are taken over.
    Raises `DataError` with a sentence.
    """
    if place is None:
        return open_synthetic(cache)
    if os.path.isfile(place):  # noqa: PTH113 (Path.is_file raises for a name that is too long)
        place = unpacked_place(place, cache)
    listing = list_pictures(place)
    tile_set = open_listing(listing, cache, progress)
    if wrong_lists := adopt_lists(place, cache):
        logger.warning("%s", wrong_lists)
    return with_statistics(replace(tile_set, problems=(*left_out(place), *listing.left_out, *tile_set.problems)))


@dataclass(frozen=True)
class Opened:
    """The tiles that could be opened; None: not even the synthetic ones.

    problem: why those that were meant could not be, as a sentence; remedy: what to do about that; empty when they were.
    """

    tile_set: TileSet | None
    problem: str = ""
    remedy: str = ""


def open_usable(settings: Settings, progress: Progress | None = None, named: Path | None = None) -> Opened:
    """Rather other tiles than none: those that are meant, then what was acquired, then the synthetic ones."""
    problem = remedy = ""
    acquired = acquired_place(settings.cache)
    for place in dict.fromkeys((find_place(named, settings), acquired, None)):
        try:
            return Opened(open_tiles(place, settings.cache, progress), problem, remedy)
        except Exception as error:
            if (why := worded(error, logging.INFO)) not in problem:
                problem = f"{problem} {why}".strip()
            if not remedy and place is not None:
                named_by = "--data" if named is not None else "EUROSAT_DATA"
                remedy = (
                    "Import or download the tiles again with `python -m eurosat_core prepare`."
                    if place == acquired
                    else f"Set {named_by} to the right folder."
                )
    return Opened(None, problem, remedy)


def worded(error: Exception, level: int) -> str:
    """What came in the way of tiles, as a sentence; logged at `level`, and what nobody expected as a warning."""
    if isinstance(error, DataError):
        logger.log(level, "tiles: %s", error)
        return str(error)
    logger.warning("tiles: unexpected", exc_info=error)
    return f"The tiles could not be opened ({type(error).__name__}: {str(error)[:200]})."
