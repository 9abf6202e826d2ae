"""What the instructor sets for everybody: closed pages, and what the Train page begins with."""

from collections.abc import Mapping

import streamlit as st

from pages.parts import lesson, session
from pages.parts.classroom.queue import do
from pages.parts.train import state

_CLOSED, _PAGE = "closed_pages", "bring_page"
_ALWAYS_OPEN = ("start", "classroom")


def draw(words: Mapping[str, str]) -> None:
    """Both, with what is set now."""
    guide = session.lab().guide.now
    titles = {name: each["title"] for name, each in lesson.pages().items() if name not in _ALWAYS_OPEN}
    st.session_state[_CLOSED] = [each for each in guide.closed if each in titles]
    st.multiselect(
        "Closed pages",
        list(titles),
        format_func=lambda name: titles[name],
        key=_CLOSED,
        placeholder="All are open",
        help=words["closed help"],
        on_change=lambda: do(lambda instructor: instructor.close_pages(st.session_state[_CLOSED])),
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Bring everybody to",
            list(titles),
            format_func=lambda name: titles[name],
            key=_PAGE,
            persist_state="session",
        )
        lesson.button("Bring everybody here", "groups", "bring", _bring, help=words["bring help"])
    state.prepare()
    st.markdown(words["preset"].format(settings=lesson.plain(state.in_short())))
    with st.container(horizontal=True):
        mine = state.draft_or_lesson()
        lesson.button("Give them to everybody", "share", "preset_give", do, lambda instructor: instructor.preset(mine))
        if guide.preset is not None:
            lesson.button("Back to the lesson’s", "undo", "preset_drop", do, lambda instructor: instructor.preset(None))


def _bring() -> None:
    do(lambda instructor: instructor.bring(st.session_state[_PAGE]))


def is_closed(page: str) -> bool:
    """Whether a page is closed for whoever does not lead; then that is said."""
    if page not in session.lab().guide.now.closed or page in _ALWAYS_OPEN or session.leads():
        return False
    st.info(lesson.text("classroom")["closed"], icon=":material/lock:")
    return True
