"""Page scripts take turns, so that thirty people who click at once wait one after the other, and not all for long.

Every element that a script draws wakes the server's event loop, which lets go of Python's one lock; and each time the
script must wait until another thread gives it back: five milliseconds for each thread that computes, about a hundred
times a page. So fifteen scripts at once take far longer than one after the other. They are fewer at a time, therefore,
each wakes the loop only where it sleeps, and Python has threads change sooner.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession, AppSessionState

from pages.parts import session

P = ParamSpec("P")
T = TypeVar("T")

_AT_ONCE = 2
_LONGEST_WAIT = 2.0  # seconds: who has a turn may itself wait for something, such as a network's answer
_turns = threading.Semaphore(_AT_ONCE)
_mine = threading.local()


@contextmanager
def turn() -> Iterator[None]:
    """Compute in turn with the scripts of other sessions, and see the runs as they are at its beginning.

    Within one's own turn it is that one.
    """
    if getattr(_mine, "has", False):
        yield
        return
    taken = _turns.acquire(timeout=_LONGEST_WAIT)
    _mine.has = True
    try:
        with session.lab().store.one_look():
            yield
    finally:
        _mine.has = False
        if taken:
            _turns.release()


_SWITCH_SECONDS = 0.0005  # a tenth of Python's own


def share_one_process(loop: asyncio.AbstractEventLoop) -> None:
    """Have a server with this event loop serve many scripts: call it once, in the loop's thread."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    call = loop.call_soon_threadsafe
    asked: set[asyncio.Event] = set()

    def call_once(callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """As the loop's own, but an event that is about to be set is not set again, which would wake the loop anew."""
        event = getattr(callback, "__self__", None)
        if not isinstance(event, asyncio.Event) or callback.__name__ != "set":
            return call(callback, *args, context=context)
        if event in asked:
            return done
        asked.add(event)
        return call(put, event, context=context)

    def put(event: asyncio.Event) -> None:
        asked.discard(event)  # before it is set: whoever asks from now on may have more to say
        event.set()

    done = call(lambda: None)
    loop.call_soon_threadsafe = call_once  # type: ignore[method-assign, assignment]


_LOOK_AGAIN_SECONDS = 0.005


def hear_scripts_out(sessions: type[AppSession] = AppSession) -> None:
    """Have a session start no script before it has heard all that its last one said: call it once.

    A part that refreshes itself may ask just when a page's script has ended, whose last words still wait in the event
    loop. Streamlit 1.67 then starts another script at once and throws them away: the end of the page, or that it has
    ended. With thirty participants on two cores that happened 137 times in two minutes.
    """
    start = sessions._create_scriptrunner

    def start_in_order(session: AppSession, rerun: Any) -> None:
        last = session._scriptrunner
        if session._state == AppSessionState.SHUTDOWN_REQUESTED:
            return
        if last is None:  # nothing runs, or what did was told to stop for this one
            start(session, rerun)
        elif not last.request_rerun(rerun):  # it has ended; the session lets go of it when it has heard so
            session._event_loop.call_later(_LOOK_AGAIN_SECONDS, start_in_order, session, rerun)

    sessions._create_scriptrunner = start_in_order  # type: ignore[method-assign, assignment]


_CLICKS = frozenset({"trigger_value", "string_trigger_value", "chat_input_value", "json_trigger_value"})


def take_clicks_once(sessions: type[AppSession] = AppSession) -> None:
    """Have a part that refreshes itself bring no clicks: call it once.

    A browser sends a click a moment after it was made and only then forgets it. When a part asks for its refresh in
    that moment, Streamlit 1.67 sends the click with that, too, and it counts twice: *Pause* becomes *Pause* and
    *Resume*. On a busy machine that happened to one click in a dozen.
    """
    request = sessions.request_rerun

    def request_without_clicks(session: AppSession, client_state: ClientState | None) -> None:
        if client_state and client_state.is_auto_rerun:
            told = client_state.widget_states.widgets
            kept = [each for each in told if each.WhichOneof("value") not in _CLICKS]
            del told[:]
            told.extend(kept)
        request(session, client_state)

    sessions.request_rerun = request_without_clicks  # type: ignore[method-assign, assignment]


def in_turn(draw: Callable[P, T]) -> Callable[P, T]:
    """A function that refreshes a part of the page by itself, in turn."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with turn():
            return draw(*args, **kwargs)

    return drawn
