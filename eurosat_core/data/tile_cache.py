"""`TileSet`: all tiles as one memory-mapped array, decoded once and kept in our own cache folder.

The cache is shared by all processes and never lies beside the user's data, which may be read-only.
"""

import contextlib
import hashlib
import json
import math
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from eurosat_core.cores import available_cores
from eurosat_core.data import synthetic
from eurosat_core.data.classes import CLASS_NAMES, EUROSAT_TILES
from eurosat_core.data.decoding import TILE_SIDE, DecodedChunk, LeftOut, Tally, decode_chunk, left_out_text, scale_for
from eurosat_core.data.deep_tiff import Pixels, Range, Scale
from eurosat_core.data.listing import Listing
from eurosat_core.data.statistics import PartStatistics, Statistics, join_statistics, load_statistics, part_statistics
from eurosat_core.errors import DataError
from eurosat_core.folders import not_kept
from eurosat_core.wording import listed

if TYPE_CHECKING:
    import torch

_FORMAT = 3  # of a cache entry; entries of another format are decoded anew
_SYNTHETIC_VERSION = 1  # of what `synthetic` draws: raise it when its pictures change
_CHUNK = 256
_STATISTICS = "statistics.npz"
_DAY = 86_400.0  # seconds
_MAX_ENTRIES = 6  # cache entries kept, the most recently used ones

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all) while tiles are decoded."""


@dataclass(frozen=True)
class TileSet:
    """All tiles of one place, as NumPy arrays: the server shows them before it has loaded PyTorch.

    array: their pixels, uint8 [N, 64, 64, 3], memory-mapped; treat as read-only. label_array: int64 [N].
    names: `Class/picture.jpg`. place: the folder that holds the class folders ("" when synthetic).
    fingerprint: of pixels, labels and class names, so a copy of the same tiles elsewhere has the same one.
    problems: what was left out, kind by kind. resized: how many pictures were not 64×64. cache: the folder that keeps
    the decoded tiles. notes: what was done to make tiles of them. scale: what is black and white in pictures of more
    than 8 bits.
    """

    array: Pixels
    label_array: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    source: Literal["eurosat", "folder", "synthetic"]
    place: str
    fingerprint: str
    problems: tuple[LeftOut, ...]
    resized: int
    cache: Path
    notes: tuple[str, ...] = ()
    scale: Scale = field(default_factory=Scale)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Tiles per class."""
        found = np.bincount(self.label_array, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, found, strict=True))

    @cached_property
    def pixels(self) -> "torch.Tensor":
        """The pixels as a tensor [N, 64, 64, 3], for computing; shares the memory map."""
        import torch

        return torch.from_numpy(self.array)

    @cached_property
    def labels(self) -> "torch.Tensor":
        """The labels as a tensor [N]."""
        import torch

        return torch.from_numpy(self.label_array)

    @cached_property
    def statistics(self) -> Statistics:
        """Colour and contrast of every tile, mean tile and histograms of every class; read when first asked for.

        `open_tiles` asks for them, so that a damaged file is made anew there. Raises `DataError` for one elsewhere.
        """
        return load_statistics(self.cache / _STATISTICS, len(self), len(self.class_names))

    @property
    def description(self) -> str:
        """What these tiles are, in one line: how many, of what, what was done to them, and what was left out."""
        if self.source == "synthetic":
            return f"{len(self):,} synthetic tiles, made on this machine; no real satellite data"
        if self.source == "eurosat":
            whole = len(self) == EUROSAT_TILES
            text = f"{len(self):,} EuroSAT tiles" if whole else f"{len(self):,} of {EUROSAT_TILES:,} EuroSAT tiles"
        else:
            text = f"{len(self):,} tiles in {len(self.class_names)} classes from {self.place}{self._other_classes()}"
        if self.resized:
            text += f"; {self.resized:,} resized to {TILE_SIDE}×{TILE_SIDE}"
        text += "".join(f"; {note}" for note in self.notes)
        unreadable = [each for each in self.problems if each.unreadable]
        if unreadable:
            text += f"; {sum(each.count for each in unreadable):,} unreadable: {left_out_text(unreadable)}"
        others = [each for each in self.problems if not each.unreadable]
        if others:
            text += f"; left out: {left_out_text(others, ', ')}"
        return text

    def _other_classes(self) -> str:
        """What a set that is nearly EuroSAT has less or more than its ten classes; empty for any other set."""
        missing = [name for name in CLASS_NAMES if name not in self.class_names]
        extra = [name for name in self.class_names if name not in CLASS_NAMES]
        if len(missing) > len(CLASS_NAMES) // 2:
            return ""
        less = f"; EuroSAT's {listed(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""
        more = f"; not EuroSAT's: {listed(extra)}" if extra else ""
        return less + more


