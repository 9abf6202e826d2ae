"""Folders and archives that are imported: what comes of them, what is left out, and what becomes of an earlier set;
those that cannot be imported get a sentence, and the earlier set stays as it was.
"""

import errno
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from acquired_sets import ZIP, contents, half_made
from bad_archives import FAULTS, GOOD, fail_for, make_bad
from torchvision.datasets import EuroSAT, ImageFolder
from zip_makers import Entry, jpeg, tree_entries, write_zip

from eurosat_core.data import acquire, archive
from eurosat_core.data.acquire import (
    Stage,
    acquired_place,
    clean_up,
    import_pictures,
    left_out,
    partly_downloaded,
    unpacked_place,
)
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.download import Stopped
from eurosat_core.data.listing import list_pictures
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError

SmallFolder = Callable[..., Path]
Patch = pytest.MonkeyPatch
Files = dict[str, bytes]


@pytest.fixture
def source(small_folder: SmallFolder, tmp_path: Path) -> Path:
    return small_folder(tmp_path / "source")


def test_a_zip_is_imported(own_zip: Path, cache: Path) -> None:
    stages: list[Stage] = []
    place = import_pictures(own_zip, cache, stages.append)
    own_zip.unlink()
    assert place == acquired_place(cache)
    assert list_pictures(place).names == tuple(each.name for each in GOOD)
    assert stages == [Stage("unpacking", 6, 6), Stage("decoding", 6, 6)]
    assert json.loads((place / ".source.json").read_text())["origin"] == str(own_zip)


def test_a_class_tree_is_imported(source: Path, cache: Path) -> None:
    (source / "readme.txt").write_text("not taken over")
    (source / "Forest" / "Thumbs.db").write_text("not taken over")
    stages: list[Stage] = []
    place = import_pictures(source, cache, stages.append)
    taken = contents(place)
    del taken[".source.json"]
    assert taken == {name: (source / name).read_bytes() for name in list_pictures(source).names}
    assert stages == [Stage("copying", 7, 7), Stage("decoding", 7, 7)]
    assert left_out(place) == ()


def test_a_torchvision_root_is_imported(small_folder: SmallFolder, tmp_path: Path, cache: Path) -> None:
    small_folder(tmp_path / "root" / "eurosat" / "2750", dict.fromkeys(CLASS_NAMES, 1))
    (tmp_path / "root" / "eurosat" / "EuroSAT.zip").write_bytes(b"not taken over")
    place = import_pictures(tmp_path / "root", cache)
    shutil.rmtree(tmp_path / "root")
    assert EuroSAT(str(place)).classes == list(CLASS_NAMES)
    assert sorted(each.name for each in (place / "eurosat").iterdir()) == ["2750"]


def test_the_earlier_set_stands_until_the_new_one_is_whole(
    own_zip: Path, cache: Path, earlier: Files, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(archive, "_REPORT_EVERY", 1)
    seen: list[dict[str, bytes]] = []
    import_pictures(own_zip, cache, lambda _stage: seen.append(contents(cache / "pictures")))
    assert seen == [earlier] * 7  # six pictures, and decoding


@pytest.mark.parametrize("names", [(".tree", "A", "B"), ("eurosat", "2750"), ("EuroSAT_RGB", "2750", "eurosat")])
def test_classes_with_names_that_we_use_ourselves(names: tuple[str, ...], tmp_path: Path, cache: Path) -> None:
    place = import_pictures(write_zip(tmp_path / "a.zip", tree_entries(names)), cache)
    visible = tuple(sorted(each for each in names if not each.startswith(".")))
    assert list_pictures(place).class_names == visible
    assert ImageFolder(str(place), allow_empty=True).classes == list(visible)


def test_what_was_left_out_is_kept(own_zip: Path, cache: Path) -> None:
    write_zip(own_zip, [*GOOD, Entry("Forest/bad.jpg", jpeg(), crc=1)])
    place = import_pictures(own_zip, cache)
    (kind,) = left_out(place)
    assert (kind.count, kind.example) == (1, "Forest/bad.jpg")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"left_out": 3}', '{"left_out": ["a"], "acquired": "x"}'])
def test_a_damaged_note_of_the_source_says_nothing(text: str, own_zip: Path, cache: Path) -> None:
    place = import_pictures(own_zip, cache)
    (place / ".source.json").write_text(text)
    assert left_out(place) == ()
    assert acquired_place(cache) == place
    assert left_out(cache) == ()


