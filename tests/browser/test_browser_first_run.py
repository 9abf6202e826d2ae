"""The first training on a machine that something else keeps busy: it starts at once, and ends.

A server of its own, since nothing may have been measured yet. The times are those the app is built for on two cores,
with room for the browser beside it; `bench first` measures them.
"""

import re
from pathlib import Path

import pytest

from bench.busy import busy_processes
from bench.server import app_server, wait_for_tiles
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from tests.browser.conftest import watched_window

pytestmark = pytest.mark.browser
_FIRST_FIGURES, _FINISHED = 20_000, 60_000  # milliseconds since it was pressed


def test_first_training_beside_a_busy_process_starts_at_once(browser, tmp_path: Path):
    settings = Settings(runs=tmp_path / "runs", cache=tmp_path / "cache")
    with busy_processes(1), app_server(settings, settings.runs) as address:
        wait_for_tiles(address, seconds=120)
        with watched_window(browser, f"{address}/train") as page:
            _first_training(page)
        (record,) = RunStore(settings.runs).all()[0]
    assert record.state == "finished"
    assert not record.config.is_open, "what was left to the device is settled"
    assert record.busy_elsewhere > 0.3, "the run knows that it was not alone"


def _first_training(page) -> None:
    """Press Train as soon as that is possible, and see the first figures and the end in time."""
    main = page.locator("[data-testid=stMain]")
    main.get_by_role("button", name=re.compile("Train on CPU"), disabled=False).click()
    page.wait_for_url(re.compile("run=2"), timeout=_FIRST_FIGURES)
    figure = page.locator("[data-testid=stMetricValue]").filter(has_text=re.compile(r"\d"))
    figure.first.wait_for(timeout=_FIRST_FIGURES)
    main.locator(".stMarkdownBadge").filter(has_text="Finished").wait_for(timeout=_FINISHED)
