"""Zips of which a part is damaged, strange or left out: what is sound is used, and the rest is named."""

import bz2
import lzma
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_archives import GOOD
from unpacking_place import GOOD_NAMES, names_in, place, snapshot
from zip_makers import DEFLATED, UTF8, Entry, jpeg, tree_entries, write_zip, zip_bytes

from eurosat_core.data import archive as module
from eurosat_core.data.archive import unpack_pictures
from eurosat_core.data.decoding import LeftOut

__all__ = ["place"]  # a fixture of unpacking_place, used here

Patch = pytest.MonkeyPatch


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
    # Inside of its own bytes: newer Pythons refuse a sound picture that another one is said to lie in.
    return zip_bytes([Entry("Forest/bad.jpg", jpeg(), offset=5), *GOOD])


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
    (_loose_beside, ["1 picture outside of the class folders"]),
    (_two_trees, ["4 pictures outside of x"]),
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
    (kind,) = unpacked.left_out
    assert [word for word in words if word not in str(kind)] == []
    assert len(str(kind).splitlines()) == 1
    assert snapshot(place.parent, place / "target") == before
    if make is _twins:
        assert (unpacked.folder / "Forest" / "Forest_1.jpg").read_bytes() == GOOD[0].content


def test_a_class_of_which_nothing_is_left_leaves_no_folder(place: Path) -> None:
    write_zip(place / "a.zip", [*GOOD, Entry("SeaLake/a.jpg", jpeg(), crc=1)])
    unpacked = unpack_pictures(place / "a.zip", place / "target")
    assert sorted(each.name for each in unpacked.folder.iterdir()) == ["Forest", "River"]
    assert len(unpacked.left_out) == 1


def test_the_larger_of_two_trees_of_as_many_classes_is_taken(place: Path) -> None:
    few = tree_entries(("Forest", "River"), each=1)
    many = tree_entries(("Forest", "River"), each=3, inside="deep/down/")
    write_zip(place / "a.zip", [*few, *many])
    unpacked = unpack_pictures(place / "a.zip", place / "target")
    assert names_in(unpacked.folder) == GOOD_NAMES
    assert unpacked.left_out == (LeftOut("pictures outside of deep/down", 2, unreadable=False),)


def test_a_thousand_alike_are_one_line(place: Path) -> None:
    bad = [Entry(f"Forest/bad_{number}.jpg", jpeg(), crc=number) for number in range(1000)]
    write_zip(place / "a.zip", [*GOOD, *bad])
    (kind,) = unpack_pictures(place / "a.zip", place / "target").left_out
    assert (kind.count, kind.example) == (1000, "Forest/bad_0.jpg")
    assert len(str(kind)) < 200


def test_other_files_are_counted_by_their_ending(place: Path) -> None:
    others = [Entry(f"Forest/{number}.gif", b"GIF89a") for number in range(12)]
    beside = [Entry("Forest/notes.txt", b"?"), Entry("Forest/LICENSE", b"?"), Entry("Forest/Thumbs.db", b"?")]
    write_zip(place / "a.zip", [*GOOD, *others, *beside, Entry("readme.md", b"?")])
    left_out = unpack_pictures(place / "a.zip", place / "target").left_out
    assert [str(each) for each in left_out] == ["12 of .gif", "1 of .txt", "1 without an ending"]
    assert not any(each.unreadable for each in left_out)


def test_parts_with_the_same_classes_are_taken_together(place: Path) -> None:
    parts = [
        *tree_entries(("Forest", "River"), each=3, inside="set/train/"),
        *tree_entries(("Forest", "River"), each=1, inside="set/Val/"),
        *tree_entries(("Forest",), each=1, inside="set/test/"),
        *tree_entries(("unknown",), each=2, inside="set/dev/"),
    ]
    write_zip(place / "a.zip", parts)
    unpacked = unpack_pictures(place / "a.zip", place / "target")
    assert unpacked.pictures == 9
    assert {name.split("/")[0] for name in names_in(unpacked.folder)} == {"train", "Val", "test"}
    assert [str(each) for each in unpacked.left_out] == ["2 pictures outside of set"]


def test_of_two_trees_alike_the_jpegs_are_taken(place: Path) -> None:
    """As EuroSAT is passed on: all bands as TIFFs beside the JPEGs."""
    jpegs = tree_entries(("Forest", "River"), each=2, inside="x/EuroSAT/")
    bands = [Entry(f"x/All/{name}/{number}.tif", b"II*") for name in ("Forest", "River") for number in (1, 2)]
    write_zip(place / "a.zip", [*bands, *jpegs])
    assert all(each.endswith(".jpg") for each in names_in(unpack_pictures(place / "a.zip", place / "target").folder))
