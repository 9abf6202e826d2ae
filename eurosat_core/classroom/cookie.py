"""The secret in a browser's cookie, by which its participant is known.

It is set in the answer to a request for a page, where no script can: HttpOnly keeps it from everything that runs in the
page, SameSite from what other sites ask for. Two tabs of a browser have the same one. Cookies know no ports: another
server on this host gets it, too, if the browser goes there.
"""

import re
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAME = "eurosat_lab"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_SECONDS = 90 * 24 * 3600


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def secret_in(cookies: Mapping[str, object]) -> str:
    """The secret that a browser sent; empty if it sent none that this lab could have made."""
    value = cookies.get(NAME)
    return value if isinstance(value, str) and _SECRET.fullmatch(value) else ""


class SecretCookie:
    """Around the whole app: gives each browser its secret with a page, and keeps the one it has.

    path: below which the app is served, for no other app on this host should get it.
    """

    def __init__(self, app: ASGIApp, path: str = "/") -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it."""
        # By what is asked for: the answer may be that the page has not changed since (304), without a type.
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                MutableHeaders(scope=message).append("set-cookie", self._cookie(scope))
            await send(message)

        await self._app(scope, receive, answer)

    def _cookie(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        sent: SimpleCookie = SimpleCookie()
        try:
            sent.load(headers.get("cookie", ""))
        except CookieError:
            sent = SimpleCookie()
        secret = secret_in({name: each.value for name, each in sent.items()}) or new_secret()
        is_https = scope.get("scheme") == "https" or headers.get("x-forwarded-proto", "").startswith("https")
        secure = "; Secure" if is_https else ""
        return f"{NAME}={secret}; Max-Age={_SECONDS}; Path={self._path}; HttpOnly; SameSite=Lax{secure}"
