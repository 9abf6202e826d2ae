"""Page scripts that take turns."""

import asyncio
import inspect
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from own_loop import apart
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.runtime.app_session import AppSession, AppSessionState
from streamlit.runtime.scriptrunner import RerunData, ScriptRunner, ScriptRunnerEvent

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


class _Session(AppSession):
    """Streamlit's session with what starting and hearing a script need, and no more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.started: list[RerunData] = []
        self._event_loop = loop
        self._state = AppSessionState.APP_NOT_RUNNING
        self._scriptrunner = None

    def _create_scriptrunner(self, initial_rerun_data: RerunData) -> None:
        self.started.append(initial_rerun_data)

    def __del__(self) -> None:
        pass


class _EndedScript:
    """One that has ended, so that it takes no more requests."""

    def request_rerun(self, rerun: RerunData) -> bool:
        return False


@pytest.fixture
def session_type() -> type[_Session]:
    class OfThisTest(_Session):
        pass

    turns.hear_scripts_out(OfThisTest)
    return OfThisTest


def _end_of(session: AppSession) -> None:
    """What the loop hears last of a script."""
    session._handle_scriptrunner_event_on_event_loop(session._scriptrunner, ScriptRunnerEvent.SHUTDOWN)


def test_a_script_starts_when_the_last_one_was_heard_out(loop: asyncio.AbstractEventLoop, session_type) -> None:
    session, refresh = session_type(loop), RerunData(fragment_id="a part")
    session._settled = None
    session._scriptrunner = last = _EndedScript()

    async def serve() -> None:
        session._create_scriptrunner(refresh)
        await asyncio.sleep(0.02)
        assert session._scriptrunner is last, "what it still has to say is heard"
        assert session.started == []
        _end_of(session)
        await asyncio.sleep(0.02)

    apart(loop.run_until_complete, serve())
    assert session.started == [refresh]


def test_a_refresh_that_waited_goes_to_the_script_that_runs_by_then(
    loop: asyncio.AbstractEventLoop, session_type
) -> None:
    session, refresh, asked = session_type(loop), RerunData(fragment_id="a part"), []
    session._scriptrunner = _EndedScript()

    async def serve() -> None:
        session._create_scriptrunner(refresh)
        session._scriptrunner = SimpleNamespace(request_rerun=lambda rerun: asked.append(rerun) or True)
        await asyncio.sleep(0.02)

    apart(loop.run_until_complete, serve())
    assert (asked, session.started) == ([refresh], [])


def test_a_session_that_has_ended_starts_nothing(loop: asyncio.AbstractEventLoop, session_type) -> None:
    session = session_type(loop)
    session._scriptrunner = _EndedScript()

    async def serve() -> None:
        session._create_scriptrunner(RerunData(fragment_id="a part"))
        session._scriptrunner, session._state = None, AppSessionState.SHUTDOWN_REQUESTED
        await asyncio.sleep(0.02)

    apart(loop.run_until_complete, serve())
    assert session.started == []


def _asks(*, refresh: bool) -> ClientState:
    """What a browser sends while one button has just been pressed, another not, and a box holds a number."""
    asked = ClientState(fragment_id="a part", is_auto_rerun=refresh)
    widgets = asked.widget_states.widgets
    widgets.add(id="pressed", trigger_value=True)
    widgets.add(id="said", string_trigger_value={"data": "hello"})
    widgets.add(id="number", int_value=3)
    widgets.add(id="not pressed", trigger_value=False)
    return asked


def test_a_click_counts_with_its_own_message_and_not_with_a_refresh(loop, session_type) -> None:
    turns.take_clicks_once(session_type)
    session, asked = session_type(loop), []
    session.has_fragment = lambda _: True
    session._scriptrunner = SimpleNamespace(request_rerun=lambda rerun: asked.append(rerun) or True)
    session.request_rerun(_asks(refresh=True))
    session.request_rerun(_asks(refresh=False))
    told = [{each.id for each in rerun.widget_states.widgets} for rerun in asked]
    assert told == [{"number"}, {"pressed", "said", "number", "not pressed"}]


def test_streamlit_has_what_is_changed_in_it() -> None:
    runner = ScriptRunner.request_rerun
    assert runner.__annotations__["return"] in (bool, "bool"), "whether it takes the request"
    assert list(inspect.signature(AppSession.request_rerun).parameters) == ["self", "client_state"]
    oneof = WidgetState.DESCRIPTOR.oneofs_by_name["value"]
    assert {each.name for each in oneof.fields if "trigger" in each.name} | {"chat_input_value"} == turns._CLICKS
    assert AppSession._create_scriptrunner.__code__.co_varnames[:2] == ("self", "initial_rerun_data")
