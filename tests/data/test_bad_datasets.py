"""Folders that cannot be used, and pictures that cannot be read, each with the words of its sentence."""

import builtins
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_archives import fail_for
from zip_makers import jpeg

from eurosat_core.data import decoding, listing
from eurosat_core.data.decoding import LeftOut, Tally, left_out_text
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError

Patch = pytest.MonkeyPatch
SavePicture = Callable[..., Path]
DENIED = PermissionError(13, "Permission denied")
NONE_FOUND = "No pictures"


def two(*names: str, content: bytes | None = None) -> dict[str, bytes]:
    """Files of these names in each of two classes."""
    return {
        f"{folder}/{name}": jpeg() if content is None else content for folder in ("Forest", "River") for name in names
    }


# The files of each folder, and the words of its sentence.
FOLDERS: dict[str, tuple[dict[str, bytes], list[str]]] = {
    "empty": ({}, [NONE_FOUND, "per class"]),
    "loose pictures": ({"a.jpg": jpeg(), "b.jpg": jpeg()}, [NONE_FOUND, "Forest/Forest_1.jpg"]),
    "no pictures": (two("notes.txt", content=b"no picture"), [NONE_FOUND]),
    "one class": ({"Forest/a.jpg": jpeg(), "River/.keep": b""}, ["one class", "Forest"]),
    "one class deep": ({"eurosat/2750/Forest/a.jpg": jpeg()}, ["one class", "2750"]),
    "pictures too deep": (
        {f"a/b/c/d/e/f/g/h/{name}": content for name, content in two("a.jpg").items()},
        [NONE_FOUND, "per class"],
    ),
    "only an archive": ({"EuroSAT.zip": b"PK"}, [NONE_FOUND, "EuroSAT.zip"]),
    "only other pictures": (two("1.gif", "2.gif", "3.gif", content=b"GIF89a"), [NONE_FOUND, "6 of .gif"]),
    "too many classes": (
        {f"class{number}/a.jpg": jpeg() for number in range(101)},
        ["101 folders", "at most 100"],
    ),
    "too many pictures": (two("a.jpg", "b.jpg"), ["4 pictures", "at most 3"]),
    "nothing readable": (
        two("a.jpg", content=b"<html>not found</html>"),
        ["None of the 2", "Forest/a.jpg"],
    ),
    "only broken links": (two("a.jpg"), [NONE_FOUND]),
    "forbidden": (two("a.jpg"), ["permission"]),
    "a file": ({"": b"no folder"}, ["not a zip"]),
    "missing": ({}, ["no folder", "typo"]),
    "endless name": ({}, ["no folder"]),
}
INSIDE = {"missing": "typo", "endless name": "x" * 300}  # what is named of such a folder


@pytest.mark.parametrize("name", FOLDERS)
def test_bad_folder_gets_a_sentence(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    files, words = FOLDERS[name]
    place = tmp_path / "place"
    if "" not in files:
        place.mkdir()
    for file, content in files.items():
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        if "links" in name:
            (place / file).symlink_to(place / "moved away.jpg")
        else:
            (place / file).write_bytes(content)
    if name == "too many pictures":
        monkeypatch.setattr(listing, "_MAX_PICTURES", 3)
    if name == "forbidden":
        fail_for(monkeypatch, os, "scandir", DENIED, lambda _path: True)
    with pytest.raises(DataError) as caught:
        open_tiles(place / INSIDE.get(name, ""), tmp_path / "cache")
    monkeypatch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert "\n" not in sentence
    assert list(tmp_path.glob("cache/tiles-*/")) == []
    assert list(tmp_path.glob("cache/making-*")) == []


PICTURES: dict[str, tuple[Callable[[Path, Patch], object], str]] = {
    "empty": (lambda path, _patch: path.write_bytes(b""), "empty"),
    "text": (lambda path, _patch: path.write_text("<html>not found</html>"), "picture"),
    "cut short": (lambda path, _patch: path.write_bytes(path.read_bytes()[:800]), "cut short"),
    "only a header": (
        lambda path, _patch: path.write_bytes(path.read_bytes()[:20]),
        "damaged|not a",
    ),
    "too large": (
        lambda _path, patch: patch.setattr(decoding, "_MAX_PIXELS", 64 * 64 - 1),
        r"too large \(64×64 pixels\)",
    ),
    "a bomb": (
        lambda _path, patch: patch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 64 * 64 // 2 - 1),
        "too large",
    ),
    "forbidden": (
        lambda path, patch: fail_for(patch, builtins, "open", DENIED, lambda each: each == path),
        "no permission",
    ),
    "gone": (lambda path, _patch: path.unlink(), "gone"),
}


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("name", PICTURES)
def test_bad_picture_gets_a_reason(
    name: str, suffix: str, save_picture: SavePicture, tmp_path: Path, monkeypatch: Patch
) -> None:
    spoil, words = PICTURES[name]
    path = save_picture(tmp_path / f"tile.{suffix}")
    spoil(path, monkeypatch)
    with pytest.raises(DataError, match=words):
        decoding.decode_picture(path)


# --- what a set does without: one line for each kind ---


def test_those_of_a_kind_are_counted_and_the_first_is_the_example() -> None:
    tally = Tally(LeftOut("damaged", 1, f"A/{number}.jpg", f" ({number})") for number in range(27_000))
    for number in (2, 3):
        tally.add(LeftOut("of .gif", number, unreadable=False))
    found = [LeftOut("damaged", 27_000, "A/0.jpg", " (0)"), LeftOut("of .gif", 5, unreadable=False)]
    assert list(tally) == found
    assert tally.count == 27_005
    assert all(each in str(found[0]) for each in ("27,000", "A/0.jpg", "(0)")) and str(found[1]) == "5 of .gif"


def test_the_most_frequent_come_first_and_the_text_is_short() -> None:
    tally = Tally(LeftOut(f"of .{letter}", number, unreadable=False) for number, letter in enumerate("abcdefgh", 1))
    assert left_out_text(tally, ", ").startswith("8 of .h, 7 of .g, 6 of .f, 15 ")
    assert left_out_text([]) == ""
