"""What goes beyond the lesson: a sweep of one's own, and the limits of the device."""

from contextlib import suppress

import streamlit as st

from eurosat_core.analysis import sweep
from eurosat_core.charts import speed as charts
from eurosat_core.errors import LabError
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import home_device
from eurosat_core.speed.plan import plan_limits
from eurosat_core.speed.prediction import Overtaking
from eurosat_core.speed.result import SweepResult
from eurosat_core.training.config import SETTINGS, recipe_config
from eurosat_core.wording import duration
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, session
from pages.parts.speed import choose, result

_SETTING, _MODEL, _SECONDS, _TARGET = (
    "speed_free_setting",
    "speed_free_model",
    "speed_free_seconds",
    "speed_free_target",
)
_MODELS = tuple(name for name in CATALOG if name != "custom")
_FIRST_VALUES = 3


def draw_free(devices: list[str]) -> None:
    """The form, and the newest sweep."""
    with st.container(border=True):
        st.markdown(lesson.text("speed")["free"])
        _form(devices)
    record = choose.shown(choose.FREE)
    if record is None:
        return
    if record.is_active:
        result.draw_live(record)
    else:
        setting = str(record.plan.get("setting", ""))
        title = SETTINGS[setting].title if setting in SETTINGS else setting
        model = CATALOG[record.config.model].title if record.config.model in CATALOG else record.config.model
        st.markdown(f"**{lesson.plain(title)}**{'' if setting == 'model' else f', {lesson.plain(model)}'}")
        result.draw_result(record, None)


def _form(devices: list[str]) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        setting = st.selectbox(
            "Setting",
            list(sweep.OFFERED),
            format_func=lambda name: SETTINGS[name].title,
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
    words = list(sweep.offered(setting))
    number = sweep.is_number(setting)
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
        help="The others are compared with the first one.",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        lesson.one_of("Seconds for each value", sweep.SECONDS, _SECONDS, default=sweep.SECONDS[1])
        st.toggle(
            "Time to 40 % accuracy, too",
            key=_TARGET,
            persist_state="session",
            help="Each value trains from the start until it names 40 % of the judged tiles correctly, for 10 seconds "
            "at most.",
        )
    _free_button(setting, [str(each) for each in values], devices)


def _free_button(setting: str, values: list[str], devices: list[str]) -> None:
    chosen = st.session_state
    try:
        config, plan = sweep.plan_free(
            setting,
            values,
            "baseline" if setting == "model" else chosen[_MODEL],
            devices,
            float(chosen[_SECONDS] or sweep.SECONDS[1]),
            0.4 if chosen[_TARGET] else None,
        )
        seconds = session.lab().estimates.sweep(config, plan).seconds
    except LabError as error:
        st.button("Run the sweep", icon=":material/play_arrow:", disabled=True, key="speed_free_start")
        st.caption(f":material/edit: {lesson.plain(str(error))}")
        return
    choose.start_button("Run the sweep on", config, plan, seconds, "speed_free")


def draw_limits(devices: list[str]) -> None:
    """The button, and what was measured last."""
    words = lesson.text("speed")
    record = choose.shown(choose.LIMITS)
    with st.container(border=True):
        st.markdown(words["limits"])
        _limits_button(devices, record is None)
    if record is None:
        return
    if record.is_active:
        result.draw_live(record)
        return
    result.ended(record)
    found = result.result_of(record)
    if found is not None:
        _limits(record, found)
    result.delete(record)


def _limits_button(devices: list[str], empty: bool) -> None:
    icon = ":material/straighten:"
    try:
        config = recipe_config("baseline", "tutorial", device=home_device(devices), source="memory")
        plan = plan_limits(devices)
        seconds = session.lab().estimates.sweep(config, plan).seconds
    except LabError as error:
        st.button("Measure the limits", disabled=True, icon=icon, key="speed_limits_start")
        st.caption(lesson.plain(str(error)))
        return
    choose.start_button("Measure the limits of", config, plan, seconds, "speed_limits", icon)
    if empty:
        st.caption(lesson.text("speed")["limits empty"].format(seconds=duration(seconds)))


def _limits(record: RunRecord, found: SweepResult) -> None:
    told = [sweep.prediction_finding(found), *map(sweep.overtaking_finding, _overtakings(record, found))]
    lesson.saw_each(say_each(told))
    st.caption(f"Measured on: {lesson.plain(say(sweep.measured_how(record, found)))}")
    if found.limits:
        st.table(
            lesson.plain_table(charts.limits_table(list(found.limits.values()))).set_index("Limit"),
            border="horizontal",
            alt="What each device can do at most, as measured",
        )
    table = charts.prediction_table(found)
    if table.empty:
        return
    points = charts.prediction_points_frame(found)
    devices = tuple(each for each in dict.fromkeys(points["device"]) if each)
    ends = points[points["even"]]["measured_ms"]
    st.vega_lite_chart(
        points,
        charts.prediction_points(devices, float(ends.min()), float(ends.max())),
        key=f"speed_prediction_{record.id}",
        alt="Predicted over measured milliseconds of a step, and the line on which both are equal",
    )
    st.caption(lesson.text("speed")["limits points"])
    st.table(
        lesson.plain_table(table),
        border="horizontal",
        hide_index=True,
        alt="Predicted and measured times of steps, with the error",
    )


def _overtakings(record: RunRecord, limits: SweepResult) -> list[Overtaking]:
    """Where a GPU overtakes the CPU; a line that says so where none was measured."""
    lab, me = session.lab(), session.me()

    def newest(name: str) -> SweepResult | None:
        with suppress(LabError):
            return next((lab.sweeps.result(each.id) for each in lab.sweeps.runs(me, name)), None)
        return None

    found = sweep.overtakings(limits, newest("batch_size"), newest("model_size"), record.config)
    if not found:
        st.caption(f":material/block: {lesson.text('speed')['break even none']}")
    return found
