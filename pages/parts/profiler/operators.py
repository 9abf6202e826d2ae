"""The operator table, two profiles side by side, and the tutorial's own."""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from eurosat_core.analysis import operators, profile_pairs
from eurosat_core.analysis.operators import NAME, OperatorColumn, operator_frame, time_text
from eurosat_core.analysis.profile import covered
from eurosat_core.analysis.profile_pairs import Side
from eurosat_core.analysis.tutorial import compared_figures, tutorial_profile, tutorial_table
from eurosat_core.charts import profile as charts
from eurosat_core.runs.profiles import Profile, Reading
from eurosat_core.wording import count, milliseconds, percent, times
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, session
from pages.parts.profiler import state

FIRST = 10  # rows, before all are asked for


def draw_operators(profile: Profile, cycle: int, reading: Reading) -> None:
    """Caption, controls, table, and what its rows are."""
    words = lesson.text("profiler")
    frame, columns = operator_frame(reading.operators, reading.device_kind, reading.device_us)
    st.markdown(words["operators"].format(covered=say(covered(profile, cycle))))
    if profile.plan is not None and profile.plan.repeat > 1:
        st.caption(words["operators last"])
    if frame.empty:
        st.info(words["device only"], icon=":material/visibility_off:")
        return
    only_self = st.toggle(
        "Self time only", key="profiler_self", help="Leaves out every column that includes what an operator calls."
    )
    shown = [each for each in columns if not (only_self and each.is_total)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = [each.name for each in shown]
        usual = "Self CPU" if only_self else "CPU total"
        if st.session_state.get("profiler_sort") not in names:
            st.session_state["profiler_sort"] = usual
        by = st.selectbox("Sorted by", names, key="profiler_sort", persist_state="session", width=190)
        text = st.text_input("Name contains", key="profiler_filter", placeholder="conv, eurosat, cuda…", width=220)
        whole = st.toggle("Show all", key="profiler_all", help="Else the first ten rows.")
    rows = frame[frame[NAME].str.contains(text.strip(), case=False, regex=False)] if text.strip() else frame
    rows = rows.sort_values(by, ascending=False, kind="stable", ignore_index=True)
    if rows.empty:
        st.caption("No name contains that.")
        return
    first = rows if whole else rows.head(FIRST)
    table(first, shown, f"profiler_operators_{len(shown)}", "The table of operators of this profile")
    _foot(reading, len(first), len(rows), len(frame))
    _nesting(reading, only_self)
    with st.expander("What these rows are", icon=":material/menu_book:"):
        _meanings(first[NAME])


def table(frame: pd.DataFrame, columns: Iterable[OperatorColumn], key: str, alt: str) -> None:
    """An operator frame in torch's units; a click on a column's head sorts by its figures."""
    columns = list(columns)
    names = [NAME, *(each.name for each in columns)]
    texts: dict[str, Any] = {each.name: each.text for each in columns}
    heads = {each.name: st.column_config.Column(help=each.about) for each in columns}
    draw_rows(frame[names], texts, {NAME: _pinned(frame[NAME]), **heads}, key, alt)


def draw_rows(frame: pd.DataFrame | Styler, texts: dict[str, Any], heads: dict[str, Any], key: str, alt: str) -> None:
    """A table that is as high as its rows, up to some twenty. texts: how figures are written, by column."""
    styled = frame if isinstance(frame, Styler) else frame.style
    rows = len(styled.index)
    st.dataframe(
        styled.format(texts),
        hide_index=True,
        height="content" if rows <= 2 * FIRST else 735,
        column_config=heads,
        key=f"{key}_{rows}",
        alt=alt,
    )


def _pinned(names: Iterable[str]) -> Any:
    """A column of names that stays, as wide as the longest within reason: a longer one is read by a click."""
    width = min(max((len(each) for each in names), default=10) * 8 + 24, 430)
    return st.column_config.TextColumn(pinned=True, width=width)


def _foot(reading: Reading, shown: int, found: int, there: int) -> None:
    total = sum(each.cpu_self_us for each in reading.operators) / 1000
    sums = f"Self CPU time total: {total:,.3f} ms"
    if reading.device_kind:
        sums += f". Self {reading.device_kind} time total: {reading.device_us / 1000:,.3f} ms"
    of = f" of {found} found" if found < there else ""
    st.caption(f"{shown}{of} of {count(there, 'row')}. {sums}, over {count(reading.steps, 'step')}.")


def _nesting(reading: Reading, only_self: bool) -> None:
    words = lesson.text("profiler")
    if only_self:
        st.caption(words["self time"])
        return
    if not reading.chains:
        st.caption(words["no nesting"])
        return
    # The tutorial's own case where it is there, else the longest chain of all.
    chain = next((each for each in reading.chains if each.names[0] == "aten::conv2d"), reading.chains[0])
    inner = ", which calls ".join(f"**{lesson.plain(each)}**" for each in chain.names[1:])
    st.caption(
        words["nesting"].format(
            outer=lesson.plain(chain.names[0]),
            inner=inner,
            rows=len(chain.names),
            time=f"{count(chain.calls, 'call')}, {milliseconds(chain.total_us / 1000)}",
        )
    )


def _meanings(names: Iterable[str]) -> None:
    known = operators.explained(names)
    for name, text in known.items():
        st.markdown(f"- **{lesson.plain(name)}** · {text}")
    others = [name for name in names if name not in known]
    if others:
        st.caption(f"Without a line of ours: {lesson.plain(', '.join(others[:20]))}.")


_COLOURS = {
    "longer": "color: #D4632A",
    "only here": "color: #D4632A",
    "shorter": "color: #1E9E77",
    "gone": "color: #1E9E77",
}


def draw_pair(profile: Profile, reading: Reading) -> None:
    """The choice of the other one, the sentence, and everything side by side. All cycles of both count."""
    words = lesson.text("profiler")
    st.caption(words["compare"])
    found = state.others(profile)
    if not found:
        st.info(words["compare none"], icon=":material/compare_arrows:")
        return
    chosen = st.selectbox(
        "Put beside it",
        list(found),
        format_func=lambda name: found[name].title if name in found else "",
        key=state.OTHER,
        persist_state="session",
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
        frame = charts.pair_frame(one, other, of)
        if frame["row"].nunique() < 2:
            st.caption(f"{title}: one of the two tells none.")
            continue
        st.markdown(f"**{title}**")
        st.vega_lite_chart(
            frame,
            charts.stacked_bars(charts.parts_in(frame), 2, f"ms {unit}", columns=2),
            key=f"profiler_pair_{of}",
            alt=f"{title}: {one.name} and {other.name} as bars on one scale",
        )
    _operators(one, other, unit)


def _sides(profile: Profile, second: Profile) -> tuple[Side, Side] | None:
    profiles = session.lab().profiles
    unread = any(not profiles.is_read(each, cycle) for each in (profile, second) for cycle in each.cycles)
    with st.spinner("Reading the traces of both…", show_time=True) if unread else nullcontext():
        both = [tuple(profiles.readings(each)) for each in (profile, second)]
    if not all(both):
        return None
    names = profile_pairs.names(profile, second)
    return Side(names[0], profile, both[0]), Side(names[1], second, both[1])


def _sentence(one: Side, other: Side) -> None:
    lesson.saw_each(say_each([profile_pairs.verdict(one, other), *profile_pairs.cautions(one, other)]))


def _differences(one: Side, other: Side) -> None:
    differing = profile_pairs.differences(one, other)
    if not differing:
        st.caption("Nothing differs in their settings, as far as they are known.")
        return
    rows = [(name, *values) for name, values in differing.items()]
    table = pd.DataFrame(rows, columns=["What differs", one.name, other.name])
    st.table(
        lesson.plain_table(table).set_index("What differs"),
        border="horizontal",
        alt="Settings in which the two profiles differ",
    )


def _operators(one: Side, other: Side, unit: str) -> None:
    st.markdown("**Operators that changed most**")
    choices = profile_pairs.times_told(one, other)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        time = lesson.one_of("Time", choices, "profiler_pair_time")
        whole = st.toggle("Show all", key="profiler_pair_all", help="Else the first ten rows.")
    frame = profile_pairs.operator_pairs(one, other, time)
    if frame.empty:
        st.caption("Neither of the two has operators in its trace.")
        return
    shown = frame if whole else frame.head(FIRST)
    texts: dict[str, Any] = {one.name: time_text, other.name: time_text, "Difference": _signed, "Ratio": _ratio}
    heads = {
        "Operator": _pinned(shown["Operator"]),
        "Change": st.column_config.Column(help="Marked when it changed by a fifth or more."),
    }
    styled = shown.style.map(lambda value: _COLOURS.get(value, ""), subset=["Change"])
    draw_rows(styled, texts, heads, "profiler_pair_table", "Operators of both profiles, those that differ most first")
    st.caption(
        f"{time} {unit}, mean of all cycles; {len(shown)} of {count(len(frame), 'row')}. Difference and ratio: "
        f"{lesson.plain(one.name)} against {lesson.plain(other.name)}."
    )


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{time_text(abs(value))}"


def _ratio(value: float) -> str:
    return "–" if math.isinf(value) else f"{value:.2f} ×"


_NAMES = {"gpu": "Its GPU run", "cpu": "Its CPU run"}


def draw_tutorial(profile: Profile, reading: Reading) -> None:
    """Which of its runs, both figures side by side, its table, and what it concludes."""
    words = lesson.text("profiler")
    st.info(words["tutorial"], title="Recorded by the tutorial", icon=":material/history:")
    usual = "gpu" if reading.overview.devices else "cpu"
    name = lesson.one_of("Run", _NAMES, "profiler_tutorial", default=usual)
    fits = (name == "gpu") == bool(reading.overview.devices) and not reading.overview.unseen_device
    st.table(
        compared_figures(name, reading if fits else None).set_index("Figure"),
        border="horizontal",
        alt="The tutorial’s figures and this profile’s",
    )
    if not fits:
        other = "on a GPU" if name == "gpu" else "on the CPU"
        st.caption(f"The profile that is open was not recorded {other}, so its figures do not stand beside these.")
    elif profile.config is not None and (profile.config.model, profile.config.batch_size) != ("baseline", 40):
        st.caption(
            "This profile is of another network or batch size than the tutorial’s, so the times are not the same work."
        )
    frame, columns = tutorial_table(name)
    st.markdown("**Its table of operators** (totals over three steps, ten rows, by CPU total)")
    table(frame, columns, f"profiler_tutorial_{name}", f"The tutorial’s table of operators of {_NAMES[name].lower()}")
    told = tutorial_profile()
    gpu, cpu = told["gpu"], told["cpu"]
    rows = {row[0]: row for row in gpu.rows}
    assert gpu.launches is not None and gpu.copying is not None
    st.caption(
        words["tutorial conclusion"].format(
            loading=percent(gpu.loading),
            copying=percent(gpu.copying),
            python=percent(rows["ProfilerStep*"][1] / 100),
            launching=percent(rows["cudaLaunchKernel"][1] / 100),
            launches=round(gpu.launches / gpu.steps),
        )
    )
    st.caption(words["tutorial faster"].format(ratio=times(cpu.step_us / gpu.step_us)))
