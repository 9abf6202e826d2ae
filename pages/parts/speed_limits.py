"""The limits of the devices: what was measured of them, predicted against measured steps, and where a GPU overtakes."""

import pandas as pd
import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import speed as charts
from eurosat_core.errors import LabError
from eurosat_core.lab import experiment_frames, limits_words, sweep_words
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.speed.experiment_terms import home_device
from eurosat_core.speed.plan import plan_limits
from eurosat_core.speed.result import SweepResult
from eurosat_core.training.config import recipe_config
from pages.parts import lesson, session, speed_live, speed_result, speed_state

__all__ = ["draw"]

_PROBLEM = "speed_limits_problem"


def draw(devices: list[str]) -> None:
    """The button, and what was measured last."""
    words = lesson.text("speed")
    record = speed_state.shown(speed_state.LIMITS)
    with st.container(border=True):
        st.markdown(words["limits"])
        _button(devices, any(each.is_active for each in speed_state.own(speed_state.LIMITS)), record is None)
    if record is None:
        return
    if record.is_active:
        speed_live.draw(record)
        return
    speed_live.ended(record)
    result = speed_result.result_of(record)
    if result is not None:
        _result(record, result)
    speed_live.delete(record)


def _button(devices: list[str], active: bool, empty: bool) -> None:
    lab = session.lab()
    try:
        config = recipe_config("baseline", "tutorial", device=home_device(devices), source="memory")
        plan = plan_limits(devices)
        seconds = lab.estimate_sweep(config, plan).seconds
    except LabError as error:
        st.button("Measure the limits", disabled=True, icon=":material/straighten:", key="speed_limits_start")
        st.caption(lesson.plain(str(error)))
        return
    names = wording.listed([wording.device_name(each) for each in devices])
    st.button(
        f"Measure the limits of {names} · about {wording.duration(seconds)}",
        icon=":material/straighten:",
        key="speed_limits_start",
        on_click=speed_state.submit,
        args=(config, plan, _PROBLEM),
        disabled=active or bool(lab.runs_problem) or lab.tiles().tile_set is None,
    )
    if empty:
        st.caption(lesson.text("speed")["limits empty"].format(seconds=wording.duration(seconds)))
    if problem := st.session_state.get(_PROBLEM):
        st.error(lesson.plain(problem), icon=":material/error:")


def _result(record: RunRecord, result: SweepResult) -> None:
    sentences = [limits_words.prediction_finding(result).text]
    sentences += [limits_words.overtaking_finding(each).text for each in _overtakings(record, result)]
    lesson.saw("\n\n".join(lesson.plain(each) for each in sentences))
    st.caption(f"Measured on: {lesson.plain(sweep_words.measured_how(record, result))}")
    if result.limits:
        st.table(
            _escaped(experiment_frames.limits_table(list(result.limits.values()))).set_index("Limit"),
            border="horizontal",
            alt="What each device can do at most, as measured",
        )
    table = experiment_frames.prediction_table(result)
    if table.empty:
        return
    points = experiment_frames.prediction_points_frame(result)
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


def _overtakings(record: RunRecord, result: SweepResult) -> list[limits_words.Overtaking]:
    """Where a GPU overtakes the CPU; a line that says so where none was measured."""
    lab, me = session.lab(), session.nickname()

    def newest(name: str) -> SweepResult | None:
        runs = lab.sweeps.runs(me, name)
        try:
            return lab.sweeps.result(runs[0].id) if runs else None
        except LabError:
            return None

    found = limits_words.overtakings(result, newest("batch_size"), newest("model_size"), record.config)
    if not found:
        st.caption(f":material/block: {lesson.text('speed')['break even none']}")
    return found
