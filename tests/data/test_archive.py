"""Zips that are damaged, strange or hostile: what comes out of them, and that nothing is written elsewhere."""

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
from bad_archives import BAD, GOOD
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zip_makers import DEFLATED, FILE, FOLDER, LINK, PIPE, STORED, UTF8, Entry, jpeg, tree_entries, write_zip, zip_bytes

from eurosat_core.data import archive as module
from eurosat_core.data.archive import Unpacked, unpack_pictures
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


# --- what is strange, but can be used ---


def _one_damaged(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), crc=1)])


def _one_damaged_when_packed(place: Path, patch: Patch) -> bytes:
    return zip_bytes([Entry("Forest/bad.jpg", jpeg(), DEFLATED, packed=b"\xff" * 300), *GOOD])


def _one_cut(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), file_size=10**6, packed_size=100)])


def _one_larger_than_said(place: Path, patch: Patch) -> bytes:
    return zip_bytes([Entry("Forest/bad.jpg", jpeg(), DEFLATED, file_size=100), *GOOD])


def _one_elsewhere(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), offset=2**31)])


def _one_at_the_wrong_place(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), offset=5)])


def _one_of_two_names(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), inner_name=b"../../outside/evil.jpg")])


def _one_by_an_unknown_method(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), method=97)])


def _one_by_bzip2(place: Path, patch: Patch) -> bytes:
    """It is not a picture, but a gigabyte of zeros that `zipfile` would unpack in one go."""
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), method=12, packed=bz2.compress(bytes(10**6)))])


def _one_by_lzma(place: Path, patch: Patch) -> bytes:
    packed = struct.pack("<BBH", 9, 20, 5) + b"\x5d\0\0\x80\0" + lzma.compress(bytes(1000), lzma.FORMAT_ALONE)[13:]
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), method=14, packed=packed)])


def _one_patched(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", jpeg(), flags=UTF8 | 0x20)])


def _one_too_long(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry(f"Forest/{'ä' * 126}.jpg", jpeg())])


def _one_class_too_long(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry(f"{'x' * 256}/bad.jpg", jpeg())])


def _one_too_large(place: Path, patch: Patch) -> bytes:
    patch.setattr(module, "_MAX_PICTURE_BYTES", 10_000)
    return zip_bytes([*GOOD, Entry("Forest/bad.jpg", bytes(10_001))])


def _twins(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/Forest_1.jpg", jpeg(99))])


def _twins_but_for_case(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("forest/FOREST_1.JPG", jpeg(99))])


def _twins_but_for_the_accent(place: Path, patch: Patch) -> bytes:
    """One sign or two for é: one file on a Mac."""
    return zip_bytes([Entry(f"Forest/{unicodedata.normalize(form, 'é')}.jpg", jpeg()) for form in ("NFC", "NFD")])


def _loose_beside(place: Path, patch: Patch) -> bytes:
    return zip_bytes([Entry("preview.png", jpeg()), *GOOD])


def _two_trees(place: Path, patch: Patch) -> bytes:
    return zip_bytes(
        [*tree_entries(("Forest", "River"), inside="samples/"), *tree_entries(("A", "B", "C"), inside="x/")]
    )


def _line_separators(place: Path, patch: Patch) -> bytes:
    return zip_bytes([*GOOD, Entry("Forest/a\u2028b\x85c\u202e.jpg", jpeg(), crc=1)])


def _impossible_here(place: Path, patch: Patch) -> bytes:
    """A name that this system does not take, as Windows does not take a question mark."""
    opened = Path.open

    def refuse(path: Path, *args: object, **options: object) -> object:
        if path.name == "what?.jpg":
            raise OSError(22, "Invalid argument", str(path))
        return opened(path, *args, **options)  # type: ignore[call-overload]

    patch.setattr(Path, "open", refuse)
    return zip_bytes([*GOOD, Entry("Forest/what?.jpg", jpeg())])


