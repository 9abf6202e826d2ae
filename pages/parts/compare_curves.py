"""The parts "Learning curves" and "Time and cost" of the Compare page, and what the split decides."""

import pandas as pd
import streamlit as st

from eurosat_core.charts import compare as charts
from eurosat_core.lab import comparison_frames, frames, leakage
from eurosat_core.lab.side_by_side import SideBySide
from eurosat_core.lab.verdicts import device_pairs, device_verdict, split_verdict
from eurosat_core.wording import listed
from pages.parts import compare_state, lesson, session

__all__ = ["axis_ends", "cost", "curves", "devices", "differences", "split"]

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
        st.info("None of these runs told of an epoch.", icon=":material/search_off:")
        return
    st.caption(lesson.text("compare")["curves"])
    along = st.segmented_control(
        "Along",
        ["epoch", "seconds"],
        default="epoch",
        format_func={"epoch": "Epochs", "seconds": "Seconds"}.__getitem__,
        key="compare_along",
        required=True,
        persist_state="session",
    )
    runs = charts.run_colours([each.label for each in side.runs])
    with st.grid(2, min_column_width=330):
        for figure in ("accuracy", "loss"):
            frame = comparison_frames.learning_curves(told, figure)
            until, ceiling = axis_ends(frame, figure, along)
            st.vega_lite_chart(
                frame,
                charts.curve_overlay(figure, along, runs, until, ceiling),
                key=f"compare_curve_{figure}_{along}_{mark}",
                alt=f"{figure.capitalize()} in training and validation of {listed([each.label for each in told])}",
            )
    differences(side)


def axis_ends(frame: pd.DataFrame, figure: str, along: str) -> tuple[float, float]:
    """Where the axes of an overlay end."""
    last = float(frame[along].max())
    until = last if along == "epoch" else frames.axis_ceiling(last)
    ceiling = 1.0 if figure == "accuracy" else frames.axis_ceiling(float(frame["value"].max()), least=0.1)
    return until, ceiling


def differences(side: SideBySide) -> None:
    """A table of the settings in which the runs differ, and of nothing else."""
    if len(side.runs) < 2:
        return
    frame = comparison_frames.differences_frame(side.runs)
    if frame.empty:
        st.caption("Nothing differs in their settings: what differs in their figures is chance.")
        return
    st.markdown("**What differs, and nothing else**")
    names = ["Setting", *(lesson.plain(each.label) for each in side.runs)]
    table = frame.map(lesson.plain).set_axis(names, axis=1)
    st.table(table.set_index(table.columns[0]), border="horizontal", alt="Settings in which the runs differ")


@st.fragment
def cost(side: SideBySide, mark: str) -> None:
    """Seconds of every run as bars; accuracy against time, parameters and work."""
    runs = charts.run_colours([each.label for each in side.runs])
    bars = comparison_frames.seconds_frame(side.figures)
    if not bars.empty:
        _bars(bars, mark)
    frame = comparison_frames.cost_frame(side.runs, session.lab().model_summary)
    if frame.empty:
        st.info("None of these runs has an accuracy and a time.", icon=":material/search_off:")
        return
    st.caption(lesson.text("compare")["cost"])
    figure = st.segmented_control(
        "Against",
        list(_COSTS),
        default="seconds",
        format_func=_COSTS.__getitem__,
        key="compare_cost",
        required=True,
        persist_state="session",
    )
    low, high = float(frame[figure].min()), float(frame[figure].max())
    st.vega_lite_chart(
        frame,
        charts.cost_scatter(figure, runs, max(low, 0.01) / 2, max(high, 0.01) * 2),
        key=f"compare_cost_{figure}_{mark}",
        alt=f"Accuracy of every run against {_COSTS[figure].lower()}, a point each",
    )
    if not side.same.accuracy and len(side.runs) > 1:
        st.warning(lesson.plain(side.same.text), icon=":material/compare_arrows:")


def _bars(frame: pd.DataFrame, mark: str) -> None:
    st.vega_lite_chart(
        frame,
        charts.seconds_bars(
            "seconds", tuple(frame["run"]), tuple(dict.fromkeys(frame["device"])), float(frame["seconds"].max())
        ),
        key=f"compare_seconds_{mark}",
        alt="Seconds of training of every run as bars, coloured by device",
    )
    notes = [
        f"{lesson.plain(run)}: {lesson.plain(note)}" for run, note in zip(frame["run"], frame["note"], strict=True)
    ]
    st.caption("  \n".join(notes))


def split() -> None:
    """The participant's own recipe on both splits, else what was recorded elsewhere."""
    words = lesson.text("compare")
    st.markdown(words["split"])
    lab, me = session.lab(), session.nickname()
    own = [each.id for each in lab.lineup.choices(me) if each.owner == me]
    side = compare_state.current(own)
    found = split_verdict(side.runs if side else ())
    if found.kind == "both":
        lesson.saw(lesson.plain(found.text))
        return
    recorded = leakage.recorded_both_splits()
    if recorded is not None:
        both, made = recorded
        st.info(
            lesson.plain(f"{leakage.in_words(both)} {made['how']}"),
            title="Recorded elsewhere, not on this machine",
            icon=":material/history:",
        )
    st.caption(f"{lesson.plain(found.text)} The view *Splits* of the Tiles page sets both up.")


def devices() -> None:
    """The same training on the CPU and on another device: did the other device make the network smarter?"""
    lab = session.lab()
    side = compare_state.current(lab.lineup.device_runs(session.nickname()))
    pairs = device_pairs(side.runs)[:2] if side else []
    for cpu, other in pairs:
        found = device_verdict(cpu, other, lab.lineup.repeated(cpu.record))
        where = f" ({cpu.label}, {other.label})" if len(pairs) > 1 else ""
        st.markdown(f":material/memory: {lesson.plain(found.text + where)}")
    if not pairs:
        st.caption(lesson.text("compare")["devices none"])
