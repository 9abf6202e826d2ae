"""One room, one experiment: the instructor deals values of a setting out, and everybody trains one."""

from collections.abc import Mapping

import streamlit as st

from eurosat_core.analysis.experiment import Result
from eurosat_core.classroom.experiment import USUAL, Deal, numbers_in
from eurosat_core.lab.instructor import Instructor
from eurosat_core.wording import percent, points
from pages.parts import lesson, room_scatter, session
from pages.parts.dealt import TITLES
from pages.parts.train import state

_EVERY = 2.0
_WHERE = "classroom_deal"
_SETTING = "deal_setting"


def draw(words: Mapping[str, str]) -> None:
    """What to deal, or the experiment that is open; then those before."""
    st.markdown(words["about"])
    state.prepare()
    st.fragment(_now, run_every=_EVERY)(words)


def _now(words: Mapping[str, str]) -> None:
    if not session.leads():
        st.rerun()
    deal = session.lab().experiments.current()
    if deal is None:
        _choose(words)
    else:
        _lead(words, deal)
    lesson.problem(_WHERE)
    _before()


def _values_key() -> str:
    return f"deal_values_{st.session_state[_SETTING]}"


def _choose(words: Mapping[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        setting = st.selectbox(
            "Setting", list(TITLES), format_func=lambda name: TITLES[name], key=_SETTING, persist_state="session"
        )
        st.session_state.setdefault(_values_key(), USUAL[setting])
        st.text_input("Values", key=_values_key(), max_chars=400, persist_state="session", help=words["values help"])
        lesson.button("Deal them out", "playing_cards", "deal_open", _open, type="primary")
    st.caption(words["base"].format(settings=lesson.plain(state.in_short())))


def _open() -> None:
    def deal_out(instructor: Instructor) -> None:
        chosen = st.session_state
        instructor.deal(chosen[_SETTING], numbers_in(chosen[_values_key()]), state.draft_or_lesson())

    session.lead(_WHERE, deal_out)


def _lead(words: Mapping[str, str], deal: Deal) -> None:
    st.markdown(f"**{_title(deal)}**")
    found = room_scatter.current(deal)
    room_scatter.draw(deal, found)
    st.caption(room_scatter.says(deal, found))
    if found.groups:
        st.table(_table(deal, found), border="horizontal", alt="The trainings of each value")
    else:
        st.caption(words["nothing yet"])
    lesson.button(
        "End the experiment", "close", "deal_end", session.lead, _WHERE, lambda one: one.end_deal(deal.number)
    )


def _title(deal: Deal) -> str:
    return f"{TITLES[deal.setting]}: {', '.join(f'{each:g}' for each in deal.values)}"


def _table(deal: Deal, found: Result) -> dict[str, list[str]]:
    groups = found.groups
    deviations = [each.deviation for each in groups]
    return {
        TITLES[deal.setting]: ["all" if each.value is None else f"{each.value:g}" for each in groups],
        "Trainings": [str(len(each.dots)) for each in groups],
        "Mean": [percent(each.mean) for each in groups],
        "Smallest": [percent(each.low) for each in groups],
        "Largest": [percent(each.high) for each in groups],
        "Standard deviation": ["–" if each is None else points(each) for each in deviations],
    }


def _before() -> None:
    over = [each for each in session.lab().experiments.all() if each.is_over]
    if not over:
        return
    with st.expander("Experiments so far", icon=":material/history:"):
        for deal in reversed(over):
            found = room_scatter.current(deal)
            st.markdown(f"**{_title(deal)}.** {room_scatter.says(deal, found)}")
