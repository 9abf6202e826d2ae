"""A profile is recorded, followed, or chosen among those that are there."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from eurosat_core.analysis import profile
from eurosat_core.charts import profile as charts
from eurosat_core.errors import LabError
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.history import History, progress
from eurosat_core.runs.profiles import MAX_UPLOAD_MB, RECORDED, Profile, Reading
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import bytes_text, count, device_name, duration, percent
from eurosat_core.words.say import say
from pages.parts import forms, lesson, room, run_widget, session
from pages.parts.profiler import state
from pages.parts.profiler.state import key
from pages.parts.train import start

_SOURCES = ("loader", "memory")
_PLAN = {"wait": "Pass by", "warmup": "Warm-up", "active": "Recorded", "repeat": "Cycles"}


def draw_form() -> None:
    """The form, the plan, and Record."""
    words = lesson.text("profiler")
    _count, why = state.refilled()
    if why:
        st.info(lesson.plain(why), icon=":material/edit:")
    left, right = st.columns(2, gap="medium")
    with left:
        _settings()
    with right:
        st.caption(words["record"])
        try:
            plan = state.plan()
        except LabError as error:
            plan = None
            st.error(lesson.plain(str(error)), icon=":material/edit:")
        if plan is not None:
            strip(plan)
            st.caption(words["plan"])
    _buttons(plan)


def strip(plan: ProfilePlan, done: int | None = None) -> None:
    """The steps of a plan. done: how many have been made; None before it begins."""
    st.vega_lite_chart(
        charts.plan_frame(plan, done),
        charts.plan_strip(-(-plan.total_steps // plan.cycle_steps), plan.cycle_steps),
        key="profiler_plan" if done is None else "profiler_plan_live",
        alt=f"The steps of the recording, one line for each cycle. {say(profile.plan_finding(plan))}",
    )
    if done is None:
        st.markdown(say(profile.plan_finding(plan)))


def _settings() -> None:
    forms.draw_recipe(
        key,
        state.take_recipe,
        help=(
            "“Your own network” is the one in the Train page’s settings.",
            "Tutorial’s way opens picture files with a DataLoader, so a trace shows that work, too.",
        ),
    )
    form = state.entered()
    left, right = st.columns(2, wrap=False)
    with left:
        forms.draw_setting("batch_size", key, form, help="Tiles per step.")
    with right:
        forms.draw_setting(
            "workers",
            key,
            form,
            help="Processes that open pictures ahead. 0: the training does it itself, and the trace shows all of it.",
        )
    _more(form)


def _more(form: TrainConfig) -> None:
    with st.popover("More", icon=":material/tune:"):
        forms.draw_segments("source", key, options=_SOURCES)
        for name in ("precision", "channels_last", "pin_memory"):
            forms.draw_setting(name, key, form)
        st.markdown("**The plan of each cycle**")
        with st.grid(2, min_column_width=120):
            for name, title in _PLAN.items():
                st.number_input(title, step=1, key=key(name), persist_state="session")
        st.toggle(
            "Record memory",
            key=key("memory"),
            persist_state="session",
            help="Shows when memory is allocated and freed.",
        )
        st.toggle(
            "Record details",
            key=key("details"),
            persist_state="session",
            help="Shows the time of each layer, whose the memory is, and how near each operator comes to what the "
            "device can do. It costs a little time in every step, and adds rows to the table of operators.",
        )


def _buttons(plan: ProfilePlan | None) -> None:
    lab = session.lab()
    tiles = lab.tiles()
    try:
        config = state.draft()
    except LabError as error:
        st.error(lesson.plain(str(error)), icon=":material/edit:")
        config = None
    if config is None or plan is None:
        st.button("Record", icon=":material/radio_button_checked:", type="primary", disabled=True, key="profiler_start")
        return
    lacking = start.draw_missing_weights(config)
    idle = room.no_runs(config) or tiles.tile_set is None or lacking
    with st.container(horizontal=True):
        record_button("profiler_start", [config], plan, disabled=idle)
        if gpu := session.chosen_gpu():
            both = [state.draft(device) for device in ("cpu", gpu)]
            what = f"CPU, then {device_name(gpu)}"
            record_button("profiler_both", both, plan, what=what, disabled=idle)
    lesson.problem("profiler")
    estimate = lab.estimates.profile(config, plan)
    if tiles.tile_set is None:
        room.no_tiles_yet()
    elif estimate is not None:
        st.caption(lesson.plain(estimate.basis))
    else:
        run_widget.wait_for(lambda: lab.estimates.profile(config, plan) is not None, lambda: start.no_estimate(config))


def record_button(
    name: str, configs: list[TrainConfig], plan: ProfilePlan, *, what: str = "Record", disabled: bool = False
) -> None:
    """A button that records a profile of each config, with the seconds that takes. name: its key."""
    estimates = [session.lab().estimates.profile(each, plan) for each in configs]
    seconds = sum(each.seconds for each in estimates if each is not None)
    about = f" · about {duration(seconds)}" if None not in estimates else ""
    where = "" if len(configs) > 1 else f" on {device_name(configs[0].device)}"
    st.button(
        f"{what}{where}{about}",
        icon=":material/radio_button_checked:",
        type="primary" if len(configs) == 1 else "secondary",
        key=name,
        on_click=state.submit,
        args=(configs,),
        disabled=disabled,
    )


def draw_live(record: RunRecord) -> None:
    """Follow a profile that is under way; others of one's own that are, too."""
    run_widget.follow(record, _live, key="profiler", working="Recording", help="Cycles that are complete are kept.")
    for each in reversed(session.own_runs("profile")):
        if each.is_active and each.id != record.id:
            words = f"{device_name(each.config.device)}, batch {each.config.batch_size}: {each.state}"
            st.caption(f":material/hourglass_top: Also yours · {lesson.plain(words)}")


