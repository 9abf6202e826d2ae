"""What only a browser shows: charts that move, a run that is found again, keys, no errors in the console."""

import re
import time
from contextlib import suppress

import pytest
from playwright.sync_api import TimeoutError

from eurosat_core.runs.store import RunStore

pytestmark = pytest.mark.browser

LONG = 200
"""Epochs of a training that a test stops: the most there may be, for a fast machine must not be done before."""


def go_to(page, name: str) -> None:
    page.wait_for_load_state("networkidle")  # Streamlit forgets the pictures of a page that is left
    # By its address: an icon is text, too, and Train's is called model_training.
    page.locator(
        f"[data-testid=stSidebarNavLink][href$='/{'' if name == 'Start' else name.lower().replace('-', '')}']"
    ).click()
    page.get_by_role("heading", name=f"{name}: ").wait_for()


def set_epochs(page, epochs: int) -> None:
    """Type it, and see it on the button: the number that fits this machine may come in between, once."""
    box = page.get_by_role("spinbutton", name="Epochs")
    button = page.get_by_role("button", name=re.compile(f"Train on CPU · {epochs} epoch"))
    for _ in range(5):
        box.fill(str(epochs))
        box.press("Enter")
        with suppress(TimeoutError):
            button.wait_for(timeout=6_000)
            return
    button.wait_for()


def start_training(page) -> str:
    """Press Train; the id of the run, which the address then names."""
    page.get_by_role("button", name=re.compile("^.*Train on CPU")).click()
    page.wait_for_url(re.compile("run=2"))
    return re.search(r"run=([0-9a-z_-]+)", page.url).group(1)


def badge(page, text: str):
    """The badge that names the run's state; its icon is text, too."""
    return page.locator("[data-testid=stMain] .stMarkdownBadge").filter(has_text=text)


def steps_drawn(page) -> str:
    """The progress line over the charts, which changes as steps are reported."""
    return page.locator("[data-testid=stProgress]").inner_text()


def stop(page) -> None:
    page.locator("[data-testid=stMain]").get_by_role("button", name="Stop").click()  # the header has one, too
    badge(page, "Stopped").wait_for()


def test_every_page_opens_from_the_navigation(page):
    for name in (
        "Tiles",
        "Convolution",
        "Model",
        "Train",
        "Profiler",
        "Speed",
        "Compare",
        "Wrap-up",
        "Predict",
        "Classroom",
        "Start",
    ):
        go_to(page, name)
        assert page.locator("[data-testid=stException]").count() == 0


def test_missing_gpu_is_disabled_and_says_why(page):
    page.get_by_text(re.compile("No GPU was found|CPU-only build|driver")).first.wait_for()
    assert page.get_by_role("radio", name=re.compile("GPU")).is_disabled()


def test_synthetic_tiles_are_labelled(page):
    page.get_by_text("2,000 synthetic tiles").first.wait_for()


def test_small_run_trains_and_its_charts_move(page):
    go_to(page, "Train")
    set_epochs(page, LONG)
    start_training(page)
    badge(page, "Training").wait_for()
    chart = page.locator("[data-testid=stVegaLiteChart]").first
    chart.wait_for()
    seen = set()
    deadline = time.monotonic() + 20
    while len(seen) < 4 and time.monotonic() < deadline:
        seen.add(chart.screenshot())
        page.wait_for_timeout(700)
    assert len(seen) >= 4, "the chart did not move"
    stop(page)


def test_refresh_and_second_tab_find_the_run(page, app):
    go_to(page, "Train")
    set_epochs(page, LONG)
    run_id = start_training(page)
    badge(page, "Training").wait_for()
    page.reload()
    badge(page, "Training").wait_for()
    assert run_id in page.url
    second = page.context.new_page()
    second.goto(page.url)
    badge(second, "Training").wait_for()
    second.close()
    go_to(page, "Tiles")
    go_to(page, "Train")
    badge(page, "Training").wait_for()
    stop(page)


def test_pause_one_step_resume_stop(page):
    go_to(page, "Train")
    set_epochs(page, LONG)
    start_training(page)
    badge(page, "Training").wait_for()
    page.get_by_role("button", name="Pause").click()
    badge(page, "Paused").wait_for()
    before, deadline = "", time.monotonic() + 30
    while before != (before := steps_drawn(page)):  # the last reports may still be on their way
        assert time.monotonic() < deadline, "a paused run goes on"
        page.wait_for_timeout(3000)
    page.get_by_role("button", name="One step").click()
    page.wait_for_function(
        "before => document.querySelector('[data-testid=stProgress]').innerText !== before", arg=before
    )
    page.get_by_role("button", name="Resume").click()
    badge(page, "Training").wait_for()
    stop(page)


def test_run_goes_on_without_a_browser(page, browser, app, app_folder):
    go_to(page, "Train")
    set_epochs(page, 3)
    run_id = start_training(page)
    page.goto("about:blank")
    store = RunStore(app_folder / "runs")
    deadline = time.monotonic() + 60
    while store.get(run_id).is_active and time.monotonic() < deadline:
        time.sleep(0.2)
    assert store.get(run_id).state == "finished"
    page.goto(f"{app}/train?run={run_id}")
    badge(page, "Finished").wait_for()
    page.get_by_text("What you just saw").wait_for()
    page.get_by_text("Accuracy per class").wait_for()


def test_unknown_run_gets_a_sentence(page, app):
    page.goto(f"{app}/train?run=20200101-000000-baseline-abcd")
    page.get_by_text(re.compile("There is no run")).first.wait_for()
    assert page.locator("[data-testid=stException]").count() == 0
