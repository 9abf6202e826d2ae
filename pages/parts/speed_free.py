"""A free sweep: one setting, values of one's own, and what it showed."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.lab import choices, free_sweep
from eurosat_core.models.catalog import CATALOG
from pages.parts import lesson, session, speed_live, speed_result, speed_state

__all__ = ["draw"]

_SETTING, _MODEL, _SECONDS, _TARGET = (
    "speed_free_setting",
    "speed_free_model",
    "speed_free_seconds",
    "speed_free_target",
)
_PROBLEM = "speed_free_problem"
_MODELS = tuple(name for name in CATALOG if name != "custom")
_FIRST_VALUES = 3


def draw(devices: list[str]) -> None:
    """The form, and the newest sweep."""
    with st.container(border=True):
        st.markdown(lesson.text("speed")["free"])
        _form(devices)
    record = speed_state.shown(speed_state.FREE)
    if record is None:
        return
    if record.is_active:
        speed_live.draw(record)
    else:
        setting = str(record.plan.get("setting", ""))
        title = choices.SETTING_NAMES.get(setting, setting)
        model = CATALOG[record.config.model].title if record.config.model in CATALOG else record.config.model
        st.markdown(f"**{lesson.plain(title)}**{'' if setting == 'model' else f', {lesson.plain(model)}'}")
        speed_result.draw(record, None)


def _form(devices: list[str]) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        setting = st.selectbox(
            "Setting",
            list(free_sweep.OFFERED),
            format_func=lambda name: choices.SETTING_NAMES[name],
            key=_SETTING,
            persist_state="session",
        )
    with right:
        st.selectbox(
            "Model",
            _MODELS,
            format_func=lambda name: CATALOG[name].title,
            key=_MODEL,
            persist_state="session",
            disabled=setting == "model",
        )
    words = list(free_sweep.offered(setting))
    number = free_sweep.is_number(setting)
    start = words[2 : 2 + _FIRST_VALUES] if len(words) > _FIRST_VALUES + 2 else words[:_FIRST_VALUES]
    values = st.multiselect(
        "Values",
        words,
        default=start,
        accept_new_options=number,
        key=f"speed_free_values_{setting}",
        persist_state="session",
        select_all=False,
        placeholder="Choose or type values" if number else "Choose values",
        help="The first one is what the others are held against.",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Seconds for each value",
            free_sweep.SECONDS,
            default=free_sweep.SECONDS[1],
            key=_SECONDS,
            required=True,
            persist_state="session",
        )
        st.toggle(
            "Time to 40 % accuracy, too",
            key=_TARGET,
            persist_state="session",
            help="Each value trains from the start until it names 40 % of the judged tiles correctly, for 10 seconds "
            "at most.",
        )
    _button(setting, [str(each) for each in values], devices)


def _button(setting: str, values: list[str], devices: list[str]) -> None:
    state, lab = st.session_state, session.lab()
    try:
        config, plan = free_sweep.plan_free(
            setting,
            values,
            "baseline" if setting == "model" else state[_MODEL],
            devices,
            float(state[_SECONDS] or free_sweep.SECONDS[1]),
            0.4 if state[_TARGET] else None,
        )
        seconds = lab.estimate_sweep(config, plan).seconds
    except LabError as error:
        st.button("Run the sweep", icon=":material/play_arrow:", disabled=True, key="speed_free_start")
        st.caption(f":material/edit: {lesson.plain(str(error))}")
        return
    names = wording.listed([wording.device_name(each) for each in plan.devices(config)])
    st.button(
        f"Run the sweep on {names} · about {wording.duration(seconds)}",
        icon=":material/play_arrow:",
        key="speed_free_start",
        on_click=speed_state.submit,
        args=(config, plan, _PROBLEM),
        disabled=bool(lab.runs_problem)
        or lab.tiles().tile_set is None
        or any(each.is_active for each in speed_state.own(speed_state.FREE)),
    )
    if problem := state.get(_PROBLEM):
        st.error(lesson.plain(problem), icon=":material/error:")
