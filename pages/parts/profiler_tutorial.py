"""The tutorial's own figures, as it recorded them, next to the participant's."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.lab.profiles import Profile, Reading
from eurosat_core.lab.tutorial_profile import compared_figures, tutorial_profile, tutorial_table
from pages.parts import lesson
from pages.parts.profiler_operators import table

__all__ = ["draw"]

_NAMES = {"gpu": "Its GPU run", "cpu": "Its CPU run"}


def draw(profile: Profile, reading: Reading) -> None:
    """Which of its runs, both figures side by side, its table, and what it concludes."""
    words = lesson.text("profiler")
    st.info(words["tutorial"], title="Recorded by the tutorial", icon=":material/history:")
    usual = "gpu" if reading.overview.devices else "cpu"
    if st.session_state.get("profiler_tutorial") not in _NAMES:
        st.session_state["profiler_tutorial"] = usual
    st.segmented_control(
        "Run", list(_NAMES), format_func=lambda each: _NAMES[each], key="profiler_tutorial", required=True
    )
    name: str = st.session_state["profiler_tutorial"]
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
            loading=wording.percent(gpu.loading),
            copying=wording.percent(gpu.copying),
            python=wording.percent(rows["ProfilerStep*"][1] / 100),
            launching=wording.percent(rows["cudaLaunchKernel"][1] / 100),
            launches=round(gpu.launches / gpu.steps),
        )
    )
    st.caption(words["tutorial faster"].format(ratio=wording.times(cpu.step_us / gpu.step_us)))
