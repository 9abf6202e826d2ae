"""The room in real browsers: a cookie that scripts cannot read, runs that are nobody else's, a name that comes back."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from eurosat_core.classroom.cookie import NAME, secret_in
from eurosat_core.data.weights import find_weights
from eurosat_core.runs.store import RunStore
from tests.browser.conftest import app_with_secrets, watched_window
from tests.browser.participant import (
    LONG,
    MINUTES,
    alerts,
    badge,
    choose,
    go_to,
    keyed,
    main,
    press,
    set_epochs,
    start_training,
    stop,
    told,
)
from tests.browser.waiting import drawn

pytestmark = pytest.mark.browser

WORD = "open sesame"


@pytest.fixture(scope="module")
def app(app_folder: Path) -> Iterator[str]:
    """As everywhere, with a passcode."""
    with app_with_secrets(app_folder, f'[classroom]\npasscode = "{WORD}"\n') as address:
        yield address


def nickname(page) -> str:
    drawn(page)
    page.wait_for_function("document.querySelector('[aria-label=Nickname]')?.value")
    return page.get_by_label("Nickname", exact=True).input_value()


def secret(page) -> str:
    (found,) = [each for each in page.context.cookies() if each["name"] == NAME]
    assert found["httpOnly"] and found["sameSite"] == "Lax"
    assert NAME not in page.evaluate("document.cookie")
    return found["value"]


def open_codes(page):
    box = page.get_by_label("Code from your other computer", exact=True)
    if not box.is_visible():
        page.get_by_text("On another computer?").click()
    box.wait_for()
    return box


def test_a_run_is_its_browsers_and_a_code_moves_the_name(page, browser, app, app_folder):
    ada, kept = nickname(page), secret(page)
    go_to(page, "Train")
    set_epochs(page, LONG)
    run_id = start_training(page)
    badge(page, "Training").wait_for()
    page.reload()
    badge(page, "Training").wait_for()
    assert (nickname(page), secret(page)) == (ada, kept)
    assert set(parse_qs(urlsplit(page.url).query)) == {"run"}
    tab = page.context.new_page()
    tab.goto(page.url)
    badge(tab, "Training").wait_for()
    assert nickname(tab) == ada
    tab.close()

    # Another browser looks at the run, with everything that stands in the first one's address, and with its name.
    with watched_window(browser, f"{page.url}&who={ada}") as other:
        badge(other, "Training").wait_for()
        assert nickname(other) != ada and secret(other) != kept
        assert "who" not in parse_qs(urlsplit(other.url).query)
        other.locator("[data-testid=stMain]").get_by_text(ada).first.wait_for()  # whose run it is
        drawn(other)
        assert main(other).get_by_role("button", name="Stop").count() == 0
        box = other.get_by_label("Nickname", exact=True)
        box.fill(ada.upper())
        box.press("Enter")
        other.locator("[data-testid=stSidebar] [data-testid=stAlert]").wait_for()
        assert nickname(other) != ada
    assert RunStore(app_folder / "runs").get(run_id).state == "running"

    open_codes(page)
    drawn(page)
    code = re.search(r"[A-Z2-7]{4}-[A-Z2-7]{4}", page.locator("[data-testid=stSidebar]").inner_text())
    with watched_window(browser, f"{app}/train?run={run_id}") as third:
        badge(third, "Training").wait_for()
        box = open_codes(third)
        box.fill(code[0])
        box.press("Enter")
        third.get_by_role("button", name="Enter", exact=True).click()
        third.wait_for_function("name => document.querySelector('[aria-label=Nickname]')?.value === name", arg=ada)
        drawn(third)
        third.goto(f"{app}/train?run={run_id}")
        badge(third, "Training").wait_for()
        stop(third)
    badge(page, "Stopped").wait_for()


def test_the_instructor_sees_everybody_and_stops_a_run(page, browser, app, app_folder):
    ada = nickname(page)
    go_to(page, "Train")
    set_epochs(page, LONG)
    run_id = start_training(page)
    badge(page, "Training").wait_for()
    with watched_window(browser, f"{app}/classroom") as desk:
        there = main(desk)
        box = there.get_by_label("Passcode", exact=True)
        box.fill("sesame")
        box.press("Enter")
        there.locator("[data-testid=stAlert]").wait_for()
        drawn(desk)
        box.fill(WORD)
        box.press("Enter")
        there.get_by_role("button", name="Hold the queue").wait_for()
        there.locator("[data-testid=stTable]").get_by_text(ada).wait_for()
        assert WORD not in desk.url and WORD not in desk.content()
        with watched_window(browser, desk.url) as eve:
            main(eve).get_by_label("Passcode", exact=True).wait_for()
            drawn(eve)
            assert eve.get_by_role("button", name="Hold the queue").count() == 0
        desk.reload()
        there.get_by_role("button", name="Hold the queue").wait_for()
        press(desk, f"stop_{run_id}")
        badge(page, "Stopped").wait_for()
        assert RunStore(app_folder / "runs").get(run_id).state == "cancelled"
        there.get_by_role("button", name="Sign out").click()
        there.get_by_label("Passcode", exact=True).wait_for()


def test_each_finds_the_own_dot_in_the_rooms_experiment(page, browser, app, app_folder):
    with (
        watched_window(browser, f"{app}/classroom") as desk,
        watched_window(browser, f"{app}/projector") as projector,
        watched_window(browser, f"{app}/wrapup") as other,
    ):
        box = main(desk).get_by_label("Passcode", exact=True)
        box.fill(WORD)
        box.press("Enter")
        keyed(desk, "deal_open").wait_for()
        go_to(desk, "Train")
        set_epochs(desk, 1)
        go_to(desk, "Classroom")
        press(desk, "deal_open")
        keyed(desk, "deal_end").wait_for()
        for who in (page, other):
            keyed(who, "dealt_train").wait_for()
            press(who, "dealt_train")
        for who in (page, other):
            badge(who, "Finished").wait_for(timeout=MINUTES)
            keyed(who, "dealt").locator("[data-testid=stVegaLiteChart]").get_by_text("you", exact=True).wait_for()
        main(projector).get_by_text("2 of 2").wait_for()
        main(projector).locator("[data-testid=stVegaLiteChart]").wait_for()
        press(desk, "deal_end")
        keyed(page, "dealt").wait_for(state="detached")
    runs = [each for each in RunStore(app_folder / "runs").all()[0] if each.config.epochs == 1]
    assert {each.config.seed for each in runs} == {1, 2} and len({each.owner for each in runs}) == 2


def play(page) -> None:
    """A game of tiles, in which every tile is named as the first class."""
    page.get_by_role("button", name="Start", exact=True).click()
    for number in range(1, 11):
        main(page).get_by_text(f"Tile {number} of 10", exact=True).wait_for()
        drawn(page)
        page.wait_for_timeout(400)  # sooner it would count as a double click
        press(page, "tile_game_class_0")
    keyed(page, "tile_game_start").wait_for()


@pytest.mark.skipif(find_weights("efficientnet_lite0", Path()) is None, reason="the weights' package is not installed")
def test_what_the_room_names_teaches_a_classifier(page, browser, app):
    with (
        watched_window(browser, f"{app}/classroom") as desk,
        watched_window(browser, f"{app}/projector") as projector,
        watched_window(browser, f"{app}/tiles") as other,
    ):
        box = main(desk).get_by_label("Passcode", exact=True)
        box.fill(WORD)
        box.press("Enter")
        press(desk, "labels_anew")
        drawn(desk)
        keyed(desk, "labels_shown").locator("label").first.click()
        main(projector).get_by_role("heading", level=1).wait_for()
        go_to(page, "Tiles")
        for who in (page, other):
            play(who)
        curve = told(projector, "room_labels.learned", labels=20)
        curve.wait_for(timeout=MINUTES)
        drawn(projector)
        assert main(projector).locator("[data-testid=stVegaLiteChart]").count() == 2
        assert nickname(other) not in main(projector).inner_text()
        told(desk, "room_labels.learned", labels=20).wait_for()
        keyed(desk, "labels_shown").locator("label").first.click()
        curve.wait_for(state="detached")


def test_the_server_keeps_no_secret(page, app_folder):
    value = secret(page)
    assert secret_in({NAME: value}) == value
    lines = (app_folder / "runs" / "participants.jsonl").read_text(encoding="utf-8")
    assert value not in lines
    assert all(json.loads(each)["id"] for each in lines.splitlines())


def test_scripts_and_pictures_get_no_cookie(app):
    with urllib.request.urlopen(f"{app}/api/health", timeout=60) as answer:
        assert answer.headers.get("set-cookie") is None


def test_the_instructor_sees_a_page_only_while_its_owner_lets_them(page, browser, app, app_folder):
    from playwright.sync_api import expect  # where there is none, the tests skip before they come here

    with watched_window(browser, f"{app}/classroom") as desk:
        box = main(desk).get_by_label("Passcode", exact=True)
        box.fill(WORD)
        box.press("Enter")
        keyed(desk, "queue_hold").wait_for()
        go_to(page, "Train")
        set_epochs(page, 7)
        choose(page, "Hand up")
        press(page, "looking_show")
        keyed(page, "looking_stop").wait_for()
        with desk.context.expect_page() as opened:
            main(desk).get_by_role("link", name="See the page").click()
        seen = opened.value
        epochs = keyed(seen, "train_epochs").get_by_role("spinbutton")
        expect(epochs).to_have_value("7", timeout=MINUTES)
        set_epochs(page, 5)
        expect(epochs).to_have_value("5", timeout=MINUTES)
        runs = sorted((app_folder / "runs").iterdir())
        press(seen, "train_start")
        alerts(seen, "Error").first.wait_for()
        assert sorted((app_folder / "runs").iterdir()) == runs
        with watched_window(browser, seen.url) as eve:  # a stolen address
            alerts(eve, "Info").first.wait_for()
            drawn(eve)
            assert keyed(eve, "train_epochs").count() == 0
        choose(page, "Hand up")  # down again
        alerts(seen, "Info").first.wait_for()
        epochs.wait_for(state="detached")
