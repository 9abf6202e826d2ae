"""Sorting tiles by average colour."""

from dataclasses import replace

import numpy as np
import pytest

from eurosat_core.data.colour import ColourTest, colour_finding, colour_test
from eurosat_core.data.tile_cache import TileSet


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
        assert found.then[-1].figures == {"true": "Sea or lake", "sorted_to": "Forest"}
    assert colour_finding(test, TITLES, synthetic=True).variant == "synthetic"
