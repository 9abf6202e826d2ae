"""The cache of tile sets: decoded once, made anew after a change or damage, bounded, and nothing beside the data."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from eurosat_core.data import tile_cache as module
from eurosat_core.data.tile_cache import TileSet, open_cached
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError

SmallFolder = Callable[..., Path]


def snapshot(place: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in place.rglob("*")}


def test_tiles_are_decoded_once(place: Path, cache: Path, decodings: list[Path]) -> None:
    first = open_tiles(place, cache)
    second = open_tiles(place, cache)
    assert len(decodings) == 1
    assert torch.equal(first.pixels, second.pixels)
    same = {"array": first.array, "label_array": first.label_array}
    assert replace(first, **same) == replace(second, **same)


def _change(place: Path) -> None:
    Image.new("RGB", (64, 64)).save(place / "Forest" / "Forest_1.jpg")


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (_change, 7),
        (lambda place: shutil.copy(place / "River" / "River_1.jpg", place / "Forest" / "new.jpg"), 8),
        (lambda place: (place / "River" / "River_1.jpg").unlink(), 6),
    ],
    ids=["changed", "added", "removed"],
)
def test_a_change_is_noticed(change: Callable[[Path], object], count: int, place: Path, cache: Path) -> None:
    before = open_tiles(place, cache)
    change(place)
    after = open_tiles(place, cache)
    assert len(after) == count
    assert after.fingerprint != before.fingerprint
    assert after.cache != before.cache


def test_fingerprint_is_of_the_tiles_not_of_the_place(place: Path, cache: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(place, tmp_path / "elsewhere"))
    renamed = Path(shutil.copytree(place, tmp_path / "renamed"))
    (renamed / "River").rename(renamed / "Stream")
    own = open_tiles(place, cache)
    assert open_tiles(copy, cache).fingerprint == own.fingerprint
    assert open_tiles(copy, cache).cache != own.cache
    assert open_tiles(renamed, cache).fingerprint != own.fingerprint
    (place / "River" / "River_1.jpg").rename(place / "Forest" / "Forest_9.jpg")
    moved = open_tiles(place, cache)
    assert torch.equal(moved.pixels, own.pixels) and moved.fingerprint != own.fingerprint, "it tells labels apart"


def _spoil_index(**changes: object) -> Callable[[Path], None]:
    def spoil(entry: Path) -> None:
        index = json.loads((entry / "index.json").read_text())
        (entry / "index.json").write_text(json.dumps(index | changes))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entry: (entry / "index.json").unlink(),
        lambda entry: (entry / "index.json").write_text('{"format": 1, "names"'),
        lambda entry: (entry / "index.json").write_text("[]"),
        lambda entry: (entry / "index.json").write_bytes(b"\xff\xfe\x00"),
        lambda entry: (entry / "pixels.u8").unlink(),
        lambda entry: (entry / "pixels.u8").write_bytes(b"short"),
        lambda entry: os.truncate(entry / "pixels.u8", 8 * 64 * 64 * 3),
        lambda entry: shutil.rmtree(entry),
        _spoil_index(format=999),
        _spoil_index(names=["one"]),
        _spoil_index(names=7),
        _spoil_index(counts=[4, -3]),
        _spoil_index(counts=[4, 4]),
        _spoil_index(counts=[4, 2, 1]),
        _spoil_index(problems=None),
    ],
)
def test_a_damaged_entry_is_made_anew(
    spoil: Callable[[Path], object], place: Path, cache: Path, decodings: list[Path]
) -> None:
    entry = open_tiles(place, cache).cache
    good = {path.name: path.read_bytes() for path in entry.iterdir()}
    spoil(entry)
    with pytest.raises(DataError, match=r"cache entry .*"):
        open_cached(entry)
    assert len(open_tiles(place, cache)) == 7
    assert len(decodings) == 2
    assert {path.name: path.read_bytes() for path in entry.iterdir()} == good


def test_a_decoding_that_was_stopped_leaves_no_entry(place: Path, cache: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_tiles(place, cache, stop)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    assert len(open_tiles(place, cache)) == 7


def test_leftovers_of_a_killed_decoding_are_swept(place: Path, cache: Path) -> None:
    old, new = cache / "making-old", cache / "making-new"
    for left in (old, new):
        left.mkdir(parents=True)
    os.utime(old, (1, 1))
    open_tiles(place, cache)
    assert not old.exists()
    assert new.exists()  # another process may be at it


def test_the_cache_stays_bounded(
    small_folder: SmallFolder, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_ENTRIES", 2)
    places = [small_folder(tmp_path / f"p{number}", {"a": 1, "b": 1}) for number in range(3)]
    entries = []
    for day, place in enumerate(places):
        entries.append(open_tiles(place, cache).cache)
        os.utime(entries[-1] / "index.json", (1000 + day, 1000 + day))
    assert [entry.exists() for entry in entries] == [False, True, True]
    (entries[1] / "index.json").unlink()  # damaged ones go first
    last = open_tiles(places[0], cache).cache
    assert [entry.exists() for entry in entries] == [True, False, True]
    assert last == entries[0]


def test_two_at_once_decode_once(place: Path, cache: Path, decodings: list[Path]) -> None:
    found: list[TileSet] = []
    threads = [threading.Thread(target=lambda: found.append(open_tiles(place, cache))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decodings) == 1
    assert len({each.fingerprint for each in found}) == 1
    assert len(found) == 4


def test_a_cache_folder_that_cannot_be_written(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="EUROSAT_CACHE"):
        open_tiles(place, tmp_path / "file" / "cache")


def test_a_full_disk(place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_entry", full)
    with pytest.raises(DataError, match="No space"):
        open_tiles(place, cache)


def test_read_only_data_stays_as_it_is(place: Path, cache: Path) -> None:
    paths, before = [place, *place.rglob("*")], snapshot(place)
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(open_tiles(place, cache)) == 7
        assert snapshot(place) == before
    finally:
        for path in paths:
            path.chmod(0o755)


def test_progress_is_told_to_the_end(place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 3)
    (place / "Forest" / "Forest_1.jpg").write_bytes(b"")
    told: list[tuple[int, int]] = []
    open_tiles(place, cache, lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (6, 7), (7, 7)]
    open_tiles(place, cache, lambda done, total: told.append((done, total)))
    assert len(told) == 3  # nothing to do the second time
