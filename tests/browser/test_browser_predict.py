"""The Predict page in a real browser: a picture is uploaded, asked about, clicked into; a face, a wrong file."""

import re

import numpy as np
import pytest
from PIL import Image

from eurosat_core.analysis.prediction import answer_finding
from eurosat_core.data.tiles import open_tiles
from eurosat_core.lab.inspection import Inspector
from eurosat_core.lab.predict import Predictor
from eurosat_core.models.recorded import RECORDED
from eurosat_core.runs.store import RunStore
from eurosat_core.words.say import say
from tests.browser.participant import alerts, choose, fill, give, main, saw, told, unfold
from tests.browser.waiting import click_in, drawn

pytestmark = pytest.mark.browser
PAGE = "predict"


def lower_left_tile(box) -> tuple[float, float]:
    """The middle of the lower left one of four tiles: the map keeps its shape, in the upper left corner."""
    side = min(box["width"], box["height"])
    return 0.25 * side, 0.75 * side


def test_an_upload_becomes_a_map_and_a_click_opens_a_tile(page, app_folder, tmp_path):
    tiles = open_tiles(None, app_folder / "cache")
    numbers = [5, 405, 1005, 1905]  # of different classes, as one picture of 128 × 128 pixels
    rows = [np.concatenate(tiles.array[numbers[at : at + 2]], axis=1) for at in (0, 2)]
    Image.fromarray(np.concatenate(rows)).save(tmp_path / "mosaic.png")
    predictor = Predictor(RunStore(app_folder / "nothing"), Inspector(RunStore(app_folder / "nothing")))
    expected = [
        say(answer_finding(predictor.answer(RECORDED, tiles.array[each]), tiles.class_names)) for each in numbers
    ]
    choose(page, "My own picture")
    told(page, "predict/nothing yet").wait_for()
    give(page, tmp_path / "mosaic.png")
    main(page).get_by_text("2 × 2 = 4 tiles").wait_for()
    page.get_by_text(expected[0], exact=True).wait_for()
    saw(page, "prediction.map", tiles=4).wait_for()
    drawn(page)
    chart = page.locator("[data-testid=stVegaLiteChart]").first.locator("svg, canvas").first
    click_in(chart, page.get_by_text(expected[2], exact=True), lower_left_tile)
    drawn(page)
    assert page.get_by_role("spinbutton", name="Row").input_value() == "2"
    unfold(page, "looked")
    told(page, "looked.method.maps", rows=26).wait_for()
    page.get_by_role("img", name=re.compile("bright")).wait_for()
    unfold(page, "More")
    fill(page, "predict_metres", 40)
    main(page).get_by_text("8 × 8 = 64 tiles").wait_for()
    saw(page, "prediction.map", tiles=64).wait_for()
    (tmp_path / "photo.jpg").write_text("Dear all, here is the photo.")
    give(page, tmp_path / "photo.jpg")
    alerts(page, "Error").wait_for()


def test_a_face_is_land_cover_to_it(page):
    choose(page, "above 90 %")
    choose(page, "A made-up picture")
    saw(page, "prediction.made_up", shown="a face").filter(has_text="“above 90 %”").wait_for()
    choose(page, "A chessboard")
    saw(page, "prediction.made_up", shown="a chessboard").wait_for()
