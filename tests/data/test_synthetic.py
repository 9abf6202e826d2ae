"""Synthetic tiles: their form, their repeatability, and that mean colour alone does not give the class."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.synthetic import make_tiles


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
