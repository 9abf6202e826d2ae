"""What only a browser shows: charts that move, a run that is found again, buttons, no errors in the console."""

import time

import pytest

from eurosat_core.runs.store import RunStore
from pages.parts import lesson
from tests.browser.participant import (
    LONG,
    badge,
    go_to,
    main,
    press,
    run_in_address,
    saw,
    set_epochs,
    start_training,
    stop,
    told,
)
from tests.browser.waiting import answered, changes, drawn

pytestmark = pytest.mark.browser


def test_every_page_opens_from_the_navigation(page):
    told(page, "start/question").wait_for()
    assert page.get_by_role("radio", name="GPU").is_disabled()
    page.get_by_text("2,000 synthetic tiles").first.wait_for()
    for name in (*(each["title"] for each in lesson.pages().values()), "Start"):
        go_to(page, name)
        drawn(page)


def test_a_training_is_watched_found_again_paused_and_stopped(page):
    go_to(page, "Train")
    set_epochs(page, LONG)
    run_id = start_training(page)
    badge(page, "Training").wait_for()
    changes(main(page).locator("[data-testid=stVegaLiteChart]").first)
    page.reload()
    badge(page, "Training").wait_for()
    assert run_in_address(page) == run_id
    second = page.context.new_page()
    second.goto(page.url)
    badge(second, "Training").wait_for()
    second.close()
    go_to(page, "Tiles")
    go_to(page, "Train")
    badge(page, "Training").wait_for()
    press(page, "run_pause")
    badge(page, "Paused").wait_for()
    progress = page.locator("[data-testid=stProgress]").first
    before, deadline = "", time.monotonic() + 120
    while before != (before := progress.inner_text()):  # the last reports may still be on their way
        assert time.monotonic() < deadline, "a paused run goes on"
        page.wait_for_timeout(3000)
    press(page, "run_step")
    page.wait_for_function(
        "before => document.querySelector('[data-testid=stProgress]').innerText !== before", arg=before
    )
    press(page, "run_pause")
    badge(page, "Training").wait_for()
    stop(page)


def test_the_nickname_is_there_however_late_its_code_comes(page):
    """Where the page is drawn once more before, by a click or because the GPUs are known now."""
    held = []
    page.route("**/TextInput*.js", lambda route: held.append(route))  # Playwright takes no built-in
    page.reload()
    guess = page.get_by_role("radio", name="10×").first
    guess.wait_for()
    while not held:
        page.wait_for_timeout(100)
    guess.click()
    answered(page)
    for each in held:
        each.continue_()
    page.wait_for_function("document.querySelector('[aria-label=Nickname]')?.value")


def test_run_goes_on_without_a_browser(page, app, app_folder):
    go_to(page, "Train")
    set_epochs(page, 3)
    run_id = start_training(page)
    page.goto("about:blank")
    store = RunStore(app_folder / "runs")
    deadline = time.monotonic() + 300
    while store.get(run_id).is_active and time.monotonic() < deadline:
        time.sleep(0.2)
    assert store.get(run_id).state == "finished"
    page.goto(f"{app}/train?run={run_id}")
    badge(page, "Finished").wait_for()
    saw(page, "training.synthetic").wait_for()
    told(page, "training.confusions").wait_for()
