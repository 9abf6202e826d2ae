"""GPU kernels of a profile, and memory over time."""

from typing import Any

import pandas as pd
import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import profiling as charts
from eurosat_core.lab import profile_frames
from eurosat_core.lab.operator_frame import share_text, time_text
from eurosat_core.lab.profiles import Reading
from eurosat_core.profiling.memory import MemoryCurve
from pages.parts import lesson

__all__ = ["kernels", "memory"]

_FIRST = 10
_TIMES = ("Total", "Mean", "Shortest", "Longest")


def kernels(reading: Reading) -> None:
    """The longest ones as bars, all of them as a table."""
    words = lesson.text("profiler")
    if not reading.kernels:
        st.info(words["no GPU kernels"], icon=":material/memory:")
        return
    st.caption(words["GPU kernels"])
    short = profile_frames.kernel_frame(reading, full_names=False)
    top = _told_apart(short.head(_FIRST))
    st.vega_lite_chart(
        top,
        charts.kernel_bars(len(top), round(1.15 * float(top["Share"].max()), 1)),  # room for the figure beside a bar
        key=f"profiler_kernels_{len(top)}",
        alt="The GPU kernels that took longest, with their share of all GPU kernels’ time",
    )
    with st.container(horizontal=True):
        full = st.toggle("Full names", key="profiler_full_names")
        whole = st.toggle("Show all", key="profiler_all_kernels", help="Else the first ten rows.")
    frame = profile_frames.kernel_frame(reading, full_names=True) if full else short
    shown = frame if whole else frame.head(_FIRST)
    figures: dict[str, Any] = {**dict.fromkeys(_TIMES, time_text), "Share": share_text, "Launches": "{:,.0f}".format}
    figures |= {each: _or_nothing for each in ("Blocks per SM", "Occupancy") if each in frame}
    st.dataframe(
        shown.style.format(figures),
        hide_index=True,
        height="content" if len(shown) <= 2 * _FIRST else 735,
        column_config={
            "GPU kernel": st.column_config.TextColumn(pinned=not full, width="large"),
            "Occupancy": st.column_config.Column(help="Achieved occupancy in percent, weighted by time."),
            "Tensor cores": st.column_config.Column(help="Its name tells that it runs on tensor cores."),
        },
        key=f"profiler_kernel_table_{full}_{len(shown)}",
        alt="The table of GPU kernels of this profile",
    )
    launches = sum(each.calls for each in reading.kernels)
    text = f"{len(shown)} of {wording.count(len(frame), 'GPU kernel')}, {launches:,} launches in the whole trace."
    lacking = [name for name in ("Blocks per SM", "Occupancy") if name not in frame]
    st.caption(text + (f" Not in this trace: {wording.listed(lacking).lower()}." if lacking else ""))
    if full:
        with st.expander("The full names, to read", icon=":material/subject:"):
            for name in shown["GPU kernel"]:
                st.code(name, language=None, wrap_lines=True)


def _or_nothing(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"


def _told_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Two kernels may have the same short name: then they are numbered, for each has a bar of its own."""
    again = frame.groupby("GPU kernel").cumcount()
    names = [name if not at else f"{name} ({at + 1})" for name, at in zip(frame["GPU kernel"], again, strict=True)]
    return frame.assign(**{"GPU kernel": names})


def memory(reading: Reading) -> None:
    """A curve for each device, with its peak in words."""
    words = lesson.text("profiler")
    if not reading.memory:
        st.info(words["no memory"], icon=":material/memory:")
        return
    st.caption(words["memory"])
    for curve in reading.memory:
        name = wording.device_name(curve.device)
        st.markdown(f"**{name}**: {_peak(curve)}")
        frame = profile_frames.memory_frame(curve)
        st.vega_lite_chart(
            frame,
            charts.memory_line(frame["series"].nunique() > 1, profile_frames.memory_unit(curve)),
            key=f"profiler_memory_{curve.device}",
            alt=f"Memory that tensors took on the {name} over time",
        )
        if len(curve.time_us) < curve.events:
            st.caption(
                f"{len(curve.time_us)} of {curve.events:,} points are drawn: the highest and the lowest of each short "
                "while, so no peak is lost."
            )


def _peak(curve: MemoryCurve) -> str:
    amount = wording.bytes_text(curve.peak_bytes) if curve.peak_bytes >= 1024**2 / 20 else f"{curve.peak_bytes:,} bytes"
    when = f"after {profile_frames.milliseconds(curve.peak_us / 1000)}"
    if curve.relative:
        return f"at most {amount} above what was in use when recording began, {when}. The trace names no totals."
    return f"at most {amount}, {when}."
