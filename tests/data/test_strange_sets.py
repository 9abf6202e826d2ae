"""A table of strange sets of pictures: what is taken of each, as a folder and as a zip alike, and what is said."""

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
