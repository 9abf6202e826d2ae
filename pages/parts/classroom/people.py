"""Who is here, on which page, and when they were last seen."""

import time
from collections import Counter
from collections.abc import Mapping

import streamlit as st

from eurosat_core.wording import count
from pages.parts import lesson, looking, session
from pages.parts.asked import PROGRESS

_EVERY = 3.0
_HERE_SECONDS = 60.0  # a page that watches a run asks every few seconds; one that is only read asks for nothing
_FADED_SECONDS = 600.0
_LISTED_SECONDS = 12 * 3600.0
_MOST = 60
_MOST_NAMES = 500
_LOST = "lost_participant"
_MADE = "lost_made"  # session state: for whom a code was made, and which


def draw(words: Mapping[str, str]) -> None:
    """A line for each, again and again; below them a way back for who lost the own browser."""
    st.fragment(_people, run_every=_EVERY)(words)
    with st.expander("Somebody lost their name", icon=":material/person_search:", type="compact"):
        _code(words)


def _code(words: Mapping[str, str]) -> None:
    names = {each.id: each.nickname for each in session.lab().participants.all()[:_MOST_NAMES]}
    st.caption(words["lost help"])
    if st.session_state.get(_LOST) not in names:
        st.session_state[_LOST] = None
    chosen = st.selectbox("Participant", list(names), index=None, format_func=names.__getitem__, key=_LOST)
    lesson.button("Make a code for them", "key", "lost_code", _make_code, chosen, disabled=chosen is None)
    made, code = st.session_state.get(_MADE, ("", ""))
    if chosen is not None and made == chosen:
        st.code(code, language=None)
    lesson.problem("lost")


def _make_code(participant_id: str) -> None:
    with session.attempt("lost"):
        st.session_state[_MADE] = participant_id, session.instructor().code_for(participant_id)


def _people(words: Mapping[str, str]) -> None:
    if not session.leads():
        st.rerun()  # the day of teaching has ended, or another tab signed out
    now, me = time.time(), session.me()
    there = [each for each in session.lab().participants.all() if now - each.last_seen < _LISTED_SECONDS]
    others = [each for each in there if each.id != me]
    if not others:
        st.info(words["nobody"], icon=":material/group_off:")
        return
    runs = Counter(each.owner for each in session.lab().store.all()[0])
    here = sum(now - each.last_seen < _FADED_SECONDS for each in others)
    st.caption(f"{count(here, 'participant')} seen in the last {_FADED_SECONDS / 60:.0f} minutes, you not counted.")
    says = {each.id: session.lab().participants.says(each.id) for each in others}
    counted = Counter(PROGRESS[said] for said in says.values() if said)
    if counted:
        st.markdown(" · ".join(f"**{number}** {what}" for what, number in counted.most_common()))
    titles = {name: each["title"] for name, each in lesson.pages().items()}
    # By name, for lines that change places cannot be read; those who went away below the others.
    shown = sorted(others[:_MOST], key=lambda each: (now - each.last_seen >= _FADED_SECONDS, each.nickname.casefold()))
    faded = [now - each.last_seen >= _FADED_SECONDS for each in shown]

    def cells(values: list[str]) -> list[str]:
        return [
            f":gray[{lesson.plain(text)}]" if old else lesson.plain(text)
            for text, old in zip(values, faded, strict=True)
        ]

    table = {
        "Name": cells([each.nickname for each in shown]),
        "Page": cells([titles.get(each.page, "") for each in shown]),
        "Says": cells([PROGRESS[said] if (said := says[each.id]) else "" for each in shown]),
        "Page shown": [looking.link(each.id) for each in shown],
        "Last seen": cells([_ago(now - each.last_seen) for each in shown]),
        "Runs": cells([str(runs[each.id]) for each in shown]),
    }
    if not any(table["Page shown"]):
        del table["Page shown"]
    st.table(
        table, border="horizontal", alt="Participants, the pages they are on, when they were last seen, their runs"
    )
    if len(others) > _MOST:
        st.caption(f"And {len(others) - _MOST:,} more, who were seen longer ago.")


def _ago(seconds: float) -> str:
    if seconds < _HERE_SECONDS:
        return "now"
    return f"{seconds // 60:.0f} min ago" if seconds < 3600.0 else f"{seconds // 3600:.0f} h ago"