def test_pictures_that_cannot_be_copied_are_left_out(source: Path, cache: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(acquire, "_MAX_PICTURE_BYTES", 5000)
    (source / "Forest" / "Forest_2.jpg").write_bytes(bytes(5001))
    refusal = PermissionError(errno.EACCES, "Permission denied")
    fail_for(monkeypatch, Path, "read_bytes", refusal, lambda path: path == source / "River" / "River_1.jpg")
    place = import_pictures(source, cache)
    assert [each.example for each in left_out(place)] == ["Forest/Forest_2.jpg", "River/River_1.jpg"]
    assert len(list_pictures(place).names) == 5


def test_a_source_in_the_cache_beside_the_set(own_zip: Path, cache: Path, earlier: Files) -> None:
    place = import_pictures(unpacked_place(own_zip, cache), cache)
    assert list_pictures(place).class_names == ("Forest", "River")
    before = contents(place)
    assert import_pictures(cache, cache) == place
    assert contents(place) == before
    (cache / "downloads").mkdir()
    shutil.move(own_zip, cache / "downloads" / ZIP)
    assert import_pictures(cache / "downloads" / ZIP, cache) == place


# --- what cannot be imported ---


def _disk_full(source: Path, patch: Patch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    fail_for(patch, Path, "write_bytes", full, lambda path: path.name == "River_2.jpg")


def _may_not_write(source: Path, patch: Patch) -> None:
    fail_for(patch, Path, "write_bytes", PermissionError(errno.EACCES, "Permission denied"), lambda _path: True)


def _one_class_unreadable(source: Path, patch: Patch) -> None:
    fail_for(patch, Path, "read_bytes", OSError(errno.EIO, "Input/output error"), lambda path: "River" in path.parts)


BAD_FOLDERS: dict[str, tuple[Callable[[Path, Patch], object], list[str]]] = {
    "nothing readable": (
        lambda _source, patch: patch.setattr(acquire, "_MAX_PICTURE_BYTES", 10),
        ["None of", "too large"],
    ),
    "disk full": (_disk_full, ["No space", "disk space", "EUROSAT_CACHE"]),
    "may not write": (_may_not_write, ["Permission denied", "EUROSAT_CACHE"]),
    "one class unreadable": (_one_class_unreadable, ["one class", "source/Forest"]),
    "one class": (lambda source, _patch: shutil.rmtree(source / "River"), ["one class", "source/Forest"]),
    "gone": (lambda source, _patch: shutil.rmtree(source), ["no folder"]),
}


def refused(words: list[str], source: Path, cache: Path, earlier: Files, patch: Patch) -> None:
    """An import says these words in one line, and the set that was there before stays as it was."""
    with pytest.raises(DataError) as caught:
        import_pictures(source, cache)
    patch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert len(sentence.splitlines()) == 1
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_bad_folder_leaves_the_earlier_set(
    name: str, source: Path, cache: Path, earlier: Files, monkeypatch: Patch
) -> None:
    spoil, words = BAD_FOLDERS[name]
    spoil(source, monkeypatch)
    refused(words, source, cache, earlier, monkeypatch)


NO_SETS: dict[str, tuple[list[Entry], list[str]]] = {
    "only one class": (tree_entries(("Forest",)), ["one class", "bad.zip/Forest"]),
    "too many classes": (
        tree_entries(tuple(f"class{number}" for number in range(101)), each=1),
        ["bad.zip", "101 folders", "at most 100"],
    ),
    "one class damaged": (
        [replace(each, crc=1) if "River" in str(each.name) else each for each in GOOD],
        ["one class", "bad.zip/Forest"],
    ),
    "a renaming fails": (GOOD, ["resource busy"]),
}


@pytest.mark.parametrize("name", [*FAULTS, "last byte missing", "link", "claims to swell", "all damaged", *NO_SETS])
def test_a_bad_archive_leaves_the_earlier_set(
    name: str, cache: Path, tmp_path: Path, earlier: Files, monkeypatch: Patch
) -> None:
    path = tmp_path / "bad.zip"
    if name in NO_SETS:
        entries, words = NO_SETS[name]
        write_zip(path, entries)
    else:
        words = make_bad(name, path, monkeypatch)
    if name == "a renaming fails":
        busy = OSError(errno.EBUSY, "Device or resource busy")
        fail_for(monkeypatch, Path, "rename", busy, lambda each: each.name.startswith("acquiring-"))
    refused(words, path, cache, earlier, monkeypatch)


FEW_GOOD = {
    "one class of two": ([str(each.name) for each in GOOD if "Forest" in str(each.name)], "3 of the 6"),
    "one in three": ([str(each.name) for each in GOOD if not str(each.name).endswith("_1.jpg")], "2 of the 6"),
}


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "folder"])
@pytest.mark.parametrize("name", FEW_GOOD)
def test_a_set_of_which_little_can_be_read_leaves_the_earlier_one(
    name: str, packed: bool, cache: Path, tmp_path: Path, earlier: Files, monkeypatch: Patch
) -> None:
    bad, figures = FEW_GOOD[name]
    before = open_tiles(cache / "pictures", cache)
    entries = [replace(each, content=b"<html>log in</html>") if each.name in bad else each for each in GOOD]
    source = write_zip(tmp_path / "bad.zip", entries)
    if not packed:
        shutil.unpack_archive(source, tmp_path / "bad")
        source = tmp_path / "bad"
    refused([figures, f"{len(bad)} × not a picture", "stay", str(source)], source, cache, earlier, monkeypatch)
    assert [each for each in cache.glob("tiles-*") if each.is_dir()] == [before.cache]


def test_thousands_that_cannot_be_read_are_one_sentence_and_leave_nothing(cache: Path, tmp_path: Path) -> None:
    bad = [Entry(f"{name}/{number}.jpg", jpeg()[: 300 + number % 99]) for name in "AB" for number in range(1000)]
    with pytest.raises(DataError, match="2,000") as caught:
        import_pictures(write_zip(tmp_path / "bad.zip", bad), cache)
    assert "stay" not in str(caught.value) and len(str(caught.value)) < 500
    assert acquired_place(cache) is None


def test_it_can_be_stopped_while_it_is_decoded(own_zip: Path, cache: Path, earlier: Files) -> None:
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
    for work in (import_pictures, unpacked_place):
        with pytest.raises(DataError):
            work(tmp_path / ("x" * 300), cache)


def test_a_cache_that_cannot_be_made(own_zip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for work in (lambda cache: import_pictures(own_zip, cache), lambda cache: unpacked_place(own_zip, cache)):
        with pytest.raises(DataError, match=r"/file/cache: .*EUROSAT_CACHE"):
            work(tmp_path / "file" / "cache")
    clean_up(tmp_path / "file" / "cache")
    assert acquired_place(tmp_path / "file" / "cache") is None
    assert partly_downloaded(tmp_path / "file" / "cache") == 0
