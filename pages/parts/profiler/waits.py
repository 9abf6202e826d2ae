"""Why a GPU waited: its idle time by cause, the longest gaps, and how far the host was ahead."""

from typing import Any

import pandas as pd
import streamlit as st

from eurosat_core.analysis.operators import time_text
from eurosat_core.analysis.profile_waits import idle_finding, queue_finding
from eurosat_core.charts import profile as charts
from eurosat_core.profiling.idle import IdleTimes
from eurosat_core.profiling.operators import short_name
from eurosat_core.runs.profiles import Reading
from eurosat_core.wording import milliseconds, percent
from eurosat_core.words.say import say
from pages.parts import lesson
from pages.parts.profiler.operators import draw_rows


def draw_idle(reading: Reading) -> None:
    """Causes as bars and a table, the longest gaps, then the queue of each GPU."""
    words = lesson.text("profiler")
    if not reading.idle:
        st.info(words["no idle"], icon=":material/hourglass_disabled:")
        return
    st.caption(words["idle"])
    frame = charts.idle_frame(reading)
    st.vega_lite_chart(
        frame,
        charts.stacked_bars(charts.parts_in(frame), len(reading.idle), "ms of the mean step"),
        key=f"profiler_idle_{len(reading.idle)}",
        alt="The mean step of each GPU: how long kernels ran, and for each cause how long none did",
    )
    lesson.saw_each([say(idle_finding(each)) for each in reading.idle])
    for each in reading.idle:
        with st.expander(f"GPU {each.index}: causes and longest gaps", icon=":material/hourglass_empty:"):
            _causes(each)
            _gaps(each)
    _queues(reading)


def _causes(idle: IdleTimes) -> None:
    words = lesson.text("profiler")
    rows = [
        (cause, milliseconds(time / 1000 / idle.steps), percent(time / idle.idle_us), words[f"cause {cause}"])
        for cause, time in idle.cause_us.items()
        if time
    ]
    st.table(
        pd.DataFrame(rows, columns=["Waiting for", "A step", "Share of idle", "That is when"]).set_index("Waiting for"),
        border="horizontal",
        alt=f"Idle time of GPU {idle.index} by cause, with words",
    )


def _gaps(idle: IdleTimes) -> None:
    frame = pd.DataFrame(
        {
            "Cause": each.cause,
            "Length": each.duration_us,
            "Begins after": each.start_us,
            "In its middle the host was in": each.host or "nothing recorded",
            "Then came": short_name(each.next_kernel) if each.next_kernel else "nothing",
        }
        for each in idle.longest
    )
    if frame.empty:
        return
    st.caption(f"The longest of {idle.gaps:,} gaps:")
    texts: dict[str, Any] = dict.fromkeys(("Length", "Begins after"), time_text)
    draw_rows(frame, texts, {}, f"profiler_gaps_{idle.index}", f"The longest gaps of GPU {idle.index}")


def _queues(reading: Reading) -> None:
    words = lesson.text("profiler")
    st.caption(words["queue"] if reading.queues else words["no queue"])
    for each in reading.queues:
        st.vega_lite_chart(
            charts.queue_frame(each),
            charts.queue_line(),
            key=f"profiler_queue_{each.index}",
            alt=f"How many launches waited for GPU {each.index} over time",
        )
        st.markdown(say(queue_finding(each)))
