"""The room's experiment: a dot for each training that ended, how many did, and what that says."""

import streamlit as st

from eurosat_core.analysis.experiment import Result, outcome, result
from eurosat_core.charts.experiment import experiment_chart, experiment_frame
from eurosat_core.classroom.experiment import Deal
from eurosat_core.wording import count
from eurosat_core.words.say import say
from pages.parts import dealt, lesson, session


def current(deal: Deal) -> Result:
    """What has ended at this moment."""
    lab = session.lab()
    return result(deal, lab.experiments.hands(deal.number), lab.store.all()[0])


def says(deal: Deal, found: Result) -> str:
    """How many of those who got a value have trained it, and what the room found, in words."""
    finished = f"{found.finished} of {count(found.people, 'training has', 'trainings have')} finished."
    return lesson.plain(f"{finished} {say(outcome(deal, found))}")


def draw(deal: Deal, found: Result, *, own: str = "", size: int = 14, height: int = 320) -> None:
    """The scatter, once there is a dot. own: whose dot is marked. size: of the text, in pixels."""
    if not found.groups:
        return
    title = dealt.TITLES[deal.setting]
    st.vega_lite_chart(
        experiment_frame(found, own),
        experiment_chart(found, title, named=not own, size=size, height=height),
        key=f"experiment_{deal.number}_{size}",
        alt=f"Validation accuracy of {count(found.finished, 'training')} by {title.lower()}",
    )
    st.caption(lesson.text("experiment")["chart"])
