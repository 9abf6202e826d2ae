"""The instructor's report: one file with what the room was asked, answered, measured and ran. Counts, no names."""

import time
from collections.abc import Mapping

import streamlit as st

from eurosat_core.analysis import guesses
from eurosat_core.analysis.rounds import bars, gain
from eurosat_core.classroom.rounds import Round
from eurosat_core.words.room_report import AskedRound, room_report_html
from pages.parts import asked, lesson, room_scatter, session
from pages.parts.classroom import leaders
from pages.parts.dealt import TITLES

_SINCE = "report_since"
_PERIODS = {"workshop": "The last 12 hours", "all": "Everything"}
_WORKSHOP_SECONDS = 12 * 3600.0


def draw(words: Mapping[str, str]) -> None:
    """From when on, and the download."""
    st.markdown(words["report"])
    with st.container(horizontal=True, vertical_alignment="center"):
        seconds = (
            _WORKSHOP_SECONDS if lesson.one_of("From", _PERIODS, _SINCE, hidden=True) == "workshop" else time.time()
        )
        me = session.me()  # what makes the file knows no session
        st.download_button(
            "Download the report",
            lambda: _made(me, time.time() - seconds),
            "eurosat-lab-room.html",
            "text/html",
            key="room_report",
            icon=":material/download:",
            on_click="ignore",
        )


def _made(me: str, since: float) -> bytes:
    """The page, of what was from a time on, in seconds since 1970."""
    lab = session.lab()
    rounds = [_round(each) for each in lab.rounds.all() if each.at >= since]
    deals = [each for each in lab.experiments.all() if each.at >= since]
    runs = [each for each in lab.store.all()[0] if each.created >= since and not each.recorded_on]
    people = [each for each in lab.participants.all() if each.last_seen >= since and each.id != me]
    found = [(TITLES[each.setting], room_scatter.says(each, room_scatter.current(each))) for each in deals]
    return room_report_html(len(people), rounds, runs, leaders.current(since), found).encode()


def _round(over: Round) -> AskedRound:
    first, second = (session.lab().rounds.votes(over.number, turn) for turn in (1, 2))
    changed = gain(first, second, over.right).figures.get("gain")
    return AskedRound(
        over.number,
        asked.question(over),
        bars(guesses.choices(over.question), first, second, over.right),
        over.measured,
        asked.outcome(over),
        float(changed) if isinstance(changed, int | float) else None,
    )
