"""Curves of runs, their verdict, and the replay.

A replay is always marked as one. Only the moment of its last change is kept; where it stands now follows from the
clock. So nothing sleeps, and only while it plays does the fragment draw itself again and again.
"""

import time
from dataclasses import dataclass, replace

import pandas as pd
import streamlit as st

from eurosat_core.analysis import guesses, race, verdicts
from eurosat_core.analysis.contenders import Contender, RunFigures, figures_note
from eurosat_core.analysis.lineup import SideBySide, lineup_of, strong_against_small
from eurosat_core.analysis.race import ReplayState
from eurosat_core.analysis.verdicts import device_pairs, device_verdict, split_verdict
from eurosat_core.charts import comparison as charts
from eurosat_core.charts.training import axis_ceiling
from eurosat_core.wording import count, duration, listed, percent, rate
from eurosat_core.words.say import say, say_each
from pages.parts import leaks, lesson, session
from pages.parts.compare import accuracy, choose


def draw_verdict(side: SideBySide, guess: str | None) -> None:
    """A card per run, then the verdict in sentences."""
    with st.grid(min(len(side.figures), 3), min_column_width=230):
        for figures in side.figures:
            _card(figures)
    strong = strong_against_small(side.runs)
    judged = guesses.judge("compare_winner", guess, strong.figures["gap"] if strong else None)
    found = [*side.verdicts, judged and strong, judged, accuracy.against_best(side)]
    if side.same.kind == "other_part":
        found.append(side.same)
    lesson.saw_each(say_each(found))


def _card(figures: RunFigures) -> None:
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{lesson.plain(figures.label)}**")
        with st.container(horizontal=True, gap="medium"):
            st.metric(
                "Accuracy",
                percent(figures.accuracy) if figures.accuracy is not None else None,
                help=f"Share of the {count(figures.validation_tiles, 'validation tile')} named correctly after "
                "the last complete epoch.",
            )
            st.metric(
                "Training time",
                duration(figures.seconds) if figures.seconds is not None else None,
                help="All of it without pauses: epochs with their validation, and the frozen part as far as this run "
                "computed it.",
            )
        if figures.tiles_per_second:
            low, high = figures.tiles_per_second_low, figures.tiles_per_second_high
            spread = f", {low:,.0f} to {high:,.0f}" if low and high and figures.measured_epochs > 1 else ""
            epochs = count(figures.measured_epochs, "epoch")
            st.caption(f"{rate(figures.tiles_per_second)} while training (median of {epochs}{spread})")
        if figures.state != "finished":
            st.badge(figures.state.capitalize(), icon=":material/warning:", color="orange")
        if figures.tiles_source == "synthetic":
            st.badge("Synthetic tiles", icon=":material/science:", color="orange")
        if figures.recorded_on:
            st.badge("Recorded elsewhere", icon=":material/history:", color="violet")
        st.caption(lesson.plain(figures_note(figures)))


_COSTS = {
    "seconds": "Time",
    "parameters": "Parameters",
    "trained": "Trained parameters",
    "macs": "Multiply-accumulates",
}


@st.fragment
def curves(side: SideBySide, mark: str) -> None:
    """Loss and accuracy of all runs over each other, with only the settings that differ."""
    told = [each for each in side.runs if each.history.epochs]
    if not told:
        st.info("None of these runs has completed an epoch.", icon=":material/search_off:")
        return
    st.caption(lesson.text("compare")["curves"])
    along = lesson.one_of("Along", {"epoch": "Epochs", "seconds": "Seconds"}, "compare_along")
    labels = tuple(each.label for each in side.runs)
    with st.grid(2, min_column_width=330):
        for figure in ("accuracy", "loss"):
            frame = charts.learning_curves(told, figure)
            until, ceiling = axis_ends(frame, figure, along)
            st.vega_lite_chart(
                frame,
                charts.curve_overlay(figure, along, labels, until, ceiling),
                key=f"compare_curve_{figure}_{along}_{mark}",
                alt=f"{figure.capitalize()} in training and validation of {listed([each.label for each in told])}",
            )
    differences(side)


def axis_ends(frame: pd.DataFrame, figure: str, along: str) -> tuple[float, float]:
    """Where the axes of an overlay end."""
    last = float(frame[along].max())
    until = last if along == "epoch" else axis_ceiling(last)
    ceiling = 1.0 if figure == "accuracy" else axis_ceiling(float(frame["value"].max()), least=0.1)
    return until, ceiling


def differences(side: SideBySide) -> None:
    """A table of the settings in which the runs differ, and of nothing else."""
    if len(side.runs) < 2:
        return
    frame = charts.differences_frame(side.runs)
    if frame.empty:
        st.caption("Nothing differs in their settings: what differs in their figures is chance.")
        return
    st.markdown("**What differs, and nothing else**")
    table = lesson.plain_table(frame.rename(columns={"setting": "Setting"})).set_index("Setting")
    st.table(table, border="horizontal", alt="Settings in which the runs differ")


