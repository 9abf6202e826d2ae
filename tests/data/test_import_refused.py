"""Folders and archives that cannot be imported: each gets a sentence, and an earlier set stays as it was."""

import errno
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from acquired_sets import contents, half_made
from bad_archives import BAD, GOOD
from tile_folders import decodings
from zip_makers import Entry, jpeg, tree_entries, write_zip

from eurosat_core.data import acquire
from eurosat_core.data.acquire import (
    Stage,
    acquired_place,
    clean_up,
    import_pictures,
    partly_downloaded,
    unpacked_place,
)
from eurosat_core.data.download import Stopped
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError

__all__ = ["decodings"]  # a fixture of tile_folders, used here

SmallFolder = Callable[..., Path]
Patch = pytest.MonkeyPatch


def _nothing_readable(source: Path, patch: Patch) -> None:
    patch.setattr(acquire, "_MAX_PICTURE_BYTES", 10)


def _disk_full(source: Path, patch: Patch) -> None:
    written = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "River_2.jpg":
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(path, content)

    patch.setattr(Path, "write_bytes", full)


def _may_not_write(source: Path, patch: Patch) -> None:
    def refuse(path: Path, content: bytes) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    patch.setattr(Path, "write_bytes", refuse)


def _one_class_unreadable(source: Path, patch: Patch) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.parent.name == "River":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    patch.setattr(Path, "read_bytes", refuse)


def _one_class(source: Path, patch: Patch) -> None:
    shutil.rmtree(source / "River")


def _gone(source: Path, patch: Patch) -> None:
    shutil.rmtree(source)


BAD_FOLDERS = [
    (_nothing_readable, ["None of the pictures under", "too large to be a tile", "Give yourself read permission"]),
    (_disk_full, ["could not be kept in", "No space left on device. Free some disk space", "EUROSAT_CACHE"]),
    (_may_not_write, ["could not be kept in", "Permission denied", "EUROSAT_CACHE"]),
    (_one_class_unreadable, ["Only one class folder", "source/Forest", "at least two classes"]),
    (_one_class, ["Only one class folder", "source/Forest"]),
    (_gone, ["There is no folder", "Check the path"]),
]


