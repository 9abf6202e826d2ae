"""What the run widget and the session do with a click."""

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.runs.record import RunRecord, State
from pages.parts import run_widget, session, sidebar
from tests.run_makers import make_record


@pytest.mark.parametrize(("shown", "taken"), [("a-run", []), (None, ["a-run"]), ("another", ["a-run"])])
def test_a_late_report_of_what_was_shown_is_no_choice(
    monkeypatch: pytest.MonkeyPatch, shown: str | None, taken: list[str]
) -> None:
    """A browser that has not drawn the page anew yet names what stood there before."""
    chosen: list[str] = []
    monkeypatch.setattr(run_widget.st, "session_state", {"the box": "a-run"})
    run_widget._take_choice("the box", shown, chosen.append)
    assert chosen == taken


def clicks() -> None:
    import streamlit as st

    from eurosat_core.errors import RunError
    from pages.parts import lesson, session

    def ask() -> int:
        if st.session_state.get("full"):
            raise RunError("*Full*")
        st.session_state["asked"] = st.session_state.get("asked", 0) + 1
        return 1

    st.button("Ask", key="ask", on_click=session.submit, args=("here", ask))
    lesson.problem("here")


def test_a_double_click_is_one_wish_and_a_problem_stands_until_it_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: now[0]))
    test = AppTest.from_function(clicks)
    test.session_state["full"] = True
    test.run().button(key="ask").click().run()
    assert test.error[0].value == r"\*Full\*"
    test.session_state["full"] = False
    test.button(key="ask").click().run()
    test.button(key="ask").click().run()
    assert not test.error and test.session_state["asked"] == 1
    now[0] += 5
    test.button(key="ask").click().run()
    assert test.session_state["asked"] == 2, "later it is another wish"


def test_the_list_of_runs_is_looked_at_as_often_as_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[RunRecord] = [make_record(owner="ada"), make_record(owner="bob")]
    lab = SimpleNamespace(store=SimpleNamespace(all=lambda: (runs, [])))
    monkeypatch.setattr(session, "lab", lambda: lab)
    monkeypatch.setattr(session, "me", lambda: "ada")
    assert sidebar._refreshed_every() is None, "all have ended"
    runs.append(make_record(owner="bob", state="queued"))
    others = sidebar._refreshed_every()
    runs.append(make_record(owner="ada", state="running"))
    own = sidebar._refreshed_every()
    assert own is not None and others is not None and own < others


@pytest.mark.parametrize(("state", "polled"), [("queued", "slowly"), ("running", "quickly"), ("finished", "never")])
def test_a_run_is_followed_as_often_as_it_changes(state: State, polled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []

    def fragment(function: Any, run_every: float | None) -> Any:
        asked.append(run_every)
        return lambda *_arguments: None

    monkeypatch.setattr(run_widget.st, "fragment", fragment)
    run_widget.follow(make_record(state=state), lambda *_: None, key="run", working="Training")
    quick, slow = run_widget._POLL_SECONDS, run_widget._WAITING_POLL_SECONDS
    assert asked == [{"slowly": slow, "quickly": quick, "never": None}[polled]] and quick < slow
