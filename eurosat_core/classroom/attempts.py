"""Tries at a secret that can be guessed: each wrong one makes the next wait longer."""

import math
import threading
import time
from collections.abc import Callable

from cachetools import LRUCache

from eurosat_core.errors import RunError
from eurosat_core.wording import duration

_REMEMBERED = 5000  # of those who tried; all of them together are counted apart
_FORGOTTEN_SECONDS = 3600.0  # without a wrong try


class Attempts:
    """Wrong tries of each and of all together, which do not last. May be asked from any thread.

    free: wrong tries of one person without a wait; of all together, ten times as many. From then on the wait doubles
    with each, from two seconds up to `longest`; that of all together ends at a tenth, or one could lock out everybody.
    """

    def __init__(self, free: int = 4, longest: float = 600.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = free
        self._longest = longest
        self._clock = clock
        self._wrong: LRUCache[str, tuple[int, float]] = LRUCache(_REMEMBERED)  # how many, and when the last one was
        self._all = (0, -math.inf)
        self._lock = threading.Lock()

    def attempt(self, who: str, is_right: Callable[[], bool]) -> bool:
        """Try, and count it if it was wrong. Raises `RunError` when it is too early; then nothing is tried."""
        with self._lock:  # one after the other, so that none is tried before another was counted
            now = self._clock()
            wrong, everybody = self._counted(self._wrong.get(who), now), self._counted(self._all, now)
            left = max(
                self._wait(wrong[0] - self._free, self._longest) - (now - wrong[1]),
                self._wait(everybody[0] - 10 * self._free, self._longest / 10) - (now - everybody[1]),
            )
            if left > 0:
                raise RunError(f"There were too many wrong tries. Wait {duration(math.ceil(left))}, then try again.")
            if is_right():
                self._wrong.pop(who, None)
                return True
            self._wrong[who] = wrong[0] + 1, now
            self._all = everybody[0] + 1, now
            return False

    @staticmethod
    def _counted(wrong: tuple[int, float] | None, now: float) -> tuple[int, float]:
        return (0, -math.inf) if wrong is None or now - wrong[1] > _FORGOTTEN_SECONDS else wrong

    @staticmethod
    def _wait(beyond: int, longest: float) -> float:
        """Seconds between the last wrong try and the next one."""
        return min(2.0 ** min(beyond + 1, 30), longest) if beyond >= 0 else 0.0
