"""What every page does with a run: follow and steer it, say how it ended or that it is gone, delete it, choose it."""

import time
from collections.abc import Callable, Iterable, Mapping

import streamlit as st

from eurosat_core.analysis.card import card_findings
from eurosat_core.analysis.race import RACE, RESIDENT_RACE
from eurosat_core.errors import LabError, RunError
from eurosat_core.lab.messages import Command
from eurosat_core.models.catalog import model_entry
from eurosat_core.models.recorded import RECORDED, recorded_baseline
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord, State
from eurosat_core.speed.experiments import EXPERIMENTS
from eurosat_core.wording import device_name, duration, listed, percent
from eurosat_core.words.say import say_each
from pages.parts import lesson, session
from pages.parts.turns import in_turn

# Charts are to move at least once a second, and every look takes time from a training on the same cores.
_POLL_SECONDS = 0.7
_WAITING_POLL_SECONDS = 2.0  # in a full room all but one or two wait, and nothing of theirs moves
BADGES: dict[State, tuple[str, str, str]] = {
    "queued": ("Waiting", ":material/hourglass_top:", "gray"),
    "running": ("", ":material/play_circle:", "blue"),  # what it is doing
    "paused": ("Paused", ":material/pause_circle:", "orange"),
    "finished": ("Finished", ":material/check_circle:", "green"),
    "failed": ("Failed", ":material/error:", "red"),
    "cancelled": ("Stopped", ":material/stop_circle:", "gray"),
    "interrupted": ("Cut off", ":material/power_off:", "orange"),
}
_ASKED_TEXT: dict[str, str] = {"pause": "Pausing…", "resume": "Going on…", "step": "One step…", "stop": "Stopping…"}
_ASKED_SECONDS = 3.0


def is_own(record: RunRecord) -> bool:
    """Whether this participant may steer and delete the run."""
    return record.owner == session.me()


def network_title(record: RunRecord) -> str:
    """The network that a run left, in a list of networks."""
    accuracy = record.summary.get("val_accuracy")
    how_good = f", {percent(accuracy)}" if isinstance(accuracy, float) else ""
    whose = "my run" if is_own(record) else "run"
    return f"{model_entry(record.config.model).title}{how_good} · {whose} {record.id}"


def choose_network(key: str, runs: Iterable[RunRecord], asked: str = "", *, recorded_first: bool = False) -> str:
    """Draw the choice among the networks of runs and the recorded one; a run's id, or `RECORDED`.

    asked: chosen at first, if it is there; else the first one.
    """
    titles = {RECORDED: "Recorded baseline"} if recorded_first else {}
    titles |= {each.id: network_title(each) for each in runs}
    titles.setdefault(RECORDED, "Recorded baseline")
    if st.session_state.get(key) not in titles:  # the first time, or deleted meanwhile
        st.session_state[key] = asked if asked in titles else next(iter(titles))
    chosen = st.selectbox(
        "Network",
        list(titles),
        format_func=lambda each: titles.get(each, each),
        key=key,
        required=True,
        persist_state="session",
    )
    return chosen if chosen in titles else RECORDED


def about_recorded(sentence: str) -> str:
    """What the recorded network is worth, put into a lesson's sentence; empty without it: asking it says so."""
    try:
        record = recorded_baseline()
    except LabError:
        return ""
    return sentence.format(
        title=model_entry(record.model).title,
        tiles=f"{record.train_tiles:,}",
        epochs=record.epochs,
        judged=f"{record.tiles:,}",
        accuracy=percent(record.accuracy),
    )


def made_at(record: RunRecord) -> str:
    """When a run was asked for, UTC, to tell it from others in a list."""
    return time.strftime("%d %b %H:%M:%S", time.gmtime(record.created))


def sweep_title(name: str) -> str:
    """What a measurement of this name is called."""
    races = {RACE: "The race", RESIDENT_RACE: "The race with resident tiles"}
    others = {"free": "Free sweep", "limits": "Limits of the devices", **races}
    return EXPERIMENTS[name].title if name in EXPERIMENTS else others.get(name, name)


def missing_devices() -> None:
    """A line for each device that is not there, with the reason: nothing is measured or shown for it."""
    for each in session.lab().devices():
        if not each.available:
            st.caption(f":material/block: {lesson.plain(each.name)}: {lesson.plain(each.reason)}")


