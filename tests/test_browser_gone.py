"""A browser that vanishes in the middle of its training, without a word: the run goes on, and its page finds it."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from own_loop import apart

from bench.server import app_process, followed_page, wait_for_tiles
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings

pytestmark = pytest.mark.engine

PATIENCE = 150.0  # seconds, for everything that starts processes


async def train_and_vanish(address: str) -> None:
    async with followed_page(address, time.monotonic() + PATIENCE, "") as page:
        await page.until(lambda: bool(page.button), time.monotonic() + PATIENCE, "There was no Train button")
        await page.press()
        await page.until(lambda: "run=" in page.query, time.monotonic() + PATIENCE, "The run did not begin")
        page._socket.transport.abort()


async def find_again(address: str, query: str) -> None:
    async with followed_page(address, time.monotonic() + PATIENCE, query) as page:
        await page.until(lambda: page.seen is not None, time.monotonic() + PATIENCE, "Its pace was not shown")


def ended(store: RunStore) -> RunRecord:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        records, problems = store.all()
        assert not problems and len(records) <= 1
        if records and not records[0].is_active:
            return records[0]
        time.sleep(0.1)
    raise AssertionError("The run never ended")


def test_a_browser_that_vanishes_loses_no_run(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    with app_process(Settings(store.folder, tmp_path / "cache", threads=1), store.folder) as (address, _):
        wait_for_tiles(address, PATIENCE)
        apart(asyncio.run, train_and_vanish(address))
        run = ended(store)
        assert run.state == "finished", run.message
        lines = (store.folder_of(run.id) / "events.jsonl").read_bytes().splitlines()
        assert [json.loads(each)["kind"] for each in lines].count("finished") == 1
        apart(asyncio.run, find_again(address, f"run={run.id}"))
