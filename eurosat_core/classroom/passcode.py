"""Who leads the room: whoever gave the passcode of `.streamlit/secrets.toml`, in that browser, for a day of teaching;
or whoever signed in with an account that is named there.

That is kept in the server's memory by the hash of the browser's secret: no address carries it, another browser of the
same participant does not have it, and a restart ends it. The passcode itself is nowhere written or logged.
"""

import hashlib
import hmac
import math
import threading
import time
from collections.abc import Callable, Collection

from eurosat_core.classroom.account import Account
from eurosat_core.classroom.attempts import Attempts
from eurosat_core.errors import RunError

LASTS_SECONDS = 12 * 3600.0


class Passcode:
    """Signs instructors in and out. May be asked from any thread.

    instructors: subjects or e-mail addresses of those who lead without a passcode, as their provider knows them.
    """

    def __init__(
        self, passcode: str = "", clock: Callable[[], float] = time.monotonic, instructors: Collection[str] = ()
    ) -> None:
        self._passcode = _digest(passcode) if passcode else b""
        self._instructors = tuple(instructors)
        self._clock = clock
        self._until: dict[str, float] = {}  # by hash of the browser's secret
        self._attempts = Attempts(clock=clock)
        self._lock = threading.Lock()

    @property
    def is_set(self) -> bool:
        """Whether there is a passcode, or an instructor is named; else nobody leads."""
        return bool(self._passcode or self._instructors)

    @property
    def is_asked(self) -> bool:
        """Whether there is a passcode that can be given."""
        return bool(self._passcode)

    def names(self, account: Account | None) -> bool:
        """Whether this account is an instructor's."""
        return account is not None and account.is_one_of(self._instructors)

    def sign_in(self, secret: str, who: str, typed: str) -> None:
        """Whoever has this secret leads from now on. Raises `RunError` for a wrong passcode, or after too many.

        who: id of the participant, by which wrong ones are counted: to clear cookies is then worth no more tries than
        all have together.
        """
        if not self.is_asked:
            raise RunError("No passcode is set on this server, so none opens it.")
        if not self._attempts.attempt(who, lambda: hmac.compare_digest(_digest(typed), self._passcode)):
            raise RunError("That is not the passcode.")
        self._let_in(secret)

    def sign_in_named(self, secret: str, account: Account | None) -> None:
        """Whoever has this secret leads from now on. Raises `RunError` for an account that is no instructor's."""
        if not self.names(account):
            raise RunError("This account is not named as an instructor's. Give the passcode.")
        self._let_in(secret)

    def _let_in(self, secret: str) -> None:
        with self._lock:
            now = self._clock()
            self._until = {each: until for each, until in self._until.items() if until > now}
            self._until[_key(secret)] = now + LASTS_SECONDS

    def sign_out(self, secret: str) -> None:
        """Whoever has this secret leads no longer."""
        with self._lock:
            self._until.pop(_key(secret), None)

    def leads(self, secret: str) -> bool:
        """Whether the browser with this secret leads now."""
        return self.seconds_left(secret) > 0

    def seconds_left(self, secret: str) -> float:
        """For how long it still does; 0 if it does not."""
        with self._lock:
            return max(0.0, self._until.get(_key(secret), -math.inf) - self._clock())

    @property
    def is_led(self) -> bool:
        """Whether anybody leads now."""
        with self._lock:
            return any(until > self._clock() for until in self._until.values())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()  # of one length, whatever was typed


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
