"""Ask the room: the instructor opens a question, lets people talk, and shows what was measured."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from eurosat_core.analysis import guesses
from eurosat_core.analysis.answers import ANSWERS, confirmed
from eurosat_core.analysis.wrapup import gather
from eurosat_core.classroom.rounds import PHASES, Phase, Round
from eurosat_core.words.say import say
from pages.parts import asked as everybody
from pages.parts import lesson, session

_EVERY = 2.0
_WHERE = "classroom_ask"
_NEXT = {
    "talk": ("Let them talk", "forum"),
    "second": ("Vote again", "how_to_vote"),
    "shown": ("Show what was measured", "visibility"),
}
_QUESTION, _HIDDEN = "ask_question", "ask_hidden"


def draw(words: Mapping[str, str]) -> None:
    """A question to choose, or the one that is open; then those before."""
    st.markdown(words["about"])
    st.caption(words["projector"])
    st.page_link("projector.py", label="Projector view", icon=":material/cast:")
    st.fragment(_now, run_every=_EVERY)(words)


def _now(words: Mapping[str, str]) -> None:
    if not session.leads():
        st.rerun()
    asked = session.lab().rounds.current()
    if asked is None:
        _choose(words)
    else:
        _lead(asked)
    lesson.problem(_WHERE)
    _before()


def _choose(words: Mapping[str, str]) -> None:
    st.selectbox(
        "Question",
        list(ANSWERS),
        format_func=lambda key: f"{guesses.GUESS_BOOK[key].label}: {say(guesses.asked(key)[0])}",
        key=_QUESTION,
        persist_state="session",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        lesson.button("Ask the room", "campaign", "ask_open", _open, type="primary")
        st.toggle("Hide the votes while people vote", key=_HIDDEN, help=words["hidden help"], persist_state="session")


def _open() -> None:
    session.lead(_WHERE, lambda instructor: instructor.ask(st.session_state[_QUESTION], st.session_state[_HIDDEN]))


def _lead(asked: Round) -> None:
    voted = everybody.voted(len(session.lab().rounds.newest_votes(asked)))
    st.markdown(f"**{lesson.plain(everybody.question(asked))}**")
    st.caption(f"{everybody.TITLES[asked.phase]}. {voted}")
    if asked.phase == "shown":
        everybody.draw_shown(asked)
    else:
        everybody.draw_votes(asked)
        st.caption(lesson.plain(_measured(asked.question, session.me())[1]))
    with st.container(horizontal=True):
        for phase in PHASES[PHASES.index(asked.phase) + 1 : -1]:
            label, icon = _NEXT[phase]
            lesson.button(label, icon, f"ask_{phase}", _go, asked, phase)
        lesson.button("Close the question", "close", "ask_close", _go, asked, "closed", type="tertiary")


def _go(asked: Round, phase: Phase) -> None:
    _measured.clear()
    right, measured = _measured(asked.question, session.me()) if phase == "shown" else ("", "")
    session.lead(_WHERE, lambda instructor: instructor.go_on(asked.number, phase, right, measured))


@st.cache_data(ttl=10, max_entries=20, show_spinner=False)
def _measured(question: str, owner: str) -> tuple[str, str]:
    """The choice that the instructor's own measurements confirm, empty if none does, and what they say."""
    lab = session.lab()
    right, measured = confirmed(question, lab, gather(lab, owner, {}))
    return right, say(measured)


def _before() -> None:
    over = [each for each in session.lab().rounds.all() if each.phase == "closed"]
    if not over:
        return
    opened = st.expander("Questions so far", icon=":material/history:", key="ask_before", on_change="rerun")
    if not opened.open:  # worked out every two seconds otherwise
        return
    with opened:
        table = pd.DataFrame(
            [(each.number, everybody.question(each), each.right, everybody.outcome(each)) for each in over],
            columns=["round", "question", "measured", "outcome"],
        )
        st.dataframe(table, hide_index=True, alt="The rounds so far and what came out of each")
        st.download_button(
            "Download as CSV",
            table.to_csv(index=False).encode(),
            "rounds.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
