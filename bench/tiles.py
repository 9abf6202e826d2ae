"""Tiles: decoding and opening them, and how quickly and in how much memory the Tiles page shows them.

Needs real tiles (EUROSAT_DATA) for figures that mean something, Playwright and a Chromium for the page.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.processes import answer_of, real_place, row
from bench.server import app_server, wait_for_tiles
from bench.start import chromium_pages, wait_until_drawn
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import ConfigError
from eurosat_core.settings import Settings

REPEATS = 3
SWITCHES = 12
_VIEWS = ("Class averages", "All tiles in one chart", "Typical and odd", "From picture to numbers", "Browse")


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds of decoding (beside a plain loop over torchvision's dataset), of opening, and of the page; megabytes."""
    place = real_place(settings, "tiles")
    if not place.is_dir():
        raise ConfigError(f"bench tiles reads a folder of pictures: unpack {place}.")
    plain, decoding, opening = [], [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            tiles = open_tiles(place, Path(folder))
            decoding.append(time.perf_counter() - began)
            began = time.perf_counter()
            open_tiles(place, Path(folder))
            opening.append(time.perf_counter() - began)
        plain.append(answer_of("bench.tiles", tiles.place)["seconds"])
        say(f"  decoded in {decoding[-1]:.2f} s (plain loop {plain[-1]:.2f} s), opened in {opening[-1]:.3f} s")
    first, switches, rss, private = _page(settings, say)
    return {
        "about": f"{len(tiles):,} tiles ({tiles.source}), {settings.threads} CPU threads",
        "rows": [
            row("plain loop over torchvision's ImageFolder", plain, "s"),
            row(
                "first decoding, with statistics",
                decoding,
                "s",
                ratio=statistics.median(plain) / statistics.median(decoding),
                promise="≤ 8 s",
            ),
            row("opening them later", opening, "s", promise="≤ 0.3 s"),
            row("Tiles page first drawn, warm server", first, "s", promise="≤ 1 s"),
            row("switch of class on it", switches, "s", promise="≤ 0.5 s"),
            row("server's memory more after all its views (RSS)", rss, "MB", promise="< 100 MB"),
            row("of which nobody shares (USS)", private, "MB"),
        ],
    }


def _page(settings: Settings, say: Callable[[str], None]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Seconds to the first drawing in a new window each, seconds per switch of class, and megabytes more."""
    first: list[float] = []
    switches: list[float] = []
    with tempfile.TemporaryDirectory() as folder, chromium_pages() as new_page:
        data = settings.data or find_place(None, settings)
        served = Settings(runs=Path(folder) / "runs", cache=settings.cache, data=data)
        with app_server(served, served.runs) as address:
            wait_for_tiles(address)
            server = _server_process(address)
            page = new_page()
            page.goto(address)
            wait_until_drawn(page)
            time.sleep(8)  # the worker and the short measurement of the device are through
            before = server.memory_full_info()
            for _ in range(REPEATS + 1):
                page = new_page()
                page.goto(address)
                wait_until_drawn(page)
                began = time.perf_counter()
                page.locator("[data-testid=stSidebarNavLink]").filter(has_text="Tiles").click()
                page.get_by_text("What you just saw").wait_for()
                wait_until_drawn(page)
                first.append(time.perf_counter() - began)
            for number in range(SWITCHES):
                began = time.perf_counter()
                name = ("Forest", "River", "Pasture", "Industrial")[number % 4]
                _choose(page, name)
                page.locator("[data-testid=stMain] strong").filter(has_text=name).first.wait_for()
                wait_until_drawn(page)
                switches.append(time.perf_counter() - began)
            for view in _VIEWS:
                _choose(page, view)
                page.wait_for_timeout(300)
                wait_until_drawn(page)
            after = server.memory_full_info()
    say(f"  first drawn {first[1:]}, switches {switches}")
    megabyte = 1024**2
    return first[1:], switches, [(after.rss - before.rss) / megabyte], [(after.uss - before.uss) / megabyte]


def _choose(page: Any, name: str) -> None:
    """Click one of several choices; Streamlit draws a single choice as radio buttons, others as buttons."""
    page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name, exact=True)).first.click()


def _server_process(address: str) -> psutil.Process:
    port = address.rpartition(":")[2]
    for each in psutil.Process().children():
        if f"--server.port={port}" in each.cmdline():
            return each
    raise ConfigError(f"The server at {address} is not among this program's children.")


def _plain_loop(folder: str) -> None:
    """Open every picture once, as a plain loop over torchvision's dataset does; prints the seconds."""
    from torchvision.datasets import ImageFolder

    tiles = ImageFolder(folder)
    began = time.perf_counter()
    for number in range(len(tiles)):
        tiles[number]
    print(f'{{"seconds": {time.perf_counter() - began}}}')


if __name__ == "__main__":
    _plain_loop(sys.argv[1])
