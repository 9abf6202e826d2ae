"""What to try next: each suggestion fills in the Train page."""

import streamlit as st

from eurosat_core.errors import LabError
from eurosat_core.lab.evidence import Evidence
from eurosat_core.lab.next_steps import NextStep, next_steps
from eurosat_core.wording import duration
from pages.parts import lesson, session, train_state

__all__ = ["draw"]


def draw(evidence: Evidence) -> None:
    """A card for each."""
    lab, words = session.lab(), lesson.text("wrapup")
    best = evidence.best
    base = words["next base"] if best is None else f"your best training, {best.label}"
    st.markdown(words["next"].format(base=lesson.plain(base)))
    steps = next_steps(evidence, by_place=not lab.library.place_problem())
    with st.grid(min(len(steps), 4), min_column_width=220):
        for each in steps:
            with st.container(border=True):
                _card(each)


def _card(step: NextStep) -> None:
    st.markdown(f"**{step.title}**")
    st.caption(step.why)
    try:
        estimate = session.lab().estimate(step.config)
    except LabError:
        estimate = None
    about = f" · about {duration(estimate.seconds)}" if estimate else ""
    if st.button(f"Set it up{about}", icon=":material/tune:", key=f"wrapup_next_{step.key}"):
        train_state.set_up(step.config)
