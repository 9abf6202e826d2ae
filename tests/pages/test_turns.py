"""Page scripts that take turns."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from own_loop import apart

from eurosat_core.runs.store import RunStore
from pages.parts import session, turns
from pages.parts.turns import in_turn, turn


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "lab", lambda: SimpleNamespace(store=RunStore(tmp_path)))
    monkeypatch.setattr(turns, "_turns", threading.Semaphore(1))
    monkeypatch.setattr(turns, "_LONGEST_WAIT", 60.0)


def test_scripts_compute_one_after_the_other() -> None:
    at_work, most = [0], [0]

    def script() -> None:
        with turn():
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
            time.sleep(0.01)
            at_work[0] -= 1

    threads = [threading.Thread(target=script) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1]


def test_a_part_of_a_page_is_in_its_pages_turn() -> None:
    drawn = in_turn(lambda what: f"drew {what}")
    with turn():
        assert drawn("it") == "drew it"
    assert drawn("it again") == "drew it again"


def test_a_script_that_ends_early_gives_its_turn_back() -> None:
    class Rerun(BaseException):
        """As Streamlit's own."""

    with pytest.raises(Rerun), turn():
        raise Rerun
    assert turns._turns.acquire(blocking=False)


def test_who_waits_too_long_goes_on_and_gives_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LONGEST_WAIT", 0.01)
    assert turns._turns.acquire()
    with turn():
        pass
    assert not turns._turns.acquire(blocking=False), "it is still another's turn"


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    before, made = sys.getswitchinterval(), asyncio.new_event_loop()
    yield made
    made.close()
    sys.setswitchinterval(before)


def test_a_loop_that_is_about_to_wake_is_not_woken_again(loop: asyncio.AbstractEventLoop) -> None:
    called: list[str] = []
    own = loop.call_soon_threadsafe

    def counted(callback, *args, **options):
        called.append(callback.__name__)
        return own(callback, *args, **options)

    loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
    turns.share_one_process(loop)
    called.clear()
    event, other, heard = asyncio.Event(), asyncio.Event(), []

    async def listen() -> None:
        for _ in range(2):
            await event.wait()
            event.clear()
            heard.append(len(called))
            say(10)

    def say(times: int) -> None:
        for _ in range(times):
            loop.call_soon_threadsafe(event.set)

    say(10)
    loop.call_soon_threadsafe(other.set)
    loop.call_soon_threadsafe(called.append, "a call of its own")
    apart(loop.run_until_complete, asyncio.wait_for(listen(), 60))
    assert heard == [4, 5], "one for ten, one of the other, the call itself and what it wrote; then one more for ten"
    assert other.is_set()


def test_no_wake_up_is_lost_between_threads(loop: asyncio.AbstractEventLoop) -> None:
    """A thread that says something and then wakes the loop is heard, at whatever moment that is."""
    turns.share_one_process(loop)
    event, box, heard = asyncio.Event(), [], []

    def script() -> None:
        for number in range(3000):
            box.append(number)
            loop.call_soon_threadsafe(event.set)

    async def serve() -> None:
        threads = [threading.Thread(target=script) for _ in range(3)]
        for each in threads:
            each.start()
        while len(heard) < 9000:
            await event.wait()
            event.clear()
            heard.extend(box[len(heard) :])
        for each in threads:
            each.join()

    apart(loop.run_until_complete, asyncio.wait_for(serve(), 120))
    assert len(heard) == 9000
