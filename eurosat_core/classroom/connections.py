"""How much of the server one browser and one address may take: sessions at once, and messages a second.

Who sends more waits: its messages are read later, and the network's flow control keeps the rest with the sender. So
nothing is lost, and nobody else waits with it. A browser is known by its cookie; whoever sends none, or makes up many,
by the address, which a room behind one proxy may share.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eurosat_core.classroom.cookie import secret_in

logger = logging.getLogger(__name__)

OF_A_BROWSER, OF_AN_ADDRESS = 20, 150
"""Sessions at once; one browser has one for each of its tabs."""
_TRY_AGAIN_LATER = 1013  # as a websocket says it


class Pace:
    """Lets `burst` through at once, and then so many a second."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / per_second
        self._ahead = (burst - 1) / per_second
        self._clock = clock
        self._due = clock()  # when the next one would come if all came evenly

    def wait(self) -> float:
        """Seconds that one more has to wait, which is counted."""
        now = self._clock()
        due = max(self._due, now)
        self._due = due + self._interval
        return max(0.0, due - self._ahead - now)


class FairConnections:
    """Around the whole app: bounds what each browser and each address may ask of it by websockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: Counter[str] = Counter()  # sessions, by browser and by address
        self._paces: dict[str, tuple[Pace, Pace]] = {}  # by address: of its new sessions, of all its messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        address = (scope.get("client") or ("",))[0]
        most = {f"browser {_secret(scope) or f'without a cookie at {address}'}": OF_A_BROWSER, address: OF_AN_ADDRESS}
        if any(self._open[who] >= limit for who, limit in most.items()):
            logger.warning("%s has as many sessions as it may: another one is refused", address or "somebody")
            await receive()
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
            return
        self._open.update(most.keys())
        coming, all_messages = self._paces.setdefault(address, (Pace(5.0, 60), Pace(200.0, 400)))
        own_messages = Pace(20.0, 60)

        async def paced() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and (seconds := max(own_messages.wait(), all_messages.wait())):
                await asyncio.sleep(seconds)
            return message

        try:
            await asyncio.sleep(coming.wait())
            await self._app(scope, paced, send)
        finally:
            self._open.subtract(most.keys())
            self._open = +self._open
            if not self._open[address]:
                self._paces.pop(address, None)


def _secret(scope: Scope) -> str:
    """The secret in the cookie that a browser sent; empty without one."""
    sent: SimpleCookie = SimpleCookie()
    try:
        sent.load(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return ""
    return secret_in({name: each.value for name, each in sent.items()})
