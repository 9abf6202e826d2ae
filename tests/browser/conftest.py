"""A real server and a real browser. Skipped with a reason where there is no Chromium, except where CI demands it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.browsers import ARGUMENTS, executable, is_error
from bench.server import app_server, wait_for_tiles
from eurosat_core.settings import Settings
from tests.browser.participant import main
from tests.browser.waiting import listen


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A failed test says what its page showed at that moment: where CI runs, nobody can look."""
    report = yield
    window = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and window is not None:
        with suppress(Exception):
            state = window.locator("[data-testid=stApp]").get_attribute("data-test-script-state", timeout=3000)
            shown = window.locator("[data-testid=stMain]").inner_text(timeout=3000)
            report.sections.append((f"{window.url}, script {state}", shown))
    return report


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium of this machine."""
    found = executable()
    if found is None:
        missing = "Playwright or a Chromium is missing on this machine"
        if os.environ.get("EUROSAT_REQUIRE_BROWSER"):
            pytest.fail(f"Browser tests must run here, but: {missing}.")
        pytest.skip(f"{missing}, so nothing can be seen in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app keeps its runs and its cache."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="session")
def app(app_folder: Path) -> Iterator[str]:
    """The app's address: no data (so synthetic tiles), a run store and a cache of its own. All tests share it, each
    as a participant of its own."""
    settings = Settings(runs=app_folder / "runs", cache=app_folder / "cache")
    with app_server(settings, settings.runs) as address:
        wait_for_tiles(address, seconds=120)
        yield address


@contextmanager
def app_with_secrets(folder: Path, secrets: str) -> Iterator[str]:
    """As `app`, with this content of `secrets.toml`."""
    file = folder / "secrets.toml"
    file.write_text(secrets, encoding="utf-8")
    settings = Settings(runs=folder / "runs", cache=folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMLIT_SECRETS_FILES", str(file))
        with app_server(settings, settings.runs) as address:
            wait_for_tiles(address, seconds=120)
            yield address


@contextmanager
def watched_window(browser, address: str) -> Iterator:
    """A fresh browser window on an address; the test fails if the browser's console shows an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)  # a busy machine may need it
    context.on("page", listen)
    window = context.new_page()
    errors: list[str] = []

    def note(message) -> None:
        if is_error(message):
            errors.append(f"{message.text} {message.location['url']}")

    window.on("console", note)
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.goto(address)
    yield window
    broken = window.locator("[data-testid=stException]").count()
    context.close()
    assert not errors and not broken, errors


@pytest.fixture
def page(browser, app: str, request: pytest.FixtureRequest) -> Iterator:
    """A window on the page that the test's file is about (its `PAGE`), of a new participant; what a failed test left
    running is stopped at its end."""
    with watched_window(browser, f"{app}/{getattr(request.module, 'PAGE', '')}") as window:
        window.get_by_role("heading", level=1).first.wait_for()
        yield window
        button = main(window).get_by_role("button", name="Stop")
        # What a failed test left running must not hold up the next one; a run may also end at this very moment.
        if button.is_visible():
            with suppress(Exception):
                button.click(timeout=3000)
            window.wait_for_timeout(1000)
