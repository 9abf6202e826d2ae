"""The timeline of one step: threads of the host, streams of the device, and the gaps between."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import timeline as charts
from eurosat_core.errors import LabError
from eurosat_core.lab import profile_frames
from eurosat_core.lab.profiles import Reading
from pages.parts import lesson

__all__ = ["draw"]


def draw(reading: Reading) -> None:
    """Which step, which stretch of it, and its bars."""
    words = lesson.text("profiler")
    steps = [each.step for each in reading.overview.steps]
    step = _step(steps)
    length = next(each.role_us["Total"] for each in reading.overview.steps if each.step == step) / 1000
    stretch = _stretch(step, length)
    try:
        timeline = reading.timeline(step, stretch)
    except LabError as error:
        st.error(lesson.plain(str(error)), icon=":material/broken_image:")
        return
    st.caption(words["timeline"])
    frame, rows = profile_frames.timeline_frame(timeline), profile_frames.timeline_rows(timeline)
    if frame.empty:
        st.caption("Nothing was recorded in this stretch.")
        return
    low, high = (each / 1000 for each in stretch) if stretch else (0.0, timeline.length_us / 1000)
    kinds = tuple(sorted(set(frame["kind"])))
    st.vega_lite_chart(
        frame,
        charts.timeline_bars(rows.lanes, rows.rows, kinds, low, high),
        key=f"profiler_timeline_{step}_{low}_{high}",
        alt=f"What happened when in step {step}: {wording.listed([title for title, _ in rows.lanes])}",
    )
    joined = frame[frame["events"] > 1]
    if len(joined):
        st.caption(
            words["timeline joined"].format(
                shortest=_microseconds(timeline.shortest_us),
                events=f"{int(joined['events'].sum()):,}",
                bars=f"{len(joined):,}",
            )
        )


def _step(steps: list[int]) -> int:
    if len(steps) == 1:
        st.caption(f"Step {steps[0]}, the only one.")
        return steps[0]
    name = "profiler_step"
    if st.session_state.get(name) not in steps:
        st.session_state[name] = steps[0]
    if len(steps) > 12:
        st.selectbox("Step", steps, key=name, width=160)
    else:
        st.segmented_control("Step", steps, key=name, required=True)
    chosen: int = st.session_state[name]
    return chosen


def _stretch(step: int, length: float) -> tuple[float, float] | None:
    """The chosen stretch in µs, None for the whole step."""
    low, high = st.slider(
        "Stretch of the step, in %",
        0,
        100,
        (0, 100),
        key=f"profiler_stretch_{step}",
        help="A shorter stretch is read anew from the trace, with all its small events.",
    )
    if (low, high) == (0, 100):
        return None
    if high <= low:
        high = min(low + 1, 100)
        low = high - 1
    return low * length * 10, high * length * 10


def _microseconds(value: float) -> str:
    return f"{float(f'{value:.2g}'):g} µs" if value < 1000 else profile_frames.milliseconds(value / 1000)