@pytest.mark.parametrize(("make", "words"), BAD_FOLDERS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_folder_leaves_the_earlier_set(
    make: Callable[[Path, Patch], None],
    words: list[str],
    small_folder: SmallFolder,
    cache: Path,
    tmp_path: Path,
    earlier: dict[str, bytes],
    monkeypatch: Patch,
) -> None:
    source = small_folder(tmp_path / "source")
    make(source, monkeypatch)
    with pytest.raises(DataError) as caught:
        import_pictures(source, cache)
    monkeypatch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert "acquiring-" not in sentence
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []


def _only_one_class(path: Path, patch: Patch) -> None:
    write_zip(path, tree_entries(("Forest",)))


def _too_many_classes(path: Path, patch: Patch) -> None:
    write_zip(path, tree_entries(tuple(f"class{number}" for number in range(101)), each=1))


def _one_class_damaged(path: Path, patch: Patch) -> None:
    write_zip(path, [replace(each, crc=1) if "River" in str(each.name) else each for each in GOOD])


def _renaming_fails(path: Path, patch: Patch) -> None:
    write_zip(path, GOOD)
    rename = Path.rename

    def refuse(source: Path, target: Path) -> Path:
        if source.name.startswith("acquiring-"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(source, target)

    patch.setattr(Path, "rename", refuse)


NO_SET = [
    (_only_one_class, ["Only one class folder", "bad.zip/Forest", "at least two classes"]),
    (_too_many_classes, ["bad.zip has 101 folders", "at most 100 classes"]),
    (_one_class_damaged, ["Only one class folder", "bad.zip/Forest"]),
    (_renaming_fails, ["could not be kept in", "Device or resource busy. Free some disk space"]),
]


@pytest.mark.parametrize(("make", "words"), [*BAD, *NO_SET], ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_archive_leaves_the_earlier_set(
    make: Callable[[Path, Patch], None],
    words: list[str],
    cache: Path,
    tmp_path: Path,
    earlier: dict[str, bytes],
    monkeypatch: Patch,
) -> None:
    path = tmp_path / "bad.zip"
    make(path, monkeypatch)
    with pytest.raises(DataError) as caught:
        import_pictures(path, cache)
    monkeypatch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert "acquiring-" not in sentence or "could not be unpacked into" in sentence
    assert len(sentence.splitlines()) == 1
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []


def _spoilt(names: list[str], content: bytes) -> Callable[[Entry], Entry]:
    return lambda each: replace(each, content=content) if each.name in names else each


FEW_GOOD = [
    ("one class of two", ["Forest/Forest_1.jpg", "Forest/Forest_2.jpg", "Forest/Forest_3.jpg"], "3 of the 6"),
    ("one in three", [str(each.name) for each in GOOD if not str(each.name).endswith("_1.jpg")], "2 of the 6"),
]


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "folder"])
@pytest.mark.parametrize(("_name", "bad", "figures"), FEW_GOOD, ids=[each[0] for each in FEW_GOOD])
def test_a_set_of_which_little_can_be_read_leaves_the_earlier_one(
    packed: bool, _name: str, bad: list[str], figures: str, cache: Path, tmp_path: Path, earlier: dict[str, bytes]
) -> None:
    before = open_tiles(cache / "pictures", cache)
    source = write_zip(tmp_path / "bad.zip", list(map(_spoilt(bad, b"<html>log in</html>"), GOOD)))
    if not packed:
        shutil.unpack_archive(source, tmp_path / "bad")
        source = tmp_path / "bad"
    with pytest.raises(DataError) as caught:
        import_pictures(source, cache)
    sentence = str(caught.value)
    assert figures in sentence and f"{len(bad)} × not a picture" in sentence and "stay" in sentence
    assert str(source) in sentence and "acquiring-" not in sentence and str(cache) not in sentence
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []
    assert [each for each in cache.glob("tiles-*") if each.is_dir()] == [before.cache]


def test_where_nothing_was_before_nothing_stays(cache: Path, tmp_path: Path) -> None:
    bad = [replace(each, content=b"") for each in GOOD]
    with pytest.raises(DataError) as caught:
        import_pictures(write_zip(tmp_path / "bad.zip", bad), cache)
    assert "None of the 6 pictures" in str(caught.value) and "stay" not in str(caught.value)
    assert acquired_place(cache) is None


def test_thousands_that_cannot_be_read_are_one_sentence(cache: Path, tmp_path: Path) -> None:
    bad = [Entry(f"{name}/{number}.jpg", jpeg()[: 300 + number % 99]) for name in "AB" for number in range(1000)]
    with pytest.raises(DataError) as caught:
        import_pictures(write_zip(tmp_path / "bad.zip", bad), cache)
    assert "None of the 2,000 pictures" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_it_can_be_stopped_while_it_is_decoded(own_zip: Path, cache: Path, earlier: dict[str, bytes]) -> None:
    stop = threading.Event()

    def report(stage: Stage) -> None:
        if stage.name == "unpacking":
            stop.set()  # the last thing but decoding

    with pytest.raises(Stopped):
        import_pictures(own_zip, cache, report, stop)
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []


def test_an_imported_set_is_decoded_once(own_zip: Path, cache: Path, decodings: list[Path]) -> None:
    place = import_pictures(own_zip, cache)
    assert len(open_tiles(place, cache)) == 6
    assert len(decodings) == 1


def test_an_endless_name_gets_a_sentence(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        import_pictures(tmp_path / ("x" * 300), cache)
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        unpacked_place(tmp_path / ("x" * 300), cache)


def test_a_cache_that_cannot_be_made(own_zip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for work in (lambda cache: import_pictures(own_zip, cache), lambda cache: unpacked_place(own_zip, cache)):
        with pytest.raises(DataError, match=r"could not be kept in .*/file/cache: .* name another folder in EUROSAT_"):
            work(tmp_path / "file" / "cache")
    clean_up(tmp_path / "file" / "cache")
    assert acquired_place(tmp_path / "file" / "cache") is None
    assert partly_downloaded(tmp_path / "file" / "cache") == 0
