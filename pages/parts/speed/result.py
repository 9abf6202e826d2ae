"""A measurement while it runs, and what it found."""

import math
import time

import streamlit as st

from eurosat_core.analysis import guesses, sweep
from eurosat_core.charts import speed as charts
from eurosat_core.charts.profile import parts_in, stacked_bars
from eurosat_core.charts.training import axis_ceiling
from eurosat_core.errors import LabError
from eurosat_core.runs.history import History, SweepHistory
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import Figure, home_device
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.speed.result import SweepResult
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import device_name, duration, percent
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, run_widget, session
from pages.parts.speed import choose


def draw_live(record: RunRecord) -> None:
    """Follow a measurement that is under way."""
    run_widget.follow(record, _live, key="speed", working="Measuring", help="Rounds that are complete are kept.")


def others(name: str) -> None:
    """Own measurements under way that are not looked at."""
    looked_at = choose.shown(name)
    for each in choose.own_runs():
        if each.is_active and (looked_at is None or each.id != looked_at.id):
            st.caption(f":material/hourglass_top: Also yours: {lesson.plain(choose.name_of(each))}, {each.state}")


def _live(record: RunRecord, history: History) -> None:
    told, plan = history.sweep, SweepPlan.from_dict(record.plan)
    passed = max(0.0, time.time() - record.started) if record.started else told.seconds  # a clock may be put back
    planned = told.started.planned_seconds if told.started else 0.0
    left = f" · {duration(math.ceil(max(planned - passed, 1.0)))} left" if planned else ""
    st.progress(min(passed / planned, 0.99) if planned else 0.0, text=f"{_stage(told, record.config, plan)}{left}")
    _turns(record, told, plan)


def _stage(told: SweepHistory, config: TrainConfig, plan: SweepPlan) -> str:
    """What it is doing, in words."""
    if told.started is None:
        return "Getting ready…"
    if told.learned:
        newest = told.learned[-1]
        label = lesson.plain(plan.cells[newest.cell].label)
        return f"Training “{label}” to {percent(plan.target_accuracy or 0.0)}: {percent(newest.accuracy)} so far"
    done = [each for each in told.turns if each.phase == "train"]
    if done:
        return f"Round {done[-1].round} of {told.started.rounds}"
    devices = plan.devices(config)
    if plan.limits and len(told.limits) < len(devices):
        name = device_name(devices[len(told.limits)])
        return f"Measuring the limits of {name}: this is counted below"
    if len(told.turns) >= told.started.cells:  # its first turns are not over yet
        return f"Round 1 of {told.started.rounds}"
    return f"Warming up {len(told.turns) + 1} of {told.started.cells}: this does not count"


def _turns(record: RunRecord, told: SweepHistory, plan: SweepPlan) -> None:
    frame = charts.live_frame(told, record.config, plan)
    if frame.empty:
        return
    names = tuple(dict.fromkeys(charts.cell_names(record.config, plan)))
    rounds = max(plan.rounds, int(frame["round"].max()))
    st.vega_lite_chart(
        frame,
        charts.live_turns(names, rounds),
        key=f"speed_turns_{record.id}",
        alt="Tiles per second of every setting, round by round, as they are measured",
    )


def missing(sentence: str) -> None:
    """The run in the address cannot be shown: why, and the way on."""
    run_widget.missing("measurement", sentence)
    st.button("Start afresh", icon=":material/add:", key="speed_none", on_click=choose.look_at, args=(None,))


def ended(record: RunRecord) -> None:
    """How it ended, if not at its end; what else ran meanwhile."""
    run_widget.recorded(record.recorded_on)
    if not run_widget.is_own(record):
        st.caption(f"{lesson.plain(session.name_of(record))}’s measurement")
    run_widget.ended(record, "So these figures say little; measure again when it is free.")


def delete(record: RunRecord) -> None:
    """The way to be rid of it, for its owner."""
    lost = "This deletes its figures for good."
    run_widget.delete(record, f"speed_delete_{record.id}", "Delete", lost, _deleted)


def _deleted(run_id: str) -> None:
    if session.current_run() == run_id:
        choose.look_at(None)


