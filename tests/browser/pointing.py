"""Where to put the mouse: a page may draw the thing that is pointed at again, or move it, until it has settled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Locator

_SECONDS = 30.0
_BETWEEN = 400  # milliseconds for which it must stay where it is


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
