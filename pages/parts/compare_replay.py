"""Replay: the stored events of the chosen runs on one clock, at their true speed or faster. Always marked as replay.

Only the moment of the last change is kept; where the replay stands now follows from the clock. So nothing sleeps, and
only while it plays does the fragment draw itself again and again.
"""

import time
from dataclasses import dataclass, replace

import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import compare as charts
from eurosat_core.lab import comparison_frames, replay
from eurosat_core.lab.contenders import Contender
from eurosat_core.lab.replay import ReplayState
from eurosat_core.lab.side_by_side import SideBySide
from pages.parts import compare_curves, lesson

__all__ = ["draw"]

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


def draw(side: SideBySide, mark: str) -> None:
    """The controls and, while it plays, a view that draws itself again."""
    words = lesson.text("compare")
    told = {each.label: each for each in side.runs if replay.own_seconds(each.history) > 0}
    if not told:
        st.info(words["replay short"], icon=":material/replay:")
        return
    clock = _clock(mark)
    total = replay.total_seconds({label: each.history for label, each in told.items()})
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
    states = replay.frame_at({label: each.history for label, each in told.items()}, moment)
    with st.container(border=True):
        _controls(mark, moment, total, plays, clock.speed)
        with st.grid(min(len(states), 3), min_column_width=230):
            for label, state in states.items():
                _runner(told[label], state)
        st.markdown(lesson.plain(replay.standing(states).text))
        if moment > 0:
            _curve(told, states, mark, total)


def _controls(mark: str, moment: float, total: float, plays: bool, speed: int) -> None:
    if _SPEED not in st.session_state:
        st.session_state[_SPEED] = speed
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(f"Replay, {speed}× speed", icon=":material/history:", color="violet")
        over = moment >= total
        if plays:
            st.button(
                "Pause", icon=":material/pause:", key="compare_pause", on_click=_change, args=(mark,), kwargs=_PAUSE
            )
        else:
            st.button(
                "Play",
                icon=":material/play_arrow:",
                key="compare_play",
                type="primary",
                on_click=_change,
                args=(mark,),
                kwargs={"plays": True, "moment": 0.0 if over else None},
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
            list(replay.SPEEDS),
            format_func=lambda times: f"{times}×",
            key=_SPEED,
            required=True,
            on_change=_new_speed,
            args=(mark,),
            label_visibility="collapsed",
        )
    st.progress(
        min(moment / total, 1.0), text=f"{wording.duration(moment)} of {wording.duration(total)} on the runs’ own clock"
    )


_PAUSE = {"plays": False}


def _runner(run: Contender, state: ReplayState) -> None:
    """One run at this moment."""
    text, icon = _STAGES[state.stage]
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{lesson.plain(run.label)}**")
        st.badge(text, icon=icon, color="green" if state.stage == "done" else "gray")
        st.progress(state.progress, text=f"Epoch {state.epoch} of {state.epochs}")
        with st.container(horizontal=True, gap="medium"):
            st.metric("Accuracy", wording.percent(state.accuracy) if state.accuracy is not None else None)
            st.metric("Tiles per second", f"{state.tiles_per_second:,.0f}" if state.tiles_per_second else None)
        recorded = run.record.recorded_on
        st.caption(lesson.plain(f"Recorded on {recorded}" if recorded else "Recorded here, in this lab"))


def _curve(told: dict[str, Contender], states: dict[str, ReplayState], mark: str, total: float) -> None:
    runs = [replace(each, history=states[label].history) for label, each in told.items()]
    frame = comparison_frames.learning_curves(runs, "accuracy")
    whole = comparison_frames.learning_curves(list(told.values()), "accuracy")
    if whole.empty:
        return
    _, ceiling = compare_curves.axis_ends(whole, "accuracy", "seconds")
    st.vega_lite_chart(
        frame,
        charts.curve_overlay("accuracy", "seconds", charts.run_colours(list(told)), total, ceiling),
        key=f"compare_replay_curve_{mark}",
        alt="Replay: accuracy of every run over seconds of training, as far as it had come by this moment",
    )
