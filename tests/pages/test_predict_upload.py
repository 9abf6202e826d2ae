"""Pictures of one's own on the Predict page: good, bad, huge, with many bands, taken away, stopped half-way."""

import math
import re
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.analysis.prediction import answer_finding
from eurosat_core.data.pictures import png
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.predict import Answers
from eurosat_core.models.recorded import RECORDED
from eurosat_core.words.say import say
from tests.data.test_uploads import BAD
from tests.pages.conftest import (
    App,
    alts,
    charts,
    checked,
    choose,
    click,
    keys,
    open_tiles,
    saw,
    shown,
    tells,
    unescaped,
)
from tests.pages.test_predict_page import OWN, PAGE, changed
from tests.tiff_makers import make_tiff


def noise(height: int, width: int) -> bytes:
    """A PNG file of so many pixels."""
    return png(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def upload(app: App, content: bytes, name: str = "mine.png", kind: str = "image/png") -> AppTest:
    test = choose(app(PAGE), "predict_source", OWN)
    test.file_uploader[0].set_value((name, content, kind)).run()
    while "predict_stop" in keys(test):  # a machine that has other things to do; a browser would ask again by itself
        test.run()
    return checked(test)


def with_label(test: AppTest, label: str) -> Any:
    """A number field whose key depends on the picture."""
    return next(each for each in test.number_input if each.label == label)


def test_one_tile_uploaded_is_answered_as_the_tile_and_taken_away_leaves_nothing(lab: Lab, app: App) -> None:
    tiles = open_tiles(lab)
    test = choose(app(PAGE), "predict_source", OWN)
    assert tells(test, "predict/nothing yet") and tells(test, "predict/own picture", size="20 MB", pixels="24")
    test.file_uploader[0].set_value(("mine.png", png(tiles.array[7]), "image/png")).run()
    assert saw(test) == say(answer_finding(lab.predictor.answer(RECORDED, tiles.array[7]), tiles.class_names))
    choose(test, "predict_stretch", "2–98 %")
    assert changed(test)
    assert "predict_prepared" in test.session_state
    checked(test.file_uploader[0].set_value(None).run())
    assert "predict_prepared" not in test.session_state
    assert tells(test, "predict/nothing yet")


def test_a_large_picture_becomes_a_map_and_a_huge_one_is_cropped_or_reduced(lab: Lab, app: App) -> None:
    test = upload(app, noise(150, 200))
    assert "3 × 4 = 12" in shown(test) and tells(saw(test), "prediction.map", tiles=12)
    assert charts(test) == 3
    checked(with_label(test, "Row").set_value(3).run())
    assert alts(test)[0].startswith("Row 3, column 1 ")
    choose(test, "predict_metres", 20.0)
    assert "5 × 7 = 35" in shown(test)
    assert tells(saw(test), "prediction.shares")
    test = upload(app, noise(200, 2500))
    assert "2,048 × 164" not in shown(test)
    choose(test, "predict_large", "all of it, reduced")
    assert "2,048 × 164" in shown(test)


def test_more_than_three_bands_are_chosen_from_or_ignored(lab: Lab, app: App) -> None:
    values = np.random.default_rng(0).integers(0, 3000, (64, 64, 13)).astype(np.uint16)
    test = upload(app, make_tiff(values), "S2.tif", "image/tiff")
    assert "4, 3 and 2" in shown(test) and "reflectances" in shown(test)
    before = saw(test)
    choose(test, "predict_bands", "the first three")
    assert "4, 3 and 2" not in shown(test) and "13 bands" in shown(test)
    assert saw(test) != before
    infrared = np.random.default_rng(0).integers(20, 240, (64, 64))
    content = make_tiff(np.dstack([open_tiles(lab).array[7], infrared]).astype(np.uint8), tag_338=(2,))
    test = upload(app, content, "S2.tif", "image/tiff")
    assert "predict_bands" not in keys(test)
    checked(test.checkbox(key="predict_ignore_alpha").check().run())
    assert changed(test)
    plain = upload(app, noise(32, 32))
    assert not any(each.key == "predict_ignore_alpha" for each in plain.checkbox)
    assert "2 times" in shown(plain)


def test_what_is_no_picture_gets_a_sentence(lab: Lab, app: App) -> None:
    content, words = next(iter(BAD.values()))
    test = upload(app, content, "holiday.jpg", "image/jpeg")
    (error,) = test.error
    assert words in unescaped(error.value)
    assert not charts(test)
    assert "next_page" in keys(test)


def test_a_stopped_map_shows_what_it_has_and_goes_on(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    real = lab.predictor.ask

    def slow(run_id: str, tiles: np.ndarray, seconds: float = math.inf) -> Answers:  # one batch in any time
        return real(run_id, tiles, min(seconds, 0.0))

    monkeypatch.setattr(lab.predictor, "ask", slow)
    test = choose(app(PAGE), "predict_source", OWN)
    test.file_uploader[0].set_value(("mine.png", noise(128, 640), "image/png")).run()
    assert "predict_stop" in keys(test)
    monkeypatch.setattr(lab.predictor, "ask", lambda *_: pytest.fail("it was stopped"))
    click(test, "predict_stop")
    assert re.search("(8|16) of 20 tiles", shown(test))
    pictures = len(test.get("image"))
    with_label(test, "Row").set_value(2).run()
    with_label(test, "Column").set_value(10).run()
    assert len(test.get("image")) == pictures - 1  # it was not asked about yet
    monkeypatch.setattr(lab.predictor, "ask", real)
    click(test, "predict_go_on")
    assert "20 tiles" in saw(test)
    assert "predict_stop" not in keys(test)
