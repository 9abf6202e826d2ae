"""TIFFs of many bands and of 16 bits, in every way that programs lay them out, against the array they were made of."""

import io
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eurosat_core.data.deep_tiff import BAND_ORDERS, FIRST_THREE, read_bands, tiff_layout
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


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize(
    ("compression", "pack", "predictor"),
    [(1, None, 1), (8, DEFLATE, 1), (8, DEFLATE, 2), (5, pillow_lzw, 1), (5, pillow_lzw, 2)],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thirteen_bands_in_every_layout(order, planar, tile, compression, pack, predictor, dtype) -> None:
    made = values(13, dtype=dtype)
    content = make_tiff(
        made, order=order, planar=planar, tile=tile, compression=compression, pack=pack, predictor=predictor
    )
    found = three(content, "4, 3 and 2")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, made[..., [3, 2, 1]])


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 10])
def test_any_number_of_bands(bands: int) -> None:
    made = values(bands)
    expected = made[..., :3] if bands >= 3 else np.repeat(made[..., :1], 3, axis=2)
    np.testing.assert_array_equal(three(make_tiff(made, compression=8, pack=DEFLATE, predictor=2)), expected)


@given(
    st.integers(8, 70),
    st.integers(8, 70),
    st.integers(1, 6),
    st.sampled_from([0, 16, 32]),
    st.integers(1, 30),
    st.booleans(),
)
def test_any_size(height: int, width: int, bands: int, tile: int, rows: int, planar: bool) -> None:
    made = values(bands, height, width)
    content = make_tiff(made, planar=planar, tile=tile, rows=rows, compression=8, pack=DEFLATE, predictor=2)
    expected = made[..., :3] if bands >= 3 else np.repeat(made[..., :1], 3, axis=2)
    np.testing.assert_array_equal(three(content), expected)


def test_a_16_bit_tiff_of_pillow() -> None:
    made = values(1)[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(made).save(buffer, format="TIFF", compression="tiff_adobe_deflate")
    np.testing.assert_array_equal(three(buffer.getvalue()), np.repeat(made[..., None], 3, axis=2))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize(("compression", "pack"), [(1, None), (8, DEFLATE)])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.float16, np.float32])
def test_other_kinds_of_numbers(order, planar, tile, compression, pack, dtype) -> None:
    made = (values(4).astype(np.int64) - (1000 if np.dtype(dtype).kind == "i" else 0)).astype(dtype)
    kind = {"u": 1, "i": 2, "f": 3}[made.dtype.kind]
    content = make_tiff(
        made, order=order, planar=planar, tile=tile, compression=compression, pack=pack, sample_format=kind
    )
    found = three(content)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, made[..., :3].astype(np.float32))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [0, 16, 64])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_predictor_of_decimal_numbers(order, tile, planar, dtype) -> None:
    made = np.random.default_rng(1).normal(0.2, 0.1, (40, 50, 3)).astype(dtype)
    content = make_tiff(
        made, order=order, tile=tile, planar=planar, compression=8, pack=DEFLATE, predictor=3, sample_format=3
    )
    np.testing.assert_array_equal(three(content), made.astype(np.float32))


def test_white_may_be_zero() -> None:
    made = values(1)
    np.testing.assert_array_equal(three(make_tiff(made, tag_262=(0,)))[..., 0], 65_535 - made[..., 0])


def test_a_big_tiff_is_a_tiff(tmp_path: Path) -> None:
    made = values(1)[..., 0]
    Image.fromarray(made).save(tmp_path / "big.tif", big_tiff=True)
    content = (tmp_path / "big.tif").read_bytes()
    assert content[2] == 43
    np.testing.assert_array_equal(three(content)[..., 1], made)


