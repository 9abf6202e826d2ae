"""The passcode: who gave it leads the room."""

from collections.abc import Mapping

import streamlit as st

from eurosat_core.wording import duration
from pages.parts import lesson, session

_KEY = "passcode_input"


def draw(words: Mapping[str, str]) -> bool:
    """Whether this browser leads the room; else what it takes is drawn."""
    if not session.lab().passcode.is_set:
        st.info(words["no passcode"], title="There is no passcode", icon=":material/key_off:")
        st.code('[classroom]\npasscode = "…"', language="toml")
        return False
    if not session.leads():
        _sign_in(words)
        return False
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(words["signed in"].format(time=duration(session.leads_for())), width="stretch")
        lesson.button("Sign out", "logout", "sign_out", session.sign_out)
    return True


def _sign_in(words: Mapping[str, str]) -> None:
    if session.is_instructor():
        st.markdown(words["named"])
        lesson.button("Lead the room", "school", "lead", _lead, type="primary")
    elif not session.lab().passcode.is_asked:
        st.markdown(words["named only"])
    else:
        st.markdown(words["sign in"])
        with st.form("passcode", width=400):
            st.text_input("Passcode", type="password", key=_KEY, max_chars=200, autocomplete="off")
            st.form_submit_button("Sign in", icon=":material/login:", key="sign_in", on_click=_take)
    lesson.problem("passcode")


def _lead() -> None:
    with session.attempt("passcode"):
        session.sign_in_named()


def _take() -> None:
    typed = st.session_state[_KEY]
    st.session_state[_KEY] = ""  # it stands nowhere any longer than it has to
    with session.attempt("passcode"):
        session.sign_in(typed)
