"""The participant's own guesses of the Tiles page, as far as they belong beside the chosen runs."""

import streamlit as st

from eurosat_core.lab.side_by_side import SideBySide
from eurosat_core.lab.verdicts import against_you
from eurosat_core.training.evaluation import Evaluation
from eurosat_core.wording import count
from pages.parts import lesson, session

__all__ = ["against_best", "note", "own"]


def own(side: SideBySide) -> Evaluation | None:
    """The participant's accuracy and mix-ups, where they guessed the very tiles these runs learned from."""
    lab = session.lab()
    if any(lab.tiles_of(each.record) is None for each in side.runs):
        return None
    return lab.guesses(session.nickname())


def against_best(side: SideBySide) -> str:
    """The best of these runs beside the participant, as a sentence; empty where there is nothing to say."""
    judged = [each for each in side.runs if each.accuracy is not None]
    guesses = own(side)
    if guesses is None or not judged or not (side.same.accuracy or len(side.runs) == 1):
        return ""
    return against_you(guesses, max(judged, key=lambda each: each.accuracy or 0.0)).text


def note(side: SideBySide) -> None:
    """Whether and why the participant's own mix-ups stand beside the networks'."""
    words = lesson.text("compare")
    guesses = own(side)
    if guesses is not None:
        st.caption(words["you"].format(tiles=count(guesses.tiles, "guess", "guesses")))
    elif session.lab().guesses(session.nickname()) is None:
        st.caption(words["you absent"])
    else:
        st.caption(words["you elsewhere"])
