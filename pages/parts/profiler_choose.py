"""Which profile and which of its cycles is looked at; uploading a trace, and downloading one."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.lab.profiles import MAX_UPLOAD_MB, RECORDED, Profile, Reading
from eurosat_core.lab.run_record import RunRecord
from pages.parts import lesson, profiler_live, profiler_state, session

__all__ = ["draw", "reading_of"]

_CYCLE = "profiler_cycle"
_UPLOAD_SEEN = "profiler_upload_seen"


def draw(record: RunRecord | None, profile: Profile | None) -> int:
    """The choice of a profile and its cycle, upload and download. Returns the chosen cycle; 0 without a profile."""
    cycle = 0
    with st.container(border=True):
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        with left:
            _profile(profile)
        with right:
            if profile is not None:
                cycle = _cycle(profile)
        with st.container(horizontal=True):
            _upload()
            if profile is not None and cycle:
                _download(profile, cycle)
            if record is not None:
                profiler_live.delete(record)
        problem = st.session_state.get("profiler_upload_problem")
        if problem:
            st.error(lesson.plain(problem), title="This trace cannot be used", icon=":material/broken_image:")
    return cycle


def reading_of(profile: Profile, cycle: int) -> Reading | None:
    """What the cycle's trace says: from memory, or read now; None, and a sentence on screen, when it cannot be."""
    profiles = session.lab().profiles
    try:
        if profiles.is_read(profile, cycle):
            return profiles.reading(profile, cycle)
        with st.spinner("Reading the trace…", show_time=True):
            return profiles.reading(profile, cycle)
    except LabError as error:
        st.error(lesson.plain(str(error)), title="This trace cannot be used", icon=":material/broken_image:")
        return None


def _profile(profile: Profile | None) -> None:
    found = {each.key: each for each in profiler_state.earlier(profile)}
    shown = profile.key if profile is not None else ""
    name = f"profiler_chosen_{shown}"  # another one for each: what was chosen there must not come back later
    st.selectbox(
        "Profile",
        list(found),
        index=list(found).index(shown) if profile is not None else None,
        format_func=lambda each: found[each].title if each in found else "",
        key=name,
        on_change=_take_choice,
        args=(name, shown),
        placeholder="Choose a profile",
        help="Your own ones, the newest first; then what you uploaded, and the recorded example.",
    )


def _take_choice(name: str, shown: str) -> None:
    if chosen := session.newly_chosen(name, shown):
        profiler_state.choose(chosen)


def _cycle(profile: Profile) -> int:
    cycles = list(profile.cycles)
    if len(cycles) < 2:
        st.caption(f"One trace: cycle {cycles[0]}." if profile.plan is not None else "One trace.")
        return cycles[0]
    name = f"{_CYCLE}_{profile.key}"
    if st.session_state.get(name) not in cycles:
        st.session_state[name] = cycles[-1]  # the one that torch's own table covers
    st.segmented_control(
        "Cycle",
        cycles,
        key=name,
        required=True,
        help="Each cycle left a trace of its own. The first one carries most of the warming up.",
    )
    chosen: int = st.session_state[name]
    return chosen


def _upload() -> None:
    words = lesson.text("profiler")
    with st.popover("Upload a trace", icon=":material/upload_file:"):
        file = st.file_uploader(
            "A trace of PyTorch’s profiler",
            type=["json", "gz", "zip", "tar", "tgz"],
            key="profiler_file",
            max_upload_size=MAX_UPLOAD_MB,
        )
        st.caption(words["upload"].format(size=MAX_UPLOAD_MB))
        if file is None:
            st.session_state.pop("profiler_upload_problem", None)
            return
        if st.session_state.get(_UPLOAD_SEEN) == file.file_id:
            return
        st.session_state[_UPLOAD_SEEN] = file.file_id
        try:
            with st.spinner("Reading the trace…", show_time=True):
                profile = session.lab().profiles.add_upload(file.name, file.getvalue())
        except LabError as error:
            st.session_state["profiler_upload_problem"] = str(error)
        else:
            st.session_state.pop("profiler_upload_problem", None)
            kept = [each for each in st.session_state.get(profiler_state.UPLOADS, []) if each != profile.key]
            st.session_state[profiler_state.UPLOADS] = [profile.key, *kept][:10]
            profiler_state.choose(profile.key)
        st.rerun()


def _download(profile: Profile, cycle: int) -> None:
    if profile.origin == "upload":
        return
    lab = session.lab()
    size = lab.file_size(profile.key, f"trace_{cycle}.json.gz") if profile.origin == "run" else None
    about = f" · {wording.bytes_text(size)}" if size is not None and size > 1024**2 else ""
    name = "example" if profile.key == RECORDED else profile.key
    st.download_button(
        f"Download trace {cycle}{about}",
        lambda: lab.profiles.trace_file(profile, cycle),
        f"eurosat_{name}_cycle_{cycle}.pt.trace.json.gz",
        "application/gzip",
        key="profiler_download",
        icon=":material/download:",
        on_click="ignore",
        help="Opens in Perfetto (ui.perfetto.dev) and in Chrome under chrome://tracing, as it is.",
    )
