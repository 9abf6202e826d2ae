"""Strange sets of pictures, one a row, as a folder and as a zip alike; and folders that cannot be used at all."""

import builtins
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from acquired_sets import contents
from bad_archives import fail_for
from zip_makers import Entry, jpeg, write_zip, zip_bytes

from eurosat_core.data import decoding, listing
from eurosat_core.data.acquire import import_pictures
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.decoding import LeftOut, Tally, left_out_text
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError
from tests.data.test_strange_pictures import BANDS, LAND
from tests.tiff_makers import make_tiff

Files = dict[str, bytes]
KINDS = ("folder", "zip")


def tree(*names: str, inside: str = "", each: int = 2, ending: str = "jpg", content: bytes | None = None) -> Files:
    """`each` pictures of every class, all with this content; else all different."""
    return {
        f"{inside}{name}/{name}_{number}.{ending}": jpeg(number) if content is None else content
        for name in names
        for number in range(each)
    }


TWO = ("Forest", "River")
DEEP, MANY_BANDS = make_tiff(LAND), make_tiff(BANDS)
DECIMAL = make_tiff(LAND.astype(np.float64), sample_format=3)
Taken = tuple[Files, tuple[str, ...], tuple[str, ...], int]


def taken(files: Files, *said: str, class_names: tuple[str, ...] = TWO, tiles: int = 4) -> Taken:
    """Files, and what comes of them: words of what was left out, the class names and the number of tiles."""
    return files, said, class_names, tiles


TAKEN = {
    "one level down": taken(tree(*TWO, inside="tiles/")),
    "far down": taken(tree(*TWO, inside="ds/images/remote_sensing/sentinel_2/tif/")),
    "JPEGs and all bands, side by side": taken(
        tree(*CLASS_NAMES, inside="EuroSAT/")
        | tree(*CLASS_NAMES, inside="EuroSATallBands/", ending="tif", content=MANY_BANDS),
        *("20 ", "EuroSAT"),
        class_names=CLASS_NAMES,
        tiles=20,
    ),
    "samples beside it": taken(
        tree("docs", "figures", each=1) | tree("Beach", *TWO, inside="tiles/"),
        *("2 ", "tiles"),
        class_names=("Beach", *TWO),
        tiles=6,
    ),
    "train, val and test": taken(
        tree(*TWO, inside="train/", each=3) | tree(*TWO, inside="val/") | tree(*TWO, inside="test/", each=1), tiles=12
    ),
    "train and test in a folder": taken(
        tree(*TWO, inside="set/train/", each=3) | tree(*TWO, inside="set/test/"), tiles=10
    ),
    "a part without one of the classes": taken(tree(*TWO, inside="train/") | tree("Forest", inside="test/"), tiles=6),
    "classes that are called test and train": taken(tree("test", "train"), class_names=("test", "train")),
    "called .jfif": taken(tree(*TWO, ending="jfif")),
    "capital endings": taken(tree(*TWO, ending="JPG")),
    "some of .gif": taken(tree(*TWO) | tree(*TWO, each=6, ending="gif"), "12 ", ".gif"),
    "some of two other endings": taken(
        tree(*TWO) | tree("Forest", each=3, ending="heic") | tree("River", each=1, ending="jp2"),
        *("3 ", ".heic", "1 ", ".jp2"),
    ),
    "an empty class": taken(tree(*TWO) | {"Lake/readme.txt": b"none yet"}, "1 ", ".txt"),
    "a class of another ending": taken(tree(*TWO) | tree("Lake", each=3, ending="gif"), "3 ", ".gif"),
    "hidden files": taken(tree(*TWO) | {"Forest/.a.jpg": jpeg(), ".cache/x/b.jpg": jpeg()}),
    "a Mac’s and a Windows’ own files": taken(
        tree(*TWO)
        | {"__MACOSX/Forest/._Forest_1.jpg": b"\0" * 90, "__MACOSX/River/a.jpg": b"\0"}
        | {"Forest/Thumbs.db": b"x", "River/desktop.ini": b"x", "Forest/.DS_Store": b"x"}
    ),
    "lists and texts beside it": taken(tree(*TWO) | {"labels.csv": b"a,b", "readme.md": b"text"}),
    "long names": taken(tree("F" * 200, "R" * 200, each=1), class_names=("F" * 200, "R" * 200), tiles=2),
    "names with blanks, accents and signs": taken(
        tree("Wald & Wiese", "Fluß 100%"), class_names=("Fluß 100%", "Wald & Wiese")
    ),
    "all bands": taken(tree(*TWO, ending="tif", content=MANY_BANDS)),
    "16 bits": taken(tree(*TWO, ending="tif", content=DEEP)),
    "some that cannot be read": taken(
        tree(*TWO, each=4) | tree(*TWO, each=2, ending="png", content=b"<html>"), "4 × ", "picture", tiles=8
    ),
}

REFUSED: dict[str, tuple[Files, str]] = {
    "one class": (tree("Forest"), "one class"),
    "two classes, one of which cannot be read": (tree("Forest") | tree("River", content=b"<html>"), "picture"),
    "nothing but pages": (tree(*TWO, content=b"<html>"), "picture"),
    "nothing but numbers that are not read": (tree(*TWO, each=30, ending="tif", content=DECIMAL), "64-bit"),
    "hardly anything that can be read": (
        tree(*TWO, each=1) | tree(*TWO, each=40, ending="tif", content=DECIMAL),
        "2 of the 82",
    ),
    "loose pictures": ({"a.jpg": jpeg(1), "b.jpg": jpeg(2)}, "ictures"),
    "another archive": ({"data/EuroSAT.zip": zip_bytes([Entry("Forest/a.jpg", jpeg())])}, "archive"),
    "other endings only": (tree(*TWO, ending="gif"), ".gif"),
    "only a Mac’s copies": ({"__MACOSX/Forest/a.jpg": jpeg(1), "__MACOSX/River/b.jpg": jpeg(2)}, "ictures"),
}


def made(files: Files, kind: str, place: Path) -> Path:
    if kind == "zip":
        return write_zip(place / "set.zip", [Entry(name, content) for name, content in files.items()])
    for name, content in files.items():
        path = place / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return place / "set"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TAKEN)
def test_it_is_taken(name: str, kind: str, tmp_path: Path, cache: Path) -> None:
    files, words, class_names, count = TAKEN[name]
    source = made(files, kind, tmp_path)
    in_place = open_tiles(source, tmp_path / "other")
    imported = open_tiles(import_pictures(source, cache), cache)
    for tiles in (in_place, imported):
        assert (tiles.class_names, len(tiles)) == (class_names, count)
        said = "; ".join(str(each) for each in tiles.problems)
        assert [word for word in words if word not in said or word not in tiles.description] == []
        assert bool(said) == bool(words)
        assert len(tiles.problems) <= 2, "a line for each kind"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_the_earlier_set_stays(
    name: str, kind: str, tmp_path: Path, cache: Path, earlier: Files
) -> None:
    files, words = REFUSED[name]
    with pytest.raises(DataError) as caught:
        import_pictures(made(files, kind, tmp_path), cache)
    sentence = str(caught.value)
    assert words in sentence
    assert (sentence.count("\n"), len(sentence) < 700) == (0, True)
    assert "stay" in sentence or kind == "folder", "that what was there stays is said"
    assert contents(cache / "pictures") == earlier
    assert len(open_tiles(cache / "pictures", cache)) == 6


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
