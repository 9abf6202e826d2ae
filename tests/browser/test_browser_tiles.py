"""The Tiles page in a real browser: a download that is watched, points that are chosen, views, own pictures."""

import io
import re
import zipfile
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import pytest

from bench.server import app_server, wait_for_tiles
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.settings import Settings
from tests.browser.conftest import watched_window
from tests.browser.participant import MINUTES, badge, go_to, set_epochs, start_training
from tests.browser.waiting import drawn, settled_box
from tests.file_server import FileServer, dripping_after, file_server, plain

pytestmark = pytest.mark.browser


def open_view(page, name: str) -> None:
    page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name, exact=True)).first.click()


def test_every_view_opens_and_shows_something(page):
    go_to(page, "Tiles")
    for name, words in (
        ("Class averages", "Compare the histograms of"),
        ("All tiles in one chart", "Nothing is chosen yet"),
        ("Typical and odd", "Oddest"),
        ("From picture to numbers", "Its first pixel"),
        ("Splits", "Sealed test"),
        ("Browse", "Look at one closely"),
    ):
        open_view(page, name)
        page.get_by_text(words).first.wait_for()
        drawn(page)
        assert page.locator("[data-testid=stException]").count() == 0


def test_the_game_is_played_to_its_end_and_survives_a_refresh(page):
    go_to(page, "Tiles")
    page.get_by_role("button", name="Start", exact=True).click()
    for number in range(1, 11):
        page.get_by_text(re.compile(rf"Tile {number} of 10")).first.wait_for()
        drawn(page)  # only then the tile counts as shown
        page.wait_for_timeout(350)  # a click right after the last one would be taken for a double click
        choice = page.locator("[class*=st-key-tile_game_class_] button")
        choice.nth(number % choice.count()).click()
    page.get_by_role("button", name="Play again").wait_for()
    page.get_by_text(re.compile(r"You named .* of 10|\d+ of 10")).first.wait_for()
    page.reload()
    page.get_by_role("button", name=re.compile("Start|Play again")).first.wait_for()
    page.get_by_text(re.compile("guesses", re.IGNORECASE)).first.wait_for()


def test_points_are_chosen_with_the_mouse_and_their_tiles_shown(page):
    go_to(page, "Tiles")
    open_view(page, "All tiles in one chart")
    page.get_by_text("Nothing is chosen yet").wait_for()
    canvas = page.locator("[data-testid=stVegaLiteChart] :is(canvas, svg)").first  # by how many points there are
    box = settled_box(canvas)
    page.mouse.move(box["x"] + 0.30 * box["width"], box["y"] + 0.30 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.70 * box["width"], box["y"] + 0.60 * box["height"], steps=8)
    page.mouse.up()
    chosen = page.get_by_text(re.compile(r"[\d,]+ tiles? chosen"))
    chosen.wait_for()
    page.get_by_role("img", name=re.compile("Chosen tile of class")).first.wait_for()


def test_the_split_is_chosen_and_a_training_set_up(page):
    go_to(page, "Tiles")
    open_view(page, "Splits")
    page.get_by_text("Sealed test").first.wait_for()
    open_view(page, "By place")
    page.get_by_text("Synthetic tiles have no place").wait_for()
    page.get_by_text("Recorded elsewhere, not on this machine").wait_for()


@pytest.fixture
def archive(save_picture, tmp_path: Path) -> bytes:
    """A zip such as EuroSAT's, three generated pictures a class."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for label, name in enumerate(CLASS_NAMES):
            for number in range(1, 4):
                path = save_picture(tmp_path / "pictures" / f"{name}_{number}.jpg", label, 10 * label + number)
                opened.write(path, f"2750/{name}/{path.name}")
    return buffer.getvalue()


@pytest.fixture
def mirror(archive: bytes):
    with file_server({"EuroSAT.zip": archive}) as server:
        yield server


@pytest.fixture
def own_app(app_folder: Path, tmp_path: Path, mirror: FileServer, archive: bytes):
    """An app of this test's own, without tiles, that downloads from the mirror."""
    settings = Settings(
        runs=tmp_path / "runs",
        cache=tmp_path / "cache",
        archive_url=mirror.url("EuroSAT.zip"),
        archive_md5=md5(archive).hexdigest(),
    )
    with app_server(settings, settings.runs) as address:
        wait_for_tiles(address, seconds=120)
        yield address


def test_a_download_is_watched_cut_resumed_and_used_at_once(browser, own_app: str, mirror: FileServer, archive: bytes):
    mirror.answers = [plain(404), dripping_after(len(archive) // 2)]
    with watched_window(browser, f"{own_app}/tiles") as page:
        page.get_by_text("Synthetic tiles").first.wait_for()
        page.get_by_role("button", name="Download EuroSAT").click()
        page.get_by_text(re.compile(r"has no EuroSAT\.zip \(status 404\)")).wait_for()
        page.get_by_role("button", name="Try again").click()
        page.get_by_text(re.compile(r"Downloading: .* of ")).wait_for()
        with watched_window(browser, f"{own_app}/tiles") as other:  # everybody sees it, and only its owner stops it
            other.get_by_text(re.compile("Started by .*, for everybody")).wait_for()
            drawn(other)
            assert other.locator("[data-testid=stMain]").get_by_role("button", name="Stop").count() == 0
        page.locator("[data-testid=stMain]").get_by_role("button", name="Stop").click()
        page.get_by_text("The download was stopped").wait_for()
        page.get_by_role("button", name=re.compile("Go on with the download")).click()
        page.get_by_text("30 of 27,000 EuroSAT tiles").first.wait_for()
        page.get_by_text(re.compile("The bar is 200 m long")).first.wait_for()
    *_, part = (asked for name, asked in mirror.asked if name == "EuroSAT.zip")
    assert int(part.removeprefix("bytes=").removesuffix("-")) >= len(archive) // 2


def test_three_classes_of_own_pictures_are_browsed_trained_and_judged(
    browser, app_folder: Path, save_picture, tmp_path
):
    for label, name in enumerate(("Barley", "Maize", "Wheat")):
        for number in range(20):
            save_picture(tmp_path / "own" / name / f"{number}.png", label, 100 * label + number, size=(100, 80))
    settings = replace(Settings(runs=tmp_path / "runs", cache=tmp_path / "cache"), data=tmp_path / "own")
    with app_server(settings, settings.runs) as address:
        wait_for_tiles(address, seconds=120)
        with watched_window(browser, f"{address}/tiles") as page:
            page.get_by_text("60 resized to 64×64").first.wait_for()
            open_view(page, "Maize")
            page.get_by_text("20 tiles.").first.wait_for()
            go_to(page, "Train")
            set_epochs(page, 2)
            start_training(page)
            badge(page, "Finished").wait_for(timeout=MINUTES)
            page.get_by_text("Accuracy per class").wait_for()
