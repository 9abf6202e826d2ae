"""Statistics of all tiles against plain NumPy in double precision."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.charts import tiles as frames
from eurosat_core.charts.tiles import AXES, axis_values, class_histogram_frame, scatter_frame, tiles_in_box
from eurosat_core.data.pictures import class_titles
from eurosat_core.data.statistics import (
    BINS,
    ColourTest,
    Statistics,
    colour_finding,
    colour_test,
    join_statistics,
    load_statistics,
    near_uniform,
    part_statistics,
    unusualness,
)
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError


def some_tiles(count: int, seed: int = 0, side: int = 64) -> np.ndarray:
    generator = np.random.default_rng(seed)
    middle = generator.integers(0, 256, (count, 1, 1, 3))
    noise = generator.normal(0, generator.uniform(0, 60, (count, 1, 1, 1)), (count, side, side, 3))
    return (middle + noise).clip(0, 255).astype(np.uint8)


@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 12), max_size=3))
def test_parts_join_to_what_numpy_says_of_all(seed: int, cuts: list[int]) -> None:
    pixels, labels = some_tiles(12, seed, side=8), np.sort(np.random.default_rng(seed).integers(0, 3, 12))
    edges = [0, *sorted(cuts), 12]
    parts = [part_statistics(pixels[a:b], labels[a:b]) for a, b in itertools.pairwise(edges)]
    counts = np.bincount(labels, minlength=4).tolist()
    found = join_statistics(parts, counts, side=8)
    exact = pixels.astype(np.float64)
    assert np.allclose(found.means, exact.mean(axis=(1, 2)), atol=1e-3)
    assert np.allclose(found.deviations, exact.std(axis=(1, 2)), atol=1e-3)
    for label, count in enumerate(counts):
        own = exact[labels == label]
        assert np.allclose(found.class_tiles[label], own.mean(axis=0) if count else 0, atol=1e-3)
        for channel in range(3):
            oracle = np.histogram(own[..., channel], np.linspace(0, 256, BINS + 1))[0]
            assert found.histograms[label, channel].tolist() == oracle.tolist()


def test_a_uniform_tile_has_no_deviation_at_any_brightness() -> None:
    pixels = np.repeat(np.arange(256, dtype=np.uint8), 64 * 64 * 3).reshape(256, 64, 64, 3)
    found = part_statistics(pixels, np.zeros(256, dtype=np.int64))
    assert np.abs(found.deviations).max() < 1e-2
    assert np.allclose(found.means[:, 0], np.arange(256), atol=1e-3)


def test_left_out_pictures_are_not_counted(small_folder: Callable[..., Path], tmp_path: Path) -> None:
    place = small_folder(tmp_path / "place")
    (place / "Forest" / "Forest_1.jpg").write_bytes(b"")
    tiles = open_tiles(place, tmp_path / "cache")
    assert len(tiles.statistics.means) == len(tiles) == 6
    forest = tiles.array[:3].astype(np.float64).mean(axis=0)
    assert np.allclose(tiles.statistics.class_tiles[0], forest, atol=1e-3)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:200])])
def test_an_entry_with_damaged_statistics_is_made_anew(
    spoil: Callable[[Path], object], small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    place = small_folder(tmp_path / "place")
    tiles = open_tiles(place, tmp_path / "cache")
    spoil(tiles.cache / "statistics.npz")
    assert np.array_equal(open_tiles(place, tmp_path / "cache").statistics.means, tiles.statistics.means)


def test_an_open_set_does_not_need_the_file_any_more(small_folder: Callable[..., Path], tmp_path: Path) -> None:
    tiles = open_tiles(small_folder(tmp_path / "place"), tmp_path / "cache")
    (tiles.cache / "statistics.npz").unlink()
    assert len(tiles.statistics.means) == len(tiles)


def few() -> Statistics:
    pixels = some_tiles(6)
    labels = np.array([0, 0, 0, 1, 1, 1])
    return join_statistics([part_statistics(pixels, labels)], [3, 3], 64)


def test_a_file_gives_back_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "statistics.npz", **vars(few()))
    found = load_statistics(tmp_path / "statistics.npz", 6, 2)
    for name, values in vars(few()).items():
        assert np.array_equal(getattr(found, name), values)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"nonsense"),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: np.savez(path, means=np.zeros(3)),
        lambda path: np.savez(path, **vars(join_statistics([], [0, 0], 64))),
    ],
)
def test_a_damaged_file_gets_a_sentence(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    np.savez(path, **vars(few()))
    spoil(path)
    with pytest.raises(DataError, match="statistics"):
        load_statistics(path, 6, 2)


def test_typical_tiles_lie_in_the_middle_of_their_class() -> None:
    pixels = some_tiles(40, seed=3)
    pixels[7] = 255  # nothing else is so bright and so flat
    statistics = join_statistics([part_statistics(pixels, np.zeros(40, dtype=np.int64))], [40], 64)
    members = np.arange(40)
    distance = unusualness(statistics, members)
    exact = pixels.astype(np.float64)
    figures = np.concatenate([exact.mean(axis=(1, 2)), exact.std(axis=(1, 2))], axis=1)
    oracle = np.sqrt((((figures - figures.mean(0)) / figures.std(0)) ** 2).sum(1))
    assert np.allclose(distance, oracle, atol=1e-3)
    assert distance[7] > np.median(distance)
    assert unusualness(statistics, np.array([5])).tolist() == [0.0]


def test_near_uniform_tiles_are_found_most_uniform_first() -> None:
    pixels = some_tiles(6, seed=1)
    generator = np.random.default_rng(0)
    for number, spread in ((2, 2.0), (4, 1.0)):
        pixels[number] = (100 + generator.normal(0, spread, (64, 64, 3))).astype(np.uint8)
    pixels[[0, 1, 3, 5], :32] = 0
    pixels[[0, 1, 3, 5], 32:] = 200
    statistics = join_statistics([part_statistics(pixels, np.zeros(6, dtype=np.int64))], [6], 64)
    assert near_uniform(statistics).tolist() == [4, 2]


# --- how far colour alone gets ---


def test_classes_that_differ_in_colour_are_sorted(small_tiles: TileSet) -> None:
    result = colour_test(small_tiles.statistics.means, small_tiles.labels.numpy(), small_tiles.class_names)
    assert result is not None
    assert result.accuracy == 1
    assert result.chance == 0.25
    assert result.confused is None
    assert result.tiles == 25 + 30 + 20 + 25


def test_classes_of_one_colour_come_out_at_chance() -> None:
    means = np.random.default_rng(0).normal(128, 1, (400, 3)).astype(np.float32)
    result = colour_test(means, np.arange(400) % 4, ("a", "b", "c", "d"))
    assert result is not None
    assert result.accuracy == pytest.approx(0.25, abs=0.12)
    assert result.confused is not None


def test_the_same_for_the_same_seed(small_tiles: TileSet) -> None:
    arguments = (small_tiles.statistics.means, small_tiles.labels.numpy(), small_tiles.class_names)
    assert colour_test(*arguments, per_class=10) == colour_test(*arguments, per_class=10)


def test_none_when_there_is_nothing_to_compare() -> None:
    means = np.zeros((3, 3), dtype=np.float32)
    assert colour_test(means, np.array([0, 0, 1]), ("a", "b")) is None


TITLES = {"Forest": "Forest", "SeaLake": "Sea or lake"}
HALF = ColourTest(500, 0.5, 0.1, {}, ("SeaLake", "Forest", 20))


@pytest.mark.parametrize(
    ("test", "kinds"),
    [
        (HALF, ["confused"]),
        (replace(HALF, accuracy=0.11), ["no_better", "confused"]),
        (ColourTest(500, 1.0, 0.1, {}, None), ["enough"]),
    ],
)
def test_each_outcome(test: ColourTest, kinds: list[str]) -> None:
    found = colour_finding(test, TITLES, synthetic=False)
    assert (found.name, found.figures) == (
        "colour.sorted.real",
        {"accuracy": test.accuracy, "tiles": 500, "chance": 0.1},
    )
    assert [each.kind for each in found.then] == kinds
    if kinds[-1] == "confused":
        assert found.then[-1].figures == {"true": TITLES["SeaLake"], "sorted_to": TITLES["Forest"]}
    assert colour_finding(test, TITLES, synthetic=True).variant == "synthetic"


# --- tables for charts ---


@pytest.mark.parametrize("axis", AXES)
def test_every_axis_is_what_its_name_says(axis: str, small_tiles: TileSet) -> None:
    exact = small_tiles.array.astype(np.float64)
    red, green, blue = exact.mean(axis=(1, 2)).T
    oracle = {
        "brightness": exact.mean(axis=(1, 2, 3)),
        "contrast": exact.std(axis=(1, 2)).mean(axis=1),
        "red": red,
        "green": green,
        "blue": blue,
        "greenness": green - (red + blue) / 2,
        "blueness": blue - red,
    }[axis]
    assert np.allclose(axis_values(small_tiles.statistics, axis), oracle, atol=0.06)


def test_every_tile_is_a_point_of_its_class(small_tiles: TileSet) -> None:
    frame = scatter_frame(small_tiles, "red", "blue")
    titles = class_titles(small_tiles.class_names).values()
    assert frame["class"].value_counts().to_dict() == dict(zip(titles, (50, 60, 40, 50), strict=True))
    forest = np.sort(frame.loc[frame["class"] == "Forest", "x"].to_numpy())
    numbers = np.flatnonzero(small_tiles.labels.numpy() == 1)
    assert np.array_equal(forest, np.sort(axis_values(small_tiles.statistics, "red")[numbers]))
    assert frame["class"].iloc[:50].nunique() > 1  # no class lies on top


def test_a_box_holds_the_tiles_within_it_nearest_first(small_tiles: TileSet) -> None:
    red, blue = (axis_values(small_tiles.statistics, axis) for axis in ("red", "blue"))
    box = {"x": [float(np.quantile(red, 0.2)), float(np.quantile(red, 0.7))], "y": [float(blue.min()), 130.0]}
    found = tiles_in_box(small_tiles, "red", "blue", box)
    inside = (red >= box["x"][0]) & (red <= box["x"][1]) & (blue <= 130)
    assert sorted(found.tolist()) == np.flatnonzero(inside).tolist()
    middle = np.mean(box["x"]), np.mean(box["y"])
    size = np.ptp(box["x"]), np.ptp(box["y"])
    far = ((red[found] - middle[0]) / size[0]) ** 2 + ((blue[found] - middle[1]) / size[1]) ** 2
    assert (np.diff(far) >= -1e-6).all()


@pytest.mark.parametrize("box", [{"x": ["a", "b"]}, {"x": [1.0]}, {"y": None}, {"x": [5, 4]}])
def test_a_box_that_says_nothing_holds_nothing(box: dict[str, object], small_tiles: TileSet) -> None:
    assert len(tiles_in_box(small_tiles, "red", "blue", box)) == 0
    assert len(tiles_in_box(small_tiles, "red", "blue", {})) == 200, "no box at all"


def test_histograms_of_classes_sum_to_one(small_tiles: TileSet) -> None:
    frame = class_histogram_frame(small_tiles, ("Forest", "River"))
    assert len(frame) == 2 * 3 * BINS
    assert np.allclose(frame.groupby(["name", "channel"])["share"].sum(), 1)
    assert tuple(frame["channel"].unique()) == frames.CHANNELS
