"""Tile sets, synthetic ones too: their pixels and labels are torchvision's, and what is unreadable is named."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import Resize

from eurosat_core.data import tile_cache as module
from eurosat_core.data.classes import CLASS_COLOURS, CLASS_NAMES, CLASSES, EUROSAT_TILES, colours_for
from eurosat_core.data.decoding import decode_picture
from eurosat_core.data.synthetic import make_tiles
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import DataError
from eurosat_core.settings import Settings

SmallFolder = Callable[..., Path]
SavePicture = Callable[..., Path]


def torchvision_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(Resize((64, 64))(picture.convert("RGB")))


# --- what is in a TileSet ---


def test_pixels_and_labels_are_torchvisions(place: Path, cache: Path) -> None:
    tiles = open_tiles(place, cache)
    oracle = ImageFolder(str(place))
    assert len(tiles) == len(oracle) == 7
    assert tiles.labels.tolist() == oracle.targets
    assert tiles.counts == {"Forest": 4, "River": 3}
    assert (tiles.pixels.dtype, tiles.labels.dtype) == (torch.uint8, torch.int64)
    for number, (path, _) in enumerate(oracle.samples):
        assert np.array_equal(tiles.array[number], torchvision_pixels(Path(path)))


@pytest.mark.parametrize("size", [(1, 1), (63, 64), (65, 64), (200, 31), (64, 128)])
def test_odd_sizes_are_resized_as_torchvision_does(
    size: tuple[int, int], place: Path, cache: Path, save_picture: SavePicture
) -> None:
    path = save_picture(place / "Forest" / "a.png", size=size)
    tiles = open_tiles(place, cache)
    assert tiles.resized == 1
    assert np.array_equal(tiles.array[tiles.names.index("Forest/a.png")], torchvision_pixels(path))


# --- unreadable pictures ---


def test_unreadable_pictures_are_left_out_and_named(place: Path, cache: Path) -> None:
    (place / "Forest" / "Forest_2.jpg").write_bytes(b"")
    cut = place / "River" / "River_1.jpg"
    cut.write_bytes(cut.read_bytes()[:700])
    tiles = open_tiles(place, cache)
    assert tiles.counts == {"Forest": 3, "River": 2}
    assert tiles.names[1] == "Forest/Forest_3.jpg"
    assert np.array_equal(tiles.array[1], torchvision_pixels(place / "Forest" / "Forest_3.jpg"))
    assert np.array_equal(tiles.array[3], torchvision_pixels(place / "River" / "River_2.jpg"))
    assert [each.unreadable for each in tiles.problems] == [True, True]
    assert [each.example for each in tiles.problems] == ["Forest/Forest_2.jpg", "River/River_1.jpg"]
    assert all(each.example in tiles.description for each in tiles.problems)


def test_a_class_without_readable_pictures_stays_a_class(place: Path, cache: Path) -> None:
    for path in (place / "Forest").iterdir():
        path.write_bytes(b"")
    tiles = open_tiles(place, cache)
    assert tiles.counts == {"Forest": 0, "River": 3}
    assert tiles.labels.tolist() == [1, 1, 1]
    (kind,) = tiles.problems
    assert (kind.count, kind.example) == (4, "Forest/Forest_1.jpg")


def test_many_kinds_of_damage_are_few_words(place: Path, cache: Path) -> None:
    for number in range(60):  # the figures in what Pillow says differ from file to file
        picture = (place / "River" / "River_1.jpg").read_bytes()
        (place / "River" / f"cut_{number}.jpg").write_bytes(picture[: 640 + number])
        (place / "River" / f"empty_{number}.jpg").write_bytes(b"")
        (place / "River" / f"page_{number}.png").write_text("<html>")
        (place / "River" / f"long_{number}.jpg").mkdir()
    tiles = open_tiles(place, cache)
    assert len(tiles) == 7
    assert sum(each.count for each in tiles.problems) == 180
    assert len(tiles.problems) <= 3
    assert len(tiles.description) < 600


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(data=st.data(), suffix=st.sampled_from(["jpg", "png", "tif", "bmp", "webp"]))
def test_any_damage_is_a_reason_or_a_picture(
    data: st.DataObject, suffix: str, save_picture: SavePicture, tmp_path: Path
) -> None:
    path = save_picture(tmp_path / f"a.{suffix}")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(content) - 1, 400)) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        pixels, _ = decode_picture(path)
    except DataError as error:
        assert str(error)
    else:
        assert pixels.shape == (64, 64, 3)


# --- the description ---


@pytest.fixture
def eurosat(small_folder: SmallFolder, tmp_path: Path, cache: Path) -> TileSet:
    return open_tiles(small_folder(tmp_path / "ten", dict.fromkeys(CLASS_NAMES, 1)), cache)


@pytest.mark.parametrize(("count", "of"), [(27_000, False), (24_300, True)])
def test_eurosat_says_what_is_missing(eurosat: TileSet, count: int, of: bool) -> None:
    said = replace(eurosat, names=("tile",) * count).description
    assert said.startswith(f"{count:,}") and ("of 27,000" in said) == of


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([*CLASS_NAMES[:8], "SeaLake"], ["River"]),
        (CLASS_NAMES[2:], ["AnnualCrop", "Forest"]),
        ([*CLASS_NAMES, "Clouds"], ["Clouds"]),
        ([*CLASS_NAMES[1:], "Snow"], ["AnnualCrop", "Snow"]),
        (["Forest", "Lake", "River"], []),
    ],
)
def test_missing_and_extra_classes_are_said(
    names: list[str], told: list[str], small_folder: SmallFolder, tmp_path: Path, cache: Path
) -> None:
    place = small_folder(tmp_path / "place", dict.fromkeys(names, 1))
    _, figures, rest = open_tiles(place, cache).description.partition(f"{len(names)} tiles in {len(names)} classes")
    found = rest.replace(str(place), "")
    assert figures and [each for each in (*CLASS_NAMES, "Clouds", "Snow", "Lake") if each in found] == told


def test_synthetic_tiles_say_so(cache: Path, monkeypatch: pytest.MonkeyPatch, decodings: list[Path]) -> None:
    labels = np.repeat(np.arange(10), 2)
    pixels = np.zeros((20, 64, 64, 3), dtype=np.uint8)
    monkeypatch.setattr(module.synthetic, "make_tiles", lambda: (pixels, labels))
    tiles = open_tiles(None, cache)
    assert (tiles.source, tiles.place) == ("synthetic", "")
    assert tiles.labels.tolist() == labels.tolist()
    assert tiles.class_names == CLASS_NAMES
    assert tiles.description.startswith("20 synthetic tiles")
    assert "no real" in tiles.description
    open_tiles(None, cache)
    assert len(decodings) == 1


# --- where tiles are looked for ---


def test_find_place_takes_the_first_of_named_variable_default(small_folder: SmallFolder, tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", small_folder(tmp_path / "full")
    named, variable = Path("named"), Path("variable")
    settings = Settings(tmp_path, tmp_path, data=variable, default_data=(empty, full))
    assert find_place(named, settings) == named
    assert find_place(None, settings) == variable  # taken even if nothing is there: opening it says so
    assert find_place(None, replace(settings, data=None)) == full
    assert find_place(None, replace(settings, data=None, default_data=(empty,))) is None


@pytest.fixture(scope="module")
def tiles() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return make_tiles(600, seed=0)


def test_shape_type_and_range(tiles: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> None:
    pixels, labels = tiles
    assert pixels.shape == (600, 64, 64, 3)
    assert pixels.dtype == np.uint8
    assert labels.shape == (600,)
    assert labels.dtype == np.int64
    # Neither burnt out nor black: almost no pixel at the ends of the range.
    assert np.mean((pixels == 0) | (pixels == 255)) < 0.03


@pytest.mark.parametrize("count", [10, 37, 120])
def test_balanced_and_sorted_by_class(count: int) -> None:
    pixels, labels = make_tiles(count)
    per_class = np.bincount(labels, minlength=len(CLASS_NAMES))
    assert len(pixels) == len(labels) == per_class.sum() == count
    assert per_class.max() - per_class.min() <= 1
    assert (np.diff(labels) >= 0).all()


def test_the_seed_decides_every_bit() -> None:
    for first, second in zip(make_tiles(120, seed=7), make_tiles(120, seed=7), strict=True):
        np.testing.assert_array_equal(first, second)
    first, second = make_tiles(20, seed=0)[0], make_tiles(20, seed=1)[0]
    assert not any(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_no_tile_occurs_twice(tiles: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> None:
    pixels, _ = tiles
    assert len({tile.tobytes() for tile in pixels}) == len(pixels)


@pytest.mark.parametrize("count", [9, 0, -1])
def test_too_few_tiles_get_a_sentence(count: int) -> None:
    with pytest.raises(ValueError, match=rf"10, .*got {count}\.$"):
        make_tiles(count)


def test_colour_helps_but_does_not_decide(tiles: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> None:
    """Nearest class mean in mean RGB: a model has to look at structure to do better."""
    pixels, labels = tiles
    colours = pixels.mean(axis=(1, 2))
    train, held_out = np.arange(0, len(labels), 2), np.arange(1, len(labels), 2)
    means = np.stack([colours[train][labels[train] == label].mean(axis=0) for label in range(10)])
    distances = np.linalg.norm(colours[held_out, None] - means, axis=-1)
    accuracy = np.mean(distances.argmin(axis=1) == labels[held_out])
    assert 0.2 < accuracy < 0.7


def test_classes_are_the_published_ones() -> None:
    assert {each.name: each.tiles for each in CLASSES} == {
        "AnnualCrop": 3000,
        "Forest": 3000,
        "HerbaceousVegetation": 3000,
        "Highway": 2500,
        "Industrial": 2500,
        "Pasture": 2000,
        "PermanentCrop": 2500,
        "Residential": 3000,
        "River": 2500,
        "SeaLake": 3000,
    }
    assert EUROSAT_TILES == 27_000
    assert list(CLASS_NAMES) == sorted(CLASS_NAMES)


def test_ten_different_colours() -> None:
    assert len(set(CLASS_COLOURS)) == len(CLASSES)
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in CLASS_COLOURS)


def test_a_class_keeps_its_colour_in_any_set() -> None:
    colours = colours_for(("Beach", "Forest", "SeaLake"))
    own = dict(zip(CLASS_NAMES, CLASS_COLOURS, strict=True))
    assert (colours["Forest"], colours["SeaLake"]) == (own["Forest"], own["SeaLake"])
    assert colours["Beach"] in CLASS_COLOURS
    assert len(colours_for(tuple(f"class {number}" for number in range(25)))) == 25, "more than there are colours"
