"""Zips that cannot be used, each with its sentence; and honest ones, however strange, unpacked whole."""

import os
import shutil
import stat
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bad_archives import BAD, GOOD
from unpacking_place import GOOD_NAMES, names_in, place, snapshot
from zip_makers import DEFLATED, FILE, FOLDER, PIPE, Entry, jpeg, write_zip, zip_bytes

from eurosat_core.data import archive as module
from eurosat_core.data.archive import Unpacked, unpack_pictures
from eurosat_core.data.download import Stopped
from eurosat_core.data.listing import list_pictures
from eurosat_core.errors import DataError

__all__ = ["place"]  # a fixture of unpacking_place, used here

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize(("make", "words"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_bad_archive_gets_a_sentence(
    make: Callable[[Path, Patch], None], words: list[str], place: Path, monkeypatch: Patch
) -> None:
    path = place / "bad.zip"
    make(path, monkeypatch)
    before = snapshot(place.parent, place / "target")
    with pytest.raises(DataError) as caught:
        unpack_pictures(path, place / "target")
    monkeypatch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert "bad.zip" in sentence or "may not be written" in sentence
    assert len(sentence.splitlines()) == 1
    assert snapshot(place.parent, place / "target") == before


def test_there_are_many_bad_archives() -> None:
    assert len(BAD) >= 40
    assert len({make.__name__ for make, _ in BAD}) == len(BAD)


def test_a_folder_or_a_pipe_is_no_archive(place: Path) -> None:
    with pytest.raises(DataError, match=r"beside is a folder\. Name the zip archive itself"):
        unpack_pictures(place / "beside", place / "target")
    os.mkfifo(place / "pipe")
    with pytest.raises(DataError, match="pipe is not a file"):
        unpack_pictures(place / "pipe", place / "target")
    with pytest.raises(DataError, match="There is no file"):
        unpack_pictures(place / "beside" / "secret.jpg" / "a.zip", place / "target")
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        unpack_pictures(place / ("x" * 300), place / "target")


def _as_zipfile_writes(place: Path) -> None:
    with zipfile.ZipFile(place / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for each in GOOD:
            archive.writestr(str(each.name), each.content)


def _as_shutil_packs(place: Path) -> None:
    """With entries for the folders, and the whole as a folder in it."""
    for each in GOOD:
        (place / "tree" / "EuroSAT" / "2750" / str(each.name)).parent.mkdir(parents=True, exist_ok=True)
        (place / "tree" / "EuroSAT" / "2750" / str(each.name)).write_bytes(each.content)
    shutil.make_archive(str(place / "a"), "zip", place / "tree")
    shutil.rmtree(place / "tree")


def _large(place: Path) -> None:
    with zipfile.ZipFile(place / "a.zip", "w") as archive:
        for each in GOOD:
            with archive.open(str(each.name), "w", force_zip64=True) as file:
                file.write(each.content)


def _entries(*entries: Entry, title: str, **options: int) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        (place / "a.zip").write_bytes(zip_bytes(list(entries), **options))

    make.__name__ = title
    return make


def _self_unpacking(place: Path) -> None:
    (place / "a.zip").write_bytes(b"#!/bin/sh\nexit 1\n" + zip_bytes(GOOD))


WHOLE: list[Callable[[Path], None]] = [
    _as_zipfile_writes,
    _as_shutil_packs,
    _large,
    _self_unpacking,
    _entries(*(replace(each, name=str(each.name).replace("/", "\\")) for each in GOOD), title="_backslashes"),
    _entries(*(replace(each, name=f"./EuroSAT//{each.name}") for each in GOOD), title="_dots_and_double_slashes"),
    _entries(*(replace(each, flags=0) for each in GOOD), title="_names_without_utf8"),
    _entries(Entry("Forest/", attributes=FOLDER), Entry("River\\", attributes=0), *GOOD, title="_with_folders"),
    _entries(Entry("Forest/", attributes=0o755 << 16), *GOOD, title="_with_a_folder_of_no_kind"),
    _entries(*GOOD, Entry("readme.txt", b"text"), Entry("Forest/Thumbs.db", b"?"), title="_with_other_files"),
    _entries(*GOOD, Entry("__MACOSX/Forest/._a.jpg", b"?"), Entry(".x/y/a.jpg", b"?"), title="_with_copies_of_a_mac"),
    _entries(*GOOD, Entry("", b"?"), title="_with_no_name"),
    _entries(replace(GOOD[0], attributes=PIPE), replace(GOOD[1], attributes=FOLDER), *GOOD[2:], title="_odd_kinds"),
    _entries(replace(GOOD[0], attributes=FILE | 0o7777 << 16), *GOOD[1:], title="_with_the_right_to_be_root"),
]


@pytest.mark.parametrize("make", WHOLE, ids=lambda make: make.__name__)
def test_an_honest_archive_is_unpacked_whole(make: Callable[[Path], None], place: Path) -> None:
    make(place)
    told: list[tuple[int, int]] = []
    unpacked = unpack_pictures(place / "a.zip", place / "target", told=lambda done, total: told.append((done, total)))
    assert unpacked == Unpacked(place / "target", len(GOOD), ())
    assert told == [(len(GOOD), len(GOOD))]
    assert names_in(place / "target") == GOOD_NAMES
    for each in GOOD:
        path = place / "target" / str(each.name)
        assert path.read_bytes() == each.content
        assert stat.S_ISREG(path.lstat().st_mode)
        assert path.lstat().st_mode & 0o7111 == 0, "nothing that can be run comes out of an archive"
    assert list_pictures(place / "target").class_names == ("Forest", "River")


def test_odd_names_of_classes_and_pictures(place: Path) -> None:
    names = [
        "with space",
        "çé漢字🌲",
        "a'b\"c",
        "per%cent#hash",
        "-dash",
        "eurosat",
        "2750",
        "EuroSAT_RGB",
        "acquiring-0",
    ]
    write_zip(place / "a.zip", [Entry(f"{name}/{name}.PNG", jpeg()) for name in names])
    unpacked = unpack_pictures(place / "a.zip", place / "target")
    assert names_in(unpacked.folder) == sorted(f"{name}/{name}.PNG" for name in names)
    assert unpacked.left_out == ()


def test_small_archives_may_swell(place: Path) -> None:
    """A flat picture without compression of its own: harmless, however well it packs."""
    entries = [Entry(f"{name}/{number}.bmp", bytes(64 * 64 * 3), DEFLATED) for name in "AB" for number in range(20)]
    write_zip(place / "a.zip", entries)
    assert unpack_pictures(place / "a.zip", place / "target").pictures == 40


def test_progress_and_stop(place: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module, "_REPORT_EVERY", 2)
    write_zip(place / "a.zip", GOOD)
    told: list[tuple[int, int]] = []
    unpack_pictures(place / "a.zip", place / "first", told=lambda done, total: told.append((done, total)))
    assert told == [(2, 6), (4, 6), (6, 6)]
    stop = threading.Event()
    with pytest.raises(Stopped):
        unpack_pictures(place / "a.zip", place / "second", told=lambda *_: stop.set(), stop=stop)
    assert len(names_in(place / "second")) == 2


def test_a_mistake_of_our_own_is_not_called_damage(place: Path) -> None:
    write_zip(place / "a.zip", GOOD)

    def told(done: int, total: int) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        unpack_pictures(place / "a.zip", place / "target", told=told)
