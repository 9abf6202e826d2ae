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
from tests.browser.test_browser import badge, go_to, set_epochs, start_training
from tests.browser.test_browser_convolution import choose, press
from tests.browser.waiting import click_in, drawn, give

pytestmark = pytest.mark.browser


def saw(page, words: str):
    return page.locator("[data-testid=stAlert]").filter(has_text="What you just saw").filter(has_text=words)


def lower_left_tile(box) -> tuple[float, float]:
    """The middle of the lower left one of four tiles: the map keeps its shape, in the upper left corner."""
    side = min(box["width"], box["height"])
    return 0.25 * side, 0.75 * side


def upload(page, path) -> None:
    go_to(page, "Predict")
    choose(page, "My own picture")
    page.get_by_text("Choose a picture: a screenshot").wait_for()
    give(page, path)


@pytest.fixture
def tiles(app_folder):
    return open_tiles(None, app_folder / "cache")


@pytest.fixture
def mosaic(tiles, tmp_path):
    """Four tiles of different classes as one PNG of 128 × 128 pixels, and their numbers."""
    numbers = [5, 405, 1005, 1905]
    rows = [np.concatenate(tiles.array[numbers[at : at + 2]], axis=1) for at in (0, 2)]
    Image.fromarray(np.concatenate(rows)).save(tmp_path / "mosaic.png")
    return tmp_path / "mosaic.png", numbers


def test_an_upload_becomes_a_map_and_a_click_opens_a_tile(page, mosaic, tiles, app_folder):
    path, numbers = mosaic
    predictor = Predictor(RunStore(app_folder / "nothing"), Inspector(RunStore(app_folder / "nothing")))
    expected = [
        say(answer_finding(predictor.answer(RECORDED, tiles.array[each]), tiles.class_names)) for each in numbers
    ]
    upload(page, path)
    page.get_by_text(re.compile(r"128 × 128 pixels: 2 × 2 = 4 tiles")).wait_for()
    page.get_by_text(expected[0], exact=True).wait_for()
    saw(page, "4 tiles").wait_for()
    drawn(page)
    chart = page.locator("[data-testid=stVegaLiteChart]").first.locator("svg, canvas").first
    click_in(chart, page.get_by_text(expected[2], exact=True), lower_left_tile)
    drawn(page)
    assert page.get_by_role("spinbutton", name="Row").input_value() == "2"
    page.get_by_text("Where it looked", exact=True).click()
    page.get_by_text(re.compile("26 × 26 cells")).wait_for()
    page.get_by_role("img", name=re.compile("bright where it speaks for")).wait_for()
    assert page.locator("[data-testid=stException]").count() == 0


def test_other_metres_per_pixel_make_other_tiles(page, mosaic):
    upload(page, mosaic[0])
    page.get_by_text(re.compile("= 4 tiles")).wait_for()
    drawn(page)
    page.get_by_text("More about this picture", exact=True).click()
    box = page.get_by_role("spinbutton", name="Metres per pixel")
    box.fill("40")
    box.press("Enter")
    page.get_by_text(re.compile("8 × 8 = 64 tiles")).wait_for()
    saw(page, "64 tiles").wait_for()
    drawn(page)
    assert page.locator("[data-testid=stException]").count() == 0


def test_a_file_that_is_no_picture_gets_a_sentence(page, tmp_path):
    (tmp_path / "photo.jpg").write_text("Dear all, here is the photo.")
    upload(page, tmp_path / "photo.jpg")
    page.get_by_text(re.compile("This is no JPEG, PNG or TIFF picture")).wait_for()


def test_a_face_is_land_cover_to_it(page):
    go_to(page, "Predict")
    choose(page, "above 90 %")
    choose(page, "A made-up picture")
    saw(page, "Shown a face, it answers").filter(has_text="You guessed “above 90 %”").wait_for()
    choose(page, "A chessboard")
    saw(page, "Shown a chessboard").wait_for()


def test_a_trained_run_is_asked_and_stays_in_the_address(page):
    go_to(page, "Train")
    set_epochs(page, 1)
    run_id = start_training(page)
    badge(page, "Finished").wait_for(timeout=90_000)
    go_to(page, "Predict")
    page.wait_for_url(re.compile(f"network={run_id}"))
    page.get_by_text(re.compile("This network was trained on synthetic tiles")).wait_for()
    drawn(page)
    press(page, "A wrong one")
    page.get_by_text(re.compile(r"Wrong answer 1 of")).wait_for()
    saw(page, "That is wrong").wait_for()
    page.reload()
    page.wait_for_url(re.compile(f"network={run_id}"))
    page.get_by_text(re.compile("This network was trained on synthetic tiles")).wait_for()
