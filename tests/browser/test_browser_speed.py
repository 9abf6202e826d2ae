"""Speed and wrap-up in a real browser: an experiment from guess to verdict, with a refresh; the report offline."""

import re
from pathlib import Path

import pytest

from tests.browser.conftest import watched_window
from tests.browser.participant import MINUTES, badge, go_to, main
from tests.browser.waiting import drawn

pytestmark = pytest.mark.browser


def pick(page, words: str) -> None:
    """Choose a pill whose label begins so."""
    name = re.compile(f"^{re.escape(words)}")
    main(page).get_by_role("radio", name=name).or_(main(page).get_by_role("button", name=name)).first.click()


def saw(page, words: str):
    return page.locator("[data-testid=stAlert]").filter(has_text="What you just saw").filter(has_text=words)


def test_an_experiment_from_guess_to_verdict(browser, app: str):
    with watched_window(browser, app) as page:
        go_to(page, "Speed")
        page.get_by_text("You have not run this experiment yet").wait_for()
        pick(page, "Tiles in memory")
        page.wait_for_url(re.compile("experiment=source"))
        pick(page, "more than twice as fast")
        main(page).get_by_role("button", name=re.compile("Run on CPU")).click()
        page.wait_for_url(re.compile("run=2"))
        run = re.search(r"run=([0-9a-z_-]+)", page.url).group(1)
        badge(page, "Measuring").wait_for(timeout=MINUTES)
        page.reload()  # it goes on, and is found again
        badge(page, "Measuring").wait_for()
        assert run in page.url
        page.get_by_text(re.compile(r"^Round \d+ of")).wait_for(timeout=MINUTES)
        drawn(page)
        saw(page, "“in memory” against “picture files”").wait_for(timeout=MINUTES)
        saw(page, "You guessed “more than twice as fast”").wait_for()  # the guess outlived the refresh
        page.get_by_text("Where the time of a step went").wait_for()
        page.get_by_text(re.compile("Measured on: .* timed steps in")).wait_for()
        drawn(page)
        go_to(page, "Wrap-up")
        page.get_by_text(re.compile("Tiles in memory, on the CPU")).wait_for()
        page.get_by_text("1 experiment of your own").first.wait_for()


def test_a_sweep_is_stopped(browser, app: str):
    with watched_window(browser, app) as page:
        go_to(page, "Speed")
        pick(page, "Free sweep of one setting")
        main(page).get_by_role("button", name=re.compile("Run the sweep on CPU")).click()
        page.wait_for_url(re.compile("run=2"))
        badge(page, "Measuring").wait_for(timeout=MINUTES)
        page.reload()
        badge(page, "Measuring").wait_for()
        main(page).get_by_role("button", name="Stop").click()
        page.get_by_text("What happened").wait_for(timeout=MINUTES)


def test_the_report_opens_with_the_network_off(browser, app: str, tmp_path: Path):
    with watched_window(browser, app) as page:
        go_to(page, "Wrap-up")
        page.get_by_text("A CNN learns filters from labelled tiles").wait_for()
        with page.expect_download() as waiting:
            main(page).get_by_role("button", name="Download the report").click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
    assert path.name.startswith("eurosat-lab-") and path.suffix == ".html"
    context = browser.new_context(offline=True)
    window = context.new_page()
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    window.goto(path.as_uri())
    window.get_by_role("heading", name="EuroSAT Lab: report of").wait_for()
    window.get_by_role("heading", name="What I found").wait_for()
    context.close()
    assert asked == [path.as_uri()], "it asked for something"


def test_a_suggestion_opens_the_train_page_as_it_says(browser, app: str):
    from playwright.sync_api import expect  # where there is none, the tests skip before they come here

    with watched_window(browser, app) as page:
        go_to(page, "Wrap-up")
        page.get_by_text("More epochs: 10 instead of 3").wait_for()
        main(page).get_by_role("button", name=re.compile("Set it up")).first.click()
        page.get_by_role("heading", name="Train: ").wait_for()
        epochs = page.get_by_role("spinbutton", name="Epochs")
        expect(epochs).to_have_value("10", timeout=MINUTES)  # the page's title is there before its settings
