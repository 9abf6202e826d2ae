"""What to wait for before a page is given something: until it has settled it may draw the thing again, or move it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.browsers import AT_REST

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import FloatRect, Locator, Page

_SECONDS = 120.0
_BETWEEN = 400  # milliseconds for which it must stay where it is


_ON_ITS_WAY = 200  # milliseconds that a click may take to the server and back


def drawn(page: Page) -> None:
    """Wait until the script behind the page has run to its end, also one that a click has only just asked for."""
    page.wait_for_function(AT_REST)
    page.wait_for_timeout(_ON_ITS_WAY)
    page.wait_for_function(AT_REST)
    assert page.locator("[data-testid=stException]").count() == 0


def settled_box(target: Locator) -> FloatRect:
    """Where `target` is in the window, once it is in sight, drawn whole and has stayed there.

    :raises AssertionError: when it has not come to rest in time.
    """
    from playwright.sync_api import Error  # where there is none, the tests skip before they come here

    deadline = time.monotonic() + _SECONDS
    last: FloatRect | None = None
    while time.monotonic() < deadline:
        try:
            target.scroll_into_view_if_needed(timeout=5000)
            box = target.bounding_box(timeout=5000)
        except Error:  # drawn again at this very moment
            last = None
            continue
        if box is not None and box == last:
            return box
        last = box
        target.page.wait_for_timeout(_BETWEEN)
    raise AssertionError(f"{target} did not come to rest; it was last at {last}")


def _middle(box: FloatRect) -> tuple[float, float]:
    return box["width"] / 2, box["height"] / 2


def changes(drawing: Locator, times: int = 3, how: Callable[[Locator], object] | None = None) -> None:
    """Wait until a drawing has looked otherwise so many times. how: what is looked at; else its picture.

    :raises AssertionError: when it has not.
    """
    seen = {(how or _picture)(drawing)}
    deadline = time.monotonic() + _SECONDS
    while len(seen) <= times:
        assert time.monotonic() < deadline, f"{drawing} changed {len(seen) - 1} times"
        drawing.page.wait_for_timeout(_BETWEEN)
        seen.add((how or _picture)(drawing))


def _picture(drawing: Locator) -> bytes:
    return drawing.screenshot()


def click_in(
    drawing: Locator, seen: Locator, place: Callable[[FloatRect], tuple[float, float]] = _middle, tries: int = 4
) -> None:
    """Click into a drawing until `seen` is. One that is drawn anew in the moment of a click forgets it.

    place: how far from its left and its upper edge, of its box.
    """
    from playwright.sync_api import TimeoutError as Late  # where there is none, the tests skip before they come here

    for left in reversed(range(tries)):
        box = settled_box(drawing)
        right, down = place(box)
        drawing.page.mouse.click(box["x"] + right, box["y"] + down)
        try:
            seen.wait_for(timeout=15_000)
        except Late:
            if not left:
                raise
        else:
            return
