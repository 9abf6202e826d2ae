"""A profile is read: parts of a step, overview, kernels, memory, timeline."""

from typing import Any

import pandas as pd
import streamlit as st

from eurosat_core.analysis import guesses
from eurosat_core.analysis.operators import share_text, time_text
from eurosat_core.analysis.profile import after_finding, longest_part, outcome, owners_finding, seen_and_unseen
from eurosat_core.charts import profile as charts
from eurosat_core.errors import LabError
from eurosat_core.profiling.overview import PARTS, ROLES
from eurosat_core.profiling.timeline import MemoryCurve
from eurosat_core.runs.profiles import Profile, Reading
from eurosat_core.wording import bytes_text, count, device_name, listed, milliseconds, percent
from eurosat_core.words.say import say, say_each
from pages.parts import lesson
from pages.parts.profiler.operators import FIRST, draw_rows


def draw_parts(profile: Profile, reading: Reading, guess: str | None) -> None:
    """Bars, utilization, and the sentence."""
    words = lesson.text("profiler")
    _origin(profile)
    for note in reading.overview.notes:
        st.caption(f":material/info: {lesson.plain(note)}")
    parts = reading.overview.parts
    if not parts.mean_us:
        st.info(words["device only"], icon=":material/visibility_off:")
    else:
        _bars(profile, reading)
        _parts(reading)
    if reading.overview.devices:
        _gpu(reading)
    elif reading.has_host_events:
        with st.expander("No GPU work in this trace: what is seen, and what is not", icon=":material/visibility:"):
            for line in say_each(seen_and_unseen(reading, profile.unseen_reason)):
                st.markdown(f"- {lesson.plain(line)}")
    part = longest_part(reading.overview) if profile.origin == "run" else None
    judged = guesses.judge("profile_part", guess, part or None)
    lesson.saw("\n\n".join(say_each([outcome(reading), judged])))
    for line in say_each([after_finding(profile)]):
        st.caption(f":material/info: {lesson.plain(line)}")


def _origin(profile: Profile) -> None:
    """Whose figures these are, where they are not of this machine."""
    words = lesson.text("profiler")
    if profile.origin == "recorded" and profile.config is not None:
        what = f"the tutorial’s baseline on {profile.tiles}"
        st.info(
            words["recorded example"].format(where=lesson.plain(profile.recorded_on), what=what),
            icon=":material/history:",
        )
    elif profile.origin == "upload":
        st.info(words["uploaded"], icon=":material/upload_file:")
    elif profile.recorded_on:
        st.info(f"Recorded elsewhere: {lesson.plain(profile.recorded_on)}.", icon=":material/history:")


def _bars(profile: Profile, reading: Reading) -> None:
    what = "how long the host was at load, copy, forward, backward and update"
    _steps(reading, charts.parts_frame(reading), "ms on the host", "profiler_parts", what)
    if profile.plan is not None:
        first = reading.overview.steps[0].step
        st.caption(f"PyTorch counts steps from 0: its step {first} is number {first + 1} of the plan.")
    if reading.overview.parts.derived:
        st.caption(lesson.text("profiler")["derived"])


def _steps(reading: Reading, frame: pd.DataFrame, axis: str, key: str, what: str) -> None:
    """Every step as a bar of its parts, then the mean. what: the bars show, for `alt`."""
    rows = frame["row"].nunique()
    st.vega_lite_chart(
        frame,
        charts.stacked_bars(charts.parts_in(frame), rows, axis),
        key=f"{key}_{rows}",
        alt=f"For every recorded step, {what}",
    )
    if reading.steps > charts.MOST_STEPS:
        st.caption(f"The first {charts.MOST_STEPS} of {reading.steps} steps; the mean is of all of them.")


def _parts(reading: Reading) -> None:
    """The mean step in words; a part that took no time is told, too."""
    words, means = lesson.text("profiler"), reading.overview.parts.mean_us
    whole = sum(means.values())
    with st.grid(3, min_column_width=150):
        for part in (each for each in PARTS if means[each]):
            with st.container(gap="xxsmall"):
                share = percent(means[part] / whole) if whole else "–"
                st.metric(part.capitalize(), milliseconds(means[part] / 1000))
                st.caption(f"{share}: {words[f'part {part}']}")
    if none := [part for part in PARTS if not means[part]]:
        st.caption(f"Not in this trace: {listed(none)}.")


