"""The lesson's three sentences with the participant's figures, and every guess beside its measurement."""

from collections.abc import Sequence

import streamlit as st

from eurosat_core import wording
from eurosat_core.lab.evidence import Evidence
from eurosat_core.lab.guess_outcomes import GuessOutcome
from eurosat_core.lab.wrapup import Point, Sentence
from pages.parts import lesson, session

__all__ = ["draw", "guesses", "saw"]

_ICONS = {
    "found": ":green[:material/check_circle:]",
    "recorded": ":violet[:material/history:]",
    "missing": ":gray[:material/radio_button_unchecked:]",
}
_GUESS_ICONS = {
    "right": ":green[:material/check_circle:]",
    "off": ":orange[:material/lightbulb:]",
    "open": ":gray[:material/help:]",
}


def saw(evidence: Evidence, about_guesses: Sequence[str]) -> None:
    """How much was done, and how the guesses did."""
    done = [
        wording.count(number, one)
        for number, one in (
            (len(evidence.runs), "training"),
            (len(evidence.profiles), "profile"),
            (len(evidence.measurements), "experiment"),
        )
        if number
    ]
    first = f"You have {wording.listed(done)} of your own." if done else "Nothing of your own is measured yet."
    lesson.saw(lesson.plain(" ".join(each for each in (first, *about_guesses) if each)))


def draw(sentences: Sequence[Sentence]) -> None:
    """Each in a frame of its own, with its points below."""
    for number, each in enumerate(sentences, 1):
        with st.container(border=True):
            st.markdown(f"**{number}. “{each.text}”**")
            for point in each.points:
                _point(point)


def _point(point: Point) -> None:
    with st.container(gap="xxsmall"):
        st.markdown(f"{_ICONS[point.kind]} *{point.about}*: {lesson.plain(point.text)}")
        if point.basis:
            st.caption(lesson.plain(point.basis))
        if point.page:
            st.page_link(
                point.page,
                label=point.link,
                icon=":material/arrow_forward:",
                query_params={**session.url_parameters(), **dict(point.parameters)},
            )


def guesses(outcomes: Sequence[GuessOutcome]) -> None:
    """A line for each guess: what was asked, guessed, measured."""
    if not outcomes:
        st.caption(lesson.text("wrapup")["guesses none"])
        return
    with st.container(border=True):
        for each in outcomes:
            st.markdown(
                f"{_GUESS_ICONS[each.kind]} **{each.label}** · {lesson.plain(each.question)}  \n"
                f"You: **{lesson.plain(each.guess)}** · {lesson.plain(each.measured)}"
            )
            if each.kind == "open":
                st.page_link(
                    each.page,
                    label=f"Find out on {each.label}",
                    icon=":material/arrow_forward:",
                    query_params=session.url_parameters(),
                )
