"""Two profiles side by side: what differs in their settings, their steps, their parts, and their operators."""

import math
from typing import Any

import pandas as pd
import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import profiling as charts
from eurosat_core.lab import profile_frames, profile_pairs
from eurosat_core.lab.operator_frame import time_text
from eurosat_core.lab.profile_pairs import Side
from eurosat_core.lab.profiles import Profile, Reading
from pages.parts import lesson, profiler_state, session
from pages.parts.profiler_operators import name_width

__all__ = ["draw"]

_FIRST = 10
_COLOURS = {
    "longer": "color: #D4632A",
    "only here": "color: #D4632A",
    "shorter": "color: #1E9E77",
    "gone": "color: #1E9E77",
}


def draw(profile: Profile, reading: Reading) -> None:
    """The choice of the other one, the sentence, and everything side by side. All cycles of both count."""
    words = lesson.text("profiler")
    st.caption(words["compare"])
    found = profiler_state.others(profile)
    if not found:
        st.info(words["compare none"], icon=":material/compare_arrows:")
        return
    chosen = st.selectbox(
        "Put beside it",
        list(found),
        format_func=lambda name: found[name].title if name in found else "",
        key=profiler_state.OTHER,
    )
    sides = _sides(profile, found[chosen])
    if sides is None:
        st.error("The other profile has no trace that can be read.", icon=":material/broken_image:")
        return
    one, other = sides
    _sentence(one, other)
    _differences(one, other)
    by_tile = profile_pairs.per_tile(one, other)
    unit = "a tile" if by_tile else "a step"
    if by_tile:
        st.caption(words["compare per tile"])
    for of, title in (("parts", f"Parts of {unit}, on the host"), ("roles", f"What {unit} was spent on")):
        frame = profile_pairs.pair_frame(one, other, of)
        if frame["row"].nunique() < 2:
            st.caption(f"{title}: one of the two tells none.")
            continue
        st.markdown(f"**{title}**")
        st.vega_lite_chart(
            frame,
            charts.stacked_bars(profile_frames.parts_in(frame), 2, f"ms {unit}", columns=2),
            key=f"profiler_pair_{of}",
            alt=f"{title}: {one.name} and {other.name} as bars on one scale",
        )
    _operators(one, other, unit)


def _sides(profile: Profile, second: Profile) -> tuple[Side, Side] | None:
    profiles = session.lab().profiles
    unread = any(not profiles.is_read(each, cycle) for each in (profile, second) for cycle in each.cycles)
    if unread:
        with st.spinner("Reading the traces of both…", show_time=True):
            both = [tuple(profiles.readings(each)) for each in (profile, second)]
    else:
        both = [tuple(profiles.readings(each)) for each in (profile, second)]
    if not all(both):
        return None
    names = profile_pairs.names(profile, second)
    return Side(names[0], profile, both[0]), Side(names[1], second, both[1])


def _sentence(one: Side, other: Side) -> None:
    sentences = [profile_pairs.verdict(one, other).text]
    if caution := profile_pairs.same_work(one, other):
        sentences.append(caution)
    differing = profile_pairs.differences(one, other)
    if len([name for name in differing if name != "Ran beside it"]) > 1:
        sentences.append("Several things differ, so none of them earned it alone: change one at a time to know.")
    if "Ran beside it" in differing:
        sentences.append("Something else was computing meanwhile: record again on a free machine before you trust it.")
    lesson.saw("\n\n".join(lesson.plain(each) for each in sentences))


def _differences(one: Side, other: Side) -> None:
    differing = profile_pairs.differences(one, other)
    if not differing:
        st.caption("Nothing differs in their settings, as far as they are known.")
        return
    table = pd.DataFrame(
        [(lesson.plain(name), lesson.plain(now), lesson.plain(was)) for name, (now, was) in differing.items()],
        columns=["What differs", lesson.plain(one.name), lesson.plain(other.name)],
    ).set_index("What differs")
    st.table(table, border="horizontal", alt="Settings in which the two profiles differ")


def _operators(one: Side, other: Side, unit: str) -> None:
    st.markdown("**Operators that changed most**")
    choices = profile_pairs.times_told(one, other)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if st.session_state.get("profiler_pair_time") not in choices:
            st.session_state["profiler_pair_time"] = choices[0]
        st.segmented_control("Time", choices, key="profiler_pair_time", required=True)
        whole = st.toggle("Show all", key="profiler_pair_all", help="Else the first ten rows.")
    time: str = st.session_state["profiler_pair_time"]
    frame = profile_pairs.operator_pairs(one, other, time)
    if frame.empty:
        st.caption("Neither of the two has operators in its trace.")
        return
    shown = frame if whole else frame.head(_FIRST)
    texts: dict[str, Any] = {one.name: time_text, other.name: time_text, "Difference": _signed, "Ratio": _ratio}
    styled = shown.style.format(texts).map(lambda value: _COLOURS.get(value, ""), subset=["Change"])
    st.dataframe(
        styled,
        hide_index=True,
        height="content" if len(shown) <= 2 * _FIRST else 735,
        column_config={
            "Operator": st.column_config.TextColumn(pinned=True, width=name_width(shown["Operator"])),
            "Change": st.column_config.Column(help="Marked when it changed by a fifth or more."),
        },
        key=f"profiler_pair_table_{len(shown)}",
        alt="Operators of both profiles, those that differ most first",
    )
    st.caption(
        f"{time} {unit}, mean of all cycles; {len(shown)} of {wording.count(len(frame), 'row')}. Difference and ratio: "
        f"{lesson.plain(one.name)} against {lesson.plain(other.name)}."
    )


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{time_text(abs(value))}"


def _ratio(value: float) -> str:
    return "–" if math.isinf(value) else f"{value:.2f} ×"