def draw_result(record: RunRecord, guess: str | None) -> None:
    """All of it, for a measurement that has ended."""
    ended(record)
    result = result_of(record)
    if result is not None:
        _sentences(record, result, guess)
        figure = sweep.figure_of(result)
        if figure == "work":
            st.caption(lesson.text("speed")["work"])
        rates(record, result, figure)
        _breakdown(record, result)
        _learning(record, result)
        _figures(record, result)
    delete(record)


def result_of(record: RunRecord) -> SweepResult | None:
    """What it measured; None, and a sentence on screen, when it left nothing."""
    try:
        return session.lab().sweeps.result(record.id)
    except LabError as error:
        if record.state == "finished":
            st.error(lesson.plain(str(error)), icon=":material/broken_image:")
        else:
            st.caption("It measured nothing that could be shown.")
        return None


def _sentences(record: RunRecord, result: SweepResult, guess: str | None) -> None:
    """A verdict per device, the devices against each other, the guess, the learning, and what all that rests on."""
    several = len(result.devices) > 1
    sentences = []
    for device in result.devices:
        where = f"{device_name(device)}: " if several else ""
        said = [sweep.experiment_finding(result, device), sweep.learning_finding(result, device)]
        sentences += [f"{where}{say(found)}" for found in said if found is not None]
    across = (sweep.device_finding(result, result.focus, each) for each in result.devices if each != "cpu")
    sentences += say_each(across)
    if not record.recorded_on:
        factor = sweep.guessed_factor(result, home_device(result.devices))
        sentences += say_each([guesses.judge(f"speed_{result.name}", guess, factor)])
    lesson.saw_each(f"{each[:1].upper()}{each[1:]}" for each in sentences)
    st.caption(f"Measured on: {lesson.plain(say(sweep.measured_how(record, result)))}")


def rates(record: RunRecord, result: SweepResult, figure: Figure = "tiles") -> None:
    """Rates over the setting on all devices."""
    frame = charts.rate_frame(result, figure)
    if frame.empty:
        return
    labels = tuple(each for each in result.labels if each in set(frame["label"]))
    devices = tuple(dict.fromkeys(frame["device"]))
    st.vega_lite_chart(
        frame,
        charts.rate_points(figure, labels, devices, float(frame["high"].max()), float(frame["low"].min())),
        key=f"speed_rates_{record.id}_{figure}",
        alt=f"{'Tiles' if figure == 'tiles' else 'Billion operations'} per second of every setting on every device: "
        "median, and the range of half of the rounds",
    )
    st.caption(lesson.text("speed")["points"])


def _breakdown(record: RunRecord, result: SweepResult) -> None:
    words = lesson.text("speed")
    frame = charts.breakdown_frame(result)
    if frame.empty:
        st.caption(words["breakdown none"])
        return
    per_tile = charts.is_per_tile(result)
    st.markdown(words["breakdown per tile" if per_tile else "breakdown"])
    st.vega_lite_chart(
        frame,
        stacked_bars(parts_in(frame), frame["row"].nunique(), "ms per 1,000 tiles" if per_tile else "ms of a step"),
        key=f"speed_parts_{record.id}",
        alt="How long loading, copying, forward, backward and update took in a step of every setting",
    )


def _learning(record: RunRecord, result: SweepResult) -> None:
    frame = charts.learning_frame(result)
    if frame.empty:
        return
    target = float(frame["target"].iloc[0])
    st.markdown(lesson.text("speed")["learning"].format(target=percent(target)))
    st.vega_lite_chart(
        frame,
        charts.learning_lines(
            tuple(dict.fromkeys(frame["series"])),
            axis_ceiling(float(frame["seconds"].max())),
            min(1.0, round(1.25 * max(target, float(frame["accuracy"].max())), 1)),
        ),
        key=f"speed_learning_{record.id}",
        alt=f"Validation accuracy over seconds of training of every setting; a line at {percent(target)}",
    )


def _figures(record: RunRecord, result: SweepResult) -> None:
    with st.expander("All figures", icon=":material/table:"):
        st.table(
            lesson.plain_table(charts.figures_table(result)),
            border="horizontal",
            hide_index=True,
            alt="All settings with their rates, spread, step times and verdicts",
        )
        versions = {name: record.machine[name] for name in ("torch", "python", "platform") if name in record.machine}
        told = ", ".join(f"{name} {value}" for name, value in versions.items())
        st.caption(f"Run {record.id}{f' · {lesson.plain(told)}' if told else ''}")
