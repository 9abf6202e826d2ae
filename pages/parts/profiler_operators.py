"""The table of operators, as torch prints it: sorted, filtered, ten rows first; with words for its rows."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import streamlit as st

from eurosat_core import wording
from eurosat_core.lab import operator_words, profile_frames, profile_words
from eurosat_core.lab.operator_frame import NAME, OperatorColumn, operator_frame
from eurosat_core.lab.profiles import Profile, Reading
from pages.parts import lesson

__all__ = ["draw", "name_width", "table"]

_FIRST = 10


def draw(profile: Profile, cycle: int, reading: Reading) -> None:
    """Caption, controls, table, and what its rows are."""
    words = lesson.text("profiler")
    frame, columns = operator_frame(reading.operators, reading.device_kind, reading.device_us)
    st.markdown(words["operators"].format(covered=profile_words.covered(profile, cycle)))
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
        by = st.selectbox("Sorted by", names, key="profiler_sort", width=190)
        text = st.text_input("Name contains", key="profiler_filter", placeholder="conv, eurosat, cuda…", width=220)
        whole = st.toggle("Show all", key="profiler_all", help="Else the first ten rows.")
    rows = frame[frame[NAME].str.contains(text.strip(), case=False, regex=False)] if text.strip() else frame
    rows = rows.sort_values(by, ascending=False, kind="stable", ignore_index=True)
    if rows.empty:
        st.caption("No name contains that.")
        return
    first = rows if whole else rows.head(_FIRST)
    table(first, shown, f"profiler_operators_{len(shown)}_{len(first)}", "The table of operators of this profile")
    _foot(reading, len(first), len(rows), len(frame))
    _nesting(reading, only_self)
    with st.expander("What these rows are", icon=":material/menu_book:"):
        _meanings(first[NAME])


def table(frame: pd.DataFrame, columns: Iterable[OperatorColumn], key: str, alt: str) -> None:
    """An operator frame in torch's units; a click on a column's head sorts by its figures."""
    columns = list(columns)
    names = [NAME, *(each.name for each in columns)]
    texts: dict[str, Any] = {each.name: each.text for each in columns}
    st.dataframe(
        frame[names].style.format(texts),
        hide_index=True,
        height="content" if len(frame) <= 2 * _FIRST else 735,
        column_config={
            NAME: st.column_config.TextColumn(pinned=True, width=name_width(frame[NAME])),
            **{each.name: st.column_config.Column(help=each.about) for each in columns},
        },
        key=key,
        alt=alt,
    )


def name_width(names: Iterable[str]) -> int:
    """Pixels for the longest name, within reason: a longer one is read by a click, or below the table."""
    return min(max((len(each) for each in names), default=10) * 8 + 24, 430)


def _foot(reading: Reading, shown: int, found: int, there: int) -> None:
    total = sum(each.cpu_self_us for each in reading.operators) / 1000
    sums = f"Self CPU time total: {total:,.3f} ms"
    if reading.device_kind:
        sums += f". Self {reading.device_kind} time total: {reading.device_us / 1000:,.3f} ms"
    of = f" of {found} found" if found < there else ""
    st.caption(f"{shown}{of} of {wording.count(there, 'row')}. {sums}, over {wording.count(reading.steps, 'step')}.")


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
            time=f"{wording.count(chain.calls, 'call')}, {profile_frames.milliseconds(chain.total_us / 1000)}",
        )
    )


def _meanings(names: Iterable[str]) -> None:
    known = operator_words.explained(names)
    for name, text in known.items():
        st.markdown(f"- **{lesson.plain(name)}** · {text}")
    others = [name for name in names if name not in known]
    if others:
        st.caption(f"Without a line of ours: {lesson.plain(', '.join(others[:20]))}.")
