"""A timed dry run per device: the workshop's first training, once."""

from collections.abc import Mapping

import streamlit as st

from eurosat_core.errors import RunError
from eurosat_core.training.config import workshop_config
from eurosat_core.wording import clock, device_name, duration, percent
from pages.parts import lesson, session

_RUNS = "dry_runs"  # by device: id of the newest one
_EVERY = 1.0


def draw(words: Mapping[str, str]) -> None:
    """A button and the newest outcome for each device that is there."""
    st.markdown(words["dry run"])
    runs = st.session_state.setdefault(_RUNS, {})
    active = any(_is_active(run_id) for run_id in runs.values())
    st.fragment(_devices, run_every=_EVERY if active else None)(active)


def _is_active(run_id: str) -> bool:
    try:
        return session.lab().store.get(run_id).is_active
    except RunError:  # it was deleted
        return False


def _devices(followed: bool) -> None:
    runs = st.session_state.setdefault(_RUNS, {})
    if followed != any(_is_active(run_id) for run_id in runs.values()):
        st.rerun()  # from now on at that pace
    for device in session.lab().devices():
        if not device.available:
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            name = device_name(device.id)
            lesson.button(f"Dry run on {name}", "timer", f"dry_run_{device.id}", _start, device.id)
            st.caption(_outcome(runs.get(device.id)), width="stretch")
    lesson.problem("dry_run")


def _start(device: str) -> None:
    record = session.submit("dry_run", lambda: session.lab().submit(workshop_config(device=device), session.me()))
    if record is not None:
        st.session_state[_RUNS][device] = record.id


def _outcome(run_id: str | None) -> str:
    if run_id is None:
        return ""
    try:
        record = session.lab().store.get(run_id)
    except RunError as error:
        return lesson.plain(str(error))
    if record.is_active:
        left = session.lab().seconds_left(run_id)
        return f"{record.state.capitalize()}…" + (f" about {duration(left)} left" if left is not None else "")
    seconds, accuracy = record.summary.get("seconds"), record.summary.get("val_accuracy")
    if record.state != "finished" or seconds is None or accuracy is None:
        return lesson.plain(f"{record.state.capitalize()}. {record.message}")
    waited = (record.started or record.created) - record.created
    beside = f" Beside it ran {lesson.plain(', '.join(map(_whose, record.company)))}." if record.company else ""
    return (
        f"{duration(seconds)} for {record.config.epochs} epochs, after {duration(waited)} of waiting; "
        f"{percent(accuracy)} of the validation tiles correct. Ended {clock(record.ended)}.{beside}"
    )


def _whose(run_id: str) -> str:
    """A run by its owner's name."""
    try:
        return f"{session.name_of(session.lab().store.get(run_id))}’s {run_id}"
    except RunError:  # it was deleted
        return run_id
