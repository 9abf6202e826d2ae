"""Around the free builder: presets, networks saved under a name, the network as text, as an address and as PyTorch."""

import streamlit as st

from eurosat_core.errors import LabError
from eurosat_core.models.build import network_source
from eurosat_core.models.designs import MAX_NAME
from eurosat_core.models.layers import parse_network, url_text
from eurosat_core.models.presets import PRESETS
from pages.parts import lesson, model_state, session

__all__ = ["keep_and_share", "start_from"]

_PROBLEM = "model_shelf_problem"
_SAVED = "model_shelf_saved"


def start_from() -> None:
    """Presets, and the participant's own networks."""
    st.pills(
        "Start from",
        list(PRESETS),
        format_func=lambda name: PRESETS[name].title,
        key="model_preset",
        on_change=_take_preset,
        wrap=True,
        help="  \n".join(f"**{each.title}**: {each.about}" for each in PRESETS.values()),
    )
    mine = session.lab().designs.of(session.nickname())
    if mine:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.selectbox("Your saved networks", list(reversed(mine)), index=None, key="model_saved", width=280)
            chosen = st.session_state["model_saved"]
            st.button(
                "Open",
                icon=":material/folder_open:",
                key="model_saved_open",
                disabled=chosen not in mine,
                on_click=_open,
                args=(mine.get(chosen, ""),),
            )
            st.button(
                "Delete",
                icon=":material/delete:",
                key="model_saved_delete",
                disabled=chosen not in mine,
                on_click=_delete,
                args=(chosen,),
            )


def _take_preset() -> None:
    name = st.session_state["model_preset"]
    st.session_state["model_preset"] = None
    if name is not None:
        model_state.put(parse_network(PRESETS[name].text))


def _open(text: str) -> None:
    model_state.put(parse_network(text))


def _delete(name: str) -> None:
    try:
        session.lab().designs.delete(session.nickname(), name)
    except LabError as error:
        st.session_state[_PROBLEM] = str(error)


def keep_and_share(valid: bool) -> None:
    """Save, share, write as text; the PyTorch source of a network that can be trained."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Save it as", max_chars=MAX_NAME, key="model_name", width=280, placeholder="a name", on_change=_forget
        )
        st.button("Save", icon=":material/save:", key="model_save", on_click=_save)
    if problem := st.session_state.get(_PROBLEM):
        st.error(lesson.plain(problem), icon=":material/error:")
    elif saved := st.session_state.get(_SAVED):
        st.success(f"Saved as {lesson.plain(saved)}.", icon=":material/check:")
    with st.expander("As text, to share or to edit", icon=":material/share:"):
        st.session_state["model_text"] = model_state.text()
        st.text_area(
            "The network as text",
            key="model_text",
            on_change=_take_text,
            help="One layer after the other: kind, then its numbers. “out” means one output per class.",
        )
        st.markdown(lesson.text("model")["share"])
        here = (st.context.url or "").partition("?")[0]
        st.code(f"{here}?net={url_text(model_state.layers())}", language=None, wrap_lines=True)
    with st.expander("As PyTorch source", icon=":material/code:"):
        if not valid:
            st.caption("There is source as soon as the network can be trained.")
            return
        source = network_source(model_state.text(), model_state.classes())
        st.download_button(
            "Download net.py",
            source,
            file_name="net.py",
            mime="text/x-python",
            icon=":material/download:",
            key="model_download",
            on_click="ignore",
        )
        st.code(source, language="python", height=420)


def _forget() -> None:
    st.session_state.pop(_PROBLEM, None)
    st.session_state.pop(_SAVED, None)


def _save() -> None:
    _forget()
    try:
        st.session_state[_SAVED] = session.lab().designs.save(
            session.nickname(), st.session_state["model_name"], model_state.text()
        )
    except LabError as error:
        st.session_state[_PROBLEM] = str(error)


def _take_text() -> None:
    _forget()
    try:
        model_state.put(parse_network(st.session_state["model_text"]))
    except LabError as error:
        st.session_state[_PROBLEM] = str(error)
