"""What a participant does and sees in a browser."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.browser.waiting import drawn
from tests.told import told_as

if TYPE_CHECKING:
    from os import PathLike

    from playwright.sync_api import Locator, Page

LONG = 200
"""Epochs of a training that a test stops: the most there may be, for a fast machine must not be done before."""
MINUTES = 300_000
"""Milliseconds to wait for what takes seconds: on a busy machine many."""


def main(page: Page) -> Locator:
    """The page without its header and sidebar."""
    return page.locator("[data-testid=stMain]")


def keyed(page: Page, key: str) -> Locator:
    """The widget or container of this key."""
    return page.locator(f".st-key-{key}").first


def told(page: Page, name: str, **figures: Any) -> Locator:
    """A text of `assets` on the page; see `told_as`."""
    return main(page).get_by_text(told_as(name, **figures)).first


def alerts(page: Page, kind: str) -> Locator:
    """Messages of a kind: Info, Success, Warning or Error."""
    return main(page).locator(f"[data-testid=stAlertContent{kind}]")


def saw(page: Page, name: str, **figures: Any) -> Locator:
    """*What you just saw* that tells this."""
    title = page.get_by_text("What you just saw")
    return alerts(page, "Info").filter(has=title).filter(has_text=told_as(name, **figures)).first


def badge(page: Page, text: str) -> Locator:
    """The badge that names the run's state; its icon is text, too."""
    return main(page).locator(".stMarkdownBadge").filter(has_text=text)


def go_to(page: Page, name: str) -> None:
    """By the navigation."""
    drawn(page)  # Streamlit forgets the pictures of a page that is left
    # By its address: an icon is text, too, and Train's is called model_training.
    address = "" if name == "Start" else name.lower().replace("-", "")
    page.locator(f"[data-testid=stSidebarNavLink][href$='/{address}']").click()
    page.get_by_role("heading", name=f"{name}: ").wait_for()


def choose(page: Page, name: str | re.Pattern[str], key: str = "") -> None:
    """One of a group of pills, or of a segmented control. key: of the group, where others have such a choice, too."""
    where = keyed(page, key) if key else main(page)
    exact = isinstance(name, str)
    where.get_by_role("radio", name=name, exact=exact).or_(
        where.get_by_role("button", name=name, exact=exact)
    ).first.click()


def press(page: Page, key: str) -> None:
    """A button."""
    keyed(page, key).get_by_role("button").first.click()


def unfold(page: Page, title: str) -> None:
    """An expander."""
    main(page).locator("summary").filter(has_text=title).first.click()


def give(page: Page, file: PathLike[str]) -> None:
    """Put a file into the page's field for files. While it is drawn anew, that may be one that goes away."""
    drawn(page)
    page.locator("input[type=file]").set_input_files(file)


def fill(page: Page, key: str, value: object) -> None:
    """Type a number."""
    box = keyed(page, key).get_by_role("spinbutton")
    box.fill(str(value))
    box.press("Enter")


def set_epochs(page: Page, epochs: int) -> None:
    """Type it, and see it on the button: the number that fits this machine may come in between, once."""
    from playwright.sync_api import TimeoutError  # where there is none, the tests skip before they come here

    button = keyed(page, "train_start").get_by_role("button", name=re.compile(f"· {epochs} epoch"))
    for _ in range(5):
        fill(page, "train_epochs", epochs)
        with suppress(TimeoutError):
            button.wait_for(timeout=6_000)
            if keyed(page, "train_epochs").get_by_role("spinbutton").input_value() == str(epochs):
                return
    button.wait_for()


def run_in_address(page: Page) -> str:
    """The id of the run that the address names, once it names one."""
    page.wait_for_url(re.compile("run=2"))
    found = re.search(r"run=([0-9a-z_-]+)", page.url)
    assert found
    return found[1]


def start_training(page: Page) -> str:
    """Press Train; the id of the run."""
    press(page, "train_start")
    return run_in_address(page)


def stop(page: Page) -> None:
    main(page).get_by_role("button", name="Stop").click()  # the header has one, too
    badge(page, "Stopped").wait_for()