def _live(record: RunRecord, history: History) -> None:
    told, plan = history.profile, ProfilePlan.from_dict(record.plan)
    done = progress(history)
    steps = round(done * plan.total_steps)
    if told.started is None:
        text = "Getting ready: the network goes to its device, loader workers start…"
    else:
        text = f"Step {min(steps + 1, plan.total_steps)} of {plan.total_steps}"
        text += f" · {count(len(told.traces), 'trace')} written"
        left = session.lab().seconds_left(record.id)
        text += f" · {duration(math.ceil(left))} left" if left is not None else ""
    st.progress(done, text=text)
    strip(plan, steps)


def missing(sentence: str) -> None:
    """What the address names cannot be shown: why, and the way on."""
    run_widget.missing("profile", sentence)
    lesson.button("Look at the recorded example", "history", "profiler_example", state.choose, RECORDED)


def ended(record: RunRecord, profile: Profile | None) -> None:
    """How a profile ended that did not go through, and what else ran meanwhile. profile: None when it left no trace."""
    run_widget.ended(record, "So the times say little; record again when it is free.")
    if profile is None:
        st.caption("It left no trace to look at. Record another one, or choose a profile below.")


_UPLOAD_SEEN = "profiler_upload_seen"


def draw_choice(record: RunRecord | None, profile: Profile | None) -> int:
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
                lost = "This deletes its traces for good."
                run_widget.delete(record, "profiler_delete", "Delete profile", lost)
        lesson.problem("profiler_upload", "This trace cannot be used", ":material/broken_image:")
    return cycle


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A bar of how much of a trace was read; it goes when all is done."""
    bar = st.progress(0.0, text="Reading the trace…")

    def told(share: float) -> None:
        bar.progress(share, text=f"Reading the trace… {percent(share)}" if share < 1 else "Computing its figures…")

    try:
        yield told
    finally:
        bar.empty()


def reading_of(profile: Profile, cycle: int) -> Reading | None:
    """What the cycle's trace says: from memory, or read now; None, and a sentence on screen, when it cannot be."""
    profiles = session.lab().profiles
    try:
        if profiles.is_read(profile, cycle):
            return profiles.reading(profile, cycle)
        with _progress() as told:
            return profiles.reading(profile, cycle, told)
    except LabError as error:
        st.error(lesson.plain(str(error)), title="This trace cannot be used", icon=":material/broken_image:")
        return None


def _profile(profile: Profile | None) -> None:
    found = {each.key: each for each in state.earlier(profile)}
    shown = profile.key if profile is not None else ""
    run_widget.choose(
        "Profile",
        {name: each.title for name, each in found.items()},
        shown,
        key="profiler_chosen",
        take=state.choose,
        placeholder="Choose a profile",
        help="Your own ones, the newest first; then what you uploaded, and the recorded example.",
    )


def _cycle(profile: Profile) -> int:
    cycles = list(profile.cycles)
    if len(cycles) < 2:
        st.caption(f"One trace: cycle {cycles[0]}." if profile.plan is not None else "One trace.")
        return cycles[0]
    return lesson.one_of(
        "Cycle",
        cycles,
        f"profiler_cycle_{profile.key}",
        default=cycles[-1],  # the one that torch's own table covers
        help="Each cycle left a trace of its own. The first one carries most of the warming up.",
    )


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
            session.forget_problem("profiler_upload")
            return
        if st.session_state.get(_UPLOAD_SEEN) == file.file_id:
            return
        st.session_state[_UPLOAD_SEEN] = file.file_id
        with session.attempt("profiler_upload"), _progress() as told:
            profile = session.lab().profiles.add_upload(file.name, file.getvalue(), told)
            kept = [each for each in st.session_state.get(state.UPLOADS, []) if each != profile.key]
            st.session_state[state.UPLOADS] = [profile.key, *kept][:10]
            state.choose(profile.key)
        st.rerun()


def _download(profile: Profile, cycle: int) -> None:
    if profile.origin == "upload":
        return
    lab = session.lab()
    size = lab.store.size(profile.key, f"trace_{cycle}.json.gz") if profile.origin == "run" else None
    about = f" · {bytes_text(size)}" if size is not None and size > 1024**2 else ""
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
