"""TIFFs of many bands and of 16 bits, in every way that programs lay them out, against the array they were made of; and
which values are black and which are white: the same for a whole set, and never decided by a few pixels.
"""

import io
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eurosat_core.data.deep_tiff import (
    BAND_ORDERS,
    FIRST_THREE,
    FULL_BYTE,
    Range,
    in_eight_bits,
    range_of,
    read_bands,
    tiff_layout,
)
from eurosat_core.data.tiles import open_tiles
from eurosat_core.data.uploads import read_picture
from eurosat_core.errors import DataError
from tests.tiff_makers import DEFLATE, make_tiff, pillow_lzw


def values(bands: int, height: int = 40, width: int = 50, dtype: type = np.uint16) -> np.ndarray:
    highest = 4000 if dtype == np.uint16 else 250
    return np.random.default_rng(bands).integers(0, highest, (height, width, bands)).astype(dtype)


def three(content: bytes, order: str = FIRST_THREE) -> np.ndarray:
    layout = tiff_layout(content)
    assert layout is not None
    return read_bands(layout, BAND_ORDERS[order])[0]


PLAIN = [(1, None, 1), (8, DEFLATE, 1)]
WHOLE = [*PLAIN, (8, DEFLATE, 2), (5, pillow_lzw, 1), (5, pillow_lzw, 2)]
SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
PACKED = [  # the kind of numbers, and how they are compressed
    *((dtype, *how) for dtype in (np.uint8, np.uint16) for how in WHOLE),
    *((dtype, *how) for dtype in (np.int16, np.int32, np.uint32) for how in PLAIN),
    *((dtype, *how) for dtype in (np.float16, np.float32) for how in (*PLAIN, (8, DEFLATE, 3))),
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [0, 16, 64])
@pytest.mark.parametrize(("dtype", "compression", "pack", "predictor"), PACKED)
def test_thirteen_bands_in_every_layout(order, planar, tile, dtype, compression, pack, predictor) -> None:
    kind = np.dtype(dtype).kind
    made = values(13, dtype=np.uint8 if dtype == np.uint8 else np.uint16).astype(np.float64)
    made = (made * 1e-4 if kind == "f" else made - 1000 if kind == "i" else made).astype(dtype)
    content = make_tiff(
        made,
        order=order,
        planar=planar,
        tile=tile,
        compression=compression,
        pack=pack,
        predictor=predictor,
        sample_format=SAMPLE_FORMATS[kind],
    )
    found = three(content, "4, 3 and 2")
    assert found.dtype == (dtype if dtype in (np.uint8, np.uint16) else np.float32)
    np.testing.assert_array_equal(found, made[..., [3, 2, 1]])


@given(
    st.integers(8, 70),
    st.integers(8, 70),
    st.sampled_from([1, 2, 3, 4, 5, 6, 10]),
    st.sampled_from([0, 16, 32]),
    st.integers(1, 30),
    st.booleans(),
)
def test_any_size(height: int, width: int, bands: int, tile: int, rows: int, planar: bool) -> None:
    made = values(bands, height, width)
    content = make_tiff(made, planar=planar, tile=tile, rows=rows, compression=8, pack=DEFLATE, predictor=2)
    expected = made[..., :3] if bands >= 3 else np.repeat(made[..., :1], 3, axis=2)
    np.testing.assert_array_equal(three(content), expected)


@pytest.mark.parametrize("options", [{"compression": "tiff_adobe_deflate"}, {"big_tiff": True}], ids=str)
def test_a_16_bit_tiff_of_pillow(options: dict[str, object]) -> None:
    made = values(1)[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(made).save(buffer, format="TIFF", **options)
    assert buffer.getvalue()[2] == (43 if "big_tiff" in options else 42)
    np.testing.assert_array_equal(three(buffer.getvalue()), np.repeat(made[..., None], 3, axis=2))


@pytest.mark.hostile
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the same damage
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (make_tiff(np.ones((16, 16, 3), np.uint64), sample_format=6), "type"),
        (make_tiff(values(3, dtype=np.uint8), tag_262=(32_844,)), "not read"),
        (make_tiff(values(3, dtype=np.uint8), tag_259=(34_712,)), "compressed"),
        (make_tiff(values(3), tag_258=(12, 12, 12)), "sizes"),
        (make_tiff(values(3), tag_317=(3,)), "damaged"),
        (make_tiff(values(3), tag_317=(9,)), "compressed"),
        (make_tiff(values(5, dtype=np.uint8), tag_259=(7,)), "compressed"),
        (make_tiff(values(13), tag_256=(4000,), tag_257=(3000,)), "red, green and blue"),
        (make_tiff(values(3), compression=8, pack=lambda data: data[:100]), "damaged"),
        *((content, "") for content in (b"II+\0" + b"\0" * 60, b"II*\0\x08\0\0\0", b"MM\0*\xff\xff\xff\xff", b"II*\0")),
        (make_tiff(values(3), tag_277=(0,)), ""),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(content: bytes, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_picture(content)
    assert words in str(caught.value) and str(caught.value).endswith(".")


def test_a_band_that_is_not_there() -> None:
    with pytest.raises(DataError, match="has 3 bands"):
        read_picture(make_tiff(values(3)), "4, 3 and 2")


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(st.binary(max_size=200), st.integers(0, 400))
def test_damage_anywhere_never_gives_anything_but_a_sentence(noise: bytes, at: int) -> None:
    whole = make_tiff(values(5, 12, 12), compression=8, pack=DEFLATE)
    start = max(len(whole) - at, 0)  # the directory stands at the end
    damaged = whole[:start] + noise + whole[start + len(noise) :]
    try:
        assert read_picture(damaged).values.shape[2] == 3
    except DataError as error:
        assert str(error).endswith(".")


@pytest.mark.hostile
def test_what_swells_is_refused() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    tracemalloc.start()
    with pytest.raises(DataError, match="damaged"):
        read_picture(make_tiff(values(13), rows=40, compression=8, pack=lambda data: bomb))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


# --- black and white ---

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
    assert "0 to 255" in note and note in tiles.description
