"""All runs that work or wait, whoever started them: stop, move, hold, limit, delete."""

from collections.abc import Mapping
from functools import partial

import streamlit as st

from eurosat_core.lab.instructor import Instructor
from eurosat_core.lab.queue import Move
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.record import RunRecord
from eurosat_core.wording import count, device_name, duration
from pages.parts import lesson, run_widget, session

_EVERY = 2.0
_MOST_LINES = 20
_MOST_ENDED = 200
_WHERE, _LIMIT, _DELETE = "classroom_queue", "classroom_limit", "classroom_delete"


def draw(words: Mapping[str, str]) -> None:
    """What works and what waits, again and again; below it the limit, and what can be deleted."""
    st.fragment(_queue, run_every=_EVERY)(words)
    with st.expander("Limits", icon=":material/speed:", type="compact"):
        _limit(words)
    with st.expander("Delete anybody’s run", icon=":material/delete:", type="compact"):
        _delete(words)


def _queue(words: Mapping[str, str]) -> None:
    lab = session.lab()
    if not session.leads():
        st.rerun()
    held = lab.dispatcher.held
    with st.container(horizontal=True, vertical_alignment="center"):
        lesson.button(
            "Let the queue go on" if held else "Hold the queue",
            "play_arrow" if held else "pause",
            "queue_hold",
            session.lead,
            _WHERE,
            lambda instructor: instructor.hold(not held),
            type="primary" if held else "secondary",
        )
        st.caption(words["held"] if held else words["queue help"], width="stretch")
    records = {each.id: each for each in lab.store.all()[0] if each.is_active}
    waiting = [each.run_id for each in lab.dispatcher.waiting() if each.run_id in records]
    working = [each for each in records if each not in waiting]
    if not records:
        st.caption(words["empty"])
    for run_id in working[:_MOST_LINES]:
        _line(records[run_id], lab.seconds_left(run_id))
    for number, run_id in enumerate(waiting[:_MOST_LINES], start=1):
        _line(records[run_id], None, number, len(waiting))
    hidden = max(len(working) - _MOST_LINES, 0) + max(len(waiting) - _MOST_LINES, 0)
    if hidden:
        st.caption(f"And {count(hidden, 'more run')}.")
    lesson.problem(_WHERE)


def _line(record: RunRecord, left: float | None, number: int = 0, waiting: int = 0) -> None:
    """One run. number: its place in the line of so many `waiting`; 0 of one that works."""
    run_id, stopping = record.id, session.lab().dispatcher.stopping(record.id)
    with st.container(horizontal=True, vertical_alignment="center", key=f"line_{run_id}"):
        label, icon, colour = run_widget.BADGES[record.state]
        st.badge(f"{number}" if number else label or "Running", icon=icon, color=colour)  # type: ignore[arg-type]
        rest = f", about {duration(left)} left" if left is not None else ""
        st.markdown(
            f"**{lesson.plain(session.name_of(record))}** · {lesson.plain(title(record) + rest)}", width="stretch"
        )
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            if number:
                _moves(run_id, number, waiting)
            stop = lambda instructor: instructor.stop(run_id)  # noqa: E731
            lesson.button(
                "Stopping…" if stopping else "Stop",
                "stop",
                f"stop_{run_id}",
                session.lead,
                _WHERE,
                stop,
                disabled=stopping,
            )


def _moves(run_id: str, number: int, waiting: int) -> None:
    ways: tuple[tuple[Move, str], ...] = (
        ("first", "vertical_align_top"),
        ("up", "arrow_upward"),
        ("down", "arrow_downward"),
    )
    for to, sign in ways:
        there = number == (waiting if to == "down" else 1)
        move = partial(_move, run_id, to)
        lesson.button(
            "", sign, f"{to}_{run_id}", session.lead, _WHERE, move, disabled=there, help=f"Move {to}", type="tertiary"
        )


def _move(run_id: str, to: Move, instructor: Instructor) -> None:
    instructor.move(run_id, to)


def title(record: RunRecord) -> str:
    """What a run does, on what."""
    entry = CATALOG.get(record.config.model)
    what = entry.title if entry else record.config.model
    if record.kind == "sweep":
        what = run_widget.sweep_title(str(record.plan.get("name", "")))
    elif record.kind != "train":
        what = f"{record.kind.capitalize()} of {what}"
    return f"{what} on {device_name(record.config.device)}"


def _limit(words: Mapping[str, str]) -> None:
    key = "queue_limit"
    st.session_state.setdefault(key, session.lab().dispatcher.limit)
    st.number_input(
        "Waiting runs a participant",
        min_value=1,
        max_value=100,
        key=key,
        persist_state="session",
        help=words["limit help"],
        on_change=lambda: session.lead(_LIMIT, lambda instructor: instructor.limit(st.session_state[key])),
        width=250,
    )
    lesson.problem(_LIMIT)


def _delete(words: Mapping[str, str]) -> None:
    st.caption(words["any run"])
    ended = [each for each in session.lab().store.all()[0] if not each.is_active][:_MOST_ENDED]
    titles = {each.id: f"{session.name_of(each)} · {title(each)} · {each.id}" for each in ended}
    key = "delete_any"
    if st.session_state.get(key) not in titles:
        st.session_state[key] = None
    chosen = st.selectbox("Run", list(titles), index=None, format_func=lambda each: titles.get(each, each), key=key)
    lesson.button(
        "Delete it for good",
        "delete",
        "delete_any_sure",
        session.lead,
        _DELETE,
        lambda instructor: instructor.delete(chosen),
        disabled=chosen is None,
    )
    lesson.problem(_DELETE)
