"""Tiles, feature maps and filters as pictures and numbers; pictures of any size as tiles, every pixel asked about."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eurosat_core.charts import tiles
from eurosat_core.data import pictures
from eurosat_core.data.batches import Preprocessing, normalize
from eurosat_core.data.pictures import MADE_UP
from eurosat_core.data.uploads import MOST_ACROSS, STRETCHES, Picture, coarser, cut, lay_out, stretched

TILE = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
BELOW, ZERO, ABOVE = (5, 48, 97), (247, 247, 247), (179, 88, 6)


def test_titles_in_words_and_own_names_as_they_are() -> None:
    assert pictures.class_titles(("SeaLake", "my_class")) == {"SeaLake": "Sea or lake", "my_class": "my_class"}


def test_counts_beside_the_published_ones() -> None:
    frame = tiles.class_counts_frame({"Forest": 2700, "own": 3}, published=True)
    assert frame["class"].tolist() == ["Forest", "own"]
    assert frame["published"].tolist()[0] == 3000
    assert np.isnan(frame["published"][1])
    assert tiles.class_counts_frame({"Forest": 1}, published=False)["published"].isna().all()


def test_tiles_of_a_class_in_order_or_drawn() -> None:
    labels = np.array([0, 1, 1, 0, 1, 1, 1, 1])
    assert pictures.tiles_of_class(labels, 1).tolist() == [1, 2, 4, 5, 6, 7]
    drawn = pictures.tiles_of_class(labels, 1, seed=5)
    assert sorted(drawn.tolist()) == [1, 2, 4, 5, 6, 7]
    assert drawn.tolist() == pictures.tiles_of_class(labels, 1, seed=5).tolist()
    assert drawn.tolist() != pictures.tiles_of_class(labels, 1, seed=6).tolist()
    assert pictures.tiles_of_class(labels, 9).tolist() == []


def test_enlarging_keeps_every_pixel_crisp() -> None:
    large = pictures.enlarged(TILE, 4)
    assert large.shape == (256, 256, 3)
    assert (large[::4, ::4] == TILE).all()
    assert (large[3::4, 3::4] == TILE).all()


def test_png_loses_nothing() -> None:
    with Image.open(io.BytesIO(pictures.png(TILE))) as picture:
        assert (np.asarray(picture) == TILE).all()


@pytest.mark.parametrize("times", [2, 8])
def test_the_scale_bar_is_as_long_as_it_says(times: int) -> None:
    tile = np.full((64, 64, 3), 128, dtype=np.uint8)
    picture = pictures.with_scale_bar(tile, times, metres=200)
    bar = np.flatnonzero((picture != 128).any(axis=(0, 2)))
    frame = max(times // 4, 1)
    assert bar[-1] - bar[0] + 1 == 200 // 10 * times + 2 * frame
    assert (pictures.enlarged(tile, times) == 128).all()  # the tile itself is left as it was


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
)
def test_normalised_is_what_the_network_gets(mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
    expected = normalize(torch.from_numpy(TILE)[None], Preprocessing(mean, std))[0].permute(1, 2, 0)
    assert np.allclose(pictures.normalised(TILE, mean, std), expected.numpy(), atol=1e-5)


def test_histograms_count_every_pixel_once() -> None:
    frame = tiles.channel_histograms_frame(TILE, bins=16)
    assert len(frame) == 48
    assert frame.groupby("channel")["share"].sum().tolist() == pytest.approx([1, 1, 1])
    bright = np.full((64, 64, 3), 255, dtype=np.uint8)
    last = tiles.channel_histograms_frame(bright).query("value == 248")
    assert last["share"].tolist() == [1, 1, 1]


def test_planes_show_the_sign_of_each_number() -> None:
    values = np.zeros((1, 3, 3), dtype=np.float32)
    values[0, 0, 0], values[0, 1, 0], values[0, 2, 0] = -1, 1, 5
    red, green, _blue = pictures.value_planes(values, times=1, limit=1)
    below, above, beyond = (tuple(int(v) for v in red[0, at]) for at in range(3))
    assert below[2] > below[0]  # blue
    assert above[0] > above[2]  # orange
    assert beyond == above
    assert (green == 247).all()  # zero is pale


@pytest.mark.parametrize(("top", "left"), [(0, 0), (29, 10), (58, 58)])
def test_a_frame_leaves_what_is_inside_as_it_is(top: int, left: int) -> None:
    framed = pictures.with_frame(TILE, 6, top, left, 6)
    plain = pictures.enlarged(TILE, 6)
    inside = np.s_[top * 6 : (top + 6) * 6, left * 6 : (left + 6) * 6]
    assert framed.shape == plain.shape
    assert np.array_equal(framed[inside], plain[inside])
    around = framed.copy()
    around[inside] = plain[inside]
    changed = (framed != plain).any(axis=2)
    assert changed.sum() > 100 and not changed[inside].any()
    assert {tuple(colour) for colour in framed[changed].tolist()} <= {(0, 0, 0), (255, 255, 255)}


# --- feature maps, filters, padded tiles ---


def test_signed_colours_and_those_of_cells() -> None:
    plane = np.array([[-2, 0], [2, 1]], dtype=np.float32)
    picture = pictures.signed(plane, 3)
    assert picture.shape == (6, 6, 3)
    assert [tuple(picture[row, column]) for row, column in ((0, 0), (0, 5), (5, 0))] == [BELOW, ZERO, ABOVE]
    assert pictures.cell_colours(plane, 2.0)[0] == ["#053061", "#f7f7f7"]
    assert tuple(pictures.signed(plane * 0, 1)[0, 0]) == ZERO


def test_a_padded_tile_and_one_channel_of_it() -> None:
    tile = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    picture = pictures.padded(tile, 1, (0.5, 0.5, 0.0))
    assert picture.shape == (4, 4, 3)
    assert tuple(picture[0, 0]) == (128, 128, 0)
    assert np.array_equal(picture[1:3, 1:3], tile)
    grey = pictures.padded(tile, 0, (0.5, 0.5, 0.5), channel=1)
    assert np.array_equal(grey[..., 0], tile[..., 1])
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_sheets_have_clear_gaps() -> None:
    maps = np.ones((5, 4, 4), dtype=np.float32)
    sheet = pictures.map_sheet(maps, 4, 8)
    assert sheet.shape == (2 * 8 + 4, 4 * 8 + 3 * 4, 4)
    assert sheet[0, 8, 3] == 0
    assert tuple(sheet[0, 0]) == (*ABOVE, 255)
    assert sheet[-1, -1, 3] == 0  # the last row is not full
    assert pictures.map_sheet(np.zeros((3, 1, 1), dtype=np.float32), 32, 5).shape == (5, 23, 4)


def test_the_chosen_filter_is_framed() -> None:
    weights = np.zeros((3, 3, 5, 5), dtype=np.float32)
    weights[:, 0] = 1.0
    sheet = pictures.filter_sheet(weights, 16, 40, chosen=1)
    assert sheet.shape == (40, 3 * 40 + 2 * 4, 4)
    assert tuple(sheet[0, 0, :3]) == (255, 128, 128)
    assert tuple(sheet[0, 44, :3]) == (0, 0, 0)
    assert tuple(sheet[20, 64, :3]) == (255, 128, 128)


AS_IT_IS, STRETCHED = STRETCHES


def picture(height: int, width: int, seed: int = 0) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_whole_tiles_are_cut_along_the_rows() -> None:
    made = picture(128, 192)
    found = cut(made, AS_IT_IS)
    assert (found.layout.rows, found.layout.columns, found.notes) == (2, 3, ())
    np.testing.assert_array_equal(found.tile(1), made.values[:64, 64:128])
    np.testing.assert_array_equal(found.tile(5), made.values[64:, 128:])
    np.testing.assert_allclose(found.layout.areas(), 1 / 6)


def test_at_the_edges_tiles_reach_back_over_their_neighbours() -> None:
    made = picture(64 + 20, 64 + 50)
    found = cut(made, AS_IT_IS)
    assert found.layout.xs == (0, 64, 114)
    assert found.layout.ys == (0, 64, 84)
    np.testing.assert_array_equal(found.tile(3), made.values[20:, 50:])
    np.testing.assert_allclose(found.layout.areas(), np.array([64 * 64, 50 * 64, 64 * 20, 50 * 20]) / (84 * 114))
    assert "14 pixels" in found.notes[0] and "44" in found.notes[0]


def test_a_picture_smaller_than_a_tile_is_enlarged_and_not_distorted() -> None:
    found = cut(picture(32, 32), AS_IT_IS)
    assert found.tiles().shape == (1, 64, 64, 3)
    assert "enlarged 2 times" in found.notes[0]
    narrow = cut(picture(32, 100), AS_IT_IS)
    assert (narrow.layout.width, narrow.layout.height) == (200, 64)


def test_more_metres_per_pixel_mean_more_tiles() -> None:
    made = picture(640, 640)
    fine, coarse = cut(made, AS_IT_IS, 2), cut(made, AS_IT_IS, 20)
    assert (fine.layout.width, coarse.layout.width) == (128, 1280)
    assert "2 m" in fine.notes[0] and "10 m" in fine.notes[0]
    # A box counts every old pixel once: five by five become one.
    oracle = made.values.reshape(128, 5, 128, 5, 3).mean(axis=(1, 3))
    assert np.abs(fine.pixels - oracle).max() <= 1


def test_too_large_a_picture_loses_its_edges_or_is_reduced() -> None:
    made = picture(2100, 3000)
    middle, whole = cut(made, AS_IT_IS), cut(made, AS_IT_IS, whole=True)
    assert len(middle.tiles()) == MOST_ACROSS**2
    assert middle.layout.box == (476, 26, 2524, 2074)
    np.testing.assert_array_equal(middle.tile(0), made.values[26:90, 476:540])
    assert "middle" in " ".join(middle.notes)
    assert whole.layout.box == (0, 0, 3000, 2100)
    assert (whole.layout.width, whole.layout.height) == (2048, 1434)
    assert "14.6 m" in " ".join(whole.notes)


@given(st.integers(8, 6000), st.integers(8, 6000), st.floats(0.05, 100), st.booleans())
def test_every_layout_is_within_its_limits(width: int, height: int, metres: float, whole: bool) -> None:
    layout = lay_out(width, height, metres, whole=whole)
    left, top, right, bottom = layout.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert 64 <= layout.width <= 2048
    assert 64 <= layout.height <= 2048
    assert 1 <= layout.rows <= MOST_ACROSS
    assert 1 <= layout.columns <= MOST_ACROSS
    assert layout.areas().sum() == pytest.approx(1)
    # Pixels stay square, up to the rounding of both ends.
    assert layout.width / (right - left) == pytest.approx(layout.scale, rel=1 / 64 + 1 / (right - left))
    assert layout.height / (bottom - top) == pytest.approx(layout.scale, rel=1 / 64 + 1 / (bottom - top))


@given(st.integers(8, 300), st.integers(8, 300))
def test_the_tiles_show_the_whole_picture(width: int, height: int) -> None:
    found = cut(picture(height, width), AS_IT_IS)
    seen = np.zeros(found.pixels.shape[:2], dtype=bool)
    for number in range(len(found.tiles())):
        row, column = divmod(number, found.layout.columns)
        top, left = (
            min(found.layout.ys[row], found.layout.height - 64),
            min(found.layout.xs[column], found.layout.width - 64),
        )
        np.testing.assert_array_equal(found.tile(number), found.pixels[top : top + 64, left : left + 64])
        seen[top : top + 64, left : left + 64] = True
    assert seen.all()


def land(seed: int = 3) -> np.ndarray:
    """Reflectances of a landscape, 0.05 to 0.2, as 16-bit values."""
    return np.random.default_rng(seed).integers(500, 2000, (128, 128, 3)).astype(np.uint16)


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("bright", [1, 30, 200])
@pytest.mark.parametrize("value", [18_974, 65_535])
def test_a_few_bright_pixels_do_not_make_the_others_black(stretch: str, bright: int, value: int) -> None:
    plain, glints = land(), land()
    glints.reshape(-1, 3)[np.random.default_rng(1).permutation(128 * 128)[:bright]] = value
    same = (plain == glints).all(axis=2)
    without, with_them = cut(Picture(plain), stretch).pixels, cut(Picture(glints), stretch).pixels
    assert np.abs(without[same].astype(int) - with_them[same].astype(int)).mean() < 6
    assert (with_them[~same] == 255).all()


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("mark", [0, 65_535])
def test_pixels_without_data_are_black_and_decide_no_scale(stretch: str, mark: int) -> None:
    values = land()
    valid = np.ones((128, 128), dtype=np.bool_)
    valid[:, :60] = False
    marked = np.where(valid[..., None], values, np.uint16(mark))
    found = cut(Picture(marked, valid=valid), stretch)
    assert (found.pixels[:, :60] == 0).all()
    alone = cut(Picture(values[:, 60:]), stretch).pixels
    assert np.abs(found.pixels[:, 60:].astype(int) - alone.astype(int)[:, : 128 - 60]).max() <= 3
    assert any("2 tiles" in note for note in found.notes)


def test_a_part_without_any_data_is_black() -> None:
    valid = np.zeros((64, 3000), dtype=np.bool_)
    valid[:, :100] = True  # only the middle of it is used, and that has none
    values = np.full((64, 3000, 3), 1000, np.uint16)
    for stretch in STRETCHES:
        assert (cut(Picture(values, valid=valid), stretch).pixels == 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_stretch_is_that_of_percentiles_band_by_band(dtype: type) -> None:
    values = np.random.default_rng(2).integers(20, 200, (100, 100, 3)).astype(dtype)
    values[..., 1] //= 2
    found = stretched(values)
    for band in range(3):
        low, high = np.percentile(values[..., band], [2, 98])
        oracle = np.clip((values[..., band] - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(found[..., band], oracle, atol=0.51)


def test_one_colour_can_be_stretched() -> None:
    assert (stretched(np.full((64, 64, 3), 90, np.uint8)) == 0).all()
    assert "stretched" in cut(picture(64, 64), STRETCHED).notes[0]


def test_coarser_is_the_mean_of_the_ground() -> None:
    tile = picture(64, 64).values
    assert coarser(tile, 10) is tile
    far = coarser(tile, 640)
    np.testing.assert_allclose(far, np.broadcast_to(tile.mean(axis=(0, 1)), far.shape), atol=1)
    small = np.asarray(Image.fromarray(tile).resize((32, 32), Image.Resampling.BOX))
    assert (
        np.abs(coarser(tile, 20).astype(int) - np.asarray(Image.fromarray(small).resize((64, 64), 2)).astype(int)).max()
        <= 1
    )


def test_made_up_pictures_are_tiles() -> None:
    drawn = [make() for make in MADE_UP.values()]
    assert all(each.shape == (64, 64, 3) and each.dtype == np.uint8 for each in drawn)
    assert len({each.tobytes() for each in drawn}) == len(drawn)
