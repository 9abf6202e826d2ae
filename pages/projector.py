"""Projector: what the room is asked, its experiment, the leader board or its labels, live and large. No sidebar."""

import streamlit as st

from eurosat_core.charts.leaders import TITLES
from pages.parts import asked, dealt, lesson, room_scatter, session
from pages.parts.classroom import labels, leaders

words = lesson.text("rounds")
SIZE = 34  # pixels, of a chart's text


@st.fragment(run_every=1.5)
def projector() -> None:
    """Whatever of these goes on; an open question comes first."""
    now = session.lab().rounds.current()
    deal = session.lab().experiments.current()
    if now is None and deal is not None:
        st.title(f"{lesson.text('experiment')['title']}: {dealt.TITLES[deal.setting].lower()}", anchor=False)
        found = room_scatter.current(deal)
        room_scatter.draw(deal, found, size=24, height=620)
        st.header(room_scatter.says(deal, found), anchor=False)
        return
    if now is None and session.lab().guide.now.board:
        st.title(words["board title"], anchor=False)
        left, right = st.columns(2)
        standing = leaders.current()
        for column, cost in zip((left, right), TITLES, strict=True):
            with column:
                leaders.draw_board(lesson.text("classroom"), standing, cost, size=24, height=720)
        return
    if now is None and session.lab().guide.now.labels:
        st.title(lesson.text("classroom")["labels title"], anchor=False)
        labels.draw_labels(size=26, height=620)
        return
    if now is None:
        st.header(words["waiting"], anchor=False)
        return
    question, voted = asked.question(now), len(session.lab().rounds.newest_votes(now))
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
