"""A profile while it waits or is recorded, and what became of one that left no trace."""

import math

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError, RunError
from eurosat_core.lab import frames
from eurosat_core.lab.profiles import RECORDED, Profile
from eurosat_core.lab.run_record import RunRecord, State
from eurosat_core.profiling.plan import ProfilePlan
from pages.parts import lesson, live_run, profiler_record, profiler_state, session

__all__ = ["delete", "draw", "ended", "missing"]

_POLL_SECONDS = 0.7


def draw(record: RunRecord) -> None:
    """Follow a profile that is under way; others of one's own that are, too."""
    st.fragment(_follow, run_every=_POLL_SECONDS)(record.id, record.state)
    waiting = [each for each in session.lab().runs()[0] if _is_own_active(each) and each.id != record.id]
    for each in reversed(waiting):
        words = f"{wording.device_name(each.config.device)}, batch {each.config.batch_size}: {each.state}"
        st.caption(f":material/hourglass_top: Also yours · {lesson.plain(words)}")


def _is_own_active(record: RunRecord) -> bool:
    return record.kind == "profile" and record.is_active and live_run.is_own(record)


def _follow(run_id: str, drawn_as: State) -> None:
    lab = session.lab()
    try:
        record = lab.run(run_id)
    except RunError:
        st.rerun()  # deleted meanwhile: the page says so
    if record.state != drawn_as:
        st.rerun()  # it began or ended
    with st.container(horizontal=True, vertical_alignment="center"):
        live_run.status(record, "Recording")
        if live_run.is_own(record):
            _stop(record)
    if record.state == "queued":
        live_run.waiting(record)
        return
    history = lab.history(run_id)
    told, plan = history.profile, ProfilePlan.from_dict(record.plan)
    done = frames.progress(history)
    steps = round(done * plan.total_steps)
    if told.started is None:
        text = "Getting ready: the network goes to its device, loader workers start…"
    else:
        text = f"Step {min(steps + 1, plan.total_steps)} of {plan.total_steps}"
        text += f" · {wording.count(len(told.traces), 'trace')} written"
        left = lab.seconds_left(run_id)
        text += f" · {wording.duration(math.ceil(left))} left" if left is not None else ""
    st.progress(done, text=text)
    profiler_record.strip(plan, steps)


def _stop(record: RunRecord) -> None:
    stopping = session.lab().stopping(record.id)
    st.button(
        "Leave the queue" if record.state == "queued" else "Stop",
        icon=":material/stop:",
        key="profiler_stop",
        shortcut="Shift+S",
        disabled=stopping,
        on_click=live_run.ask,
        args=(record.id, "stop"),
        help="Cycles that are complete are kept.",
    )
    if words := live_run.asked(record, stopping):
        st.caption(lesson.plain(words))


def missing(sentence: str) -> None:
    """What the address names cannot be shown: why, and the way on."""
    st.warning(lesson.plain(sentence), title="This profile cannot be shown", icon=":material/search_off:")
    st.button(
        "Look at the recorded example",
        icon=":material/history:",
        key="profiler_example",
        on_click=profiler_state.choose,
        args=(RECORDED,),
    )


def ended(record: RunRecord, profile: Profile | None) -> None:
    """How a profile ended that did not go through, and what else ran meanwhile. profile: None when it left no trace."""
    if record.state == "failed":
        st.error(lesson.plain(record.message), title="What happened", icon=":material/report:")
    elif record.state in ("cancelled", "interrupted"):
        st.warning(lesson.plain(record.message), title="What happened", icon=":material/report:")
    if record.company:
        others = lesson.plain(wording.listed(list(record.company)))
        st.warning(
            f"Meanwhile this machine also computed: {others}. So the times say little; record again when it is free.",
            icon=":material/groups:",
        )
    if profile is None:
        st.caption("It left no trace to look at. Record another one, or choose a profile below.")


def delete(record: RunRecord) -> None:
    """The way to be rid of it, for its owner."""
    if not live_run.is_own(record) or record.is_active:
        return
    with st.popover("Delete profile", icon=":material/delete:", key="profiler_delete"):
        st.markdown("Its traces are gone then. There is no way back.")
        st.button("Yes, delete it", type="primary", key="profiler_delete_sure", on_click=_delete, args=(record.id,))


def _delete(run_id: str) -> None:
    try:
        session.lab().delete(run_id, session.nickname())
    except LabError as error:
        st.session_state[profiler_state.PROBLEM] = str(error)
        return
    session.open_run(None)
