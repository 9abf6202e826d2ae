"""What to wait for before a page is given something: until it has settled it may draw the thing again, or move it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from bench.browsers import AT_REST

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import FloatRect, Locator, Page, WebSocket

_SECONDS = 120.0
_BETWEEN = 400  # milliseconds for which it must stay where it is
_REST = 5000  # milliseconds
_ANSWER_SECONDS = 20.0  # what the server has not begun by then it will not draw: a part of a page that is gone
# In the page itself, so that it comes after what the page puts off: a slider tells 200 ms later where it is.
_TOLD = "() => new Promise(done => setTimeout(done, 250))"
_SHOWN = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
# What stands for a widget until the browser has its code is no widget yet; a picture may still be on its way.
_WHOLE = """() => document.querySelector('[data-testid=stMain]') && !document.querySelector('[data-testid=stSkeleton]')
    && [...document.images].every(each => each.complete)"""


class _Asked:
    """What a window has asked its server to draw, by what they tell each other."""

    def __init__(self) -> None:
        self._waiting: set[str] = set()  # parts of the page, by their ids; the whole page is ""
        self._drawing = False

    @property
    def is_answered(self) -> bool:
        return not (self._waiting or self._drawing)

    def listen(self, connection: WebSocket) -> None:
        if connection.url.endswith("/_stcore/stream"):
            self._waiting, self._drawing = {""}, False
            connection.on("framesent", self._sent)
            connection.on("framereceived", self._received)

    def _sent(self, frame: str | bytes) -> None:
        message = BackMsg.FromString(frame if isinstance(frame, bytes) else frame.encode())
        if message.WhichOneof("type") == "rerun_script" and not message.rerun_script.is_auto_rerun:
            self._waiting.add(message.rerun_script.fragment_id)

    def _received(self, frame: str | bytes) -> None:
        message = ForwardMsg.FromString(frame if isinstance(frame, bytes) else frame.encode())
        if message.WhichOneof("type") == "new_session":
            parts = set(message.metadata.run.fragment_ids)
            # Parts that refresh themselves are not waited for: of a training that runs, some part always does.
            self._drawing = self._drawing or not parts or not self._waiting.isdisjoint(parts)
            self._waiting = self._waiting - parts if parts else set()
        elif message.WhichOneof("type") == "script_finished":
            self._drawing = self._drawing and message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN


_asked: WeakKeyDictionary[Page, _Asked] = WeakKeyDictionary()


def listen(page: Page) -> None:
    """Note what a window asks for: `drawn` waits for it. Call it before the window goes anywhere."""
    _asked[page] = _Asked()
    page.on("websocket", _asked[page].listen)


def answered(page: Page) -> None:
    """Wait until the script behind the page has run to its end, also one that a click has only just asked for."""
    from playwright.sync_api import TimeoutError  # where there is none, the tests skip before they come here

    page.evaluate(_TOLD)
    deadline = time.monotonic() + _ANSWER_SECONDS
    while not _asked[page].is_answered and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    page.evaluate(_SHOWN)
    with suppress(TimeoutError):  # where parts refresh themselves, a busy machine may leave no moment of rest
        page.wait_for_function(AT_REST, timeout=_REST)


def drawn(page: Page) -> None:
    """Wait until all is there that the page shows, also what a click has only just asked for."""
    answered(page)
    page.wait_for_function(_WHOLE)
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


def differs(drawing: Locator, before: bytes) -> None:
    """Wait until a drawing looks otherwise than it did.

    :raises AssertionError: when it does not.
    """
    deadline = time.monotonic() + _SECONDS
    while _picture(drawing) == before:
        assert time.monotonic() < deadline, f"{drawing} looks as before"
        drawing.page.wait_for_timeout(_BETWEEN)


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