def follow(
    record: RunRecord,
    draw: Callable[[RunRecord, History], None],
    *,
    key: str,
    working: str,
    pausable: bool = False,
    help: str | None = None,
) -> None:
    """Where a run stands, its buttons, and the caller's view of it, again and again while it is active.

    Args:
        record: The run. One that has ended is drawn once.
        draw: Draws what the run has told so far. Not called while it waits: its place in the queue is shown then.
        key: Begins the keys of the buttons.
        working: What a running run is doing, as "Training".
        pausable: Whether it can be paused and stepped through, too.
        help: What stopping it means.
    """
    every = _WAITING_POLL_SECONDS if record.state == "queued" else _POLL_SECONDS
    st.fragment(_follow, run_every=every if record.is_active else None)(
        record.id, record.state, draw, key, working, pausable, help
    )


@in_turn
def _follow(
    run_id: str,
    drawn_as: State,
    draw: Callable[[RunRecord, History], None],
    key: str,
    working: str,
    pausable: bool,
    help: str | None,
) -> None:
    lab = session.lab()
    try:
        record = lab.store.get(run_id)
    except RunError:
        st.rerun()  # deleted meanwhile: the page says so
    if record.state != drawn_as and not (record.is_active and drawn_as in ("running", "paused")):
        st.rerun()  # it began or ended: other parts of the page change too
    with st.container(horizontal=True, vertical_alignment="center"):
        _status(record, working)
        if record.is_active and is_own(record):
            _buttons(record, key, pausable, help)
    if record.state == "queued":
        _waiting(record)
    else:
        draw(record, lab.results.history(run_id))


def _status(record: RunRecord, working: str) -> None:
    """State, owner and device."""
    label, icon, colour = BADGES[record.state]
    label = working if record.state == "running" else label
    names = {each.id: each.name for each in session.lab().devices()}
    name = str(record.machine.get("device_name") or "") or names.get(record.config.device, "")
    owner = "" if is_own(record) else f"{session.name_of(record)}’s run · "
    st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]
    device = f"{device_name(record.config.device)}{name and f' · {name}'}"
    st.caption(lesson.plain(f"{owner}{device}"), width="stretch")


def ask(run_id: str, command: Command) -> None:
    """Send a command; for callbacks. What stands against it is shown instead of what was asked."""
    try:
        session.lab().control(run_id, session.me(), command)
        st.session_state["asked"] = (run_id, command, time.monotonic())
    except RunError as error:
        st.session_state["asked"] = (run_id, str(error), time.monotonic())


def _buttons(record: RunRecord, key: str, pausable: bool, help: str | None) -> None:
    stopping, queued = session.lab().dispatcher.stopping(record.id), record.state == "queued"
    with st.container(horizontal=True, vertical_alignment="center", width="content"):
        if pausable and not queued:
            _pause_and_step(record, key, stopping)
        st.button(
            "Leave the queue" if queued else "Stop",
            icon=":material/stop:",
            key=f"{key}_stop",
            shortcut="Shift+S",
            disabled=stopping,
            on_click=ask,
            args=(record.id, "stop"),
            help=help,
        )
    if words := _asked(record, stopping):
        st.caption(lesson.plain(words))


def _pause_and_step(record: RunRecord, key: str, stopping: bool) -> None:
    lab, paused = session.lab(), record.state == "paused"
    resting = stopping or lab.dispatcher.returning(record.id)
    no_step = None if paused else "One batch forward, backward, update. Pause first."
    if lab.dispatcher.parked(record.id):
        no_step = "Its place went to others. Resume it first, then pause it again."
    st.button(
        "Resume" if paused else "Pause",
        icon=":material/play_arrow:" if paused else ":material/pause:",
        key=f"{key}_pause",
        shortcut="P",
        disabled=resting,
        on_click=ask,
        args=(record.id, "resume" if paused else "pause"),
    )
    st.button(
        "One step",
        icon=":material/skip_next:",
        key=f"{key}_step",
        shortcut="N",
        disabled=no_step is not None or resting,
        on_click=ask,
        args=(record.id, "step"),
        help=no_step,
    )


def _asked(record: RunRecord, stopping: bool) -> str:
    """What was asked for and has not happened yet, or why it cannot."""
    if stopping:
        return _ASKED_TEXT["stop"]
    run_id, what, at = st.session_state.get("asked", ("", "", 0.0))
    if run_id != record.id or time.monotonic() - at > _ASKED_SECONDS:
        return ""
    done = {"pause": record.state == "paused", "resume": record.state == "running", "step": time.monotonic() - at > 0.4}
    return "" if done.get(what, False) else _ASKED_TEXT.get(what, what)


def _waiting(record: RunRecord) -> None:
    """Where a waiting run stands in the queue."""
    place = session.lab().place(record.id)
    if place is None:
        st.info("This run is about to start.", icon=":material/hourglass_top:")
        return
    holds = session.lab().holds_up(place)
    seconds = place.starts_in_seconds
    if seconds is not None and seconds >= 1.0:
        holds += f" Yours starts in about {duration(seconds)}."
    st.info(
        f"Place {place.position} of {place.waiting} in the queue. {lesson.plain(holds or 'It is about to start.')} You "
        "may leave this page: the run keeps its place.",
        icon=":material/hourglass_top:",
    )


