"""A run's sealed test part: a closed envelope, opened once."""

import streamlit as st

from eurosat_core.errors import LabError
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.sealed import against_validation
from pages.parts import lesson, live_run, session

__all__ = ["draw"]

_PROBLEM = "sealed_problem"


def draw(record: RunRecord) -> None:
    """The envelope, or what was in it; nothing for a run without one."""
    lab = session.lab()
    try:
        if lab.has_sealed_test(record.id):
            _closed(record)
        elif (evaluation := lab.test_evaluation(record.id)) is not None:
            looks = lab.earlier_openings(record.id)
            with st.container(border=True):
                st.markdown("**:material/drafts: Sealed test part, opened**")
                st.markdown(lesson.plain(against_validation(record, evaluation, looks)))
    except LabError as error:
        st.error(lesson.plain(str(error)), icon=":material/error:")


def _closed(record: RunRecord) -> None:
    with st.container(border=True):
        st.markdown("**:material/mail_lock: Sealed test part**")
        st.markdown(lesson.text("train")["sealed"].format(tiles=f"{session.lab().sealed_tiles(record.id):,}"))
        if live_run.is_own(record):
            with st.popover("Open it", icon=":material/mail_lock:", key="sealed_open"):
                st.markdown("There is no way to seal it again.")
                st.button("Yes, open it", type="primary", key="sealed_open_sure", on_click=_open, args=(record.id,))
        if problem := st.session_state.get(_PROBLEM):
            st.error(lesson.plain(problem), icon=":material/error:")


def _open(run_id: str) -> None:
    try:
        session.lab().open_test(run_id, session.nickname())
    except LabError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    st.session_state.pop(_PROBLEM, None)
