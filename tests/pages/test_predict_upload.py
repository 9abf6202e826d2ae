"""Pictures of one's own on the Predict page: good, bad, huge, with many bands, taken away, stopped half-way."""

import io
import math
import re

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from eurosat_core.analysis.prediction import answer_words
from eurosat_core.lab.inspection import RECORDED
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.predict import Answers
from tests.data.test_uploads import BAD
from tests.pages.conftest import App, keys, shown, unescaped
from tests.pages.test_predict_page import OWN, PAGE, choose, saw
from tests.tiff_makers import make_tiff


def png(height: int, width: int, seed: int = 1) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def upload(app: App, content: bytes, name: str = "mine.png", kind: str = "image/png") -> AppTest:
    test = choose(app(PAGE), "predict_source", OWN)
    test.file_uploader[0].set_value((name, content, kind)).run()
    while "predict_stop" in keys(test):  # a machine that has other things to do; a browser would ask again by itself
        test.run()
    assert not test.exception, test.exception[0].message
    return test


def test_without_a_picture_it_says_what_to_do(lab: Lab, app: App) -> None:
    test = choose(app(PAGE), "predict_source", OWN)
    assert "Choose a picture" in shown(test)
    assert "up to 20 MB and 24 million pixels" in shown(test)


def test_one_tile_uploaded_is_answered_as_the_tile(lab: Lab, app: App) -> None:
    tiles = lab.tiles().tile_set
    assert tiles is not None
    buffer = io.BytesIO()
    Image.fromarray(tiles.array[7]).save(buffer, "PNG")
    test = upload(app, buffer.getvalue())
    assert saw(test) == answer_words(lab.predictor.answer(RECORDED, tiles.array[7]), tiles.class_names)
    choose(test, "predict_stretch", "2–98 %")
    assert "before this change" in saw(test)
    assert "were stretched" in shown(test)


def test_a_large_picture_becomes_a_map(lab: Lab, app: App) -> None:
    test = upload(app, png(150, 200))
    assert "3 × 4 = 12 tiles" in shown(test)
    assert "12 tiles, by area" in saw(test) or "All of the 12 tiles" in saw(test)
    assert len(test.get("vega_lite_chart")) == 3
    assert "over their neighbours" in shown(test)
    row = next(each for each in test.number_input if each.label == "Row")
    row.set_value(3).run()
    assert not test.exception
    (alt,) = [image.alt for each in test.get("image") for image in each.proto.imgs]
    assert alt == "Row 3, column 1 of your picture, enlarged"
    test.number_input(key="predict_metres").set_value(20.0).run()
    assert "5 × 7 = 35 tiles" in shown(test)
    assert "of the area" in saw(test) or "stay the same" in saw(test)


def test_a_small_picture_is_enlarged_and_it_says_so(lab: Lab, app: App) -> None:
    assert "enlarged 2 times" in shown(upload(app, png(32, 32)))


def test_a_huge_picture_is_cropped_or_reduced(lab: Lab, app: App) -> None:
    test = upload(app, png(64, 2500))
    assert "Only its middle is used" in shown(test)
    choose(test, "predict_large", "all of it, reduced")
    assert "Only its middle" in shown(test)  # 64 pixels high: reduced, it would be smaller than a tile
    test = upload(app, png(200, 2500))
    choose(test, "predict_large", "all of it, reduced")
    assert "Only its middle" not in shown(test)
    assert "It was reduced to 2,048 × 164 pixels" in shown(test)


def test_a_sentinel_2_export_and_its_bands(lab: Lab, app: App) -> None:
    values = np.random.default_rng(0).integers(0, 3000, (64, 64, 13)).astype(np.uint16)
    test = upload(app, make_tiff(values), "S2.tif", "image/tiff")
    assert "Of its 13 bands, 4, 3 and 2" in shown(test)
    assert "reflectances" in shown(test)
    before = saw(test)
    choose(test, "predict_bands", "the first three")
    assert "Of its 13 bands, the first three" in shown(test)
    assert saw(test) != before


def test_a_fourth_band_that_is_no_transparency_can_be_ignored(lab: Lab, app: App) -> None:
    tiles = lab.tiles().tile_set
    assert tiles is not None
    infrared = np.random.default_rng(0).integers(20, 240, (64, 64))
    content = make_tiff(np.dstack([tiles.array[7], infrared]).astype(np.uint8), tag_338=(2,))
    test = upload(app, content, "S2.tif", "image/tiff")
    assert "taken as transparency" in shown(test)
    assert "predict_bands" not in keys(test)
    test.checkbox(key="predict_ignore_alpha").check().run()
    assert not test.exception
    assert "fourth band was ignored" in shown(test)
    assert "before this change" in saw(test)
    plain = upload(app, png(64, 64))
    assert not any(each.key == "predict_ignore_alpha" for each in plain.checkbox)


def test_a_bright_pixel_and_pixels_without_data(lab: Lab, app: App) -> None:
    values = np.random.default_rng(0).integers(300, 1800, (128, 128, 3)).astype(np.uint16)
    values[5, 5] = 18_974
    values[:, 64:] = 0
    test = upload(app, make_tiff(values, tag_42113=b"0\0"), "S2.tif", "image/tiff")
    assert "reflectances" in shown(test)
    assert "50.0" in shown(test) and "no data" in shown(test)
    assert "2 tiles have hardly any data" in shown(test)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_gets_a_sentence(lab: Lab, app: App, name: str) -> None:
    content, words = BAD[name]
    test = upload(app, content, "holiday.jpg", "image/jpeg")
    (error,) = test.error
    assert words in unescaped(error.value)
    assert not test.get("vega_lite_chart")
    assert "Often believed" in "".join(str(each.title) for each in test.warning)


def test_a_picture_taken_away_leaves_nothing(lab: Lab, app: App) -> None:
    test = upload(app, png(64, 64))
    assert "predict_prepared" in test.session_state
    test.file_uploader[0].set_value(None).run()
    assert "predict_prepared" not in test.session_state
    assert "Choose a picture" in shown(test)


def test_a_stopped_map_shows_what_it_has_and_goes_on(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    real = lab.predictor.ask

    def slow(run_id: str, tiles: np.ndarray, seconds: float = math.inf) -> Answers:  # one batch in any time
        return real(run_id, tiles, min(seconds, 0.0))

    monkeypatch.setattr(lab.predictor, "ask", slow)
    test = choose(app(PAGE), "predict_source", OWN)
    test.file_uploader[0].set_value(("mine.png", png(128, 640), "image/png")).run()
    assert "predict_stop" in keys(test)
    monkeypatch.setattr(lab.predictor, "ask", lambda *_: pytest.fail("it was stopped"))
    test.button(key="predict_stop").click().run()
    assert not test.exception
    assert re.search("Stopped after (8|16) of 20 tiles", shown(test))
    next(each for each in test.number_input if each.label == "Row").set_value(2).run()
    next(each for each in test.number_input if each.label == "Column").set_value(10).run()
    assert "was not asked about yet" in shown(test)
    monkeypatch.setattr(lab.predictor, "ask", real)
    test.button(key="predict_go_on").click().run()
    assert "20 tiles" in saw(test)
    assert "predict_stop" not in keys(test)
