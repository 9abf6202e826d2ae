"""Tiles, feature maps and filters as pictures and numbers."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from eurosat_core.charts import tiles
from eurosat_core.data import pictures
from eurosat_core.data.batches import Preprocessing, normalize

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
