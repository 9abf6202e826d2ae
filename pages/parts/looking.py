"""Looking over somebody's shoulder: a participant shows the own page, and the instructor sees it as it is there."""

import copy
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from eurosat_core.errors import LabError
from eurosat_core.lab.lab import current_lab
from pages.parts import lesson, session

_EVERY = 2.0
_SEEN = "looking_version"
_SHOWS = "looking_shows"  # this tab, for its owner may have others
# Of a participant's session: what proves who that is, or is typed to do so.
_OWN = ("secret", "code_input", "nickname_input", "passcode_input")
_PRESSED = ("trigger_value", "string_trigger_value", "json_trigger_value", "file_uploader_state_value")
_PLAIN = str | int | float | bool | None
_DEEPEST = 6


def consent(page: str) -> None:
    """For whoever has the hand up: whether the instructor may see this page; and what is seen while they may."""
    views, me = session.lab().views, session.me()
    if session.lab().participants.says(me) != "hand":
        views.withdraw(me)
    elif views.allowed(me) and st.session_state.get(_SHOWS):
        views.show(me, page, st.query_params.to_dict(), _chosen())
        st.badge("The instructor can see this page", icon=":material/visibility:", color="orange")
        lesson.button("Stop showing it", "visibility_off", "looking_stop", session.show_no_more, type="tertiary")
    else:
        words = lesson.text("classroom")["looking consent"]
        lesson.button("Let the instructor see my page", "visibility", "looking_show", _show, help=words)
    lesson.problem("looking")


def _show() -> None:
    with session.attempt("looking"):
        session.show_to_instructor()
        st.session_state[_SHOWS] = True


def _chosen() -> dict[str, Any]:
    """A copy of all plain values of this session that are nobody's secret."""
    left_out = {*_OWN, *_pressed()}
    kept = {str(key): st.session_state[key] for key in st.session_state if str(key) not in left_out}
    return {key: copy.deepcopy(value) for key, value in kept.items() if _is_plain(value)}


def _pressed() -> set[str]:
    """Keys of buttons and of fields for files, whose values Streamlit lets nobody set; only it knows which they are."""
    context = get_script_run_ctx()
    if context is None:
        return set()
    state = context.session_state._state
    keys = state._key_id_mapper.id_key_mapping
    known = state._new_widget_state.widget_metadata
    return {keys[each] for each, what in known.items() if each in keys and what.value_type in _PRESSED}


def _is_plain(value: object, depth: int = 0) -> bool:
    if depth > _DEEPEST:
        return False
    if isinstance(value, list | tuple):
        return all(_is_plain(each, depth + 1) for each in value)
    if isinstance(value, dict):
        return all(isinstance(key, _PLAIN) and _is_plain(each, depth + 1) for key, each in value.items())
    return isinstance(value, _PLAIN)


def link(participant_id: str) -> str:
    """Where the instructor sees somebody's page, as Markdown; empty where that is not allowed."""
    lab = session.lab()
    if not lab.views.allowed(participant_id):
        return ""
    page = next((each.page for each in lab.participants.all() if each.id == participant_id), "")
    return f"[See the page]({'.' if page in ('start', '') else page}?see={participant_id})"


def begin() -> bool:
    """Whether this page shows what somebody else sees; then it is made ready, and may end here with a sentence."""
    seen = st.query_params.get("see", "")[:80] or session.seen()
    if not seen:
        return False
    try:
        view = session.look_at(seen)
    except LabError as error:
        if session.seen():  # what was chosen here was another's
            _take_over({})
        st.info(lesson.plain(str(error)), icon=":material/visibility_off:")
        st.stop()
    if st.session_state.get(_SEEN) != (seen, view.version):
        _take_over(view.chosen)
        session.look_at(seen)
        st.session_state[_SEEN] = seen, view.version
        st.switch_page(f"{view.page}.py", query_params={**view.query, "see": seen})  # also where it is this page
    return True


def _take_over(chosen: Mapping[str, Any]) -> None:
    kept = {key: st.session_state[key] for key in _OWN if key in st.session_state}
    st.session_state.clear()
    for key, value in {**copy.deepcopy(dict(chosen)), **kept}.items():
        st.session_state[key] = value


def banner() -> None:
    """Whose page that is; it follows what they do."""
    name = current_lab().participants.name(session.me())
    st.warning(lesson.text("classroom")["looking"].format(name=lesson.plain(name)), icon=":material/visibility:")
    st.fragment(_follow, run_every=_EVERY)()


def _follow() -> None:
    try:
        version = session.look_at(session.seen()).version
    except LabError:
        st.rerun()
    if st.session_state.get(_SEEN) != (session.seen(), version):
        st.rerun()
