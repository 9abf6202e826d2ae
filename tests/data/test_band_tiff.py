"""TIFFs of many bands and of 16 bits, in every way that programs lay them out, against the array they were made of."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eurosat_core.data.band_tiff import BAND_ORDERS, FIRST_THREE, read_bands, tiff_layout
from eurosat_core.data.uploads import read_picture
from eurosat_core.errors import DataError
from tests.tiff_makers import DEFLATE, make_tiff, pillow_lzw


def values(bands: int, height: int = 40, width: int = 50, dtype: type = np.uint16) -> np.ndarray:
    highest = 4000 if dtype == np.uint16 else 250
    return np.random.default_rng(bands).integers(0, highest, (height, width, bands)).astype(dtype)


def three(content: bytes, order: str = FIRST_THREE) -> np.ndarray:
    layout = tiff_layout(content)
    assert layout is not None
    return read_bands(content, layout, BAND_ORDERS[order])


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


def test_values_below_zero_become_zero() -> None:
    made = np.array([[-5, 0, 3000]] * 8 * 8, dtype=np.int16).reshape(8, 8, 3)
    found = three(make_tiff(made.view(np.uint16), sample_format=2))
    np.testing.assert_array_equal(found, np.maximum(made, 0))


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
        (make_tiff(np.ones((16, 16, 3), np.uint32), sample_format=3), "32-bit numbers"),
        (make_tiff(np.ones((16, 16, 3), np.uint32)), "32-bit numbers"),
        (make_tiff(values(3), tag_258=(16, 8, 16)), "different or unusual sizes"),
        (make_tiff(values(3), tag_258=(12, 12, 12)), "different or unusual sizes"),
        (make_tiff(values(3), tag_317=(3,)), "compressed in a way"),
        (make_tiff(values(5, dtype=np.uint8), tag_259=(7,)), "compressed in a way"),
        (make_tiff(values(13), tag_256=(4000,), tag_257=(3000,)), "Export red, green and blue only"),
        (make_tiff(values(13), tag_256=(60_000,), tag_257=(60_000,)), "60,000 × 60,000 pixels"),
        (make_tiff(values(13), tag_273=(9_000_000, 9_000_000, 9_000_000)), "damaged or cut short"),
        (make_tiff(values(13))[:3000], "damaged or cut short"),
        (make_tiff(values(3), compression=8, pack=lambda data: data[:100]), "damaged or cut short"),
        (make_tiff(values(3), tag_277=(0,)), None),
        (b"II+\0" + b"\0" * 60, "BigTIFF"),
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
