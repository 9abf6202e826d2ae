"""Event loops of tests: Playwright's runs on in the main thread once a browser test was there, and forbids others."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def apart(do: Callable[..., T], *given: Any) -> T:
    """What a function returns that runs an event loop, as `asyncio.run` does: in a thread of its own."""
    with ThreadPoolExecutor(max_workers=1) as one:
        return one.submit(do, *given).result()