def _gpu(reading: Reading) -> None:
    words, overview = lesson.text("profiler"), reading.overview
    left, right = st.columns([1, 2], gap="medium")
    with left:
        for device in overview.devices:
            gpu, told = f"GPU {device.index}", device.utilization
            share = percent(told) if told is not None else "not told"
            st.metric(f"Utilization of {gpu}", share, border=True)
            st.caption(f"{lesson.plain(device.name or gpu)}. {words['utilization']}")
    with right:
        if overview.parts.device_us:
            frame = charts.device_parts_frame(reading)
            st.vega_lite_chart(
                frame,
                charts.stacked_bars(charts.parts_in(frame), 2, "ms of the mean step"),
                key="profiler_device_parts",
                alt="The mean step on the host, and how long the GPU worked for each of its parts",
            )
            st.caption(words["device parts"])


def draw_overview(reading: Reading) -> None:
    """Figures, then the breakdown with words. What a trace does not tell is named below, not drawn as zero."""
    words, overview = lesson.text("profiler"), reading.overview
    missing: list[str] = []
    with st.grid(4, min_column_width=170):
        _figure("Step time", milliseconds(overview.mean_step_us["Total"] / 1000), words["step time"])
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
                    _figure(f"{title}{of}", percent(value), about)
        for name, peak in overview.peak_memory_bytes.items():
            _figure(f"Peak memory, {device_name(name)}", _bytes(peak), words["peak memory"])
    if not overview.devices:
        seen = "its work cannot be read" if overview.unseen_device else "none worked in this trace"
        missing.append(f"anything about a GPU ({seen})")
    if not overview.peak_memory_bytes:
        missing.append("peak memory (the trace names no totals)" if reading.memory else "memory (it was not recorded)")
    if missing:
        st.caption(f"Not in this trace: {listed(missing)}.")
    _breakdown(reading)


def _bytes(number: int) -> str:
    return bytes_text(number) if number >= 1024**2 / 20 else f"{number:,} bytes"


def _figure(title: str, value: str, about: str) -> None:
    with st.container(gap="xxsmall", border=True):
        st.metric(title, value)
        st.caption(about)


def _breakdown(reading: Reading) -> None:
    words, mean = lesson.text("profiler"), reading.overview.mean_step_us
    st.markdown("**What a step’s time was spent on**")
    st.caption(words["breakdown"])
    what = "the time spent on GPU kernels, copies, runtime, loading, the processor, the rest"
    _steps(reading, charts.breakdown_frame(reading), "ms", "profiler_roles", what)
    table = [
        (
            charts.role_title(role),
            milliseconds(mean[role] / 1000),
            percent(mean[role] / mean["Total"]),
            words[f"role {charts.role_title(role)}"],
        )
        for role in ROLES
        if mean[role]
    ]
    st.table(
        pd.DataFrame(table, columns=["Spent on", "Mean step", "Share", "That is when"]).set_index("Spent on"),
        border="horizontal",
        alt="The mean step’s time by what it was spent on, with words",
    )
    if none := [charts.role_title(role) for role in ROLES if not mean[role]]:
        st.caption(f"No time went into: {listed(none)}.")


_TIMES = ("Total", "Mean", "Shortest", "Longest")


