"""Projector: what the room is asked, live and large, for the last row. No sidebar, no names."""

import streamlit as st

from pages.parts import asked, lesson, session

words = lesson.text("rounds")
SIZE = 34  # pixels, of a chart's text


@st.fragment(run_every=1.5)
def projector() -> None:
    """The open question, its votes, and in the end what was measured."""
    now = session.lab().rounds.current()
    if now is None:
        st.header(words["waiting"], anchor=False)
        return
    question, voted = asked.question(now), len(session.lab().rounds.votes(now.number, now.turn or 2))
    if now.phase == "shown":
        asked.draw_votes(now, SIZE, question)
        st.header(lesson.plain(now.measured), anchor=False)
        st.subheader(lesson.plain(asked.outcome(now)), anchor=False)
    elif now.hidden and now.turn:
        st.title(lesson.plain(question), anchor=False)
        st.header(asked.voted(voted), anchor=False)
    else:
        asked.draw_votes(now, SIZE, question, words["talk"] if now.phase == "talk" else asked.voted(voted))


projector()
