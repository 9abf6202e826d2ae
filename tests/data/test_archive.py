"""Zips that cannot be used, each with its sentence; honest ones, however strange, unpacked whole; and of those of which
a part is damaged, strange or left out, what is sound is used, and the rest is named.
"""

import bz2
import lzma
import os
import shutil
import stat
import struct
import tempfile
import threading
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bad_archives import BAD, GOOD, fail_for, make_bad
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zip_makers import DEFLATED, FILE, FOLDER, LINK, PIPE, STORED, UTF8, Entry, jpeg, tree_entries, write_zip, zip_bytes

from eurosat_core.data import archive as module
from eurosat_core.data.archive import unpack_pictures
from eurosat_core.data.decoding import LeftOut
from eurosat_core.data.download import Stopped
from eurosat_core.data.listing import list_pictures
from eurosat_core.errors import DataError

Patch = pytest.MonkeyPatch
GOOD_NAMES = [str(each.name) for each in GOOD]


def snapshot(place: Path, without: Path) -> dict[str, object]:
    """All that lies under `place` but not under `without`: kind, size, content and time of each."""
    found: dict[str, object] = {}
    for path in sorted(place.rglob("*")):
        if path == without or without in path.parents:
            continue
        status = path.lstat()
        content = b""
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:  # noqa: PTH123 (some tests let Path.open fail)
                content = file.read()
        mtime = 0 if path == without.parent else status.st_mtime_ns
        found[str(path)] = (status.st_mode, content, mtime)
    return found


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder between two others with something in them, where the archive lies and is unpacked."""
    for path in ("outside/secret.jpg", "place/beside/secret.jpg"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("as it was")
    return tmp_path / "place"


# --- none of it is used ---


@pytest.mark.hostile
@pytest.mark.parametrize("name", BAD)
def test_bad_archive_gets_a_sentence(name: str, place: Path, monkeypatch: Patch) -> None:
    words = make_bad(name, place / "bad.zip", monkeypatch)
    before = snapshot(place.parent, place / "target")
    with pytest.raises(DataError) as caught:
        unpack_pictures(place / "bad.zip", place / "target")
    monkeypatch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert "bad.zip" in sentence or name == "may not be written"
    assert len(sentence.splitlines()) == 1
    assert snapshot(place.parent, place / "target") == before


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("name", "words"),
    [("beside", "folder"), ("pipe", "not a file"), ("beside/secret.jpg/a.zip", "no file"), ("x" * 300, "too long")],
)
def test_what_is_no_file_is_no_archive(name: str, words: str, place: Path) -> None:
    os.mkfifo(place / "pipe")
    with pytest.raises(DataError, match=words):
        unpack_pictures(place / name, place / "target")


# --- all of it is used ---


def _as_zipfile_writes(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in GOOD:
            archive.writestr(str(each.name), each.content)


def _as_shutil_packs(path: Path) -> None:
    """With entries for the folders, and the whole as a folder in it."""
    for each in GOOD:
        file = path.parent / "tree" / "EuroSAT" / "2750" / str(each.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(each.content)
    shutil.make_archive(str(path.with_suffix("")), "zip", path.parent / "tree")
    shutil.rmtree(path.parent / "tree")


def _large(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for each in GOOD:
            with archive.open(str(each.name), "w", force_zip64=True) as file:
                file.write(each.content)


WHOLE: dict[str, Callable[[Path], None] | list[Entry] | bytes] = {
    "as zipfile writes": _as_zipfile_writes,
    "as shutil packs": _as_shutil_packs,
    "large": _large,
    "self-unpacking": b"#!/bin/sh\nexit 1\n" + zip_bytes(GOOD),
    "backslashes": [replace(each, name=str(each.name).replace("/", "\\")) for each in GOOD],
    "dots and double slashes": [replace(each, name=f"./EuroSAT//{each.name}") for each in GOOD],
    "names without UTF-8": [replace(each, flags=0) for each in GOOD],
    "with folders": [Entry("Forest/", attributes=FOLDER), Entry("River\\", attributes=0), *GOOD],
    "with a folder of no kind": [Entry("Forest/", attributes=0o755 << 16), *GOOD],
    "with other files": [*GOOD, Entry("readme.txt", b"text"), Entry("Forest/Thumbs.db", b"?")],
    "with copies of a Mac": [*GOOD, Entry("__MACOSX/Forest/._a.jpg", b"?"), Entry(".x/y/a.jpg", b"?")],
    "with no name": [*GOOD, Entry("", b"?")],
    "odd kinds": [replace(GOOD[0], attributes=PIPE), replace(GOOD[1], attributes=FOLDER), *GOOD[2:]],
    "with the right to be root": [replace(GOOD[0], attributes=FILE | 0o7777 << 16), *GOOD[1:]],
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_an_honest_archive_is_unpacked_whole(make: Callable[[Path], None] | list[Entry] | bytes, place: Path) -> None:
    if callable(make):
        make(place / "a.zip")
    else:
        (place / "a.zip").write_bytes(make if isinstance(make, bytes) else zip_bytes(make))
    told: list[tuple[int, int]] = []
    left_out = unpack_pictures(place / "a.zip", place / "target", told=lambda done, total: told.append((done, total)))
    assert left_out == ()
    assert told == [(len(GOOD), len(GOOD))]
    assert names_in(place / "target") == GOOD_NAMES
    for each in GOOD:
        path = place / "target" / str(each.name)
        assert path.read_bytes() == each.content
        assert stat.S_ISREG(path.lstat().st_mode)
        assert path.lstat().st_mode & 0o7111 == 0, "nothing that can be run comes out of an archive"
    assert list_pictures(place / "target").class_names == ("Forest", "River")


def test_small_archives_may_swell(place: Path) -> None:
    """A flat picture without compression of its own: harmless, however well it packs."""
    entries = [Entry(f"{name}/{number}.bmp", bytes(64 * 64 * 3), DEFLATED) for name in "AB" for number in range(20)]
    write_zip(place / "a.zip", entries)
    unpack_pictures(place / "a.zip", place / "target")
    assert len(names_in(place / "target")) == 40


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


# --- a part of it is used ---

DAMAGED = "Forest/bad.jpg: damaged"
OTHER_METHOD = "Forest/bad.jpg: packed by another method"
ACCENT = unicodedata.normalize("NFC", "Forest/é.jpg")
LZMA = struct.pack("<BBH", 9, 20, 5) + b"\x5d\0\0\x80\0" + lzma.compress(bytes(1000), lzma.FORMAT_ALONE)[13:]


def bad(**odd: object) -> Entry:
    return Entry(**{"name": "Forest/bad.jpg", "content": jpeg(), **odd})  # type: ignore[arg-type]


PARTLY: dict[str, tuple[list[Entry], str]] = {
    "damaged": ([*GOOD, bad(crc=1)], DAMAGED),
    "damaged when packed": ([bad(method=DEFLATED, packed=b"\xff" * 300), *GOOD], DAMAGED),
    "cut": ([*GOOD, bad(file_size=10**6, packed_size=100)], DAMAGED),
    "larger than said": ([bad(method=DEFLATED, file_size=100), *GOOD], DAMAGED),
    "elsewhere": ([*GOOD, bad(offset=2**31)], DAMAGED),
    # Inside of its own bytes: newer Pythons refuse a sound picture that another one is said to lie in.
    "at the wrong place": ([bad(offset=5), *GOOD], DAMAGED),
    "of two names": ([*GOOD, bad(inner_name=b"../../outside/evil.jpg")], DAMAGED),
    "by an unknown method": ([*GOOD, bad(method=97)], OTHER_METHOD),
    # It is not a picture, but a gigabyte of zeros that `zipfile` would unpack in one go.
    "by bzip2": ([*GOOD, bad(method=12, packed=bz2.compress(bytes(10**6)))], OTHER_METHOD),
    "by LZMA": ([*GOOD, bad(method=14, packed=LZMA)], OTHER_METHOD),
    "patched": ([*GOOD, bad(flags=UTF8 | 0x20)], DAMAGED),
    "too long": ([*GOOD, bad(name=f"Forest/{'ä' * 126}.jpg")], "…:"),
    "class too long": ([*GOOD, bad(name=f"{'x' * 256}/bad.jpg")], "xxx…:"),
    "too large": ([*GOOD, bad(content=bytes(10**6 + 1))], "bad.jpg: too large"),
    "twins": (
        [*GOOD, bad(name="Forest/Forest_1.jpg", content=jpeg(99))],
        "Forest/Forest_1.jpg: there are two",
    ),
    "twins but for case": ([*GOOD, bad(name="forest/FOREST_1.JPG")], "FOREST_1.JPG: there are two"),
    # One sign or two for é: one file on a Mac.
    "twins but for the accent": (
        [*GOOD[1:], bad(name=ACCENT), bad(name=unicodedata.normalize("NFD", ACCENT))],
        ": there are two",
    ),
    "loose beside": ([Entry("preview.png", jpeg()), *GOOD], "1 picture outside"),
    "two trees": (
        [*tree_entries(("Forest",), inside="samples/"), *(replace(each, name=f"x/{each.name}") for each in GOOD)],
        "2 pictures outside of x",
    ),
    "line separators": ([*GOOD, bad(name="Forest/a\u2028b\x85c\u202e.jpg", crc=1)], "Forest/a?b?c?.jpg: damaged in"),
    # As Windows does not take a question mark.
    "impossible here": ([*GOOD, bad(name="Forest/what?.jpg")], "what?.jpg: cannot be unpacked"),
    "a class of which nothing is left": ([*GOOD, bad(name="SeaLake/a.jpg", crc=1)], "SeaLake/a.jpg: damaged"),
    "a smaller tree of as many classes": (
        [*tree_entries(("Forest", "River"), each=1), *(replace(each, name=f"deep/down/{each.name}") for each in GOOD)],
        "2 pictures outside of deep/down",
    ),
    "a thousand alike": (
        [*GOOD, *(bad(name=f"Forest/bad_{number}.jpg", crc=number) for number in range(1000))],
        "1,000 × damaged",
    ),
    # As EuroSAT is passed on: all bands as TIFFs beside the JPEGs.
    "TIFFs beside JPEGs": (
        [Entry(f"x/All/{each.name}".replace("jpg", "tif"), b"II*") for each in GOOD]
        + [replace(each, name=f"x/EuroSAT/{each.name}") for each in GOOD],
        "6 pictures outside of x/EuroSAT",
    ),
}


@pytest.mark.parametrize("name", PARTLY)
def test_what_is_sound_is_used_and_the_rest_is_named(name: str, place: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module, "_MAX_PICTURE_BYTES", 10**6)
    refusal = OSError(22, "Invalid argument")
    fail_for(monkeypatch, Path, "open", refusal, lambda path: path.name == "what?.jpg")
    entries, words = PARTLY[name]
    write_zip(place / "a.zip", entries)
    before = snapshot(place.parent, place / "target")
    (kind,) = unpack_pictures(place / "a.zip", place / "target")
    monkeypatch.undo()
    names = sorted([*GOOD_NAMES[1:], ACCENT]) if "accent" in name else GOOD_NAMES
    assert names_in(place / "target") == names
    assert sorted(each.name for each in (place / "target").iterdir()) == ["Forest", "River"]
    assert words in str(kind)
    assert len(str(kind)) < 200
    assert len(str(kind).splitlines()) == 1
    assert snapshot(place.parent, place / "target") == before
    if name == "twins":
        assert (place / "target" / "Forest" / "Forest_1.jpg").read_bytes() == GOOD[0].content


def test_other_files_are_counted_by_their_ending(place: Path) -> None:
    others = [Entry(f"Forest/{number}.gif", b"GIF89a") for number in range(12)]
    beside = [Entry(name, b"?") for name in ("Forest/notes.txt", "Forest/LICENSE", "Forest/Thumbs.db", "readme.md")]
    write_zip(place / "a.zip", [*GOOD, *others, *beside])
    left_out = unpack_pictures(place / "a.zip", place / "target")
    assert left_out == tuple(
        LeftOut(kind, count, unreadable=False)
        for kind, count in (("of .gif", 12), ("of .txt", 1), ("without an ending", 1))
    )


def test_parts_with_the_same_classes_are_taken_together(place: Path) -> None:
    parts = [
        *tree_entries(("Forest", "River"), each=3, inside="set/train/"),
        *tree_entries(("Forest", "River"), each=1, inside="set/Val/"),
        *tree_entries(("Forest",), each=1, inside="set/test/"),
        *tree_entries(("unknown",), each=2, inside="set/dev/"),
    ]
    write_zip(place / "a.zip", parts)
    left_out = unpack_pictures(place / "a.zip", place / "target")
    assert len(names_in(place / "target")) == 9
    assert {name.split("/")[0] for name in names_in(place / "target")} == {"train", "Val", "test"}
    assert [each.count for each in left_out] == [2]


# --- whatever zip is made up: what comes out of it lies in its folder, and nothing is written elsewhere ---

TAME = st.sampled_from(
    ["Forest", "River", "outside", "target", "a.jpg", "b.PNG", "secret.jpg", "nul.jpg", "x" * 300, "é", "e\u0301"]
) | st.sampled_from(
    [".", "", " ", "~", "$HOME", "|", "*?.jpg", "... ", "a.jpg ", ".jpg", ".hidden", "__MACOSX", "a:b.jpg", "🌲.jpg"]
)
WILD = st.sampled_from(["..", "C:", "c:", "\0", "\n", "\u202egpj.exe"]) | st.text(max_size=6)
SEPARATORS = st.sampled_from(["/", "/", "/", "\\", "//", "/./", "\\\\", ""])


@st.composite
def names(draw: st.DrawFn) -> str:
    """Words in folders; one in eight with something in it that should never be written."""
    wild = draw(st.integers(0, 7)) == 7
    name = draw(st.sampled_from(["", "/", "\\", "../", "//"])) if wild else ""
    for _ in range(draw(st.integers(1, 5))):
        name += draw(TAME | WILD if wild else TAME) + draw(SEPARATORS)
    name = name if draw(st.integers(0, 4)) == 0 else name.rstrip("/\\")
    return name if wild else name.lstrip("/\\")


PLAIN = st.builds("{}/{}.jpg".format, st.sampled_from(["Forest", "River"]), st.integers(0, 3))
ENTRIES = st.builds(
    Entry,
    name=PLAIN | names(),
    content=st.sampled_from([b"", b"../../outside", jpeg(1)]) | st.binary(max_size=50),
    method=st.sampled_from([STORED, STORED, DEFLATED, DEFLATED, 12, 14, 99]),
    flags=st.sampled_from([0, UTF8, UTF8, UTF8, UTF8 | 8, UTF8 | 0x20]),
    attributes=st.sampled_from([FILE] * 20 + [FOLDER, LINK, PIPE, 0, 0x10, 0xFFFFFFFF]),
    crc=st.sampled_from([None, None, None, 1]),
    packed=st.none() | st.none() | st.binary(max_size=50),
    packed_size=st.none() | st.none() | st.integers(0, 300),
    file_size=st.none() | st.none() | st.integers(0, 3000),
    offset=st.none() | st.none() | st.integers(0, 2**32 - 1),
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """An archive of odd entries, often beside sound ones; one in three damaged in a few bytes, cut, or continued."""
    entries = draw(st.lists(ENTRIES, max_size=4))
    if draw(st.integers(0, 3)) == 0:  # a name in bytes that are no text, or in the old coding of zips
        name = draw(names()).encode("utf-16") if draw(st.booleans()) else draw(st.binary(max_size=8)) + b"/a/b.jpg"
        entries.append(Entry(name, jpeg(), flags=draw(st.sampled_from([0, 0, 0, UTF8]))))
    content = bytearray(zip_bytes([*GOOD, *entries] if draw(st.booleans()) else entries))
    if draw(st.integers(0, 2)) == 0:
        start = draw(st.sampled_from([0, 0, bytes(content).find(b"PK\1\2"), -1])) % len(content)
        for _ in range(draw(st.integers(0, 4))):
            content[draw(st.integers(start, len(content) - 1))] = draw(st.integers(0, 255))
        content = content[: draw(st.just(len(content)) | st.just(len(content)) | st.integers(0, len(content)))]
        content += draw(st.sampled_from([b"", b"more"]))
    return bytes(content)


@pytest.mark.hostile
@settings(max_examples=300)
@example(content=zip_bytes([*GOOD, Entry("../outside/evil.jpg", jpeg())]))
@example(content=zip_bytes([Entry("Forest", b"../../outside", attributes=LINK), Entry("Forest/evil.jpg", jpeg())]))
@example(content=zip_bytes([Entry("../outside/secret.jpg", jpeg()), Entry("..\\outside\\secret.jpg", jpeg())]))
@example(content=zip_bytes([Entry("outside/Forest/../../../outside/secret.jpg", jpeg())]))
@given(content=archives())
def test_nothing_appears_outside_whatever_the_archive(content: bytes, tmp_path: Path, monkeypatch: Patch) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as made:
        root = Path(made)
        work = root / "work"
        for path in (root / "outside" / "secret.jpg", work / "outside" / "secret.jpg"):
            path.parent.mkdir(parents=True)
            path.write_text("as it was")
        (work / "a.zip").write_bytes(content)
        target = work / "target"
        monkeypatch.chdir(work)  # so that what is written relative to the process is seen too
        before = snapshot(root, target)
        try:
            left_out = unpack_pictures(work / "a.zip", target)
        except DataError as error:
            assert len(str(error).splitlines()) == 1
        else:
            found = [path.relative_to(target) for path in target.rglob("*") if not path.is_dir()]
            assert found
            assert all(len(path.parts) in (2, 3) for path in found)
            assert all(len(str(each).splitlines()) == 1 for each in left_out)
        # Whether it went well or not: only plain files and folders, and all as it was elsewhere.
        kinds = {stat.S_IFMT(path.lstat().st_mode) for path in target.rglob("*")} if target.exists() else set()
        assert kinds <= {stat.S_IFREG, stat.S_IFDIR}
        assert snapshot(root, target) == before
        monkeypatch.chdir(tmp_path)
