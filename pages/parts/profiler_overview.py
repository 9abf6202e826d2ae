"""The Overview: the figures of the GPU, and what every moment of a step was spent on."""

import pandas as pd
import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import profiling as charts
from eurosat_core.lab import profile_frames
from eurosat_core.lab.profiles import Reading
from eurosat_core.profiling.overview import ROLES
from pages.parts import lesson

__all__ = ["draw"]

UNKNOWN = "not told"


def draw(reading: Reading) -> None:
    """Figures, then the breakdown with words."""
    _figures(reading)
    _breakdown(reading)


def _figures(reading: Reading) -> None:
    """Figures that a trace does not tell are named below, not drawn as zero."""
    words, overview = lesson.text("profiler"), reading.overview
    missing: list[str] = []
    with st.grid(4, min_column_width=170):
        _figure("Step time", profile_frames.milliseconds(overview.mean_step_us["Total"] / 1000), words["step time"])
        for device in overview.devices:
            of = f" of GPU {device.index}" if len(overview.devices) > 1 else ""
            for title, value, about in (
                ("Utilization", device.utilization, words["utilization"]),
                ("SM efficiency", device.sm_efficiency, words["sm efficiency"]),
                ("Occupancy", device.achieved_occupancy, words["occupancy"]),
            ):
                if value is None:
                    missing.append(f"{title}{of}")
                else:
                    _figure(f"{title}{of}", wording.percent(value), about)
        for name, peak in overview.peak_memory_bytes.items():
            _figure(f"Peak memory, {wording.device_name(name)}", _bytes(peak), words["peak memory"])
    if not overview.devices:
        seen = "its work cannot be read" if overview.unseen_device else "none worked in this trace"
        missing.append(f"anything about a GPU ({seen})")
    if not overview.peak_memory_bytes:
        missing.append("peak memory (the trace names no totals)" if reading.memory else "memory (it was not recorded)")
    if missing:
        st.caption(f"Not in this trace: {wording.listed(missing)}.")


def _bytes(number: int) -> str:
    return wording.bytes_text(number) if number >= 1024**2 / 20 else f"{number:,} bytes"


def _figure(title: str, value: str, about: str) -> None:
    with st.container(gap="xxsmall", border=True):
        st.metric(title, value)
        st.caption(about)


def _breakdown(reading: Reading) -> None:
    words, mean = lesson.text("profiler"), reading.overview.mean_step_us
    st.markdown("**What a step’s time was spent on**")
    st.caption(words["breakdown"])
    frame = profile_frames.breakdown_frame(reading)
    rows = frame["row"].nunique()
    st.vega_lite_chart(
        frame,
        charts.stacked_bars(profile_frames.parts_in(frame), rows, "ms"),
        key=f"profiler_roles_{rows}",
        alt="For every recorded step, the time spent on GPU kernels, copies, runtime, loading, the processor, the rest",
    )
    if reading.steps > profile_frames.MOST_STEPS:
        st.caption(f"The first {profile_frames.MOST_STEPS} of {reading.steps} steps; the mean is of all of them.")
    table = [
        (
            profile_frames.role_title(role),
            profile_frames.milliseconds(mean[role] / 1000),
            wording.percent(mean[role] / mean["Total"]),
            words[f"role {profile_frames.role_title(role)}"],
        )
        for role in ROLES
        if mean[role]
    ]
    st.table(
        pd.DataFrame(table, columns=["Spent on", "Mean step", "Share", "That is when"]).set_index("Spent on"),
        border="horizontal",
        alt="The mean step’s time by what it was spent on, with words",
    )
    if none := [profile_frames.role_title(role) for role in ROLES if not mean[role]]:
        st.caption(f"No time went into: {wording.listed(none)}.")