PARTLY = [
    (_one_damaged, ["Forest/bad.jpg: damaged in the archive (Bad CRC-32"]),
    (_one_damaged_when_packed, ["Forest/bad.jpg: damaged in the archive ("]),
    (_one_cut, ["Forest/bad.jpg: damaged in the archive ("]),
    (_one_larger_than_said, ["Forest/bad.jpg: damaged in the archive (Bad CRC-32"]),
    (_one_elsewhere, ["Forest/bad.jpg: damaged in the archive (Truncated file header)"]),
    (_one_at_the_wrong_place, ["Forest/bad.jpg: damaged in the archive (Bad magic number"]),
    (_one_of_two_names, ["Forest/bad.jpg: damaged in the archive (File name in directory"]),
    (_one_by_an_unknown_method, ["Forest/bad.jpg: packed by another method than zip's usual one (number 97)"]),
    (_one_by_bzip2, ["Forest/bad.jpg: packed by another method than zip's usual one (number 12)"]),
    (_one_by_lzma, ["Forest/bad.jpg: packed by another method than zip's usual one (number 14)"]),
    (_one_patched, ["Forest/bad.jpg: damaged in the archive (compressed patched data"]),
    (_one_too_long, ["Forest/ä", "…: its name is too long"]),
    (_one_class_too_long, ["xxx…: its name is too long"]),
    (_one_too_large, ["Forest/bad.jpg: too large to be a tile (0.0 MB)"]),
    (_twins, ["Forest/Forest_1.jpg: there are two of this name in the archive; the first was taken"]),
    (_twins_but_for_case, ["forest/FOREST_1.JPG: there are two of this name"]),
    (_twins_but_for_the_accent, [": there are two of this name"]),
    (_loose_beside, ["1 picture outside of the class folders was left out"]),
    (_two_trees, ["4 pictures outside of x were left out"]),
    (_line_separators, ["Forest/a?b?c?.jpg: damaged in the archive"]),
    (_impossible_here, ["Forest/what?.jpg: cannot be unpacked here (Invalid argument)"]),
]
EXPECTED = {
    "_two_trees": [f"{name}/{name}_{number}.jpg" for name in "ABC" for number in (1, 2)],
    "_twins_but_for_the_accent": [unicodedata.normalize("NFC", "Forest/é.jpg")],
}


@pytest.mark.parametrize(("make", "words"), PARTLY, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_sound_is_used_and_the_rest_is_named(
    make: Callable[[Path, Patch], bytes], words: list[str], place: Path, monkeypatch: Patch
) -> None:
    (place / "a.zip").write_bytes(make(place, monkeypatch))
    before = snapshot(place.parent, place / "target")
    unpacked = unpack_pictures(place / "a.zip", place / "target")
    monkeypatch.undo()
    assert names_in(unpacked.folder) == EXPECTED.get(make.__name__, GOOD_NAMES)
    assert unpacked.pictures == len(names_in(unpacked.folder))
    assert len(unpacked.problems) == 1
    assert [word for word in words if word not in unpacked.problems[0]] == []
    assert len(unpacked.problems[0].splitlines()) == 1
    assert snapshot(place.parent, place / "target") == before
    if make is _twins:
        assert (unpacked.folder / "Forest" / "Forest_1.jpg").read_bytes() == GOOD[0].content


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
    assert unpacked.problems == ()


def test_a_class_of_which_nothing_is_left_leaves_no_folder(place: Path) -> None:
    write_zip(place / "a.zip", [*GOOD, Entry("SeaLake/a.jpg", jpeg(), crc=1)])
    unpacked = unpack_pictures(place / "a.zip", place / "target")
    assert sorted(each.name for each in unpacked.folder.iterdir()) == ["Forest", "River"]
    assert len(unpacked.problems) == 1


def test_the_larger_of_two_trees_of_as_many_classes_is_taken(place: Path) -> None:
    few = tree_entries(("Forest", "River"), each=1)
    many = tree_entries(("Forest", "River"), each=3, inside="deep/down/")
    write_zip(place / "a.zip", [*few, *many])
    unpacked = unpack_pictures(place / "a.zip", place / "target")
    assert names_in(unpacked.folder) == GOOD_NAMES
    assert unpacked.problems == ("2 pictures outside of deep/down were left out",)


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


# --- whatever the archive ---

TAME = st.sampled_from(
    [
        "Forest",
        "River",
        "outside",
        "target",
        "a.jpg",
        "b.PNG",
        "secret.jpg",
        "nul.jpg",
        "x" * 300,
        "é",
        "e\u0301",
        "🌲.jpg",
    ]
) | st.sampled_from(
    [".", "", " ", "~", "$HOME", "|", "*?.jpg", "... ", "a.jpg ", ".jpg", ".hidden", "__MACOSX", "a:b.jpg"]
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
            unpacked = unpack_pictures(work / "a.zip", target)
        except DataError as error:
            assert len(str(error).splitlines()) == 1
        else:
            found = [path.relative_to(target) for path in target.rglob("*") if not path.is_dir()]
            assert len(found) == unpacked.pictures > 0
            assert all(len(path.parts) == 2 for path in found)
            assert all(len(each.splitlines()) == 1 for each in unpacked.problems)
        # Whether it went well or not: only plain files and folders, and all as it was elsewhere.
        kinds = {stat.S_IFMT(path.lstat().st_mode) for path in target.rglob("*")} if target.exists() else set()
        assert kinds <= {stat.S_IFREG, stat.S_IFDIR}
        assert snapshot(root, target) == before
        monkeypatch.chdir(tmp_path)
