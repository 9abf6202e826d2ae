"""What the run widget and the session do with a click."""

from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from pages.parts import run_widget, session


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