def ended(record: RunRecord, so: str = "") -> None:
    """How a run ended that did not go through, and what else ran meanwhile, if `so` says what that means."""
    if record.message and record.state in ("failed", "cancelled", "interrupted"):
        show = st.error if record.state == "failed" else st.warning
        show(lesson.plain(record.message), title="What happened", icon=":material/report:")
    if so:
        company(record, so)


def company(record: RunRecord, so: str) -> None:
    """What else the machine computed meanwhile, if anything, and how its GPU was. so: what company means."""
    if record.company:
        others = lesson.plain(listed(list(record.company)))
        st.warning(f"Meanwhile this machine also computed: {others}. {so}", icon=":material/groups:")
    if told := say_each(card_findings(record)):
        st.warning(lesson.plain(" ".join(told)), icon=":material/speed:")


def recorded(where: str) -> None:
    """That a run was recorded elsewhere; nothing for one of this lab."""
    if where:
        st.badge(f"Recorded on {lesson.plain(where)}", icon=":material/history:", color="violet")


def missing(what: str, sentence: str) -> None:
    """The run in the address cannot be shown, and why. The way on is the page's."""
    st.warning(lesson.plain(sentence), title=f"This {what} cannot be shown", icon=":material/search_off:")


def delete(record: RunRecord, key: str, label: str, lost: str, then: Callable[[str], None] | None = None) -> None:
    """The way to be rid of a run, for its owner.

    Args:
        record: The run; nothing is drawn while it is active.
        key: Of the popover and, with `_sure` behind it, of the button.
        label: Of the popover.
        lost: What is gone then.
        then: Called with the run's id when it is gone; without it the page looks at no run.
    """
    if not is_own(record) or record.is_active:
        return
    _keep(record, f"{key}_keep")
    with st.popover(label, icon=":material/delete:", key=key):
        st.markdown(lost)
        st.button("Yes, delete it", type="primary", key=f"{key}_sure", on_click=_delete, args=(record.id, key, then))
    lesson.problem(key)


def _keep(record: RunRecord, key: str) -> None:
    """A switch that has a run stay when room is made for others; only where that is about to happen."""
    lab = session.lab()
    if lab.runs_go_soon():
        session.mirror(key, lab.store.is_kept(record.id))
        st.toggle(
            "Keep",
            key=key,
            persist_state="session",
            on_change=_take_keep,
            args=(record.id, key),
            help="This lab has nearly as many runs as it keeps, and each new one removes the oldest. One that you keep "
            "stays.",
        )


def _take_keep(run_id: str, key: str) -> None:
    with session.attempt(key.removesuffix("_keep")):
        session.lab().keep(run_id, session.me(), bool(st.session_state[key]))


def _delete(run_id: str, where: str, then: Callable[[str], None] | None) -> None:
    with session.attempt(where):
        session.lab().delete(run_id, session.me())
        then(run_id) if then else session.open_run(None)


def choose(
    label: str,
    titles: Mapping[str, str],
    shown: str | None,
    *,
    key: str,
    take: Callable[[str], None],
    placeholder: str = "",
    help: str | None = None,
) -> None:
    """A list of runs to look at.

    Args:
        label: Of the list.
        titles: What stands in it, by key.
        shown: The key of what is looked at now.
        key: Begins the key of the list. It is another list for each `shown`: what was chosen must not come back.
        take: Called with the key of what is newly chosen.
        placeholder: Stands in the list while nothing is chosen.
        help: Of the list.
    """
    name = f"{key}_{shown}"
    st.selectbox(
        label,
        list(titles),
        index=list(titles).index(shown) if shown is not None and shown in titles else None,
        format_func=lambda each: titles.get(each, each),
        key=name,
        on_change=_take_choice,
        args=(name, shown, take),
        placeholder=placeholder,
        help=help,
    )


def _take_choice(key: str, shown: str | None, take: Callable[[str], None]) -> None:
    # A browser that has not drawn the page anew yet may report a list that is gone: what it showed is no new wish.
    chosen: str | None = st.session_state[key]
    if chosen and chosen != shown:
        take(chosen)


def wait_for(is_known: Callable[[], bool], words: Callable[[], str] = str) -> None:
    """Draw the page again as soon as something is known that is being measured. words: said meanwhile."""
    st.fragment(_wait, run_every=1.0)(is_known, words)


@in_turn
def _wait(is_known: Callable[[], bool], words: Callable[[], str]) -> None:
    if is_known():
        st.rerun()
    if said := words():
        st.caption(said)
