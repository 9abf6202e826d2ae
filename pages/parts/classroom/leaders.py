"""The leader board: accuracy, and what it cost in seconds or in parameters (parameter golf)."""

from collections.abc import Mapping

import streamlit as st

from eurosat_core.analysis.leaders import Board, Cost, board, ranks
from eurosat_core.charts.leaders import TITLES, leaders_chart, leaders_frame
from eurosat_core.wording import count, duration, percent
from pages.parts import lesson, session

_EVERY = 5.0
_WHERE = "classroom_board"
_COST, _SHOWN = "board_cost", "board_shown"
_MOST = 40


def draw(words: Mapping[str, str]) -> None:
    """For whoever leads: whether the projector shows it, and the board itself, again and again."""
    session.mirror(_SHOWN, session.lab().guide.now.board)
    st.toggle(
        "Show it on the projector",
        key=_SHOWN,
        persist_state="session",
        on_change=lambda: session.lead(_WHERE, lambda instructor: instructor.show_board(st.session_state[_SHOWN])),
    )
    lesson.problem(_WHERE)
    lesson.one_of("What it costs", TITLES, _COST, hidden=True)
    st.fragment(_board, run_every=_EVERY)(words)


def _board(words: Mapping[str, str]) -> None:
    if not session.leads():
        st.rerun()
    found = current()
    draw_board(words, found, st.session_state[_COST])
    best = found.best_of_each()[:_MOST]
    if best:
        names = session.lab().participants.name
        table = {
            "Rank": [str(each) for each in ranks(best)],
            "Name": [lesson.plain(names(each.owner)) for each in best],
            "Accuracy": [percent(each.accuracy) for each in best],
            "Time": [duration(each.seconds) for each in best],
            "Parameters": [f"{each.parameters:,}" for each in best],
            "Network": [each.model for each in best],
        }
        st.table(table, border="horizontal", alt="Everybody’s most accurate training, the best first")


def current(since: float = 0.0) -> Board:
    """The board of this moment. since: of trainings from a time on, in seconds since 1970."""
    lab = session.lab()
    runs = [each for each in lab.store.all()[0] if each.created >= since]
    return board(runs, lambda network: lab.estimates.model_summary(network).total_params)


def draw_board(words: Mapping[str, str], found: Board, cost: Cost, size: int = 14, height: int = 380) -> None:
    """Its chart. size: of the text, height: of all of it, in pixels."""
    if not found.entries:
        st.info(words["board empty"], icon=":material/leaderboard:")
        return
    st.vega_lite_chart(
        leaders_frame(found, cost, session.lab().participants.name),
        leaders_chart(cost, size=size, height=height),
        key=f"board_{cost}_{size}",
        alt=f"Accuracy against {TITLES[cost].lower()} of {count(len(found.entries), 'training')}",
    )
    others = words["board others"].format(others=count(found.others, "more was", "more were")) if found.others else ""
    st.caption(f"{words['board']} {others}")
