"""What the instructor sets for everybody: closed pages, where the room is, and what the Train page begins with."""

from collections.abc import Mapping

import streamlit as st

from pages.parts import lesson, session
from pages.parts.train import state

_WHERE = "classroom_guide"
_CLOSED, _PAGE = "closed_pages", "bring_page"
_ALWAYS_OPEN = ("start", "classroom")


def draw(words: Mapping[str, str]) -> None:
    """All of it, with what is set now."""
    guide = session.lab().guide.now
    titles = {name: each["title"] for name, each in lesson.pages().items() if name != "classroom"}
    can_close = [name for name in titles if name not in _ALWAYS_OPEN]
    st.session_state[_CLOSED] = [each for each in guide.closed if each in can_close]
    st.multiselect(
        "Closed pages",
        can_close,
        format_func=lambda name: titles[name],
        key=_CLOSED,
        persist_state="session",
        placeholder="All are open",
        help=words["closed help"],
        on_change=lambda: session.lead(_WHERE, lambda instructor: instructor.close_pages(st.session_state[_CLOSED])),
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Bring everybody to",
            list(titles),
            format_func=lambda name: titles[name],
            key=_PAGE,
            persist_state="session",
        )
        lesson.button("Bring everybody", "groups", "bring", _bring, help=words["bring help"])
        if guide.page in titles:
            release = f"Let them leave {titles[guide.page]}"
            lesson.button(release, "directions_walk", "release", session.lead, _WHERE, lambda one: one.bring(""))
    state.prepare()
    st.markdown(words["preset"].format(settings=lesson.plain(state.in_short())))
    with st.container(horizontal=True):
        mine = state.draft_or_lesson()
        lesson.button(
            "Give them to everybody", "share", "preset_give", session.lead, _WHERE, lambda one: one.preset(mine)
        )
        if guide.preset is not None:
            lesson.button(
                "Back to the lesson’s", "undo", "preset_drop", session.lead, _WHERE, lambda one: one.preset(None)
            )
    lesson.problem(_WHERE)


def _bring() -> None:
    session.lead(_WHERE, lambda instructor: instructor.bring(st.session_state[_PAGE]))


def is_closed(page: str) -> bool:
    """Whether a page is closed for this browser."""
    return page in session.lab().guide.now.closed and page not in _ALWAYS_OPEN and not session.leads()


def say_closed() -> None:
    """In place of a page."""
    st.info(lesson.text("classroom")["closed"], icon=":material/lock:")
