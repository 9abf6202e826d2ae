"""How soon the app is there, and how quickly pages change while a run trains, seen by a real browser.

Needs Playwright and a Chromium of the machine (see tests/requirements.txt).
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.processes import row
from bench.server import app_server, wait_for_tiles
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import ConfigError
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.training.config import recipe_config

STARTS = 3
SWITCHES = 30
_BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
# The page's heading, once nothing on the page is still being computed.
_DRAWN = "h1, h2, h3"


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds from `streamlit run` to the first page drawn, and per switch of pages while a run trains."""
    tiles = open_tiles(find_place(None, settings), settings.cache)
    starts: list[float] = []
    computed: list[float] = []
    switches: list[float] = []
    with chromium_pages() as new_page:
        for number in range(STARTS + 1):
            with tempfile.TemporaryDirectory() as folder:
                store = RunStore(Path(folder))
                if number == STARTS:  # the last server gets a long run to train while pages are switched
                    config = recipe_config("baseline", "tutorial", source="memory", epochs=100)
                    store.create(config, "bench", TilesUsed.of(tiles))
                page = new_page()
                began = time.perf_counter()
                with app_server(settings, store.folder) as address:
                    _open(page, address)
                    taken = time.perf_counter() - began
                    if number == 0:
                        say(f"  first start, files not yet in the machine's memory: {taken:.1f} s (not counted)")
                    else:
                        starts.append(taken)
                        computed.append(_cpu_seconds())
                        say(f"  start: {taken:.2f} s, {computed[-1]:.2f} s of CPU time")
                    if number == STARTS:
                        wait_for_tiles(address)
                        switches = _switch_pages(page)
                page.close()
    p95 = statistics.quantiles(switches, n=20)[-1]
    return {
        "about": "in Chromium, on the machine that also trains and serves",
        "rows": [
            row("`streamlit run` to the first page drawn, warm", starts, "s", promise="≤ 4 s"),
            row("CPU time of server and workers until then", computed, "s"),
            row("page switch while a run trains, median", switches, "s"),
            row("page switch while a run trains, p95", [p95], "s", promise="≤ 1 s"),
        ],
    }


@contextmanager
def chromium_pages() -> Iterator[Callable[[], Any]]:
    """While open, the function that opens a window in this machine's Chromium. Raises `ConfigError` without one."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ConfigError("This benchmark needs a browser: pip install -r tests/requirements.txt") from error
    chromium = next((each for each in _BROWSERS if Path(each).exists()), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_QUIET))
        yield browser.new_page
        browser.close()


def _cpu_seconds() -> float:
    """CPU time of the server that this process started and of its workers; on a busy machine it says more."""
    server = next(each for each in psutil.Process().children() if "streamlit" in each.cmdline())
    times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _open(page: Any, address: str) -> None:
    """Go to the app as soon as it listens, and wait until its first page stands."""
    deadline = time.monotonic() + 60
    while True:
        try:
            page.goto(address, wait_until="commit")
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    wait_until_drawn(page)


def wait_until_drawn(page: Any) -> None:
    """Return when the page has a heading and nothing on it is still being computed."""
    page.wait_for_selector(_DRAWN, state="visible", timeout=60_000)
    # Streamlit marks the app while a script runs.
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'",
        timeout=60_000,
    )


def _switch_pages(page: Any) -> list[float]:
    """Seconds for each of `SWITCHES` switches, round the pages of the navigation."""
    links = page.locator("[data-testid=stSidebarNavLink]")
    names = [text.strip() for text in links.all_inner_texts()]
    taken = []
    for number in range(SWITCHES):
        target = links.nth((number + 1) % len(names))
        heading_before = page.locator(_DRAWN).first.inner_text()
        began = time.perf_counter()
        target.click()
        page.wait_for_function(
            "before => document.querySelector('[data-testid=stMain] :is(h1, h2)')?.innerText !== before",
            arg=heading_before,
            timeout=60_000,
        )
        wait_until_drawn(page)
        taken.append(time.perf_counter() - began)
        page.wait_for_timeout(300)
    return taken
