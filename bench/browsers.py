"""Real browsers in a benchmark: each is somebody who goes from page to page until it is drawn."""

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Page

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_NAMES = ("chromium", "chromium-browser", "google-chrome")
AT_REST = "document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'"
_HEADING = "[data-testid=stMain] h1"
_LINKS = "[data-testid=stSidebarNavLink]"
_MILLISECONDS = 120_000  # what takes longer counts as one that never comes


def executable() -> str | None:
    """A Chromium of this machine that Playwright can drive; None where one of the two is missing."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return None
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def is_error(message: Any) -> bool:
    """Whether a line of a browser's console is an error of ours.

    Reloaded on a page's own address, Streamlit's front end first asks below that address; 404 is its answer.
    """
    return message.type == "error" and "/_stcore/" not in message.location["url"]


class Onlooker:
    """Somebody with a browser. switches: seconds from a click in the navigation until that page was drawn."""

    def __init__(self, page: "Page") -> None:
        self.switches: list[float] = []
        self.errors: list[str] = []
        self.trains = 0
        self._page = page
        page.set_default_timeout(_MILLISECONDS)
        page.on("console", lambda message: self.errors.append(message.text) if is_error(message) else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def browse(self, address: str, until: float, chance: random.Random, looks: tuple[float, float]) -> None:
        """Train once, then go from page to page, at least to one, until `until` on the monotonic clock.

        looks: how many seconds a page is looked at. What breaks off is one of the errors.
        """
        from playwright.async_api import Error

        try:
            await self._browse(address, until, chance, looks)
        except Error as error:
            self.errors.append(f"a browser on {self._page.url}: {error.message.splitlines()[0]}")

    async def _browse(self, address: str, until: float, chance: random.Random, looks: tuple[float, float]) -> None:
        await self._page.goto(f"{address}/train")
        await self._at_rest()
        train = self._page.locator(".st-key-train_start button:enabled")
        await train.click()
        self.trains += 1
        while not self.switches or time.monotonic() < until:
            await asyncio.sleep(max(0.0, min(chance.uniform(*looks), until - time.monotonic())))
            links = self._page.locator(_LINKS)
            await self._switch(chance.randrange(await links.count()))
        if await self._page.locator("[data-testid=stException]").count():
            self.errors.append("an exception is shown")

    async def _switch(self, number: int) -> None:
        link = self._page.locator(_LINKS).nth(number)
        heading = await self._page.locator(_HEADING).first.inner_text()
        here = await link.get_attribute("aria-current") is not None
        began = time.perf_counter()
        await link.click()
        if not here:
            await self._page.locator(_HEADING).filter(has_not_text=heading).first.wait_for()
        await self._at_rest()
        self.switches.append(time.perf_counter() - began)

    async def _at_rest(self) -> None:
        await self._page.locator(_HEADING).first.wait_for()
        await self._page.wait_for_function(AT_REST)


@asynccontextmanager
async def onlookers(count: int) -> AsyncIterator[list[Onlooker]]:
    """So many, each with a browser process of its own; none where there is no browser."""
    path = executable()
    if path is None:
        yield []
        return
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browsers = [await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS)) for _ in range(count)]
        try:
            yield [Onlooker(await each.new_page(viewport={"width": 1280, "height": 900})) for each in browsers]
        finally:
            for each in browsers:
                await each.close()