def kernels(reading: Reading) -> None:
    """The longest ones as bars, all of them as a table."""
    words = lesson.text("profiler")
    if not reading.kernels:
        st.info(words["no GPU kernels"], icon=":material/memory:")
        return
    st.caption(words["GPU kernels"])
    short = charts.kernel_frame(reading, full_names=False)
    top = _told_apart(short.head(FIRST))
    st.vega_lite_chart(
        top,
        charts.kernel_bars(len(top), round(1.15 * float(top["Share"].max()), 1)),  # room for the figure beside a bar
        key=f"profiler_kernels_{len(top)}",
        alt="The GPU kernels that took longest, with their share of all GPU kernels’ time",
    )
    with st.container(horizontal=True):
        full = st.toggle("Full names", key="profiler_full_names")
        whole = st.toggle("Show all", key="profiler_all_kernels", help="Else the first ten rows.")
    frame = charts.kernel_frame(reading, full_names=True) if full else short
    shown = frame if whole else frame.head(FIRST)
    figures: dict[str, Any] = {**dict.fromkeys(_TIMES, time_text), "Share": share_text, "Launches": "{:,.0f}".format}
    figures |= {each: _or_nothing for each in ("Blocks per SM", "Occupancy") if each in frame}
    heads = {
        "GPU kernel": st.column_config.TextColumn(pinned=not full, width="large"),
        "Occupancy": st.column_config.Column(help="Achieved occupancy in percent, weighted by time."),
        "Tensor cores": st.column_config.Column(help="Its name tells that it runs on tensor cores."),
    }
    draw_rows(shown, figures, heads, f"profiler_kernel_table_{full}", "The table of GPU kernels of this profile")
    launches = sum(each.calls for each in reading.kernels)
    text = f"{len(shown)} of {count(len(frame), 'GPU kernel')}, {launches:,} launches in the whole trace."
    lacking = [name for name in ("Blocks per SM", "Occupancy") if name not in frame]
    st.caption(text + (f" Not in this trace: {listed(lacking).lower()}." if lacking else ""))
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
    for parts in reading.memory_parts:
        st.vega_lite_chart(
            charts.owners_frame(parts),
            charts.owners_area(),
            key=f"profiler_owners_{parts.device}",
            alt=f"Memory on the {device_name(parts.device)} over time, by whose it was, with its peak",
        )
        lesson.saw(say(owners_finding(parts)))
        if parts.device == "cpu":
            st.caption(words["owners"])
    if not reading.memory_parts:
        st.caption(words["no owners"])
    for curve in reading.memory:
        name = device_name(curve.device)
        st.markdown(f"**{name}**: {_peak(curve)}")
        frame = charts.memory_frame(curve)
        st.vega_lite_chart(
            frame,
            charts.memory_line(frame["series"].nunique() > 1, charts.memory_unit(curve)),
            key=f"profiler_memory_{curve.device}",
            alt=f"Memory that tensors took on the {name} over time",
        )
        if len(curve.time_us) < curve.events:
            st.caption(
                f"{len(curve.time_us)} of {curve.events:,} points are drawn: the highest and the lowest of each short "
                "while, so no peak is lost."
            )


def _peak(curve: MemoryCurve) -> str:
    amount = _bytes(curve.peak_bytes)
    when = f"after {milliseconds(curve.peak_us / 1000)}"
    if curve.relative:
        return f"at most {amount} above what was in use when recording began, {when}. The trace names no totals."
    return f"at most {amount}, {when}."


def draw_timeline(reading: Reading) -> None:
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
    frame, (lanes, rows) = charts.timeline_frame(timeline), charts.timeline_rows(timeline)
    if frame.empty:
        st.caption("Nothing was recorded in this stretch.")
        return
    low, high = (each / 1000 for each in stretch) if stretch else (0.0, timeline.length_us / 1000)
    kinds = tuple(sorted(set(frame["kind"])))
    st.vega_lite_chart(
        frame,
        charts.timeline_bars(lanes, rows, kinds, low, high),
        key=f"profiler_timeline_{step}_{low}_{high}",
        alt=f"What happened when in step {step}: {listed([title for title, _ in lanes])}",
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
    if len(steps) <= 12:
        return lesson.one_of("Step", steps, "profiler_step")
    if st.session_state.get("profiler_step") not in steps:
        st.session_state["profiler_step"] = steps[0]
    st.selectbox("Step", steps, key="profiler_step", persist_state="session", width=160)
    chosen: int = st.session_state["profiler_step"]
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
    return f"{float(f'{value:.2g}'):g} µs" if value < 1000 else milliseconds(value / 1000)
