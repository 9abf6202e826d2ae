"""The first training on a machine that something else keeps busy: it starts without being measured first, and ends.

A server of its own, since nothing may have been measured yet. How long it takes, `bench first` measures.
"""

import re
from pathlib import Path

import pytest

from bench.busy import busy_processes
from bench.server import app_server, wait_for_tiles
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from tests.browser.conftest import watched_window
from tests.browser.participant import MINUTES, badge, keyed, run_in_address

pytestmark = pytest.mark.browser


def test_first_training_beside_a_busy_process(browser, tmp_path: Path):
    settings = Settings(runs=tmp_path / "runs", cache=tmp_path / "cache")
    with busy_processes(1), app_server(settings, settings.runs) as address:
        wait_for_tiles(address, seconds=120)
        with watched_window(browser, f"{address}/train") as page:
            keyed(page, "train_start").get_by_role("button", disabled=False).click()
            run_in_address(page)
            page.locator("[data-testid=stMetricValue]").filter(has_text=re.compile(r"\d")).first.wait_for()
            badge(page, "Finished").wait_for(timeout=MINUTES)
        (record,) = RunStore(settings.runs).all()[0]
    assert record.state == "finished"
    assert not record.config.is_open, "what was left to the device is settled"
    assert record.busy_elsewhere > 0.3, "the run knows that it was not alone"