def open_listing(
    listing: Listing, cache: Path, progress: Progress | None = None, moved_to: Path | None = None
) -> TileSet:
    """The tiles of a listing, decoded now if the cache does not hold them yet. Raises `DataError` with a sentence.

    moved_to: where its folder will lie; the entry is made for that, so that it is found there.
    """
    there = listing if moved_to is None else replace(listing, folder=moved_to)
    return _open_or_make(cache / f"tiles-{there.key}", lambda target: _decode(listing, target, progress, there.folder))


def open_synthetic(cache: Path) -> TileSet:
    """The synthetic tiles, made now if the cache does not hold them yet. Raises `DataError`."""
    return _open_or_make(cache / f"synthetic-{_SYNTHETIC_VERSION}", _write_synthetic)


def with_statistics(tile_set: TileSet) -> TileSet:
    """The same set, its statistics read: nothing can happen to their file any more. Raises `DataError`."""
    _ = tile_set.statistics
    return tile_set


def _open_or_make(entry: Path, make: Callable[[Path], None]) -> TileSet:
    """Open a cache entry, made first if it is missing. Made beside it, then renamed: never half an entry."""
    tile_set = _open_if_whole(entry)
    if tile_set is not None:
        return tile_set
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):  # two processes must not decode the same tiles at once
            tile_set = _open_if_whole(entry)
            if tile_set is not None:
                return tile_set
            shutil.rmtree(entry, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="making-", dir=entry.parent) as made:
                make(Path(made) / "entry")
                (Path(made) / "entry").rename(entry)
        _prune(entry.parent, keep=entry)
    except OSError as error:
        raise DataError(not_kept("The decoded tiles", entry.parent, error, "a full EuroSAT needs 350 MB")) from error
    return with_statistics(open_cached(entry))


def _open_if_whole(entry: Path) -> TileSet | None:
    try:
        return with_statistics(open_cached(entry))
    except DataError:
        return None


