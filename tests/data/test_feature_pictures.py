"""Feature maps, filters and padded tiles as pictures."""

import numpy as np

from eurosat_core.data import pictures

BELOW, ZERO, ABOVE = (5, 48, 97), (247, 247, 247), (179, 88, 6)


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
    assert pictures.neuron_sheet(np.zeros(3, dtype=np.float32), 32, 5).shape == (5, 23, 4)


def test_the_chosen_filter_is_framed() -> None:
    weights = np.zeros((3, 3, 5, 5), dtype=np.float32)
    weights[:, 0] = 1.0
    sheet = pictures.filter_sheet(weights, 16, 40, chosen=1)
    assert sheet.shape == (40, 3 * 40 + 2 * 4, 4)
    assert tuple(sheet[0, 0, :3]) == (255, 128, 128)
    assert tuple(sheet[0, 44, :3]) == (0, 0, 0)
    assert tuple(sheet[20, 64, :3]) == (255, 128, 128)