@st.fragment
def cost(side: SideBySide, mark: str) -> None:
    """Seconds of every run as bars; accuracy against time, parameters and work."""
    labels = tuple(each.label for each in side.runs)
    taken = charts.seconds_frame(side.figures)
    if not taken.empty:
        about = "Seconds of training of every run as bars, coloured by device"
        bars(taken, "seconds", f"compare_seconds_{mark}", about)
        notes(taken)
    frame = charts.cost_frame(side.runs, session.lab().estimates.model_summary)
    if frame.empty:
        st.info("None of these runs has an accuracy and a time.", icon=":material/search_off:")
        return
    st.caption(lesson.text("compare")["cost"])
    figure = lesson.one_of("Against", _COSTS, "compare_cost", default="seconds")
    low, high = float(frame[figure].min()), float(frame[figure].max())
    st.vega_lite_chart(
        frame,
        charts.cost_scatter(figure, labels, max(low, 0.01) / 2, max(high, 0.01) * 2),
        key=f"compare_cost_{figure}_{mark}",
        alt=f"Accuracy of every run against {_COSTS[figure].lower()}, a point each",
    )
    accuracy.warn_of_other_work(side)


def bars(frame: pd.DataFrame, figure: str, key: str, alt: str) -> None:
    """Runs or ratios as bars, coloured by device. frame: `comparison.seconds_frame`, or one of a race."""
    devices = tuple(dict.fromkeys(frame["device"]))
    spec = charts.seconds_bars(figure, tuple(frame["run"]), devices, float(frame[figure].max()))
    st.vega_lite_chart(frame, spec, key=key, alt=alt)


def notes(frame: pd.DataFrame) -> None:
    """On what each bar rests."""
    pairs = zip(frame["run"], frame["note"], strict=True)
    st.caption("  \n".join(f"{lesson.plain(run)}: {lesson.plain(note)}" for run, note in pairs))


@st.fragment
def split(chosen: SideBySide | None) -> None:
    """The participant's own recipe on both splits, else what was recorded elsewhere; and near-duplicates.

    chosen: the runs that are compared.
    """
    _both_splits()
    tiles = session.lab().tiles().tile_set
    if tiles is not None:
        leaks.draw_splits(tiles, {each.label: each.record.id for each in chosen.runs} if chosen else {})


def _both_splits() -> None:
    words = lesson.text("compare")
    st.markdown(words["split"])
    lab, me = session.lab(), session.me()
    own = [each.id for each in lineup_of(lab).choices(me) if each.owner == me]
    side = choose.current(own)
    found = split_verdict(side.runs if side else ())
    if found.kind == "both":
        lesson.saw_each([say(found)])
        return
    recorded = verdicts.recorded_both_splits()
    if recorded is not None:
        both, made = recorded
        st.info(
            lesson.plain(f"{say(verdicts.compare_splits(both))} {made['how']}"),
            title="Recorded elsewhere, not on this machine",
            icon=":material/history:",
        )
    st.caption(f"{lesson.plain(say(found))} The view *Splits* of the Tiles page sets both up.")


def devices() -> None:
    """The same training on the CPU and on another device: did the other device make the network smarter?"""
    lab = session.lab()
    side = choose.current(lineup_of(lab).device_runs(session.me()))
    pairs = device_pairs(side.runs)[:2] if side else []
    for cpu, other in pairs:
        found = device_verdict(cpu, other, lineup_of(lab).repeated(cpu.record))
        where = f" ({cpu.label}, {other.label})" if len(pairs) > 1 else ""
        st.markdown(f":material/memory: {lesson.plain(say(found) + where)}")
    if not pairs:
        st.caption(lesson.text("compare")["devices none"])


_POLL_SECONDS = 0.5
_CLOCK = "compare_clock"
_SPEED = "compare_speed"
_STAGES = {
    "starting": ("Getting ready", ":material/hourglass_top:"),
    "training": ("Training", ":material/play_circle:"),
    "validating": ("Validating", ":material/fact_check:"),
    "done": ("Done", ":material/check_circle:"),
    "broke_off": ("Broke off", ":material/cancel:"),
}


@dataclass(frozen=True)
class _Clock:
    """mark: of which runs. moment: where the replay stood, on the runs' own clock, at the last change.

    since: when that was (monotonic); None while it stands still. speed: times as fast as it was.
    """

    mark: str
    moment: float = 0.0
    since: float | None = None
    speed: int = 1

    def now(self) -> float:
        passed = 0.0 if self.since is None else time.monotonic() - self.since
        return self.moment + passed * self.speed