def open_cached(entry: Path) -> TileSet:
    """Open one cache entry through a memory map. Raises `DataError` when it is missing or unusable."""
    try:
        index = json.loads((entry / "index.json").read_text(encoding="utf-8"))
        if index["format"] != _FORMAT:
            raise DataError(f"The cache entry {entry} was written by another version of the lab.")
        names = tuple(index["names"])
        shape = len(names), TILE_SIDE, TILE_SIDE, 3
        if (entry / "pixels.u8").stat().st_size != math.prod(shape):
            raise DataError(f"The cache entry {entry} is incomplete.")
        (entry / _STATISTICS).stat()
        # A private map: pages are shared by all processes and read when touched.
        pixels = np.memmap(entry / "pixels.u8", dtype=np.uint8, mode="c", shape=shape)
        labels = np.repeat(np.arange(len(index["counts"])), np.array(index["counts"], dtype=np.int64))
        if len(labels) != len(names) or len(index["counts"]) != len(index["class_names"]):
            raise DataError(f"The cache entry {entry} contradicts itself.")
        return TileSet(
            array=np.asarray(pixels),
            label_array=labels,
            class_names=tuple(index["class_names"]),
            names=names,
            source=index["source"],
            place=index["place"],
            fingerprint=index["fingerprint"],
            problems=tuple(LeftOut(**each) for each in index["problems"]),
            resized=index["resized"],
            cache=entry,
            notes=tuple(index["notes"]),
            scale=Scale(**{kind: Range(**each) for kind, each in index["scale"].items()}),
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(f"The cache entry {entry} cannot be read. It will be made anew.") from error


def _decode(listing: Listing, target: Path, progress: Progress | None, place: Path) -> None:
    """Decode every picture of a listing into a new cache entry at `target`, as the tiles of `place`."""
    total = len(listing.names)
    chunks = [listing.names[start : start + _CHUNK] for start in range(0, total, _CHUNK)]
    scale = scale_for(listing.folder, listing.names)
    problems = Tally()
    notes: Counter[str] = Counter()
    resized = 0
    kept: list[str] = []
    parts: list[PartStatistics] = []
    label_of = dict(zip(listing.names, listing.labels, strict=True))

    def part(names: tuple[str, ...]) -> tuple[DecodedChunk, PartStatistics]:
        chunk = decode_chunk(listing.folder, names, scale)
        labels = np.array([label_of[name] for name in chunk.names], dtype=np.int64)
        return chunk, part_statistics(chunk.pixels, labels)

    def decoded() -> Iterator[Pixels]:
        nonlocal resized
        # Threads suffice: Pillow and NumPy let go of the interpreter's lock while they work.
        with ThreadPoolExecutor(min(available_cores(), 8)) as pool:
            for chunk, statistics in pool.map(part, chunks):
                for each in chunk.problems:
                    problems.add(each)
                notes.update(chunk.notes)
                resized += chunk.resized
                kept.extend(chunk.names)
                parts.append(statistics)
                yield chunk.pixels
                if progress is not None:
                    progress(len(kept) + problems.count, total)

    def index() -> dict[str, Any]:
        if not kept:
            raise DataError(f"None of the {total:,} pictures under {place} could be read. {left_out_text(problems)}.")
        together = [f"{listed(list(listing.parts))} taken together"] if len(listing.parts) > 1 else []
        done = [text if number == len(kept) else f"{text} (in {number:,})" for text, number in notes.items()]
        labels = [label_of[name] for name in kept]
        return {
            "class_names": list(listing.class_names),
            "names": kept,
            "counts": np.bincount(labels, minlength=len(listing.class_names)).tolist(),
            "source": "eurosat" if listing.is_eurosat and not resized else "folder",
            "place": str(place),
            "problems": [asdict(each) for each in problems],
            "resized": resized,
            "notes": [*together, *done],
            "scale": asdict(scale),
        }

    _write_entry(target, decoded(), index, parts)


def _write_synthetic(target: Path) -> None:
    pixels, labels = synthetic.make_tiles()
    index = {
        "class_names": list(CLASS_NAMES),
        "names": [f"{CLASS_NAMES[label]}/synthetic_{number}" for number, label in enumerate(labels.tolist(), 1)],
        "counts": np.bincount(labels, minlength=len(CLASS_NAMES)).tolist(),
        "source": "synthetic",
        "place": "",
        "problems": [],
        "resized": 0,
        "notes": [],
        "scale": asdict(Scale()),
    }
    _write_entry(target, iter([pixels]), lambda: index, [part_statistics(pixels, labels)])


def _write_entry(
    target: Path, pixels: Iterator[Pixels], index: Callable[[], dict[str, Any]], parts: list[PartStatistics]
) -> None:
    """Write pixels [n, 64, 64, 3] as they come, then what is known after the last of them: index and statistics."""
    target.mkdir()
    digest = hashlib.blake2b(digest_size=16)
    with (target / "pixels.u8").open("wb") as file:
        for part in pixels:
            data = part.tobytes()
            digest.update(data)
            file.write(data)
    values = index()
    digest.update(json.dumps([values["class_names"], values["counts"]]).encode())
    np.savez(target / _STATISTICS, **vars(join_statistics(parts, values["counts"], TILE_SIDE)))
    values |= {"format": _FORMAT, "fingerprint": digest.hexdigest()}
    (target / "index.json").write_text(json.dumps(values), encoding="utf-8")


def _prune(cache: Path, keep: Path) -> None:
    """Forget the entries not used for longest, and what a killed process left half made: the cache is bounded."""

    def last_used(entry: Path) -> float:
        try:
            return (entry / "index.json").stat().st_atime
        except OSError:  # damaged, or another process is removing it
            return 0.0

    entries = sorted((each for each in cache.glob("tiles-*") if each.is_dir() and each != keep), key=last_used)
    for entry in entries[: max(0, len(entries) - _MAX_ENTRIES + 1)]:
        shutil.rmtree(entry, ignore_errors=True)
    for left in cache.glob("making-*"):
        with contextlib.suppress(OSError):  # its owner may be removing it
            if left.stat().st_mtime < time.time() - _DAY:
                shutil.rmtree(left, ignore_errors=True)
