"""Classroom: for whoever leads the workshop. Who is here, the queue, and whether all is ready."""

import streamlit as st

from pages.parts import lesson, room, session
from pages.parts.classroom import ask, deal, door, dry_run, guide, labels, leaders, people, plans, queue, report

words = lesson.text("classroom")

if door.draw(words):
    st.header("Who is here", anchor=False)
    people.draw(words)

    st.header("Ask the room", anchor=False)
    ask.draw(lesson.text("rounds"))

    st.header("One room, one experiment", anchor=False)
    deal.draw(lesson.text("experiment"))

    st.header("Leader board", anchor=False)
    leaders.draw(words)

    st.header("The class is the training set", anchor=False)
    labels.draw(words)

    st.header("The queue", anchor=False)
    queue.draw(words)

    st.header("For everybody", anchor=False)
    guide.draw(words)

    st.header("Before the workshop", anchor=False)
    st.markdown(words["checklist"])
    st.fragment(lambda: room.draw(session.lab().room()), run_every=5.0)()
    dry_run.draw(words)

    st.header("After the workshop", anchor=False)
    report.draw(words)

    st.header("Lesson plans", anchor=False)
    plans.draw()