def _clock(mark: str) -> _Clock:
    clock = st.session_state.get(_CLOCK)
    if not isinstance(clock, _Clock) or clock.mark != mark:  # other runs: from the start, standing still
        clock = _Clock(mark, speed=st.session_state.get(_SPEED) or 1)
        st.session_state[_CLOCK] = clock
    return clock


def _change(mark: str, *, plays: bool, moment: float | None = None) -> None:
    """Play, pause or go to a moment; the speed is what the control says."""
    clock = _clock(mark)
    at = clock.now() if moment is None else moment
    speed = st.session_state.get(_SPEED) or 1
    st.session_state[_CLOCK] = replace(clock, moment=at, since=time.monotonic() if plays else None, speed=speed)


def _new_speed(mark: str) -> None:
    _change(mark, plays=_clock(mark).since is not None)


def draw_replay(side: SideBySide, mark: str) -> None:
    """The controls and, while it plays, a view that draws itself again."""
    words = lesson.text("compare")
    told = {each.label: each for each in side.runs if race.own_seconds(each.history) > 0}
    if not told:
        st.info(words["replay short"], icon=":material/replay:")
        return
    clock = _clock(mark)
    total = race.total_seconds({label: each.history for label, each in told.items()})
    st.caption(words["replay"])
    plays = clock.since is not None and clock.now() < total
    st.fragment(_view, run_every=_POLL_SECONDS if plays else None)(told, mark, total, plays)


def _view(told: dict[str, Contender], mark: str, total: float, drawn_playing: bool) -> None:
    clock = _clock(mark)
    moment = min(clock.now(), total)
    plays = clock.since is not None
    if plays and moment >= total:
        _change(mark, plays=False, moment=total)
        plays = False
    if plays != drawn_playing:
        st.rerun()  # it began or came to its end: the page is drawn once more, with or without polling
    states = race.frame_at({label: each.history for label, each in told.items()}, moment)
    with st.container(border=True):
        _controls(mark, moment, total, plays, clock.speed)
        with st.grid(min(len(states), 3), min_column_width=230):
            for label, state in states.items():
                _runner(told[label], state)
        st.markdown(lesson.plain(say(race.standing(states))))
        if moment > 0:
            _curve(told, states, mark, total)


def _controls(mark: str, moment: float, total: float, plays: bool, speed: int) -> None:
    if _SPEED not in st.session_state:
        st.session_state[_SPEED] = speed
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(f"Replay, {speed}× speed", icon=":material/history:", color="violet")
        st.button(
            "Pause" if plays else "Play",
            icon=":material/pause:" if plays else ":material/play_arrow:",
            key="compare_pause" if plays else "compare_play",
            type="secondary" if plays else "primary",
            on_click=_change,
            args=(mark,),
            kwargs={"plays": not plays, "moment": 0.0 if moment >= total else None},
        )
        st.button(
            "From the start",
            icon=":material/restart_alt:",
            key="compare_restart",
            on_click=_change,
            args=(mark,),
            kwargs={"plays": plays, "moment": 0.0},
            disabled=moment <= 0,
        )
        st.segmented_control(
            "Speed",
            list(race.SPEEDS),
            format_func=lambda times: f"{times}×",
            key=_SPEED,
            persist_state="session",
            required=True,
            on_change=_new_speed,
            args=(mark,),
            label_visibility="collapsed",
        )
    st.progress(min(moment / total, 1.0), text=f"{duration(moment)} of {duration(total)} on the runs’ own clock")


def _runner(run: Contender, state: ReplayState) -> None:
    """One run at this moment."""
    text, icon = _STAGES[state.stage]
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{lesson.plain(run.label)}**")
        st.badge(text, icon=icon, color="green" if state.stage == "done" else "gray")
        st.progress(state.progress, text=f"Epoch {state.epoch} of {state.epochs}")
        with st.container(horizontal=True, gap="medium"):
            st.metric("Accuracy", percent(state.accuracy) if state.accuracy is not None else None)
            st.metric("Tiles per second", f"{state.tiles_per_second:,.0f}" if state.tiles_per_second else None)
        recorded = run.record.recorded_on
        st.caption(lesson.plain(f"Recorded on {recorded}" if recorded else "Recorded here, in this lab"))


def _curve(told: dict[str, Contender], states: dict[str, ReplayState], mark: str, total: float) -> None:
    runs = [replace(each, history=states[label].history) for label, each in told.items()]
    frame = charts.learning_curves(runs, "accuracy")
    whole = charts.learning_curves(list(told.values()), "accuracy")
    if whole.empty:
        return
    _, ceiling = axis_ends(whole, "accuracy", "seconds")
    st.vega_lite_chart(
        frame,
        charts.curve_overlay("accuracy", "seconds", tuple(told), total, ceiling),
        key=f"compare_replay_curve_{mark}",
        alt="Replay: accuracy of every run over seconds of training, as far as it had come by this moment",
    )