@pytest.mark.parametrize(
    ("dtype", "mark", "text"),
    [(np.uint16, 0, "0"), (np.uint8, 255, "255 "), (np.int16, -9999, "-9999"), (np.float32, -3.4e38, "-3.4e+38")],
)
def test_what_has_no_data_is_known(dtype: type, mark: float, text: str) -> None:
    made = (values(3) % 200 + 1).astype(dtype)
    made[:10, :20] = mark
    made[30, 30, 1] = mark  # one band of three: dark, not without data
    kind = {"u": 1, "i": 2, "f": 3}[made.dtype.kind]
    layout = tiff_layout(make_tiff(made, sample_format=kind, tag_42113=text.encode() + b"\0"))
    assert layout is not None and layout.needs_bands
    valid = read_bands(layout, (0, 1, 2))[1]
    assert valid is not None
    expected = np.ones((40, 50), dtype=bool)
    expected[:10, :20] = False
    np.testing.assert_array_equal(valid, expected)


def test_what_is_no_number_has_no_data() -> None:
    made = np.full((16, 16, 3), 0.2, dtype=np.float32)
    made[0, 0, 0], made[1, 1, 2] = np.nan, np.inf
    layout = tiff_layout(make_tiff(made, sample_format=3, tag_42113=b"nan\0"))
    assert layout is not None
    valid = read_bands(layout, (0, 1, 2))[1]
    assert valid is not None and (~valid).sum() == 2 and not valid[0, 0] and not valid[1, 1]


def test_sentinels_order_is_taken_for_its_number_of_bands() -> None:
    for bands, order in ((13, "4, 3 and 2"), (12, "4, 3 and 2"), (10, FIRST_THREE), (4, FIRST_THREE)):
        picture = read_picture(make_tiff(values(bands)))
        np.testing.assert_array_equal(picture.values, values(bands)[..., list(BAND_ORDERS[order])])
        assert picture.bands == bands
        assert any(f"Of its {bands} bands, {order}" in note for note in picture.notes)
    other = read_picture(make_tiff(values(13)), "3, 2 and 1")
    np.testing.assert_array_equal(other.values, values(13)[..., [2, 1, 0]])


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the same damage
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (make_tiff(np.ones((16, 16, 3), np.float64), sample_format=3), "64-bit decimal numbers"),
        (make_tiff(np.ones((16, 16, 3), np.uint64), sample_format=6), "a type that this lab does not read"),
        (make_tiff(np.ones((16, 16, 1), np.int8), sample_format=2), "a type that this lab does not read"),
        (make_tiff(values(3, dtype=np.uint8), tag_262=(32_844,)), "a way that this lab does not read"),
        (make_tiff(values(3), tag_259=(50_001,)), "compressed in a way"),
        (make_tiff(values(3, dtype=np.uint8), tag_259=(34_712,)), "compressed in a way"),
        (make_tiff(values(3), tag_258=(16, 8, 16)), "different or unusual sizes"),
        (make_tiff(values(3), tag_258=(12, 12, 12)), "different or unusual sizes"),
        (make_tiff(values(3), tag_317=(3,)), "damaged or cut short"),
        (make_tiff(values(3), tag_317=(9,)), "compressed in a way"),
        (make_tiff(values(5, dtype=np.uint8), tag_259=(7,)), "compressed in a way"),
        (make_tiff(values(13), tag_256=(4000,), tag_257=(3000,)), "export red, green and blue"),
        (make_tiff(values(13), tag_256=(60_000,), tag_257=(60_000,)), "60,000 × 60,000 pixels"),
        (make_tiff(values(13), tag_273=(9_000_000, 9_000_000, 9_000_000)), "damaged or cut short"),
        (make_tiff(values(13))[:3000], "damaged or cut short"),
        (make_tiff(values(3), compression=8, pack=lambda data: data[:100]), "damaged or cut short"),
        (make_tiff(values(3), tag_277=(0,)), None),
        (b"II+\0" + b"\0" * 60, None),
        (b"II*\0\x08\0\0\0", None),
        (b"MM\0*\xff\xff\xff\xff", None),
        (b"II*\0", None),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(content: bytes, words: str | None) -> None:
    with pytest.raises(DataError) as caught:
        read_picture(content)
    said = str(caught.value)
    assert said.endswith(".")
    if words:
        assert words in said


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


def test_what_swells_is_refused() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    tracemalloc.start()
    with pytest.raises(DataError, match="damaged or cut short"):
        read_picture(make_tiff(values(13), rows=40, compression=8, pack=lambda data: bomb))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
