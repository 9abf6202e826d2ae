"""Which values are black and which are white: the same for a whole set, and never decided by a few pixels."""

from pathlib import Path

import numpy as np
import pytest

from eurosat_core.data.deep_tiff import FULL_BYTE, Range, in_eight_bits, range_of
from eurosat_core.data.tiles import open_tiles
from tests.tiff_makers import make_tiff

DRAWN = np.random.default_rng(7)


def between(low: float, high: float, dtype: type = np.uint16) -> np.ndarray:
    return DRAWN.uniform(low, high, 30_000).astype(dtype)


@pytest.mark.parametrize(
    ("sample", "low", "high", "reflectance"),
    [
        (between(0, 255, np.uint8), 0, 255, False),
        (between(0, 255), 0, 255, False),  # 8 bits in 16
        (between(0, 9), 0, 8, False),  # a sheet of labels: 255 would make all of it black
        (between(300, 2500), 0, 2750, True),
        (np.concatenate([between(300, 2500), between(8000, 14_000)[:10_000]]), 0, 2750, True),  # clouds
        (between(0, 4095), 0, 2750, True),  # of 12 bits: as bright as reflectances
        (between(6000, 15_000), 0, 16_383, False),  # snow alone
        (between(0, 65_535), 0, 65_535, False),
        (between(0.02, 0.25, np.float32), 0, 0.275, True),
        (between(0, 1, np.float32), 0, 1, False),
        (between(0, 255, np.float32), 0, 255, False),
        (between(300, 2500, np.float32), 0, 2750, True),
        (between(0, 0.004, np.float32), 0, 0.00392, False),
        (np.zeros(100, np.uint16), 0, 1, False),
        (np.zeros(0, np.uint16), 0, 2750, True),
    ],
)
def test_the_range_fits_the_values(sample: np.ndarray, low: float, high: float, reflectance: bool) -> None:
    found = range_of(sample)
    assert found.low == low
    assert found.high == pytest.approx(high, rel=0.02)
    assert found.reflectance == reflectance


def test_decibels_have_a_range_of_their_own() -> None:
    found = range_of(between(-22, -4, np.float32))
    assert found.low == pytest.approx(-21.6, abs=0.3)
    assert found.high == pytest.approx(-4.4, abs=0.3)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("value", [60_000, 18_974])
def test_a_glint_decides_nothing(dtype: type, value: int) -> None:
    plain = between(300, 2500, dtype)
    bright = plain.copy()
    bright[:200] = value
    assert range_of(plain) == range_of(bright)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sample", [np.full(10, 3e38, np.float32), np.array([-3e38, 3e38], np.float32)])
def test_the_largest_numbers_do_no_harm(sample: np.ndarray) -> None:
    values = np.repeat(sample[:1, None, None], 3, axis=2)
    with np.errstate(over="ignore"):
        assert in_eight_bits(values, range_of(sample)).shape == (1, 1, 3)


def test_values_become_bytes() -> None:
    values = np.array([[[0, 1375, 2750]], [[9999, 27, 65_535]]], dtype=np.uint16)
    shown = Range(0, 2750)
    assert in_eight_bits(values, shown).tolist() == [[[0, 128, 255]], [[255, 3, 255]]]
    assert in_eight_bits(values, shown, np.array([[True], [False]])).tolist() == [[[0, 128, 255]], [[0, 0, 0]]]
    eight = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(in_eight_bits(eight, FULL_BYTE), eight)
    assert in_eight_bits(eight, FULL_BYTE) is not eight


@pytest.mark.parametrize(("dtype", "unit"), [(np.uint16, 1.0), (np.float32, 1e-4)])
def test_a_set_has_one_scale(dtype: type, unit: float, tmp_path: Path) -> None:
    """A dark class stays darker than a bright one, in each of its tiles."""
    for name, most in (("Sea", 400), ("Field", 2400)):
        for number in range(4):
            path = tmp_path / "set" / name / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = (DRAWN.uniform(0, most, (64, 64, 3)) * unit).astype(dtype)
            path.write_bytes(make_tiff(values, sample_format=1 if dtype is np.uint16 else 3))
    tiles = open_tiles(tmp_path / "set", tmp_path / "cache")
    means = tiles.array.mean(axis=(1, 2, 3))
    assert means[:4] == pytest.approx(111, abs=3)  # of 2,750, half of 2,400
    assert means[4:] == pytest.approx(18.5, abs=1)
    (note,) = tiles.notes
    assert "shown as 0 to 255" in note and note in tiles.description
