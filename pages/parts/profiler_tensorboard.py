"""TensorBoard for those who know it: what is in it, and the way there. The link itself starts it."""

import streamlit as st

from eurosat_core.lab.tensorboard import PATH_PREFIX, SHOWN_PROFILES, SHOWN_TRAININGS, plugin_problem
from eurosat_core.wording import count
from pages.parts import lesson, session

__all__ = ["address", "draw"]


def address() -> str:
    """Where this server shows TensorBoard, as the browser asks for it."""
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}{PATH_PREFIX}/" if base else f"{PATH_PREFIX}/"


def draw() -> None:
    """What is in it, a link that opens in a new tab, and what its profiler tab needs."""
    words = lesson.text("profiler")
    lab = session.lab()
    state = lab.tensorboard.state()
    with st.expander("The same in TensorBoard", icon=":material/open_in_new:"):
        no_tab = plugin_problem()
        st.markdown(words["tensorboard"] if no_tab else f"{words['tensorboard']} {words['tensorboard profiles']}")
        if state.phase == "failed":
            st.warning(lesson.plain(state.problem), title="Not available now", icon=":material/power_off:")
        elif no_tab:
            st.info(lesson.plain(no_tab), icon=":material/tab_close:")
        records = lab.runs()[0]
        trainings = min(sum(each.kind == "train" for each in records), SHOWN_TRAININGS)
        profiles = min(sum(each.kind == "profile" and not each.is_active for each in records), SHOWN_PROFILES)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.link_button("Open TensorBoard", address(), icon=":material/open_in_new:", key="open_tensorboard")
            inside = (
                f"{count(trainings, 'training')} of this lab, the newest ones"
                if no_tab
                else f"{count(trainings, 'training')} and {count(profiles, 'profile')} of this lab, the newest ones, "
                "and the recorded example"
            )
            st.caption(f"In it: {inside}. {_ABOUT[state.phase]}")
        if not no_tab:
            st.caption(f":material/wifi: {words['tensorboard internet']}")


_ABOUT = {
    "stopped": "It starts when it is opened, which takes some seconds.",
    "starting": "It is starting.",
    "running": "It is running.",
    "failed": "",
}
