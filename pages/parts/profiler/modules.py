"""Time by module of the network, where the trace marks their calls."""

from typing import Any

import pandas as pd
import streamlit as st

from eurosat_core.analysis.operators import time_text
from eurosat_core.analysis.profile_modules import modules_findings
from eurosat_core.runs.profiles import Reading
from eurosat_core.wording import count
from eurosat_core.words.say import say_each
from pages.parts import lesson
from pages.parts.profiler.operators import FIRST, draw_rows


def draw_modules(reading: Reading) -> None:
    """A sentence, and the modules in the order of their calls."""
    words = lesson.text("profiler")
    if not reading.modules:
        st.info(words["no modules"], icon=":material/account_tree:")
        return
    st.caption(words["modules"])
    lesson.saw_each(say_each(modules_findings(reading)))
    with st.container(horizontal=True):
        longest = st.toggle("Longest first", key="profiler_modules_sorted", help="Else in the order of their calls.")
        whole = st.toggle("Show all", key="profiler_all_modules", help="Else the first ten rows.")
    rows = list(reading.modules)
    on_device = any(each.device_us for each in rows)
    has_backward = any(each.backward_us for each in rows)
    if longest:
        rows.sort(key=lambda row: -(row.device_self_us if on_device else row.forward_self_us + row.backward_self_us))
    frame = pd.DataFrame(
        {
            "Module": each.name if longest else "\N{EM SPACE}" * each.depth + each.name,
            "Calls": each.calls,
            "Forward": each.forward_us,
            "Forward self": each.forward_self_us,
            **({"Backward": each.backward_us, "Backward self": each.backward_self_us} if has_backward else {}),
            **({"GPU": each.device_us, "GPU self": each.device_self_us} if on_device else {}),
        }
        for each in rows
    )
    shown = frame if whole else frame.head(FIRST)
    times = [each for each in frame.columns if each not in ("Module", "Calls")]
    texts: dict[str, Any] = {**dict.fromkeys(times, time_text), "Calls": "{:,.0f}".format}
    heads = {"Module": st.column_config.TextColumn(pinned=True, width="medium")}
    draw_rows(shown, texts, heads, f"profiler_modules_{longest}", "The modules of the network with their times")
    st.caption(
        f"{len(shown)} of {count(len(frame), 'module')}, over {count(reading.steps, 'step')}. Forward and backward: on "
        "the host."
    )
