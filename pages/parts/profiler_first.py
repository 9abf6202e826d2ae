"""The first view of a profile: its parts as bars with words, how busy the GPU was, and what that says."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import profiling as charts
from eurosat_core.lab import profile_frames, profile_words
from eurosat_core.lab.profiles import Profile, Reading
from eurosat_core.profiling.overview import PARTS
from pages.parts import lesson

__all__ = ["draw"]


def draw(profile: Profile, reading: Reading, guess: str | None) -> None:
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
            for line in profile_words.seen_and_unseen(reading):
                st.markdown(f"- {line}")
    sentences = [profile_words.outcome(reading).text]
    against = profile_words.guess_against(guess, reading) if profile.origin == "run" else None
    sentences += [against.text] if against else []
    lesson.saw("\n\n".join(sentences))


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
    frame = profile_frames.parts_frame(reading)
    rows = frame["row"].nunique()
    st.vega_lite_chart(
        frame,
        charts.stacked_bars(profile_frames.parts_in(frame), rows, "ms on the host"),
        key=f"profiler_parts_{rows}",
        alt="For every recorded step, how long the host was at load, copy, forward, backward and update",
    )
    if reading.steps > profile_frames.MOST_STEPS:
        st.caption(f"The first {profile_frames.MOST_STEPS} of {reading.steps} steps; the mean is of all of them.")
    if profile.plan is not None:
        first = reading.overview.steps[0].step
        st.caption(f"PyTorch counts steps from 0: its step {first} is number {first + 1} of the plan.")
    if reading.overview.parts.derived:
        st.caption(lesson.text("profiler")["derived"])


def _parts(reading: Reading) -> None:
    """The mean step in words; a part that took no time is told, too."""
    words, means = lesson.text("profiler"), reading.overview.parts.mean_us
    whole = sum(means.values())
    with st.grid(3, min_column_width=150):
        for part in (each for each in PARTS if means[each]):
            with st.container(gap="xxsmall"):
                share = wording.percent(means[part] / whole) if whole else "–"
                st.metric(part.capitalize(), profile_frames.milliseconds(means[part] / 1000))
                st.caption(f"{share}: {words[f'part {part}']}")
    if none := [part for part in PARTS if not means[part]]:
        st.caption(f"Not in this trace: {wording.listed(none)}.")


def _gpu(reading: Reading) -> None:
    words, overview = lesson.text("profiler"), reading.overview
    left, right = st.columns([1, 2], gap="medium")
    with left:
        for device in overview.devices:
            told = device.utilization
            name = device.name or f"GPU {device.index}"
            st.metric(
                f"Utilization of GPU {device.index}",
                wording.percent(told) if told is not None else "not told",
                border=True,
            )
            st.caption(f"{lesson.plain(name)}. {words['utilization']}")
    with right:
        if overview.parts.device_us:
            frame = profile_frames.device_parts_frame(reading)
            st.vega_lite_chart(
                frame,
                charts.stacked_bars(profile_frames.parts_in(frame), 2, "ms of the mean step"),
                key="profiler_device_parts",
                alt="The mean step on the host, and how long the GPU worked for each of its parts",
            )
            st.caption(words["device parts"])
