"""A table of strange sets of pictures: what is taken of each, as a folder and as a zip alike, and what is said."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from acquired_sets import contents
from zip_makers import Entry, jpeg, write_zip, zip_bytes

from eurosat_core.data.acquire import import_pictures
from eurosat_core.data.classes import CLASS_NAMES
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


@dataclass(frozen=True)
class StrangeSet:
    """files, and what comes of them: the class names and the number of tiles; said: words of what was left out."""

    files: Files
    class_names: tuple[str, ...]
    tiles: int
    said: tuple[str, ...] = ()


TWO = ("Forest", "River")
DEEP, MANY_BANDS = make_tiff(LAND), make_tiff(BANDS)
DECIMAL = make_tiff(LAND.astype(np.float64), sample_format=3)

TAKEN = {
    "one level down": StrangeSet(tree(*TWO, inside="tiles/"), TWO, 4),
    "far down": StrangeSet(tree(*TWO, inside="ds/images/remote_sensing/sentinel_2/tif/"), TWO, 4),
    "JPEGs and all bands, side by side": StrangeSet(
        tree(*CLASS_NAMES, inside="EuroSAT/")
        | tree(*CLASS_NAMES, inside="EuroSATallBands/", ending="tif", content=MANY_BANDS),
        CLASS_NAMES,
        20,
        ("20 ", "EuroSAT"),
    ),
    "samples beside it": StrangeSet(
        tree("docs", "figures", each=1) | tree("Beach", *TWO, inside="tiles/"), ("Beach", *TWO), 6, ("2 ", "tiles")
    ),
    "train, val and test": StrangeSet(
        tree(*TWO, inside="train/", each=3) | tree(*TWO, inside="val/") | tree(*TWO, inside="test/", each=1), TWO, 12
    ),
    "train and test in a folder": StrangeSet(
        tree(*TWO, inside="set/train/", each=3) | tree(*TWO, inside="set/test/"), TWO, 10
    ),
    "a part without one of the classes": StrangeSet(
        tree(*TWO, inside="train/") | tree("Forest", inside="test/"), TWO, 6
    ),
    "classes that are called test and train": StrangeSet(tree("test", "train"), ("test", "train"), 4),
    "called .jfif": StrangeSet(tree(*TWO, ending="jfif"), TWO, 4),
    "capital endings": StrangeSet(tree(*TWO, ending="JPG"), TWO, 4),
    "some of .gif": StrangeSet(tree(*TWO) | tree(*TWO, each=6, ending="gif"), TWO, 4, ("12 ", ".gif")),
    "some of two other endings": StrangeSet(
        tree(*TWO) | tree("Forest", each=3, ending="heic") | tree("River", each=1, ending="jp2"),
        TWO,
        4,
        ("3 ", ".heic", "1 ", ".jp2"),
    ),
    "an empty class": StrangeSet(tree(*TWO) | {"Lake/readme.txt": b"none yet"}, TWO, 4, ("1 ", ".txt")),
    "a class of another ending": StrangeSet(tree(*TWO) | tree("Lake", each=3, ending="gif"), TWO, 4, ("3 ", ".gif")),
    "hidden files": StrangeSet(tree(*TWO) | {"Forest/.a.jpg": jpeg(), ".cache/x/b.jpg": jpeg()}, TWO, 4),
    "a Mac’s and a Windows’ own files": StrangeSet(
        tree(*TWO)
        | {"__MACOSX/Forest/._Forest_1.jpg": b"\0" * 90, "__MACOSX/River/a.jpg": b"\0"}
        | {"Forest/Thumbs.db": b"x", "River/desktop.ini": b"x", "Forest/.DS_Store": b"x"},
        TWO,
        4,
    ),
    "lists and texts beside it": StrangeSet(tree(*TWO) | {"labels.csv": b"a,b", "readme.md": b"text"}, TWO, 4),
    "long names": StrangeSet(tree("F" * 200, "R" * 200, each=1), ("F" * 200, "R" * 200), 2),
    "names with blanks, accents and signs": StrangeSet(
        tree("Wald & Wiese", "Fluß 100%"), ("Fluß 100%", "Wald & Wiese"), 4
    ),
    "all bands": StrangeSet(tree(*TWO, ending="tif", content=MANY_BANDS), TWO, 4),
    "16 bits": StrangeSet(tree(*TWO, ending="tif", content=DEEP), TWO, 4),
    "some that cannot be read": StrangeSet(
        tree(*TWO, each=4) | tree(*TWO, each=2, ending="png", content=b"<html>"), TWO, 8, ("4 × ", "not a picture")
    ),
}

REFUSED: dict[str, tuple[Files, str]] = {
    "one class": (tree("Forest"), "Only one class"),
    "two classes, one of which cannot be read": (
        tree("Forest") | tree("River", content=b"<html>"),
        "not a picture",
    ),
    "nothing but pages": (tree(*TWO, content=b"<html>"), "not a picture"),
    "nothing but numbers that are not read": (tree(*TWO, each=30, ending="tif", content=DECIMAL), "64-bit"),
    "hardly anything that can be read": (
        tree(*TWO, each=1) | tree(*TWO, each=40, ending="tif", content=DECIMAL),
        "Only 2 of the 82",
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
    strange = TAKEN[name]
    source = made(strange.files, kind, tmp_path)
    in_place = open_tiles(source, tmp_path / "other")
    imported = open_tiles(import_pictures(source, cache), cache)
    for tiles in (in_place, imported):
        assert (tiles.class_names, len(tiles)) == (strange.class_names, strange.tiles)
        said = "; ".join(str(each) for each in tiles.problems)
        assert [word for word in strange.said if word not in said] == []
        assert bool(said) == bool(strange.said)
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
