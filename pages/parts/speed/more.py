"""What goes beyond the lesson: a sweep of one's own, and the limits of the device."""

import pandas as pd
import streamlit as st

from eurosat_core import wording
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
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, session
from pages.parts.speed import choose
from pages.parts.speed import result as results

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
        results.draw_live(record)
    else:
        setting = str(record.plan.get("setting", ""))
        title = SETTINGS[setting].title if setting in SETTINGS else setting
        model = CATALOG[record.config.model].title if record.config.model in CATALOG else record.config.model
        st.markdown(f"**{lesson.plain(title)}**{'' if setting == 'model' else f', {lesson.plain(model)}'}")
        results.draw_result(record, None)


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
        help="The first one is what the others are held against.",
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
    chosen, lab = st.session_state, session.lab()
    try:
        config, plan = sweep.plan_free(
            setting,
            values,
            "baseline" if setting == "model" else chosen[_MODEL],
            devices,
            float(chosen[_SECONDS] or sweep.SECONDS[1]),
            0.4 if chosen[_TARGET] else None,
        )
        seconds = lab.estimates.sweep(config, plan).seconds
    except LabError as error:
        st.button("Run the sweep", icon=":material/play_arrow:", disabled=True, key="speed_free_start")
        st.caption(f":material/edit: {lesson.plain(str(error))}")
        return
    names = wording.listed([wording.device_name(each) for each in plan.devices(config)])
    st.button(
        f"Run the sweep on {names} · about {wording.duration(seconds)}",
        icon=":material/play_arrow:",
        key="speed_free_start",
        on_click=choose.submit,
        args=(config, plan, "speed_free"),
        disabled=bool(lab.runs_problem)
        or lab.tiles().tile_set is None
        or any(each.is_active for each in choose.own(choose.FREE)),
    )
    lesson.problem("speed_free")


def draw_limits(devices: list[str]) -> None:
    """The button, and what was measured last."""
    words = lesson.text("speed")
    record = choose.shown(choose.LIMITS)
    with st.container(border=True):
        st.markdown(words["limits"])
        _limits_button(devices, any(each.is_active for each in choose.own(choose.LIMITS)), record is None)
    if record is None:
        return
    if record.is_active:
        results.draw_live(record)
        return
    results.ended(record)
    result = results.result_of(record)
    if result is not None:
        _result(record, result)
    results.delete(record)


def _limits_button(devices: list[str], active: bool, empty: bool) -> None:
    lab = session.lab()
    try:
        config = recipe_config("baseline", "tutorial", device=home_device(devices), source="memory")
        plan = plan_limits(devices)
        seconds = lab.estimates.sweep(config, plan).seconds
    except LabError as error:
        st.button("Measure the limits", disabled=True, icon=":material/straighten:", key="speed_limits_start")
        st.caption(lesson.plain(str(error)))
        return
    names = wording.listed([wording.device_name(each) for each in devices])
    st.button(
        f"Measure the limits of {names} · about {wording.duration(seconds)}",
        icon=":material/straighten:",
        key="speed_limits_start",
        on_click=choose.submit,
        args=(config, plan, "speed_limits"),
        disabled=active or bool(lab.runs_problem) or lab.tiles().tile_set is None,
    )
    if empty:
        st.caption(lesson.text("speed")["limits empty"].format(seconds=wording.duration(seconds)))
    lesson.problem("speed_limits")


def _result(record: RunRecord, result: SweepResult) -> None:
    found = [sweep.prediction_finding(result), *map(sweep.overtaking_finding, _overtakings(record, result))]
    lesson.saw("\n\n".join(map(lesson.plain, say_each(found))))
    st.caption(f"Measured on: {lesson.plain(say(sweep.measured_how(record, result)))}")
    if result.limits:
        st.table(
            _escaped(charts.limits_table(list(result.limits.values()))).set_index("Limit"),
            border="horizontal",
            alt="What each device can do at most, as measured",
        )
    table = charts.prediction_table(result)
    if table.empty:
        return
    points = charts.prediction_points_frame(result)
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
        _escaped(table),
        border="horizontal",
        hide_index=True,
        alt="Predicted and measured times of steps, with the error",
    )


def _escaped(table: pd.DataFrame) -> pd.DataFrame:
    """A table draws Markdown, and an imported run brings its own words."""
    return table.map(lesson.plain).rename(columns=lesson.plain)


def _overtakings(record: RunRecord, result: SweepResult) -> list[Overtaking]:
    """Where a GPU overtakes the CPU; a line that says so where none was measured."""
    lab, me = session.lab(), session.nickname()

    def newest(name: str) -> SweepResult | None:
        runs = lab.sweeps.runs(me, name)
        try:
            return lab.sweeps.result(runs[0].id) if runs else None
        except LabError:
            return None

    found = sweep.overtakings(result, newest("batch_size"), newest("model_size"), record.config)
    if not found:
        st.caption(f":material/block: {lesson.text('speed')['break even none']}")
    return found
